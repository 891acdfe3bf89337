// The Llama 2 model: from a token and its position to the logits of the next token.
//
// Llama 2: arXiv:2307.09288, section 2.2. Grouped-query attention: arXiv:2305.13245, section 2.2.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "config.hpp"
#include "weights.hpp"

namespace llama512 {

/// A largest magnitude, and where it was.
struct Extreme {
    float value = 0;
    std::size_t layer = 0;
    std::size_t pos = 0;
};

/// The largest magnitudes of all that a Transformer has computed so far. A golfed engine is exact as long as they lie in
/// the domain that golf/README.md states.
struct Extremes {
    Extreme score;  // q . k / sqrt(head_size)
    Extreme gate;   // w1 x
    Extreme up;     // w3 x
    Extreme rms;    // the root of x's mean square, where a layer's norm reads it
};

/// A model that runs: its weights, and its memory of the positions fed so far (the KV cache).
class Transformer {
public:
    /// `weights` point into memory that must outlive the Transformer, such as a Checkpoint's.
    /// Throws Error when the KV cache would be larger than 16 GiB; `name` is the model's name for messages.
    Transformer(const Config& config, const Weights& weights, const std::string& name = "model");

    /// Feeds `token` at position `pos` and returns the logits of the token after it, (vocab_size),
    /// valid until the next call. Positions are fed in order, from 0; going back to an earlier one forgets
    /// what came after it. Throws std::out_of_range unless 0 <= token < vocab_size and pos < seq_len, and Error where
    /// the mean square of x is not finite: every norm would then make zeros of it, and the logits would look well.
    std::span<const float> forward(int token, std::size_t pos);

    const Config& config() const { return config_; }
    const Extremes& extremes() const { return extremes_; }

private:
    void norm(std::span<const float> gains, const char* field, std::size_t layer, std::size_t pos);
    void attention(std::size_t layer, std::size_t pos);
    std::span<float> cache_row(const std::unique_ptr<float[]>& cache, std::size_t layer, std::size_t pos);

    Config config_;
    Weights weights_;
    std::string name_;
    Extremes extremes_;

    // The activations of the position that is being computed.
    std::vector<float> x_;        // (dim)         the residual stream
    std::vector<float> normed_;   // (dim)         x after a norm
    std::vector<float> q_;        // (dim)         queries: (n_heads, head_size)
    std::vector<float> scores_;   // (seq_len)     one head's attention to each position
    std::vector<float> heads_;    // (dim)         what attention found: (n_heads, head_size)
    std::vector<float> gate_;     // (hidden_dim)
    std::vector<float> up_;       // (hidden_dim)
    std::vector<float> update_;   // (dim)         what a block adds to x
    std::vector<float> logits_;   // (vocab_size)

    // Every row is written before it is read, so the caches start uninitialized:
    // a long context takes memory only as far as it is used.
    std::unique_ptr<float[]> key_cache_;    // (n_layers, seq_len, kv_dim)
    std::unique_ptr<float[]> value_cache_;  // (n_layers, seq_len, kv_dim)
};

}  // namespace llama512
