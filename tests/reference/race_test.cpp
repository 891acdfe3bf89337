// The exponential race: its generator's known sequence, and that it draws from the distribution that softmax describes.

#include "race.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

#include "generate.hpp"
#include "ops.hpp"
#include "sampler.hpp"
#include "tiny_model.hpp"

namespace llama512::test {
namespace {

using Vector = std::vector<float>;

constexpr double kScale = 68719476736.0;  // 2^36

std::vector<double> uniforms(std::uint64_t seed, std::size_t count) {
    RaceRandom random(seed);
    std::vector<double> values(count);
    for (double& value : values) value = random.next();
    return values;
}

/// Chi-square of counts against probabilities; bins of fewer than 5 expected are one.
/// Returns how many standard deviations it is above its mean.
double excess(const std::vector<int>& counts, const Vector& probabilities, int draws) {
    double chi_square = 0, rest = 0, rest_expected = 0;
    int bins = 0;
    const auto add = [&](double count, double expected) {
        chi_square += (count - expected) * (count - expected) / expected;
        bins++;
    };
    for (std::size_t i = 0; i < counts.size(); i++) {
        const double expected = static_cast<double>(probabilities[i]) * draws;
        if (expected >= 5) {
            add(counts[i], expected);
        } else {
            rest += counts[i];
            rest_expected += expected;
        }
    }
    if (rest_expected >= 1) add(rest, rest_expected);
    const double freedom = bins - 1;
    return (chi_square - freedom) / std::sqrt(2 * freedom);
}

TEST(RaceRandom, FollowsItsDefinition) {
    // Seed 0, by hand: 9E3779B97F4A7C15h has the upper 15 bits 4F1Bh, so the first state is CF1BC3h; times 8153, of that 36 bits.
    RaceRandom random(0);
    const std::uint64_t first = 0x9C3EB254B;
    EXPECT_EQ(random.next(), static_cast<double>(first) / kScale);
    EXPECT_EQ(random.next(), static_cast<double>(first * 8153 % (1ull << 36)) / kScale);
}

TEST(RaceRandom, StaysInsideZeroAndOne) {
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{42}, UINT64_MAX - 1, UINT64_MAX}) {
        for (const double u : uniforms(seed, 1'000'000)) {
            ASSERT_GT(u, 0.0);
            ASSERT_LT(u, 1.0);
            ASSERT_EQ(std::fmod(u * kScale, 2.0), 1.0);  // odd, for ever
        }
    }
}

TEST(RaceRandom, IsUniform) {
    constexpr int kDraws = 4'000'000, kBins = 1000;
    std::vector<int> counts(kBins);
    for (const double u : uniforms(3, kDraws)) counts[static_cast<std::size_t>(u * kBins)]++;
    EXPECT_LT(std::abs(excess(counts, Vector(kBins, 1.0f / kBins), kDraws)), 4.0);
}

TEST(RaceRandom, NeighboursAreNotCorrelated) {
    constexpr std::size_t kDraws = 4'000'000;
    const auto u = uniforms(11, kDraws + 1024);
    for (const std::size_t lag : {1, 2, 3, 4, 5, 511, 512, 513}) {  // also of the same token in the next race
        double sum = 0;
        for (std::size_t i = 0; i < kDraws; i++) sum += (u[i] - 0.5) * (u[i + lag] - 0.5) * 12.0;
        // 1/8153 is the correlation itself at lag 1; 4 standard deviations are 2/1000.
        EXPECT_LT(std::abs(sum / kDraws), 0.002 + 1.0 / 8153) << "lag " << lag;
    }
    // Nor otherwise dependent: pairs of neighbours fill 32 x 32 squares evenly.
    std::vector<int> pairs(1024);
    for (std::size_t i = 0; i < kDraws; i++) {
        pairs[static_cast<std::size_t>(u[i] * 32) * 32 + static_cast<std::size_t>(u[i + 1] * 32)]++;
    }
    EXPECT_LT(std::abs(excess(pairs, Vector(1024, 1.0f / 1024), kDraws)), 4.0);
}

TEST(RaceRandom, NeighbouringSeedsBeginDifferently) {
    constexpr int kSeeds = 20000, kBins = 20;
    for (const std::size_t place : {0, 1, 5}) {
        std::vector<int> counts(kBins);
        for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
            counts[static_cast<std::size_t>(uniforms(seed, place + 1)[place] * kBins)]++;
        }
        // Seeds are spread more evenly than chance would, so the excess is below, not above.
        EXPECT_LT(excess(counts, Vector(kBins, 1.0f / kBins), kSeeds), 4.0) << "number " << place;
    }
}

TEST(SampleRace, DrawsFromSoftmax) {
    constexpr int kDraws = 200'000;
    const Vector logits = random_values(64, 9, 3.0f);
    for (const float temperature : {0.3f, 0.8f, 1.5f}) {
        Vector probabilities = logits;
        for (float& value : probabilities) value /= temperature;
        softmax(probabilities);
        RaceRandom random(1);
        std::vector<int> counts(logits.size());
        for (int i = 0; i < kDraws; i++) counts[static_cast<std::size_t>(sample_race(logits, temperature, 1.0f, random))]++;
        EXPECT_LT(excess(counts, probabilities, kDraws), 4.0) << "temperature " << temperature;
    }
}

TEST(SampleRace, WithAFlatDistributionEveryTokenComesAsOften) {
    constexpr int kDraws = 100'000;
    RaceRandom random(2);
    std::vector<int> counts(512);
    for (int i = 0; i < kDraws; i++) counts[static_cast<std::size_t>(sample_race(Vector(512, -7.0f), 0.5f, 1.0f, random))]++;
    EXPECT_LT(std::abs(excess(counts, Vector(512, 1.0f / 512), kDraws)), 4.0);
}

