#include "files/dequantize.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace llama512 {

using std::size_t;

namespace {

/// The value of type T at byte `offset`.
template <typename T>
T read(std::span<const std::byte> bytes, size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

void dequantize_f32(std::span<float> out, std::span<const std::byte> blocks) {
    for (size_t i = 0; i < out.size(); i++) out[i] = read<float>(blocks, i * sizeof(float));
}

void dequantize_f16(std::span<float> out, std::span<const std::byte> blocks) {
    for (size_t i = 0; i < out.size(); i++) out[i] = float16_to_float32(read<std::uint16_t>(blocks, i * 2));
}

void dequantize_bf16(std::span<float> out, std::span<const std::byte> blocks) {
    for (size_t i = 0; i < out.size(); i++) out[i] = bfloat16_to_float32(read<std::uint16_t>(blocks, i * 2));
}

// A quantized block: float16 d, then a byte for one value or for two.
constexpr size_t kBlockValues = 32;
constexpr size_t kBlockBytesQ8 = 2 + kBlockValues;
constexpr size_t kBlockBytesQ4 = 2 + kBlockValues / 2;

void dequantize_q8_0(std::span<float> out, std::span<const std::byte> blocks) {
    for (size_t b = 0; b < out.size() / kBlockValues; b++) {
        const size_t start = b * kBlockBytesQ8;
        const float d = float16_to_float32(read<std::uint16_t>(blocks, start));
        for (size_t i = 0; i < kBlockValues; i++) {
            const int q = read<std::int8_t>(blocks, start + 2 + i);
            out[b * kBlockValues + i] = d * static_cast<float>(q);
        }
    }
}

void dequantize_q4_0(std::span<float> out, std::span<const std::byte> blocks) {
    constexpr size_t half = kBlockValues / 2;
    for (size_t b = 0; b < out.size() / kBlockValues; b++) {
        const size_t start = b * kBlockBytesQ4;
        const float d = float16_to_float32(read<std::uint16_t>(blocks, start));
        for (size_t i = 0; i < half; i++) {
            const int q = read<std::uint8_t>(blocks, start + 2 + i);
            out[b * kBlockValues + i] = d * static_cast<float>((q & 15) - 8);
            out[b * kBlockValues + half + i] = d * static_cast<float>((q >> 4) - 8);
        }
    }
}

constexpr std::array<TensorType, 5> kTensorTypes = {{
    {kFloat32Type, "F32", 1, 4, dequantize_f32},
    {1, "F16", 1, 2, dequantize_f16},
    {30, "BF16", 1, 2, dequantize_bf16},
    {8, "Q8_0", kBlockValues, kBlockBytesQ8, dequantize_q8_0},
    {2, "Q4_0", kBlockValues, kBlockBytesQ4, dequantize_q4_0},
}};

/// ggml's other types, for messages.
struct Name {
    std::uint32_t number;
    const char* name;
};
constexpr Name kOtherTypes[] = {
    {3, "Q4_1"},     {6, "Q5_0"},     {7, "Q5_1"},   {9, "Q8_1"},    {10, "Q2_K"},   {11, "Q3_K"},  {12, "Q4_K"},
    {13, "Q5_K"},    {14, "Q6_K"},    {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"},  {21, "IQ3_S"},   {22, "IQ2_S"}, {23, "IQ4_XS"}, {24, "I8"},     {25, "I16"},   {26, "I32"},
    {27, "I64"},     {28, "F64"},     {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},  {39, "MXFP4"},
};

}  // namespace

const TensorType* find_tensor_type(std::uint32_t number) {
    for (const TensorType& type : kTensorTypes) {
        if (type.number == number) return &type;
    }
    return nullptr;
}

std::string tensor_type_names() {
    std::string names;
    for (size_t i = 0; i < kTensorTypes.size(); i++) {
        if (i > 0) names += i + 1 < kTensorTypes.size() ? ", " : " or ";
        names += kTensorTypes[i].name;
    }
    return names;
}

std::string describe_tensor_type(std::uint32_t number) {
    const std::string digits = std::to_string(number);
    if (const TensorType* type = find_tensor_type(number)) return std::string(type->name) + " (" + digits + ")";
    for (const Name& other : kOtherTypes) {
        if (other.number == number) return std::string(other.name) + " (" + digits + ")";
    }
    return digits;
}

float float16_to_float32(std::uint16_t bits) {
    const std::uint32_t sign = bits & 0x8000u;
    const std::uint32_t exponent = bits >> 10 & 31;
    const std::uint32_t fraction = bits & 0x3FFu;
    std::uint32_t magnitude;  // the float32's bits without its sign
    if (exponent == 0) {
        magnitude = std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24f);  // zero or subnormal
    } else if (exponent == 31) {
        magnitude = 0x7F800000u | fraction << 13;  // infinite or NaN
    } else {
        magnitude = (exponent + 127 - 15) << 23 | fraction << 13;
    }
    return std::bit_cast<float>(sign << 16 | magnitude);
}

float bfloat16_to_float32(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

}  // namespace llama512
