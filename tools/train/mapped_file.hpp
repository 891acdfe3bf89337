// mapped_file.hpp: a file of any size, read-only in memory.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "error.hpp"

namespace llama512::train {

class MappedFile {
public:
    explicit MappedFile(const std::string& path) {
        // O_NONBLOCK: opening a named pipe must not wait for a writer.
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat status {};
        if (file < 0 || ::fstat(file, &status) != 0) {
            const std::string reason = std::strerror(errno);
            if (file >= 0) ::close(file);
            throw Error(path, "cannot read: " + reason);
        }
        size_ = static_cast<std::size_t>(status.st_size);
        if (!S_ISREG(status.st_mode) || size_ == 0) {
            ::close(file);
            throw Error(path, S_ISREG(status.st_mode) ? "the file is empty" : "not a regular file");
        }
        data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
        ::close(file);
        if (data_ == MAP_FAILED) throw Error(path, std::string("cannot map: ") + std::strerror(errno));
    }

    ~MappedFile() { ::munmap(data_, size_); }
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::string_view text() const { return {static_cast<const char*>(data_), size_}; }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace llama512::train
