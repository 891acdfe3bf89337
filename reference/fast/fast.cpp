#include "fast/fast.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "fast/level.hpp"
#include "threads.hpp"
#include "timings.hpp"

namespace llama512 {

using std::size_t;

namespace fast {

extern const Level baseline;
#ifdef LLAMA512_X86_LEVELS
extern const Level avx2;
extern const Level avx512;
#endif

namespace {

/// The levels that this processor can run.
std::vector<const Level*> levels() {
    std::vector<const Level*> result = {&baseline};
#ifdef LLAMA512_X86_LEVELS
    if (__builtin_cpu_supports("avx2")) result.push_back(&avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        result.push_back(&avx512);
    }
#endif
    return result;
}

/// A thread for each so many products: to start one takes as long as some ten thousand of them.
constexpr size_t kProductsPerThread = 100'000;

/// Rows of a matrix are shared out in pieces of so many.
constexpr size_t kRowsPerPiece = 16;

class FastKernels : public Kernels {
public:
    FastKernels(const Level& level, size_t threads) : level_(level), threads_(threads) {}

    std::string name() const override { return std::string("fast-") + level_.name; }

    void matmul(std::span<float> out, std::span<const float> x, std::span<const float> w, size_t rows) const override {
        const size_t d = out.size() / rows;
        const size_t n = x.size() / rows;
        parallel(threads_for(out.size() * n), (d + kRowsPerPiece - 1) / kRowsPerPiece, [&](size_t first, size_t last) {
            level_.matmul(out.data(), d, x.data(), rows, w.data(), n, first * kRowsPerPiece, std::min(last * kRowsPerPiece, d));
        });
    }

    float rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
                  float epsilon) const override {
        return level_.rmsnorm(out.data(), x.data(), weight.data(), x.size(), epsilon);
    }

    void rope(std::span<float> x, std::span<const float> cos, std::span<const float> sin) const override {
        const size_t head_size = 2 * cos.size();
        level_.rope(x.data(), x.size() / head_size, cos.data(), sin.data(), head_size);
    }

    float attention(std::span<float> out, std::span<const float> q, std::span<const float> k, std::span<const float> v,
                    const KvLayer& cache, size_t pos, size_t head_size) const override {
        const size_t kv_dim = k.size();
        const size_t n_kv_heads = kv_dim / head_size;
        const size_t group = q.size() / kv_dim;  // query heads that share a key and value head
        const size_t block = pos / kPositionBlock;
        const size_t lane = pos % kPositionBlock;
        remember(cache.keys, k, block, lane);
        remember(cache.values, v, block, lane);

        std::vector<float> largest(n_kv_heads);
        parallel(threads_for(2 * q.size() * (pos + 1)), n_kv_heads, [&](size_t first, size_t last) {
            std::vector<float> scores((block + 1) * kPositionBlock);
            for (size_t head = first; head < last; head++) {
                const size_t queries = head * group * head_size;
                const size_t component = head * head_size * kPositionBlock;
                largest[head] = level_.attention(out.data() + queries, q.data() + queries, group,
                                                 cache.keys.data() + component, cache.values.data() + component, kv_dim,
                                                 pos, head_size, scores.data());
            }
        });
        return *std::ranges::max_element(largest);
    }

    void swiglu(std::span<float> gate, std::span<const float> up) const override {
        level_.swiglu(gate.data(), up.data(), gate.size());
    }
    void add(std::span<float> x, std::span<const float> y) const override { level_.add(x.data(), y.data(), x.size()); }
    float largest(std::span<const float> x) const override { return level_.largest(x.data(), x.size()); }

private:
    size_t threads_for(size_t products) const { return std::clamp<size_t>(products / kProductsPerThread, 1, threads_); }

    /// A cache is (blocks, kv_dim, 16 positions): a component of 16 positions fills the lanes. A new block is cleared, for its
    /// lanes are all read, and 0 times what was in the memory before might be NaN.
    static void remember(std::span<float> cache, std::span<const float> values, size_t block, size_t lane) {
        const std::span<float> lanes = slice(cache, block, values.size() * kPositionBlock);
        if (lane == 0) std::ranges::fill(lanes, 0.0f);
        for (size_t i = 0; i < values.size(); i++) lanes[i * kPositionBlock + lane] = values[i];
    }

    const Level& level_;
    size_t threads_;
};

}  // namespace
}  // namespace fast

std::vector<std::string> fast_levels() {
    std::vector<std::string> names;
    for (const fast::Level* level : fast::levels()) names.emplace_back(level->name);
    return names;
}

std::unique_ptr<Kernels> fast_kernels(size_t threads, const std::string& level) {
    const std::vector<const fast::Level*> levels = fast::levels();
    const auto found = std::ranges::find_if(levels, [&](const fast::Level* l) { return level.empty() || level == l->name; });
    const fast::Level* const chosen = level.empty() ? levels.back() : found == levels.end() ? nullptr : *found;
    if (chosen == nullptr) throw std::out_of_range("fast_kernels: level");
    return std::make_unique<fast::FastKernels>(*chosen, threads);
}

double read_bandwidth(const std::vector<std::span<const std::byte>>& memory, size_t threads) {
    constexpr int kTimes = 5;
    constexpr size_t kPiece = 16 * 1024;  // values
    const fast::Level& level = *fast::levels().back();
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
