#include "fast/quantized.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "fast/fast_kernels.hpp"
#include "fast/levels.hpp"
#include "threads.hpp"

namespace llama512 {

using std::size_t;

namespace fast {
namespace {

/// int8 has groups of 64 columns where they divide the row, otherwise of 32; int4 has groups of 32. A last group that the row
/// does not fill ends in zeros.
size_t group_columns(Quantization quantization, size_t n) {
    return quantization == Quantization::int8 && n % kMaxColumns == 0 ? kMaxColumns : 32;
}

/// Matrices of one shape, all layers of a tensor, one after another.
class Tensor {
public:
    Tensor(std::span<const float> values, size_t rows, size_t n, Quantization quantization, size_t threads,
           const Level& level)
        : level_(level), values_(values), rows_(rows), n_(n), int4_(quantization == Quantization::int4) {
        columns_ = group_columns(quantization, n);
        groups_ = (n + columns_ - 1) / columns_;
        blocks_ = (rows + kPackedRows - 1) / kPackedRows;
        bytes_.resize(values.size() / (rows * n) * matrix_bytes());
        const size_t matrices = values.size() / (rows * n);
        parallel(threads, matrices * blocks_, [&](size_t first, size_t last) {
            for (size_t block = first; block < last; block++) pack_block(block / blocks_, block % blocks_);
        });
    }

    /// Whether matrix w is one of these.
    bool has(std::span<const float> w) const {
        return w.data() >= values_.data() && w.data() < values_.data() + values_.size();
    }

    PackedMatrix matrix(std::span<const float> w) const {
        const size_t index = static_cast<size_t>(w.data() - values_.data()) / (rows_ * n_);
        return {bytes_.data() + index * matrix_bytes(), rows_, groups_, columns_, int4_};
    }

    std::span<const std::byte> bytes() const { return bytes_; }

private:
    size_t pair_bytes() const { return int4_ ? kPackedRows : 2 * kPackedRows; }
    size_t group_bytes() const { return kPackedRows * sizeof(float) + columns_ / 2 * pair_bytes(); }
    size_t matrix_bytes() const { return blocks_ * groups_ * group_bytes(); }

    void pack_block(size_t matrix, size_t block) {
        const std::span<const float> w = slice(values_, matrix, rows_ * n_);
        for (size_t group = 0; group < groups_; group++) {
            std::byte* const out = bytes_.data() + matrix * matrix_bytes() + (block * groups_ + group) * group_bytes();
            std::byte* const pairs = out + kPackedRows * sizeof(float);
            const size_t first = group * columns_;
            for (size_t lane = 0; lane < kPackedRows; lane++) {
                const size_t row = block * kPackedRows + lane;
                float scale = 0.0f;
                std::int8_t integers[kMaxColumns] = {};
                if (row < rows_) {
                    scale = level_.quantize(integers, w.data() + row * n_ + first, std::min(columns_, n_ - first), int4_);
                }
                std::memcpy(out + lane * sizeof(float), &scale, sizeof(float));
                for (size_t pair = 0; pair < columns_ / 2; pair++) {
                    const int a = integers[2 * pair];
                    const int b = integers[2 * pair + 1];
                    if (int4_) {
                        pairs[pair * kPackedRows + lane] = static_cast<std::byte>((a + 8) | (b + 8) << 4);
                    } else {
                        pairs[(pair * kPackedRows + lane) * 2] = static_cast<std::byte>(a);
                        pairs[(pair * kPackedRows + lane) * 2 + 1] = static_cast<std::byte>(b);
                    }
                }
            }
        }
    }

    const Level& level_;
    std::span<const float> values_;  // (matrices, rows, n)
    size_t rows_;
    size_t n_;
    size_t columns_;
    size_t groups_;
    size_t blocks_;
    bool int4_;
    std::vector<std::byte> bytes_;  // see PackedMatrix
};

class QuantizedKernels final : public FastKernels {
public:
    QuantizedKernels(Quantization quantization, const Config& c, const Weights& w, size_t threads, const Level& level)
        : FastKernels(level, threads), quantization_(quantization) {
        const auto add_tensor = [&](std::span<const float> values, size_t rows, size_t n) {
            tensors_.emplace_back(values, rows, n, quantization, threads, level);
        };
        add_tensor(w.wq, c.dim, c.dim);
        add_tensor(w.wk, c.kv_dim(), c.dim);
        add_tensor(w.wv, c.kv_dim(), c.dim);
        add_tensor(w.wo, c.dim, c.dim);
        add_tensor(w.w1, c.hidden_dim, c.dim);
        add_tensor(w.w2, c.dim, c.hidden_dim);
        add_tensor(w.w3, c.hidden_dim, c.dim);
        add_tensor(w.wcls, c.vocab_size, c.dim);
    }

    std::string name() const override {
        return FastKernels::name() + (quantization_ == Quantization::int4 ? "-int4" : "-int8");
    }

    void matmul(std::span<float> out, std::span<const float> x, std::span<const float> w, size_t rows) const override {
        const PackedMatrix matrix = find(w).matrix(w);
        const size_t d = out.size() / rows;
        const size_t n = x.size() / rows;
        std::vector<std::int16_t> values(rows * matrix.groups * matrix.columns);
        std::vector<float> scales(rows * matrix.groups);
        std::vector<std::int32_t> sums(rows * matrix.groups);
        for (size_t row = 0; row < rows; row++) {
            for (size_t group = 0; group < matrix.groups; group++) {
                const size_t first = group * matrix.columns;
                const size_t at = row * matrix.groups + group;
                std::int8_t integers[kMaxColumns];
                scales[at] = level_.quantize(integers, x.data() + row * n + first, std::min(matrix.columns, n - first), false);
                for (size_t i = 0; i < matrix.columns; i++) {
                    values[at * matrix.columns + i] = integers[i];
                    sums[at] += integers[i];
                }
            }
        }
        const PackedRows packed = {values.data(), scales.data(), sums.data()};
        parallel(threads_for(out.size() * n, threads_), (d + kPackedRows - 1) / kPackedRows, [&](size_t first, size_t last) {
            level_.matmul_packed(out.data(), d, packed, rows, matrix, first, last);
        });
    }

    std::span<const std::byte> stored(std::span<const float> w) const override { return find(w).bytes(); }

private:
    const Tensor& find(std::span<const float> w) const {
        const auto found = std::ranges::find_if(tensors_, [&](const Tensor& tensor) { return tensor.has(w); });
        if (found == tensors_.end()) throw std::out_of_range("matmul: not a matrix of this model");
        return *found;
    }

    Quantization quantization_;
    std::vector<Tensor> tensors_;
};

}  // namespace
}  // namespace fast

std::unique_ptr<Kernels> quantized_kernels(Quantization quantization, const Config& config, const Weights& weights,
                                           size_t threads, const std::string& level) {
    return std::make_unique<fast::QuantizedKernels>(quantization, config, weights, threads, fast::find_level(level));
}

}  // namespace llama512
