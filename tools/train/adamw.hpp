// The optimizer, and how its learning rate changes over the steps.
#pragma once

#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

namespace llama512::train {

/// AdamW: Adam with decoupled weight decay, arXiv:1711.05101, algorithm 2.
struct AdamW {
    float beta1 = 0.9f, beta2 = 0.99f, epsilon = 1e-8f, weight_decay = 0.02f;
    std::vector<float> mean;      // of the gradient
    std::vector<float> variance;  // of the gradient, uncentred

    explicit AdamW(std::size_t size) : mean(size), variance(size) {}

    /// One step; `step` counts from 0. `scale` multiplies the gradient.
    void update(std::vector<float>& parameters, const std::vector<float>& gradient, float scale, float rate,
                std::size_t step) {
        const double t = static_cast<double>(step + 1);
        const float correct1 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta1), t)));
        const float correct2 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta2), t)));
        for (std::size_t i = 0; i < parameters.size(); i++) {
            const float g = gradient[i] * scale;
            mean[i] += (1 - beta1) * (g - mean[i]);
            variance[i] += (1 - beta2) * (g * g - variance[i]);
            const float adam = mean[i] * correct1 / (std::sqrt(variance[i] * correct2) + epsilon);
            parameters[i] -= rate * (adam + weight_decay * parameters[i]);
        }
    }
};

/// Linear warm-up, then half a cosine down to 1 % of the peak. It depends on steps, never on time.
inline float learning_rate(float peak, std::size_t step, std::size_t warm_up, std::size_t steps) {
    const double t = static_cast<double>(step), w = static_cast<double>(warm_up), n = static_cast<double>(steps);
    if (step < warm_up) return peak * static_cast<float>((t + 1) / w);
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * (t - w) / (n - w)));
    return peak * static_cast<float>(0.01 + 0.99 * cosine);
}

}  // namespace llama512::train
