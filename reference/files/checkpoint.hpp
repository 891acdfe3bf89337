// A model file of any format, open: its shape and its tensors.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config.hpp"
#include "files/gguf.hpp"
#include "files/mapped_file.hpp"
#include "tokenizer.hpp"
#include "weights.hpp"

namespace llama512 {

/// What the module of a format makes of a mapped file. All weights are finite: each module calls check_finite.
struct Contents {
    Config config;
    Weights weights;               // views into the file, or into `converted`
    std::vector<float> converted;  // tensors that the file does not hold as float32, one after another
};

/// Throws Error, naming the tensor, the element and its value, unless all are finite. Up to `threads` threads look at them.
void check_finite(const std::string& file, const std::string& tensor, std::span<const float> values, std::size_t threads);

/// A model file of whichever format, open: GGUF, or llama2.c's. float32 tensors are used in place where the format
/// allows, in the mapped file.
class Checkpoint {
public:
    /// Throws Error, naming the field and the value, when the file cannot be read, its header is implausible,
    /// its size is not exactly what the header needs, or a weight is not finite; and when a GGUF file's model is not one
    /// that this engine computes.
    explicit Checkpoint(const std::string& path, std::size_t threads = 1);

    const Config& config() const { return contents_.config; }
    /// Valid as long as this Checkpoint lives.
    const Weights& weights() const { return contents_.weights; }

    /// The model's tokenizer: a GGUF file's own, otherwise the file beside the model that find_tokenizer finds.
    /// Throws Error when there is none, or it is damaged.
    Vocabulary vocabulary() const;

private:
    MappedFile file_;
    std::optional<Gguf> gguf_;  // none: a file of llama2.c
    Contents contents_;
};

}  // namespace llama512
