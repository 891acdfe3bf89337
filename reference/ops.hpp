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

/// out = weight * x / sqrt(mean(x^2) + epsilon). `out` may be `x`. Returns mean(x^2).
/// RMSNorm: arXiv:1910.07467, section 3.
float rmsnorm(std::span<float> out,           // (n)
              std::span<const float> x,       // (n)
              std::span<const float> weight,  // (n)
              float epsilon);

/// x[i] = exp(x[i]) / sum over j of exp(x[j]). The maximum is subtracted first, so that exp does not overflow.
void softmax(std::span<float> x);  // (n), n >= 1

/// The cosine and sine of rope's angle for each pair of a head at a position: pos * theta^(-2i/head_size) for pair i.
void rope_factors(std::span<float> cos,  // (head_size / 2)
                  std::span<float> sin,  // (head_size / 2)
                  std::size_t pos, float theta);

/// Rotary position embedding: turns each pair (x[2i], x[2i+1]) of each head by the angle of rope_factors.
/// The dot product of a query and a key then depends on how far apart they are, not on where they are.
/// RoPE: arXiv:2104.09864, section 3.4.
void rope(std::span<float> x,          // (heads, head_size)
          std::span<const float> cos,  // (head_size / 2)
          std::span<const float> sin); // (head_size / 2)

/// Attention of one position to itself and all before it: for each query head,
/// out = softmax(q . k / sqrt(head_size)) v. Query heads share key and value heads in groups: arXiv:2305.13245, section 2.2.
/// Returns the largest |q . k / sqrt(head_size)|.
/// Scaled dot-product attention: arXiv:1706.03762, section 3.2.1.
float attention(std::span<float> out,           // (n_heads, head_size)
                std::span<const float> q,       // (n_heads, head_size)
                std::span<const float> keys,    // (positions, n_kv_heads, head_size)
                std::span<const float> values,  // (positions, n_kv_heads, head_size)
                std::size_t positions, std::size_t head_size);

/// gate[i] = silu(gate[i]) * up[i], where silu(z) = z / (1 + exp(-z)).
/// SwiGLU: arXiv:2002.05202, section 2.
void swiglu(std::span<float> gate,       // (n)
            std::span<const float> up);  // (n)

/// The largest |x[i]|; not finite when one of them is not.
float largest(std::span<const float> x);  // (n)

/// The index of the largest value; on a tie the lowest such index.
int argmax(std::span<const float> x);  // (n), n >= 1

}  // namespace llama512
