// Text to tokens and back, on a small vocabulary.

#include "tokenizer.hpp"

#include <cstdio>
#include <gtest/gtest.h>

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

Tokenizer load(const std::vector<Record>& records) {
    Vocabulary vocabulary{.name = "tokenizer.bin", .pieces = {}, .scores = {}};
    for (const Record& record : records) {
        vocabulary.pieces.push_back(record.piece);
        vocabulary.scores.push_back(record.score);
    }
    return Tokenizer(std::move(vocabulary));
}

TEST(Tokenizer, EmptyTextIsBosAlone) { EXPECT_EQ(load(test_records()).encode(""), (Tokens{kBos})); }

TEST(Tokenizer, PutsASpaceInFront) {
    EXPECT_EQ(load(test_records()).encode("c"), (Tokens{kBos, kSpace, kC}));
    EXPECT_EQ(load(test_records()).encode("b"), (Tokens{kBos, kSpace, kB}));
}

TEST(Tokenizer, MergesTheBestScoreFirst) {
    // " abc": "bc" (-1) beats "ab" (-2), and then nothing merges " ", "a", "bc".
    EXPECT_EQ(load(test_records()).encode("abc"), (Tokens{kBos, kSpace, kA, kBc}));
    EXPECT_EQ(load(test_records()).encode("cab"), (Tokens{kBos, kSpace, kC, kAb}));
    // " ab": "ab", and then " ab".
    EXPECT_EQ(load(test_records()).encode("ab"), (Tokens{kBos, kSpaceAb}));
}

TEST(Tokenizer, MergesTheLeftmostOnATie) {
    EXPECT_EQ(load(test_records()).encode("aaa"), (Tokens{kBos, kSpace, kAa, kA}));
}

TEST(Tokenizer, BosIsNoText) {
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

TEST(Tokenizer, UsesACharacterOfSeveralBytesWhole) {
    EXPECT_EQ(load(test_records()).encode("\xE2\x82\xAC"), (Tokens{kBos, kSpace, kEuro}));
}

TEST(Tokenizer, FallsBackToBytes) {
    // U+00E9 is C3 A9.
    EXPECT_EQ(load(test_records()).encode("\xC3\xA9"), (Tokens{kBos, kSpace, 3 + 0xC3, 3 + 0xA9}));
    EXPECT_EQ(load(byte_records()).encode("!"), (Tokens{kBos, 3 + ' ', 3 + '!'}));
    EXPECT_EQ(load(byte_records()).encode(std::string(1, '\0')), (Tokens{kBos, 3 + ' ', 3}));
}

TEST(Tokenizer, RefusesBytesThatTheVocabularyLacks) {
    const Tokenizer tokenizer = load({{"<unk>", 0}, {"<s>", 0}, {"</s>", 0}, {" ", 0}, {"a", 0}});
    EXPECT_EQ(tokenizer.encode("a"), (Tokens{kBos, 3, 4}));
    EXPECT_EQ(error_of([&] { tokenizer.encode("ab", "--prompt"); }),
              "--prompt: byte 1: 0x62 has no token in tokenizer.bin, text that its vocabulary can spell is needed");
}

TEST(Tokenizer, RefusesByteTokensThatAreOtherText) {
    std::vector<Record> records = byte_records();
    records[3 + '!'].piece = "x";
    EXPECT_NE(error_of([&] { load(records).encode("!"); }).find("0x21 has no token"), std::string::npos);
}

TEST(Tokenizer, AcceptsUtf8AndRefusesTheRest) {
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

TEST(Tokenizer, DecodesBytesAndDropsTheSpaceAfterBos) {
    const Tokenizer tokenizer = load(test_records());
    EXPECT_EQ(tokenizer.decode(kBos, kSpaceAb), "ab");
    EXPECT_EQ(tokenizer.decode(kA, kSpaceAb), " ab");
    EXPECT_EQ(tokenizer.decode(kA, 3 + 0x0A), "\n");
    EXPECT_EQ(tokenizer.decode(kA, 3 + 0xC3), "\xC3");
    EXPECT_EQ(tokenizer.decode(kA, 3), std::string(1, '\0'));
    EXPECT_EQ(tokenizer.decode(kA, 0), "<unk>");
}

TEST(Tokenizer, DecodeUndoesEncode) {
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

}  // namespace
}  // namespace llama512::test
