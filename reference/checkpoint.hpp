// checkpoint.hpp: a model file in one of llama2.c's formats, as named tensors.
//
// The formats are those of https://github.com/karpathy/llama2.c, export.py:
//
//   v0  28-byte header: the 7 int32 of Config; vocab_size is negative when the classifier is untied.
//       Then float32 tensors.
//   v1  256-byte header: magic "24ka" (0x616b3432), int32 version 1, the 7 int32, uint8 tied; zeros.
//       Then float32 tensors, in another order.
//   v2  the same header with version 2, and int32 group_size right after the uint8.
//       Then norms as float32, and matrices as int8 values with one float32 scale per group of values.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config.hpp"
#include "mapped_file.hpp"

namespace llama512 {

/// Every tensor of the model, row-major. A matrix of shape (rows, columns) maps `columns` inputs to `rows` outputs.
struct Weights {
    std::span<const float> token_embedding;  // (vocab_size, dim)

    std::span<const float> rms_att;  // (n_layers, dim)          gains of the norm before attention
    std::span<const float> wq;       // (n_layers, dim, dim)     queries
    std::span<const float> wk;       // (n_layers, kv_dim, dim)  keys
    std::span<const float> wv;       // (n_layers, kv_dim, dim)  values
    std::span<const float> wo;       // (n_layers, dim, dim)     attention output

    std::span<const float> rms_ffn;  // (n_layers, dim)              gains of the norm before the feed-forward layer
    std::span<const float> w1;       // (n_layers, hidden_dim, dim)  gate
    std::span<const float> w2;       // (n_layers, dim, hidden_dim)  down
    std::span<const float> w3;       // (n_layers, hidden_dim, dim)  up

    std::span<const float> rms_final;  // (dim)              gains of the last norm
    std::span<const float> wcls;       // (vocab_size, dim)  classifier; the token embedding itself when tied
};

/// An open checkpoint. v0 and v1 weights are used in place, in the mapped file; v2 weights are dequantized at once.
class Checkpoint {
public:
    /// Throws Error, naming the field and the value, when the file cannot be read, its header is implausible,
    /// its size is not exactly what the header needs, or a weight is not finite.
    explicit Checkpoint(const std::string& path);

    const Config& config() const { return config_; }
    /// Valid as long as this Checkpoint lives.
    const Weights& weights() const { return weights_; }

private:
    MappedFile file_;
    Config config_{};
    Weights weights_;
    std::vector<float> dequantized_;  // v2 only
};

}  // namespace llama512
