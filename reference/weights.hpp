// The tensors that a forward pass needs, wherever they come from.
#pragma once

#include <array>
#include <span>

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

    bool tied() const { return wcls.data() == token_embedding.data(); }
};

/// A tensor by its name, for messages and for loops over all of them.
struct NamedTensor {
    const char* name;
    std::span<const float> Weights::*values;
};

constexpr std::array<NamedTensor, 12> kTensors = {{
    {"token_embedding", &Weights::token_embedding},
    {"rms_att", &Weights::rms_att},
    {"wq", &Weights::wq},
    {"wk", &Weights::wk},
    {"wv", &Weights::wv},
    {"wo", &Weights::wo},
    {"rms_ffn", &Weights::rms_ffn},
    {"w1", &Weights::w1},
    {"w2", &Weights::w2},
    {"w3", &Weights::w3},
    {"rms_final", &Weights::rms_final},
    {"wcls", &Weights::wcls},
}};

}  // namespace llama512
