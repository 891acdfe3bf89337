#include "files/mapped_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.hpp"

namespace llama512 {

MappedFile::MappedFile(const std::string& path) : path_(path) {
    // O_NONBLOCK: opening a named pipe must not wait for a writer. It changes nothing for regular files.
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) throw Error(path, "open", std::strerror(errno));

    struct stat status {};
    const bool known = fstat(fd, &status) == 0;
    const bool regular = known && S_ISREG(status.st_mode);
    const std::size_t size = regular ? static_cast<std::size_t>(status.st_size) : 0;
    void* const address = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    const int mmap_errno = errno;
    close(fd);  // the mapping stays

    if (!regular) throw Error(path, "file type", "not a regular file, a file is needed");
    if (size == 0) throw Error(path, "file size", "0 bytes, the file is empty");
    if (address == MAP_FAILED) throw Error(path, "mmap", std::strerror(mmap_errno));
    bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace llama512
