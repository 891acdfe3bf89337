#include "files/checkpoint.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "fast/fast.hpp"
#include "files/gguf_model.hpp"
#include "files/gguf_vocabulary.hpp"
#include "files/llama2c.hpp"
#include "files/vocabulary.hpp"

namespace llama512 {

using std::size_t;

namespace {

/// Each format is told by its magic. llama2.c's v0 has none: what no other format claims is read as llama2.c's.
std::optional<Gguf> open_gguf(const MappedFile& file) {
    if (!is_gguf(file)) return std::nullopt;
    return Gguf(file);
}

}  // namespace

void check_finite(const std::string& file, const std::string& tensor, std::span<const float> values, size_t threads) {
    if (all_finite(values, threads)) return;
    const auto bad = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
    throw Error(file, tensor,
                "element " + std::to_string(bad - values.begin()) + " is " + std::to_string(*bad) +
                    ", finite weights are needed");
}

Checkpoint::Checkpoint(const std::string& path, size_t threads)
    : file_(path),
      gguf_(open_gguf(file_)),
      contents_(gguf_ ? read_gguf_model(*gguf_, threads) : read_llama2c(file_, threads)) {}

Vocabulary Checkpoint::vocabulary() const {
    if (gguf_) return read_gguf_vocabulary(*gguf_);
    const size_t vocab_size = config().vocab_size;
    return read_vocabulary(find_tokenizer(file_.path(), vocab_size), vocab_size);
}

}  // namespace llama512
