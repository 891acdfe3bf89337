// The forward pass against an independent computation, and what must not change its result.

#include "transformer.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <stdexcept>

#include "tiny_model.hpp"

namespace llama512::test {
namespace {

using Vector = std::vector<float>;
using Doubles = std::vector<double>;

constexpr Config kConfig = {
    .dim = 24, .hidden_dim = 20, .n_layers = 3, .n_heads = 6, .n_kv_heads = 2, .vocab_size = 40, .seq_len = 16};

const std::vector<int> kTokens = {1, 7, 39, 7, 0, 22, 13, 5};

/// The logits after the last of `tokens`.
Vector run(const Config& config, const Weights& weights, const std::vector<int>& tokens) {
    Transformer transformer(config, weights);
    Vector logits;
    for (std::size_t pos = 0; pos < tokens.size(); pos++) {
        const auto result = transformer.forward(tokens[pos], pos);
        logits.assign(result.begin(), result.end());
    }
    return logits;
}

/// w x, where row `first_row` of the stack `w` is the first.
Doubles times(std::span<const float> w, std::size_t first_row, std::size_t n_rows, const Doubles& x) {
    Doubles out(n_rows);
    for (std::size_t i = 0; i < n_rows; i++) {
        for (std::size_t j = 0; j < x.size(); j++) out[i] += double(w[(first_row + i) * x.size() + j]) * x[j];
    }
    return out;
}

Doubles norm(const Config& c, const Doubles& x, std::span<const float> gains, std::size_t layer) {
    double sum = 0;
    for (const double value : x) sum += value * value;
    Doubles out;
    for (std::size_t i = 0; i < x.size(); i++) {
        out.push_back(x[i] * double(gains[layer * x.size() + i]) / std::sqrt(sum / double(x.size()) + double(c.rms_epsilon)));
    }
    return out;
}

/// Value i of a vector of heads after RoPE.
double turned(const Config& c, const Doubles& x, std::size_t i, std::size_t pos) {
    const std::size_t pair = i % c.head_size() / 2;
    const double angle = double(pos) * std::pow(double(c.rope_theta), -2.0 * double(pair) / double(c.head_size()));
    return i % 2 == 0 ? x[i] * std::cos(angle) - x[i + 1] * std::sin(angle)
                      : x[i - 1] * std::sin(angle) + x[i] * std::cos(angle);
}

/// The logits after the last of `tokens`: in double, all positions at once, layer by layer, without a cache.
Doubles slow_logits(const Config& c, const Weights& w, const std::vector<int>& tokens) {
    std::vector<Doubles> x;  // (tokens, dim)
    for (const int token : tokens) {
        const auto row = w.token_embedding.subspan(std::size_t(token) * c.dim, c.dim);
        x.emplace_back(row.begin(), row.end());
    }
    for (std::size_t layer = 0; layer < c.n_layers; layer++) {
        std::vector<Doubles> q, k, v;
        for (const Doubles& row : x) {
            const Doubles normed = norm(c, row, w.rms_att, layer);
            q.push_back(times(w.wq, layer * c.dim, c.dim, normed));
            k.push_back(times(w.wk, layer * c.kv_dim(), c.kv_dim(), normed));
            v.push_back(times(w.wv, layer * c.kv_dim(), c.kv_dim(), normed));
        }
        for (std::size_t pos = 0; pos < x.size(); pos++) {
            Doubles found(c.dim);
            for (std::size_t head = 0; head < c.n_heads; head++) {
                const std::size_t q_start = head * c.head_size();
                const std::size_t kv_start = head * c.n_kv_heads / c.n_heads * c.head_size();
                Doubles weight(pos + 1);
                double sum = 0;
                for (std::size_t t = 0; t <= pos; t++) {
                    double score = 0;
                    for (std::size_t i = 0; i < c.head_size(); i++) {
                        score += turned(c, q[pos], q_start + i, pos) * turned(c, k[t], kv_start + i, t);
                    }
                    weight[t] = std::exp(score / std::sqrt(double(c.head_size())));
                    sum += weight[t];
                }
                for (std::size_t t = 0; t <= pos; t++) {
                    for (std::size_t i = 0; i < c.head_size(); i++) {
                        found[q_start + i] += weight[t] / sum * v[t][kv_start + i];
                    }
                }
            }
            const Doubles update = times(w.wo, layer * c.dim, c.dim, found);
            for (std::size_t i = 0; i < c.dim; i++) x[pos][i] += update[i];
        }
        for (Doubles& row : x) {
            const Doubles normed = norm(c, row, w.rms_ffn, layer);
            Doubles hidden = times(w.w1, layer * c.hidden_dim, c.hidden_dim, normed);
            const Doubles up = times(w.w3, layer * c.hidden_dim, c.hidden_dim, normed);
            for (std::size_t i = 0; i < c.hidden_dim; i++) hidden[i] *= up[i] / (1 + std::exp(-hidden[i]));
            const Doubles update = times(w.w2, layer * c.dim, c.dim, hidden);
            for (std::size_t i = 0; i < c.dim; i++) row[i] += update[i];
        }
    }
    return times(w.wcls, 0, c.vocab_size, norm(c, x.back(), w.rms_final, 0));
}

TEST(Transformer, AgreesWithASlowComputation) {
    for (const bool tied : {true, false}) {
        const TinyModel model(kConfig, tied);
        for (std::size_t n = 1; n <= kTokens.size(); n++) {
            const std::vector<int> tokens(kTokens.begin(), kTokens.begin() + static_cast<std::ptrdiff_t>(n));
            const Vector logits = run(kConfig, model.weights(), tokens);
            const Doubles expected = slow_logits(kConfig, model.weights(), tokens);
            for (std::size_t i = 0; i < logits.size(); i++) EXPECT_NEAR(logits[i], expected[i], 1e-4) << n << ' ' << i;
        }
    }
}

TEST(Transformer, UsesTheConfigsConstants) {
    const TinyModel model(kConfig, false);
    const Vector logits = run(kConfig, model.weights(), kTokens);
    Config config = kConfig;
    for (const auto& [constant, value] : {std::pair{&Config::rms_epsilon, 0.1f}, {&Config::rope_theta, 100.0f}}) {
        config.*constant = value;
        const Vector others = run(config, model.weights(), kTokens);
        const Doubles expected = slow_logits(config, model.weights(), kTokens);
        EXPECT_NE(others, logits);
        for (std::size_t i = 0; i < others.size(); i++) EXPECT_NEAR(others[i], expected[i], 1e-4) << value << ' ' << i;
    }
}

TEST(Transformer, GroupedHeadsEqualRepeatedHeads) {
    TinyModel grouped(kConfig, true);
    TinyModel full = grouped;
    full.config.n_kv_heads = full.config.n_heads;
    const std::size_t head = kConfig.head_size() * kConfig.dim;  // one head's part of wk or wv
    const auto repeat = [&](const Vector& w) {
        Vector repeated;
        for (std::size_t start = 0; start < w.size(); start += head) {
            const std::span<const float> part = std::span(w).subspan(start, head);
            for (std::size_t i = 0; i < kConfig.heads_per_kv_head(); i++) {
                repeated.insert(repeated.end(), part.begin(), part.end());
            }
        }
        return repeated;
    };
    full.wk = repeat(grouped.wk);
    full.wv = repeat(grouped.wv);
    EXPECT_EQ(run(kConfig, grouped.weights(), kTokens), run(full.config, full.weights(), kTokens));
}

TEST(Transformer, EveryTensorMatters) {
    const TinyModel model(kConfig, false);
    const Vector logits = run(kConfig, model.weights(), kTokens);
    for (const auto view : {&Weights::token_embedding, &Weights::rms_att, &Weights::wq, &Weights::wk, &Weights::wv,
                            &Weights::wo, &Weights::rms_ffn, &Weights::w1, &Weights::w2, &Weights::w3,
                            &Weights::rms_final, &Weights::wcls}) {
        Weights weights = model.weights();
        const Vector zeros((weights.*view).size());
        weights.*view = zeros;
        EXPECT_NE(run(kConfig, weights, kTokens), logits);
    }
}

TEST(Transformer, EpsilonDecidesForSmallActivations) {
    TinyModel model(kConfig, false);
    for (float& value : model.token_embedding) value *= 1e-4f;
    for (float& value : model.wo) value = 0;  // so that nothing else adds to x
    for (float& value : model.w2) value = 0;
    const Vector logits = run(kConfig, model.weights(), kTokens);
    const Doubles expected = slow_logits(kConfig, model.weights(), kTokens);
    float largest = 0;
    for (std::size_t i = 0; i < logits.size(); i++) {
        EXPECT_NEAR(logits[i], expected[i], 1e-5);
        largest = std::max(largest, std::abs(logits[i]));
    }
    EXPECT_LT(largest, 0.2f);  // without epsilon they would be of the order of 1
}

/// Scores are divided by sqrt(head_size), not by a constant that is right for one size.
TEST(Transformer, AttentionScaleOfEveryHeadSize) {
    for (const std::size_t head_size : {2u, 8u, 16u, 48u, 128u}) {
        Config config = kConfig;
        config.n_heads = config.n_kv_heads = 2;
        config.dim = 2 * head_size;
        TinyModel model(config, true);
        for (float& value : model.wq) value *= 100.0f / static_cast<float>(config.dim);  // scores of about 10
        const Vector logits = run(config, model.weights(), kTokens);
        const Doubles expected = slow_logits(config, model.weights(), kTokens);
        for (std::size_t i = 0; i < logits.size(); i++) EXPECT_NEAR(logits[i], expected[i], 2e-3) << head_size << ' ' << i;
    }
}

TEST(Transformer, ExtremesAreThoseOfTheRun) {
    // One layer, one head of size 2 that turns by 1 a position; x is (3, 4) throughout, as nothing is added to it.
    TinyModel model({.dim = 2, .hidden_dim = 2, .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .vocab_size = 2,
                     .seq_len = 4}, true);
    model.token_embedding = {3, 4, 3, 4};
    model.rms_att = model.rms_ffn = model.rms_final = {1, 1};
    model.wq = {5, 0, 0, 5};
    model.wk = {1, 0, 0, 1};
    model.w1 = {0, -2, 0, 1};
    model.w3 = {7, 0, 0, 1};
    model.wo = model.w2 = {0, 0, 0, 0};
    Transformer transformer(model.config, model.weights());
    for (std::size_t pos = 0; pos < 3; pos++) transformer.forward(1, pos);
    const Extremes& found = transformer.extremes();
    const double rms = std::sqrt(12.5);
    EXPECT_NEAR(found.rms.value, rms, 1e-5);
    EXPECT_NEAR(found.score.value, 5 * 2 / std::sqrt(2), 1e-4);  // 5 |x|^2 / rms^2 / sqrt(2), with itself
    EXPECT_NEAR(found.gate.value, 2 * 4 / rms, 1e-5);             // its sign does not matter
    EXPECT_NEAR(found.up.value, 7 * 3 / rms, 1e-5);
    EXPECT_EQ(found.gate.layer, 0u);
    EXPECT_EQ(found.gate.pos, 0u);
}

TEST(Transformer, RefusesAMeanSquareThatIsNotFinite) {
    const auto refusal = [](auto change) {
        TinyModel model(kConfig, false);
        change(model);
        Transformer transformer(kConfig, model.weights(), {.name = "m.bin"});
        return error_of([&] {
            for (std::size_t pos = 0; pos < kTokens.size(); pos++) transformer.forward(kTokens[pos], pos);
        });
    };
    const auto grow = [](std::vector<float>& values, std::size_t start, float factor) {
        for (std::size_t i = start; i < values.size(); i++) values[i] *= factor;
    };
    const auto inf = [](const std::string& field, const std::string& place) {
        return "m.bin: " + field + ": inf as the mean square of x in " + place +
               ", a finite one is needed (weights too large for float32?)";
    };
    EXPECT_EQ(refusal([&](TinyModel& m) { grow(m.token_embedding, 0, 1e20f); }),
              inf("rms_att", "layer 0 at position 0"));
    EXPECT_EQ(refusal([&](TinyModel& m) { grow(m.token_embedding, 39 * kConfig.dim, 1e20f); }),  // the third token
              inf("rms_att", "layer 0 at position 2"));
    EXPECT_EQ(refusal([&](TinyModel& m) { grow(m.wo, 2 * kConfig.dim * kConfig.dim, 1e21f); }),
              inf("rms_ffn", "layer 2 at position 0"));
    EXPECT_EQ(refusal([&](TinyModel& m) { grow(m.w2, 2 * kConfig.dim * kConfig.hidden_dim, 1e21f); }),
              inf("rms_final", "layer 2 at position 0"));
    EXPECT_EQ(refusal([&](TinyModel& m) { grow(m.token_embedding, 0, 1e15f); }), "");
}

TEST(Transformer, GoingBackForgets) {
    const TinyModel model(kConfig, true);
    Transformer used(kConfig, model.weights());
    for (std::size_t pos = 0; pos < kTokens.size(); pos++) used.forward(kTokens[pos], pos);
    used.forward(3, 1);  // in place of token 7
    const auto logits = used.forward(4, 2);
    EXPECT_EQ(Vector(logits.begin(), logits.end()), run(kConfig, model.weights(), {1, 3, 4}));
}

TEST(Transformer, EarlierTokensMatter) {
    const TinyModel model(kConfig, true);
    EXPECT_NE(run(kConfig, model.weights(), {1, 3, 4}), run(kConfig, model.weights(), {1, 5, 4}));
    EXPECT_NE(run(kConfig, model.weights(), {1, 3, 5, 4}), run(kConfig, model.weights(), {1, 5, 3, 4}));
}

TEST(Transformer, RefusesTokensAndPositionsOutOfRange) {
    const TinyModel model(kConfig, true);
    Transformer transformer(kConfig, model.weights());
    EXPECT_THROW(transformer.forward(-1, 0), std::out_of_range);
    EXPECT_THROW(transformer.forward(40, 0), std::out_of_range);
    EXPECT_THROW(transformer.forward(1, 16), std::out_of_range);
}

TEST(Transformer, RefusesAHugeCache) {
    TinyModel model(kConfig, true);
    model.config.seq_len = 1 << 20;
    model.config.n_layers = 1 << 10;
    EXPECT_EQ(error_of([&] { Transformer(model.config, model.weights(), {.name = "m.bin"}); }),
              "m.bin: seq_len: 1048576 makes a KV cache of 68719476736 bytes, at most 17179869184 are supported");
}

}  // namespace
}  // namespace llama512::test
