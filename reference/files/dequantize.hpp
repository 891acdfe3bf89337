// How tensors are stored in GGUF files, and how each type becomes float32.
//
// Types and their numbers: https://github.com/ggml-org/ggml, docs/gguf.md (ggml_type). A row is stored in blocks of
// `block_values` values; rows follow each other without a gap.
//
//   F32   float32                 F16   IEEE 754 binary16                 BF16  the upper half of a float32
//   Q8_0  blocks of 32 values: float16 d, then 32 int8 q:                 value i = d * q[i]
//   Q4_0  blocks of 32 values: float16 d, then 16 bytes q of two halves:  value i      = d * ((q[i] & 15) - 8)
//                                                                         value i + 16 = d * ((q[i] >> 4) - 8)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace llama512 {

constexpr std::uint32_t kFloat32Type = 0;

/// A type of tensor that can be read.
struct TensorType {
    std::uint32_t number;  // in files
    const char* name;
    std::size_t block_values;  // values in a block
    std::size_t block_bytes;   // bytes of a block
    /// Writes the values of whole blocks, exactly: the product d * q has at most 19 bits. Infinite and NaN values stay
    /// what they are. Needs as many blocks as out.size() / block_values.
    void (*dequantize)(std::span<float> out, std::span<const std::byte> blocks);
};

/// The type of this number, or null when it is none that can be read.
const TensorType* find_tensor_type(std::uint32_t number);

/// The names of all types that can be read, for messages: "F32, F16, BF16, Q8_0 or Q4_0".
std::string tensor_type_names();

/// The number's name for messages, whether it can be read or not: "Q4_K (12)"; "99" when ggml has no such type.
std::string describe_tensor_type(std::uint32_t number);

/// The float32 of the same value. Exact for every float16, subnormal ones included.
float float16_to_float32(std::uint16_t bits);
float bfloat16_to_float32(std::uint16_t bits);

}  // namespace llama512
