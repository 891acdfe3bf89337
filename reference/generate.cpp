#include "generate.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "tokenizer.hpp"

namespace llama512 {

using std::size_t;
using std::to_string;

namespace {

void check_finite(std::span<const float> logits, size_t pos, const std::string& name) {
    const auto bad = std::ranges::find_if_not(logits, [](float logit) { return std::isfinite(logit); });
    if (bad != logits.end()) {
        throw Error(name, "logits",
                    to_string(*bad) + " for token " + to_string(bad - logits.begin()) + " at position " +
                        to_string(pos) + ", finite values are needed (weights too large for float32?)");
    }
}

}  // namespace

size_t generate(Transformer& transformer, Sampler& sampler, std::span<const int> prompt, size_t max_steps,
                const std::function<void(const Step&)>& on_step, const std::string& name) {
    const size_t seq_len = transformer.config().seq_len;
    if (prompt.size() > seq_len) {
        throw Error(name, "prompt",
                    to_string(prompt.size()) + " tokens (BOS included), at most the model's seq_len of " +
                        to_string(seq_len) + " are supported");
    }

    int token = prompt[0];
    for (size_t pos = 0; pos < std::min(max_steps, seq_len); pos++) {
        const std::span<const float> logits = transformer.forward(token, pos);
        check_finite(logits, pos, name);
        const bool in_prompt = pos + 1 < prompt.size();
        if (in_prompt) sampler.skip(logits);
        const int next = in_prompt ? prompt[pos + 1] : sampler.sample(logits);
        on_step({pos, token, logits, next});
        if (next == kBos) return pos + 1;
        token = next;
    }
    return std::min(max_steps, seq_len);
}

}  // namespace llama512
