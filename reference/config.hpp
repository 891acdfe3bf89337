// The seven numbers that define a Llama 2 model's shape, and its two constants.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace llama512 {

/// Llama 2's constants: those of a llama2.c checkpoint, which has no field for them.
constexpr float kRmsNormEpsilon = 1e-5f;
constexpr float kRopeTheta = 10000.0f;

/// The shape of a model, and what else its arithmetic depends on.
struct Config {
    // The shape. Names and order are those of the llama2.c checkpoint header.
    std::size_t dim;         // length of the residual stream: one vector per position
    std::size_t hidden_dim;  // width of the feed-forward layer
    std::size_t n_layers;    // number of transformer blocks
    std::size_t n_heads;     // number of query heads
    std::size_t n_kv_heads;  // number of key and value heads; several query heads may share one (GQA)
    std::size_t vocab_size;  // number of tokens
    std::size_t seq_len;     // longest context, in tokens

    // The constants.
    float rms_epsilon = kRmsNormEpsilon;  // added to the mean square in rmsnorm
    float rope_theta = kRopeTheta;        // the base of rope's frequencies

    /// Length of one head's query, key or value.
    std::size_t head_size() const { return dim / n_heads; }
    /// Length of one position's keys (or values), all heads together.
    std::size_t kv_dim() const { return n_kv_heads * head_size(); }
    /// How many query heads share one key and value head. 1 is ordinary multi-head attention.
    std::size_t heads_per_kv_head() const { return n_heads / n_kv_heads; }

    bool operator==(const Config&) const = default;
};

/// A field of the shape, its name in messages, and its range.
struct ConfigField {
    const char* name;
    std::size_t Config::*member;
    std::int64_t min;
    std::int64_t max;
};

/// The ranges end far above any model that this engine could run, and are small enough
/// that no size computed from a Config overflows 64 bits: the largest tensor has
/// n_layers * dim * hidden_dim <= 2^10 * 2^16 * 2^16 elements.
constexpr std::array<ConfigField, 7> kConfigFields = {{
    {"dim", &Config::dim, 1, 1 << 16},
    {"hidden_dim", &Config::hidden_dim, 1, 1 << 16},
    {"n_layers", &Config::n_layers, 1, 1 << 10},
    {"n_heads", &Config::n_heads, 1, 1 << 16},
    {"n_kv_heads", &Config::n_kv_heads, 1, 1 << 16},
    {"vocab_size", &Config::vocab_size, 2, 1 << 22},  // 2: token 1 is BOS
    {"seq_len", &Config::seq_len, 1, 1 << 20},
}};

/// What a file calls the fields above, in their order.
using ConfigNames = std::array<const char*, kConfigFields.size()>;
constexpr ConfigNames kConfigNames = [] {
    ConfigNames names{};
    for (std::size_t i = 0; i < names.size(); i++) names[i] = kConfigFields[i].name;
    return names;
}();

/// Makes a Config, with Llama 2's constants, from header values in the order of the fields above.
///
/// `file` is the name for messages, `names` are those of its fields. `hint` ends the message when a value is out of its
/// range.
/// Throws Error, naming the field and the value, unless every value lies in its range, n_heads divides dim,
/// n_kv_heads divides n_heads, and head_size is even (RoPE rotates pairs).
Config parse_config(const std::array<std::int64_t, 7>& values, const std::string& file, const std::string& hint = "",
                    const ConfigNames& names = kConfigNames);

}  // namespace llama512
