// From logits to the next token. The arithmetic follows llama2.c's run.c step by step,
// so that the same seed gives the same text; but for the race (see race.hpp), which llama2.c has not.
#pragma once

#include <cstdint>
#include <span>

#include "kernels.hpp"
#include "race.hpp"

namespace llama512 {

/// The generator xorshift64* (https://en.wikipedia.org/wiki/Xorshift#xorshift*).
class Random {
public:
    /// `seed` must not be 0: the generator would stay there.
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint32_t next_u32();
    float next_f32();  // in [0, 1)

private:
    std::uint64_t state_;
};

/// Picks from the whole distribution: the first index at which the running sum exceeds `coin`.
int sample_multinomial(std::span<const float> probabilities,  // (n), sum 1
                       float coin);                           // in [0, 1)

/// Picks from the nucleus: the most likely tokens that together exceed probability `top_p`.
/// Top-p sampling: arXiv:1904.09751, section 3.1.
int sample_top_p(std::span<const float> probabilities,  // (n), sum 1, n >= 2
                 float top_p, float coin);              // in (0, 1), in [0, 1)

/// How a token is drawn where the choice is not greedy.
enum class Method {
    top_p,  // softmax, and from the nucleus
    race,   // the exponential race, repeated until its winner is in the nucleus
};

/// How the next token is chosen.
class Sampler {
public:
    /// temperature 0: the most likely token, always (greedy). Otherwise logits are divided by it before softmax.
    /// top_p in (0, 1) keeps the nucleus only; 0 or 1 keeps the whole distribution.
    /// The race takes any seed.
    Sampler(float temperature, float top_p, std::uint64_t seed, Method method = Method::top_p,
            const Kernels& kernels = plain_kernels())
        : temperature_(temperature), top_p_(top_p), method_(method), kernels_(&kernels), random_(seed), race_(seed) {}

    int sample(std::span<const float> logits);  // (vocab_size)

    /// The next token is that of the prompt, so these logits are not sampled. The race is run all the same, its repetitions too,
    /// and its winner is not asked: so what follows draws the same numbers, whether a token was said or told.
    void skip(std::span<const float> logits);  // (vocab_size)

    /// Whether skip() does anything: whether it matters what the logits of a prompt's positions are.
    bool reads_prompts() const { return method_ == Method::race && temperature_ != 0.0f; }

private:
    float temperature_;
    float top_p_;
    Method method_;
    const Kernels* kernels_;  // of argmax
    Random random_;
    RaceRandom race_;
};

}  // namespace llama512
