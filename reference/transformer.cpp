#include "transformer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "error.hpp"
#include "ops.hpp"

namespace llama512 {

using std::size_t;

namespace {

constexpr size_t kMaxCacheBytes = size_t{16} << 30;

/// Values in one cache, checked. No overflow: see parse_config.
size_t cache_size(const Config& c, const std::string& name) {
    const size_t size = c.n_layers * c.seq_len * c.kv_dim();
    const size_t bytes = 2 * size * sizeof(float);
    if (bytes > kMaxCacheBytes) {
        throw Error(name, "seq_len",
                    std::to_string(c.seq_len) + " makes a KV cache of " + std::to_string(bytes) + " bytes, at most " +
                        std::to_string(kMaxCacheBytes) + " are supported");
    }
    return size;
}

void note(Extreme& extreme, std::span<const float> values, size_t layer, size_t pos) {
    for (const float value : values) {
        if (std::abs(value) > extreme.value) extreme = {std::abs(value), layer, pos};
    }
}

}  // namespace

Transformer::Transformer(const Config& config, const Weights& weights, const std::string& name)
    : config_(config),
      weights_(weights),
      name_(name),
      x_(config.dim),
      normed_(config.dim),
      q_(config.dim),
      scores_(config.seq_len),
      heads_(config.dim),
      gate_(config.hidden_dim),
      up_(config.hidden_dim),
      update_(config.dim),
      logits_(config.vocab_size),
      key_cache_(std::make_unique_for_overwrite<float[]>(cache_size(config, name))),
      value_cache_(std::make_unique_for_overwrite<float[]>(cache_size(config, name))) {}

std::span<const float> Transformer::forward(int token, size_t pos) {
    const size_t dim = config_.dim;
    const size_t hidden_dim = config_.hidden_dim;
    const size_t head_size = config_.head_size();
    const size_t kv_dim = config_.kv_dim();
    const Weights& w = weights_;
    if (token < 0 || static_cast<size_t>(token) >= config_.vocab_size) throw std::out_of_range("forward: token");
    if (pos >= config_.seq_len) throw std::out_of_range("forward: pos");

    // x = the token's embedding
    std::ranges::copy(slice(w.token_embedding, static_cast<size_t>(token), dim), x_.begin());

    for (size_t layer = 0; layer < config_.n_layers; layer++) {
        // x += attention(rmsnorm(x))
        const std::span<float> k = cache_row(key_cache_, layer, pos);    // (kv_dim)
        const std::span<float> v = cache_row(value_cache_, layer, pos);  // (kv_dim)
        norm(slice(w.rms_att, layer, dim), "rms_att", layer, pos);
        matmul(q_, normed_, slice(w.wq, layer, dim * dim));
        matmul(k, normed_, slice(w.wk, layer, kv_dim * dim));
        matmul(v, normed_, slice(w.wv, layer, kv_dim * dim));
        rope(q_, head_size, pos, config_.rope_theta);
        rope(k, head_size, pos, config_.rope_theta);
        attention(layer, pos);
        matmul(update_, heads_, slice(w.wo, layer, dim * dim));
        add(x_, update_);

        // x += w2(silu(w1(rmsnorm(x))) * w3(rmsnorm(x)))
        norm(slice(w.rms_ffn, layer, dim), "rms_ffn", layer, pos);
        matmul(gate_, normed_, slice(w.w1, layer, hidden_dim * dim));
        matmul(up_, normed_, slice(w.w3, layer, hidden_dim * dim));
        note(extremes_.gate, gate_, layer, pos);
        note(extremes_.up, up_, layer, pos);
        swiglu(gate_, up_);
        matmul(update_, gate_, slice(w.w2, layer, dim * hidden_dim));
        add(x_, update_);
    }

    // logits = wcls(rmsnorm(x))
    norm(w.rms_final, "rms_final", config_.n_layers - 1, pos);
    matmul(logits_, normed_, w.wcls);
    return logits_;
}

/// normed = rmsnorm(x). A mean square that float32 cannot hold is refused, with the name of the norm.
void Transformer::norm(std::span<const float> gains, const char* field, size_t layer, size_t pos) {
    const float square = mean_square(x_);
    if (!std::isfinite(square)) {
        throw Error(name_, field,
                    std::to_string(std::abs(square)) + " as the mean square of x in layer " + std::to_string(layer) +
                        " at position " + std::to_string(pos) +
                        ", a finite one is needed (weights too large for float32?)");
    }
    note(extremes_.rms, std::array{std::sqrt(square)}, layer, pos);
    rmsnorm(normed_, x_, gains, config_.rms_epsilon);
}

/// heads = for each query head: softmax(q . k / sqrt(head_size)) v, over all positions so far.
void Transformer::attention(size_t layer, size_t pos) {
    const size_t head_size = config_.head_size();
    const float sqrt_head_size = std::sqrt(static_cast<float>(head_size));
    const std::span<float> scores = std::span(scores_).first(pos + 1);  // (pos + 1)

    for (size_t head = 0; head < config_.n_heads; head++) {
        const size_t kv_head = head / config_.heads_per_kv_head();
        const std::span<float> q = slice(std::span(q_), head, head_size);       // (head_size)
        const std::span<float> out = slice(std::span(heads_), head, head_size);  // (head_size)

        for (size_t t = 0; t <= pos; t++) {
            const std::span<float> k = slice(cache_row(key_cache_, layer, t), kv_head, head_size);
            scores[t] = dot(q, k) / sqrt_head_size;
        }
        note(extremes_.score, scores, layer, pos);
        softmax(scores);
        std::ranges::fill(out, 0.0f);
        for (size_t t = 0; t <= pos; t++) {
            const std::span<float> v = slice(cache_row(value_cache_, layer, t), kv_head, head_size);
            add_scaled(out, scores[t], v);
        }
    }
}

/// One position's keys or values in one layer: (kv_dim), that is (n_kv_heads, head_size).
std::span<float> Transformer::cache_row(const std::unique_ptr<float[]>& cache, size_t layer, size_t pos) {
    const size_t kv_dim = config_.kv_dim();
    return {cache.get() + (layer * config_.seq_len + pos) * kv_dim, kv_dim};
}

}  // namespace llama512
