// The operations that a forward pass is made of, as the Transformer calls them.
//
// Which kernels compute them is chosen once, when a Transformer is made: plain_kernels() are the loops of ops.hpp, the
// definition of right; fast/fast.hpp has the same operations for speed. The shapes stand beside the arguments;
// functions do not check them.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "ops.hpp"

namespace llama512 {

/// The keys and values of one sequence in one layer: room for all positions, written from the first on.
/// How positions and components are ordered inside is the kernels' own affair.
struct KvLayer {
    std::span<float> keys;    // (positions, kv_dim)
    std::span<float> values;  // (positions, kv_dim)
};

/// Room is made for a multiple of so many positions, so that kernels may keep that many side by side.
constexpr std::size_t kPositionBlock = 16;

class Kernels {
public:
    virtual ~Kernels() = default;

    /// For messages: "plain", "fast-avx2".
    virtual std::string name() const = 0;

    /// out = x w^T, which is w times each row of x.
    virtual void matmul(std::span<float> out,      // (rows, d)
                        std::span<const float> x,  // (rows, n)
                        std::span<const float> w,  // (d, n): a matrix of the model
                        std::size_t rows) const = 0;

    /// out = weight * x / sqrt(mean(x^2) + epsilon). Returns mean(x^2).
    virtual float rmsnorm(std::span<float> out,           // (n)
                          std::span<const float> x,       // (n)
                          std::span<const float> weight,  // (n)
                          float epsilon) const = 0;

    /// Turns each pair of each head by its angle, see ops.hpp.
    virtual void rope(std::span<float> x,            // (heads, head_size)
                      std::span<const float> cos,    // (head_size / 2)
                      std::span<const float> sin) const = 0;  // (head_size / 2)

    /// Writes k and v into the cache at `pos`, and then, for each query head,
    /// out = softmax(q . k / sqrt(head_size)) v over the positions from 0 to pos. Returns the largest |q . k / sqrt(head_size)|.
    virtual float attention(std::span<float> out,      // (n_heads, head_size)
                            std::span<const float> q,  // (n_heads, head_size)
                            std::span<const float> k,  // (n_kv_heads, head_size)
                            std::span<const float> v,  // (n_kv_heads, head_size)
                            const KvLayer& cache, std::size_t pos, std::size_t head_size) const = 0;

    /// gate[i] = silu(gate[i]) * up[i].
    virtual void swiglu(std::span<float> gate,               // (n)
                        std::span<const float> up) const = 0;  // (n)

    /// x += y.
    virtual void add(std::span<float> x,                   // (n)
                     std::span<const float> y) const = 0;  // (n)

    /// The bytes that matmul reads of matrix w.
    virtual std::span<const std::byte> stored(std::span<const float> w) const { return std::as_bytes(w); }  // (d, n)

    /// The largest |x[i]|; not finite when one of them is not.
    virtual float largest(std::span<const float> x) const = 0;  // (n)

    /// The index of the largest value; on a tie the lowest such index. Some index, where there is a NaN.
    virtual int argmax(std::span<const float> x) const = 0;  // (n), n >= 1
};

/// The loops of ops.hpp. They live as long as the program.
const Kernels& plain_kernels();

}  // namespace llama512
