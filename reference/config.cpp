#include "config.hpp"

#include "error.hpp"

namespace llama512 {

namespace {

struct Field {
    const char* name;
    std::size_t Config::*member;
    std::int64_t min;
    std::int64_t max;
};

constexpr std::array<Field, 7> kFields = {{
    {"dim", &Config::dim, 1, 1 << 16},
    {"hidden_dim", &Config::hidden_dim, 1, 1 << 16},
    {"n_layers", &Config::n_layers, 1, 1 << 10},
    {"n_heads", &Config::n_heads, 1, 1 << 16},
    {"n_kv_heads", &Config::n_kv_heads, 1, 1 << 16},
    {"vocab_size", &Config::vocab_size, 2, 1 << 22},  // 2: token 1 is BOS
    {"seq_len", &Config::seq_len, 1, 1 << 20},
}};

}  // namespace

Config parse_config(const std::array<std::int64_t, 7>& values, const std::string& file, const std::string& hint) {
    using std::to_string;
    Config config{};
    for (std::size_t i = 0; i < kFields.size(); i++) {
        const Field& field = kFields[i];
        if (values[i] < field.min || values[i] > field.max) {
            throw Error(file, field.name, to_string(values[i]) + ", a value from " + to_string(field.min) + " to " +
                                              to_string(field.max) + " is needed" + hint);
        }
        config.*field.member = static_cast<std::size_t>(values[i]);
    }
    if (config.dim % config.n_heads != 0) {
        throw Error(file, "n_heads",
                    to_string(config.n_heads) + ", a divisor of dim " + to_string(config.dim) + " is needed");
    }
    if (config.n_heads % config.n_kv_heads != 0) {
        throw Error(file, "n_kv_heads", to_string(config.n_kv_heads) + ", a divisor of n_heads " +
                                            to_string(config.n_heads) + " is needed");
    }
    if (config.head_size() % 2 != 0) {
        throw Error(file, "head_size",
                    to_string(config.head_size()) + " (dim " + to_string(config.dim) + " / n_heads " +
                        to_string(config.n_heads) + "), an even number is needed");
    }
    return config;
}

}  // namespace llama512
