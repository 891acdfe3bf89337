#include "config.hpp"

#include "error.hpp"

namespace llama512 {

Config parse_config(const std::array<std::int64_t, 7>& values, const std::string& file, const std::string& hint,
                    const ConfigNames& names) {
    using std::to_string;
    const std::string dim_name = names[0], n_heads_name = names[3], n_kv_heads_name = names[4];
    Config config{};
    for (std::size_t i = 0; i < kConfigFields.size(); i++) {
        const ConfigField& field = kConfigFields[i];
        if (values[i] < field.min || values[i] > field.max) {
            throw Error(file, names[i], to_string(values[i]) + ", a value from " + to_string(field.min) + " to " +
                                            to_string(field.max) + " is needed" + hint);
        }
        config.*field.member = static_cast<std::size_t>(values[i]);
    }
    if (config.dim % config.n_heads != 0) {
        throw Error(file, n_heads_name,
                    to_string(config.n_heads) + ", a divisor of " + dim_name + " " + to_string(config.dim) + " is needed");
    }
    if (config.n_heads % config.n_kv_heads != 0) {
        throw Error(file, n_kv_heads_name, to_string(config.n_kv_heads) + ", a divisor of " + n_heads_name + " " +
                                               to_string(config.n_heads) + " is needed");
    }
    if (config.head_size() % 2 != 0) {
        throw Error(file, "head_size",
                    to_string(config.head_size()) + " (" + dim_name + " " + to_string(config.dim) + " / " + n_heads_name +
                        " " + to_string(config.n_heads) + "), an even number is needed");
    }
    return config;
}

}  // namespace llama512
