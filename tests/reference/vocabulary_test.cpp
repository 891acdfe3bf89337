// tokenizer.bin: what it holds, what is refused, and where it is looked for.

#include "files/vocabulary.hpp"

#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>

#include "gguf_writer.hpp"
#include "tiny_model.hpp"

namespace llama512::test {
namespace {

struct Record {
    std::string piece;
    float score;
};

const std::vector<Record> kRecords = {{"<unk>", 0}, {"\n<s>\n", 0}, {"\n</s>\n", 0},
                                      {" ", -1},   {"", -2},        {"\xE2\x82\xAC", -0.5f}};

std::string file_bytes(const std::vector<Record>& records, std::int32_t max_token_length = 8) {
    std::string bytes;
    const auto append = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
    append(max_token_length);
    for (const Record& record : records) {
        append(record.score);
        append(static_cast<std::int32_t>(record.piece.size()));
        bytes += record.piece;
    }
    return bytes;
}

class VocabularyTest : public testing::Test {
protected:
    /// The message without the file's name.
    std::string error(const std::string& bytes, std::size_t vocab_size) {
        write_file(path_, bytes);
        std::string message = error_of([&] { read_vocabulary(path_, vocab_size); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("tokenizer.bin");
};

TEST_F(VocabularyTest, HoldsThePiecesAndTheirScores) {
    write_file(path_, file_bytes(kRecords));
    const Vocabulary vocabulary = read_vocabulary(path_, kRecords.size());
    EXPECT_EQ(vocabulary.name, path_);
    ASSERT_EQ(vocabulary.pieces.size(), kRecords.size());
    ASSERT_EQ(vocabulary.scores.size(), kRecords.size());
    for (std::size_t token = 0; token < kRecords.size(); token++) {
        EXPECT_EQ(vocabulary.pieces[token], kRecords[token].piece);
        EXPECT_EQ(vocabulary.scores[token], kRecords[token].score);
    }
}

TEST_F(VocabularyTest, MayBeThatOfAGgufFile) {
    write_file(path_, gguf_of(TinyModel(kTinyConfig, true)).bytes());
    const Vocabulary vocabulary = read_vocabulary(path_, kTinyConfig.vocab_size);
    EXPECT_EQ(vocabulary.name, path_);
    ASSERT_EQ(vocabulary.pieces.size(), kTinyConfig.vocab_size);
    EXPECT_EQ(vocabulary.pieces[1], "\n<s>\n");
    EXPECT_EQ(error(read_file(path_), 31),
              "tokenizer.ggml.tokens: 32 tokens, the checkpoint's vocab_size of 31 is needed (another model's tokenizer?)");
}

TEST_F(VocabularyTest, RefusesAFileThatEndsEarly) {
    const std::string bytes = file_bytes(kRecords);
    for (std::size_t size = 1; size < bytes.size(); size++) {
        EXPECT_NE(error(bytes.substr(0, size), kRecords.size()).find("the file ends at byte " + std::to_string(size)),
                  std::string::npos);
    }
    EXPECT_EQ(error("", 2), "file size: 0 bytes, the file is empty");
}

TEST_F(VocabularyTest, RefusesTheWrongCount) {
    const std::string bytes = file_bytes(kRecords);
    const std::string size = std::to_string(bytes.size());
    EXPECT_EQ(error(bytes, kRecords.size()), "");
    EXPECT_EQ(error(bytes, kRecords.size() + 1), "record 6: the file ends at byte " + size +
                                                     ", 8 bytes are needed at byte " + size + " (vocab_size is 7)");
    EXPECT_NE(error(bytes, kRecords.size() - 1).find("file size: " + size + " bytes, "), std::string::npos);
}

TEST_F(VocabularyTest, RefusesBadLengthsAndScores) {
    std::string bytes = file_bytes({{"<unk>", 0}, {"<s>", 0}});
    const auto with = [&](std::size_t offset, auto value) {
        std::string changed = bytes;
        changed.replace(offset, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
        return error(changed, 2);
    };
    EXPECT_EQ(with(0, std::int32_t{0}), "max_token_length: 0, a value from 1 to 65536 is needed");
    EXPECT_EQ(with(0, std::int32_t{-5}), "max_token_length: -5, a value from 1 to 65536 is needed");
    EXPECT_EQ(with(0, INT32_MAX), "max_token_length: 2147483647, a value from 1 to 65536 is needed");
    EXPECT_EQ(with(8, std::int32_t{-1}), "record 0: length -1, a value from 0 to max_token_length 8 is needed");
    EXPECT_EQ(with(8, std::int32_t{9}), "record 0: length 9, a value from 0 to max_token_length 8 is needed");
    EXPECT_EQ(with(21, INT32_MIN), "record 1: length -2147483648, a value from 0 to max_token_length 8 is needed");
    EXPECT_EQ(with(4, std::nanf("")), "record 0: score nan, a finite number is needed");
}

TEST(FindTokenizer, TakesTheFirstOfThreeNames) {
    const TemporaryFolder folder;
    const std::string model = folder.path("a.v1.bin");
    EXPECT_EQ(error_of([&] { find_tokenizer(model, 512); }),
              model + ": tokenizer: none of a.v1.tokenizer.bin, tokenizer.bin, tok512.bin is beside the model, "
                      "give one with --tokenizer FILE");
    for (const std::string name : {"tok512.bin", "tokenizer.bin", "a.v1.tokenizer.bin"}) {
        write_file(folder.path(name), "x");
        EXPECT_EQ(find_tokenizer(model, 512), folder.path(name));
    }
}

}  // namespace
}  // namespace llama512::test
