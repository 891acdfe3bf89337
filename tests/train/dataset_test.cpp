// The order of stories, the schedule, and the grid that weights are rounded to.

#include "dataset.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "adamw.hpp"
#include "error.hpp"
#include "files/output_file.hpp"
#include "grid.hpp"

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

/// Random parameters on a grid: each a whole number of steps, at most `most`, and exact in bfloat16.
std::vector<float> expect_exact(const Config& config, Grid& grid, float most) {
    std::vector<float> weights(Layout(config).size());
    Random random(3);
    for (float& weight : weights) weight = static_cast<float>(random.normal());
    grid.fit(weights);
    grid.round(weights);
    float largest = 0;
    for (std::size_t i = 0; i < weights.size(); i++) {
        const float n_steps = weights[i] / grid.step(i);
        EXPECT_EQ(n_steps, std::round(n_steps));
        largest = std::max(largest, std::abs(n_steps));
        std::uint32_t bits;
        std::memcpy(&bits, &weights[i], sizeof bits);
        EXPECT_EQ(bits & 0xFFFF, 0u);
    }
    EXPECT_EQ(largest, most);
    return weights;
}

TEST(Grid, WeightsAreExactInInt8AndInBfloat16) {
    const Config config{8, 8, 2, 2, 1, 20, 8};
    const Layout layout(config);
    Grid grid(config, Encoding::kInt8);
    expect_exact(config, grid, 127);
    EXPECT_EQ(grid.exponents().size(), 8u);  // one for each name
    EXPECT_EQ(grid.step(layout.offset("w2", 0)), grid.step(layout.offset("w2", 1)));
}

TEST(Grid, Int4HasAStepForWhatAnEngineScales) {
    const Config config{8, 6, 1, 4, 2, 20, 8};  // head_size 2
    const Layout layout(config);
    Grid grid(config, Encoding::kInt4);
    const std::vector<float> weights = expect_exact(config, grid, 7);
    // The embedding; rows of wq, wk, wv; columns of wo that share a row of wv; rows of w1, w3; columns of w2.
    EXPECT_EQ(grid.exponents().size(), 1u + 8 + 4 + 4 + 4 + 6 + 6 + 6);
    std::vector<float> fine = weights;  // one row of wk on a finer grid: its step changes, and no other
    for (std::size_t i = 0; i < config.dim; i++) fine[layout.offset("wk") + config.dim + i] /= 16;
    Grid found(config, Encoding::kInt4);
    ASSERT_TRUE(found.recognize(fine));
    std::vector<float> again = fine;
    found.round(again);
    EXPECT_EQ(again, fine);
    // wo: columns 0 and 2 are element 0 of query heads 0 and 1, which key/value head 0 serves; column 1 is element 1.
    std::vector<float> columns(layout.size(), 0.0f);
    const std::size_t wo = layout.offset("wo");
    columns[wo + 0] = 1;
    columns[wo + 2] = 0.25f;  // on the grid of column 0
    columns[wo + 1] = 1.0f / 64;
    ASSERT_TRUE(found.recognize(columns));
    EXPECT_EQ(found.step(wo + 0), found.step(wo + 2));
    EXPECT_NE(found.step(wo + 0), found.step(wo + 1));
    columns[wo + 2] = 1.0f / 64;  // 64 times finer than 1: beyond 7 steps
    EXPECT_FALSE(found.recognize(columns));
}

}  // namespace
}  // namespace llama512::train
