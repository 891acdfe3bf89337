#include "files/gguf_vocabulary.hpp"

#include <cmath>

#include "error.hpp"
#include "files/vocabulary.hpp"

namespace llama512 {

using std::size_t;
using std::string;
using std::to_string;

namespace {

constexpr const char* kScoresKey = "tokenizer.ggml.scores";
constexpr const char* kTypesKey = "tokenizer.ggml.token_type";
constexpr const char* kEosKey = "tokenizer.ggml.eos_token_id";
constexpr int kDefaultEos = 2;
constexpr int kMaxType = 6;
constexpr int kByteType = 6;
constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

/// What is wrong with one token.
[[noreturn]] void refuse(const Gguf& gguf, const char* key, size_t token, const string& message) {
    throw Error(gguf.path(), key, "token " + to_string(token) + ": " + message);
}

void require_default(const Gguf& gguf, const char* key, const char* value, const char* reason) {
    const string found = gguf.describe(key);
    if (found != "none" && found != value) gguf.refuse(key, string(value) + " is needed: " + reason);
}

/// One value for each token, as the key says.
template <typename T>
void check_count(const Gguf& gguf, const char* key, const std::optional<std::vector<T>>& values, size_t vocab_size) {
    if (values && values->size() != vocab_size) {
        gguf.refuse(key, to_string(vocab_size) + " are needed, one for each of " + kTokensKey);
    }
}

bool is_byte(std::string_view text) {
    const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); };
    return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') && digit(text[3]) && digit(text[4]);
}

string with_spaces(std::string_view text) {
    string piece;
    for (size_t i = 0; i < text.size();) {
        const bool space = text.substr(i).starts_with(kSpace);
        piece += space ? ' ' : text[i];
        i += space ? kSpace.size() : 1;
    }
    return piece;
}

}  // namespace

Vocabulary read_gguf_vocabulary(const Gguf& gguf) {
    if (gguf.text("tokenizer.ggml.model") != "llama") {
        gguf.refuse("tokenizer.ggml.model", "'llama' (SentencePiece) is needed, or another tokenizer with --tokenizer FILE");
    }
    require_default(gguf, "tokenizer.ggml.add_space_prefix", "true", "every text gets a space in front");
    require_default(gguf, "tokenizer.ggml.add_eos_token", "false", "the text after a prompt goes on");

    const auto tokens = gguf.texts(kTokensKey);
    if (!tokens) gguf.refuse(kTokensKey, "an array of strings is needed");
    const size_t vocab_size = tokens->size();
    const auto scores = gguf.numbers(kScoresKey);
    const auto types = gguf.integers(kTypesKey);
    check_count(gguf, kScoresKey, scores, vocab_size);
    check_count(gguf, kTypesKey, types, vocab_size);
    const auto eos = gguf.integer(kEosKey);
    if (eos && static_cast<size_t>(*eos) >= vocab_size) {
        gguf.refuse(kEosKey, "a token from 0 to " + to_string(vocab_size - 1) + " is needed");
    }

    Vocabulary vocabulary{.name = gguf.path(), .pieces = {}, .scores = {}};
    for (size_t token = 0; token < vocab_size; token++) {
        const std::string_view text = (*tokens)[token];
        const float score = scores ? (*scores)[token] : 0.0f;
        if (text.size() > kMaxPieceSize) {
            refuse(gguf, kTokensKey, token,
                   to_string(text.size()) + " bytes, at most " + to_string(kMaxPieceSize) + " are needed");
        }
        if (!std::isfinite(score)) refuse(gguf, kScoresKey, token, to_string(score) + ", a finite number is needed");
        if (types) {
            const std::int64_t type = (*types)[token];
            if (type < 1 || type > kMaxType) {
                refuse(gguf, kTypesKey, token, to_string(type) + ", a type from 1 to " + to_string(kMaxType) + " is needed");
            }
            if (type == kByteType && !is_byte(text)) {
                refuse(gguf, kTokensKey, token, "'" + shorten(text) + "', <0xNN> is needed for a token of type 6 (byte)");
            }
        }
        vocabulary.pieces.push_back(with_spaces(text));
        vocabulary.scores.push_back(score);
    }
    const size_t eos_token = eos ? static_cast<size_t>(*eos) : kDefaultEos;
    if (eos_token < vocab_size) vocabulary.pieces[eos_token] = "\n</s>\n";
    if (kBos < vocab_size) vocabulary.pieces[kBos] = "\n<s>\n";
    return vocabulary;
}

}  // namespace llama512
