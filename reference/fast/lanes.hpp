// Sixteen float32 numbers side by side: one, two or four registers, whichever the compiler's target has.
//
// All sums of the fast kernels are kept in sixteen partial sums, and put together in one order. So a result does not
// depend on how wide the registers are: every target computes the same bits. (No fused multiply-add either: see
// CMakeLists.txt.)
//
// GCC's and clang's vector extension: https://gcc.gnu.org/onlinedocs/gcc/Vector-Extensions.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace llama512::fast {
namespace {  // compiled once for each level: no two levels may share a function

constexpr std::size_t kLanes = 16;

#if defined(__AVX512BW__)  // of integers, too
constexpr std::size_t kWidth = 16;  // of a register
#elif defined(__AVX2__)
constexpr std::size_t kWidth = 8;
#else
constexpr std::size_t kWidth = 4;
#endif
constexpr std::size_t kParts = kLanes / kWidth;

typedef float Register __attribute__((vector_size(kWidth * sizeof(float))));
typedef float InMemory __attribute__((vector_size(kWidth * sizeof(float)), aligned(sizeof(float)), may_alias));
typedef std::int32_t Integers __attribute__((vector_size(kWidth * sizeof(float))));

struct Lanes {
    Register part[kParts];
};

#define LLAMA512_INLINE [[gnu::always_inline]] inline

LLAMA512_INLINE Lanes load(const float* values) {
    Lanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = *reinterpret_cast<const InMemory*>(values + p * kWidth);
    return result;
}

LLAMA512_INLINE void store(float* values, const Lanes& lanes) {
    for (std::size_t p = 0; p < kParts; p++) *reinterpret_cast<InMemory*>(values + p * kWidth) = lanes.part[p];
}

/// The same value in all lanes.
LLAMA512_INLINE Lanes all(float value) {
    Lanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = Register{} + value;
    return result;
}

/// f, register by register.
template <typename Function>
LLAMA512_INLINE Lanes map(const Lanes& a, Function f) {
    Lanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = f(a.part[p]);
    return result;
}

template <typename Function>
LLAMA512_INLINE Lanes map(const Lanes& a, const Lanes& b, Function f) {
    Lanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = f(a.part[p], b.part[p]);
    return result;
}

LLAMA512_INLINE Lanes operator+(const Lanes& a, const Lanes& b) {
    return map(a, b, [](Register x, Register y) { return x + y; });
}
LLAMA512_INLINE Lanes operator*(const Lanes& a, const Lanes& b) {
    return map(a, b, [](Register x, Register y) { return x * y; });
}
LLAMA512_INLINE Lanes operator/(const Lanes& a, const Lanes& b) {
    return map(a, b, [](Register x, Register y) { return x / y; });
}
LLAMA512_INLINE Lanes min(const Lanes& a, const Lanes& b) {
    return map(a, b, [](Register x, Register y) { return x < y ? x : y; });
}
LLAMA512_INLINE Lanes max(const Lanes& a, const Lanes& b) {
    return map(a, b, [](Register x, Register y) { return x > y ? x : y; });
}

/// The same bits, as another type of the same size.
template <typename To, typename From>
LLAMA512_INLINE To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    return reinterpret_cast<To>(from);
}

LLAMA512_INLINE Lanes magnitude(const Lanes& a) {
    return map(a, [](Register x) { return bits<Register>(bits<Integers>(x) & 0x7fffffff); });
}

/// exp: 2^n times a polynomial, relative error below 2e-7 (the constants are those of expf in the Cephes library,
/// https://www.netlib.org/cephes/). 0 below -87, and e^88 above 88.
LLAMA512_INLINE Register exp(Register x) {
    const Register low = Register{} - 87.0f;
    const Register high = Register{} + 88.0f;
    const Integers underflow = x < low;
    x = underflow ? low : x;
    x = x > high ? high : x;
    const Register shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds x / log 2 to a whole number
    const Register n = shifted - 12582912.0f;
    const Register r = x - n * 0.693359375f + n * 2.12194440e-4f;  // x - n log 2, in two parts
    Register p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const Integers exponent = (bits<Integers>(shifted) << 23) + (127 << 23);  // n is in the lowest bits of shifted
    const Integers result = bits<Integers>(p * bits<Register>(exponent));
    return bits<Register>(result & ~underflow);
}

LLAMA512_INLINE Lanes exp(const Lanes& a) {
    return map(a, [](Register x) { return exp(x); });
}

/// The largest of the lanes.
LLAMA512_INLINE float most_of(const Lanes& lanes) {
    float values[kLanes];
    store(values, lanes);
    float most = values[0];
    for (std::size_t i = 1; i < kLanes; i++) most = values[i] > most ? values[i] : most;
    return most;
}

// --- Integers --------------------------------------------------------------------------------------------------------

/// Sixteen int32.
struct IntLanes {
    Integers part[kParts];
};

/// Sixteen pairs of int16.
typedef std::int16_t Halves __attribute__((vector_size(kWidth * sizeof(float))));
struct PairLanes {
    Halves part[kParts];
};

LLAMA512_INLINE IntLanes all(std::int32_t value) {
    IntLanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = Integers{} + value;
    return result;
}

LLAMA512_INLINE Lanes to_float(const IntLanes& a) {
    Lanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = __builtin_convertvector(a.part[p], Register);
    return result;
}

