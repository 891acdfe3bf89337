// Models in GGUF files: the same as in llama2.c's, of every type of tensor, and what is refused.

#include "files/gguf_model.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "files/checkpoint.hpp"
#include "generate.hpp"
#include "gguf_writer.hpp"
#include "transformer.hpp"

namespace llama512::test {
namespace {

using Vector = std::vector<float>;

/// Rows of whole blocks of Q8_0 and Q4_0, in wq and w2, too.
constexpr Config kConfig = {
    .dim = 32, .hidden_dim = 64, .n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .vocab_size = 40, .seq_len = 12};

class GgufModelTest : public testing::Test {
protected:
    Checkpoint load(const GgufFile& file) { return load(file.bytes()); }
    Checkpoint load(const std::string& bytes) {
        write_file(path_, bytes);
        return Checkpoint(path_);
    }

    /// The message without the file's name.
    std::string error(const GgufFile& file) {
        std::string message = error_of([&] { load(file); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("model.gguf");
};

Vector copy(std::span<const float> values) { return {values.begin(), values.end()}; }

void expect_equal(const Weights& a, const Weights& b) {
    for (const NamedTensor& tensor : kTensors) EXPECT_EQ(copy(a.*tensor.values), copy(b.*tensor.values)) << tensor.name;
}

/// The tokens of a greedy story, and the logits after each.
std::pair<std::vector<int>, Vector> story(const Checkpoint& checkpoint) {
    Transformer transformer(checkpoint.config(), checkpoint.weights());
    Sampler greedy(0.0f, 0.0f, 1);
    std::vector<int> tokens;
    Vector logits;
    generate(transformer, greedy, std::vector<int>{1, 7}, 100, [&](const Step& step) {
        tokens.push_back(step.next);
        logits.insert(logits.end(), step.logits.begin(), step.logits.end());
    }, {.all_logits = true});
    return {tokens, logits};
}

/// A model whose matrices `type` holds without loss.
TinyModel model_of(std::uint32_t type, bool tied, const Config& config = kConfig) {
    TinyModel model(config, tied);
    std::uint32_t seed = 1;
    for (Vector* matrix : {&model.token_embedding, &model.wq, &model.wk, &model.wv, &model.wo, &model.w1, &model.w2,
                           &model.w3, &model.wcls}) {
        *matrix = random_values_of(type, matrix->size(), seed++);
    }
    return model;
}

TEST_F(GgufModelTest, SaysWhatTheSameCheckpointSays) {
    for (const bool tied : {true, false}) {
        const TinyModel model(kConfig, tied);
        write_file(folder_.path("model.bin"), model.v0());
        const Checkpoint expected(folder_.path("model.bin"));
        for (const std::uint32_t version : {1u, 2u, 3u}) {
            GgufFile file = gguf_of(model);
            file.version = version;
            const Checkpoint found = load(file);
            EXPECT_EQ(found.config(), expected.config());
            EXPECT_EQ(found.weights().tied(), tied);
            expect_equal(found.weights(), expected.weights());
            EXPECT_EQ(story(found), story(expected));
        }
    }
    EXPECT_GT(story(load(gguf_of(TinyModel(kConfig, true)))).first.size(), 3u);  // not only what was given
}

TEST_F(GgufModelTest, HoldsEveryTypeOfTensor) {
    for (const std::uint32_t type : {kF32, kF16, kBF16, kQ8_0, kQ4_0}) {
        for (const bool tied : {true, false}) {
            const TinyModel model = model_of(type, tied);
            const Checkpoint checkpoint = load(gguf_of(model, type));
            expect_equal(checkpoint.weights(), model.weights());
            EXPECT_EQ(checkpoint.weights().tied(), tied);
        }
    }
}

TEST_F(GgufModelTest, HoldsAMixOfTypes) {
    const TinyModel model = model_of(kQ4_0, false);  // whose values all types hold
    GgufFile file = gguf_of(model, kF32);
    const std::uint32_t types[] = {kQ4_0, kF16, kBF16, kF32};
    std::size_t i = 0;
    for (TensorEntry& tensor : file.tensors) {
        if (tensor.dimensions.size() == 1) continue;
        Vector values(tensor.data.size() / sizeof(float));
        find_tensor_type(kF32)->dequantize(values, std::as_bytes(std::span(tensor.data)));
        tensor.type = types[i++ % 4];
        tensor.data = encode(tensor.type, values);
    }
    expect_equal(load(file).weights(), model.weights());
}

TEST_F(GgufModelTest, UsesFloat32InPlaceWhereATensorHasOnePart) {
    Config config = kConfig;
    config.n_layers = 1;
    const GgufFile file = gguf_of(TinyModel(config, false));
    write_file(path_, file.bytes());
    const MappedFile mapped(path_);
    const Gguf gguf(mapped);
    EXPECT_EQ(read_gguf_model(gguf, 1).converted.size(), 0u);
    const GgufFile two_layers = gguf_of(TinyModel(kConfig, true), kF32);
    write_file(path_, two_layers.bytes());
    const MappedFile mapped_two(path_);
    const Contents contents = read_gguf_model(Gguf(mapped_two), 1);
    const std::size_t in_layers = 2 * (2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64);
    EXPECT_EQ(contents.converted.size(), in_layers);
}

TEST_F(GgufModelTest, HonoursEpsilonAndTheta) {
    const auto usual = story(load(gguf_of(TinyModel(kConfig, true))));
    for (const auto& [constant, key, value] :
         {std::tuple{&Config::rms_epsilon, "llama.attention.layer_norm_rms_epsilon", 0.25f},
          {&Config::rope_theta, "llama.rope.freq_base", 500.0f}}) {
        GgufFile file = gguf_of(TinyModel(kConfig, true));
        file.set(key, meta(value));
        const Checkpoint checkpoint = load(file);
        Config config = kConfig;
        config.*constant = value;
        EXPECT_EQ(checkpoint.config(), config);
        const auto found = story(checkpoint);
        EXPECT_NE(found.second, usual.second);

        const TinyModel model(kConfig, true);
        Transformer transformer(config, model.weights());
        Vector logits = copy(transformer.forward(1, 0));
        const auto second = transformer.forward(7, 1);
        logits.insert(logits.end(), second.begin(), second.end());
        EXPECT_EQ(Vector(found.second.begin(), found.second.begin() + 2 * 40), logits);
    }
}

TEST_F(GgufModelTest, DefaultsOfKeysThatMayBeAbsent) {
    Config config = kConfig;
    config.n_kv_heads = config.n_heads;
    GgufFile file = gguf_of(TinyModel(config, true));
    for (const char* key : {"llama.attention.head_count_kv", "llama.rope.freq_base", "llama.rope.dimension_count"}) {
        file.erase(key);
    }
    EXPECT_EQ(load(file).config(), config);
    for (const char* key : {"model", "tokens", "scores", "token_type", "bos_token_id", "eos_token_id"}) {
        file.erase(std::string("tokenizer.ggml.") + key);
    }
    EXPECT_EQ(load(file).config(), config);  // vocab_size: the embedding's rows
}

TEST_F(GgufModelTest, ReadsIntegersOfEveryType) {
    GgufFile file = gguf_of(TinyModel(kConfig, true));
    file.set("llama.embedding_length", meta(std::uint64_t{32}));
    file.set("llama.feed_forward_length", meta(std::int64_t{64}));
    file.set("llama.block_count", meta(std::uint8_t{2}));
    file.set("llama.attention.head_count", meta(std::int16_t{4}));
    file.set("llama.context_length", meta(std::uint16_t{12}));
    file.set("llama.vocab_size", meta(std::int32_t{40}));
    file.set("llama.attention.key_length", meta(std::uint32_t{8}));
    file.set("llama.attention.value_length", meta(std::uint64_t{8}));
    EXPECT_EQ(load(file).config(), kConfig);
}

TEST_F(GgufModelTest, KeysThatChangeNothingAreRead) {
    GgufFile file = gguf_of(TinyModel(kConfig, true));
    file.set("general.type", meta("model"));
    file.set("general.quantization_version", meta(std::uint32_t{2}));
    file.set("general.tags", meta_array(std::vector<std::string>{"a", "b"}));
    file.set("split.count", meta(std::uint16_t{0}));
    file.set("llama.expert_count", meta(std::uint32_t{0}));
    file.set("llama.expert_used_count", meta(std::uint32_t{0}));
    file.set("llama.attention.causal", meta(true));
    file.set("llama.attention.sliding_window", meta(std::uint32_t{0}));
    file.set("llama.use_parallel_residual", meta(false));
    file.set("llama.rope.scaling.type", meta("none"));
    file.set("llama.rope.scaling.factor", meta(1.0f));
    file.set("llama.rope.scale_linear", meta(1.0f));
    file.set("llama.tensor_data_layout", meta("Meta AI original pth"));
    file.set("tokenizer.ggml.add_bos_token", meta(true));
    file.set("somebody.else", meta(7.0));
    file.tensors.push_back({"rope_freqs.weight", {4}, kF32, encode(kF32, {1, 1, 1, 1})});
    EXPECT_EQ(error(file), "");
}

TEST_F(GgufModelTest, RefusesWhatDiffersFromLlama2) {
    const auto refused = [&](const std::string& key, MetaValue value, const std::string& expected) {
        GgufFile file = gguf_of(TinyModel(kConfig, true));
        file.set(key, std::move(value));
        EXPECT_EQ(error(file), key + ": " + expected);
    };
    const auto number = [](std::uint32_t value) { return meta(value); };
    refused("general.architecture", meta("gpt2"), "'gpt2', 'llama' is needed: other architectures are not supported");
    refused("general.architecture", number(7), "7, a string is needed");
    refused("general.type", meta("adapter"), "'adapter', 'model' is needed: adapters and projectors are not supported");
    refused("general.quantization_version", number(1), "1, 2 is needed: convert the model again, with a newer llama.cpp");
    refused("split.count", number(3), "3, 1 or 0 is needed: join the parts with llama.cpp's llama-gguf-split --merge");
    refused("llama.expert_count", number(8), "8, 0 is needed: mixtures of experts are not supported");
    refused("llama.expert_used_count", number(2), "2, 0 is needed: mixtures of experts are not supported");
    refused("llama.attention.causal", meta(false), "false, true is needed: each position attends to those before it");
    refused("llama.attention.sliding_window", number(4096), "4096, 0 is needed: each position attends to all before it");
    refused("llama.use_parallel_residual", meta(true),
            "true, false is needed: the feed-forward layer reads what attention has added to");
    refused("llama.rope.scaling.type", meta("yarn"), "'yarn', 'none' is needed: RoPE scaling is not supported");
    refused("llama.rope.scaling.factor", meta(2.0f), "2, 1 or 0 is needed: RoPE scaling is not supported");
    refused("llama.rope.scaling.factor", meta(std::nextafter(1.0f, 2.0f)),
            "1.00000012, 1 or 0 is needed: RoPE scaling is not supported");
    refused("llama.rope.scale_linear", meta(0.5f), "0.5, 1 is needed: RoPE scaling is not supported");
    refused("llama.tensor_data_layout", meta("rotate half"),
            "'rotate half', 'Meta AI original pth' or 'reference' is needed: other orders of rows are not supported");
    refused("tokenizer.ggml.add_bos_token", meta(false), "false, true is needed: every text begins with BOS");
    refused("tokenizer.ggml.bos_token_id", number(128000),
            "128000, 1 is needed: that token begins every text, and ends a story");
    for (const char* key : {"llama.attention.scale", "llama.rope.scaling.original_context_length", "llama.logit_scale"}) {
        refused(key, meta(0.5f), "0.5, the key is unknown: what it changes is not supported");
    }
    GgufFile file = gguf_of(TinyModel(kConfig, true));
    file.erase("general.architecture");
    EXPECT_EQ(error(file), "general.architecture: none, 'llama' is needed: other architectures are not supported");
}

TEST_F(GgufModelTest, RefusesShapesThatCannotBe) {
    const auto refused = [&](const std::string& key, MetaValue value, const std::string& expected) {
        GgufFile file = gguf_of(TinyModel(kConfig, true));
        file.set(key, std::move(value));
        EXPECT_EQ(error(file), expected);
    };
    const char* const keys[] = {"llama.embedding_length", "llama.feed_forward_length", "llama.block_count",
                                "llama.attention.head_count", "llama.context_length"};
    for (const std::string key : keys) {
        for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{1} << 40, INT64_MAX}) {
            GgufFile file = gguf_of(TinyModel(kConfig, true));
            file.set(key, meta(bad));
            EXPECT_TRUE(error(file).starts_with(key + ": " + std::to_string(bad) + ", a value from 1 to ")) << error(file);
        }
        refused(key, meta(std::int32_t{-1}), key + ": -1, a whole number from 0 to 2^63 - 1 is needed");
        refused(key, meta(32.0f), key + ": 32, a whole number from 0 to 2^63 - 1 is needed");
        GgufFile file = gguf_of(TinyModel(kConfig, true));
        file.erase(key);
        EXPECT_EQ(error(file), key + ": none, a whole number is needed");
    }
    const auto number = [](std::uint32_t value) { return meta(value); };
    refused("llama.attention.head_count_kv", meta_array(std::vector<std::uint32_t>{2, 2}),
            "llama.attention.head_count_kv: array of 2 uint32, a whole number from 0 to 2^63 - 1 is needed");
    refused("llama.attention.head_count", number(5),
            "llama.attention.head_count: 5, a divisor of llama.embedding_length 32 is needed");
    refused("llama.attention.head_count_kv", number(3),
            "llama.attention.head_count_kv: 3, a divisor of llama.attention.head_count 4 is needed");
    refused("llama.attention.head_count", number(32),
            "head_size: 1 (llama.embedding_length 32 / llama.attention.head_count 32), an even number is needed");
    for (const std::string key :
         {"llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.value_length"}) {
        refused(key, number(4), key + ": 4, 8 is needed: llama.embedding_length / llama.attention.head_count");
    }
    refused("llama.vocab_size", number(41), "llama.vocab_size: 41, 40 is needed: the number of tokenizer.ggml.tokens");
    refused("tokenizer.ggml.tokens", meta_array(std::vector<std::string>{"x"}),
            "tokenizer.ggml.tokens: 1, a value from 2 to 4194304 is needed");
    refused("tokenizer.ggml.tokens", meta_array(tiny_tokens(41)),
            "token_embd.weight: dimensions 32 x 40, 32 x 41 are needed (columns x rows)");
}

TEST_F(GgufModelTest, RefusesConstantsThatCannotBe) {
    for (const std::string key : {"llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base"}) {
        GgufFile file = gguf_of(TinyModel(kConfig, true));
        for (const auto& [value, shown] : {std::pair{0.0f, "0"}, {-1e-5f, "-9.99999975e-06"}, {INFINITY, "inf"}}) {
            file.set(key, meta(value));
            EXPECT_EQ(error(file), key + ": " + shown + ", a finite number above 0 is needed");
        }
        file.set(key, meta(std::nanf("")));
        EXPECT_EQ(error(file), key + ": nan, a finite number above 0 is needed");
        file.set(key, meta(1e-5));
        EXPECT_EQ(error(file), key + ": 1.0000000000000001e-05, a float32 is needed");
    }
    GgufFile file = gguf_of(TinyModel(kConfig, true));
    file.erase("llama.attention.layer_norm_rms_epsilon");
    EXPECT_EQ(error(file), "llama.attention.layer_norm_rms_epsilon: none, a finite number above 0 is needed");
}

TEST_F(GgufModelTest, RefusesTensorsThatAreMissingOrUnknown) {
    const GgufFile good = gguf_of(TinyModel(kConfig, false));
    for (const TensorEntry& tensor : good.tensors) {
        GgufFile file = good;
        std::erase_if(file.tensors, [&](const TensorEntry& other) { return other.name == tensor.name; });
        if (tensor.name == "output.weight") {
            EXPECT_TRUE(load(file).weights().tied());
        } else {
            EXPECT_EQ(error(file), tensor.name + ": none, a tensor of F32, F16, BF16, Q8_0 or Q4_0 is needed");
        }
    }
    for (const std::string name : {"blk.0.attn_q.bias", "blk.2.attn_q.weight", "blk.00.attn_q.weight", "blk.0.attn_q",
                                   "blk.0.ffn_gate_exps.weight", "rope_freqs", "output.bias"}) {
        GgufFile file = good;
        file.tensors.push_back({name, {32}, kF32, encode(kF32, Vector(32))});
        EXPECT_EQ(error(file), name + ": unknown, a Llama 2 model of 2 layers has no tensor of this name: "
                                      "biases, experts and others are not supported");
    }
    GgufFile file = good;
    file.tensors.push_back({"rope_freqs.weight", {4}, kF32, encode(kF32, {1, 1, 8, 1})});
    EXPECT_EQ(error(file), "rope_freqs.weight: element 2 is 8.000000, 1 is needed: RoPE scaling is not supported");
}

TEST_F(GgufModelTest, RefusesShapesOfTensorsThatAreNotThoseOfTheKeys) {
    const GgufFile good = gguf_of(TinyModel(kConfig, false));
    for (const TensorEntry& tensor : good.tensors) {
        GgufFile file = good;
        TensorEntry& wrong = file.tensor(tensor.name);
        wrong.dimensions.resize(2, 1);
        const std::string needed = std::to_string(wrong.dimensions[0]) + " x " + std::to_string(wrong.dimensions[1]) +
                                   " are needed (columns x rows)";
        wrong.dimensions[0] *= 2;
        wrong.data += wrong.data;
        EXPECT_EQ(error(file), tensor.name + ": dimensions " + std::to_string(wrong.dimensions[0]) + " x " +
                                   std::to_string(wrong.dimensions[1]) + ", " + needed);
    }
    GgufFile file = good;
    file.tensor("blk.1.attn_k.weight").dimensions = {16, 32};
    EXPECT_EQ(error(file), "blk.1.attn_k.weight: dimensions 16 x 32, 32 x 16 are needed (columns x rows)");
    file.tensor("blk.1.attn_k.weight").dimensions = {32, 8, 2};
    EXPECT_EQ(error(file), "blk.1.attn_k.weight: dimensions 32 x 8 x 2 x 1, 32 x 16 are needed (columns x rows)");
    file.tensor("blk.1.attn_k.weight").dimensions = {32, 16, 1, 1};
    EXPECT_EQ(error(file), "");
}

TEST_F(GgufModelTest, RefusesWeightsThatAreNotFinite) {
    const std::uint16_t nan = 0x7E00, infinity = 0xFC00;  // float16
    const auto put = [](std::string& data, std::size_t offset, auto value) {
        data.replace(offset, sizeof value, std::string(reinterpret_cast<const char*>(&value), sizeof value));
    };
    for (const auto& [type, offset, element] :
         {std::tuple{kF16, 37u * 2, 37}, {kQ8_0, 3u * 34, 96}, {kQ4_0, 3u * 18, 96}}) {
        GgufFile file = gguf_of(model_of(type, true), type);
        for (const std::uint16_t bits : {infinity, nan}) {
            put(file.tensor("blk.1.attn_q.weight").data, offset, bits);
            const std::string start = "blk.1.attn_q.weight: element " + std::to_string(element) + " is ";
            EXPECT_TRUE(error(file).starts_with(start)) << error(file);
        }
    }
    for (const std::string name : {"token_embd.weight", "blk.0.ffn_norm.weight", "output_norm.weight"}) {
        GgufFile file = gguf_of(TinyModel(kConfig, true));
        put(file.tensor(name).data, 4 * 3, -INFINITY);
        EXPECT_EQ(error(file), name + ": element 3 is -inf, finite weights are needed");
    }
}

TEST_F(GgufModelTest, RefusesEveryFileThatEndsEarly) {
    const Config config = {
        .dim = 2, .hidden_dim = 1, .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .vocab_size = 4, .seq_len = 2};
    for (const std::uint32_t version : {1u, 3u}) {
        GgufFile file = gguf_of(TinyModel(config, true));
        file.version = version;
        EXPECT_EQ(error(file), "");
        for (std::size_t size = file.bytes().size() - 1; size > 0; size--) {
            std::filesystem::resize_file(path_, size);
            EXPECT_NE(error_of([&] { Checkpoint{path_}; }), "") << size;
        }
    }
}

/// Whatever a byte is changed to, the file is refused or read: it never crashes, and never reads outside the file.
TEST_F(GgufModelTest, SurvivesEveryByteThatIsChanged) {
    const Config config = {
        .dim = 2, .hidden_dim = 1, .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .vocab_size = 4, .seq_len = 2};
    const GgufFile file = gguf_of(TinyModel(config, true));
    const std::string bytes = file.bytes();
    write_file(path_, bytes);
    std::fstream changed(path_, std::ios::binary | std::ios::in | std::ios::out);
    const auto put = [&](std::size_t i, char byte) {
        changed.seekp(static_cast<std::streamoff>(i));
        changed.put(byte).flush();
    };
    for (std::size_t i = 4; i < file.head().size(); i++) {
        for (const char change : {'\x01', '\xFF'}) {
            put(i, static_cast<char>(bytes[i] ^ change));
            const std::string message = error_of([&] { Checkpoint(path_).vocabulary(); });
            EXPECT_TRUE(message.empty() || message.starts_with(path_ + ": ")) << i << ": " << message;
        }
        put(i, bytes[i]);
    }
    EXPECT_EQ(error_of([&] { Checkpoint(path_).vocabulary(); }), "");
}

}  // namespace
}  // namespace llama512::test
