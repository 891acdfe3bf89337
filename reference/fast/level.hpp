// The fast kernels, compiled for one kind of registers: what fast.cpp calls, in one thread or several.
//
// level.cpp is compiled once for each level. Nothing of it is shared by levels but these declarations: a function that two
// levels had in common would be linked once, and might then need instructions that this processor does not have.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llama512::fast {

/// A matrix in groups of columns of integers, see quantized.hpp.
struct PackedMatrix;

struct Level {
    const char* name;

    /// out[row * out_row + i] = w's row i . x's row, for first <= i < last.
    void (*matmul)(float* out, std::size_t out_row,
                   const float* x, std::size_t rows,  // (rows, n)
                   const float* w, std::size_t n,     // (d, n)
                   std::size_t first, std::size_t last);

    /// out = weight * x / sqrt(mean(x^2) + epsilon); returns mean(x^2).
    float (*rmsnorm)(float* out, const float* x, const float* weight, std::size_t n, float epsilon);

    /// Turns the pairs of each head.
    void (*rope)(float* x, std::size_t heads, const float* cos, const float* sin, std::size_t head_size);

    /// One key and value head, and the query heads that share it. The cache is in blocks of 16 positions:
    /// (blocks, kv_dim, 16). `keys` and `values` point at this head's first component. `scores` has room for whole blocks.
    float (*attention)(float* out, const float* q, std::size_t heads,  // (heads, head_size)
                       const float* keys, const float* values, std::size_t kv_dim,
                       std::size_t pos, std::size_t head_size, float* scores);

    void (*swiglu)(float* gate, const float* up, std::size_t n);
    void (*add)(float* x, const float* y, std::size_t n);
    float (*largest)(const float* x, std::size_t n);

    /// Reads memory and does nothing else. What it returns has no meaning.
    float (*read)(const float* x, std::size_t n);
};

}  // namespace llama512::fast
