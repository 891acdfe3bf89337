// The fast kernels as a class: the functions of a level, and threads that share them.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "fast/level.hpp"
#include "kernels.hpp"

namespace llama512::fast {

class FastKernels : public Kernels {
public:
    FastKernels(const Level& level, std::size_t threads) : level_(level), threads_(threads) {}

    std::string name() const override;
    void matmul(std::span<float> out, std::span<const float> x, std::span<const float> w, std::size_t rows) const override;
    float rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
                  float epsilon) const override;
    void rope(std::span<float> x, std::span<const float> cos, std::span<const float> sin) const override;
    float attention(std::span<float> out, std::span<const float> q, std::span<const float> k, std::span<const float> v,
                    const KvLayer& cache, std::size_t pos, std::size_t head_size) const override;
    void swiglu(std::span<float> gate, std::span<const float> up) const override;
    void add(std::span<float> x, std::span<const float> y) const override;
    float largest(std::span<const float> x) const override;
    int argmax(std::span<const float> x) const override;

protected:
    const Level& level_;
    std::size_t threads_;
};

}  // namespace llama512::fast
