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
      x_(options.max_rows * config.dim),
      normed_(options.max_rows * config.dim),
      cos_(options.max_rows * config.head_size() / 2),
      sin_(options.max_rows * config.head_size() / 2),
      q_(options.max_rows * config.dim),
      k_(options.max_rows * config.kv_dim()),
      v_(options.max_rows * config.kv_dim()),
      heads_(options.max_rows * config.dim),
      gate_(options.max_rows * config.hidden_dim),
      up_(options.max_rows * config.hidden_dim),
      update_(options.max_rows * config.dim),
      logits_(options.max_rows * config.vocab_size),
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

    // The activations of this pass: a row for each token.
    const size_t rows = batch.size();
    const auto used = [rows](std::vector<float>& values, size_t size) { return std::span(values).first(rows * size); };
    const std::span<float> x = used(x_, dim);
    const std::span<float> normed = used(normed_, dim);
    const std::span<float> q = used(q_, dim);
    const std::span<float> k = used(k_, kv_dim);
    const std::span<float> v = used(v_, kv_dim);
    const std::span<float> heads = used(heads_, dim);
    const std::span<float> gate = used(gate_, hidden_dim);
    const std::span<float> up = used(up_, hidden_dim);
    const std::span<float> update = used(update_, dim);
    const std::span<float> cos = used(cos_, head_size / 2);
    const std::span<float> sin = used(sin_, head_size / 2);

    // x = the token's embedding
    for (size_t row = 0; row < rows; row++) {
        const size_t token = static_cast<size_t>(batch[row].token);
        std::ranges::copy(slice(w.token_embedding, token, dim), slice(x, row, dim).begin());
        rope_factors(slice(cos, row, head_size / 2), slice(sin, row, head_size / 2), batch[row].pos, config_.rope_theta);
    }

    for (size_t layer = 0; layer < config_.n_layers; layer++) {
        // x += attention(rmsnorm(x))
        for (size_t row = 0; row < rows; row++) {
            norm(row, row, slice(w.rms_att, layer, dim), "rms_att", layer, batch[row].pos);
        }
        ops.matmul(q, normed, slice(w.wq, layer, dim * dim), rows);
        ops.matmul(k, normed, slice(w.wk, layer, kv_dim * dim), rows);
        ops.matmul(v, normed, slice(w.wv, layer, kv_dim * dim), rows);
        for (size_t row = 0; row < rows; row++) {
            const auto [token, pos, sequence, wants_logits] = batch[row];
            ops.rope(slice(q, row, dim), slice(cos, row, head_size / 2), slice(sin, row, head_size / 2));
            ops.rope(slice(k, row, kv_dim), slice(cos, row, head_size / 2), slice(sin, row, head_size / 2));
            const float score = ops.attention(slice(heads, row, dim), slice(q, row, dim), slice(k, row, kv_dim),
                                              slice(v, row, kv_dim), cache(sequence, layer), pos, head_size);
            note(extremes_.score, score, layer, pos);
        }
        ops.matmul(update, heads, slice(w.wo, layer, dim * dim), rows);
        ops.add(x, update);

        // x += w2(silu(w1(rmsnorm(x))) * w3(rmsnorm(x)))
        for (size_t row = 0; row < rows; row++) {
            norm(row, row, slice(w.rms_ffn, layer, dim), "rms_ffn", layer, batch[row].pos);
        }
        ops.matmul(gate, normed, slice(w.w1, layer, hidden_dim * dim), rows);
        ops.matmul(up, normed, slice(w.w3, layer, hidden_dim * dim), rows);
        for (size_t row = 0; row < rows; row++) {
            note(extremes_.gate, ops.largest(slice(gate, row, hidden_dim)), layer, batch[row].pos);
            note(extremes_.up, ops.largest(slice(up, row, hidden_dim)), layer, batch[row].pos);
        }
        ops.swiglu(gate, up);
        ops.matmul(update, gate, slice(w.w2, layer, dim * hidden_dim), rows);
        ops.add(x, update);
    }

    // logits = wcls(rmsnorm(x)), of the rows that want them
    size_t wanted = 0;
    for (size_t row = 0; row < rows; row++) {
        if (!batch[row].wants_logits) continue;
        norm(wanted++, row, w.rms_final, "rms_final", config_.n_layers - 1, batch[row].pos);
    }
    const std::span<float> logits = std::span(logits_).first(wanted * config_.vocab_size);
    if (wanted > 0) ops.matmul(logits, normed.first(wanted * dim), w.wcls, wanted);
    return logits;
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
