// What the program `reference` tells: one story as text, or one for each line of a file.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "draft.hpp"
#include "options.hpp"
#include "sampler.hpp"
#include "timings.hpp"
#include "tokenizer.hpp"
#include "transformer.hpp"

namespace llama512 {

/// An open model, and how its stories go on.
struct Setup {
    const Options& options;
    const Tokenizer& tokenizer;
    Transformer& transformer;
    Draft* draft;            // null: none
    Transformer* unrounded;  // with --quantize: the model in float32, of one sequence; null: nobody asks
    std::function<Sampler(std::uint64_t seed)> sampler;
    std::uint64_t seed;     // of the first story
    const Stopwatch& load;  // runs since the program began
    std::vector<std::string> inputs;  // the files that were read, by name; some may be ""
};

/// Writes to stdout at once, so that the text streams. Throws Error.
void print(std::string_view text);

/// Throws Error where `output`, given to `flag`, is one of the files that were read.
void refuse_overwriting(const std::vector<std::string>& inputs, const std::string& output, const std::string& flag);

/// The longest text that the context could hold, if every token were the longest piece.
std::size_t max_prompt_bytes(const Tokenizer& tokenizer, const Config& config);

/// The prompt's tokens, BOS first. `source` is its name for messages. A text that is longer than max_prompt_bytes is refused
/// without counting its tokens, which takes long for a very long text. Throws Error.
std::vector<int> encode_prompt(const std::string& text, const std::string& source, const Tokenizer& tokenizer,
                               const Config& config);

/// The number of positions that --steps and --predict allow.
std::size_t max_steps(const Options& options, std::size_t prompt_size);

/// With --quantize: compares a story with the one that float32 would have told. `tokens` as in first_difference.
Agreement compare(const Setup& setup, std::span<const int> tokens, std::size_t prompt_size, std::uint64_t seed);

/// The story of --prompt or --file: text, or tokens, to stdout.
Timings tell_story(const Setup& setup);

/// A story for each line of --batch: lines of JSON to stdout, or texts to --batch-folder.
Timings tell_batch(const Setup& setup);

}  // namespace llama512
