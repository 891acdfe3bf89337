// The container: what it holds in each version, and what is refused.

#include "files/gguf.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <gtest/gtest.h>

#include "gguf_writer.hpp"

namespace llama512::test {
namespace {

class GgufTest : public testing::Test {
protected:
    /// Calls `look` with the file open.
    template <typename Look>
    void open(const std::string& bytes, Look look) {
        write_file(path_, bytes);
        const MappedFile file(path_);
        look(Gguf(file));
    }

    /// The message, without the file's name, of opening the file and asking for its tensors.
    std::string error(const std::string& bytes) {
        std::string message = error_of([&] { open(bytes, [](const Gguf& gguf) { gguf.tensors(); }); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }
    std::string error(const GgufFile& file) { return error(file.bytes()); }

    /// The message of asking for a value.
    template <typename Ask>
    std::string error_of_value(const GgufFile& file, Ask ask) {
        std::string message = error_of([&] { open(file.bytes(), ask); });
        if (message.starts_with(path_ + ": ")) message = message.substr(path_.size() + 2);
        return message;
    }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("model.gguf");
};

/// Two tensors: 5 values, and 2 x 3 values.
GgufFile small_file(std::uint64_t alignment = 32) {
    GgufFile file;
    file.alignment = alignment;
    file.set("general.name", meta("small"));
    file.tensors = {{"first", {5}, kF32, encode(kF32, {1, 2, 3, 4, 5})},
                    {"second", {2, 3}, kBF16, encode(kBF16, {1, 2, 3, 4, 5, 6})}};
    return file;
}

template <typename T>
std::string with(std::string bytes, std::size_t offset, T value) {
    std::copy_n(reinterpret_cast<const char*>(&value), sizeof value, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    return bytes;
}

TEST_F(GgufTest, IsToldByItsMagic) {
    for (const auto& [text, expected] : {std::pair{"GGUF", true}, {"GGUF1234", true}, {"GGU", false}, {"FUGG", false}}) {
        write_file(path_, text);
        EXPECT_EQ(is_gguf(MappedFile(path_)), expected) << text;
    }
}

TEST_F(GgufTest, HoldsEveryTypeOfValueInEveryVersion) {
    for (const std::uint32_t version : {1u, 2u, 3u}) {
        GgufFile file;
        file.version = version;
        file.set("u8", meta(std::uint8_t{200}));
        file.set("i8", meta(std::int8_t{100}));
        file.set("u16", meta(std::uint16_t{60000}));
        file.set("i16", meta(std::int16_t{30000}));
        file.set("u32", meta(std::uint32_t{4000000000}));
        file.set("i32", meta(std::int32_t{2000000000}));
        file.set("u64", meta(std::uint64_t{1} << 62));
        file.set("i64", meta(std::int64_t{1} << 61));
        file.set("minus", meta(std::int8_t{-7}));
        file.set("minus16", meta(std::int16_t{-7000}));
        file.set("minus32", meta(std::int32_t{-70000}));
        file.set("minus64", meta(std::int64_t{-7000000000}));
        file.set("large", meta(UINT64_MAX));
        file.set("f32", meta(0.1f));
        file.set("f64", meta(0.1));
        file.set("bool", meta(true));
        file.set("false", meta(false));
        file.set("text", meta("A text"));
        file.set("empty", meta(""));
        file.set("numbers", meta_array(std::vector<float>{1.5f, -2}));
        file.set("integers", meta_array(std::vector<std::int16_t>{5, 0, 32767}));
        file.set("texts", meta_array(std::vector<std::string>{"a", "", "\u2581b"}));
        file.set("bools", meta_array(7, {meta(true), meta(false)}));
        file.set("no_values", meta_array(std::vector<std::uint64_t>{}));
        file.set("nested", meta_array(9, {meta_array(std::vector<float>{1}), meta_array(std::vector<std::string>{"x", "y"}),
                                          meta_array(9, {meta_array(std::vector<std::uint8_t>{1, 2, 3})})}));
        file.set("after", meta("read"));
        open(file.bytes(), [&](const Gguf& gguf) {
            EXPECT_EQ(gguf.keys().size(), file.metadata.size());
            EXPECT_EQ(gguf.keys().front(), "u8");
            EXPECT_EQ(gguf.keys().back(), "after");
            EXPECT_EQ(gguf.integer("u8"), 200);
            EXPECT_EQ(gguf.integer("i8"), 100);
            EXPECT_EQ(gguf.integer("u16"), 60000);
            EXPECT_EQ(gguf.integer("i16"), 30000);
            EXPECT_EQ(gguf.integer("u32"), 4000000000);
            EXPECT_EQ(gguf.integer("i32"), 2000000000);
            EXPECT_EQ(gguf.integer("u64"), std::int64_t{1} << 62);
            EXPECT_EQ(gguf.integer("i64"), std::int64_t{1} << 61);
            EXPECT_EQ(gguf.number("f32"), 0.1f);
            EXPECT_EQ(gguf.text("text"), "A text");
            EXPECT_EQ(gguf.text("empty"), "");
            EXPECT_EQ(gguf.numbers("numbers"), (std::vector<float>{1.5f, -2}));
            EXPECT_EQ(gguf.integers("integers"), (std::vector<std::int64_t>{5, 0, 32767}));
            EXPECT_EQ(gguf.texts("texts"), (std::vector<std::string_view>{"a", "", "\u2581b"}));
            EXPECT_EQ(gguf.integers("no_values"), std::vector<std::int64_t>{});
            EXPECT_EQ(gguf.text("after"), "read");
            EXPECT_EQ(gguf.integer("none"), std::nullopt);
            EXPECT_EQ(gguf.number("none"), std::nullopt);
            EXPECT_EQ(gguf.text("none"), std::nullopt);
            EXPECT_EQ(gguf.integers("none"), std::nullopt);
            EXPECT_EQ(gguf.numbers("none"), std::nullopt);
            EXPECT_EQ(gguf.texts("none"), std::nullopt);
            for (const auto& [key, text] : std::vector<std::pair<const char*, const char*>>{
                     {"u8", "200"}, {"i8", "100"}, {"u16", "60000"}, {"i16", "30000"}, {"u32", "4000000000"},
                     {"i32", "2000000000"}, {"minus", "-7"}, {"minus16", "-7000"}, {"minus32", "-70000"},
                     {"minus64", "-7000000000"}, {"large", "18446744073709551615"}, {"f32", "0.100000001"},
                     {"f64", "0.10000000000000001"}, {"bool", "true"}, {"false", "false"}, {"text", "'A text'"},
                     {"empty", "''"}, {"texts", "array of 3 string"}, {"nested", "array of 3 array"}, {"no", "none"}}) {
                EXPECT_EQ(gguf.describe(key), text);
            }
        });
    }
}

TEST_F(GgufTest, RefusesValuesOfAnotherKind) {
    GgufFile file;
    file.set("text", meta("A text"));
    file.set("minus", meta(std::int32_t{-7}));
    file.set("large", meta(UINT64_MAX));
    file.set("f32", meta(0.5f));
    file.set("f64", meta(0.5));
    file.set("bool", meta(true));
    file.set("minuses", meta_array(std::vector<std::int32_t>{1, -1}));
    const auto integer = [&](const char* key) {
        return error_of_value(file, [=](const Gguf& gguf) { gguf.integer(key); });
    };
    EXPECT_EQ(integer("text"), "text: 'A text', a whole number from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(integer("minus"), "minus: -7, a whole number from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(integer("large"), "large: 18446744073709551615, a whole number from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(integer("f32"), "f32: 0.5, a whole number from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(integer("bool"), "bool: true, a whole number from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(integer("minuses"), "minuses: array of 2 int32, a whole number from 0 to 2^63 - 1 is needed");
    EXPECT_EQ(error_of_value(file, [](const Gguf& gguf) { gguf.number("f64"); }), "f64: 0.5, a float32 is needed");
    EXPECT_EQ(error_of_value(file, [](const Gguf& gguf) { gguf.text("f32"); }), "f32: 0.5, a string is needed");
    for (const char* key : {"f32", "minuses"}) {
        const std::string start = std::string(key) + (key[0] == 'f' ? ": 0.5, " : ": array of 2 int32, ");
        EXPECT_EQ(error_of_value(file, [=](const Gguf& gguf) { gguf.integers(key); }),
                  start + "an array of whole numbers from 0 to 2^63 - 1 is needed");
        EXPECT_EQ(error_of_value(file, [=](const Gguf& gguf) { gguf.numbers(key); }),
                  start + "an array of float32 is needed");
        EXPECT_EQ(error_of_value(file, [=](const Gguf& gguf) { gguf.texts(key); }), start + "an array of strings is needed");
    }
}

TEST_F(GgufTest, HoldsTensorsInAnyAlignmentAndOrder) {
    for (const std::uint32_t version : {1u, 2u, 3u}) {
        for (const std::uint32_t alignment : {8u, 16u, 24u, 32u, 64u, 4096u}) {
            GgufFile file = small_file(alignment);
            file.version = version;
            if (alignment != 32) file.set("general.alignment", meta(alignment));
            for (const bool swapped : {false, true}) {
                if (swapped) {  // in the table; the data stay where they are
                    file.tensors[1].offset = 0;
                    file.tensors[0].offset = alignment > 12 ? alignment : 16;
                    std::swap(file.tensors[0].data, file.tensors[1].data);
                }
                std::string bytes = file.bytes();
                if (swapped) std::swap(file.tensors[0].data, file.tensors[1].data);
                open(bytes, [&](const Gguf& gguf) {
                    const std::vector<GgufTensor> tensors = gguf.tensors();
                    ASSERT_EQ(tensors.size(), 2u);
                    for (std::size_t i = 0; i < 2; i++) {
                        EXPECT_EQ(tensors[i].name, file.tensors[i].name);
                        EXPECT_EQ(tensors[i].type->number, file.tensors[i].type);
                        EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensors[i].data.data()), tensors[i].data.size()),
                                  file.tensors[i].data);
                    }
                    EXPECT_EQ(tensors[0].dimensions, (std::array<std::uint64_t, 4>{5, 1, 1, 1}));
                    EXPECT_EQ(tensors[1].dimensions, (std::array<std::uint64_t, 4>{2, 3, 1, 1}));
                });
            }
        }
    }
}

TEST_F(GgufTest, RefusesEveryFileThatEndsEarly) {
    for (const std::uint32_t version : {1u, 2u, 3u}) {
        GgufFile file = small_file();
        file.version = version;
        file.set("numbers", meta_array(std::vector<float>{1, 2, 3}));
        file.set("nested", meta_array(9, {meta_array(std::vector<std::string>{"x", "y"})}));
        file.set("bool", meta(true));
        EXPECT_EQ(error(file), "");
        for (std::size_t size = file.bytes().size() - 1; size >= 4; size--) {
            std::filesystem::resize_file(path_, size);
            const std::string message = error_of([&] { Gguf(MappedFile(path_)).tensors(); });
            EXPECT_TRUE(message.ends_with("(truncated?)")) << size << ": " << message;
        }
    }
}

TEST_F(GgufTest, SaysWhereTheFileEnds) {
    const std::string bytes = small_file().bytes();
    EXPECT_EQ(error(bytes.substr(0, 6)), "version: the file ends at byte 6, 4 bytes are needed at byte 4 (truncated?)");
    EXPECT_EQ(error(bytes.substr(0, 20)), "tensor_count: 2, the 4 bytes after it hold at most 0 (truncated?)");
    EXPECT_EQ(error(bytes.substr(0, 30)), "tensor_count: 2, the 14 bytes after it hold at most 0 (truncated?)");
    EXPECT_EQ(error(bytes.substr(0, bytes.size() - 1)),
              "second: offset 32 and size 12, the file of " + std::to_string(bytes.size() - 1) +
                  " bytes has 43 for all tensors (truncated?)");
}

TEST_F(GgufTest, PaddingAtTheEndMayBeThereOrNot) {
    const std::string bytes = small_file().bytes();  // its last tensor has 12 bytes
    EXPECT_EQ(error(bytes + std::string(20, '\0')), "");
    EXPECT_EQ(error(bytes + std::string(7, '\0')), "");
    const std::string size = std::to_string(bytes.size() + 21);
    EXPECT_EQ(error(bytes + std::string(21, '\0')),
              "file size: " + size + " bytes, the tensors end at byte " + std::to_string(bytes.size() + 20) +
                  " (trailing bytes?)");
}

TEST_F(GgufTest, RefusesOtherVersions) {
    GgufFile file = small_file();
    for (const std::uint32_t version : {0u, 4u, 0x10001u, UINT32_MAX}) {
        file.version = version;
        EXPECT_EQ(error(file), "version: " + std::to_string(version) + ", 1, 2 or 3 is needed");
    }
    file.version = 0x03000000;
    EXPECT_EQ(error(file), "version: 50331648, 1, 2 or 3 is needed: this file is big-endian, convert it to little-endian "
                           "with llama.cpp's gguf_convert_endian.py");
}

TEST_F(GgufTest, RefusesCountsThatTheFileCannotHold) {
    for (const std::uint32_t version : {1u, 3u}) {
        for (const std::uint64_t count : {std::uint64_t{100}, std::uint64_t{UINT32_MAX}, UINT64_MAX / 32 + 1, UINT64_MAX}) {
            if (version == 1 && count > UINT32_MAX) continue;
            GgufFile file = small_file();
            file.version = version;
            file.tensor_count = count;
            EXPECT_TRUE(error(file).starts_with("tensor_count: " + std::to_string(count) + ", the ")) << error(file);
            file.tensor_count = {};
            file.metadata_count = count;
            EXPECT_TRUE(error(file).starts_with("metadata_kv_count: " + std::to_string(count) + ", the ")) << error(file);
        }
    }
    GgufFile file = small_file();
    file.metadata_count = 2;  // one too many: the first tensor is read as a key
    EXPECT_NE(error(file), "");
    file.metadata_count = 0;
    EXPECT_NE(error(file), "");
}

TEST_F(GgufTest, RefusesLengthsThatTheFileCannotHold) {
    const std::size_t key_size = 4 + 4 + 8 + 8;      // after the header
    const std::size_t value = key_size + 8 + 12;     // after "general.name"
    const std::string bytes = small_file().bytes();
    for (const std::uint64_t length : {std::uint64_t{1} << 20, std::uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 30}) {
        EXPECT_EQ(error(with(bytes, key_size, length)),
                  "metadata 0: the file ends at byte " + std::to_string(bytes.size()) + ", " + std::to_string(length) +
                      " bytes are needed at byte 32 (truncated?)");
        EXPECT_EQ(error(with(bytes, value + 4, length)),
                  "general.name: the file ends at byte " + std::to_string(bytes.size()) + ", " + std::to_string(length) +
                      " bytes are needed at byte 56 (truncated?)");
    }
    // An array's count, of elements of each size.
    for (const auto& [element_type, size] : {std::pair{0u, 1u}, {4u, 4u}, {10u, 8u}, {8u, 8u}, {9u, 12u}}) {
        GgufFile file;
        file.set("array", meta_array(element_type, {}));
        const std::string good = file.bytes();
        EXPECT_EQ(error(good), "");
        for (const std::uint64_t count : {std::uint64_t{1}, std::uint64_t{1} << 61, UINT64_MAX / 4, UINT64_MAX}) {
            const std::string message = error(with(good, good.size() - 8, count));
            EXPECT_TRUE(message.starts_with("array: the file ends at byte ")) << size << ": " << message;
        }
    }
}

TEST_F(GgufTest, RefusesBadKeys) {
    for (const std::string& key : {std::string(), std::string("a b"), std::string("caf\u00E9"), std::string("a\0b", 3),
                                  std::string(65536, 'k')}) {
        GgufFile file = small_file();
        file.set(key, meta(true));
        const std::string message = error(file);
        EXPECT_TRUE(message.starts_with("metadata 1: key '")) << message;
        EXPECT_TRUE(message.ends_with("' of " + std::to_string(key.size()) +
                                      " bytes, 1 to 65535 printable ASCII characters are needed")) << message;
        EXPECT_LT(message.size(), 200u);
    }
    GgufFile file = small_file();
    file.metadata.push_back(file.metadata[0]);
    EXPECT_EQ(error(file), "general.name: metadata 1 has the key again, each must be there once");
    file = small_file();
    file.set(std::string(65535, 'k'), meta(true));
    EXPECT_EQ(error(file), "");
}

TEST_F(GgufTest, RefusesBadTypesOfValues) {
    for (const std::uint32_t type : {13u, 255u, UINT32_MAX}) {
        GgufFile file = small_file();
        file.set("odd", MetaValue{type, "12345678", 0, {}});
        EXPECT_EQ(error(file), "odd: type " + std::to_string(type) + ", a type from 0 to 12 is needed");
        file.set("odd", meta_array(type, {}));
        EXPECT_EQ(error(file), "odd: type " + std::to_string(type) + ", a type from 0 to 12 is needed");
    }
    GgufFile file = small_file();
    file.set("odd", MetaValue{7, "\x02", 0, {}});
    EXPECT_EQ(error(file), "odd: 2, 0 or 1 is needed for a bool");
}

TEST_F(GgufTest, ReadsArraysFourDeepAndNoDeeper) {
    MetaValue value = meta_array(std::vector<std::uint8_t>{1, 2});
    for (int depth = 2; depth <= 4; depth++) value = meta_array(9, {value});
    GgufFile file = small_file();
    file.set("deep", value);
    file.set("after", meta(true));
    EXPECT_EQ(error(file), "");
    file.set("deep", meta_array(9, {value}));
    EXPECT_EQ(error(file), "deep: an array more than 4 deep, at most 4 are supported");
}

TEST_F(GgufTest, RefusesBadAlignments) {
    for (const std::uint64_t alignment : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{12}, std::uint64_t{33},
                                          std::uint64_t{1} << 32}) {
        GgufFile file = small_file();
        file.set("general.alignment", meta(alignment));
        EXPECT_EQ(error(file),
                  "general.alignment: " + std::to_string(alignment) + ", a multiple of 8 below 2^32 is needed");
    }
    GgufFile file = small_file();
    file.set("general.alignment", meta("32"));
    EXPECT_EQ(error(file), "general.alignment: '32', a whole number from 0 to 2^63 - 1 is needed");
    file.set("general.alignment", meta(std::uint32_t{0xFFFFFFF8}));
    EXPECT_TRUE(error(file).ends_with("bytes has 0 for all tensors (truncated?)")) << error(file);
    file.set("general.alignment", meta(std::uint32_t{64}));  // which the file does not keep
    EXPECT_EQ(error(file), "second: offset 32, a multiple of the alignment 64 is needed");
}

TEST_F(GgufTest, RefusesBadTensorNames) {
    for (const std::string& name : {std::string(), std::string(65, 'n')}) {
        GgufFile file = small_file();
        file.tensors[1].name = name;
        const std::string message = error(file);
        EXPECT_TRUE(message.starts_with("tensor 1: name '")) << message;
        EXPECT_TRUE(message.ends_with("' of " + std::to_string(name.size()) + " bytes, 1 to 64 are needed")) << message;
    }
    GgufFile file = small_file();
    file.tensors[1].name = "first";
    EXPECT_EQ(error(file), "first: 2 tensors have this name, each must be there once");
    file.tensors[1].name = std::string(64, 'n');
    EXPECT_EQ(error(file), "");
}

TEST_F(GgufTest, RefusesBadDimensions) {
    GgufFile file = small_file();
    file.tensors[1].dimensions = {};
    EXPECT_EQ(error(file), "second: 0 dimensions, 1 to 4 are needed");
    file.tensors[1].dimensions = {2, 3, 1, 1, 1};
    EXPECT_EQ(error(file), "second: 5 dimensions, 1 to 4 are needed");
    file.tensors[1].dimensions = {2, 3, 1, 1};
    EXPECT_EQ(error(file), "");
    const auto refused = [&](std::vector<std::uint64_t> dimensions, const std::string& shown) {
        file.tensors[1].dimensions = std::move(dimensions);
        const std::string message = error(file);
        EXPECT_EQ(message, "second: dimension " + shown + ", at least 1 is needed, and values that fit into the file of " +
                               std::to_string(file.bytes().size()) + " bytes (truncated?)");
    };
    refused({0, 3}, "0");
    refused({2, 0}, "0");
    refused({UINT64_MAX, 3}, "18446744073709551615");
    refused({1, std::uint64_t{1} << 63}, "9223372036854775808");
    refused({32, 2, 2, std::uint64_t{1} << 58}, "288230376151711744");  // the product is 2^65: 2 in 64 bits
    file.tensors[1].dimensions = {2, 4};
    EXPECT_TRUE(error(file).ends_with("has 44 for all tensors (truncated?)")) << error(file);
}

TEST_F(GgufTest, RefusesTypesOfTensorsThatItCannotRead) {
    const std::string needed = ", F32, F16, BF16, Q8_0 or Q4_0 is needed: convert the model to F16 or Q8_0";
    GgufFile file = small_file();
    for (const auto& [type, shown] : {std::pair{12u, "Q4_K (12)"}, {3u, "Q4_1 (3)"}, {28u, "F64 (28)"}, {4u, "4"},
                                      {1000u, "1000"}, {UINT32_MAX, "4294967295"}}) {
        file.tensors[1].type = type;
        EXPECT_EQ(error(file), std::string("second: type ") + shown + needed);
    }
}

TEST_F(GgufTest, RefusesRowsThatAreNoWholeBlocks) {
    for (const auto& [type, name] : {std::pair{kQ8_0, "Q8_0"}, {kQ4_0, "Q4_0"}}) {
        GgufFile file;
        file.tensors = {{"t", {16, 2}, type, encode(type, random_values_of(type, 32, 1))}};
        EXPECT_EQ(error(file), std::string("t: rows of 16 values, a multiple of 32 is needed for ") + name);
        file.tensors[0].dimensions = {32};
        EXPECT_EQ(error(file), "");
    }
}

TEST_F(GgufTest, RefusesTensorsThatOverlapOrLeaveRoom) {
    GgufFile file = small_file(8);
    file.set("general.alignment", meta(std::uint32_t{8}));
    EXPECT_EQ(error(file), "");
    const auto refused = [&](std::uint64_t first, std::uint64_t second, const std::string& expected) {
        file.tensors[0].offset = first;
        file.tensors[1].offset = second;
        EXPECT_EQ(error(file.bytes() + std::string(32, '\0')), expected);
    };
    refused(0, 0, "second: offset 0, 24 is needed: it overlaps first");
    refused(0, 16, "second: offset 16, 24 is needed: it overlaps first");
    refused(0, 32, "second: offset 32, 24 is needed: tensors follow each other without a gap");
    refused(8, 32, "first: offset 8, 0 is needed: tensors follow each other without a gap");
    refused(8, 0, "first: offset 8, 16 is needed: it overlaps second");
    refused(0, 20, "second: offset 20, a multiple of the alignment 8 is needed");
    for (const std::uint64_t far : {std::uint64_t{1} << 20, std::uint64_t{1} << 63, UINT64_MAX - 7}) {
        file.tensors[1].offset = far;
        EXPECT_TRUE(error(file).starts_with("second: offset " + std::to_string(far) + " and size 12, the file of "));
    }
}

TEST_F(GgufTest, ShortensWhatItShows) {
    EXPECT_EQ(shorten("a\nb\x1B\u2581"), "a?b????");
    EXPECT_EQ(shorten(std::string(64, 'x')), std::string(64, 'x'));
    EXPECT_EQ(shorten(std::string(65, 'x')), std::string(64, 'x') + "...");
}

}  // namespace
}  // namespace llama512::test
