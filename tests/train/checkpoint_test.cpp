// Parameters to a checkpoint and back, and the checkpoints that a training cannot start from.

#include "checkpoint.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "../reference/tiny_model.hpp"
#include "random.hpp"

namespace llama512::train {
namespace {

using test::TemporaryFolder;
using test::TinyModel;

constexpr Config kConfig = test::kTinyConfig;

std::vector<float> random_parameters() {
    std::vector<float> parameters(Layout(kConfig).size());
    Random random(7);
    for (float& parameter : parameters) parameter = static_cast<float>(random.normal());
    return parameters;
}

/// A model with gains of 1.
TinyModel plain_model(bool tied = true) {
    TinyModel model(kConfig, tied);
    for (auto* gains : {&model.rms_att, &model.rms_ffn, &model.rms_final}) std::ranges::fill(*gains, 1.0f);
    return model;
}

TEST(Checkpoint, HoldsTheParametersWhereTheReferenceReadsThem) {
    const TemporaryFolder folder;
    const std::string path = folder.path("m.bin");
    const std::vector<float> parameters = random_parameters();
    write_checkpoint(path, kConfig, parameters);
    EXPECT_EQ(read_checkpoint(path, kConfig), parameters);

    const llama512::Checkpoint checkpoint(path);
    EXPECT_EQ(checkpoint.config(), kConfig);
    EXPECT_TRUE(checkpoint.weights().tied());
    const std::size_t w2 = Layout(kConfig).offset("w2", 1), size = kConfig.dim * kConfig.hidden_dim;
    EXPECT_TRUE(std::ranges::equal(slice(checkpoint.weights().w2, 1, size), std::span(parameters).subspan(w2, size)));
    EXPECT_EQ(std::ranges::count(checkpoint.weights().rms_att, 1.0f), 2 * 16);
}

TEST(Checkpoint, IsReadInEveryFormat) {
    const TemporaryFolder folder;
    const std::string path = folder.path("m.bin");
    const TinyModel model = plain_model();
    std::vector<std::vector<float>> found;
    for (const std::string& bytes : {model.v0(), model.v1(), model.v2()}) {
        test::write_file(path, bytes);
        found.push_back(read_checkpoint(path, kConfig));
    }
    EXPECT_EQ(found[0], found[1]);
    EXPECT_EQ(found[0], found[2]);
    const std::size_t wk = Layout(kConfig).offset("wk", 1);
    EXPECT_EQ(found[0][wk], model.wk[model.wk.size() / 2]);
}

TEST(Checkpoint, IsRefusedWhenItIsNoStart) {
    const TemporaryFolder folder;
    const std::string path = folder.path("m.bin");
    const auto error = [&](const std::string& bytes, const Config& config = kConfig) {
        test::write_file(path, bytes);
        const std::string message = test::error_of([&] { read_checkpoint(path, config); });
        return message.starts_with(path + ": ") ? message.substr(path.size() + 2) : message;
    };
    const std::string good = plain_model().v0();
    EXPECT_EQ(error(good), "");
    Config other = kConfig;
    other.seq_len = 13;
    EXPECT_EQ(error(good, other), "seq_len: 12, this run's shape has 13");
    EXPECT_EQ(error(plain_model(false).v0()), "wcls: a classifier of its own, a tied one is needed");
    TinyModel model = plain_model();
    model.rms_ffn[5] = 0.5f;
    EXPECT_EQ(error(model.v1()), "rms_ffn: 0.500000, gains of 1 are needed: they are not trained");
    EXPECT_EQ(error(good + '\0').substr(0, 10), "file size:");
}

}  // namespace
}  // namespace llama512::train
