#include "sampler.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "ops.hpp"

namespace llama512 {

using std::size_t;

std::uint32_t Random::next_u32() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
}

float Random::next_f32() {
    return static_cast<float>(next_u32() >> 8) / 16777216.0f;  // 24 bits: all that a float32 holds
}

int sample_multinomial(std::span<const float> probabilities, float coin) {
    float cumulative = 0.0f;
    for (size_t i = 0; i < probabilities.size(); i++) {
        cumulative += probabilities[i];
        if (coin < cumulative) return static_cast<int>(i);
    }
    return static_cast<int>(probabilities.size() - 1);  // rounding left the sum below the coin
}

int sample_top_p(std::span<const float> probabilities, float top_p, float coin) {
    // A token less likely than this can not be in the nucleus: leave it out of the sort.
    const float cutoff = (1.0f - top_p) / static_cast<float>(probabilities.size() - 1);
    std::vector<int> tokens;
    for (size_t i = 0; i < probabilities.size(); i++) {
        if (probabilities[i] >= cutoff) tokens.push_back(static_cast<int>(i));
    }
    if (tokens.empty()) return argmax(probabilities);  // top_p is below 1/n and all are about equal

    // Equal probabilities keep the order of their tokens.
    const auto probability = [&](int token) { return probabilities[static_cast<size_t>(token)]; };
    std::ranges::stable_sort(tokens, std::greater<>(), probability);

    // Cut after the token that takes the sum above top_p.
    float nucleus = 0.0f;
    size_t n_kept = 0;
    while (n_kept < tokens.size() && nucleus <= top_p) nucleus += probability(tokens[n_kept++]);

    const float threshold = coin * nucleus;
    float cumulative = 0.0f;
    for (size_t i = 0; i < n_kept; i++) {
        cumulative += probability(tokens[i]);
        if (threshold < cumulative) return tokens[i];
    }
    return tokens[n_kept - 1];
}

int Sampler::sample(std::span<const float> logits) {
    if (temperature_ == 0.0f) return kernels_->argmax(logits);
    if (method_ == Method::race) return sample_race(logits, temperature_, top_p_, race_);

    std::vector<float> probabilities(logits.begin(), logits.end());
    for (float& value : probabilities) value /= temperature_;
    softmax(probabilities);

    const float coin = random_.next_f32();
    if (top_p_ <= 0.0f || top_p_ >= 1.0f) return sample_multinomial(probabilities, coin);
    return sample_top_p(probabilities, top_p_, coin);
}

void Sampler::skip(std::span<const float> logits) {
    if (reads_prompts()) sample_race(logits, temperature_, top_p_, race_);
}

}  // namespace llama512
