#include "files/gguf.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "error.hpp"

namespace llama512 {

using std::size_t;
using std::string;
using std::string_view;
using std::to_string;

namespace {

constexpr string_view kGgufMagic = "GGUF";
constexpr size_t kDefaultAlignment = 32;
constexpr size_t kAlignmentStep = 8;     // an alignment is a multiple of this
constexpr size_t kMaxKeySize = 65535;
constexpr size_t kMaxNameSize = 64;      // of a tensor
constexpr size_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;        // the format has no limit, and no key that is known has arrays in arrays

struct TypeInfo {
    const char* name;
    size_t size;  // bytes of a value; 0: it tells its own size
};

/// In the order of GgufType.
constexpr std::array<TypeInfo, 13> kValueTypes = {{
    {"uint8", 1}, {"int8", 1}, {"uint16", 2}, {"int16", 2}, {"uint32", 4}, {"int32", 4}, {"float32", 4}, {"bool", 1},
    {"string", 0}, {"array", 0}, {"uint64", 8}, {"int64", 8}, {"float64", 8},
}};

const TypeInfo& info(GgufType type) { return kValueTypes[static_cast<size_t>(type)]; }

/// Reads a file from front to back, and never past its end. `field` is what it reads, for messages.
class Cursor {
public:
    Cursor(const MappedFile& file, size_t offset, bool long_sizes, string field_name)
        : field(std::move(field_name)), file_(file), offset_(offset), long_sizes_(long_sizes) {}

    string field;

    size_t offset() const { return offset_; }
    size_t left() const { return file_.size() - offset_; }

    template <typename T>
    T value() {
        const size_t start = skip(1, sizeof(T));
        return file_.read<T>(start);
    }

    /// A count or a length.
    std::uint64_t size() { return long_sizes_ ? value<std::uint64_t>() : value<std::uint32_t>(); }

    string_view text() {
        const std::uint64_t n_bytes = size();
        const size_t start = skip(n_bytes, 1);
        return file_.text().substr(start, n_bytes);
    }

    /// Goes past `count` values of `size` bytes each, and returns where they begin.
    size_t skip(std::uint64_t count, size_t size) {
        if (count > left() / size) {
            const string what = size == 1 ? to_string(count) + " bytes are"
                                : count == 1 ? to_string(size) + " bytes are"
                                             : to_string(count) + " values of " + to_string(size) + " bytes are";
            refuse("the file ends at byte " + to_string(file_.size()) + ", " + what + " needed at byte " +
                   to_string(offset_) + " (truncated?)");
        }
        const size_t start = offset_;
        offset_ += count * size;
        return start;
    }

