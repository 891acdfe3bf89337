#include "draft.hpp"

#include <algorithm>

#include "error.hpp"
#include "tokenizer.hpp"

namespace llama512 {

using std::size_t;

std::vector<int> Draft::guess(std::span<const int> tokens, Sampler sampler, size_t n) {
    // As many guesses as were right and one, or all and as many again.
    const auto right = static_cast<size_t>(std::ranges::mismatch(guessed_, tokens).in1 - guessed_.begin());
    const size_t wrong = guessed_.size() - right;
    next_guesses_ = wrong == 0 ? 2 * next_guesses_ : next_guesses_ - std::min(next_guesses_, wrong) + 1;
    next_guesses_ = std::min(next_guesses_, max_guesses_);

    std::vector<int> guesses;
    std::vector<int> text(tokens.begin(), tokens.end());
    // What is in the cache and still right stays there; the last token is always fed, for its logits.
    size_t pos = static_cast<size_t>(std::ranges::mismatch(fed_, text).in1 - fed_.begin());
    pos = std::min(pos, text.size() - 1);
    fed_.resize(pos);
    n = std::min({n, next_guesses_, model_.config().seq_len - text.size() + 1});
    while (guesses.size() < n) {
        std::vector<Input> batch;
        for (; pos < text.size() && batch.size() < model_.max_rows(); pos++) {
            batch.push_back({text[pos], pos, 0, pos + 1 == text.size()});
            fed_.push_back(text[pos]);
        }
        std::span<const float> logits;
        try {
            logits = model_.forward(batch);
        } catch (const Error&) {  // weights that rounding made too large: no guess
            fed_.clear();
            break;
        }
        if (pos < text.size()) continue;
        const int next = sampler.sample(logits);
        if (next == kBos) break;  // the story would end here, nothing follows
        guesses.push_back(next);
        text.push_back(next);
    }
    guessed_ = text;
    return guesses;
}

}  // namespace llama512