/// Sixteen pairs of int8.
LLAMA512_INLINE PairLanes load_int8(const std::byte* bytes) {
    typedef std::int8_t Bytes __attribute__((vector_size(2 * kWidth), aligned(1), may_alias));
    PairLanes result;
    for (std::size_t p = 0; p < kParts; p++) {
        const Bytes part = *reinterpret_cast<const Bytes*>(bytes + p * 2 * kWidth);
#if defined(__AVX512BW__)  // g++ makes two halves of it
        result.part[p] = bits<Halves>(_mm512_cvtepi8_epi16(bits<__m256i>(part)));
#else
        result.part[p] = __builtin_convertvector(part, Halves);
#endif
    }
    return result;
}

/// Sixteen pairs of 4 bits, from 0 to 15.
LLAMA512_INLINE PairLanes load_int4(const std::byte* bytes) {
    typedef std::uint8_t Bytes __attribute__((vector_size(kWidth), aligned(1), may_alias));
    [[maybe_unused]] typedef std::uint16_t Shorts __attribute__((vector_size(2 * kWidth)));
    PairLanes result;
    for (std::size_t p = 0; p < kParts; p++) {
        const Bytes part = *reinterpret_cast<const Bytes*>(bytes + p * kWidth);
#if defined(__AVX512BW__)
        const Integers both = bits<Integers>(_mm512_cvtepu8_epi32(bits<__m128i>(part)));
#else  // in two steps, for both of which there is an instruction
        const Integers both = __builtin_convertvector(__builtin_convertvector(part, Shorts), Integers);
#endif
        result.part[p] = bits<Halves>((both | (both << 12)) & 0x000f000f);
    }
    return result;
}

/// The sum of both products of each pair. The pair `x` is the same for all lanes.
LLAMA512_INLINE Integers multiply_pairs(Halves w, Integers x) {
#if defined(__AVX512BW__)
    return bits<Integers>(_mm512_madd_epi16(bits<__m512i>(w), bits<__m512i>(x)));
#elif defined(__AVX2__)
    return bits<Integers>(_mm256_madd_epi16(bits<__m256i>(w), bits<__m256i>(x)));
#elif defined(__SSE2__)
    return bits<Integers>(_mm_madd_epi16(bits<__m128i>(w), bits<__m128i>(x)));
#else
    const auto first = [](Integers pair) { return (pair << 16) >> 16; };
    const auto second = [](Integers pair) { return pair >> 16; };
    const Integers pairs = bits<Integers>(w);
    return first(pairs) * first(x) + second(pairs) * second(x);
#endif
}

LLAMA512_INLINE IntLanes add_products(const IntLanes& sum, const PairLanes& w, std::int32_t x) {
    IntLanes result;
    for (std::size_t p = 0; p < kParts; p++) result.part[p] = sum.part[p] + multiply_pairs(w.part[p], Integers{} + x);
    return result;
}

// --- Sums of lanes ---------------------------------------------------------------------------------------------------
//
// The order is that of a tree: lane i is added to lane i + 8, these eight sums i to i + 4, then to i + 2, then to i + 1.
// Several sums are made at once: their halves stand side by side in a register.

/// Of two registers in which each group of kGroup lanes belongs to one sum: the groups' lower halves, or their upper halves.
template <std::size_t kGroup, std::size_t kUpper, std::size_t... i>
LLAMA512_INLINE Register halves(Register a, Register b, std::index_sequence<i...>) {
    constexpr std::size_t kHalf = kGroup / 2;
    return __builtin_shufflevector(a, b, (i / kHalf * kGroup + kUpper * kHalf + i % kHalf)...);
}

template <std::size_t kGroup>
LLAMA512_INLINE Register add_halves(Register a, Register b) {
    constexpr auto indices = std::make_index_sequence<kWidth>();
    return halves<kGroup, 0>(a, b, indices) + halves<kGroup, 1>(a, b, indices);
}

/// From n registers of groups of kGroup to the sums of the groups, in the order of the registers.
template <std::size_t kGroup, std::size_t n>
LLAMA512_INLINE Register sum_groups(const Register (&a)[n]) {
    if constexpr (kGroup == 1) {
        static_assert(n == 1);
        return a[0];
    } else if constexpr (n == 1) {  // fewer sums than a register has room for: the rest repeats them
        const Register next[1] = {add_halves<kGroup>(a[0], a[0])};
        return sum_groups<kGroup / 2>(next);
    } else {
        Register next[n / 2];
        for (std::size_t i = 0; i < n / 2; i++) next[i] = add_halves<kGroup>(a[2 * i], a[2 * i + 1]);
        return sum_groups<kGroup / 2>(next);
    }
}

/// sums[i] = the sum of the lanes of a[i]. n is a power of two, at most kWidth.
template <std::size_t n>
LLAMA512_INLINE void sum(const Lanes (&a)[n], float* sums) {
    static_assert(n <= kWidth && (n & (n - 1)) == 0);
    Register folded[n];
    for (std::size_t i = 0; i < n; i++) {
        if constexpr (kParts == 4) {
            folded[i] = (a[i].part[0] + a[i].part[2]) + (a[i].part[1] + a[i].part[3]);
        } else if constexpr (kParts == 2) {
            folded[i] = a[i].part[0] + a[i].part[1];
        } else {
            folded[i] = a[i].part[0];
        }
    }
    const Register result = sum_groups<kWidth>(folded);
    for (std::size_t i = 0; i < n; i++) sums[i] = result[i];
}

LLAMA512_INLINE float sum(const Lanes& a) {
    const Lanes one[1] = {a};
    float result;
    sum(one, &result);
    return result;
}

}  // namespace
}  // namespace llama512::fast
