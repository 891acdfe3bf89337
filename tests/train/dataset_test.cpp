// The order of stories, the schedule, and the grid that weights are rounded to.

#include "dataset.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "adamw.hpp"
#include "error.hpp"
#include "files/output_file.hpp"
#include "int8_grid.hpp"

namespace llama512::train {
namespace {

/// A file of `n` stories, each BOS and two tokens.
std::string write_tokens(std::uint16_t n, std::vector<std::uint16_t> extra = {}) {
    const auto path = std::filesystem::temp_directory_path() / ("llama512-dataset-test-" + std::to_string(getpid()));
    OutputFile file(path);
    for (std::uint16_t i = 0; i < n; i++) {
        for (const std::uint16_t token : {std::uint16_t{1}, static_cast<std::uint16_t>(2 + i), std::uint16_t{3}}) {
            file.write_value(token);
        }
    }
    file.write_value(std::uint16_t{1});
    for (const std::uint16_t token : extra) file.write_value(token);
    file.commit();
    return path;
}

TEST(Dataset, GivesEachStoryOnceInAnEpochInAnOrderOfItsSeed) {
    const std::string path = write_tokens(100);
    Dataset first(path, 200, 16, 1), again(path, 200, 16, 1), other(path, 200, 16, 2);
    std::filesystem::remove(path);
    ASSERT_EQ(first.size(), 95u);
    ASSERT_EQ(first.held_out_size(), 5u);
    std::set<int> seen;
    bool differs = false;
    for (std::uint64_t i = 0; i < 95; i++) {
        const Dataset::Story story = first.next(i);
        ASSERT_EQ(story.size(), 4u);
        EXPECT_EQ(story[0], 1);
        EXPECT_EQ(story[3], 1);
        seen.insert(story[1]);
        differs |= other.next(i)[1] != story[1];
    }
    EXPECT_EQ(seen.size(), 95u);
    EXPECT_TRUE(differs);
    EXPECT_EQ(again.next(500)[1], first.next(500)[1]);  // far ahead, and back
    EXPECT_EQ(again.next(7)[1], first.next(7)[1]);
    for (std::size_t i = 0; i < 5; i++) EXPECT_FALSE(seen.contains(first.held_out(i)[1]));
}

TEST(Dataset, RefusesFilesThatDoNotFit) {
    const std::string path = write_tokens(100);
    EXPECT_THROW(Dataset(path, 50, 16, 1), Error);   // a token beyond vocab_size
    EXPECT_THROW(Dataset(path, 200, 2, 1), Error);   // a story beyond seq_len
    write_tokens(5);
    EXPECT_THROW(Dataset(path, 200, 16, 1), Error);  // too few stories
    std::filesystem::remove(path);
    EXPECT_THROW(Dataset(path, 200, 16, 1), Error);  // no file
}

TEST(LearningRate, WarmsUpAndFalls) {
    EXPECT_FLOAT_EQ(learning_rate(1, 9, 10, 100), 1);
    EXPECT_FLOAT_EQ(learning_rate(1, 4, 10, 100), 0.5);
    EXPECT_NEAR(learning_rate(1, 55, 10, 100), 0.505, 1e-3);
    EXPECT_NEAR(learning_rate(1, 99, 10, 100), 0.01, 1e-3);
}

TEST(Int8Grid, WeightsAreExactInInt8AndInBfloat16) {
    const Config config{8, 8, 2, 2, 1, 20, 8};
    const Layout layout(config);
    std::vector<float> weights(layout.size());
    Random random(3);
    for (float& weight : weights) weight = static_cast<float>(random.normal());
    Int8Grid grid(config);
    grid.fit(weights);
    grid.round(weights);
    for (std::size_t i = 0; i < layout.tensors().size(); i++) {
        const Tensor& tensor = layout.tensors()[i];
        const float step = std::ldexp(1.0f, grid.exponents()[i]);
        for (std::size_t j = 0; j < tensor.size(); j++) {
            const float weight = weights[tensor.offset + j];
            EXPECT_EQ(weight / step, std::round(weight / step));
            EXPECT_LE(std::abs(weight / step), 127);
            std::uint32_t bits;
            std::memcpy(&bits, &weight, sizeof bits);
            EXPECT_EQ(bits & 0xFFFF, 0u);
        }
    }
    EXPECT_EQ(grid.exponents()[layout.tensors().size() - 1], grid.exponents()[7]);  // w2 of both layers
}

}  // namespace
}  // namespace llama512::train
