// The command line of the program `reference`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "fast/quantized.hpp"
#include "sampler.hpp"

namespace llama512 {

struct Options {
    std::string model;                     // -m, --model
    std::string tokenizer;                 // --tokenizer; empty: the model's own, or beside it
    std::string prompt;                    // -p, --prompt
    std::string prompt_file;               // -f, --file; empty: use prompt
    std::optional<std::size_t> predict;    // -n, --predict
    std::size_t steps = 0;                 // --steps; 0: seq_len
    float temperature = 0.0f;              // --temp; 0: greedy
    std::optional<float> top_p;            // --top-p; without one, 0.9 for sampler top-p, and for the race all tokens
    Method sampler = Method::top_p;        // --sampler
    std::optional<std::uint64_t> seed;     // -s, --seed; without one, from the clock
    std::string kernels = "fast";          // --kernels
    Quantization quantization = Quantization::none;  // --quantize
    std::optional<Quantization> draft;     // --draft; without one: int8 where it pays
    std::size_t draft_max = 7;             // --draft-max
    std::size_t threads = 0;               // -t, --threads; 0: the physical cores
    std::size_t batch_size = 32;           // -b, --batch-size
    std::string batch_file;                // --batch; empty: one story
    std::string batch_folder;              // --batch-folder; empty: stdout
    std::size_t parallel = 8;              // -np, --parallel
    std::string timings_file;              // --timings; empty: none
    bool tokens = false;                   // --tokens
    std::string logits_file;               // --logits; empty: none
    std::string extremes_file;             // --extremes; empty: none
    bool quiet = false;                    // --quiet
    bool help = false;                     // -h, --help
    bool version = false;                  // --version
};

/// A command line that cannot be understood. what() is one line that names the flag and the value.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Throws UsageError. --help and --version end the reading: what follows them is not looked at.
Options parse_options(int argc, const char* const* argv);

/// The text of --help.
extern const char* const kHelp;

}  // namespace llama512
