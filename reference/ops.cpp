#include "ops.hpp"

#include <cmath>

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

float mean_square(std::span<const float> x) { return dot(x, x) / static_cast<float>(x.size()); }

void rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight, float epsilon) {
    const float scale = 1.0f / std::sqrt(mean_square(x) + epsilon);
    for (size_t i = 0; i < x.size(); i++) out[i] = weight[i] * (scale * x[i]);
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

void rope(std::span<float> x, size_t head_size, size_t pos, float theta) {
    for (size_t i = 0; i < x.size(); i += 2) {
        const float exponent = static_cast<float>(i % head_size) / static_cast<float>(head_size);
        const float frequency = 1.0f / std::pow(theta, exponent);  // radians per position
        const float angle = static_cast<float>(pos) * frequency;
        const float cos = std::cos(angle);
        const float sin = std::sin(angle);
        const float x0 = x[i];
        const float x1 = x[i + 1];
        x[i] = x0 * cos - x1 * sin;
        x[i + 1] = x0 * sin + x1 * cos;
    }
}

void swiglu(std::span<float> gate, std::span<const float> up) {
    for (size_t i = 0; i < gate.size(); i++) {
        const float silu = gate[i] * (1.0f / (1.0f + std::exp(-gate[i])));
        gate[i] = silu * up[i];
    }
}

int argmax(std::span<const float> x) {
    size_t best = 0;
    for (size_t i = 1; i < x.size(); i++) {
        if (x[i] > x[best]) best = i;
    }
    return static_cast<int>(best);
}

}  // namespace llama512
