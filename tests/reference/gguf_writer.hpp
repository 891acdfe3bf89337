// GGUF files, written by tests: every type, versions 1 to 3, and every part can be spoiled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tiny_model.hpp"

namespace llama512::test {

/// A value of the metadata: its type's number, and a scalar's bytes, a string's text or an array's elements.
struct MetaValue {
    std::uint32_t type;
    std::string bytes;
    std::uint32_t element_type = 0;
    std::vector<MetaValue> elements;
};

MetaValue meta(std::uint8_t value);
MetaValue meta(std::int8_t value);
MetaValue meta(std::uint16_t value);
MetaValue meta(std::int16_t value);
MetaValue meta(std::uint32_t value);
MetaValue meta(std::int32_t value);
MetaValue meta(std::uint64_t value);
MetaValue meta(std::int64_t value);
MetaValue meta(float value);
MetaValue meta(double value);
MetaValue meta(bool value);
MetaValue meta(const char* text);
MetaValue meta(const std::string& text);

/// An array of `type`, whose elements are of the same type.
MetaValue meta_array(std::uint32_t type, std::vector<MetaValue> elements);
template <typename T>
MetaValue meta_array(const std::vector<T>& values) {
    std::vector<MetaValue> elements;
    for (const T& value : values) elements.push_back(meta(value));
    return meta_array(meta(T{}).type, std::move(elements));
}

// Numbers of the types of tensors.
constexpr std::uint32_t kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ8_0 = 8, kBF16 = 30;

/// The values' bytes in a type that holds them without loss: any float32 in F32; 7 bits and a sign in F16 and BF16;
/// whole multiples of quantum(type) in Q8_0 and Q4_0, from -128 and -8 on.
std::string encode(std::uint32_t type, const std::vector<float>& values);
float quantum(std::uint32_t type);

/// n random values that `type` holds without loss.
std::vector<float> random_values_of(std::uint32_t type, std::size_t n, std::uint32_t seed);

struct TensorEntry {
    std::string name;
    std::vector<std::uint64_t> dimensions;  // columns first
    std::uint32_t type;
    std::string data;
    std::optional<std::uint64_t> offset = {};  // none: behind the tensor before
};

struct GgufFile {
    std::uint32_t version = 3;
    std::uint64_t alignment = 32;  // of the tensors; the key general.alignment is set by itself
    std::vector<std::pair<std::string, MetaValue>> metadata;
    std::vector<TensorEntry> tensors;
    std::optional<std::uint64_t> tensor_count = {};  // none: as many as there are
    std::optional<std::uint64_t> metadata_count = {};

    /// Sets the key, or adds it.
    void set(const std::string& key, MetaValue value);
    void erase(const std::string& key);
    TensorEntry& tensor(const std::string& name);

    /// Magic, version, metadata and table: what comes before the padding in front of the tensors' data.
    std::string head() const;
    /// The whole file; the last tensor is not padded.
    std::string bytes() const;
};

/// The tokens of a tiny model: <unk>, <s>, </s>, the bytes as far as they go, and letters.
std::vector<std::string> tiny_tokens(std::size_t vocab_size);

/// The model with its tokenizer, its matrices in `type`, which must hold them without loss, and its norms in F32.
GgufFile gguf_of(const TinyModel& model, std::uint32_t type = kF32);

}  // namespace llama512::test
