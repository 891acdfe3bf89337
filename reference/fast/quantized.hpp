// Kernels that keep the matrices of a model in 8 or 4 bits a weight.
//
// The columns of a row are in groups, and each group has a scale: a weight is its integer times the scale. The vector that a
// matrix is multiplied by is rounded in the same way, in 8 bits, so that the products and their sums over a group are
// integers; a group's sum is exact, and only the sums of groups are rounded. So the result is another one than float32's,
// and tokens may differ; but it is the same on every processor.
//
// int8: a scale is the group's largest magnitude / 127, as in llama2.c's runq.c.
// int4: a scale is the group's value of largest magnitude / -8, as in Q4_0 of
//       https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, so an integer is from -8 to 7.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "config.hpp"
#include "kernels.hpp"
#include "weights.hpp"

namespace llama512 {

enum class Quantization { none, int8, int4 };

/// Fast kernels (see fast_kernels) whose matmul takes the matrices of `weights` and no others. They are rounded once, here, by
/// all threads; everything else is float32. `weights` must outlive the kernels.
std::unique_ptr<Kernels> quantized_kernels(Quantization quantization, const Config& config, const Weights& weights,
                                           std::size_t threads, const std::string& level = "");

}  // namespace llama512
