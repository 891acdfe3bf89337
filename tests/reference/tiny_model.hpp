// Small models with random weights, in memory and as checkpoint files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config.hpp"
#include "weights.hpp"

namespace llama512::test {

/// A folder of its own for each test, removed at the end.
class TemporaryFolder {
public:
    TemporaryFolder();
    ~TemporaryFolder();
    std::string path(const std::string& name) const { return (folder_ / name).string(); }

private:
    std::filesystem::path folder_;
};

void write_file(const std::string& path, const std::string& bytes);
std::string read_file(const std::string& path);

/// The message of the Error that `function` throws, or "" when it throws none.
template <typename Function>
std::string error_of(Function function) {
    try {
        function();
    } catch (const std::exception& error) {
        return error.what();
    }
    return "";
}

/// n random values, evenly spread over (-scale, scale).
std::vector<float> random_values(std::size_t n, std::uint32_t seed, float scale = 1.0f);

/// A random model whose matrices can be written as int8 groups without loss:
/// every value is a whole number from -127 to 127 times its group's scale, a power of two.
class TinyModel {
public:
    TinyModel(const Config& config, bool tied, std::uint32_t seed = 1);

    Config config;
    bool tied;
    static constexpr std::size_t group_size = 4;  // must divide dim

    std::vector<float> token_embedding;       // (vocab_size, dim)
    std::vector<float> rms_att;               // (n_layers, dim)
    std::vector<float> wq, wk, wv, wo;        // as in Weights
    std::vector<float> rms_ffn;               // (n_layers, dim)
    std::vector<float> w1, w2, w3;            // as in Weights
    std::vector<float> rms_final;             // (dim)
    std::vector<float> wcls;                  // (vocab_size, dim); empty when tied

    /// Views into this object.
    Weights weights() const;

    /// The checkpoint file's bytes.
    std::string v0() const;
    std::string v1() const;
    std::string v2() const;

private:
    std::string header(int version) const;
};

/// 2 layers, 4 query heads on 2 key and value heads.
constexpr Config kTinyConfig = {
    .dim = 16, .hidden_dim = 20, .n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .vocab_size = 32, .seq_len = 12};

}  // namespace llama512::test
