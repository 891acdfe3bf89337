// The tokenizer of a GGUF file: the same as llama2.c's tokenizer.bin, and what is refused.

#include "files/gguf_vocabulary.hpp"

#include <cmath>
#include <gtest/gtest.h>

#include "files/checkpoint.hpp"
#include "files/vocabulary.hpp"
#include "gguf_writer.hpp"

namespace llama512::test {
namespace {

constexpr Config kConfig = {
    .dim = 4, .hidden_dim = 2, .n_layers = 1, .n_heads = 2, .n_kv_heads = 1, .vocab_size = 270, .seq_len = 8};

class GgufVocabularyTest : public testing::Test {
protected:
    Vocabulary vocabulary(const GgufFile& file) {
        write_file(path_, file.bytes());
        return Checkpoint(path_).vocabulary();
    }

    /// The message without the file's name.
    std::string error(const GgufFile& file) {
        std::string message = error_of([&] { vocabulary(file); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("model.gguf");
    GgufFile file_ = gguf_of(TinyModel(kConfig, true));
};

/// The tokenizer.bin of the same tokens.
std::string tokenizer_bin() {
    std::string bytes;
    const auto append = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
    append(std::int32_t{8});
    for (std::size_t token = 0; token < kConfig.vocab_size; token++) {
        std::string piece = tiny_tokens(kConfig.vocab_size)[token];
        for (std::size_t at; (at = piece.find("\u2581")) != std::string::npos;) piece = piece.substr(0, at) + " " + piece.substr(at + 3);
        if (token == 1) piece = "\n<s>\n";
        if (token == 2) piece = "\n</s>\n";
        append(static_cast<float>(token));
        append(static_cast<std::int32_t>(piece.size()));
        bytes += piece;
    }
    return bytes;
}

TEST_F(GgufVocabularyTest, IsThatOfLlama2cInEveryVersion) {
    write_file(folder_.path("tokenizer.bin"), tokenizer_bin());
    const Vocabulary expected = read_vocabulary(folder_.path("tokenizer.bin"), kConfig.vocab_size);
    for (const std::uint32_t version : {1u, 2u, 3u}) {
        file_.version = version;
        const Vocabulary found = vocabulary(file_);
        EXPECT_EQ(found.name, path_);
        EXPECT_EQ(found.pieces, expected.pieces);
        EXPECT_EQ(found.scores, expected.scores);
    }
    const Tokenizer from_gguf(vocabulary(file_)), from_bin(expected);
    for (const char* text : {"", "ab", "ab  c abcde", "\u20AC x\n"}) {
        EXPECT_EQ(from_gguf.encode(text), from_bin.encode(text));
    }
    EXPECT_EQ(from_gguf.encode("ab c").size(), 3u);  // BOS, " ab", " c"
}

TEST_F(GgufVocabularyTest, TakesTheFilesEos) {
    file_.set("tokenizer.ggml.eos_token_id", meta(std::uint32_t{260}));
    Vocabulary found = vocabulary(file_);
    EXPECT_EQ(found.pieces[260], "\n</s>\n");
    EXPECT_EQ(found.pieces[2], "</s>");
    file_.erase("tokenizer.ggml.eos_token_id");
    found = vocabulary(file_);
    EXPECT_EQ(found.pieces[260], "a");
    EXPECT_EQ(found.pieces[2], "\n</s>\n");
    file_.set("tokenizer.ggml.eos_token_id", meta(std::uint32_t{270}));
    EXPECT_EQ(error(file_), "tokenizer.ggml.eos_token_id: 270, a token from 0 to 269 is needed");
}

TEST_F(GgufVocabularyTest, ScoresAndTypesMayBeAbsent) {
    const Vocabulary with_types = vocabulary(file_);
    file_.erase("tokenizer.ggml.token_type");
    EXPECT_EQ(vocabulary(file_).pieces, with_types.pieces);
    file_.erase("tokenizer.ggml.scores");
    EXPECT_EQ(vocabulary(file_).scores, std::vector<float>(kConfig.vocab_size, 0.0f));
}

TEST_F(GgufVocabularyTest, RefusesOtherTokenizers) {
    const std::string needed = "'llama' (SentencePiece) is needed, or another tokenizer with --tokenizer FILE";
    file_.set("tokenizer.ggml.model", meta("gpt2"));
    EXPECT_EQ(error(file_), "tokenizer.ggml.model: 'gpt2', " + needed);
    file_.erase("tokenizer.ggml.model");
    EXPECT_EQ(error(file_), "tokenizer.ggml.model: none, " + needed);
    file_.set("tokenizer.ggml.model", meta("llama"));
    for (const auto& [key, value, reason] :
         {std::tuple{"tokenizer.ggml.add_space_prefix", true, "true is needed: every text gets a space in front"},
          {"tokenizer.ggml.add_eos_token", false, "false is needed: the text after a prompt goes on"}}) {
        file_.set(key, meta(value));
        EXPECT_EQ(error(file_), "");
        file_.set(key, meta(!value));
        EXPECT_EQ(error(file_), std::string(key) + (value ? ": false, " : ": true, ") + reason);
        file_.erase(key);
    }
    file_.erase("tokenizer.ggml.tokens");
    EXPECT_EQ(error(file_), "tokenizer.ggml.tokens: none, an array of strings is needed");
}

TEST_F(GgufVocabularyTest, RefusesWrongCounts) {
    file_.set("tokenizer.ggml.scores", meta_array(std::vector<float>(269)));
    EXPECT_EQ(error(file_), "tokenizer.ggml.scores: array of 269 float32, 270 are needed, one for each of "
                            "tokenizer.ggml.tokens");
    file_.erase("tokenizer.ggml.scores");
    file_.set("tokenizer.ggml.token_type", meta_array(std::vector<std::int32_t>(271, 1)));
    EXPECT_EQ(error(file_), "tokenizer.ggml.token_type: array of 271 int32, 270 are needed, one for each of "
                            "tokenizer.ggml.tokens");
}

TEST_F(GgufVocabularyTest, RefusesBadTokens) {
    const std::string type_key = "tokenizer.ggml.token_type", score_key = "tokenizer.ggml.scores";
    const auto types = [&](std::int32_t value) {
        GgufFile file = file_;
        std::vector<std::int32_t> values(kConfig.vocab_size, 1);
        values[261] = value;
        file.set(type_key, meta_array(values));
        return error(file);
    };
    for (const std::int32_t good : {1, 2, 3, 4, 5}) EXPECT_EQ(types(good), "");
    for (const std::int32_t bad : {0, 7, INT32_MAX}) {
        EXPECT_EQ(types(bad), type_key + ": token 261: " + std::to_string(bad) + ", a type from 1 to 6 is needed");
    }
    EXPECT_EQ(types(-1), type_key + ": array of 270 int32, an array of whole numbers from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(types(6), "tokenizer.ggml.tokens: token 261: 'b', <0xNN> is needed for a token of type 6 (byte)");

    std::vector<float> scores(kConfig.vocab_size);
    scores[5] = std::nanf("");
    GgufFile file = file_;
    file.set(score_key, meta_array(scores));
    EXPECT_EQ(error(file), score_key + ": token 5: nan, a finite number is needed");

    std::vector<std::string> tokens = tiny_tokens(kConfig.vocab_size);
    tokens[269] = std::string((1 << 16) + 1, 'x');
    file_.set("tokenizer.ggml.tokens", meta_array(tokens));
    EXPECT_EQ(error(file_), "tokenizer.ggml.tokens: token 269: 65537 bytes, at most 65536 are needed");
}

TEST_F(GgufVocabularyTest, ACheckpointOfLlama2cHasItsOwnBesideIt) {
    path_ = folder_.path("model.bin");
    write_file(path_, TinyModel(kConfig, true).v0());
    EXPECT_TRUE(error_of([&] { Checkpoint(path_).vocabulary(); }).starts_with(path_ + ": tokenizer: none of "));
    write_file(folder_.path("tokenizer.bin"), tokenizer_bin());
    const Vocabulary found = Checkpoint(path_).vocabulary();
    EXPECT_EQ(found.name, folder_.path("tokenizer.bin"));
    EXPECT_EQ(found.pieces.size(), kConfig.vocab_size);
}

}  // namespace
}  // namespace llama512::test
