// A model file of any format, open: its shape and its tensors.
#pragma once

#include <string>
#include <vector>

#include "config.hpp"
#include "files/mapped_file.hpp"
#include "weights.hpp"

namespace llama512 {

/// What the module of a format makes of a mapped file.
struct Contents {
    Config config;
    Weights weights;               // views into the file, or into `converted`
    std::vector<float> converted;  // tensors that the file does not hold as float32, one after another
};

/// A model file of whichever format, open. float32 tensors are used in place, in the mapped file.
class Checkpoint {
public:
    /// Throws Error, naming the field and the value, when the file cannot be read, its header is implausible,
    /// its size is not exactly what the header needs, or a weight is not finite.
    explicit Checkpoint(const std::string& path);

    const Config& config() const { return contents_.config; }
    /// Valid as long as this Checkpoint lives.
    const Weights& weights() const { return contents_.weights; }

private:
    MappedFile file_;
    Contents contents_;
};

}  // namespace llama512
