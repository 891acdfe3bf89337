// output_file.hpp: a file that appears under its name only when it is complete.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace llama512 {

/// Writes to a temporary file beside `path`. commit() gives it its name; without commit() it is removed.
/// Every function throws Error when the file cannot be written.
class OutputFile {
public:
    /// Refuses a `path` that exists and is no regular file (a device, a folder, a link): renaming would replace it.
    explicit OutputFile(const std::string& path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::span<const float> values);  // float32, little-endian
    void write(std::string_view text);
    void commit();

private:
    [[noreturn]] void fail() const;

    std::string path_;
    std::string temporary_path_;
    std::FILE* file_;
};

}  // namespace llama512
