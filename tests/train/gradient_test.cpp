// The backward pass against differences of the forward pass, tensor by tensor, in double; and float against double.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "layout.hpp"
#include "model.hpp"
#include "random.hpp"

namespace llama512::train {
namespace {

std::vector<double> random_parameters(const Config& config) {
    std::vector<double> parameters(Layout(config).size());
    Random random(7);
    for (double& parameter : parameters) parameter = 0.3 * random.normal();
    return parameters;
}

std::vector<std::uint16_t> random_story(const Config& config, std::size_t size) {
    std::vector<std::uint16_t> tokens = {1};
    Random random(8);
    while (tokens.size() < size) {
        tokens.push_back(static_cast<std::uint16_t>(2 + random.below(static_cast<std::uint32_t>(config.vocab_size - 2))));
    }
    tokens.push_back(1);
    return tokens;
}

/// The loss and its gradient.
template <typename Real>
double run(const Config& config, const std::vector<double>& parameters, const std::vector<std::uint16_t>& tokens,
           std::vector<Real>& gradient) {
    Weights<Real> weights(config);
    weights.set(std::vector<Real>(parameters.begin(), parameters.end()));
    gradient.assign(parameters.size(), Real(0));
    return Model<Real>(config).step(weights, tokens, gradient.data());
}

class GradientTest : public testing::TestWithParam<Config> {};

TEST_P(GradientTest, EqualsDifferencesOnEveryTensor) {
    const Config config = GetParam();
    const Layout layout(config);
    const std::vector<std::uint16_t> tokens = random_story(config, config.seq_len);  // the whole context
    std::vector<double> parameters = random_parameters(config), analytic, unused;
    run<double>(config, parameters, tokens, analytic);

    Random random(9);
    for (const Tensor& tensor : layout.tensors()) {
        double difference = 0, size = 0;
        for (int i = 0; i < 25; i++) {
            // Elements of the embedding: those of a token that the story has, or of any, which the classifier uses.
            const std::size_t index = tensor.offset + random.below(static_cast<std::uint32_t>(tensor.size()));
            const double kept = parameters[index], step = 1e-4;
            parameters[index] = kept + step;
            const double above = run<double>(config, parameters, tokens, unused);
            parameters[index] = kept - step;
            const double below = run<double>(config, parameters, tokens, unused);
            parameters[index] = kept;
            const double numeric = (above - below) / (2 * step);
            difference += std::pow(numeric - analytic[index], 2);
            size += std::pow(numeric, 2) + std::pow(analytic[index], 2);
        }
        EXPECT_GT(size, 0) << tensor.name << " of layer " << tensor.layer;
        EXPECT_LT(std::sqrt(difference / size), 1e-3) << tensor.name << " of layer " << tensor.layer;
    }
}

TEST_P(GradientTest, IsTheSameInFloat) {
    const Config config = GetParam();
    const std::vector<std::uint16_t> tokens = random_story(config, config.seq_len - 3);
    const std::vector<double> parameters = random_parameters(config);
    std::vector<double> exact;
    std::vector<float> single;
    const double exact_loss = run<double>(config, parameters, tokens, exact);
    EXPECT_NEAR(run<float>(config, parameters, tokens, single), exact_loss, 1e-4 * exact_loss);
    const Layout layout(config);
    for (const Tensor& tensor : layout.tensors()) {
        double difference = 0, size = 0;
        for (std::size_t i = tensor.offset; i < tensor.offset + tensor.size(); i++) {
            difference += std::pow(static_cast<double>(single[i]) - exact[i], 2);
            size += std::pow(exact[i], 2);
        }
        EXPECT_LT(std::sqrt(difference / size), 1e-3) << tensor.name << " of layer " << tensor.layer;
    }
}

// Grouped attention and whole registers; then full attention, and sizes that fill no register.
INSTANTIATE_TEST_SUITE_P(Shapes, GradientTest,
                         testing::Values(Config{16, 24, 2, 4, 2, 40, 45}, Config{18, 13, 3, 3, 3, 23, 37}),
                         [](const auto& instance) { return "dim" + std::to_string(instance.param.dim); });

TEST(Loss, IsThatOfEqualChancesWhenAllWeightsAreZero) {
    const Config config{8, 8, 1, 2, 1, 50, 16};
    std::vector<double> gradient;
    const double loss = run<double>(config, std::vector<double>(Layout(config).size()), random_story(config, 10), gradient);
    EXPECT_NEAR(loss, 10 * std::log(50.0), 1e-9);
}

}  // namespace
}  // namespace llama512::train
