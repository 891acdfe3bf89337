// Each operation against values computed by hand.

#include "ops.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <vector>

namespace llama512 {
namespace {

using Vector = std::vector<float>;

TEST(Ops, SliceIsAPartOfAStack) {
    const Vector stack = {0, 1, 2, 3, 4, 5};
    const auto part = slice(std::span<const float>(stack), 1, 2);
    EXPECT_EQ(Vector(part.begin(), part.end()), (Vector{2, 3}));
}

TEST(Ops, Add) {
    Vector x = {1, 2, 3};
    add(x, Vector{10, 20, 30});
    EXPECT_EQ(x, (Vector{11, 22, 33}));
}

TEST(Ops, AddScaled) {
    Vector x = {1, 2, 3};
    add_scaled(x, -2.0f, Vector{10, 20, 30});
    EXPECT_EQ(x, (Vector{-19, -38, -57}));
}

TEST(Ops, Dot) { EXPECT_EQ(dot(Vector{1, 2, 3}, Vector{4, -5, 6}), 12.0f); }

TEST(Ops, MatmulIsRowsTimesColumn) {
    const Vector w = {1, 2, 3,   // (2, 3)
                      4, 5, 6};
    Vector out(2);
    matmul(out, Vector{1, 0, -1}, w);
    EXPECT_EQ(out, (Vector{-2, -2}));
    matmul(out, Vector{1, 10, 100}, w);
    EXPECT_EQ(out, (Vector{321, 654}));
}

TEST(Ops, RmsnormDividesByTheRootOfTheMeanSquare) {
    Vector out(2);
    EXPECT_EQ(rmsnorm(out, Vector{3, 4}, Vector{1, 2}, 1e-5f), 12.5f);
    const float rms = std::sqrt(12.5f + 1e-5f);
    EXPECT_NEAR(out[0], 3 / rms, 1e-6);
    EXPECT_NEAR(out[1], 2 * 4 / rms, 1e-6);
}

TEST(Ops, RmsnormEpsilonDecidesForSmallValues) {
    Vector out(2);
    rmsnorm(out, Vector{1e-4f, 1e-4f}, Vector{1, 1}, 1e-5f);
    EXPECT_NEAR(out[0], 1e-4 / std::sqrt(1e-8 + 1e-5), 1e-6);  // 0.0316; it would be 1 without epsilon
    rmsnorm(out, Vector{0, 0}, Vector{1, 1}, 1e-5f);
    EXPECT_EQ(out, (Vector{0, 0}));
    rmsnorm(out, Vector{1e-4f, 1e-4f}, Vector{1, 1}, 3e-8f);
    EXPECT_NEAR(out[0], 0.5, 1e-6);  // 1e-4 / sqrt(1e-8 + 3e-8)
}

TEST(Ops, RmsnormMayWorkInPlace) {
    Vector x = {3, 4};
    Vector out(2);
    rmsnorm(out, x, Vector{1, 2}, 1e-5f);
    rmsnorm(x, x, Vector{1, 2}, 1e-5f);
    EXPECT_EQ(x, out);
}

TEST(Ops, Softmax) {
    Vector x = {std::log(1.0f), std::log(2.0f), std::log(5.0f)};
    softmax(x);
    EXPECT_NEAR(x[0], 1.0 / 8, 1e-6);
    EXPECT_NEAR(x[1], 2.0 / 8, 1e-6);
    EXPECT_NEAR(x[2], 5.0 / 8, 1e-6);
}

TEST(Ops, SoftmaxOfLargeValuesDoesNotOverflow) {
    Vector x = {1000, 1000, -1000};
    softmax(x);
    EXPECT_EQ(x, (Vector{0.5f, 0.5f, 0}));
}

/// rope with the factors of its position.
void turn(Vector& x, std::size_t head_size, std::size_t pos, float theta) {
    Vector cos(head_size / 2);
    Vector sin(head_size / 2);
    rope_factors(cos, sin, pos, theta);
    rope(x, cos, sin);
}

TEST(Ops, RopeLeavesPositionZeroAlone) {
    Vector x = {1, 2, 3, 4};
    turn(x, 4, 0, 10000.0f);
    EXPECT_EQ(x, (Vector{1, 2, 3, 4}));
}

TEST(Ops, RopeTurnsAdjacentPairsOfEachHead) {
    // Two heads of size 4. In each, pair 0 turns by pos, pair 1 by pos * 10000^(-2/4) = pos / 100.
    Vector x = {1, 0, 1, 0, 0, 1, 0, 1};
    turn(x, 4, 3, 10000.0f);
    const double a = 3.0;
    const double b = 0.03;
    const double expected[] = {std::cos(a), std::sin(a), std::cos(b), std::sin(b),
                               -std::sin(a), std::cos(a), -std::sin(b), std::cos(b)};
    for (std::size_t i = 0; i < x.size(); i++) EXPECT_NEAR(x[i], expected[i], 1e-6) << i;
}

TEST(Ops, RopeThetaIsTheBaseOfTheFrequencies) {
    Vector x = {1, 0, 1, 0};
    turn(x, 4, 3, 100.0f);  // pair 0 turns by pos whatever theta is, pair 1 by pos * 100^(-2/4) = pos / 10
    const double expected[] = {std::cos(3.0), std::sin(3.0), std::cos(0.3), std::sin(0.3)};
    for (std::size_t i = 0; i < x.size(); i++) EXPECT_NEAR(x[i], expected[i], 1e-6) << i;
}

TEST(Ops, RopeMakesScoresDependOnDistanceOnly) {
    const Vector q = {0.3f, -1.2f, 0.7f, 0.1f};
    const Vector k = {1.1f, 0.4f, -0.6f, 0.9f};
    const auto score = [&](std::size_t q_pos, std::size_t k_pos) {
        Vector turned_q = q;
        Vector turned_k = k;
        turn(turned_q, 4, q_pos, 10000.0f);
        turn(turned_k, 4, k_pos, 10000.0f);
        return dot(turned_q, turned_k);
    };
    EXPECT_NEAR(score(5, 2), score(105, 102), 1e-5);
    EXPECT_GT(std::abs(score(5, 2) - score(5, 3)), 1e-2);
}

TEST(Ops, AttentionOfOnePositionIsItsValue) {
    Vector out(4);
    const Vector values = {5, 6};  // one key and value head, two query heads
    EXPECT_EQ(attention(out, Vector{1, 0, 0, -8}, Vector{3, 4}, values, 1, 2), 32.0f / std::sqrt(2.0f));
    EXPECT_EQ(out, (Vector{5, 6, 5, 6}));
}

TEST(Ops, AttentionWeighsByTheExponentialOfTheScore) {
    Vector out(2);
    const float a = std::log(3.0f) * std::sqrt(2.0f);  // its score is log 3, the other one's 0
    EXPECT_NEAR(attention(out, Vector{1, 0}, Vector{0, 7, a, 0}, Vector{8, 0, 0, 4}, 2, 2), std::log(3.0), 1e-6);
    EXPECT_NEAR(out[0], 8 * 0.25, 1e-6);
    EXPECT_NEAR(out[1], 4 * 0.75, 1e-6);
}

TEST(Ops, LargestIsAMagnitude) {
    EXPECT_EQ(largest(Vector{1, -3, 2}), 3.0f);
    EXPECT_EQ(largest(Vector{-0.0f}), 0.0f);
    EXPECT_EQ(largest(Vector{1, -INFINITY, 2}), INFINITY);
    EXPECT_TRUE(std::isnan(largest(Vector{1, NAN, 2})));
}

TEST(Ops, Swiglu) {
    Vector gate = {0, 1, -2};
    swiglu(gate, Vector{7, 3, 10});
    EXPECT_EQ(gate[0], 0.0f);
    EXPECT_NEAR(gate[1], 3 * 1 / (1 + std::exp(-1.0)), 1e-6);
    EXPECT_NEAR(gate[2], 10 * -2 / (1 + std::exp(2.0)), 1e-6);
}

TEST(Ops, ArgmaxTakesTheLowestIndexOnTies) {
    EXPECT_EQ(argmax(Vector{1, 3, 2, 3}), 1);
    EXPECT_EQ(argmax(Vector{0, 0, 0}), 0);
}

TEST(Ops, ArgmaxOfNegativeValues) { EXPECT_EQ(argmax(Vector{-3, -1, -2}), 1); }

}  // namespace
}  // namespace llama512
