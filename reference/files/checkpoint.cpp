#include "files/checkpoint.hpp"

#include <cmath>

#include "error.hpp"
#include "files/llama2c.hpp"

namespace llama512 {

namespace {

/// Each format is told by its magic. llama2.c's v0 has none: what no other format claims is read as llama2.c's.
Contents read_contents(const MappedFile& file) { return read_llama2c(file); }

void check_finite(const MappedFile& file, const char* name, std::span<const float> values) {
    for (std::size_t i = 0; i < values.size(); i++) {
        if (!std::isfinite(values[i])) {
            throw Error(file.path(), name,
                        "element " + std::to_string(i) + " is " + std::to_string(values[i]) +
                            ", finite weights are needed");
        }
    }
}

}  // namespace

Checkpoint::Checkpoint(const std::string& path) : file_(path), contents_(read_contents(file_)) {
    const Weights& weights = contents_.weights;
    for (const NamedTensor& tensor : kTensors) {
        if (tensor.values == &Weights::wcls && weights.tied()) continue;  // checked as the token embedding
        check_finite(file_, tensor.name, weights.*tensor.values);
    }
}

}  // namespace llama512
