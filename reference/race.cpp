#include "race.hpp"

#include <cmath>
#include <limits>

namespace llama512 {

using std::size_t;

namespace {

constexpr int kBits = 36;
constexpr std::uint64_t kMultiplier = 8153;
constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio

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

void RaceRandom::skip(size_t count) {
    for (size_t i = 0; i < count; i++) next();
}

int sample_race(std::span<const float> logits, float temperature, RaceRandom& random) {
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

}  // namespace llama512
