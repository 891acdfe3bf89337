// The program `tokenize`: learns a tokenizer from a corpus, and writes the corpus as tokens.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>

#include "arguments.hpp"
#include "bpe.hpp"
#include "files/mapped_file.hpp"
#include "files/output_file.hpp"
#include "stories.hpp"

namespace llama512::train {
namespace {

constexpr const char* kHelp = R"(Learns a BPE tokenizer from a corpus, and writes the corpus as tokens.

Usage: tokenize --corpus FILE --tokenizer FILE --tokens FILE [options]

  --corpus FILE      text, one story per paragraph (a blank line between two)
  --tokenizer FILE   tokenizer.bin in llama2.c's format
  --tokens FILE      uint16: BOS, the first story, BOS, the second story, BOS …
  --vocab-size N     pieces, 256 single bytes among them (default 512)
  --learn-bytes N    learn from the first N bytes of the corpus (default 67108864)
  --reuse 1          do not learn: the tokenizer exists, only write the tokens
  --seq-len N        leave out stories that do not fit with BOS at both ends (default 256)
)";

WordCounts count_words(std::string_view text) {
    // Words repeat: count in a hash table over stable copies, then sort.
    std::deque<std::string> copies;
    std::unordered_map<std::string_view, std::uint64_t> counts;
    std::string spaced;
    for_each_story(text, [&](std::string_view story) {
        spaced.assign(1, ' ').append(story);
        for_each_word(spaced, [&](std::string_view word) {
            const auto found = counts.find(word);
            if (found != counts.end()) {
                found->second++;
            } else {
                counts.emplace(copies.emplace_back(word), 1);
            }
        });
    });
    return WordCounts(counts.begin(), counts.end());
}

void tokenize(const Arguments& arguments) {
    const auto start = std::chrono::steady_clock::now();
    const MappedFile corpus(arguments.file("--corpus"));
    const auto vocab_size = arguments.number<int>("--vocab-size", kFirstPiece + 2, 32768);
    const auto learn_bytes = arguments.number<std::size_t>("--learn-bytes", 1, SIZE_MAX);
    const auto seq_len = arguments.number<std::size_t>("--seq-len", 4, 1 << 20);
    const std::string& tokenizer_path = arguments.file("--tokenizer");
    const bool reuse = arguments.number<int>("--reuse", 0, 1) == 1;

    if (!reuse) Bpe::learn(count_words(corpus.text().substr(0, learn_bytes)), vocab_size).save(tokenizer_path);
    const Bpe bpe = Bpe::load(tokenizer_path, vocab_size);

    OutputFile out(arguments.file("--tokens"));
    struct Span {
        std::size_t begin, size;
    };
    std::deque<std::string> copies;
    std::unordered_map<std::string_view, Span> known;  // words encoded before, and where in `encoded`
    std::vector<int> encoded;
    std::vector<std::uint16_t> tokens = {kBos};
    std::string spaced;
    std::size_t n_stories = 0, n_too_long = 0, n_tokens = 1, longest = 0;
    for_each_story(corpus.text(), [&](std::string_view story) {
        spaced.assign(1, ' ').append(story);
        const std::size_t begin = tokens.size();
        for_each_word(spaced, [&](std::string_view word) {
            auto found = known.find(word);
            if (found == known.end()) {
                const std::size_t first = encoded.size();
                bpe.encode(word, encoded);
                found = known.emplace(copies.emplace_back(word), Span{first, encoded.size() - first}).first;
            }
            for (std::size_t i = 0; i < found->second.size; i++) {
                tokens.push_back(static_cast<std::uint16_t>(encoded[found->second.begin + i]));
            }
        });
        const std::size_t length = tokens.size() - begin;
        longest = std::max(longest, length);
        // BOS and the story are fed; the BOS that ends it is predicted, not fed.
        if (length + 1 > seq_len) {
            tokens.resize(begin);
            n_too_long++;
            return;
        }
        tokens.push_back(kBos);
        n_stories++;
        n_tokens += length + 1;
        if (tokens.size() > (1 << 20)) {
            out.write(std::span(tokens));
            tokens.clear();
        }
    });
    if (n_stories == 0) {
        throw Error(arguments.text("--corpus"), "stories",
                    "none fits into seq_len " + std::to_string(seq_len) + ", try a larger --seq-len");
    }
    out.write(std::span(tokens));
    out.commit();

    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::fprintf(stderr, "tokenize: %zu stories, %.1f M tokens, %.1f per story, longest %zu, %zu too long, "
                 "%.2f bytes per token, %.1f s\n", n_stories, static_cast<double>(n_tokens) / 1e6,
                 static_cast<double>(n_tokens) / static_cast<double>(n_stories), longest, n_too_long,
                 static_cast<double>(corpus.text().size()) / static_cast<double>(n_tokens), seconds.count());
}

}  // namespace
}  // namespace llama512::train

int main(int argc, char** argv) {
    using namespace llama512::train;
    return run_program("tokenize", kHelp, argc, argv, [&] {
        tokenize(Arguments(argc, argv, {{"--corpus", ""}, {"--tokenizer", ""}, {"--tokens", ""}, {"--vocab-size", "512"},
                                        {"--learn-bytes", "67108864"}, {"--reuse", "0"}, {"--seq-len", "256"}}));
    });
}
