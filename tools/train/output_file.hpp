// output_file.hpp: a file that appears under its name only when it is complete.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <unistd.h>

#include "error.hpp"

namespace llama512::train {

/// Writes to a temporary file beside `path`; commit() renames it to `path`. "/dev/…" is written directly.
class OutputFile {
public:
    explicit OutputFile(const std::string& path)
        : path_(path),
          temporary_(path.starts_with("/dev/") ? path : path + "." + std::to_string(getpid()) + ".tmp"),
          file_(std::fopen(temporary_.c_str(), "wb")) {
        if (file_ == nullptr) fail();
    }

    ~OutputFile() {
        if (file_ == nullptr) return;
        std::fclose(file_);
        if (temporary_ != path_) std::remove(temporary_.c_str());
    }

    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(const void* data, std::size_t n_bytes) {
        if (std::fwrite(data, 1, n_bytes, file_) != n_bytes) fail();
    }

    template <typename T>
    void write_value(const T& value) {
        write(&value, sizeof value);
    }

    void commit() {
        const bool closed = std::fclose(file_) == 0;
        file_ = nullptr;
        if (!closed || (temporary_ != path_ && std::rename(temporary_.c_str(), path_.c_str()) != 0)) fail();
    }

private:
    [[noreturn]] void fail() const { throw Error(path_, std::string("cannot write: ") + std::strerror(errno)); }

    std::string path_;
    std::string temporary_;
    std::FILE* file_;
};

}  // namespace llama512::train
