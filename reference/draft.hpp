// Guesses of the tokens that come next, made by a model that is faster than the one that decides.
//
// A pass over the weights takes hardly longer for a few tokens than for one: the memory is what it waits for. So a few
// tokens are guessed, and one pass of the deciding model says what follows each of them. Guesses are kept as far as they are
// what that model says; the first wrong one is replaced by what it says. The text is the deciding model's, token for token,
// drawn with the same random numbers.
//
// Speculative decoding: arXiv:2211.17192, section 2. There a guess is accepted by chance, which keeps the distribution; here it
// is accepted when it is equal, which keeps the tokens.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sampler.hpp"
#include "transformer.hpp"

namespace llama512 {

class Draft {
public:
    /// `model` guesses, of the first story of a Transformer only: it has the same vocabulary, and must outlive the Draft.
    Draft(Transformer& model, std::size_t max_guesses) : model_(model), max_guesses_(max_guesses), next_guesses_(max_guesses) {}

    /// Up to `n` and max_guesses tokens that may follow `tokens`, which are those of the last call and what was decided since;
    /// fewer where guesses were wrong lately. `sampler` is a copy of the one that will decide.
    std::vector<int> guess(std::span<const int> tokens, Sampler sampler, std::size_t n);

    /// Of its model over the weights, so far.
    std::size_t passes() const { return model_.passes(); }

private:
    Transformer& model_;
    std::size_t max_guesses_;
    std::size_t next_guesses_;  // how many are worth their time
    std::vector<int> fed_;      // what the model's cache holds
    std::vector<int> guessed_;  // the text after the last call: its tokens, and the guesses
};

}  // namespace llama512
