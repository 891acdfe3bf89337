// GGUF, the file format of ggml and llama.cpp: metadata as keys and values, a table of tensors, and their data.
//
// Source: https://github.com/ggml-org/ggml, docs/gguf.md. All numbers are little-endian. A `size` is a uint64, and a
// uint32 in version 1; a `string` is a size and as many bytes.
//
//   "GGUF", uint32 version (1, 2 or 3), size tensor_count, size metadata_kv_count
//   metadata_kv_count entries:  string key, uint32 type, the value;
//                               an array is a uint32 type of its elements, a size, and the elements
//   tensor_count entries:       string name, uint32 n_dimensions, n_dimensions sizes (the columns first, then the rows),
//                               uint32 type, uint64 offset
//   zeros up to a multiple of general.alignment (32 when there is no such key)
//   the tensors' data, each at its offset from here, a multiple of general.alignment
//
// This file knows the container. What the keys and tensors mean is in gguf_model and gguf_vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "files/dequantize.hpp"
#include "files/mapped_file.hpp"

namespace llama512 {

/// The types of metadata, with their numbers in the file.
enum class GgufType : std::uint32_t {
    uint8, int8, uint16, int16, uint32, int32, float32, boolean, string, array, uint64, int64, float64
};

/// A value of the metadata: what it is, and where it is in the file.
struct GgufValue {
    GgufType type;
    std::size_t offset;          // of the value, of a string's text, or of an array's first element
    std::size_t size;            // bytes of a string's text
    GgufType element_type;       // of an array
    std::size_t element_count;   // of an array
};

/// A tensor of the file.
struct GgufTensor {
    std::string_view name;
    std::array<std::uint64_t, 4> dimensions;  // columns, rows, ...; 1 where the file has fewer
    const TensorType* type;
    std::span<const std::byte> data;  // whole blocks, in the file

    /// How many values it has.
    std::size_t size() const { return data.size() / type->block_bytes * type->block_values; }
};

/// Whether the file begins as a GGUF file does.
bool is_gguf(const MappedFile& file);

/// The metadata and the table of tensors of a GGUF file. Nothing is copied but the table and the keys' places:
/// what it returns is valid as long as the file.
///
/// Every function throws Error, naming file, key or tensor, and value, where the file is not as the format says.
class Gguf {
public:
    /// Reads everything but the tensors' data. Counts and lengths are compared with the file's size before they are used.
    explicit Gguf(const MappedFile& file);

    const std::string& path() const { return file_->path(); }

    /// All keys in the file's order.
    const std::vector<std::string_view>& keys() const { return keys_; }

    /// The value of `key`, or none when there is no such key. A value of another kind is refused.
    std::optional<std::int64_t> integer(std::string_view key) const;  // of any integer type; 0 or more
    std::optional<float> number(std::string_view key) const;          // float32
    std::optional<std::string_view> text(std::string_view key) const;
    std::optional<std::vector<std::int64_t>> integers(std::string_view key) const;  // 0 or more, each
    std::optional<std::vector<float>> numbers(std::string_view key) const;
    std::optional<std::vector<std::string_view>> texts(std::string_view key) const;

    /// The value for messages: 12, 0.5, true, 'text', "array of 3 int32"; "none" when there is no such key.
    std::string describe(std::string_view key) const;

    /// Throws Error with the value and what is needed instead: "FILE: KEY: VALUE, NEEDED".
    [[noreturn]] void refuse(std::string_view key, const std::string& needed) const;

    /// The tensors in the file's order. Refused are types that cannot be read, and data outside the file, between the
    /// places that the alignment allows, or not one after another: they may neither overlap nor leave room that
    /// belongs to none.
    std::vector<GgufTensor> tensors() const;

private:
    struct Place {  // a tensor's entry in the table, as it is
        std::string_view name;
        std::array<std::uint64_t, 4> dimensions;
        std::uint32_t type;
        std::uint64_t offset;
    };

    const GgufValue* find(std::string_view key) const;
    const GgufValue* find(std::string_view key, GgufType type, const char* needed) const;
    const GgufValue* find_array(std::string_view key, const char* needed) const;
    std::optional<std::int64_t> read_integer(GgufType type, std::size_t offset) const;
    std::size_t data_size(const Place& place, const TensorType& type) const;
    void check_places(const std::vector<GgufTensor>& tensors) const;

    const MappedFile* file_;
    std::vector<std::string_view> keys_;
    std::unordered_map<std::string_view, GgufValue> values_;
    std::vector<Place> table_;
    bool long_sizes_;           // a size is a uint64
    std::size_t alignment_;     // of the tensors' data, in bytes
    std::size_t data_offset_;   // of the tensors' data in the file
};

/// A name or a text of a file, for messages: printable ASCII, and not too long.
std::string shorten(std::string_view text);

}  // namespace llama512
