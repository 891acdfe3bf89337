// A model with the kernels that the command line asks for.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fast/quantized.hpp"
#include "files/checkpoint.hpp"
#include "kernels.hpp"
#include "options.hpp"
#include "transformer.hpp"

namespace llama512 {

/// The level of fast kernels that --kernels means, empty: the widest. Throws UsageError where this processor runs no kernels
/// of that name.
std::string level_of(const std::string& kernels);

/// A Transformer, and the kernels that it computes with.
struct Engine {
    std::unique_ptr<const Kernels> made;  // null: the plain ones, which nobody has to make
    const Kernels& kernels;
    Transformer transformer;
};

/// Makes engines of one model, which share its weights.
class Engines {
public:
    /// All of it must outlive this, and the checkpoint the engines.
    Engines(const Options& options, const std::string& level, const Checkpoint& checkpoint, std::size_t threads)
        : options_(options), level_(level), checkpoint_(checkpoint), threads_(threads) {}

    std::unique_ptr<Engine> make(Quantization quantization, std::size_t n_sequences, std::size_t max_rows) const;

    /// The matrices as the kernels keep them: what one pass reads.
    std::vector<std::span<const std::byte>> matrices(const Kernels& kernels) const;
    std::size_t matrix_bytes(const Kernels& kernels) const;

private:
    const Options& options_;
    const std::string& level_;
    const Checkpoint& checkpoint_;
    std::size_t threads_;
};

/// The draft where --draft says nothing. It pays where a pass waits for memory, which it does for matrices that no core's own
/// cache holds, and for so many tokens that the time to round them is won back; and where a few rows cost hardly more than one,
/// as the vectors are wide.
Quantization default_draft(const Options& options, std::size_t seq_len, const Kernels& kernels, std::size_t matrix_bytes);

}  // namespace llama512
