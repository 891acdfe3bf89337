// checkpoint.hpp: a model as a llama2.c v0 checkpoint.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"
#include "files/mapped_file.hpp"
#include "files/output_file.hpp"
#include "model.hpp"
#include "shape.hpp"

namespace llama512::train {

inline void write_checkpoint(const std::string& path, const Shape& s, const std::vector<float>& parameters) {
    OutputFile file(path);
    for (const std::size_t value : {s.dim, s.hidden_dim, s.n_layers, s.n_heads, s.n_kv_heads, s.vocab_size, s.seq_len}) {
        file.write_value(static_cast<std::int32_t>(value));
    }
    const Layout layout(s);
    const auto write_tensor = [&](const std::string& name) {  // of all layers
        for (const Tensor& tensor : layout.tensors()) {
            if (tensor.name == name) file.write(std::span(parameters).subspan(tensor.offset, tensor.size()));
        }
    };
    const auto write_gains = [&](std::size_t n) {
        for (std::size_t i = 0; i < n; i++) file.write_value(1.0f);
    };
    write_tensor("token_embedding");
    write_gains(s.n_layers * s.dim);  // rms_att
    for (const char* name : {"wq", "wk", "wv", "wo"}) write_tensor(name);
    write_gains(s.n_layers * s.dim);  // rms_ffn
    for (const char* name : {"w1", "w2", "w3"}) write_tensor(name);
    write_gains(s.dim);  // rms_final
    // freq_cis_real and freq_cis_imag: cos and sin of RoPE's angles, which readers skip
    for (const bool imaginary : {false, true}) {
        for (std::size_t pos = 0; pos < s.seq_len; pos++) {
            for (std::size_t i = 0; i < s.head_size(); i += 2) {
                const double exponent = static_cast<double>(i) / static_cast<double>(s.head_size());
                const double angle = static_cast<double>(pos) * std::pow(kRopeTheta, -exponent);
                file.write_value(static_cast<float>(imaginary ? std::sin(angle) : std::cos(angle)));
            }
        }
    }
    file.commit();
}

/// Reads a checkpoint that write_checkpoint wrote: of this shape, tied, with gains of 1.
inline std::vector<float> read_checkpoint(const std::string& path, const Shape& s) {
    const MappedFile file(path);
    std::string_view rest = file.text();
    const auto read = [&](void* values, std::size_t n_bytes) {
        if (rest.size() < n_bytes) throw Error(path, "file size", "the file ends early; a checkpoint of this shape is needed");
        std::memcpy(values, rest.data(), n_bytes);
        rest.remove_prefix(n_bytes);
    };
    for (const std::size_t value : {s.dim, s.hidden_dim, s.n_layers, s.n_heads, s.n_kv_heads, s.vocab_size, s.seq_len}) {
        std::int32_t found;
        read(&found, sizeof found);
        if (found != static_cast<std::int32_t>(value)) {
            throw Error(path, "header", std::to_string(found) + ", this run's shape has " + std::to_string(value));
        }
    }
    const Layout layout(s);
    std::vector<float> parameters(layout.size());
    const auto read_tensor = [&](const std::string& name) {  // of all layers
        for (const Tensor& tensor : layout.tensors()) {
            if (tensor.name == name) read(&parameters[tensor.offset], tensor.size() * sizeof(float));
        }
    };
    const auto read_gains = [&](std::size_t n) {
        for (std::size_t i = 0; i < n; i++) {
            float gain;
            read(&gain, sizeof gain);
            if (gain != 1.0f) throw Error(path, "norm", "a norm's gain is not 1; only this program's own checkpoints can be trained on");
        }
    };
    read_tensor("token_embedding");
    read_gains(s.n_layers * s.dim);
    for (const char* name : {"wq", "wk", "wv", "wo"}) read_tensor(name);
    read_gains(s.n_layers * s.dim);
    for (const char* name : {"w1", "w2", "w3"}) read_tensor(name);
    read_gains(s.dim);
    return parameters;
}

}  // namespace llama512::train
