// The grid that the last third of the training, and the exported weights, live on.
//
// Each tensor name (wq of all layers together, and so on) has one step, a power of two; a weight is an integer from
// -127 to 127 times that step. Such a weight is exact as int8, as bfloat16 (8 significant bits) and as float32, so that
// all three tell the same story. The forward pass sees rounded weights, the optimizer keeps unrounded ones
// (the straight-through estimator, arXiv:1308.3432).
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "layout.hpp"

namespace llama512::train {

class Int8Grid {
public:
    explicit Int8Grid(const Config& config) : layout_(config), exponents_(layout_.tensors().size(), 0) {}

    /// Chooses the steps: the largest power of two that puts the largest weight of a name at 127 steps or beyond it.
    /// What lies beyond is clipped, by less than half.
    void fit(const std::vector<float>& parameters) {
        std::map<std::string, float> largest;
        for (const Tensor& tensor : layout_.tensors()) {
            float& value = largest[tensor.name];
            for (std::size_t i = 0; i < tensor.size(); i++) value = std::max(value, std::abs(parameters[tensor.offset + i]));
        }
        for (std::size_t i = 0; i < exponents_.size(); i++) {
            const float ratio = std::max(largest[layout_.tensors()[i].name], 1e-6f) / 127;
            exponents_[i] = static_cast<int>(std::floor(std::log2(ratio)));
        }
    }

    /// Takes the steps of weights that lie on such a grid already; returns false, and changes nothing, when some do not.
    bool recognize(const std::vector<float>& parameters) {
        constexpr int kFinest = -40;
        std::map<std::string, int> found;
        for (const Tensor& tensor : layout_.tensors()) {
            int& exponent = found.try_emplace(tensor.name, 8).first->second;
            for (std::size_t i = 0; i < tensor.size(); i++) {
                const float weight = parameters[tensor.offset + i];
                while (exponent > kFinest && std::ldexp(weight, -exponent) != std::nearbyint(std::ldexp(weight, -exponent))) {
                    exponent--;
                }
            }
        }
        for (const Tensor& tensor : layout_.tensors()) {
            const float limit = std::ldexp(127.0f, found[tensor.name]);
            for (std::size_t i = 0; i < tensor.size(); i++) {
                if (std::abs(parameters[tensor.offset + i]) > limit) return false;
            }
        }
        for (std::size_t i = 0; i < exponents_.size(); i++) exponents_[i] = found[layout_.tensors()[i].name];
        return true;
    }

    /// Keeps the unrounded weights within the grid's range.
    void clip(std::vector<float>& parameters) const {
        for_each(parameters, [](float& weight, float step) { weight = std::clamp(weight, -127 * step, 127 * step); });
    }

    /// The nearest weights on the grid.
    void round(std::vector<float>& parameters) const {
        for_each(parameters, [](float& weight, float step) {
            weight = std::clamp(std::nearbyint(weight / step), -127.0f, 127.0f) * step;
        });
    }

    std::vector<int>& exponents() { return exponents_; }
    const std::vector<int>& exponents() const { return exponents_; }

private:
    template <typename Visit>
    void for_each(std::vector<float>& parameters, Visit visit) const {
        for (std::size_t i = 0; i < exponents_.size(); i++) {
            const Tensor& tensor = layout_.tensors()[i];
            const float step = std::ldexp(1.0f, exponents_[i]);
            for (std::size_t j = 0; j < tensor.size(); j++) visit(parameters[tensor.offset + j], step);
        }
    }

    Layout layout_;
    std::vector<int> exponents_;  // by tensor of the layout: the step is 2^exponent
};

}  // namespace llama512::train
