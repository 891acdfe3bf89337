// Kernels for speed: the operations of ops.hpp with the widest vectors that this processor has, in several threads.
//
// The same sums in another order than ops.cpp's, which is the same order on every processor and for any number of threads:
// fast kernels compute the same bits everywhere, and nearly those of the plain ones.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace llama512 {

/// The levels that this processor can run, the widest vectors last: "baseline", "avx2", "avx512".
std::vector<std::string> fast_levels();

/// Kernels of a level of fast_levels(), or of the last one. At least one thread.
std::unique_ptr<Kernels> fast_kernels(std::size_t threads, const std::string& level = "");

/// Whether none of the values is infinite or NaN. As fast as the memory is read.
bool all_finite(std::span<const float> values, std::size_t threads);

/// Bytes a second at which so many threads read `memory`, the best of a few times. It takes as long as a few tokens do.
double read_bandwidth(const std::vector<std::span<const std::byte>>& memory, std::size_t threads);

}  // namespace llama512
