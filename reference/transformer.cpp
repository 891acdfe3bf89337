#include "transformer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "error.hpp"

namespace llama512 {

using std::size_t;

namespace {

constexpr std::uint64_t kMaxCacheBytes = std::min<std::uint64_t>(std::uint64_t{16} << 30, PTRDIFF_MAX);

/// Positions that one sequence has room for in each layer of its cache.
size_t cache_positions(const Config& c) { return (c.seq_len + kPositionBlock - 1) / kPositionBlock * kPositionBlock; }

/// Values in all keys (or values) that are remembered, checked. No overflow: see parse_config.
size_t cache_size(const Config& c, const TransformerOptions& options) {
    const std::uint64_t size = std::uint64_t{c.n_layers} * cache_positions(c) * c.kv_dim();
    const std::uint64_t bytes = 2 * size * sizeof(float);
    if (bytes > kMaxCacheBytes / options.n_sequences) {
        throw Error(options.name, "seq_len",
                    std::to_string(c.seq_len) + " makes a KV cache of " + std::to_string(bytes) + " bytes" +
                        (options.n_sequences == 1 ? "" : " for each of " + std::to_string(options.n_sequences)) +
                        ", at most " + std::to_string(kMaxCacheBytes) + " are supported");
    }
    return options.n_sequences * static_cast<size_t>(size);
}

void note(Extreme& extreme, float value, size_t layer, size_t pos) {
    if (value > extreme.value) extreme = {value, layer, pos};
}

}  // namespace

Transformer::Transformer(const Config& config, const Weights& weights, const TransformerOptions& options)
    : config_(config),
      weights_(weights),
      options_(options),
      key_cache_(std::make_unique_for_overwrite<float[]>(cache_size(config, options))),
      value_cache_(std::make_unique_for_overwrite<float[]>(cache_size(config, options))) {}

std::span<const float> Transformer::forward(std::span<const Input> batch) {
    const size_t dim = config_.dim;
    const size_t hidden_dim = config_.hidden_dim;
    const size_t head_size = config_.head_size();
    const size_t kv_dim = config_.kv_dim();
    const Weights& w = weights_;
    const Kernels& ops = *options_.kernels;
    check(batch);
    passes_++;

    const size_t rows = batch.size();
    make_room(rows);
    const auto row_of = [](std::vector<float>& values, size_t row, size_t size) { return slice(std::span(values), row, size); };

    for (size_t row = 0; row < rows; row++) {
        // x = the token's embedding
        const auto token = static_cast<size_t>(batch[row].token);
        std::ranges::copy(slice(w.token_embedding, token, dim), row_of(x_, row, dim).begin());
        rope_factors(row_of(cos_, row, head_size / 2), row_of(sin_, row, head_size / 2), batch[row].pos, config_.rope_theta);
    }

    for (size_t layer = 0; layer < config_.n_layers; layer++) {
        // x += attention(rmsnorm(x))
        for (size_t row = 0; row < rows; row++) {
            norm(row, row, slice(w.rms_att, layer, dim), "rms_att", layer, batch[row].pos);
        }
        ops.matmul(q_, normed_, slice(w.wq, layer, dim * dim), rows);
        ops.matmul(k_, normed_, slice(w.wk, layer, kv_dim * dim), rows);
        ops.matmul(v_, normed_, slice(w.wv, layer, kv_dim * dim), rows);
        for (size_t row = 0; row < rows; row++) {
            const size_t pos = batch[row].pos;
            const std::span<float> q = row_of(q_, row, dim);
            const std::span<float> k = row_of(k_, row, kv_dim);
            const std::span<float> cos = row_of(cos_, row, head_size / 2);
            const std::span<float> sin = row_of(sin_, row, head_size / 2);
            ops.rope(q, cos, sin);
            ops.rope(k, cos, sin);
            const float score = ops.attention(row_of(heads_, row, dim), q, k, row_of(v_, row, kv_dim),
                                              cache(batch[row].sequence, layer), pos, head_size);
            note(extremes_.score, score, layer, pos);
        }
        ops.matmul(update_, heads_, slice(w.wo, layer, dim * dim), rows);
        ops.add(x_, update_);

        // x += w2(silu(w1(rmsnorm(x))) * w3(rmsnorm(x)))
        for (size_t row = 0; row < rows; row++) {
            norm(row, row, slice(w.rms_ffn, layer, dim), "rms_ffn", layer, batch[row].pos);
        }
        ops.matmul(gate_, normed_, slice(w.w1, layer, hidden_dim * dim), rows);
        ops.matmul(up_, normed_, slice(w.w3, layer, hidden_dim * dim), rows);
        for (size_t row = 0; row < rows; row++) {
            note(extremes_.gate, ops.largest(row_of(gate_, row, hidden_dim)), layer, batch[row].pos);
            note(extremes_.up, ops.largest(row_of(up_, row, hidden_dim)), layer, batch[row].pos);
        }
        ops.swiglu(gate_, up_);
        ops.matmul(update_, gate_, slice(w.w2, layer, dim * hidden_dim), rows);
        ops.add(x_, update_);
    }

    // logits = wcls(rmsnorm(x)), of the rows that want them
    size_t wanted = 0;
    for (size_t row = 0; row < rows; row++) {
        if (batch[row].wants_logits) norm(wanted++, row, w.rms_final, "rms_final", config_.n_layers - 1, batch[row].pos);
    }
    logits_.resize(wanted * config_.vocab_size);
    if (wanted > 0) ops.matmul(logits_, std::span(normed_).first(wanted * dim), w.wcls, wanted);
    return logits_;
}

void Transformer::make_room(size_t rows) {
    x_.resize(rows * config_.dim);
    normed_.resize(rows * config_.dim);
    cos_.resize(rows * config_.head_size() / 2);
    sin_.resize(rows * config_.head_size() / 2);
    q_.resize(rows * config_.dim);
    k_.resize(rows * config_.kv_dim());
    v_.resize(rows * config_.kv_dim());
    heads_.resize(rows * config_.dim);
    gate_.resize(rows * config_.hidden_dim);
    up_.resize(rows * config_.hidden_dim);
    update_.resize(rows * config_.dim);
}

void Transformer::check(std::span<const Input> batch) const {
    if (batch.empty() || batch.size() > options_.max_rows) throw std::out_of_range("forward: rows");
    for (const auto& [token, pos, sequence, wants_logits] : batch) {
        if (token < 0 || static_cast<size_t>(token) >= config_.vocab_size) throw std::out_of_range("forward: token");
        if (pos >= config_.seq_len) throw std::out_of_range("forward: pos");
        if (sequence >= options_.n_sequences) throw std::out_of_range("forward: sequence");
    }
}

/// Row `out_row` of normed = rmsnorm(x's row). A mean square that float32 cannot hold is refused, with the name of the norm.
void Transformer::norm(size_t out_row, size_t row, std::span<const float> gains, const char* field, size_t layer, size_t pos) {
    const float mean_square = options_.kernels->rmsnorm(slice(std::span(normed_), out_row, config_.dim),
                                                        slice(std::span(x_), row, config_.dim), gains, config_.rms_epsilon);
    if (!std::isfinite(mean_square)) {
        throw Error(options_.name, field,
                    std::to_string(std::abs(mean_square)) + " as the mean square of x in layer " + std::to_string(layer) +
                        " at position " + std::to_string(pos) +
                        ", a finite one is needed (weights too large for float32?)");
    }
    note(extremes_.rms, std::sqrt(mean_square), layer, pos);
}

/// What a sequence remembers in one layer.
KvLayer Transformer::cache(size_t sequence, size_t layer) {
    const size_t size = cache_positions(config_) * config_.kv_dim();
    const size_t start = (sequence * config_.n_layers + layer) * size;
    return {{key_cache_.get() + start, size}, {value_cache_.get() + start, size}};
}

}  // namespace llama512
