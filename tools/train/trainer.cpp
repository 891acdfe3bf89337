#include "trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "files/mapped_file.hpp"
#include "files/output_file.hpp"
#include "random.hpp"

namespace llama512::train {

using std::size_t;

namespace {

constexpr float kMaxGradientNorm = 1.0f;
constexpr std::string_view kStateMagic = "l512sta2";

}  // namespace

Trainer::Trainer(const Options& options, Dataset& data, size_t n_threads)
    : options_(options),
      data_(data),
      layout_(options.config),
      n_threads_(std::min(n_threads, kLaneCount)),
      parameters_(layout_.size()),
      optimizer_(layout_.size()),
      grid_(options.config, options.encoding),
      weights_(options.config) {
    // Normal weights; what adds to the residual stream starts smaller, the more layers there are.
    for (size_t i = 0; i < layout_.tensors().size(); i++) {
        const Tensor& tensor = layout_.tensors()[i];
        Random random(options.seed, i);
        double deviation = 1 / std::sqrt(static_cast<double>(tensor.columns));
        if (tensor.name == "token_embedding") deviation = 0.1;
        if (tensor.name == "wo" || tensor.name == "w2") {
            deviation /= std::sqrt(2 * static_cast<double>(options.config.n_layers));
        }
        for (size_t j = 0; j < tensor.size(); j++) {
            parameters_[tensor.offset + j] = static_cast<float>(deviation * random.normal());
        }
    }
    for (size_t i = 0; i < kLaneCount; i++) {
        lanes_.push_back(std::make_unique<Lane>(Lane{Model<float>(options.config), std::vector<float>(layout_.size())}));
    }
}

double Trainer::train_step() {
    if (rounds() && !on_grid_) {
        grid_.fit(parameters_);
        on_grid_ = true;
    }
    if (on_grid_) grid_.clip(parameters_);
    weights_.set(exported());

    std::vector<Dataset::Story> stories;
    step_tokens_ = 0;
    for (std::uint64_t i = 0; i < options_.batch; i++) {
        stories.push_back(data_.next(step_ * options_.batch + i));
        step_tokens_ += stories.back().size() - 1;
    }
    const auto run_lanes = [&](size_t thread) {
        for (size_t index = thread; index < kLaneCount; index += n_threads_) {
            Lane& lane = *lanes_[index];
            lane.loss = 0;
            std::ranges::fill(lane.gradient, 0.0f);
            for (size_t i = index; i < stories.size(); i += kLaneCount) {
                lane.loss += lane.model.step(weights_, stories[i], lane.gradient.data());
            }
        }
    };
    {
        std::vector<std::jthread> threads;
        for (size_t thread = 1; thread < n_threads_; thread++) threads.emplace_back(run_lanes, thread);
        run_lanes(0);
    }
    std::vector<float>& gradient = lanes_[0]->gradient;
    double loss = lanes_[0]->loss;
    for (size_t index = 1; index < kLaneCount; index++) {
        for (size_t i = 0; i < gradient.size(); i++) gradient[i] += lanes_[index]->gradient[i];
        loss += lanes_[index]->loss;
    }

    // The mean over the step's tokens, its length at most kMaxGradientNorm.
    float scale = 1 / static_cast<float>(step_tokens_);
    double square = 0;
    for (const float g : gradient) square += static_cast<double>(g) * static_cast<double>(g);
    const float norm = static_cast<float>(std::sqrt(square)) * scale;
    if (norm > kMaxGradientNorm) scale *= kMaxGradientNorm / norm;
    const float rate = learning_rate(options_.rate, step_, options_.warm_up, options_.steps);
    optimizer_.update(parameters_, gradient, scale, rate, step_);
    step_++;
    return loss / static_cast<double>(step_tokens_);
}

double Trainer::validate() {
    weights_.set(exported());
    Lane& lane = *lanes_[0];
    double loss = 0;
    size_t n_tokens = 0;
    for (size_t i = 0; i < data_.held_out_size(); i++) {
        loss += lane.model.step(weights_, data_.held_out(i), lane.gradient.data());
        n_tokens += data_.held_out(i).size() - 1;
    }
    return loss / static_cast<double>(n_tokens);
}

std::vector<float> Trainer::exported() const {
    std::vector<float> weights = parameters_;
    if (on_grid_) grid_.round(weights);
    return weights;
}

// The state: magic, options, tokens in the data, step, on_grid, exponents, parameters, mean, variance.
void Trainer::save(const std::string& path) const {
    OutputFile file(path);
    file.write(kStateMagic);
    file.write_value(options_);
    file.write_value(static_cast<std::uint64_t>(data_.size()));
    file.write_value(step_);
    file.write_value(static_cast<std::uint64_t>(on_grid_));
    file.write(std::span(grid_.exponents()));
    file.write(std::span(parameters_));
    file.write(std::span(optimizer_.mean));
    file.write(std::span(optimizer_.variance));
    file.commit();
}

void Trainer::load(const std::string& path) {
    const MappedFile file(path);
    std::string_view rest = file.text();
    const auto read = [&](void* values, size_t n_bytes) {
        if (rest.size() < n_bytes) {
            throw Error(path, "file size",
                        std::to_string(file.size()) + " bytes, too few for this run's state; remove it to start again");
        }
        std::memcpy(values, rest.data(), n_bytes);
        rest.remove_prefix(n_bytes);
    };
    if (!rest.starts_with(kStateMagic)) throw Error(path, "magic", "not a training state");
    rest.remove_prefix(kStateMagic.size());
    Options options;
    std::uint64_t n_stories, on_grid;
    read(&options, sizeof options);
    read(&n_stories, sizeof n_stories);
    if (options != options_ || n_stories != data_.size()) {
        throw Error(path, "options", "the state of a run with other options or another corpus; remove it to start again");
    }
    read(&step_, sizeof step_);
    read(&on_grid, sizeof on_grid);
    on_grid_ = on_grid != 0;
    const auto read_all = [&](auto& values) { read(values.data(), values.size() * sizeof values[0]); };
    read_all(grid_.exponents());
    read_all(parameters_);
    read_all(optimizer_.mean);
    read_all(optimizer_.variance);
    if (!rest.empty()) {
        throw Error(path, "file size",
                    std::to_string(file.size()) + " bytes, too many for this run's state; remove it to start again");
    }
    if (step_ > options_.steps) {
        throw Error(path, "step", std::to_string(step_) + ", but this run has " + std::to_string(options_.steps) +
                                      "; remove it to start again");
    }
}

}  // namespace llama512::train
