// Vectors of float or double that become SSE, AVX or AVX-512 registers, whichever the compiler targets.
#pragma once

#include <cmath>
#include <cstddef>

#include "fast/lanes.hpp"

namespace llama512::train {

#if defined(__AVX512F__)
constexpr std::size_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr std::size_t kVectorBytes = 32;
#else
constexpr std::size_t kVectorBytes = 16;
#endif

template <typename Real>
struct VectorOf {
    typedef Real type __attribute__((vector_size(kVectorBytes), may_alias));
    typedef Real unaligned __attribute__((vector_size(kVectorBytes), may_alias, aligned(sizeof(Real))));
};

/// A register of kLanes<Real> values. GCC's vector extension gives it + - * / and comparisons, lane by lane.
template <typename Real>
using Vector = typename VectorOf<Real>::type;

template <typename Real>
constexpr std::size_t kLanes = kVectorBytes / sizeof(Real);

template <typename Real>
Vector<Real> load(const Real* values) {
    return *reinterpret_cast<const typename VectorOf<Real>::unaligned*>(values);
}

template <typename Real>
void store(Real* values, Vector<Real> vector) {
    *reinterpret_cast<typename VectorOf<Real>::unaligned*>(values) = vector;
}

template <typename Real>
Real sum(Vector<Real> vector) {
    Real total = 0;
    for (std::size_t i = 0; i < kLanes<Real>; i++) total += vector[i];
    return total;
}

/// sum of a[i] * b[i].
template <typename Real>
Real dot(const Real* a, const Real* b, std::size_t n) {
    Vector<Real> partial{};
    std::size_t i = 0;
    for (; i + kLanes<Real> <= n; i += kLanes<Real>) partial += load(a + i) * load(b + i);
    Real total = sum<Real>(partial);
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

/// exp, lane by lane: for float that of the reference's fast kernels.
inline Vector<float> exp(Vector<float> x) { return fast::exp(x); }

inline Vector<double> exp(Vector<double> x) {
    for (std::size_t i = 0; i < kLanes<double>; i++) x[i] = std::exp(x[i]);
    return x;
}

/// values[i] = exp(values[i] - shift); returns the sum.
template <typename Real>
Real exp_in_place(Real* values, std::size_t n, Real shift) {
    Vector<Real> total{};
    std::size_t i = 0;
    for (; i + kLanes<Real> <= n; i += kLanes<Real>) {
        const Vector<Real> e = exp(load(values + i) - shift);
        store(values + i, e);
        total += e;
    }
    Real rest = 0;
    if (i < n) {
        Vector<Real> last{};
        for (std::size_t j = i; j < n; j++) last[j - i] = values[j] - shift;
        last = exp(last);
        for (std::size_t j = i; j < n; j++) rest += values[j] = last[j - i];
    }
    return sum<Real>(total) + rest;
}

template <typename Real>
Real max(const Real* values, std::size_t n) {
    Real best = values[0];
    std::size_t i = 0;
    if (n >= kLanes<Real>) {
        Vector<Real> bests = load(values);
        for (i = kLanes<Real>; i + kLanes<Real> <= n; i += kLanes<Real>) {
            const Vector<Real> next = load(values + i);
            bests = next > bests ? next : bests;
        }
        for (std::size_t lane = 0; lane < kLanes<Real>; lane++) best = bests[lane] > best ? bests[lane] : best;
    }
    for (; i < n; i++) best = values[i] > best ? values[i] : best;
    return best;
}

}  // namespace llama512::train
