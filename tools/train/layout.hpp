// Where each tensor lies among the parameters, which are one vector.
//
// The model is Llama 2 with a tied classifier. Norm gains are 1 and are not trained: the matrices next to them can do
// their work.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "config.hpp"

namespace llama512::train {

/// Length of one position's queries, keys and values, side by side.
inline std::size_t qkv_dim(const Config& c) { return c.dim + 2 * c.kv_dim(); }

/// A matrix among the parameters, row-major: it maps `columns` inputs to `rows` outputs.
struct Tensor {
    std::string name;  // as in llama512::Weights
    std::size_t layer;
    std::size_t offset;
    std::size_t rows, columns;
    std::size_t size() const { return rows * columns; }
};

/// Where a model's parameters lie. wq, wk, wv stand together, and so do w1 and w3: each group is one product.
class Layout {
public:
    explicit Layout(const Config& c) {
        const auto add = [&](const char* name, std::size_t layer, std::size_t rows, std::size_t columns) {
            tensors_.push_back({name, layer, size_, rows, columns});
            size_ += rows * columns;
        };
        add("token_embedding", 0, c.vocab_size, c.dim);
        for (std::size_t layer = 0; layer < c.n_layers; layer++) {
            add("wq", layer, c.dim, c.dim);
            add("wk", layer, c.kv_dim(), c.dim);
            add("wv", layer, c.kv_dim(), c.dim);
            add("wo", layer, c.dim, c.dim);
            add("w1", layer, c.hidden_dim, c.dim);
            add("w3", layer, c.hidden_dim, c.dim);
            add("w2", layer, c.dim, c.hidden_dim);
        }
    }

    const std::vector<Tensor>& tensors() const { return tensors_; }
    std::size_t size() const { return size_; }

    std::size_t offset(const std::string& name, std::size_t layer = 0) const {
        for (const Tensor& tensor : tensors_) {
            if (tensor.name == name && tensor.layer == layer) return tensor.offset;
        }
        throw std::out_of_range("Layout::offset: " + name);
    }

private:
    std::vector<Tensor> tensors_;
    std::size_t size_ = 0;
};

}  // namespace llama512::train
