// The forward pass of Llama 2 over one story, and its backward pass, written by hand.
//
// Shapes: T positions, D dim, Q qkv_dim (queries, keys, values side by side), H hidden_dim, V vocab_size.
// The template's Real is float for training, and double where gradients are checked against differences.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "layout.hpp"
#include "matmul.hpp"
#include "simd.hpp"

namespace llama512::train {

/// The parameters of one step, ready for products: each matrix as it is, and transposed.
template <typename Real>
class Weights {
public:
    explicit Weights(const Config& config);

    /// Takes new parameters, in the order of Layout.
    void set(std::span<const Real> parameters);

    struct Layer {
        const Real* wqkv;  // (Q, D)
        const Real* wo;    // (D, D)
        const Real* w13;   // (2 H, D)
        const Real* w2;    // (D, H)
        const Real* wqkv_t;  // (D, Q)
        const Real* wo_t;    // (D, D)
        const Real* w13_t;   // (D, 2 H)
        const Real* w2_t;    // (H, D)
    };

    const Real* embedding() const { return plain_.data(); }         // (V, D)
    const Real* embedding_t() const { return transposed_.data(); }  // (D, V)
    const Layer& layer(std::size_t index) const { return layers_[index]; }

private:
    struct Block {
        std::size_t offset, rows, columns;
    };

    std::vector<Real> plain_, transposed_;
    std::vector<Block> blocks_;
    std::vector<Layer> layers_;
};

/// The activations of one story, and the two passes over it.
template <typename Real>
class Model {
public:
    explicit Model(const Config& config);

    /// The loss (sum over positions of -log p of the next token) of one story, and its gradient added to `gradient`.
    /// `tokens` are the story with BOS at both ends: T + 1 of them, T <= seq_len.
    double step(const Weights<Real>& weights, std::span<const std::uint16_t> tokens, Real* gradient);

private:
    struct Activations {  // of one layer
        std::vector<Real> norm_att;  // (T)        1 / rms of x
        std::vector<Real> x_att;     // (T, D)     x after its norm
        std::vector<Real> qkv;       // (T, Q)     after RoPE
        std::vector<Real> scores;    // (heads, T, row_) attention, after softmax
        std::vector<Real> heads;     // (T, D)     what the heads found
        std::vector<Real> norm_ffn;  // (T)
        std::vector<Real> x_ffn;     // (T, D)
        std::vector<Real> w13;       // (T, 2 H)   gate and up, before SwiGLU
        std::vector<Real> hidden;    // (T, H)     after it
    };

    void rmsnorm(std::size_t T, const Real* x, Real* scale, Real* out) const;
    void rmsnorm_backward(std::size_t T, const Real* d_out, const Real* out, const Real* scale, Real* dx) const;
    void rope(std::size_t T, Real* qkv, Real direction) const;
    void attention(std::size_t T, Activations& a);
    void attention_backward(std::size_t T, const Activations& a, const Real* d_heads, Real* d_qkv);
    void swiglu(std::size_t T, const Real* w13, Real* hidden) const;
    void swiglu_backward(std::size_t T, const Real* w13, const Real* d_hidden, Real* d_w13) const;
    double classify(const Weights<Real>& weights, std::span<const std::uint16_t> tokens, Real* gradient);

    /// Positions that attention and the classifier treat at once.
    static constexpr std::size_t kBlock = 32;

    Config config_;
    Layout layout_;
    std::size_t row_;  // seq_len rounded up to whole registers: the length of a row of scores
    std::vector<Activations> layers_;
    std::vector<Real> cos_, sin_;      // (seq_len, head_size / 2)
    std::vector<Real> x_;              // (T, D)    the residual stream
    std::vector<Real> norm_final_;     // (T)
    std::vector<Real> x_final_;        // (T, D)
    std::vector<Real> logits_;         // (kBlock, V)
    std::vector<Real> transposed_;     // (head_size, row_)
    std::vector<Real> d_scores_;       // (kBlock, row_)
    std::vector<Real> dx_, d_norm_;    // (T, D)
    std::vector<Real> d_qkv_;          // (T, Q)
    std::vector<Real> d_w13_;          // (T, 2 H)
    std::vector<Real> d_hidden_;       // (T, H)
};

extern template class Weights<float>;
extern template class Weights<double>;
extern template class Model<float>;
extern template class Model<double>;

}  // namespace llama512::train
