// The generation loop: what is fed, when it stops.

#include "generate.hpp"

#include <algorithm>
#include <gtest/gtest.h>

#include "ops.hpp"
#include "tiny_model.hpp"
#include "tokenizer.hpp"

namespace llama512::test {
namespace {

/// What generate() did.
struct Outcome {
    std::size_t steps;
    std::vector<int> fed;
    std::vector<int> next;
};

Outcome run(const TinyModel& model, const std::vector<int>& prompt, std::size_t max_steps) {
    Transformer transformer(model.config, model.weights());
    Sampler sampler(0.0f, 0.9f, 1);
    Outcome result{};
    result.steps = generate(transformer, sampler, prompt, max_steps, [&](const Step& step) {
        EXPECT_EQ(step.pos, result.fed.size());
        EXPECT_EQ(step.in_prompt, step.pos + 1 < prompt.size());
        EXPECT_EQ(step.logits.size(), step.in_prompt ? 0 : model.config.vocab_size);
        result.fed.push_back(step.token);
        result.next.push_back(step.next);
    });
    return result;
}

/// A model that prefers some token to BOS wherever it is: BOS has logit 0, and some random logit is above 0.
TinyModel endless_model() {
    TinyModel model(kTinyConfig, false);
    std::fill_n(model.wcls.begin() + static_cast<std::ptrdiff_t>(kBos * kTinyConfig.dim), kTinyConfig.dim, 0.0f);
    return model;
}

TEST(Generate, StopsWhenTheContextIsFull) {
    const Outcome result = run(endless_model(), {kBos}, 1000);
    EXPECT_EQ(result.steps, kTinyConfig.seq_len);
    EXPECT_EQ(result.fed.size(), kTinyConfig.seq_len);
    EXPECT_EQ(result.fed[0], kBos);
    for (std::size_t i = 1; i < result.fed.size(); i++) EXPECT_EQ(result.fed[i], result.next[i - 1]);
}

TEST(Generate, StopsAtMaxSteps) {
    EXPECT_EQ(run(endless_model(), {kBos}, 5).steps, 5u);
    EXPECT_EQ(run(endless_model(), {kBos}, 0).steps, 0u);
}

TEST(Generate, FeedsThePrompt) {
    const std::vector<int> prompt = {kBos, 9, 8, 7};
    const Outcome result = run(endless_model(), prompt, 6);
    EXPECT_EQ(std::vector<int>(result.fed.begin(), result.fed.begin() + 4), prompt);
    EXPECT_EQ(result.fed.size(), 6u);
    EXPECT_EQ(result.fed[4], result.next[3]);
}

TEST(Generate, StopsWhenTheModelGeneratesBos) {
    // Logits are 0 but for BOS. Its row is turned until its logit is positive.
    TinyModel model(kTinyConfig, false);
    std::fill(model.wcls.begin(), model.wcls.end(), 0.0f);
    const std::span<float> row = slice(std::span(model.wcls), kBos, kTinyConfig.dim);
    std::fill(row.begin(), row.end(), 1.0f);
    Transformer transformer(model.config, model.weights());
    if (transformer.forward(kBos, 0)[kBos] < 0) std::fill(row.begin(), row.end(), -1.0f);

    const Outcome result = run(model, {kBos}, 1000);
    EXPECT_EQ(result.steps, 1u);
    EXPECT_EQ(result.next, (std::vector<int>{kBos}));
}

TEST(Generate, DoesNotStopAtUnkOrEos) {
    for (const std::size_t token : {0u, 2u}) {
        TinyModel model(kTinyConfig, false);
        // All logits are equal, and a tie goes to token 0; or token 2 follows when it alone is positive at the start.
        std::fill(model.wcls.begin(), model.wcls.end(), 0.0f);
        if (token == 2) {
            const std::span<float> row = slice(std::span(model.wcls), token, kTinyConfig.dim);
            std::fill(row.begin(), row.end(), 1.0f);
            Transformer transformer(model.config, model.weights());
            if (transformer.forward(kBos, 0)[token] < 0) std::fill(row.begin(), row.end(), -1.0f);
        }
        const Outcome result = run(model, {kBos}, 1000);
        EXPECT_EQ(result.next[0], static_cast<int>(token));
        EXPECT_EQ(result.steps, kTinyConfig.seq_len);
    }
}

TEST(Generate, AcceptsAPromptThatFillsTheContext) {
    const std::vector<int> prompt(kTinyConfig.seq_len, 9);
    const Outcome result = run(endless_model(), prompt, 1000);
    EXPECT_EQ(result.fed, prompt);
    EXPECT_EQ(result.steps, kTinyConfig.seq_len);
}

TEST(Generate, RefusesAPromptLongerThanTheContext) {
    const std::vector<int> prompt(kTinyConfig.seq_len + 1, 9);
    EXPECT_EQ(error_of([&] { run(endless_model(), prompt, 1000); }),
              "model: prompt: 13 tokens (BOS included), at most the model's seq_len of 12 are supported");
}

TEST(Generate, RefusesLogitsThatAreNotFinite) {
    TinyModel model = endless_model();
    std::fill(model.rms_final.begin(), model.rms_final.end(), 3e38f);
    const std::string message = error_of([&] { run(model, {kBos}, 1000); });
    EXPECT_TRUE(message.starts_with("model: logits: ")) << message;
}

}  // namespace
}  // namespace llama512::test
