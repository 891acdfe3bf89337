// Guessed tokens: a draft changes nothing but the number of passes. And where two models part.

#include "draft.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>

#include "fast/quantized.hpp"
#include "first_difference.hpp"
#include "generate.hpp"
#include "tiny_model.hpp"
#include "tokenizer.hpp"

namespace llama512::test {
namespace {

constexpr Config kConfig = {
    .dim = 16, .hidden_dim = 20, .n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .vocab_size = 32, .seq_len = 50};

const std::vector<Sampler> kSamplers = {
    Sampler(0.0f, 0.9f, 1), Sampler(1.0f, 0.9f, 1), Sampler(0.7f, 1.0f, 3), Sampler(1.0f, 1.0f, 2, Method::race)};

const std::vector<std::vector<int>> kPrompts = {{kBos}, {kBos, 5, 9, 9, 3}};

struct Outcome {
    std::vector<int> tokens;  // all of the story, BOS at both ends where it ended so
    std::vector<std::size_t> positions;
    std::size_t passes = 0;
    bool operator==(const Outcome& other) const { return tokens == other.tokens && positions == other.positions; }
};

Outcome run(const Weights& weights, const Sampler& sampler, const std::vector<int>& prompt, std::size_t max_steps,
            Draft* draft, std::size_t max_rows = 8) {
    Transformer transformer(kConfig, weights, {.max_rows = max_rows});
    Outcome result;
    result.tokens = {prompt[0]};
    generate(transformer, sampler, prompt, max_steps, [&](const Step& step) {
        EXPECT_EQ(step.token, result.tokens.back());
        result.tokens.push_back(step.next);
        result.positions.push_back(step.pos);
    }, {.draft = draft});
    result.passes = transformer.passes();
    return result;
}

/// A model that goes on: BOS has the logit 0.
TinyModel endless(std::uint32_t seed) {
    TinyModel model(kConfig, false, seed);
    std::fill_n(model.wcls.begin() + static_cast<std::ptrdiff_t>(kBos * kConfig.dim), kConfig.dim, 0.0f);
    return model;
}

TEST(Draft, ThatGuessesRightSavesPasses) {
    const TinyModel model = endless(1);
    for (const Sampler& sampler : kSamplers) {
        for (const auto& prompt : kPrompts) {
            const Outcome alone = run(model.weights(), sampler, prompt, 100, nullptr);
            Transformer same(kConfig, model.weights(), {.max_rows = 3});
            Draft draft(same, 4);
            const Outcome guessed = run(model.weights(), sampler, prompt, 100, &draft);
            EXPECT_EQ(guessed, alone);
            if (alone.tokens.back() != kBos) {
                // A pass for a prompt of several tokens, and then one for five tokens.
                const std::size_t in_prompt = prompt.size() > 1 ? prompt.size() : 0;
                EXPECT_EQ(guessed.passes, (prompt.size() > 1 ? 1 : 0) + (kConfig.seq_len - in_prompt + 4) / 5);
            }
        }
    }
}

TEST(Draft, ThatGuessesWrongChangesNothing) {
    const TinyModel model = endless(1);
    for (const std::uint32_t seed : {2u, 3u, 4u}) {
        const TinyModel other = endless(seed);
        for (const Sampler& sampler : kSamplers) {
            for (const auto& prompt : kPrompts) {
                for (const std::size_t max_guesses : {1u, 3u, 7u}) {
                    Transformer guesser(kConfig, other.weights(), {.max_rows = 2});
                    Draft draft(guesser, max_guesses);
                    for (const std::size_t max_steps : {1u, 2u, 7u, 100u}) {
                        EXPECT_EQ(run(model.weights(), sampler, prompt, max_steps, &draft),
                                  run(model.weights(), sampler, prompt, max_steps, nullptr));
                    }
                }
            }
        }
    }
}

TEST(Draft, OfRoundedWeights) {
    const TinyModel model(kConfig, true, 5);  // a story may end with BOS
    for (const auto quantization : {Quantization::int8, Quantization::int4}) {
        const auto kernels = quantized_kernels(quantization, kConfig, model.weights(), 1);
        Transformer rounded(kConfig, model.weights(), {.kernels = kernels.get(), .max_rows = 4});
        for (const Sampler& sampler : kSamplers) {
            Draft draft(rounded, 3);
            EXPECT_EQ(run(model.weights(), sampler, {kBos}, 100, &draft), run(model.weights(), sampler, {kBos}, 100, nullptr));
        }
    }
}

TEST(Draft, ThatLeadsWhereNothingIsFiniteEndsNoStory) {
    // After the token 9 every norm overflows, and the model never says it; the draft says nothing else.
    TinyModel model = endless(1);
    const auto row = [](std::vector<float>& matrix, std::size_t token) {
        return slice(std::span(matrix), token, kConfig.dim);
    };
    std::ranges::fill(row(model.token_embedding, 9), 1e30f);
    std::ranges::fill(row(model.wcls, 9), 0.0f);
    TinyModel other = endless(1);
    std::ranges::fill(other.wcls, 0.0f);
    std::ranges::fill(row(other.wcls, 9), 1.0f);
    Transformer probe(kConfig, other.weights());
    if (probe.forward(kBos, 0)[9] < 0) std::ranges::fill(row(other.wcls, 9), -1.0f);
    Transformer guesser(kConfig, other.weights(), {.max_rows = 4});
    Draft draft(guesser, 3);
    const Outcome alone = run(model.weights(), kSamplers[0], {kBos}, 100, nullptr);
    EXPECT_EQ(std::ranges::count(alone.tokens, 9), 0);
    ASSERT_FALSE(draft.guess(std::vector<int>{kBos}, kSamplers[0], 1).empty());
    EXPECT_EQ(draft.guess(std::vector<int>{kBos}, kSamplers[0], 1)[0], 9);
    EXPECT_EQ(run(model.weights(), kSamplers[0], {kBos}, 100, &draft), alone);

    // And a draft that has such weights itself guesses nothing.
    TinyModel large = endless(1);
    for (float& value : large.token_embedding) value *= 1e25f;
    Transformer overflowing(kConfig, large.weights(), {.max_rows = 4});
    Draft none(overflowing, 3);
    EXPECT_EQ(run(model.weights(), kSamplers[0], {kBos}, 100, &none), alone);
}

TEST(Draft, GuessesWithinTheContext) {
    const TinyModel model = endless(1);
    Transformer guesser(kConfig, model.weights(), {.max_rows = 8});
    const auto guesses = [&](std::size_t n_tokens, std::size_t n) {
        std::vector<int> tokens(n_tokens, 3);
        tokens[0] = kBos;
        return Draft(guesser, 5).guess(tokens, Sampler(0.0f, 1.0f, 1), n).size();
    };
    EXPECT_EQ(guesses(1, 2), 2u);
    EXPECT_EQ(guesses(1, 9), 5u);
    EXPECT_EQ(guesses(1, 0), 0u);
    EXPECT_EQ(guesses(kConfig.seq_len, 9), 1u);  // the token after the last position
    EXPECT_EQ(guesses(kConfig.seq_len - 2, 9), 3u);
}

TEST(Draft, GuessesLessWhereItWasWrong) {
    const TinyModel model = endless(1);
    Transformer guesser(kConfig, model.weights(), {.max_rows = 8});
    Draft draft(guesser, 8);
    const auto guess = [&](const std::vector<int>& tokens) { return draft.guess(tokens, Sampler(0.0f, 1.0f, 1), 100); };
    std::vector<int> text = {kBos};
    std::vector<int> guesses = guess(text);
    EXPECT_EQ(guesses.size(), 8u);
    // Two are right, the third is not.
    text.insert(text.end(), guesses.begin(), guesses.begin() + 2);
    text.push_back(guesses[2] == 5 ? 6 : 5);
    guesses = guess(text);
    EXPECT_EQ(guesses.size(), 3u);
    text.insert(text.end(), guesses.begin(), guesses.end());
    text.push_back(9);
    EXPECT_EQ(guess(text).size(), 6u);
}

TEST(FirstDifference, IsWhereTheStoriesPart) {
    const TinyModel model = endless(1);
    const TinyModel other = endless(2);
    for (const Sampler& sampler : kSamplers) {
        for (const auto& prompt : kPrompts) {
            for (const std::size_t max_rows : {1u, 4u, 64u}) {
                const Outcome a = run(model.weights(), sampler, prompt, 100, nullptr);
                const Outcome b = run(other.weights(), sampler, prompt, 100, nullptr);
                const auto parted = std::ranges::mismatch(a.tokens, b.tokens);
                Transformer reader(kConfig, other.weights(), {.max_rows = max_rows});
                const auto found = first_difference(reader, a.tokens, prompt.size(), sampler);
                ASSERT_TRUE(found.has_value());
                EXPECT_EQ(found->pos, static_cast<std::size_t>(parted.in1 - a.tokens.begin()));
                EXPECT_EQ(found->instead, *parted.in2);
                Transformer same(kConfig, model.weights(), {.max_rows = max_rows});
                EXPECT_FALSE(first_difference(same, a.tokens, prompt.size(), sampler).has_value());
            }
        }
    }
}

TEST(FirstDifference, OfAStoryWithoutTokens) {
    const TinyModel model = endless(1);
    Transformer transformer(kConfig, model.weights());
    EXPECT_FALSE(first_difference(transformer, std::vector<int>{kBos}, 1, kSamplers[0]).has_value());
}

}  // namespace
}  // namespace llama512::test
