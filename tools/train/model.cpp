#include "model.hpp"

#include <algorithm>
#include <stdexcept>

namespace llama512::train {

using std::size_t;

// --- Weights ---------------------------------------------------------------------------------------------------

template <typename Real>
Weights<Real>::Weights(const Config& c) {
    const Layout layout(c);
    plain_.resize(layout.size());
    transposed_.resize(layout.size());
    const auto add = [&](size_t offset, size_t rows, size_t columns) {
        blocks_.push_back({offset, rows, columns});
        return offset;
    };
    add(0, c.vocab_size, c.dim);
    for (size_t i = 0; i < c.n_layers; i++) {
        const size_t wqkv = add(layout.offset("wq", i), qkv_dim(c), c.dim);
        const size_t wo = add(layout.offset("wo", i), c.dim, c.dim);
        const size_t w13 = add(layout.offset("w1", i), 2 * c.hidden_dim, c.dim);
        const size_t w2 = add(layout.offset("w2", i), c.dim, c.hidden_dim);
        const Real *p = plain_.data(), *t = transposed_.data();
        layers_.push_back({p + wqkv, p + wo, p + w13, p + w2, t + wqkv, t + wo, t + w13, t + w2});
    }
}

template <typename Real>
void Weights<Real>::set(std::span<const Real> parameters) {
    std::ranges::copy(parameters, plain_.begin());
    for (const Block& b : blocks_) {
        transpose(b.rows, b.columns, plain_.data() + b.offset, b.columns, transposed_.data() + b.offset, b.rows);
    }
}

// --- Model -----------------------------------------------------------------------------------------------------

template <typename Real>
Model<Real>::Model(const Config& c)
    : config_(c), layout_(c), row_((c.seq_len + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>) {
    const size_t T = c.seq_len, D = c.dim, Q = qkv_dim(c), H = c.hidden_dim;
    layers_.resize(c.n_layers);
    for (Activations& a : layers_) {
        a.norm_att.resize(T);
        a.x_att.resize(T * D);
        a.qkv.resize(T * Q);
        a.scores.resize(c.n_heads * T * row_);
        a.heads.resize(T * D);
        a.norm_ffn.resize(T);
        a.x_ffn.resize(T * D);
        a.w13.resize(T * 2 * H);
        a.hidden.resize(T * H);
    }
    for (size_t pos = 0; pos < T; pos++) {
        for (size_t i = 0; i < c.head_size(); i += 2) {
            const double exponent = static_cast<double>(i) / static_cast<double>(c.head_size());
            const double angle = static_cast<double>(pos) * std::pow(static_cast<double>(kRopeTheta), -exponent);
            cos_.push_back(static_cast<Real>(std::cos(angle)));
            sin_.push_back(static_cast<Real>(std::sin(angle)));
        }
    }
    x_.resize(T * D);
    norm_final_.resize(T);
    x_final_.resize(T * D);
    logits_.resize(kBlock * c.vocab_size);
    transposed_.resize(c.head_size() * row_);
    d_scores_.resize(kBlock * row_);
    dx_.resize(T * D);
    d_norm_.resize(T * D);
    d_qkv_.resize(T * Q);
    d_w13_.resize(T * 2 * H);
    d_hidden_.resize(T * H);
}

template <typename Real>
double Model<Real>::step(const Weights<Real>& weights, std::span<const std::uint16_t> tokens, Real* gradient) {
    const size_t D = config_.dim, Q = qkv_dim(config_), H = config_.hidden_dim;
    const size_t T = tokens.size() - 1;
    if (tokens.size() < 2 || T > config_.seq_len) throw std::out_of_range("Model::step: tokens");

    // x = the tokens' embeddings
    for (size_t t = 0; t < T; t++) std::copy_n(weights.embedding() + tokens[t] * D, D, &x_[t * D]);

    for (size_t i = 0; i < config_.n_layers; i++) {
        const auto& w = weights.layer(i);
        Activations& a = layers_[i];
        // x += wo attention(rmsnorm(x))
        rmsnorm(T, x_.data(), a.norm_att.data(), a.x_att.data());
        matmul<Real>(Mode::kSet, T, Q, D, {a.x_att.data(), D, 1}, w.wqkv_t, Q, a.qkv.data(), Q);
        rope(T, a.qkv.data(), 1);
        attention(T, a);
        matmul<Real>(Mode::kAdd, T, D, D, {a.heads.data(), D, 1}, w.wo_t, D, x_.data(), D);
        // x += w2 (silu(w1 rmsnorm(x)) * w3 rmsnorm(x))
        rmsnorm(T, x_.data(), a.norm_ffn.data(), a.x_ffn.data());
        matmul<Real>(Mode::kSet, T, 2 * H, D, {a.x_ffn.data(), D, 1}, w.w13_t, 2 * H, a.w13.data(), 2 * H);
        swiglu(T, a.w13.data(), a.hidden.data());
        matmul<Real>(Mode::kAdd, T, D, H, {a.hidden.data(), H, 1}, w.w2_t, D, x_.data(), D);
    }
    rmsnorm(T, x_.data(), norm_final_.data(), x_final_.data());
    const double loss = classify(weights, tokens, gradient);  // leaves d x_final in d_norm_

    std::fill_n(dx_.begin(), T * D, Real(0));
    rmsnorm_backward(T, d_norm_.data(), x_final_.data(), norm_final_.data(), dx_.data());
    for (size_t i = config_.n_layers; i-- > 0;) {
        const auto& w = weights.layer(i);
        const Activations& a = layers_[i];
        const auto grad = [&](const char* name) { return gradient + layout_.offset(name, i); };
        // The feed-forward block. d_x passes the residual add unchanged, and so stays in dx_.
        matmul<Real>(Mode::kAdd, D, H, T, {dx_.data(), 1, D}, a.hidden.data(), H, grad("w2"), H);
        matmul<Real>(Mode::kSet, T, H, D, {dx_.data(), D, 1}, w.w2, H, d_hidden_.data(), H);
        swiglu_backward(T, a.w13.data(), d_hidden_.data(), d_w13_.data());
        matmul<Real>(Mode::kAdd, 2 * H, D, T, {d_w13_.data(), 1, 2 * H}, a.x_ffn.data(), D, grad("w1"), D);
        matmul<Real>(Mode::kSet, T, D, 2 * H, {d_w13_.data(), 2 * H, 1}, w.w13, D, d_norm_.data(), D);
        rmsnorm_backward(T, d_norm_.data(), a.x_ffn.data(), a.norm_ffn.data(), dx_.data());
        // The attention block.
        matmul<Real>(Mode::kAdd, D, D, T, {dx_.data(), 1, D}, a.heads.data(), D, grad("wo"), D);
        matmul<Real>(Mode::kSet, T, D, D, {dx_.data(), D, 1}, w.wo, D, d_norm_.data(), D);
        attention_backward(T, a, d_norm_.data(), d_qkv_.data());
        rope(T, d_qkv_.data(), -1);  // a rotation's transpose turns back
        matmul<Real>(Mode::kAdd, Q, D, T, {d_qkv_.data(), 1, Q}, a.x_att.data(), D, grad("wq"), D);
        matmul<Real>(Mode::kSet, T, D, Q, {d_qkv_.data(), Q, 1}, w.wqkv, D, d_norm_.data(), D);
        rmsnorm_backward(T, d_norm_.data(), a.x_att.data(), a.norm_att.data(), dx_.data());
    }
    for (size_t t = 0; t < T; t++) {
        Real* const row = gradient + tokens[t] * D;
        for (size_t d = 0; d < D; d++) row[d] += dx_[t * D + d];
    }
    return loss;
}

/// out = x * scale, scale = 1 / sqrt(mean(x^2) + epsilon).
template <typename Real>
void Model<Real>::rmsnorm(size_t T, const Real* x, Real* scale, Real* out) const {
    const size_t D = config_.dim;
    for (size_t t = 0; t < T; t++) {
        const Real* const row = x + t * D;
        const Real mean_square = dot(row, row, D) / static_cast<Real>(D);
        scale[t] = Real(1) / std::sqrt(mean_square + static_cast<Real>(kRmsNormEpsilon));
        for (size_t d = 0; d < D; d++) out[t * D + d] = row[d] * scale[t];
    }
}

/// dx += scale * (d_out - out * mean(d_out * out)).
template <typename Real>
void Model<Real>::rmsnorm_backward(size_t T, const Real* d_out, const Real* out, const Real* scale, Real* dx) const {
    const size_t D = config_.dim;
    for (size_t t = 0; t < T; t++) {
        const Real mean = dot(d_out + t * D, out + t * D, D) / static_cast<Real>(D);
        for (size_t d = t * D; d < (t + 1) * D; d++) dx[d] += scale[t] * (d_out[d] - out[d] * mean);
    }
}

/// Turns each pair of each query and key head by its position's angle, times `direction`.
template <typename Real>
void Model<Real>::rope(size_t T, Real* qkv, Real direction) const {
    const size_t pairs = config_.head_size() / 2, Q = qkv_dim(config_);
    for (size_t t = 0; t < T; t++) {
        for (size_t i = 0; i < (config_.dim + config_.kv_dim()) / 2; i++) {
            const Real cos = cos_[t * pairs + i % pairs], sin = direction * sin_[t * pairs + i % pairs];
            Real* const pair = qkv + t * Q + 2 * i;
            const Real x0 = pair[0], x1 = pair[1];
            pair[0] = x0 * cos - x1 * sin;
            pair[1] = x0 * sin + x1 * cos;
        }
    }
}

/// heads = softmax(q k^T / sqrt(head_size)) v, each position over itself and those before it.
template <typename Real>
void Model<Real>::attention(size_t T, Activations& a) {
    const size_t D = config_.dim, Q = qkv_dim(config_), hs = config_.head_size();
    const Real factor = Real(1) / std::sqrt(static_cast<Real>(hs));
    for (size_t head = 0; head < config_.n_heads; head++) {
        const size_t kv_head = head / config_.heads_per_kv_head();
        const Real* const q = a.qkv.data() + head * hs;                                // (T, hs), rows Q apart
        const Real* const k = a.qkv.data() + D + kv_head * hs;                         // (T, hs)
        const Real* const v = a.qkv.data() + D + config_.kv_dim() + kv_head * hs;       // (T, hs)
        Real* const scores = a.scores.data() + head * config_.seq_len * row_;           // (T, row_)
        transpose(T, hs, k, Q, transposed_.data(), row_);                              // (hs, row_)
        for (size_t begin = 0; begin < T; begin += kBlock) {
            // Whole registers: the columns beyond the last position are computed, and then made 0.
            const size_t rows = std::min(kBlock, T - begin);
            const size_t columns = (begin + rows + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
            Real* const block = scores + begin * row_;
            matmul<Real>(Mode::kSet, rows, columns, hs, {q + begin * Q, Q, 1}, transposed_.data(), row_, block, row_);
            for (size_t r = 0; r < rows; r++) {
                Real* const row = block + r * row_;
                const size_t n = begin + r + 1;
                for (size_t t = 0; t < n; t++) row[t] *= factor;
                const Real scale = Real(1) / exp_in_place(row, n, max(row, n));
                for (size_t t = 0; t < n; t++) row[t] *= scale;
                std::fill(row + n, row + columns, Real(0));
            }
            matmul<Real>(Mode::kSet, rows, hs, begin + rows, {block, row_, 1}, v, Q, &a.heads[begin * D + head * hs], D);
        }
    }
}

template <typename Real>
void Model<Real>::attention_backward(size_t T, const Activations& a, const Real* d_heads, Real* d_qkv) {
    const size_t D = config_.dim, Q = qkv_dim(config_), hs = config_.head_size();
    const Real factor = Real(1) / std::sqrt(static_cast<Real>(hs));
    std::fill_n(d_qkv, T * Q, Real(0));
    for (size_t head = 0; head < config_.n_heads; head++) {
        const size_t kv_head = head / config_.heads_per_kv_head();
        const size_t q_at = head * hs, k_at = D + kv_head * hs, v_at = D + config_.kv_dim() + kv_head * hs;
        const Real* const scores = a.scores.data() + head * config_.seq_len * row_;
        transpose(T, hs, a.qkv.data() + v_at, Q, transposed_.data(), row_);  // (hs, row_)
        for (size_t begin = 0; begin < T; begin += kBlock) {
            const size_t rows = std::min(kBlock, T - begin), end = begin + rows;
            const size_t columns = (end + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
            const Real* const block = scores + begin * row_;            // (rows, columns)
            const Real* const d_out = d_heads + begin * D + head * hs;  // (rows, hs), rows D apart
            // d_scores = d_out v^T, then through softmax: p * (d_p - sum of p * d_p)
            matmul<Real>(Mode::kSet, rows, columns, hs, {d_out, D, 1}, transposed_.data(), row_, d_scores_.data(), row_);
            for (size_t r = 0; r < rows; r++) {
                const Real* const p = block + r * row_;
                Real* const d = d_scores_.data() + r * row_;
                const Real mean = dot(p, d, begin + r + 1);
                for (size_t t = 0; t < columns; t++) d[t] = p[t] * (d[t] - mean) * factor;
            }
            matmul<Real>(Mode::kAdd, rows, hs, end, {d_scores_.data(), row_, 1}, a.qkv.data() + k_at, Q,
                         d_qkv + begin * Q + q_at, Q);
            matmul<Real>(Mode::kAdd, end, hs, rows, {d_scores_.data(), 1, row_}, a.qkv.data() + begin * Q + q_at, Q,
                         d_qkv + k_at, Q);
            matmul<Real>(Mode::kAdd, end, hs, rows, {block, 1, row_}, d_out, D, d_qkv + v_at, Q);
        }
    }
}

/// hidden = silu(gate) * up, where w13 = gate | up and silu(z) = z / (1 + exp(-z)).
template <typename Real>
void Model<Real>::swiglu(size_t T, const Real* w13, Real* hidden) const {
    const size_t H = config_.hidden_dim;
    for (size_t t = 0; t < T; t++) {
        const Real *gate = w13 + t * 2 * H, *up = gate + H;
        size_t h = 0;
        for (; h + kLanes<Real> <= H; h += kLanes<Real>) {
            const Vector<Real> z = load(gate + h);
            store(hidden + t * H + h, z / (Real(1) + exp(-z)) * load(up + h));
        }
        for (; h < H; h++) hidden[t * H + h] = gate[h] / (Real(1) + std::exp(-gate[h])) * up[h];
    }
}

template <typename Real>
void Model<Real>::swiglu_backward(size_t T, const Real* w13, const Real* d_hidden, Real* d_w13) const {
    const size_t H = config_.hidden_dim;
    for (size_t t = 0; t < T; t++) {
        const Real *gate = w13 + t * 2 * H, *up = gate + H, *d = d_hidden + t * H;
        Real *d_gate = d_w13 + t * 2 * H, *d_up = d_gate + H;
        size_t h = 0;
        for (; h + kLanes<Real> <= H; h += kLanes<Real>) {
            const Vector<Real> z = load(gate + h), sigmoid = Real(1) / (Real(1) + exp(-z));
            store(d_up + h, load(d + h) * z * sigmoid);
            store(d_gate + h, load(d + h) * load(up + h) * sigmoid * (Real(1) + z * (Real(1) - sigmoid)));
        }
        for (; h < H; h++) {
            const Real sigmoid = Real(1) / (Real(1) + std::exp(-gate[h]));
            d_up[h] = d[h] * gate[h] * sigmoid;
            d_gate[h] = d[h] * up[h] * sigmoid * (Real(1) + gate[h] * (Real(1) - sigmoid));
        }
    }
}

/// The classifier and the loss, block by block, so that no more than kBlock rows of logits exist at a time.
/// Adds the classifier's gradient to that of the embedding, which it is tied to; d x_final goes to d_norm_.
template <typename Real>
double Model<Real>::classify(const Weights<Real>& weights, std::span<const std::uint16_t> tokens, Real* gradient) {
    const size_t D = config_.dim, V = config_.vocab_size, T = tokens.size() - 1;
    double loss = 0;
    for (size_t begin = 0; begin < T; begin += kBlock) {
        const size_t rows = std::min(kBlock, T - begin);
        const Real* const x = x_final_.data() + begin * D;  // (rows, D)
        matmul<Real>(Mode::kSet, rows, V, D, {x, D, 1}, weights.embedding_t(), V, logits_.data(), V);
        for (size_t r = 0; r < rows; r++) {
            Real* const row = logits_.data() + r * V;
            const size_t target = tokens[begin + r + 1];
            const Real shift = max(row, V), logit = row[target];
            const Real total = exp_in_place(row, V, shift);
            loss += static_cast<double>(std::log(total) + shift - logit);
            const Real scale = Real(1) / total;
            for (size_t v = 0; v < V; v++) row[v] *= scale;
            row[target] -= Real(1);
        }
        matmul<Real>(Mode::kAdd, V, D, rows, {logits_.data(), 1, V}, x, D, gradient, D);
        matmul<Real>(Mode::kSet, rows, D, V, {logits_.data(), V, 1}, weights.embedding(), D, &d_norm_[begin * D], D);
    }
    return loss;
}

template class Weights<float>;
template class Weights<double>;
template class Model<float>;
template class Model<double>;

}  // namespace llama512::train
