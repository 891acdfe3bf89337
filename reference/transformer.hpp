// The Llama 2 model: from a token and its position to the logits of the next token.
//
// Llama 2: arXiv:2307.09288, section 2.2. Grouped-query attention: arXiv:2305.13245, section 2.2.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config.hpp"
#include "kernels.hpp"
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

/// A token to feed: which sequence it continues, and where.
struct Input {
    int token = 0;
    std::size_t pos = 0;
    std::size_t sequence = 0;
    bool wants_logits = true;
};

/// What a Transformer computes with, and for how much it has room.
struct TransformerOptions {
    const Kernels* kernels = &plain_kernels();  // must outlive the Transformer
    std::size_t n_sequences = 1;                // texts that it remembers, each with a KV cache of its own
    std::size_t max_rows = 1;                   // tokens in one pass
    std::string name = "model";                 // the model's name for messages
};

/// A model that runs: its weights, and its memory of the positions fed so far (the KV caches).
class Transformer {
public:
    /// `weights` point into memory that must outlive the Transformer, such as a Checkpoint's.
    /// Throws Error when the KV caches would be larger than 16 GiB.
    Transformer(const Config& config, const Weights& weights, const TransformerOptions& options = {});

    /// One pass over the weights for all of `batch`: tokens of one sequence, of several, or of both. Returns the logits of
    /// the token after each one that wants them, (wanted, vocab_size), valid until the next call. Each row is computed as if
    /// it were alone: what else is in the batch changes no bit of it.
    ///
    /// A sequence's positions are fed in order, from 0; going back to an earlier one forgets what came after it. Throws
    /// std::out_of_range for a token, position, sequence or number of rows that there is no room for, and Error where the
    /// mean square of x is not finite: every norm would then make zeros of it, and the logits would look well.
    std::span<const float> forward(std::span<const Input> batch);

    /// The same for one token of the first sequence.
    std::span<const float> forward(int token, std::size_t pos) { return forward(std::array{Input{token, pos}}); }

    const Config& config() const { return config_; }
    const Kernels& kernels() const { return *options_.kernels; }
    std::size_t n_sequences() const { return options_.n_sequences; }
    std::size_t max_rows() const { return options_.max_rows; }
    const Extremes& extremes() const { return extremes_; }
    std::size_t passes() const { return passes_; }  // calls of forward so far

private:
    void check(std::span<const Input> batch) const;
    void make_room(std::size_t rows);
    void norm(std::size_t out_row, std::size_t row, std::span<const float> gains, const char* field, std::size_t layer,
              std::size_t pos);
    KvLayer cache(std::size_t sequence, std::size_t layer);

    Config config_;
    Weights weights_;
    TransformerOptions options_;
    Extremes extremes_;
    std::size_t passes_ = 0;

    // The activations of the pass that is being computed: a row for each token of the batch.
    std::vector<float> x_;       // (rows, dim)            the residual stream
    std::vector<float> normed_;  // (rows, dim)            x after a norm
    std::vector<float> cos_;     // (rows, head_size / 2)  RoPE's factors at each row's position
    std::vector<float> sin_;     // (rows, head_size / 2)
    std::vector<float> q_;       // (rows, dim)            queries: (n_heads, head_size)
    std::vector<float> k_;       // (rows, kv_dim)         keys: (n_kv_heads, head_size)
    std::vector<float> v_;       // (rows, kv_dim)         values
    std::vector<float> heads_;   // (rows, dim)            what attention found: (n_heads, head_size)
    std::vector<float> gate_;    // (rows, hidden_dim)
    std::vector<float> up_;      // (rows, hidden_dim)
    std::vector<float> update_;  // (rows, dim)            what a block adds to x
    std::vector<float> logits_;  // (wanted, vocab_size)   of the rows that want them

    // Every row is written before it is read, so the caches start uninitialized:
    // a long context takes memory only as far as it is used. "positions" is seq_len, rounded up to whole blocks.
    std::unique_ptr<float[]> key_cache_;    // (n_sequences, n_layers, positions, kv_dim)
    std::unique_ptr<float[]> value_cache_;  // (n_sequences, n_layers, positions, kv_dim)
};

}  // namespace llama512
