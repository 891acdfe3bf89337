#include "ops.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace llama512 {

using std::size_t;

void add(std::span<float> x, std::span<const float> y) {
    for (size_t i = 0; i < x.size(); i++) x[i] += y[i];
}

void add_scaled(std::span<float> x, float scale, std::span<const float> y) {
    for (size_t i = 0; i < x.size(); i++) x[i] += scale * y[i];
}

float dot(std::span<const float> a, std::span<const float> b) {
    float sum = 0.0f;
    for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
    return sum;
}

void matmul(std::span<float> out, std::span<const float> x, std::span<const float> w) {
    for (size_t row = 0; row < out.size(); row++) out[row] = dot(slice(w, row, x.size()), x);
}

float rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight, float epsilon) {
    const float mean_square = dot(x, x) / static_cast<float>(x.size());
    const float scale = 1.0f / std::sqrt(mean_square + epsilon);
    for (size_t i = 0; i < x.size(); i++) out[i] = weight[i] * (scale * x[i]);
    return mean_square;
}

void softmax(std::span<float> x) {
    float max = x[0];
    for (const float value : x) {
        if (value > max) max = value;
    }
    float sum = 0.0f;
    for (float& value : x) {
        value = std::exp(value - max);
        sum += value;
    }
    for (float& value : x) value /= sum;
}

void rope_factors(std::span<float> cos, std::span<float> sin, size_t pos, float theta) {
    for (size_t i = 0; i < cos.size(); i++) {
        const float exponent = static_cast<float>(i) / static_cast<float>(cos.size());  // 2i / head_size
        const float frequency = 1.0f / std::pow(theta, exponent);                      // radians per position
        const float angle = static_cast<float>(pos) * frequency;
        cos[i] = std::cos(angle);
        sin[i] = std::sin(angle);
    }
}

void rope(std::span<float> x, std::span<const float> cos, std::span<const float> sin) {
    for (size_t i = 0; i < x.size(); i += 2) {
        const size_t pair = i / 2 % cos.size();
        const float x0 = x[i];
        const float x1 = x[i + 1];
        x[i] = x0 * cos[pair] - x1 * sin[pair];
        x[i + 1] = x0 * sin[pair] + x1 * cos[pair];
    }
}

float attention(std::span<float> out, std::span<const float> q, std::span<const float> keys,
                std::span<const float> values, size_t positions, size_t head_size) {
    const size_t n_heads = q.size() / head_size;
    const size_t n_kv_heads = keys.size() / positions / head_size;
    const float sqrt_head_size = std::sqrt(static_cast<float>(head_size));
    std::vector<float> scores(positions);  // one head's attention to each position
    float largest_score = 0.0f;

    for (size_t head = 0; head < n_heads; head++) {
        const size_t kv_head = head * n_kv_heads / n_heads;
        const std::span<const float> head_q = slice(q, head, head_size);
        const std::span<float> head_out = slice(out, head, head_size);

        for (size_t t = 0; t < positions; t++) {
            const std::span<const float> k = slice(keys, t * n_kv_heads + kv_head, head_size);
            scores[t] = dot(head_q, k) / sqrt_head_size;
        }
        largest_score = std::max(largest_score, largest(scores));
        softmax(scores);
        std::ranges::fill(head_out, 0.0f);
        for (size_t t = 0; t < positions; t++) {
            const std::span<const float> v = slice(values, t * n_kv_heads + kv_head, head_size);
            add_scaled(head_out, scores[t], v);
        }
    }
    return largest_score;
}

void swiglu(std::span<float> gate, std::span<const float> up) {
    for (size_t i = 0; i < gate.size(); i++) {
        const float silu = gate[i] * (1.0f / (1.0f + std::exp(-gate[i])));
        gate[i] = silu * up[i];
    }
}

float largest(std::span<const float> x) {
    float result = 0.0f;
    for (const float value : x) {
        if (std::isnan(value)) return value;
        result = std::max(result, std::abs(value));
    }
    return result;
}

int argmax(std::span<const float> x) {
    size_t best = 0;
    float most = x[0];
    for (size_t i = 1; i < x.size(); i++) {
        if (x[i] > most) {
            most = x[i];
            best = i;
        }
    }
    return static_cast<int>(best);
}

}  // namespace llama512
