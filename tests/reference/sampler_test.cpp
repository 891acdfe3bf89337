// Sampling: the generator's known sequence, and which token each coin picks.

#include "sampler.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <set>
#include <vector>

#include "tiny_model.hpp"

namespace llama512::test {
namespace {

using Vector = std::vector<float>;

TEST(Random, FollowsXorshift64Star) {
    // From seed 1, by hand: x = 1 ^ 1 << 25 = 0x2000001, x ^= x >> 27 changes nothing,
    // and (0x2000001 * 0x2545F4914F6CDD1D mod 2^64) >> 32 = 0x47E4CE4B.
    Random random(1);
    EXPECT_EQ(random.next_u32(), 0x47E4CE4Bu);
    EXPECT_EQ(Random(1).next_f32(), static_cast<float>(0x47E4CE) / 16777216.0f);
}

TEST(Random, StaysBelowOne) {
    Random random(42);
    for (int i = 0; i < 10000; i++) {
        const float value = random.next_f32();
        EXPECT_GE(value, 0.0f);
        EXPECT_LT(value, 1.0f);
    }
}

TEST(SampleMultinomial, PicksWhereTheRunningSumPassesTheCoin) {
    const Vector p = {0.25f, 0.5f, 0.25f};
    EXPECT_EQ(sample_multinomial(p, 0.0f), 0);
    EXPECT_EQ(sample_multinomial(p, 0.24f), 0);
    EXPECT_EQ(sample_multinomial(p, 0.25f), 1);
    EXPECT_EQ(sample_multinomial(p, 0.74f), 1);
    EXPECT_EQ(sample_multinomial(p, 0.75f), 2);
    EXPECT_EQ(sample_multinomial(Vector{0.4f, 0.4f}, 0.9f), 1);  // the sum never gets there
}

TEST(SampleTopP, KeepsTheMostLikelyTokens) {
    const Vector p = {0.1f, 0.4f, 0.2f, 0.3f};
    // top_p 0.6: 0.4 + 0.3 is above it, so tokens 1 and 3, with 4/7 and 3/7 of the coins.
    EXPECT_EQ(sample_top_p(p, 0.6f, 0.0f), 1);
    EXPECT_EQ(sample_top_p(p, 0.6f, 0.57f), 1);
    EXPECT_EQ(sample_top_p(p, 0.6f, 0.58f), 3);
    EXPECT_EQ(sample_top_p(p, 0.6f, 0.999f), 3);
    // top_p 0.3: the first token alone.
    EXPECT_EQ(sample_top_p(p, 0.3f, 0.999f), 1);
    // top_p 0.999: all, the least likely last.
    EXPECT_EQ(sample_top_p(p, 0.999f, 0.999f), 0);
}

TEST(SampleTopP, KeepsTheOrderOfEqualTokens) {
    const Vector p = {0.25f, 0.25f, 0.25f, 0.25f};
    EXPECT_EQ(sample_top_p(p, 0.9f, 0.1f), 0);
    EXPECT_EQ(sample_top_p(p, 0.9f, 0.3f), 1);
    EXPECT_EQ(sample_top_p(p, 0.9f, 0.6f), 2);
    EXPECT_EQ(sample_top_p(p, 0.9f, 0.9f), 3);
}

TEST(SampleTopP, CopesWithANucleusSmallerThanOneToken) {
    EXPECT_EQ(sample_top_p(Vector{0.25f, 0.25f, 0.25f, 0.25f}, 0.01f, 0.5f), 0);
}

TEST(Sampler, IsGreedyAtTemperatureZero) {
    Sampler sampler(0.0f, 0.9f, 1);
    for (int i = 0; i < 10; i++) EXPECT_EQ(sampler.sample(Vector{-3, -1, -2, -1}), 1);
}

TEST(Sampler, RepeatsWithTheSameSeed) {
    const Vector logits = random_values(100, 7, 2.0f);
    const auto draw = [&](std::uint64_t seed) {
        Sampler sampler(1.0f, 0.9f, seed);
        std::vector<int> tokens;
        for (int i = 0; i < 50; i++) tokens.push_back(sampler.sample(logits));
        return tokens;
    };
    EXPECT_EQ(draw(1), draw(1));
    EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, TemperatureSharpensAndTopPCuts) {
    const Vector logits = {0, 1, 2, 3};
    const auto distinct = [&](float temperature, float top_p) {
        Sampler sampler(temperature, top_p, 1);
        std::set<int> tokens;
        for (int i = 0; i < 1000; i++) tokens.insert(sampler.sample(logits));
        return tokens;
    };
    EXPECT_EQ(distinct(1.0f, 1.0f), (std::set<int>{0, 1, 2, 3}));
    EXPECT_EQ(distinct(1.0f, 0.0f), (std::set<int>{0, 1, 2, 3}));  // 0 keeps all, as 1 does
    EXPECT_EQ(distinct(1.0f, 0.8f), (std::set<int>{2, 3}));        // 0.64 + 0.24
    EXPECT_EQ(distinct(0.01f, 1.0f), (std::set<int>{3}));
}

TEST(Sampler, DrawsWithTheRightFrequencies) {
    const Vector logits = {0.0f, std::log(3.0f)};  // probabilities 1/4, 3/4
    Sampler sampler(1.0f, 1.0f, 123);
    int ones = 0;
    for (int i = 0; i < 20000; i++) ones += sampler.sample(logits);
    EXPECT_NEAR(ones / 20000.0, 0.75, 0.02);
}

}  // namespace
}  // namespace llama512::test
