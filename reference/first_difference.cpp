#include "first_difference.hpp"

#include <vector>

namespace llama512 {

using std::size_t;

std::optional<Difference> first_difference(Transformer& transformer, std::span<const int> tokens, size_t prompt_size,
                                           Sampler sampler) {
    const size_t vocab_size = transformer.config().vocab_size;
    for (size_t pos = 0; pos + 1 < tokens.size();) {
        std::vector<Input> batch;
        for (size_t p = pos; p + 1 < tokens.size() && batch.size() < transformer.max_rows(); p++) {
            batch.push_back({tokens[p], p, 0, p + 1 >= prompt_size || sampler.reads_prompts()});
        }
        std::span<const float> logits = transformer.forward(batch);
        for (const Input& input : batch) {
            pos++;
            if (!input.wants_logits) continue;
            const std::span<const float> row = logits.first(vocab_size);
            logits = logits.subspan(vocab_size);
            if (pos < prompt_size) {
                sampler.skip(row);
            } else if (const int choice = sampler.sample(row); choice != tokens[pos]) {
                return Difference{pos, choice};
            }
        }
    }
    return std::nullopt;
}

}  // namespace llama512
