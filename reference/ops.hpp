// The operations of the transformer, each a plain loop over float32.
//
// Shapes stand beside the arguments; matrices are row-major. Sizes must fit together as the shapes say:
// the functions do not check. Sums run from the first element to the last, as in llama2.c.
#pragma once

#include <cstddef>
#include <span>

namespace llama512 {

/// The index-th part of a stack of parts of `size` values each: a layer's matrix, a row, a head.
template <typename T>
std::span<T> slice(std::span<T> stack, std::size_t index, std::size_t size) {
    return stack.subspan(index * size, size);
}

/// x += y.
void add(std::span<float> x,         // (n)
         std::span<const float> y);  // (n)

/// x += scale * y.
void add_scaled(std::span<float> x,        // (n)
                float scale,
                std::span<const float> y);  // (n)

/// The dot product a . b.
float dot(std::span<const float> a,   // (n)
          std::span<const float> b);  // (n)

/// out = w x.
void matmul(std::span<float> out,       // (d)
            std::span<const float> x,   // (n)
            std::span<const float> w);  // (d, n)

/// mean(x^2).
float mean_square(std::span<const float> x);  // (n)

/// out = weight * x / sqrt(mean(x^2) + epsilon). `out` may be `x`.
/// RMSNorm: arXiv:1910.07467, section 3.
void rmsnorm(std::span<float> out,            // (n)
             std::span<const float> x,        // (n)
             std::span<const float> weight,   // (n)
             float epsilon);

/// x[i] = exp(x[i]) / sum over j of exp(x[j]). The maximum is subtracted first, so that exp does not overflow.
void softmax(std::span<float> x);  // (n), n >= 1

/// Rotary position embedding: turns each pair (x[2i], x[2i+1]) of each head by the angle pos * theta^(-2i/head_size).
/// The dot product of a query and a key then depends on how far apart they are, not on where they are.
/// RoPE: arXiv:2104.09864, section 3.4.
void rope(std::span<float> x,  // (heads, head_size), head_size even
          std::size_t head_size, std::size_t pos, float theta);

/// gate[i] = silu(gate[i]) * up[i], where silu(z) = z / (1 + exp(-z)).
/// SwiGLU: arXiv:2002.05202, section 2.
void swiglu(std::span<float> gate,       // (n)
            std::span<const float> up);  // (n)

/// The index of the largest value; on a tie the lowest such index.
int argmax(std::span<const float> x);  // (n), n >= 1

}  // namespace llama512
