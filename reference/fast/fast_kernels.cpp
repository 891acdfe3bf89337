#include "fast/fast_kernels.hpp"

#include <algorithm>
#include <vector>

#include "threads.hpp"

namespace llama512::fast {

using std::size_t;

namespace {

/// Rows of a matrix are shared out in pieces of so many.
constexpr size_t kRowsPerPiece = 16;

/// A cache is (blocks, kv_dim, 16 positions): a component of 16 positions fills the lanes. A new block is cleared, for its
/// lanes are all read, and 0 times what was in the memory before might be NaN.
void remember(std::span<float> cache, std::span<const float> values, size_t block, size_t lane) {
    const std::span<float> lanes = slice(cache, block, values.size() * kPositionBlock);
    if (lane == 0) std::ranges::fill(lanes, 0.0f);
    for (size_t i = 0; i < values.size(); i++) lanes[i * kPositionBlock + lane] = values[i];
}

}  // namespace

std::string FastKernels::name() const { return std::string("fast-") + level_.name; }

void FastKernels::matmul(std::span<float> out, std::span<const float> x, std::span<const float> w, size_t rows) const {
    const size_t d = out.size() / rows;
    const size_t n = x.size() / rows;
    parallel(threads_for(out.size() * n, threads_), (d + kRowsPerPiece - 1) / kRowsPerPiece, [&](size_t first, size_t last) {
        level_.matmul(out.data(), d, x.data(), rows, w.data(), n, first * kRowsPerPiece, std::min(last * kRowsPerPiece, d));
    });
}

float FastKernels::rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
              float epsilon) const {
    return level_.rmsnorm(out.data(), x.data(), weight.data(), x.size(), epsilon);
}

void FastKernels::rope(std::span<float> x, std::span<const float> cos, std::span<const float> sin) const {
    const size_t head_size = 2 * cos.size();
    level_.rope(x.data(), x.size() / head_size, cos.data(), sin.data(), head_size);
}

float FastKernels::attention(std::span<float> out, std::span<const float> q, std::span<const float> k, std::span<const float> v,
                const KvLayer& cache, size_t pos, size_t head_size) const {
    const size_t kv_dim = k.size();
    const size_t n_kv_heads = kv_dim / head_size;
    const size_t group = q.size() / kv_dim;  // query heads that share a key and value head
    const size_t block = pos / kPositionBlock;
    const size_t lane = pos % kPositionBlock;
    remember(cache.keys, k, block, lane);
    remember(cache.values, v, block, lane);

    std::vector<float> largest(n_kv_heads);
    parallel(threads_for(2 * q.size() * (pos + 1), threads_), n_kv_heads, [&](size_t first, size_t last) {
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

void FastKernels::swiglu(std::span<float> gate, std::span<const float> up) const {
    level_.swiglu(gate.data(), up.data(), gate.size());
}
void FastKernels::add(std::span<float> x, std::span<const float> y) const { level_.add(x.data(), y.data(), x.size()); }
float FastKernels::largest(std::span<const float> x) const { return level_.largest(x.data(), x.size()); }
int FastKernels::argmax(std::span<const float> x) const { return static_cast<int>(level_.argmax(x.data(), x.size())); }

}  // namespace llama512::fast
