// The tokens of a corpus as stories, in an order that depends on the seed and the epoch alone.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "error.hpp"
#include "files/mapped_file.hpp"
#include "random.hpp"
#include "tokenizer.hpp"

namespace llama512::train {

/// A file of uint16: BOS, the first story, BOS, the second story, BOS … The last stories are held out for validation.
class Dataset {
public:
    using Story = std::span<const std::uint16_t>;  // BOS, the story, BOS

    Dataset(const std::string& path, std::size_t vocab_size, std::size_t seq_len, std::uint64_t seed)
        : file_(path), seed_(seed) {
        if (file_.size() % 2 != 0) {
            throw Error(path, "file size",
                        std::to_string(file_.size()) + " bytes, not a file of tokens of two bytes each");
        }
        tokens_ = {reinterpret_cast<const std::uint16_t*>(file_.bytes().data()), file_.size() / 2};
        if (tokens_[0] != kBos) {
            throw Error(path, "token 0", std::to_string(tokens_[0]) + ", not a file of tokens: BOS (1) is needed");
        }
        std::size_t begin = 0;
        for (std::size_t i = 1; i < tokens_.size(); i++) {
            if (tokens_[i] >= vocab_size) {
                throw Error(path, "token " + std::to_string(i),
                            std::to_string(tokens_[i]) + ", but vocab_size is " + std::to_string(vocab_size));
            }
            if (tokens_[i] != kBos) continue;
            if (i - begin > seq_len) {
                throw Error(path, "story " + std::to_string(begins_.size()),
                            std::to_string(i - begin) + " tokens, but seq_len is " + std::to_string(seq_len));
            }
            begins_.push_back(begin);
            begin = i;
        }
        begins_.push_back(begin);
        const std::size_t n_stories = begins_.size() - 1;
        if (n_stories < 20) throw Error(path, "stories", std::to_string(n_stories) + ", at least 20 are needed");
        n_held_out_ = std::min<std::size_t>(200, n_stories / 20);
        n_train_ = n_stories - n_held_out_;
    }

    std::size_t size() const { return n_train_; }
    std::size_t held_out_size() const { return n_held_out_; }
    Story held_out(std::size_t index) const { return story(n_train_ + index); }

    /// Story number `index` of an endless sequence: each epoch is a new permutation of all stories.
    Story next(std::uint64_t index) {
        const std::uint64_t epoch = index / n_train_;
        if (order_.empty() || epoch != epoch_) {
            epoch_ = epoch;
            order_.resize(n_train_);
            std::iota(order_.begin(), order_.end(), 0u);
            Random random(seed_, epoch);
            for (std::size_t i = n_train_; i > 1; i--) {  // Fisher-Yates
                std::swap(order_[i - 1], order_[random.below(static_cast<std::uint32_t>(i))]);
            }
        }
        return story(order_[index % n_train_]);
    }

private:
    Story story(std::size_t index) const {
        return tokens_.subspan(begins_[index], begins_[index + 1] - begins_[index] + 1);
    }

    MappedFile file_;
    Story tokens_;
    std::vector<std::size_t> begins_;  // where each story's first BOS is, and at last the final BOS
    std::size_t n_train_ = 0, n_held_out_ = 0;
    std::uint64_t seed_;
    std::uint64_t epoch_ = 0;
    std::vector<std::uint32_t> order_;
};

}  // namespace llama512::train
