// The program `corpus`: any number of stories out of a grammar, one per paragraph.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "arguments.hpp"
#include "files/output_file.hpp"
#include "grammar.hpp"

namespace llama512::train {
namespace {

constexpr const char* kHelp = R"(Writes stories out of a grammar, one per paragraph.

Usage: corpus --grammar FILE --out FILE [--stories N] [--seed N]

  --grammar FILE  lists, plots and sentences; see fables.grammar
  --out FILE      the text; story i depends on the seed and i alone
  --stories N     how many (default 400000, about 250 MB)
  --seed N        default 1

The last line says how many stories are repeats of an earlier one.
)";

/// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv
std::uint64_t hash(std::string_view text) {
    std::uint64_t value = 0xCBF29CE484222325;
    for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    return value;
}

void write_corpus(const Arguments& arguments) {
    const Grammar grammar(arguments.file("--grammar"));
    const auto n_stories = arguments.number<std::uint64_t>("--stories", 1, 1'000'000'000);
    const auto seed = arguments.number<std::uint64_t>("--seed", 0, UINT64_MAX);
    OutputFile out(arguments.file("--out"));

    const auto start = std::chrono::steady_clock::now();
    std::vector<std::uint64_t> hashes;
    hashes.reserve(n_stories);
    std::uint64_t n_bytes = 0;
    std::string text;
    for (std::uint64_t i = 0; i < n_stories; i++) {
        const std::size_t begin = text.size();
        grammar.tell(seed, i, text);
        hashes.push_back(hash(std::string_view(text).substr(begin)));
        text += "\n\n";
        if (text.size() > (1 << 20) || i + 1 == n_stories) {
            out.write(text);
            n_bytes += text.size();
            text.clear();
        }
    }
    out.commit();

    std::ranges::sort(hashes);
    const auto repeats = std::ranges::unique(hashes);
    const double share = static_cast<double>(repeats.size()) / static_cast<double>(n_stories);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::fprintf(stderr, "corpus: %llu stories, %.1f MB, %.4f %% repeats, %.1f s\n",
                 static_cast<unsigned long long>(n_stories), static_cast<double>(n_bytes) / 1e6, 100 * share,
                 seconds.count());
}

}  // namespace
}  // namespace llama512::train

int main(int argc, char** argv) {
    using namespace llama512::train;
    return run_program("corpus", kHelp, argc, argv, [&] {
        write_corpus(Arguments(argc, argv, {{"--grammar", ""}, {"--out", ""}, {"--stories", "400000"}, {"--seed", "1"}}));
    });
}
