// The checkpoint formats of https://github.com/karpathy/llama2.c (export.py).
//
//   v0  28-byte header: the 7 int32 of Config; vocab_size is negative when the classifier is untied.
//       Then float32 tensors.
//   v1  256-byte header: magic "24ka" (0x616b3432), int32 version 1, the 7 int32, uint8 tied; zeros.
//       Then float32 tensors, in another order.
//   v2  the same header with version 2, and int32 group_size right after the uint8.
//       Then norms as float32, and matrices as int8 values with one float32 scale per group of values.
// Of the rest of a header of 256 bytes, which is zero in llama2.c's files, ours use two float32 at byte 64: rms_epsilon and
// rope_theta, where they are not Llama 2's.
#pragma once

#include "files/checkpoint.hpp"
#include "files/mapped_file.hpp"

namespace llama512 {

/// v0 and v1 tensors are views into the file; v2 matrices are dequantized at once.
/// Throws Error when the header is implausible, the file's size is not exactly what the header needs, or a weight is
/// not finite.
Contents read_llama2c(const MappedFile& file, std::size_t threads);

}  // namespace llama512