TEST(SampleRace, IsGreedyWhereTheTemperatureIsLow) {
    RaceRandom random(0);
    for (int i = 0; i < 10000; i++) EXPECT_EQ(sample_race(Vector{-3, -1, 2, -1, 0}, 0.05f, 1.0f, random), 2);
    EXPECT_EQ(sample_race(Vector{-3}, 0.001f, 1.0f, random), 0);
}

// 61 tokens: with a power of two, and the very same logits in each race, the generator's regularity would show (race.hpp).
TEST(SampleRace, DrawsFromTheNucleus) {
    constexpr int kDraws = 100'000;
    const Vector logits = random_values(61, 9, 3.0f);
    for (const float top_p : {0.3f, 0.5f, 0.9f}) {
        // The nucleus by its definition, with a sort: the probability before a token is at most top_p.
        Vector probabilities = logits;
        softmax(probabilities);
        Vector sorted = probabilities;
        std::sort(sorted.rbegin(), sorted.rend());
        float kept = 0, smallest = 0;
        for (const float probability : sorted) {
            if (kept > top_p) break;
            kept += probability;
            smallest = probability;
        }
        ASSERT_LT(smallest, sorted[0]);     // more than one token
        ASSERT_GT(smallest, sorted.back());  // not all of them
        for (float& value : probabilities) value = value < smallest ? 0 : value / kept;

        for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
            RaceRandom random(seed);
            std::vector<int> counts(logits.size());
            for (int i = 0; i < kDraws; i++) counts[static_cast<std::size_t>(sample_race(logits, 1.0f, top_p, random))]++;
            for (std::size_t i = 0; i < counts.size(); i++) {
                if (probabilities[i] == 0) {
                    EXPECT_EQ(counts[i], 0) << "token " << i << ", top_p " << top_p << ", seed " << seed;
                }
            }
            EXPECT_LT(excess(counts, probabilities, kDraws), 4.0) << "top_p " << top_p << ", seed " << seed;
        }
    }
}

TEST(SampleRace, EqualsAreInTheNucleusTogether) {
    // 0.4, 0.2, 0.2, 0.2 or so: at 0.5 all of the equal ones are in, though one of them would be enough; at 0.3 none.
    const Vector logits{0.0f, 0.6931472f, 0.0f, 0.0f};
    RaceRandom random(3);
    std::vector<int> counts(4);
    for (int i = 0; i < 50'000; i++) counts[static_cast<std::size_t>(sample_race(logits, 1.0f, 0.5f, random))]++;
    EXPECT_LT(std::abs(excess(counts, Vector{0.2f, 0.4f, 0.2f, 0.2f}, 50'000)), 4.0);
    for (int i = 0; i < 1000; i++) EXPECT_EQ(sample_race(logits, 1.0f, 0.3f, random), 1);
    // All are equal: all are in, however small top_p is.
    counts.assign(4, 0);
    for (int i = 0; i < 1000; i++) counts[static_cast<std::size_t>(sample_race(Vector(4, 2.0f), 1.0f, 1e-6f, random))]++;
    for (const int count : counts) EXPECT_GT(count, 0);
}

TEST(SampleRace, ATinyNucleusIsTheMostLikelyToken) {
    RaceRandom random(0);
    for (int i = 0; i < 1000; i++) EXPECT_EQ(sample_race(Vector{-3, -1, 2, -1, 0}, 1.0f, 1e-6f, random), 2);
    EXPECT_EQ(sample_race(Vector{-3}, 1.0f, 1e-6f, random), 0);
}

TEST(SampleRace, IsRunOnceWhereAllTokensAreKept) {
    const Vector logits = random_values(64, 9, 3.0f);
    RaceRandom zero(4), one(4), counted(4);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(sample_race(logits, 1.0f, 0.0f, zero), sample_race(logits, 1.0f, 1.0f, one));
        for (std::size_t j = 0; j < logits.size(); j++) counted.next();
    }
    const double next = counted.next();
    EXPECT_EQ(zero.next(), next);
    EXPECT_EQ(one.next(), next);
}

TEST(Sampler, RacesWithAnySeed) {
    const Vector logits = random_values(100, 7, 2.0f);
    const auto draw = [&](std::uint64_t seed) {
        Sampler sampler(1.0f, 0.9f, seed, Method::race);
        std::vector<int> tokens;
        for (int i = 0; i < 50; i++) tokens.push_back(sampler.sample(logits));
        return tokens;
    };
    EXPECT_EQ(draw(0), draw(0));
    EXPECT_NE(draw(0), draw(1));
    Sampler greedy(0.0f, 0.9f, 0, Method::race);
    EXPECT_EQ(greedy.sample(Vector{-3, -1, -2, -1}), 1);
}

TEST(Sampler, TheRaceGoesOnDuringAPrompt) {
    const Vector logits = random_values(100, 7, 2.0f);
    for (const float top_p : {1.0f, 0.2f}) {  // with 0.2 most races are repeated, those of a prompt too
        Sampler all(1.0f, top_p, 3, Method::race), later(1.0f, top_p, 3, Method::race);
        for (int i = 0; i < 5; i++) {
            all.sample(logits);
            later.skip(logits);
        }
        for (int i = 0; i < 20; i++) EXPECT_EQ(all.sample(logits), later.sample(logits));
    }
}

}  // namespace
}  // namespace llama512::test
