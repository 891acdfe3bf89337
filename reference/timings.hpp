// How long the parts of a run take, and how near they come to what the memory can deliver.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

namespace llama512 {

/// Seconds since a moment.
class Stopwatch {
public:
    double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// How a story that was told with rounded weights compares with float32's.
struct Agreement {
    bool compared = false;
    std::optional<std::size_t> first_difference;  // the number of the token, BOS being 0; none: all are the same
};

/// A run in figures. Times are in seconds.
struct Timings {
    std::string kernels;
    std::size_t threads = 1;
    std::size_t sequences = 1;          // stories told at a time
    double load = 0;                    // from the start until the first token could be fed
    std::size_t prompt_tokens = 0;      // fed from prompts
    double prompt = 0;                  // from there to the first sampled token (one story), 0 with --batch
    std::size_t eval_tokens = 0;        // sampled and fed
    double eval = 0;                    // all the rest
    std::size_t passes = 0;             // over the weights, in `eval`
    std::size_t weight_bytes = 0;       // that one pass reads
    std::string draft = "none";         // what guesses
    std::size_t draft_passes = 0;       // over the draft's weights, in `eval`
    std::size_t draft_bytes = 0;        // that one of them reads
    Agreement agreement;
    double read_bandwidth = 0;          // bytes a second at which the threads read those weights, when they do nothing else
};

/// Bytes of weights that were read in `eval`.
std::size_t bytes_read(const Timings& timings);

/// Lines in the style of llama.cpp, each beginning with "reference: ".
std::string lines(const Timings& timings);

/// ", " and the member "first_difference" of a JSON object; "" where nothing was compared.
std::string json(const Agreement& agreement);

/// The same as a JSON object, with times in milliseconds.
std::string json(const Timings& timings);

}  // namespace llama512
