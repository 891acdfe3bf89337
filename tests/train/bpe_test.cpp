// BPE: what it learns, and that its word-by-word encoding is that of the reference's tokenizer on the whole text.

#include "bpe.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "error.hpp"
#include "files/vocabulary.hpp"
#include "grammar.hpp"
#include "stories.hpp"
#include "tokenizer.hpp"

namespace llama512::train {
namespace {

WordCounts count(std::string_view text) {
    WordCounts words;
    for_each_word(text, [&](std::string_view word) { words[std::string(word)]++; });
    return words;
}

std::vector<int> encode(const Bpe& bpe, std::string_view story) {
    std::vector<int> tokens = {kBos};
    std::string spaced = " ";
    spaced += story;
    for_each_word(spaced, [&](std::string_view word) { bpe.encode(word, tokens); });
    return tokens;
}

TEST(Stories, AreParagraphsWithSingleSpaces) {
    std::vector<std::string> stories;
    for_each_story("\n\n One  day,\nit rained. \n \nThe end.\r\n\r\n\tAnd more", [&](std::string_view s) { stories.emplace_back(s); });
    EXPECT_EQ(stories, (std::vector<std::string>{"One day, it rained.", "The end.", "And more"}));
}

TEST(Words, AreRunsOfLettersOrPunctuationWithTheSpaceBefore) {
    std::vector<std::string> words;
    for_each_word(" \"Don't!\" said Zoë.", [&](std::string_view word) { words.emplace_back(word); });
    EXPECT_EQ(words, (std::vector<std::string>{" \"", "Don't", "!\"", " said", " Zoë", "."}));
}

TEST(Bpe, MergesTheMostFrequentPairFirst) {
    const Bpe bpe = Bpe::learn({{" aab", 5}, {" ab", 4}, {"c", 1}}, kFirstPiece + 8);
    EXPECT_EQ(bpe.piece(0), "<unk>");
    EXPECT_EQ(bpe.piece(kFirstByte + 10), "<0x0A>");
    EXPECT_EQ(bpe.piece(kFirstPiece), "ab");  // 9 times, as " a"; its symbols come first
    EXPECT_EQ(bpe.size(), kFirstPiece + 8);
}

TEST(Bpe, RefusesATextThatHasTooFewPieces) {
    EXPECT_THROW(Bpe::learn({{"ab", 1}}, 512), Error);
    EXPECT_THROW(Bpe::learn({{"ab", 1}}, 260), Error);
}

TEST(Bpe, EncodesAsTheReferenceDoes) {
    const Grammar grammar(GRAMMAR);
    std::string text;
    for (std::uint64_t i = 0; i < 2000; i++) {
        grammar.tell(3, i, text += ' ');
    }
    const auto path = std::filesystem::temp_directory_path() / ("llama512-bpe-test-" + std::to_string(getpid()));
    Bpe::learn(count(text), 512).save(path);
    const Bpe bpe = Bpe::load(path, 512);
    const Tokenizer reference(read_vocabulary(path, 512));
    std::filesystem::remove(path);

    std::vector<std::string> stories = {"Zoë ate 42 crêpes; \"why?\" -- it's a [secret]!", "x", "don't... (stop)", "日本 \x01"};
    for (std::uint64_t i = 0; i < 100; i++) {
        stories.emplace_back();
        grammar.tell(4, i, stories.back());
    }
    for (const std::string& story : stories) {
        const std::vector<int> tokens = encode(bpe, story);
        EXPECT_EQ(tokens, reference.encode(story)) << story;
        std::string decoded;
        for (std::size_t i = 1; i < tokens.size(); i++) decoded += reference.decode(tokens[i - 1], tokens[i]);
        EXPECT_EQ(decoded, story);
    }
}

TEST(Grammar, TellsTheSameStoryForTheSameSeedAndIndex) {
    const Grammar grammar(GRAMMAR);
    const auto tell = [&](std::uint64_t seed, std::uint64_t index) {
        std::string story;
        grammar.tell(seed, index, story);
        return story;
    };
    EXPECT_EQ(tell(1, 5), tell(1, 5));
    EXPECT_NE(tell(1, 5), tell(1, 6));
    EXPECT_NE(tell(1, 5), tell(2, 5));
}

TEST(Grammar, NeverMakesAReservedName) {
    Random random(5);
    for (int i = 0; i < 300000; i++) {
        const std::string name = make_name(random);
        ASSERT_EQ(std::ranges::count(kReservedNames, name), 0) << name;
        ASSERT_TRUE(name.size() >= 3 && name.size() <= 6) << name;
    }
}

}  // namespace
}  // namespace llama512::train
