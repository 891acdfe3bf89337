// Training as a sequence of steps that can stop anywhere and go on with the same result.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "adamw.hpp"
#include "dataset.hpp"
#include "grid.hpp"
#include "layout.hpp"
#include "model.hpp"

namespace llama512::train {

/// What a run depends on. Two runs with equal options and tokens give equal weights on one machine.
struct Options {
    Config config{};
    std::uint64_t seed = 1;
    std::uint64_t steps = 13000;
    std::uint64_t batch = 16;    // stories in a step
    std::uint64_t warm_up = 200;  // steps
    Encoding encoding = Encoding::kInt8;  // what the weights will be exact in
    float rate = 0.004f;         // the learning rate's peak
    float round_from = 0.667f;   // the share of the steps before weights are rounded to its grid

    bool operator==(const Options&) const = default;
};

class Trainer {
public:
    /// A new model with random weights.
    Trainer(const Options& options, Dataset& data, std::size_t n_threads);

    /// Starts from these weights instead of random ones. When they lie on the encoding's grid, they stay on it from the start.
    void start_from(std::vector<float> parameters) {
        parameters_ = std::move(parameters);
        on_grid_ = grid_.recognize(parameters_);
    }

    /// One step; returns the mean loss per token. Needs step() < options.steps.
    double train_step();
    std::uint64_t step() const { return step_; }
    std::size_t step_tokens() const { return step_tokens_; }

    /// The mean loss per token of the stories that are held out.
    double validate();

    /// The weights as they are exported: on the grid when rounding has begun.
    std::vector<float> exported() const;

    void save(const std::string& path) const;
    /// Throws Error when the file is another run's (other options, other tokens).
    void load(const std::string& path);

private:
    bool rounds() const {
        return static_cast<double>(step_) >= static_cast<double>(options_.round_from) * static_cast<double>(options_.steps);
    }

    Options options_;
    Dataset& data_;
    Layout layout_;
    std::size_t n_threads_;
    std::uint64_t step_ = 0;
    std::size_t step_tokens_ = 0;
    std::vector<float> parameters_;
    AdamW optimizer_;
    Grid grid_;
    bool on_grid_ = false;
    Weights<float> weights_;

    // A step's stories are dealt out to lanes, and the lanes to threads; sums go lane by lane.
    // So the result does not depend on the number of threads.
    static constexpr std::size_t kLaneCount = 4;
    struct Lane {
        Model<float> model;
        std::vector<float> gradient;
        double loss = 0;
    };
    std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace llama512::train
