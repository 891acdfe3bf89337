// The exponential race: a sampler so small that an engine of a few hundred bytes has it as well.
//
// Tokens run a race. Token i arrives at the time E_i / p_i, where E_i is a random number of the exponential distribution
// and p_i the token's probability, exp(logit_i / T) up to a constant. The first one to arrive is token i with
// probability p_i: exactly the distribution that softmax describes. (If one of two radioactive atoms decays twice as
// fast as the other, it is the first to decay in two cases of three.)
//
// So there is no softmax to compute, no sum to keep and nothing to sort: one look at each token is enough, as for
// argmax. Instead of the smallest E_i / p_i we take the largest of its -log, logit_i / T - log(E_i), which does not
// overflow. A uniform random number u gives an exponential one, E = -log(u), so the winner is
//
//     argmax over i of   logit_i / T - log(-log(u_i))
//
// (The added noise has a name of its own, Gumbel's distribution: https://arxiv.org/abs/1411.0030, section 2.)
//
// Top-p sampling (https://arxiv.org/abs/1904.09751, section 3.1) draws from the nucleus only: the most likely tokens that
// together reach the probability P. The race needs no sort for that either. It is run over all tokens, and where its winner w
// is not in the nucleus, it is run again with the next random numbers, until one is. The winners that count then have the
// distribution of the nucleus: its tokens keep their odds against each other, and the others never win. A winner is in the
// nucleus with probability P or more, so about 1 / P races are enough. Token w is in the nucleus when all tokens that are more
// likely have together at most P:
//
//     sum over j with logit_j > logit_w of exp((logit_j - logit_w) / T)   <=   P * sum over all j of exp((logit_j - logit_w) / T)
//
// Both sides are probabilities divided by that of w, so no softmax is needed. The most likely token is always in the nucleus:
// its left side is 0. It is the rule by which sample_top_p (sampler.hpp) cuts: a token is kept while those before it have not
// exceeded P. But that one sorts, and may cut between tokens that are equally likely; here, equals are in or out together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace llama512 {

/// The generator of the race: a fraction s of 36 bits; the next one is 8153 s mod 1. As a whole number, n = s 2^36, it is a
/// multiplicative congruential generator, n = 8153 n mod 2^36: https://en.wikipedia.org/wiki/Lehmer_random_number_generator.
///
/// n is odd, and stays odd as the multiplier is: so s is never 0, whose logarithm is infinite. It repeats after 2^33 numbers.
/// The multiplier is large enough that one number does not show in the next (their correlation is about 1 / 8153), and so small
/// that 8153 n has 49 bits, which neither a double nor the x87's registers round.
///
/// What it lacks: 8153 is 1 modulo 8, so 8153^512 is 1 modulo 2^12. Of a vocabulary of 512 (similarly of other powers of two), one
/// token's numbers in successive races therefore have constant second differences: evenly spread, but not independent. Many thousand
/// races with the very same logits may show it in a test of chi-square; in a story the logits change from race to race.
class RaceRandom {
public:
    /// Any seed, 0 too; there are 32768 beginnings.
    explicit RaceRandom(std::uint64_t seed);

    /// The next number, in (0, 1).
    double next();

private:
    std::uint64_t state_;  // n
};

/// Picks token i with probability exp(logit_i / temperature) / sum over j of exp(logit_j / temperature). Takes a random number for
/// each token, for the last one first; of equals the lowest token wins. top_p in (0, 1) keeps the nucleus only: the race is repeated
/// until its winner is in it; 0 or 1 keeps the whole distribution.
int sample_race(std::span<const float> logits,  // (n), n >= 1
                float temperature, float top_p, RaceRandom& random);

}  // namespace llama512
