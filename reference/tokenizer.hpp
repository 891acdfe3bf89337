// Text to tokens and back, by byte-pair encoding (BPE) as SentencePiece and llama2.c do it.
//
// Tokens 0, 1, 2 are <unk>, BOS and EOS; token 3 + b is the byte b, written "<0xNN>".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace llama512 {

constexpr int kBos = 1;        // begins every sequence; a model that generates it has finished
constexpr int kFirstByte = 3;  // the token of byte 0

/// What a tokenizer knows, wherever it comes from.
struct Vocabulary {
    std::string name;                 // for messages
    std::vector<std::string> pieces;  // (vocab_size) the text of each token
    std::vector<float> scores;        // (vocab_size) the best one merges first; finite
};

/// The length in bytes of the UTF-8 character at the start of `text`, or 0 when it is not valid.
/// The ranges are those of the Unicode Standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
std::size_t utf8_length(std::string_view text);

class Tokenizer {
public:
    explicit Tokenizer(Vocabulary vocabulary);

    /// The tokens of `text`, after BOS. A text that is not empty gets a space in front, as in llama2.c.
    ///
    /// Each character (code point) is one token, or one token per byte when the vocabulary lacks it. Then the
    /// adjacent pair whose concatenation has the best score is merged, the leftmost on a tie, until no pair merges.
    /// BOS is no text: it takes part in no merge, and no text becomes it (llama2.c merges whatever has a piece).
    ///
    /// Throws Error, naming the byte offset, when the text is not valid UTF-8 (llama2.c accepts such text),
    /// or when the vocabulary has no token for a byte. `source` is the text's name for messages.
    std::vector<int> encode(std::string_view text, const std::string& source = "text") const;

    /// The text of `token` when it follows `previous`: "<0xNN>" is that byte, and after BOS one leading space
    /// is dropped. Needs 0 <= token < vocab_size.
    std::string decode(int previous, int token) const;

    /// The most bytes of text that one token can stand for.
    std::size_t longest_piece() const { return longest_piece_; }

private:
    const std::string& piece(int token) const;
    int lookup(const std::string& piece) const;
    int byte_token(unsigned char byte, const std::string& source, std::size_t offset) const;
    void merge(std::vector<int>& tokens) const;

    Vocabulary vocabulary_;
    std::size_t longest_piece_ = 0;
    std::unordered_map<std::string, int> tokens_;  // piece to token, but BOS; the lowest token when pieces are equal
};

/// Whether llama2.c prints this piece. It leaves out single bytes that are neither printable ASCII nor white space.
bool is_printable(std::string_view piece);

}  // namespace llama512
