// Byte-pair encoding: learns a vocabulary from words, and encodes words with it.
//
// BPE: Sennrich, Haddow, Birch, arXiv:1508.07909. The vocabulary is laid out as SentencePiece and llama2.c do it:
// 0 <unk>, 1 BOS, 2 EOS, 3 + b the byte b, then merges in the order in which they were learnt, then characters.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer.hpp"

namespace llama512::train {

constexpr int kFirstPiece = kFirstByte + 256;

/// How often each word occurs; the order is that of the bytes, so that it does not depend on the machine.
using WordCounts = std::map<std::string, std::uint64_t, std::less<>>;

class Bpe {
public:
    /// Learns a vocabulary of exactly `vocab_size` pieces: the most frequent characters (at most half of the pieces
    /// that are free; a rarer character is spelt in bytes), then the most frequent pair again and again.
    /// Throws Error when the words do not have so many pieces.
    static Bpe learn(const WordCounts& words, int vocab_size);

    /// Reads a llama2.c tokenizer.bin.
    static Bpe load(const std::string& path, int vocab_size);

    /// Writes a llama2.c tokenizer.bin.
    void save(const std::string& path) const;

    /// Appends the tokens of one word. Equal to llama2.c's encode of the whole text, word by word.
    void encode(std::string_view word, std::vector<int>& tokens) const;

    int size() const { return static_cast<int>(pieces_.size()); }
    const std::string& piece(int token) const { return pieces_[static_cast<std::size_t>(token)]; }

private:
    void add(std::string piece, float score);

    std::vector<std::string> pieces_;
    std::vector<float> scores_;
    std::unordered_map<std::string, int> tokens_;
};

}  // namespace llama512::train
