// Text to tokens and back, on a small vocabulary that the test writes.

#include "tokenizer.hpp"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <gtest/gtest.h>

#include "files/vocabulary.hpp"
#include "tiny_model.hpp"

namespace llama512::test {
namespace {

using Tokens = std::vector<int>;

struct Record {
    std::string piece;
    float score;
};

/// <unk>, BOS, EOS and the 256 bytes, as in every Llama 2 vocabulary.
std::vector<Record> byte_records() {
    std::vector<Record> records = {{"<unk>", 0}, {"\n<s>\n", 0}, {"\n</s>\n", 0}};
    for (int byte = 0; byte < 256; byte++) {
        char piece[8];
        std::snprintf(piece, sizeof piece, "<0x%02X>", byte);
        records.push_back({piece, 0});
    }
    return records;
}

constexpr int kSpace = 259;
constexpr int kA = 260;
constexpr int kB = 261;
constexpr int kC = 262;
constexpr int kAb = 263;
constexpr int kBc = 264;
constexpr int kSpaceAb = 265;
constexpr int kEuro = 266;
constexpr int kAa = 267;

std::vector<Record> test_records() {
    std::vector<Record> records = byte_records();
    const Record more[] = {{" ", -10},  {"a", -11},  {"b", -12},          {"c", -13}, {"ab", -2},
                           {"bc", -1}, {" ab", -3}, {"\xE2\x82\xAC", -4}, {"aa", -5}};
    records.insert(records.end(), std::begin(more), std::end(more));
    return records;
}

std::string tokenizer_bytes(const std::vector<Record>& records, std::int32_t max_token_length = 8) {
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

class TokenizerTest : public testing::Test {
protected:
    Tokenizer load(const std::string& bytes, std::size_t vocab_size) {
        write_file(path_, bytes);
        return Tokenizer(read_vocabulary(path_, vocab_size));
    }
    Tokenizer load(const std::vector<Record>& records) { return load(tokenizer_bytes(records), records.size()); }

    std::string error(const std::string& bytes, std::size_t vocab_size) {
        std::string message = error_of([&] { load(bytes, vocab_size); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("tokenizer.bin");
};

TEST_F(TokenizerTest, EmptyTextIsBosAlone) { EXPECT_EQ(load(test_records()).encode(""), (Tokens{kBos})); }

TEST_F(TokenizerTest, PutsASpaceInFront) {
    EXPECT_EQ(load(test_records()).encode("c"), (Tokens{kBos, kSpace, kC}));
    EXPECT_EQ(load(test_records()).encode("b"), (Tokens{kBos, kSpace, kB}));
}

TEST_F(TokenizerTest, MergesTheBestScoreFirst) {
    // " abc": "bc" (-1) beats "ab" (-2), and then nothing merges " ", "a", "bc".
    EXPECT_EQ(load(test_records()).encode("abc"), (Tokens{kBos, kSpace, kA, kBc}));
    EXPECT_EQ(load(test_records()).encode("cab"), (Tokens{kBos, kSpace, kC, kAb}));
    // " ab": "ab", and then " ab".
    EXPECT_EQ(load(test_records()).encode("ab"), (Tokens{kBos, kSpaceAb}));
}

TEST_F(TokenizerTest, MergesTheLeftmostOnATie) {
    EXPECT_EQ(load(test_records()).encode("aaa"), (Tokens{kBos, kSpace, kAa, kA}));
}

TEST_F(TokenizerTest, BosIsNoText) {
    std::vector<Record> records = test_records();
    records[kBos].piece = "c";                  // no text becomes it
    records.push_back({"c ", 9});               // it does not merge with what follows
    records.push_back({"c a", 9});
    const int c_space = static_cast<int>(records.size()) - 2;
    EXPECT_EQ(load(records).encode("a"), (Tokens{kBos, kSpace, kA}));
    EXPECT_EQ(load(records).encode("c a"), (Tokens{kBos, kSpace, c_space + 1}));
    records[kBos].piece = "ab";
    records.back().piece = "ab ";
    EXPECT_EQ(load(records).encode("ab"), (Tokens{kBos, kSpaceAb}));
    records[kBos].piece = "";                   // nothing is its own merge
    EXPECT_EQ(load(records).encode("aa"), (Tokens{kBos, kSpace, kAa}));
}

TEST_F(TokenizerTest, UsesACharacterOfSeveralBytesWhole) {
    EXPECT_EQ(load(test_records()).encode("\xE2\x82\xAC"), (Tokens{kBos, kSpace, kEuro}));
}

TEST_F(TokenizerTest, FallsBackToBytes) {
    // U+00E9 is C3 A9.
    EXPECT_EQ(load(test_records()).encode("\xC3\xA9"), (Tokens{kBos, kSpace, 3 + 0xC3, 3 + 0xA9}));
    EXPECT_EQ(load(byte_records()).encode("!"), (Tokens{kBos, 3 + ' ', 3 + '!'}));
    EXPECT_EQ(load(byte_records()).encode(std::string(1, '\0')), (Tokens{kBos, 3 + ' ', 3}));
}

TEST_F(TokenizerTest, RefusesBytesThatTheVocabularyLacks) {
    const Tokenizer tokenizer = load({{"<unk>", 0}, {"<s>", 0}, {"</s>", 0}, {" ", 0}, {"a", 0}});
    EXPECT_EQ(tokenizer.encode("a"), (Tokens{kBos, 3, 4}));
    EXPECT_EQ(error_of([&] { tokenizer.encode("ab", "--prompt"); }),
              "--prompt: byte 1: 0x62 has no token in " + path_ + ", text that its vocabulary can spell is needed");
}

TEST_F(TokenizerTest, RefusesByteTokensThatAreOtherText) {
    std::vector<Record> records = byte_records();
    records[3 + '!'].piece = "x";
    EXPECT_NE(error_of([&] { load(records).encode("!"); }).find("0x21 has no token"), std::string::npos);
}

TEST_F(TokenizerTest, AcceptsUtf8AndRefusesTheRest) {
    const Tokenizer tokenizer = load(test_records());
    for (const std::string good : {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                                   "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
        EXPECT_EQ(error_of([&] { tokenizer.encode("ab" + good + "c"); }), "") << testing::PrintToString(good);
    }
    for (const std::string bad : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xE2\x82",
                                  "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80",
                                  "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"}) {
        EXPECT_NE(error_of([&] { tokenizer.encode("ab" + bad + "c"); }).find("text: byte 2: 0x"), std::string::npos)
            << testing::PrintToString(bad);
        EXPECT_NE(error_of([&] { tokenizer.encode("ab" + bad); }), "") << testing::PrintToString(bad);
    }
}

TEST_F(TokenizerTest, DecodesBytesAndDropsTheSpaceAfterBos) {
    const Tokenizer tokenizer = load(test_records());
    EXPECT_EQ(tokenizer.decode(kBos, kSpaceAb), "ab");
    EXPECT_EQ(tokenizer.decode(kA, kSpaceAb), " ab");
    EXPECT_EQ(tokenizer.decode(kA, 3 + 0x0A), "\n");
    EXPECT_EQ(tokenizer.decode(kA, 3 + 0xC3), "\xC3");
    EXPECT_EQ(tokenizer.decode(kA, 3), std::string(1, '\0'));
    EXPECT_EQ(tokenizer.decode(kA, 0), "<unk>");
}

TEST_F(TokenizerTest, DecodeUndoesEncode) {
    const Tokenizer tokenizer = load(test_records());
    for (const std::string text : {"abcabc aab  ba", "caf\xC3\xA9 \xE2\x82\xAC 42\n\t!", " starts with a space",
                                   "\xF0\x9F\xA6\x99", "<0x41>"}) {
        const Tokens tokens = tokenizer.encode(text);
        std::string decoded;
        for (std::size_t i = 1; i < tokens.size(); i++) decoded += tokenizer.decode(tokens[i - 1], tokens[i]);
        EXPECT_EQ(decoded, text);
    }
}

TEST(IsPrintable, LeavesOutSingleOddBytes) {
    EXPECT_TRUE(is_printable("a"));
    EXPECT_TRUE(is_printable("\n"));
    EXPECT_TRUE(is_printable("\xC3\xA9"));
    EXPECT_FALSE(is_printable("\xC3"));
    EXPECT_FALSE(is_printable("\x07"));
    EXPECT_FALSE(is_printable(std::string(1, '\0')));
}

TEST_F(TokenizerTest, RefusesAFileThatEndsEarly) {
    const std::vector<Record> records = test_records();
    const std::string bytes = tokenizer_bytes(records);
    for (std::size_t size = 1; size < bytes.size(); size += 7) {
        EXPECT_NE(error(bytes.substr(0, size), records.size()).find("the file ends at byte " + std::to_string(size)),
                  std::string::npos);
    }
    EXPECT_EQ(error("", 2), "file size: 0 bytes, the file is empty");
}

TEST_F(TokenizerTest, RefusesTheWrongCount) {
    const std::vector<Record> records = test_records();
    const std::string bytes = tokenizer_bytes(records);
    const std::string size = std::to_string(bytes.size());
    EXPECT_EQ(error(bytes, records.size()), "");
    EXPECT_EQ(error(bytes, records.size() + 1), "record 268: the file ends at byte " + size +
                                                    ", 8 bytes are needed at byte " + size + " (vocab_size is 269)");
    EXPECT_NE(error(bytes, records.size() - 1).find("file size: " + size + " bytes, "), std::string::npos);
}

TEST_F(TokenizerTest, RefusesBadLengthsAndScores) {
    std::string bytes = tokenizer_bytes({{"<unk>", 0}, {"<s>", 0}});
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
