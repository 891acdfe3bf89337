#include "tiny_model.hpp"

#include <cmath>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <stdlib.h>

namespace llama512::test {

namespace {

template <typename T>
void append(std::string& bytes, const T& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_floats(std::string& bytes, const std::vector<float>& values) {
    for (const float value : values) append(bytes, value);
}

/// The scale of the group that holds value number i of a matrix.
float group_scale(std::size_t i) {
    const std::size_t group = i / TinyModel::group_size;
    return std::ldexp(1.0f, -7 - static_cast<int>(group % 3));  // 1/128, 1/256 or 1/512
}

std::vector<float> random_grid(std::size_t n_matrices, std::size_t matrix_size, std::mt19937& random) {
    std::vector<float> values;
    for (std::size_t m = 0; m < n_matrices; m++) {
        for (std::size_t i = 0; i < matrix_size; i++) {
            values.push_back(static_cast<float>(static_cast<int>(random() % 255) - 127) * group_scale(i));
        }
    }
    return values;
}

void append_quantized(std::string& bytes, const std::vector<float>& values, std::size_t n_matrices) {
    const std::size_t matrix_size = values.size() / n_matrices;
    for (std::size_t m = 0; m < n_matrices; m++) {
        for (std::size_t i = 0; i < matrix_size; i++) {
            append(bytes, static_cast<std::int8_t>(values[m * matrix_size + i] / group_scale(i)));
        }
        for (std::size_t i = 0; i < matrix_size; i += TinyModel::group_size) append(bytes, group_scale(i));
    }
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "llama512-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = name;
}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(folder_); }

void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary);
    file << bytes;
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<float> random_values(std::size_t n, std::uint32_t seed, float scale) {
    std::mt19937 random(seed);
    std::vector<float> values;
    for (std::size_t i = 0; i < n; i++) {
        values.push_back((static_cast<float>(random() >> 8) / 8388608.0f - 1.0f) * scale);
    }
    return values;
}

TinyModel::TinyModel(const Config& c, bool is_tied, std::uint32_t seed) : config(c), tied(is_tied) {
    std::mt19937 random(seed);
    const auto gains = [&](std::size_t n) {
        std::vector<float> values = random_values(n, static_cast<std::uint32_t>(random()), 0.5f);
        for (float& value : values) value += 1.0f;
        return values;
    };
    token_embedding = random_grid(1, c.vocab_size * c.dim, random);
    rms_att = gains(c.n_layers * c.dim);
    wq = random_grid(c.n_layers, c.dim * c.dim, random);
    wk = random_grid(c.n_layers, c.kv_dim() * c.dim, random);
    wv = random_grid(c.n_layers, c.kv_dim() * c.dim, random);
    wo = random_grid(c.n_layers, c.dim * c.dim, random);
    rms_ffn = gains(c.n_layers * c.dim);
    w1 = random_grid(c.n_layers, c.hidden_dim * c.dim, random);
    w2 = random_grid(c.n_layers, c.dim * c.hidden_dim, random);
    w3 = random_grid(c.n_layers, c.hidden_dim * c.dim, random);
    rms_final = gains(c.dim);
    if (!tied) wcls = random_grid(1, c.vocab_size * c.dim, random);
}

Weights TinyModel::weights() const {
    Weights w;
    w.token_embedding = token_embedding;
    w.rms_att = rms_att;
    w.wq = wq;
    w.wk = wk;
    w.wv = wv;
    w.wo = wo;
    w.rms_ffn = rms_ffn;
    w.w1 = w1;
    w.w2 = w2;
    w.w3 = w3;
    w.rms_final = rms_final;
    w.wcls = tied ? token_embedding : wcls;
    return w;
}

std::string TinyModel::header(int version) const {
    std::string bytes;
    if (version > 0) {
        append(bytes, std::uint32_t{0x616b3432});
        append(bytes, static_cast<std::int32_t>(version));
    }
    const auto vocab_size = static_cast<std::int32_t>(config.vocab_size);
    for (const std::size_t value :
         {config.dim, config.hidden_dim, config.n_layers, config.n_heads, config.n_kv_heads}) {
        append(bytes, static_cast<std::int32_t>(value));
    }
    append(bytes, version == 0 && !tied ? -vocab_size : vocab_size);
    append(bytes, static_cast<std::int32_t>(config.seq_len));
    if (version > 0) append(bytes, static_cast<std::uint8_t>(tied));
    if (version == 2) append(bytes, static_cast<std::int32_t>(group_size));
    if (version > 0) bytes.resize(256, '\0');
    return bytes;
}

std::string TinyModel::v0() const {
    std::string bytes = header(0);
    for (const auto* tensor : {&token_embedding, &rms_att, &wq, &wk, &wv, &wo, &rms_ffn, &w1, &w2, &w3, &rms_final}) {
        append_floats(bytes, *tensor);
    }
    const float not_read = std::nanf("");  // freq_cis_real and freq_cis_imag
    append_floats(bytes, std::vector<float>(config.seq_len * config.head_size(), not_read));
    append_floats(bytes, wcls);
    return bytes;
}

std::string TinyModel::v1() const {
    std::string bytes = header(1);
    for (const auto* tensor :
         {&rms_att, &rms_ffn, &rms_final, &token_embedding, &wq, &wk, &wv, &wo, &w1, &w2, &w3, &wcls}) {
        append_floats(bytes, *tensor);
    }
    return bytes;
}

std::string TinyModel::v2() const {
    std::string bytes = header(2);
    for (const auto* tensor : {&rms_att, &rms_ffn, &rms_final}) append_floats(bytes, *tensor);
    append_quantized(bytes, token_embedding, 1);
    for (const auto* tensor : {&wq, &wk, &wv, &wo, &w1, &w2, &w3}) append_quantized(bytes, *tensor, config.n_layers);
    if (!tied) append_quantized(bytes, wcls, 1);
    return bytes;
}

}  // namespace llama512::test