    [[noreturn]] void refuse(const string& message) const { throw Error(file_.path(), field, message); }

private:
    const MappedFile& file_;
    size_t offset_;
    bool long_sizes_;
};

/// The number of entries that follow, each of at least `entry_size` bytes.
size_t read_count(Cursor& cursor, const char* field, size_t entry_size) {
    cursor.field = field;
    const std::uint64_t count = cursor.size();
    if (count > cursor.left() / entry_size) {
        cursor.refuse(to_string(count) + ", the " + to_string(cursor.left()) + " bytes after it hold at most " +
                      to_string(cursor.left() / entry_size) + " (truncated?)");
    }
    return count;
}

GgufType read_type(Cursor& cursor) {
    const auto number = cursor.value<std::uint32_t>();
    if (number >= kValueTypes.size()) {
        cursor.refuse("type " + to_string(number) + ", a type from 0 to " + to_string(kValueTypes.size() - 1) +
                      " is needed");
    }
    return static_cast<GgufType>(number);
}

/// Goes past a value of `type`, which is `depth` arrays deep.
GgufValue read_value(Cursor& cursor, GgufType type, int depth = 0) {
    GgufValue value{.type = type, .offset = cursor.offset(), .size = 0, .element_type = type, .element_count = 0};
    if (type == GgufType::string) {
        value.size = cursor.text().size();
        value.offset = cursor.offset() - value.size;
    } else if (type == GgufType::array) {
        if (depth == kMaxArrayDepth) {
            cursor.refuse("an array more than " + to_string(kMaxArrayDepth) + " deep, at most " +
                          to_string(kMaxArrayDepth) + " are supported");
        }
        value.element_type = read_type(cursor);
        value.element_count = cursor.size();
        value.offset = cursor.offset();
        if (const size_t size = info(value.element_type).size) {
            cursor.skip(value.element_count, size);
        } else {
            for (size_t i = 0; i < value.element_count; i++) read_value(cursor, value.element_type, depth + 1);
        }
    } else if (type == GgufType::boolean) {
        const int byte = cursor.value<std::uint8_t>();
        if (byte > 1) cursor.refuse(to_string(byte) + ", 0 or 1 is needed for a bool");
    } else {
        cursor.skip(1, info(type).size);
    }
    return value;
}

/// A key: printable ASCII, at most 65535 bytes.
string_view read_key(Cursor& cursor) {
    const string_view key = cursor.text();
    const auto printable = [](char c) { return c > ' ' && c <= '~'; };
    if (key.empty() || key.size() > kMaxKeySize || !std::ranges::all_of(key, printable)) {
        cursor.refuse("key '" + shorten(key) + "' of " + to_string(key.size()) + " bytes, 1 to " +
                      to_string(kMaxKeySize) + " printable ASCII characters are needed");
    }
    return key;
}

size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

}  // namespace

string shorten(string_view text) {
    constexpr size_t kMaxSize = 64;
    string shown(text.substr(0, kMaxSize));
    std::ranges::replace_if(shown, [](char c) { return c < ' ' || c > '~'; }, '?');
    return text.size() > kMaxSize ? shown + "..." : shown;
}

bool is_gguf(const MappedFile& file) { return file.text().starts_with(kGgufMagic); }

Gguf::Gguf(const MappedFile& file) : file_(&file) {
    Cursor header(file, kGgufMagic.size(), false, "version");
    const auto version = header.value<std::uint32_t>();
    if (version != 0 && (version & 0xFFFF) == 0) {  // the bytes of a small number, in the other order
        header.refuse(to_string(version) + ", 1, 2 or 3 is needed: this file is big-endian, convert it to little-endian "
                      "with llama.cpp's gguf_convert_endian.py");
    }
    if (version < 1 || version > 3) header.refuse(to_string(version) + ", 1, 2 or 3 is needed");
    long_sizes_ = version > 1;
    const size_t size_bytes = long_sizes_ ? sizeof(std::uint64_t) : sizeof(std::uint32_t);

    Cursor cursor(file, header.offset(), long_sizes_, "");
    const size_t n_tensors = read_count(cursor, "tensor_count", 2 * size_bytes + 16);   // with one dimension, no name
    const size_t n_keys = read_count(cursor, "metadata_kv_count", size_bytes + 5);  // with no key, and one byte

    for (size_t i = 0; i < n_keys; i++) {
        cursor.field = "metadata " + to_string(i);
        const string_view key = read_key(cursor);
        cursor.field = shorten(key);
        if (values_.contains(key)) cursor.refuse("metadata " + to_string(i) + " has the key again, each must be there once");
        const GgufType type = read_type(cursor);
        values_.emplace(key, read_value(cursor, type));
        keys_.push_back(key);
    }

    for (size_t i = 0; i < n_tensors; i++) {
        cursor.field = "tensor " + to_string(i);
        Place place{.name = cursor.text(), .dimensions = {1, 1, 1, 1}, .type = 0, .offset = 0};
        if (place.name.empty() || place.name.size() > kMaxNameSize) {
            cursor.refuse("name '" + shorten(place.name) + "' of " + to_string(place.name.size()) + " bytes, 1 to " +
                          to_string(kMaxNameSize) + " are needed");
        }
        cursor.field = shorten(place.name);
        const auto n_dimensions = cursor.value<std::uint32_t>();
        if (n_dimensions < 1 || n_dimensions > kMaxDimensions) {
            cursor.refuse(to_string(n_dimensions) + " dimensions, 1 to " + to_string(kMaxDimensions) + " are needed");
        }
        for (size_t d = 0; d < n_dimensions; d++) place.dimensions[d] = cursor.size();
        place.type = cursor.value<std::uint32_t>();
        place.offset = cursor.value<std::uint64_t>();
        table_.push_back(place);
    }

    const auto alignment = integer("general.alignment");
    if (alignment && (*alignment == 0 || *alignment > UINT32_MAX || *alignment % kAlignmentStep != 0)) {
        refuse("general.alignment", "a multiple of " + to_string(kAlignmentStep) + " below 2^32 is needed");
    }
    alignment_ = alignment ? static_cast<size_t>(*alignment) : kDefaultAlignment;
    data_offset_ = round_up(cursor.offset(), alignment_);
}

void Gguf::refuse(string_view key, const string& needed) const {
    throw Error(path(), shorten(key), describe(key) + ", " + needed);
}

const GgufValue* Gguf::find(string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
}

/// The value when it is of this type, null when there is none.
const GgufValue* Gguf::find(string_view key, GgufType type, const char* needed) const {
    const GgufValue* const value = find(key);
    if (value != nullptr && value->type != type) refuse(key, needed);
    return value;
}

/// The integer of any type that is at `offset`, or none when it is negative, above int64, or of a type that is none.
std::optional<std::int64_t> Gguf::read_integer(GgufType type, size_t offset) const {
    const auto natural = [&]<typename T>(T value) -> std::optional<std::int64_t> {
        if (!std::in_range<std::int64_t>(value) || std::cmp_less(value, 0)) return std::nullopt;
        return static_cast<std::int64_t>(value);
    };
    switch (type) {
        case GgufType::uint8: return natural(file_->read<std::uint8_t>(offset));
        case GgufType::int8: return natural(file_->read<std::int8_t>(offset));
        case GgufType::uint16: return natural(file_->read<std::uint16_t>(offset));
        case GgufType::int16: return natural(file_->read<std::int16_t>(offset));
        case GgufType::uint32: return natural(file_->read<std::uint32_t>(offset));
        case GgufType::int32: return natural(file_->read<std::int32_t>(offset));
        case GgufType::uint64: return natural(file_->read<std::uint64_t>(offset));
        case GgufType::int64: return natural(file_->read<std::int64_t>(offset));
        default: return std::nullopt;
    }
}

std::optional<std::int64_t> Gguf::integer(string_view key) const {
    const GgufValue* const value = find(key);
    if (value == nullptr) return std::nullopt;
    const auto integer = read_integer(value->type, value->offset);
    if (!integer) refuse(key, "a whole number from 0 to 2^63 - 1 is needed");
    return integer;
}

std::optional<float> Gguf::number(string_view key) const {
    const GgufValue* const value = find(key, GgufType::float32, "a float32 is needed");
    if (value == nullptr) return std::nullopt;
    return file_->read<float>(value->offset);
}

std::optional<string_view> Gguf::text(string_view key) const {
    const GgufValue* const value = find(key, GgufType::string, "a string is needed");
    if (value == nullptr) return std::nullopt;
    return file_->text().substr(value->offset, value->size);
}

std::optional<std::vector<std::int64_t>> Gguf::integers(string_view key) const {
    constexpr const char* needed = "an array of whole numbers from 0 to 2^63 - 1 is needed";
    const GgufValue* const value = find(key, GgufType::array, needed);
    if (value == nullptr) return std::nullopt;
    std::vector<std::int64_t> integers;
    for (size_t i = 0; i < value->element_count; i++) {
        const auto integer = read_integer(value->element_type, value->offset + i * info(value->element_type).size);
        if (!integer) refuse(key, needed);
        integers.push_back(*integer);
    }
    return integers;
}

std::optional<std::vector<float>> Gguf::numbers(string_view key) const {
    constexpr const char* needed = "an array of float32 is needed";
    const GgufValue* const value = find(key, GgufType::array, needed);
    if (value == nullptr) return std::nullopt;
    if (value->element_type != GgufType::float32) refuse(key, needed);
    std::vector<float> numbers;
    for (size_t i = 0; i < value->element_count; i++) {
        numbers.push_back(file_->read<float>(value->offset + i * sizeof(float)));
    }
    return numbers;
}

std::optional<std::vector<string_view>> Gguf::texts(string_view key) const {
    constexpr const char* needed = "an array of strings is needed";
    const GgufValue* const value = find(key, GgufType::array, needed);
    if (value == nullptr) return std::nullopt;
    if (value->element_type != GgufType::string) refuse(key, needed);
    std::vector<string_view> texts;
    Cursor cursor(*file_, value->offset, long_sizes_, string(key));
    for (size_t i = 0; i < value->element_count; i++) texts.push_back(cursor.text());
    return texts;
}

string Gguf::describe(string_view key) const {
    const auto print = [](const char* format, auto value) {
        char text[32];
        std::snprintf(text, sizeof text, format, value);
        return string(text);
    };
    const GgufValue* const value = find(key);
    if (value == nullptr) return "none";
    switch (value->type) {
        case GgufType::uint8: return to_string(file_->read<std::uint8_t>(value->offset));
        case GgufType::int8: return to_string(file_->read<std::int8_t>(value->offset));
        case GgufType::uint16: return to_string(file_->read<std::uint16_t>(value->offset));
        case GgufType::int16: return to_string(file_->read<std::int16_t>(value->offset));
        case GgufType::uint32: return to_string(file_->read<std::uint32_t>(value->offset));
        case GgufType::int32: return to_string(file_->read<std::int32_t>(value->offset));
        case GgufType::float32: return print("%.9g", static_cast<double>(file_->read<float>(value->offset)));
        case GgufType::boolean: return file_->read<std::uint8_t>(value->offset) == 1 ? "true" : "false";
        case GgufType::string: return "'" + shorten(file_->text().substr(value->offset, value->size)) + "'";
        case GgufType::array:
            return "array of " + to_string(value->element_count) + " " + info(value->element_type).name;
        case GgufType::uint64: return to_string(file_->read<std::uint64_t>(value->offset));
        case GgufType::int64: return to_string(file_->read<std::int64_t>(value->offset));
        case GgufType::float64: return print("%.17g", file_->read<double>(value->offset));
    }
    return "";
}

std::vector<GgufTensor> Gguf::tensors() const {
    std::vector<GgufTensor> tensors;
    for (const Place& place : table_) {
        const string name = shorten(place.name);
        const TensorType* const type = find_tensor_type(place.type);
        if (type == nullptr) {
            throw Error(path(), name, "type " + describe_tensor_type(place.type) + ", " + tensor_type_names() +
                                          " is needed: convert the model to F16 or Q8_0");
        }
        if (place.offset % alignment_ != 0) {
            throw Error(path(), name, "offset " + to_string(place.offset) + ", a multiple of the alignment " +
                                          to_string(alignment_) + " is needed");
        }
        const size_t size = data_size(place, *type);
        const size_t available = file_->size() - std::min(file_->size(), data_offset_);
        if (place.offset > available || size > available - place.offset) {
            throw Error(path(), name, "offset " + to_string(place.offset) + " and size " + to_string(size) +
                                          ", the file of " + to_string(file_->size()) + " bytes has " +
                                          to_string(available) + " for all tensors (truncated?)");
        }
        tensors.push_back({.name = place.name,
                           .dimensions = place.dimensions,
                           .type = type,
                           .data = file_->bytes().subspan(data_offset_ + place.offset, size)});
    }
    check_places(tensors);
    return tensors;
}

/// Bytes of the tensor's data. What the file cannot hold is refused before anything overflows.
size_t Gguf::data_size(const Place& place, const TensorType& type) const {
    // No type has more than two values in a byte.
    const std::uint64_t most = 2 * file_->size();
    std::uint64_t n_values = 1;
    for (const std::uint64_t dimension : place.dimensions) {
        if (dimension == 0 || dimension > most / n_values) {
            throw Error(path(), shorten(place.name), "dimension " + to_string(dimension) + ", at least 1 is needed, and "
                            "values that fit into the file of " + to_string(file_->size()) + " bytes (truncated?)");
        }
        n_values *= dimension;
    }
    if (place.dimensions[0] % type.block_values != 0) {
        throw Error(path(), shorten(place.name), "rows of " + to_string(place.dimensions[0]) + " values, a multiple of " +
                                                     to_string(type.block_values) + " is needed for " + type.name);
    }
    return n_values / type.block_values * type.block_bytes;
}

/// The tensors follow each other in some order, each at the next multiple of the alignment. The last one's padding may
/// be missing, but nothing comes after it.
void Gguf::check_places(const std::vector<GgufTensor>& tensors) const {
    std::vector<const GgufTensor*> sorted;
    std::unordered_map<string_view, size_t> names;
    for (const GgufTensor& tensor : tensors) {
        sorted.push_back(&tensor);
        if (++names[tensor.name] > 1) {
            throw Error(path(), shorten(tensor.name), "2 tensors have this name, each must be there once");
        }
    }
    std::ranges::stable_sort(sorted, {}, [](const GgufTensor* tensor) { return tensor->data.data(); });

    const auto offset = [&](const std::byte* byte) { return static_cast<size_t>(byte - file_->bytes().data()); };
    size_t next = data_offset_;
    for (size_t i = 0; i < sorted.size(); i++) {
        const size_t start = offset(sorted[i]->data.data());
        if (start != next) {
            const string why = start < next ? "it overlaps " + shorten(sorted[i - 1]->name)
                                            : "tensors follow each other without a gap";
            throw Error(path(), shorten(sorted[i]->name), "offset " + to_string(start - data_offset_) + ", " +
                                                              to_string(next - data_offset_) + " is needed: " + why);
        }
        next = round_up(start + sorted[i]->data.size(), alignment_);
    }
    if (file_->size() > next) {
        throw Error(path(), "file size", to_string(file_->size()) + " bytes, the tensors end at byte " + to_string(next) +
                                             " (trailing bytes?)");
    }
}

}  // namespace llama512
