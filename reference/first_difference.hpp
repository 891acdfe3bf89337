// Where a story leaves the one that another model would have told.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "sampler.hpp"
#include "transformer.hpp"

namespace llama512 {

/// The first token that `transformer` would have chosen otherwise, and its choice.
struct Difference {
    std::size_t pos;  // in `tokens`
    int instead;
};

/// Lets `transformer` read a story, many tokens in a pass, and choose after each one what follows, with `sampler` in the state
/// in which the story began. Up to the first difference these are the tokens that it would have told.
/// `tokens` are BOS, the prompt and what was sampled, BOS at the end where the story ended so. None: no difference.
std::optional<Difference> first_difference(Transformer& transformer, std::span<const int> tokens, std::size_t prompt_size,
                                           Sampler sampler);

}  // namespace llama512
