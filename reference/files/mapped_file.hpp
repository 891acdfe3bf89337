// A file as bytes in memory, read-only.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace llama512 {

// Checkpoints and tokenizers are little-endian files, and are read as they are.
static_assert(std::endian::native == std::endian::little, "this program needs a little-endian machine");

/// Maps a whole file into memory with mmap(2): the kernel loads pages when they are first read,
/// and programs that run at the same time share them.
class MappedFile {
public:
    /// Throws Error when the file cannot be opened, is not a regular file, or is empty.
    explicit MappedFile(const std::string& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    const std::string& path() const { return path_; }
    std::size_t size() const { return bytes_.size(); }
    std::span<const std::byte> bytes() const { return bytes_; }
    std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

    /// The value of type T that starts at byte `offset`. Needs offset + sizeof(T) <= size().
    template <typename T>
    T read(std::size_t offset) const {
        T value;
        std::memcpy(&value, bytes_.subspan(offset, sizeof(T)).data(), sizeof(T));
        return value;
    }

private:
    std::string path_;
    std::span<const std::byte> bytes_;
};

}  // namespace llama512
