// The one matrix product that forward and backward pass share.
//
// Of a layer y = W x with rows of X as positions, all three products have this form (A is read through two strides,
// so that it may stand transposed; B and C are row-major):
//
//   forward           Y  (T, out)  =  X  (T, in)    W^T (in, out)
//   backward, input   dX (T, in)   =  dY (T, out)   W   (out, in)
//   backward, weight  dW (out, in) += dY^T (out, T) X   (T, in)
#pragma once

#include <cstddef>

#include "simd.hpp"

namespace llama512::train {

/// A matrix that is read element by element: a(m, k) = data[m * row + k * column].
template <typename Real>
struct Strided {
    const Real* data;
    std::size_t row;
    std::size_t column;
};

enum class Mode { kSet, kAdd };

/// One tile of C, kRows by kVectors registers, kept in registers over the whole sum.
template <typename Real, std::size_t kRows, std::size_t kVectors>
[[gnu::always_inline]] inline void matmul_tile(Mode mode, std::size_t k_end, Strided<Real> a, const Real* b,
                                               std::size_t b_row, Real* c, std::size_t c_row) {
    constexpr std::size_t kWidth = kLanes<Real>;
    Vector<Real> tile[kRows][kVectors];
    for (std::size_t m = 0; m < kRows; m++) {
        for (std::size_t v = 0; v < kVectors; v++) {
            tile[m][v] = mode == Mode::kAdd ? load(c + m * c_row + v * kWidth) : Vector<Real>{};
        }
    }
    for (std::size_t k = 0; k < k_end; k++) {
        Vector<Real> row[kVectors];
        for (std::size_t v = 0; v < kVectors; v++) row[v] = load(b + k * b_row + v * kWidth);
        for (std::size_t m = 0; m < kRows; m++) {
            const Real factor = a.data[m * a.row + k * a.column];
            for (std::size_t v = 0; v < kVectors; v++) tile[m][v] += factor * row[v];
        }
    }
    for (std::size_t m = 0; m < kRows; m++) {
        for (std::size_t v = 0; v < kVectors; v++) store(c + m * c_row + v * kWidth, tile[m][v]);
    }
}

/// A stripe of C, kVectors registers wide: tiles of kRows rows, and what is left row by row.
template <typename Real, std::size_t kRows, std::size_t kVectors>
void matmul_stripe(Mode mode, std::size_t m_end, std::size_t k_end, Strided<Real> a, const Real* b, std::size_t b_row,
                   Real* c, std::size_t c_row) {
    std::size_t m = 0;
    for (; m + kRows <= m_end; m += kRows) {
        matmul_tile<Real, kRows, kVectors>(mode, k_end, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row);
    }
    for (; m + 2 <= m_end; m += 2) {
        matmul_tile<Real, 2, kVectors>(mode, k_end, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row);
    }
    for (; m < m_end; m++) {
        matmul_tile<Real, 1, kVectors>(mode, k_end, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row);
    }
}

/// C (m_end, n_end) = or += A (m_end, k_end) B (k_end, n_end).
template <typename Real>
void matmul(Mode mode, std::size_t m_end, std::size_t n_end, std::size_t k_end, Strided<Real> a, const Real* b,
            std::size_t b_row, Real* c, std::size_t c_row) {
    constexpr std::size_t kWidth = kLanes<Real>;
    std::size_t n = 0;
    for (; n + 2 * kWidth <= n_end; n += 2 * kWidth) {
        matmul_stripe<Real, 6, 2>(mode, m_end, k_end, a, b + n, b_row, c + n, c_row);
    }
    for (; n + kWidth <= n_end; n += kWidth) {
        matmul_stripe<Real, 12, 1>(mode, m_end, k_end, a, b + n, b_row, c + n, c_row);
    }
    for (std::size_t m = 0; m < m_end; m++) {  // columns that fill no register
        for (std::size_t j = n; j < n_end; j++) {
            Real total = mode == Mode::kAdd ? c[m * c_row + j] : Real(0);
            for (std::size_t k = 0; k < k_end; k++) total += a.data[m * a.row + k * a.column] * b[k * b_row + j];
            c[m * c_row + j] = total;
        }
    }
}

/// out (columns, rows) = in^T, in (rows, columns).
template <typename Real>
void transpose(std::size_t rows, std::size_t columns, const Real* in, std::size_t in_row, Real* out, std::size_t out_row) {
    for (std::size_t r = 0; r < rows; r++) {
        for (std::size_t c = 0; c < columns; c++) out[c * out_row + r] = in[r * in_row + c];
    }
}

}  // namespace llama512::train
