// The loop that feeds the prompt and then the model's own tokens back to it.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "sampler.hpp"
#include "transformer.hpp"

namespace llama512 {

/// One forward pass, and the token that follows it.
struct Step {
    std::size_t pos;
    int token;                      // fed at pos
    std::span<const float> logits;  // (vocab_size), of the token at pos + 1
    int next;                       // the token at pos + 1: the prompt's, or else sampled
};

/// Makes forward passes from position 0, at most `max_steps` and at most seq_len, and calls `on_step` after each.
/// Ends early after a step whose `next` is BOS: the model has finished, and that token is not part of the text.
/// Otherwise the last step's `next` is part of it, although it is never fed.
///
/// `prompt` holds tokens, at least one (BOS). Returns the number of passes made.
/// Throws Error when the prompt is longer than seq_len, or a logit is not finite (weights too large for float32);
/// `name` is the model's name for messages.
std::size_t generate(Transformer& transformer, Sampler& sampler, std::span<const int> prompt, std::size_t max_steps,
                     const std::function<void(const Step&)>& on_step, const std::string& name = "model");

}  // namespace llama512
