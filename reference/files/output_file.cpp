#include "files/output_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

#include "error.hpp"

namespace llama512 {

namespace fs = std::filesystem;

OutputFile::OutputFile(const std::string& path) : path_(path) {
    std::error_code ignored;
    const fs::file_status status = fs::symlink_status(path, ignored);
    const bool replaceable = !fs::exists(status) || fs::is_regular_file(status);
    // By its name, for /dev/stdout is a link to whatever the standard output is: a terminal, a pipe, a file.
    const bool device = !replaceable && path.starts_with("/dev/") && !fs::is_directory(path, ignored);
    if (!replaceable && !device) {
        throw Error(path, "file type", "not a regular file, the name of a file to write is needed");
    }
    temporary_path_ = device ? path : path + "." + std::to_string(getpid()) + ".tmp";
    file_ = std::fopen(temporary_path_.c_str(), device ? "wb" : "wbx");
    if (file_ == nullptr) fail();
}

OutputFile::~OutputFile() {
    if (file_ == nullptr) return;
    std::fclose(file_);
    if (temporary_path_ != path_) std::remove(temporary_path_.c_str());
}

void OutputFile::write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail();
}

void OutputFile::commit() {
    // Closed before it gets its name: some file systems tell only then that it could not be written.
    const bool closed = std::fclose(file_) == 0;
    file_ = nullptr;
    const bool device = temporary_path_ == path_;
    if (closed && (device || std::rename(temporary_path_.c_str(), path_.c_str()) == 0)) return;
    const int reason = errno;
    if (!device) std::remove(temporary_path_.c_str());
    errno = reason;
    fail();
}

void OutputFile::fail() const {
    throw Error(path_, "write", std::strerror(errno));
}

}  // namespace llama512
