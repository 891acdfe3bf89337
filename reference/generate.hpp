// The loop that feeds prompts, and then the model's own tokens, back to it.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "draft.hpp"
#include "sampler.hpp"
#include "transformer.hpp"

namespace llama512 {

/// One position of a story, and the token that follows it.
struct Step {
    std::size_t pos;
    int token;                      // fed at pos
    std::span<const float> logits;  // (vocab_size), of the token at pos + 1; empty where nobody needs them
    int next;                       // the token at pos + 1: the prompt's, or else sampled
    bool in_prompt;                 // it is the prompt's
    std::size_t story = 0;
};

/// A story to tell.
struct Story {
    std::vector<int> prompt;  // tokens, at least one (BOS)
    Sampler sampler;
    std::size_t max_steps;    // positions to feed at most; seq_len ends every story
};

struct GenerateOptions {
    bool all_logits = false;    // of the prompt's positions, too
    Draft* draft = nullptr;     // guesses tokens ahead; for one story only
    std::string name = "model"; // the model's name for messages
};

/// Throws Error when a prompt of so many tokens is longer than seq_len; `name` is its or the model's name for the message.
void check_prompt(std::size_t n_tokens, std::size_t seq_len, const std::string& name);

/// Tells `stories`, as many at a time as the Transformer has sequences, in passes that they share; each one as if it were told
/// alone. Feeds the positions of each from 0 and calls `on_step` for each of them, in order, and `on_end` with the story's number
/// after its last one, with the number of positions that were fed.
///
/// A story ends after a step whose `next` is BOS: the model has finished, and that token is not part of the text.
/// Otherwise the last step's `next` is part of it, although it is never fed.
///
/// With a draft, several positions are fed at once, and those after a wrong guess again; on_step sees none of it.
///
/// Throws Error when a prompt is longer than seq_len, or a logit is not finite (weights too large for float32).
void generate(Transformer& transformer, std::span<Story> stories, const std::function<void(const Step&)>& on_step,
              const std::function<void(std::size_t story, std::size_t steps)>& on_end, const GenerateOptions& options = GenerateOptions());

/// One story. Returns the number of positions that were fed.
std::size_t generate(Transformer& transformer, const Sampler& sampler, std::span<const int> prompt, std::size_t max_steps,
                     const std::function<void(const Step&)>& on_step, const GenerateOptions& options = GenerateOptions());

}  // namespace llama512
