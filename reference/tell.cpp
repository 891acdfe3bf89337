#include "tell.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>

#include "error.hpp"
#include "first_difference.hpp"

namespace llama512 {

using std::to_string;

void print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
        throw Error("stdout", "write", std::strerror(errno));
    }
}

void refuse_overwriting(const std::vector<std::string>& inputs, const std::string& output, const std::string& flag) {
    for (const std::string& input : inputs) {
        std::error_code ignored;
        if (std::filesystem::equivalent(output, input, ignored)) {
            throw Error(output, flag, "this would overwrite " + input + ", another file is needed");
        }
    }
}

std::size_t max_prompt_bytes(const Tokenizer& tokenizer, const Config& config) {
    return config.seq_len * tokenizer.longest_piece();
}

std::vector<int> encode_prompt(const std::string& text, const std::string& source, const Tokenizer& tokenizer,
                               const Config& config) {
    const std::size_t max_size = max_prompt_bytes(tokenizer, config);
    if (text.size() > max_size) {
        throw Error(source, "size", "more than " + to_string(max_size) + " bytes, the model's seq_len of " +
                                        to_string(config.seq_len) + " tokens of at most " +
                                        to_string(tokenizer.longest_piece()) + " bytes cannot hold it");
    }
    return tokenizer.encode(text, source);
}

std::size_t max_steps(const Options& options, std::size_t prompt_size) {
    std::size_t steps = options.steps == 0 ? std::numeric_limits<std::size_t>::max() : options.steps;
    // The pass of the prompt's last token gives the first generated token.
    if (options.predict) steps = std::min(steps, prompt_size - 1 + *options.predict);
    return steps;
}

Agreement compare(const Setup& setup, std::span<const int> tokens, std::size_t prompt_size, std::uint64_t seed) {
    if (setup.unrounded == nullptr) return {};
    const auto difference = first_difference(*setup.unrounded, tokens, prompt_size, setup.sampler(seed));
    return {true, difference ? std::optional(difference->pos) : std::nullopt};
}

}  // namespace llama512
