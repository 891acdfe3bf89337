// The grid that the last part of the training, and the exported weights, live on.
//
// A weight is a whole number of steps: -127 to 127 of them for int8, -7 to 7 for int4; a step is a power of two. Such a
// weight is exact in that encoding, in bfloat16 (8 significant bits) and in float32, so that all say the same. The
// forward pass sees rounded weights, the optimizer keeps unrounded ones (the straight-through estimator,
// arXiv:1308.3432).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "layout.hpp"

namespace llama512::train {

enum class Encoding : std::uint64_t { kInt8, kInt4 };

/// Weights that share a step. int8 is fine enough for one step per tensor name (wq of all layers together, and so on).
/// int4 has one for each row that engines scale on its own: of wq, wk, wv, w1, w3. A column of w2 has one, as the row of
/// w3 that makes its input takes it over; columns of wo that a row of wv feeds share one; and so does the embedding,
/// which is added to x without a scale.
class Grid {
public:
    Grid(const Config& config, Encoding encoding) : encoding_(encoding), most_(encoding == Encoding::kInt4 ? 7.0f : 127.0f) {
        const Layout layout(config);
        group_.resize(layout.size());
        std::map<std::string, std::uint32_t> by_name;
        std::uint32_t n_groups = 0;
        for (const Tensor& tensor : layout.tensors()) {
            const bool is_new = by_name.try_emplace(tensor.name, n_groups).second;
            const std::uint32_t first = encoding == Encoding::kInt8 ? by_name[tensor.name] : n_groups;
            std::uint32_t n_used = 0;
            for (std::size_t i = 0; i < tensor.size(); i++) {
                const std::size_t row = i / tensor.columns, column = i % tensor.columns;
                std::size_t step = 0;
                if (encoding == Encoding::kInt4 && tensor.name != "token_embedding") {
                    const std::size_t head = column / config.head_size(), element = column % config.head_size();
                    step = tensor.name == "w2"   ? column
                           : tensor.name == "wo" ? head / config.heads_per_kv_head() * config.head_size() + element
                                                 : row;
                }
                group_[tensor.offset + i] = first + static_cast<std::uint32_t>(step);
                n_used = std::max(n_used, static_cast<std::uint32_t>(step) + 1);
            }
            if (is_new || encoding == Encoding::kInt4) n_groups += n_used;
        }
        exponents_.resize(n_groups);
    }

    /// Chooses the steps. The largest one that puts a group's largest weight at the grid's end or beyond it (what lies
    /// beyond is clipped, by less than half), or twice that step where it leaves smaller errors: on int4's grid it may.
    void fit(const std::vector<float>& parameters) {
        std::vector<float> largest(exponents_.size(), 0.0f);
        for (std::size_t i = 0; i < group_.size(); i++) {
            largest[group_[i]] = std::max(largest[group_[i]], std::abs(parameters[i]));
        }
        for (std::size_t g = 0; g < exponents_.size(); g++) {
            exponents_[g] = static_cast<int>(std::floor(std::log2(std::max(largest[g], 1e-6f) / most_)));
        }
        if (encoding_ == Encoding::kInt8) return;  // which is fine enough
        std::vector<double> errors(exponents_.size(), 0.0), errors_of_twice(exponents_.size(), 0.0);
        for (std::size_t i = 0; i < group_.size(); i++) {
            const auto square = [&](float step) {
                const double error = static_cast<double>(nearest(parameters[i], step) - parameters[i]);
                return error * error;
            };
            errors[group_[i]] += square(step(i));
            errors_of_twice[group_[i]] += square(2 * step(i));
        }
        for (std::size_t g = 0; g < exponents_.size(); g++) exponents_[g] += errors_of_twice[g] < errors[g];
    }

    /// Takes the steps of weights that lie on such a grid already; returns false, and changes nothing, when some do not.
    bool recognize(const std::vector<float>& parameters) {
        constexpr int kFinest = -40;
        std::vector<int> found(exponents_.size(), 8);
        for (std::size_t i = 0; i < group_.size(); i++) {
            int& exponent = found[group_[i]];
            while (exponent > kFinest && std::ldexp(parameters[i], -exponent) != std::nearbyint(std::ldexp(parameters[i], -exponent))) {
                exponent--;
            }
        }
        for (std::size_t i = 0; i < group_.size(); i++) {
            if (std::abs(parameters[i]) > std::ldexp(most_, found[group_[i]])) return false;
        }
        exponents_ = found;
        return true;
    }

    /// Keeps the unrounded weights within the grid's range.
    void clip(std::vector<float>& parameters) const {
        for (std::size_t i = 0; i < group_.size(); i++) {
            const float limit = most_ * step(i);
            parameters[i] = std::clamp(parameters[i], -limit, limit);
        }
    }

    /// The nearest weights on the grid.
    void round(std::vector<float>& parameters) const {
        for (std::size_t i = 0; i < group_.size(); i++) {
            parameters[i] = nearest(parameters[i], step(i));
        }
    }

    /// The step of a weight, by its place among the parameters.
    float step(std::size_t weight) const { return std::ldexp(1.0f, exponents_[group_[weight]]); }

    std::vector<int>& exponents() { return exponents_; }
    const std::vector<int>& exponents() const { return exponents_; }

private:
    float nearest(float weight, float step) const {
        return std::clamp(std::nearbyint(weight / step), -most_, most_) * step;
    }

    Encoding encoding_;
    float most_;                        // the largest number of steps
    std::vector<std::uint32_t> group_;  // of each weight: those of a group have one step
    std::vector<int> exponents_;        // of each group: the step is 2^exponent
};

}  // namespace llama512::train
