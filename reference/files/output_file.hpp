// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace llama512 {

/// Writes to a temporary file beside `path`. commit() gives it its name; without commit() it is removed.
/// A device in /dev/, such as /dev/stdout, is written directly: there is nothing to rename.
/// Every function throws Error when the file cannot be written.
class OutputFile {
public:
    /// Refuses a `path` that exists and is no regular file (a folder, a link, a pipe): renaming would replace it.
    explicit OutputFile(const std::string& path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::string_view text);
    /// The values' bytes, little-endian.
    template <typename T>
    void write(std::span<T> values) {
        static_assert(std::is_trivially_copyable_v<T>);
        write(std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
    }
    template <typename T>
    void write_value(const T& value) {
        write(std::span(&value, 1));
    }
    void commit();

private:
    [[noreturn]] void fail() const;

    std::string path_;
    std::string temporary_path_;  // path_ itself for a device
    std::FILE* file_ = nullptr;   // null after commit()
};

}  // namespace llama512
