#include "kernels.hpp"

#include <algorithm>

namespace llama512 {

using std::size_t;

namespace {

class PlainKernels final : public Kernels {
public:
    std::string name() const override { return "plain"; }

    void matmul(std::span<float> out, std::span<const float> x, std::span<const float> w, size_t rows) const override {
        const size_t d = out.size() / rows;
        const size_t n = x.size() / rows;
        for (size_t row = 0; row < rows; row++) llama512::matmul(slice(out, row, d), slice(x, row, n), w);
    }

    float rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
                  float epsilon) const override {
        return llama512::rmsnorm(out, x, weight, epsilon);
    }

    void rope(std::span<float> x, std::span<const float> cos, std::span<const float> sin) const override {
        llama512::rope(x, cos, sin);
    }

    float attention(std::span<float> out, std::span<const float> q, std::span<const float> k, std::span<const float> v,
                    const KvLayer& cache, size_t pos, size_t head_size) const override {
        const size_t kv_dim = k.size();
        std::ranges::copy(k, slice(cache.keys, pos, kv_dim).begin());
        std::ranges::copy(v, slice(cache.values, pos, kv_dim).begin());
        return llama512::attention(out, q, cache.keys.first((pos + 1) * kv_dim), cache.values.first((pos + 1) * kv_dim),
                                   pos + 1, head_size);
    }

    void swiglu(std::span<float> gate, std::span<const float> up) const override { llama512::swiglu(gate, up); }
    void add(std::span<float> x, std::span<const float> y) const override { llama512::add(x, y); }
    float largest(std::span<const float> x) const override { return llama512::largest(x); }
    int argmax(std::span<const float> x) const override { return llama512::argmax(x); }
};

}  // namespace

const Kernels& plain_kernels() {
    static const PlainKernels kernels;
    return kernels;
}

}  // namespace llama512
