// Random numbers that depend on a seed and nothing else, on every machine.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace llama512::train {

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
/// `stream` gives independent sequences for one seed: story number, epoch, tensor.
class Random {
public:
    explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : state_(mix(mix(seed + kStep) ^ (stream * kStep))) {}

    std::uint64_t next() { return mix(state_ += kStep); }

    /// In [0, n), n >= 1.
    std::uint32_t below(std::uint32_t n) {
        return static_cast<std::uint32_t>(((next() >> 32) * n) >> 32);
    }

    /// In [0, 1).
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

    /// Standard normal (Box-Muller).
    double normal() {
        const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(2.0 * std::numbers::pi * uniform());
    }

private:
    static constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15;

    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    std::uint64_t state_;
};

}  // namespace llama512::train
