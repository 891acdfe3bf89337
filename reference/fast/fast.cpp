#include "fast/fast.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "fast/fast_kernels.hpp"
#include "fast/levels.hpp"
#include "threads.hpp"
#include "timings.hpp"

namespace llama512 {

using std::size_t;

namespace {

/// Memory is shared out to threads in pieces of so many values.
constexpr size_t kPiece = 1 << 16;

std::span<const float> piece(std::span<const float> values, size_t first, size_t last) {
    return values.subspan(first * kPiece, std::min(last * kPiece, values.size()) - first * kPiece);
}

}  // namespace

std::vector<std::string> fast_levels() {
    std::vector<std::string> names;
    for (const fast::Level* level : fast::levels()) names.emplace_back(level->name);
    return names;
}

std::unique_ptr<Kernels> fast_kernels(size_t threads, const std::string& level) {
    return std::make_unique<fast::FastKernels>(fast::find_level(level), threads);
}

bool all_finite(std::span<const float> values, size_t threads) {
    const fast::Level& level = fast::find_level("");
    std::atomic<bool> result = true;
    parallel(threads_for(values.size(), threads), (values.size() + kPiece - 1) / kPiece, [&](size_t first, size_t last) {
        const std::span<const float> part = piece(values, first, last);
        if (!std::isfinite(level.largest(part.data(), part.size()))) result = false;
    });
    return result;
}

double read_bandwidth(const std::vector<std::span<const std::byte>>& memory, size_t threads) {
    constexpr int kTimes = 5;
    const fast::Level& level = fast::find_level("");
    size_t bytes = 0;
    double best = 0;
    for (int time = 0; time < kTimes; time++) {
        const Stopwatch watch;
        bytes = 0;
        for (const std::span<const std::byte> part : memory) {
            const std::span values(reinterpret_cast<const float*>(part.data()), part.size() / sizeof(float));
            bytes += part.size();
            parallel(threads_for(values.size(), threads), (values.size() + kPiece - 1) / kPiece, [&](size_t first, size_t last) {
                const std::span<const float> some = piece(values, first, last);
                // Kept, so that the compiler does not leave it out.
                volatile float result = level.read(some.data(), some.size());
                (void)result;
            });
        }
        best = std::max(best, static_cast<double>(bytes) / watch.seconds());
    }
    return best;
}

}  // namespace llama512
