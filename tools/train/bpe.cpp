#include "bpe.hpp"

#include <algorithm>
#include <cstdio>

#include "error.hpp"
#include "files/output_file.hpp"
#include "files/vocabulary.hpp"

namespace llama512::train {

using std::size_t;
using std::string;
using std::string_view;

namespace {

/// The bytes of the UTF-8 character that starts with this byte (1 for a byte that starts none).
size_t character_length(char first) {
    const auto byte = static_cast<unsigned char>(first);
    return byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
}

template <typename Visit>
void for_each_character(string_view text, Visit visit) {
    for (size_t i = 0; i < text.size();) {
        const string_view character = text.substr(i, character_length(text[i]));
        visit(character);
        i += character.size();
    }
}

/// The pieces that every vocabulary begins with.
std::vector<string> special_pieces() {
    std::vector<string> pieces = {"<unk>", "\n<s>\n", "\n</s>\n"};
    for (int byte = 0; byte < 256; byte++) {
        char piece[8];
        std::snprintf(piece, sizeof piece, "<0x%02X>", byte);
        pieces.emplace_back(piece);
    }
    return pieces;
}

}  // namespace

void Bpe::add(string piece, float score) {
    tokens_.try_emplace(piece, size());
    pieces_.push_back(std::move(piece));
    scores_.push_back(score);
}

Bpe Bpe::learn(const WordCounts& words, int vocab_size) {
    const int n_free = vocab_size - kFirstPiece;
    if (n_free < 2) throw Error("tokenizer", "vocab_size", std::to_string(vocab_size) + ", at least 261 is needed");

    // The alphabet: the most frequent characters. Symbols are numbered: characters first, then merges.
    std::map<string, std::uint64_t, std::less<>> character_counts;
    for (const auto& [word, count] : words) {
        for_each_character(word, [&](string_view character) { character_counts[string(character)] += count; });
    }
    std::vector<std::pair<string, std::uint64_t>> alphabet(character_counts.begin(), character_counts.end());
    std::ranges::stable_sort(alphabet, std::greater<>(), [](const auto& entry) { return entry.second; });
    alphabet.resize(std::min(alphabet.size(), static_cast<size_t>(n_free) / 2));
    std::vector<string> symbols;
    std::map<string, int, std::less<>> symbol_of;
    for (const auto& [character, count] : alphabet) {
        symbol_of[character] = static_cast<int>(symbols.size());
        symbols.push_back(character);
    }
    const size_t n_characters = symbols.size();

    // Each word as symbols; -1 stands for a character outside the alphabet and never merges.
    struct Word {
        std::vector<int> symbols;
        std::uint64_t count;
    };
    std::vector<Word> spelt;
    for (const auto& [word, count] : words) {
        spelt.push_back({{}, count});
        for_each_character(word, [&](string_view character) {
            const auto found = symbol_of.find(character);
            spelt.back().symbols.push_back(found == symbol_of.end() ? -1 : found->second);
        });
    }

    // How often each pair of neighbours occurs, and the words that have it (or had it once).
    struct Pair {
        std::uint64_t count = 0;
        std::vector<size_t> words;
    };
    std::unordered_map<std::uint64_t, Pair> pairs;  // by left << 32 | right
    const auto count_pairs = [&](size_t index, bool add) {
        const Word& word = spelt[index];
        for (size_t i = 0; i + 1 < word.symbols.size(); i++) {
            const int left = word.symbols[i], right = word.symbols[i + 1];
            if (left < 0 || right < 0) continue;
            Pair& pair = pairs[static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right)];
            if (add) {
                pair.count += word.count;
                if (pair.words.empty() || pair.words.back() != index) pair.words.push_back(index);
            } else {
                pair.count -= word.count;
            }
        }
    };
    for (size_t index = 0; index < spelt.size(); index++) count_pairs(index, true);

