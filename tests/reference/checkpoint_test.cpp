// The three file formats, written by the test, and what is refused.

#include "files/checkpoint.hpp"

#include <cmath>
#include <gtest/gtest.h>

#include "tiny_model.hpp"
#include "transformer.hpp"

namespace llama512::test {
namespace {

class CheckpointTest : public testing::Test {
protected:
    Checkpoint load(const std::string& bytes) {
        write_file(path_, bytes);
        return Checkpoint(path_);
    }

    /// The message without the file's name.
    std::string error(const std::string& bytes) {
        std::string message = error_of([&] { load(bytes); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("model.bin");
};

std::vector<float> copy(std::span<const float> values) { return {values.begin(), values.end()}; }

template <typename T>
std::string with(std::string bytes, std::size_t offset, T value) {
    return bytes.replace(offset, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
}

void expect_equal(const Weights& a, const Weights& b) {
    for (const NamedTensor& tensor : kTensors) EXPECT_EQ(copy(a.*tensor.values), copy(b.*tensor.values)) << tensor.name;
}

TEST_F(CheckpointTest, AllVersionsHoldTheSameModel) {
    for (const bool tied : {true, false}) {
        const TinyModel model(kTinyConfig, tied);
        for (const std::string& bytes : {model.v0(), model.v1(), model.v2()}) {
            const Checkpoint checkpoint = load(bytes);
            EXPECT_EQ(checkpoint.config().dim, kTinyConfig.dim);
            EXPECT_EQ(checkpoint.config().vocab_size, kTinyConfig.vocab_size);
            EXPECT_EQ(checkpoint.config().seq_len, kTinyConfig.seq_len);
            expect_equal(checkpoint.weights(), model.weights());
        }
    }
}

TEST_F(CheckpointTest, AllVersionsGiveTheSameLogits) {
    for (const bool tied : {true, false}) {
        const TinyModel model(kTinyConfig, tied);
        std::vector<std::vector<float>> logits;
        for (const std::string& bytes : {model.v0(), model.v1(), model.v2()}) {
            const Checkpoint checkpoint = load(bytes);
            Transformer transformer(checkpoint.config(), checkpoint.weights());
            transformer.forward(1, 0);
            logits.push_back(copy(transformer.forward(7, 1)));
        }
        EXPECT_EQ(logits[0], logits[1]);
        EXPECT_EQ(logits[0], logits[2]);
    }
}

TEST_F(CheckpointTest, TiedMeansThatTheClassifierIsTheEmbedding) {
    const Checkpoint tied = load(TinyModel(kTinyConfig, true).v1());
    EXPECT_EQ(tied.weights().wcls.data(), tied.weights().token_embedding.data());
    const TinyModel model(kTinyConfig, false);
    EXPECT_EQ(copy(load(model.v1()).weights().wcls), model.wcls);
    EXPECT_NE(model.wcls, model.token_embedding);
}

TEST_F(CheckpointTest, RefusesEveryOtherSize) {
    const TinyModel model(kTinyConfig, false);
    for (const std::string& bytes : {model.v0(), model.v1(), model.v2()}) {
        const std::string needed = " header needs exactly " + std::to_string(bytes.size());
        EXPECT_NE(error(bytes.substr(0, bytes.size() - 1)).find(needed + " (truncated?)"), std::string::npos);
        EXPECT_NE(error(bytes + '\0').find(needed + " (trailing bytes?)"), std::string::npos);
        EXPECT_NE(error(bytes.substr(0, bytes.size() / 2)).find(needed + " (truncated?)"), std::string::npos);
    }
    EXPECT_EQ(error(model.v0().substr(0, 27)), "file size: 27 bytes, the header alone needs 28");
    EXPECT_EQ(error(model.v1().substr(0, 255)), "file size: 255 bytes, the header alone needs 256");
    EXPECT_EQ(error(""), "file size: 0 bytes, the file is empty");
}

TEST_F(CheckpointTest, AHeaderMayStateTheConstants) {
    const TinyModel model(kTinyConfig, true);
    for (const std::string& bytes : {model.v1(), model.v2()}) {
        EXPECT_EQ(load(bytes).config().rms_epsilon, kRmsNormEpsilon);
        EXPECT_EQ(load(bytes).config().rope_theta, kRopeTheta);
        const Checkpoint checkpoint = load(with(with(bytes, 64, 0.25f), 68, 500000.0f));
        EXPECT_EQ(checkpoint.config().rms_epsilon, 0.25f);
        EXPECT_EQ(checkpoint.config().rope_theta, 500000.0f);
        EXPECT_EQ(error(with(bytes, 64, -1.0f)),
                  "rms_epsilon: -1.000000, a finite number above 0 is needed (0: Llama 2's)");
        EXPECT_EQ(error(with(bytes, 68, std::nanf(""))),
                  "rope_theta: nan, a finite number above 0 is needed (0: Llama 2's)");
    }
}

TEST_F(CheckpointTest, RefusesAnUnknownVersion) {
    const std::string bytes = TinyModel(kTinyConfig, true).v1();
    EXPECT_EQ(error(with(bytes, 4, std::int32_t{3})), "version: 3, version 1 or 2 is needed");
    EXPECT_EQ(error(with(bytes, 4, std::int32_t{0})), "version: 0, version 1 or 2 is needed");
    EXPECT_EQ(error(with(bytes, 36, std::uint8_t{2})), "shared_classifier: 2, 0 or 1 is needed");
}

TEST_F(CheckpointTest, SaysThatAFileWithoutMagicIsReadAsV0) {
    EXPECT_EQ(error("This is a text file, and no checkpoint."),
              "dim: 1936287828, a value from 1 to 65536 is needed "
              "(no 'ak42' magic, so read as a llama2.c v0 checkpoint)");
}

TEST_F(CheckpointTest, RefusesTheMostNegativeVocabSize) {
    const std::string bytes = TinyModel(kTinyConfig, true).v0();
    EXPECT_TRUE(error(with(bytes, 20, INT32_MIN)).starts_with("vocab_size: 2147483648, "));
}

TEST_F(CheckpointTest, RefusesAGroupSizeThatDoesNotDivide) {
    const std::string bytes = TinyModel(kTinyConfig, true).v2();
    for (const std::int32_t bad : {0, -4, 3, 32, INT32_MIN, INT32_MAX}) {
        EXPECT_EQ(error(with(bytes, 37, bad)),
                  "group_size: " + std::to_string(bad) + ", a divisor of dim 16 is needed");
    }
}

TEST_F(CheckpointTest, RefusesWeightsThatAreNotFinite) {
    TinyModel model(kTinyConfig, false);
    model.wk[37] = std::nanf("");
    EXPECT_EQ(error(model.v0()), "wk: element 37 is nan, finite weights are needed");
    EXPECT_EQ(error(model.v1()), "wk: element 37 is nan, finite weights are needed");
    model.rms_att[3] = -INFINITY;
    EXPECT_EQ(error(model.v0()), "rms_att: element 3 is -inf, finite weights are needed");
    EXPECT_EQ(error(model.v2()), "rms_att: element 3 is -inf, finite weights are needed");
}

TEST_F(CheckpointTest, RefusesQuantizationScalesThatAreNotFinite) {
    const TinyModel model(kTinyConfig, false);
    const std::string bytes = model.v2();
    // The last group of the classifier: its scale is the file's end.
    const std::string damaged = with(bytes, bytes.size() - 4, INFINITY);
    EXPECT_TRUE(error(damaged).starts_with("wcls: element 508 is ")) << error(damaged);
}

TEST_F(CheckpointTest, RefusesWhatIsNoFile) {
    EXPECT_EQ(error_of([&] { Checkpoint(folder_.path("none")); }),
              folder_.path("none") + ": open: No such file or directory");
    EXPECT_EQ(error_of([&] { Checkpoint(folder_.path(".")); }),
              folder_.path(".") + ": file type: not a regular file, a file is needed");
}

}  // namespace
}  // namespace llama512::test
