#include "tokenizer.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <limits>
#include <utility>

#include "error.hpp"

namespace llama512 {

using std::size_t;
using std::to_string;

namespace {

constexpr int kNone = -1;

/// "0x" and two digits.
std::string hex(unsigned char byte) {
    char text[5];
    std::snprintf(text, sizeof text, "0x%02X", byte);
    return text;
}

/// The piece with "<0xNN>" replaced by that byte.
std::string unescape(const std::string& piece) {
    if (piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>')) {
        unsigned char byte = 0;
        const char* const digits = piece.data() + 3;
        if (std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
            return std::string(1, static_cast<char>(byte));
        }
    }
    return piece;
}

}  // namespace

size_t utf8_length(std::string_view text) {
    const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
    const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
    const int first = byte(0);
    const int second = byte(1);
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        if (first == 0xE0 && second < 0xA0) return 0;  // overlong
        if (first == 0xED && second > 0x9F) return 0;  // surrogate
        return continues(1) && continues(2) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        if (first == 0xF0 && second < 0x90) return 0;  // overlong
        if (first == 0xF4 && second > 0x8F) return 0;  // above U+10FFFF
        return continues(1) && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
    for (size_t token = 0; token < vocabulary_.pieces.size(); token++) {
        const std::string& text = vocabulary_.pieces[token];
        longest_piece_ = std::max(longest_piece_, text.size());
        if (token != kBos) tokens_.try_emplace(text, static_cast<int>(token));
    }
}

std::vector<int> Tokenizer::encode(std::string_view text, const std::string& source) const {
    std::vector<int> tokens = {kBos};
    const auto append_character = [&](std::string_view character, size_t offset) {
        const int token = lookup(std::string(character));
        if (token != kNone) {
            tokens.push_back(token);
        } else {
            for (const char byte : character) {
                tokens.push_back(byte_token(static_cast<unsigned char>(byte), source, offset));
            }
        }
    };

    if (!text.empty()) append_character(" ", 0);
    size_t offset = 0;
    while (offset < text.size()) {
        const size_t length = utf8_length(text.substr(offset));
        if (length == 0) {
            throw Error(source, "byte " + to_string(offset),
                        hex(static_cast<unsigned char>(text[offset])) + " does not start a valid UTF-8 character, "
                        "UTF-8 text is needed");
        }
        append_character(text.substr(offset, length), offset);
        offset += length;
    }

    merge(tokens);
    return tokens;
}

/// Merges the best pair of neighbours, again and again, until there is none. BOS is tokens[0], and stays.
void Tokenizer::merge(std::vector<int>& tokens) const {
    // merged[i]: the token that tokens[i] and tokens[i + 1] make together, or kNone
    std::vector<int> merged(tokens.size() - 1, kNone);
    const auto update = [&](size_t i) {
        merged[i] = lookup(piece(tokens[i]) + piece(tokens[i + 1]));
    };
    for (size_t i = 1; i < merged.size(); i++) update(i);

    while (true) {
        float best_score = -std::numeric_limits<float>::infinity();
        size_t best = merged.size();
        for (size_t i = 0; i < merged.size(); i++) {
            if (merged[i] == kNone) continue;
            const float score = vocabulary_.scores[static_cast<size_t>(merged[i])];
            if (score > best_score) {
                best_score = score;
                best = i;
            }
        }
        if (best == merged.size()) return;

        tokens[best] = merged[best];
        tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
        merged.erase(merged.begin() + static_cast<std::ptrdiff_t>(best));
        if (best > 1) update(best - 1);
        if (best < merged.size()) update(best);
    }
}

std::string Tokenizer::decode(int previous, int token) const {
    const std::string& text = piece(token);
    if (previous == kBos && text.starts_with(' ')) return unescape(text.substr(1));
    return unescape(text);
}

const std::string& Tokenizer::piece(int token) const { return vocabulary_.pieces[static_cast<size_t>(token)]; }

/// The token whose text is `piece`, or kNone.
int Tokenizer::lookup(const std::string& piece) const {
    const auto found = tokens_.find(piece);
    return found == tokens_.end() ? kNone : found->second;
}

int Tokenizer::byte_token(unsigned char byte, const std::string& source, size_t offset) const {
    const int token = kFirstByte + byte;
    const bool exists = static_cast<size_t>(token) < vocabulary_.pieces.size();
    if (!exists || unescape(piece(token)) != std::string(1, static_cast<char>(byte))) {
        throw Error(source, "byte " + to_string(offset),
                    hex(byte) + " has no token in " + vocabulary_.name + ", text that its vocabulary can spell is needed");
    }
    return token;
}

bool is_printable(std::string_view piece) {
    if (piece.size() != 1) return true;
    const unsigned char byte = static_cast<unsigned char>(piece[0]);
    return std::isprint(byte) || std::isspace(byte);
}

}  // namespace llama512
