// The fast kernels, compiled for one kind of registers: what fast.cpp calls, in one thread or several.
//
// level.cpp is compiled once for each level. Nothing of it is shared by levels but these declarations: a function that two
// levels had in common would be linked once, and might then need instructions that this processor does not have.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llama512::fast {

/// A matrix of integers with scales (quantized.hpp), as Level::matmul_packed reads it: from its first byte to its last.
///
/// Blocks of 16 rows, the lanes. In a block: groups of columns. In a group: 16 scales (float32), and then, for each pair of
/// columns, the integers of the 16 rows: int8 for both columns of row 0, of row 1, ...; or 4 bits each, plus 8, the first
/// column's in the lower half of a byte. Rows and columns that the matrix does not have are 0.
struct PackedMatrix {
    const std::byte* bytes;
    std::size_t rows;
    std::size_t groups;  // of a row
    std::size_t columns;  // of a group, even
    bool int4;
};

constexpr std::size_t kPackedRows = 16;    // of a block
constexpr std::size_t kMaxColumns = 64;    // of a group

/// Rows of x in the same groups of columns.
struct PackedRows {
    const std::int16_t* values;  // (rows, groups, columns), in 8 bits
    const float* scales;         // (rows, groups)
    const std::int32_t* sums;    // (rows, groups)  of the values
};

struct Level {
    const char* name;

    /// out[row * out_row + i] = w's row i . x's row, for first <= i < last.
    void (*matmul)(float* out, std::size_t out_row,
                   const float* x, std::size_t rows,  // (rows, n)
                   const float* w, std::size_t n,     // (d, n)
                   std::size_t first, std::size_t last);

    /// Rounds a group of n values, at most kMaxColumns, to integers of at most 127, or from -8 to 7, and returns their scale.
    /// `integers` has room for kMaxColumns; those after n are 0.
    float (*quantize)(std::int8_t* integers, const float* values, std::size_t n, bool int4);

    /// out[row * out_row + i] = w's row i . x's row, for the blocks of rows of w from `first` to `last`.
    void (*matmul_packed)(float* out, std::size_t out_row, const PackedRows& x, std::size_t rows, const PackedMatrix& w,
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
    std::size_t (*argmax)(const float* x, std::size_t n);

    /// Reads memory and does nothing else. What it returns has no meaning.
    float (*read)(const float* x, std::size_t n);
};

}  // namespace llama512::fast
