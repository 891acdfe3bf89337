// The matrix product against a plain loop, and exp against the library's.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "matmul.hpp"
#include "random.hpp"
#include "simd.hpp"

namespace llama512::train {
namespace {

TEST(Matmul, EqualsAPlainLoopForAllSmallSizesAndStrides) {
    Random random(1);
    std::vector<float> a(60 * 60), b(60 * 60);
    for (float& value : a) value = static_cast<float>(random.normal());
    for (float& value : b) value = static_cast<float>(random.normal());
    for (const std::size_t m : {1, 2, 5, 6, 7, 12, 13, 31}) {
        for (const std::size_t n : {1, 7, 8, 9, 15, 16, 17, 24, 40}) {
            for (const std::size_t k : {1, 3, 8, 33}) {
                for (const bool transposed : {false, true}) {
                    const Strided<float> left = transposed ? Strided<float>{a.data(), 1, 50} : Strided<float>{a.data(), 50, 1};
                    for (const Mode mode : {Mode::kSet, Mode::kAdd}) {
                        std::vector<float> c(40 * 45, 0.5f);
                        matmul(mode, m, n, k, left, b.data(), 55, c.data(), 45);
                        for (std::size_t i = 0; i < 31; i++) {
                            for (std::size_t j = 0; j < 45; j++) {
                                double expected = mode == Mode::kAdd || i >= m || j >= n ? 0.5 : 0;
                                if (i < m && j < n) {
                                    for (std::size_t x = 0; x < k; x++) {
                                        expected += static_cast<double>(left.data[i * left.row + x * left.column]) *
                                                    static_cast<double>(b[x * 55 + j]);
                                    }
                                }
                                ASSERT_NEAR(c[i * 45 + j], expected, 1e-4) << m << " " << n << " " << k;
                            }
                        }
                    }
                }
            }
        }
    }
}

TEST(Exp, IsWithinAFewRoundingsOfTheLibrarys) {
    for (float x = -80; x < 80; x += 0.0137f) {
        const float found = exp(Vector<float>{} + x)[0];
        ASSERT_NEAR(found / std::exp(static_cast<double>(x)), 1, 5e-7) << x;
    }
    EXPECT_LT(exp(Vector<float>{} - 1000.0f)[0], 1e-37f);
    EXPECT_TRUE(std::isfinite(exp(Vector<float>{} + 1000.0f)[0]));
}

TEST(Exp, InPlaceTreatsEveryLength) {
    for (std::size_t n = 1; n < 40; n++) {
        std::vector<float> values(n + 1, 2.0f);
        values[n] = 77;
        EXPECT_NEAR(exp_in_place(values.data(), n, 1.0f), static_cast<double>(n) * std::exp(1.0), 1e-4);
        EXPECT_EQ(values[n], 77);
        EXPECT_EQ(max(values.data(), n + 1), 77);
    }
}

}  // namespace
}  // namespace llama512::train
