// Each type of tensor against values computed by hand.

#include "files/dequantize.hpp"

#include <bit>
#include <cmath>
#include <gtest/gtest.h>

namespace llama512::test {
namespace {

using Vector = std::vector<float>;

/// The values of `bytes` in the type of this number.
Vector values(std::uint32_t number, const std::string& bytes) {
    const TensorType& type = *find_tensor_type(number);
    Vector out(bytes.size() / type.block_bytes * type.block_values);
    type.dequantize(out, std::as_bytes(std::span(bytes)));
    return out;
}

TEST(Dequantize, F32) {
    EXPECT_EQ(values(0, std::string("\x00\x00\x80\x3F\x00\x00\x20\xC0", 8)), (Vector{1.0f, -2.5f}));
}

TEST(Dequantize, F16) {
    // 1; -2; 2/3 rounded; the largest; the smallest normal one; the largest and the smallest subnormal one
    EXPECT_EQ(values(1, std::string("\x00\x3C\x00\xC0\x55\x39\xFF\x7B\x00\x04\xFF\x03\x01\x80", 14)),
              (Vector{1.0f, -2.0f, 0.66650390625f, 65504.0f, 0x1p-14f, 1023 * 0x1p-24f, -0x1p-24f}));
}

TEST(Dequantize, BF16) {
    EXPECT_EQ(values(30, std::string("\x80\x3F\x20\xC0\x49\x40\x01\x00", 8)),
              (Vector{1.0f, -2.5f, 3.140625f, std::bit_cast<float>(0x10000u)}));
}

TEST(Dequantize, Q8_0) {
    std::string block = std::string("\x00\x38", 2);  // d = 0.5
    for (int q = -16; q < 16; q++) block += static_cast<char>(q == -16 ? -128 : q == 15 ? 127 : q);
    Vector expected;
    for (int q = -16; q < 16; q++) expected.push_back(0.5f * static_cast<float>(q == -16 ? -128 : q == 15 ? 127 : q));
    EXPECT_EQ(values(8, block), expected);

    std::string second = std::string("\x00\xC4", 2) + std::string(32, '\x03');  // d = -4
    expected.insert(expected.end(), 32, -12.0f);
    EXPECT_EQ(values(8, block + second), expected);
}

TEST(Dequantize, Q4_0) {
    std::string block = std::string("\x00\x34", 2);  // d = 0.25
    Vector expected(32);
    for (int i = 0; i < 16; i++) {
        block += static_cast<char>(i | (15 - i) << 4);  // value i is i - 8, value i + 16 is 15 - i - 8
        expected[std::size_t(i)] = 0.25f * static_cast<float>(i - 8);
        expected[std::size_t(i) + 16] = 0.25f * static_cast<float>(7 - i);
    }
    EXPECT_EQ(values(2, block), expected);

    std::string second = std::string("\x01\x00", 2) + std::string(16, '\x80');  // d = 2^-24, -8 and 0
    expected.insert(expected.end(), 16, -0x1p-21f);
    expected.insert(expected.end(), 16, 0.0f);
    EXPECT_EQ(values(2, block + second), expected);
}

TEST(Dequantize, EveryFloat16) {
    for (std::uint32_t bits = 0; bits < 0x10000; bits++) {
        const int exponent = bits >> 10 & 31;
        const double fraction = bits & 0x3FF;
        double expected = exponent == 0    ? std::ldexp(fraction, -24)
                          : exponent < 31 ? std::ldexp(1024 + fraction, exponent - 25)
                          : fraction == 0 ? double(INFINITY)
                                          : double(NAN);
        if (bits & 0x8000) expected = -expected;
        const double found = double(float16_to_float32(static_cast<std::uint16_t>(bits)));
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(found)) << bits;
        } else {
            ASSERT_EQ(found, expected) << bits;
            ASSERT_EQ(std::signbit(found), (bits & 0x8000) != 0) << bits;
        }
    }
}

TEST(Dequantize, NamesOfTypes) {
    EXPECT_EQ(tensor_type_names(), "F32, F16, BF16, Q8_0 or Q4_0");
    EXPECT_EQ(describe_tensor_type(8), "Q8_0 (8)");
    EXPECT_EQ(describe_tensor_type(12), "Q4_K (12)");
    EXPECT_EQ(describe_tensor_type(4), "4");
    EXPECT_EQ(describe_tensor_type(UINT32_MAX), "4294967295");
    EXPECT_EQ(find_tensor_type(12), nullptr);
    EXPECT_EQ(find_tensor_type(UINT32_MAX), nullptr);
}

}  // namespace
}  // namespace llama512::test