    // Merge the most frequent pair; of equals, the one whose symbols came first.
    while (symbols.size() < static_cast<size_t>(n_free)) {
        std::uint64_t best = 0, best_count = 0;
        for (const auto& [key, pair] : pairs) {
            if (pair.count > best_count || (pair.count == best_count && key < best)) {
                best = key;
                best_count = pair.count;
            }
        }
        if (best_count == 0) {
            throw Error("corpus", "vocab_size",
                        std::to_string(vocab_size) + ", but only " +
                            std::to_string(kFirstPiece + static_cast<int>(symbols.size())) +
                            " pieces can be made of it: more text or a smaller vocabulary is needed");
        }
        const int left = static_cast<int>(best >> 32), right = static_cast<int>(best & 0xFFFFFFFF);
        const int merged = static_cast<int>(symbols.size());
        symbols.push_back(symbols[static_cast<size_t>(left)] + symbols[static_cast<size_t>(right)]);
        const std::vector<size_t> words_with_pair = std::move(pairs[best].words);
        for (const size_t index : words_with_pair) {
            count_pairs(index, false);
            std::vector<int>& spelling = spelt[index].symbols;
            size_t out = 0;
            for (size_t i = 0; i < spelling.size(); i++) {
                const bool pair = i + 1 < spelling.size() && spelling[i] == left && spelling[i + 1] == right;
                spelling[out++] = pair ? merged : spelling[i];
                i += pair;
            }
            spelling.resize(out);
            count_pairs(index, true);
        }
        pairs.erase(best);
    }

    Bpe bpe;
    for (string& piece : special_pieces()) bpe.add(std::move(piece), 0.0f);
    const auto add = [&](size_t symbol) {
        bpe.add(symbols[symbol], -static_cast<float>(bpe.size() - kFirstPiece));
    };
    for (size_t symbol = n_characters; symbol < symbols.size(); symbol++) add(symbol);
    for (size_t symbol = 0; symbol < n_characters; symbol++) add(symbol);
    return bpe;
}

Bpe Bpe::load(const string& path, int vocab_size) {
    Vocabulary vocabulary = read_vocabulary(path, static_cast<size_t>(vocab_size));
    Bpe bpe;
    for (size_t token = 0; token < vocabulary.pieces.size(); token++) {
        bpe.add(std::move(vocabulary.pieces[token]), vocabulary.scores[token]);
    }
    return bpe;
}

void Bpe::save(const string& path) const {
    OutputFile file(path);
    const auto longest = std::ranges::max_element(pieces_, {}, &string::size)->size();
    file.write_value(static_cast<std::int32_t>(longest));
    for (size_t token = 0; token < pieces_.size(); token++) {
        file.write_value(scores_[token]);
        file.write_value(static_cast<std::int32_t>(pieces_[token].size()));
        file.write(pieces_[token]);
    }
    file.commit();
}

void Bpe::encode(string_view word, std::vector<int>& tokens) const {
    std::vector<int> symbols;
    for_each_character(word, [&](string_view character) {
        const auto found = tokens_.find(string(character));
        if (found != tokens_.end()) {
            symbols.push_back(found->second);
        } else {
            for (const char byte : character) symbols.push_back(kFirstByte + static_cast<unsigned char>(byte));
        }
    });
    // Merge the pair whose piece has the best score, the leftmost of equals, until no pair is a piece.
    while (true) {
        size_t best = symbols.size();
        int best_token = -1;
        for (size_t i = 0; i + 1 < symbols.size(); i++) {
            const auto found = tokens_.find(piece(symbols[i]) + piece(symbols[i + 1]));
            if (found == tokens_.end()) continue;
            const auto score = [&](int token) { return scores_[static_cast<size_t>(token)]; };
            if (best_token < 0 || score(found->second) > score(best_token)) {
                best = i;
                best_token = found->second;
            }
        }
        if (best_token < 0) break;
        symbols[best] = best_token;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    tokens.insert(tokens.end(), symbols.begin(), symbols.end());
}

}  // namespace llama512::train
