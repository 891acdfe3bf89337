#include "race.hpp"

#include <cmath>
#include <limits>

namespace llama512 {

using std::size_t;

namespace {

constexpr int kBits = 36;
constexpr std::uint64_t kMultiplier = 8153;
constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio

/// One race over all tokens.
int run_race(std::span<const float> logits, float temperature, RaceRandom& random) {
    int winner = 0;
    double best = -std::numeric_limits<double>::infinity();
    for (size_t i = logits.size(); i-- > 0;) {
        const double exponential = -std::log(random.next());
        const double score = static_cast<double>(logits[i]) / static_cast<double>(temperature) - std::log(exponential);
        if (score >= best) {
            best = score;
            winner = static_cast<int>(i);
        }
    }
    return winner;
}

/// Whether the tokens that are more likely than this one have together at most top_p of the probability.
bool is_in_nucleus(std::span<const float> logits, float temperature, float top_p, int token) {
    const double own = static_cast<double>(logits[static_cast<size_t>(token)]);
    double more_likely = 0, all = 0;  // probabilities, divided by the token's own
    for (const float logit : logits) {
        const double ratio = std::exp((static_cast<double>(logit) - own) / static_cast<double>(temperature));
        all += ratio;
        if (static_cast<double>(logit) > own) more_likely += ratio;
    }
    return more_likely <= static_cast<double>(top_p) * all;
}

}  // namespace

RaceRandom::RaceRandom(std::uint64_t seed) {
    // Neighbours must not begin alike: the upper bits of a product with the golden ratio are spread best (D. Knuth, The Art
    // of Computer Programming, section 6.4). A 1 stands before them, and C3h behind: 24 bits, all that a float32 holds. (A
    // golfed engine has C3h at hand.)
    const std::uint64_t spread = (seed + 1) * kGolden >> 49;  // 15 bits
    state_ = (1 << 15 | spread) << 8 | 0xC3;
}

double RaceRandom::next() {
    state_ = state_ * kMultiplier % (std::uint64_t{1} << kBits);
    return std::ldexp(static_cast<double>(state_), -kBits);
}

int sample_race(std::span<const float> logits, float temperature, float top_p, RaceRandom& random) {
    int winner = run_race(logits, temperature, random);
    if (top_p <= 0.0f || top_p >= 1.0f) return winner;
    while (!is_in_nucleus(logits, temperature, top_p, winner)) winner = run_race(logits, temperature, random);
    return winner;
}

}  // namespace llama512
