// Parameters to a llama2.c v0 checkpoint, and back from a checkpoint of any format.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"
#include "error.hpp"
#include "files/checkpoint.hpp"
#include "files/output_file.hpp"
#include "layout.hpp"
#include "ops.hpp"

namespace llama512::train {

/// The format: reference/files/llama2c.hpp.
inline void write_checkpoint(const std::string& path, const Config& c, const std::vector<float>& parameters) {
    OutputFile file(path);
    for (const ConfigField& field : kConfigFields) file.write_value(static_cast<std::int32_t>(c.*field.member));
    const Layout layout(c);
    const auto write_tensor = [&](const std::string& name) {  // of all layers
        for (const Tensor& tensor : layout.tensors()) {
            if (tensor.name == name) file.write(std::span(parameters).subspan(tensor.offset, tensor.size()));
        }
    };
    const auto write_gains = [&](std::size_t n) {
        for (std::size_t i = 0; i < n; i++) file.write_value(1.0f);
    };
    write_tensor("token_embedding");
    write_gains(c.n_layers * c.dim);  // rms_att
    for (const char* name : {"wq", "wk", "wv", "wo"}) write_tensor(name);
    write_gains(c.n_layers * c.dim);  // rms_ffn
    for (const char* name : {"w1", "w2", "w3"}) write_tensor(name);
    write_gains(c.dim);  // rms_final
    // freq_cis_real and freq_cis_imag: cos and sin of RoPE's angles, which readers skip
    for (const bool imaginary : {false, true}) {
        for (std::size_t pos = 0; pos < c.seq_len; pos++) {
            for (std::size_t i = 0; i < c.head_size(); i += 2) {
                const double exponent = static_cast<double>(i) / static_cast<double>(c.head_size());
                const double angle = static_cast<double>(pos) * std::pow(static_cast<double>(kRopeTheta), -exponent);
                file.write_value(static_cast<float>(imaginary ? std::sin(angle) : std::cos(angle)));
            }
        }
    }
    file.commit();
}

/// The parameters of a checkpoint of this shape, tied, with gains of 1. Throws Error when it is another.
inline std::vector<float> read_checkpoint(const std::string& path, const Config& c) {
    const Checkpoint checkpoint(path);
    for (const ConfigField& field : kConfigFields) {
        const std::size_t found = checkpoint.config().*field.member, needed = c.*field.member;
        if (found != needed) {
            throw Error(path, field.name, std::to_string(found) + ", this run's shape has " + std::to_string(needed));
        }
    }
    const llama512::Weights& weights = checkpoint.weights();
    if (!weights.tied()) throw Error(path, "wcls", "a classifier of its own, a tied one is needed");
    const auto tensor_of = [&](std::string_view name) {
        for (const NamedTensor& tensor : kTensors) {
            if (tensor.name == name) return weights.*tensor.values;
        }
        throw std::out_of_range("read_checkpoint: " + std::string(name));
    };
    for (const char* name : {"rms_att", "rms_ffn", "rms_final"}) {
        for (const float gain : tensor_of(name)) {
            if (gain == 1.0f) continue;
            throw Error(path, name, std::to_string(gain) + ", gains of 1 are needed: they are not trained");
        }
    }
    const Layout layout(c);
    std::vector<float> parameters(layout.size());
    for (const Tensor& tensor : layout.tensors()) {
        std::ranges::copy(slice(tensor_of(tensor.name), tensor.layer, tensor.size()), &parameters[tensor.offset]);
    }
    return parameters;
}

}  // namespace llama512::train
