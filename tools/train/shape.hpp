// shape.hpp: a model's dimensions, and where each tensor lies among its parameters.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "error.hpp"

namespace llama512::train {

/// Llama 2 with a tied classifier. Norm gains are 1 and are not trained: the matrices next to them can do their work.
struct Shape {
    std::size_t dim = 48;
    std::size_t hidden_dim = 128;
    std::size_t n_layers = 3;
    std::size_t n_heads = 6;
    std::size_t n_kv_heads = 3;
    std::size_t vocab_size = 512;
    std::size_t seq_len = 256;

    std::size_t head_size() const { return dim / n_heads; }
    std::size_t kv_dim() const { return n_kv_heads * head_size(); }
    std::size_t qkv_dim() const { return dim + 2 * kv_dim(); }

    bool operator==(const Shape&) const = default;

    void check() const {
        const auto fail = [](const char* field, const std::string& message) { throw Error("shape", field, message); };
        if (dim == 0 || hidden_dim == 0 || n_layers == 0 || n_heads == 0 || n_kv_heads == 0) fail("size", "a dimension is 0");
        if (dim % n_heads != 0) fail("n_heads", std::to_string(n_heads) + ", a divisor of dim is needed");
        if (n_heads % n_kv_heads != 0) fail("n_kv_heads", std::to_string(n_kv_heads) + ", a divisor of n_heads is needed");
        if (head_size() % 2 != 0) fail("head_size", std::to_string(head_size()) + ", an even number is needed");
    }
};

/// A matrix among the parameters, row-major: it maps `columns` inputs to `rows` outputs.
struct Tensor {
    std::string name;  // as in the checkpoint format
    std::size_t layer;
    std::size_t offset;
    std::size_t rows, columns;
    std::size_t size() const { return rows * columns; }
};

/// Where the parameters of a shape lie. wq, wk, wv stand together, and so do w1 and w3: each group is one product.
class Layout {
public:
    explicit Layout(const Shape& s) {
        const auto add = [&](const char* name, std::size_t layer, std::size_t rows, std::size_t columns) {
            tensors_.push_back({name, layer, size_, rows, columns});
            size_ += rows * columns;
        };
        add("token_embedding", 0, s.vocab_size, s.dim);
        for (std::size_t layer = 0; layer < s.n_layers; layer++) {
            add("wq", layer, s.dim, s.dim);
            add("wk", layer, s.kv_dim(), s.dim);
            add("wv", layer, s.kv_dim(), s.dim);
            add("wo", layer, s.dim, s.dim);
            add("w1", layer, s.hidden_dim, s.dim);
            add("w3", layer, s.hidden_dim, s.dim);
            add("w2", layer, s.dim, s.hidden_dim);
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
