#include "files/output_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

#include "error.hpp"

namespace llama512 {

namespace fs = std::filesystem;

OutputFile::OutputFile(const std::string& path)
    : path_(path), temporary_path_(path + ".tmp" + std::to_string(getpid())), file_(nullptr) {
    std::error_code ignored;
    const fs::file_status status = fs::symlink_status(path, ignored);
    if (fs::exists(status) && !fs::is_regular_file(status)) {
        throw Error(path, "file type", "not a regular file, the name of a file to write is needed");
    }
    file_ = std::fopen(temporary_path_.c_str(), "wbx");
    if (file_ == nullptr) fail();
}

OutputFile::~OutputFile() {
    if (file_ == nullptr) return;
    std::fclose(file_);
    std::remove(temporary_path_.c_str());
}

void OutputFile::write(std::span<const float> values) {
    if (std::fwrite(values.data(), sizeof(float), values.size(), file_) != values.size()) fail();
}

void OutputFile::write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail();
}

void OutputFile::commit() {
    if (std::fflush(file_) != 0) fail();
    if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) fail();
    std::fclose(file_);
    file_ = nullptr;
}

void OutputFile::fail() const {
    throw Error(path_, "write", std::strerror(errno));
}

}  // namespace llama512
