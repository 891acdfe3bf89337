#include "fast/fast.hpp"

#include <algorithm>

#include "fast/fast_kernels.hpp"
#include "fast/levels.hpp"
#include "threads.hpp"
#include "timings.hpp"

namespace llama512 {

using std::size_t;

std::vector<std::string> fast_levels() {
    std::vector<std::string> names;
    for (const fast::Level* level : fast::levels()) names.emplace_back(level->name);
    return names;
}

std::unique_ptr<Kernels> fast_kernels(size_t threads, const std::string& level) {
    return std::make_unique<fast::FastKernels>(fast::find_level(level), threads);
}

double read_bandwidth(const std::vector<std::span<const std::byte>>& memory, size_t threads) {
    constexpr int kTimes = 5;
    constexpr size_t kPiece = 16 * 1024;  // values
    const fast::Level& level = fast::find_level("");
    size_t bytes = 0;
    double best = 0;
    for (int time = 0; time < kTimes; time++) {
        const Stopwatch watch;
        bytes = 0;
        for (const std::span<const std::byte> part : memory) {
            const auto* const values = reinterpret_cast<const float*>(part.data());
            const size_t n = part.size() / sizeof(float);
            bytes += part.size();
            parallel(threads, (n + kPiece - 1) / kPiece, [&](size_t first, size_t last) {
                // Kept, so that the compiler does not leave it out.
                volatile float result = level.read(values + first * kPiece, std::min(last * kPiece, n) - first * kPiece);
                (void)result;
            });
        }
        best = std::max(best, static_cast<double>(bytes) / watch.seconds());
    }
    return best;
}

}  // namespace llama512
