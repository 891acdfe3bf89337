// Files in and out: what is refused, and what is left behind.

#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "files/mapped_file.hpp"
#include "files/output_file.hpp"
#include "tiny_model.hpp"

namespace llama512::test {
namespace {

namespace fs = std::filesystem;

class FilesTest : public testing::Test {
protected:
    std::ptrdiff_t count() const { return std::distance(fs::directory_iterator(folder_.path(".")), {}); }

    TemporaryFolder folder_;
    std::string path_ = folder_.path("file");
};

TEST_F(FilesTest, MapsBytes) {
    write_file(path_, "abc\x01\x02");
    const MappedFile file(path_);
    EXPECT_EQ(file.text(), "abc\x01\x02");
    EXPECT_EQ(file.size(), 5u);
    EXPECT_EQ(file.read<std::uint16_t>(3), 0x0201);
}

TEST_F(FilesTest, MapsOnlyRegularFilesAndDoesNotWait) {
    ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
    for (const std::string& path : {path_, folder_.path("."), std::string("/dev/zero")}) {
        EXPECT_EQ(error_of([&] { MappedFile{path}; }), path + ": file type: not a regular file, a file is needed");
    }
    const std::string nowhere = folder_.path("none");
    EXPECT_EQ(error_of([&] { MappedFile{nowhere}; }), nowhere + ": open: No such file or directory");
}

TEST_F(FilesTest, WritesValuesAndText) {
    const std::vector<float> values = {1.0f, -2.0f};
    OutputFile file(path_);
    file.write("text");
    file.write(std::span(values));
    file.write_value(std::uint16_t{0x0201});
    EXPECT_FALSE(fs::exists(path_));
    file.commit();
    EXPECT_EQ(read_file(path_), std::string("text\0\0\x80\x3F\0\0\0\xC0\x01\x02", 14));
    EXPECT_EQ(count(), 1);
}

TEST_F(FilesTest, ReplacesAFileWhenCommitted) {
    write_file(path_, "old");
    {
        OutputFile file(path_);
        file.write("new");
    }
    EXPECT_EQ(read_file(path_), "old");
    OutputFile file(path_);
    file.write("new");
    file.commit();
    EXPECT_EQ(read_file(path_), "new");
    EXPECT_EQ(count(), 1);
}

TEST_F(FilesTest, ReplacesNothingElse) {
    const std::string link = folder_.path("link"), pipe = folder_.path("pipe"), folder = folder_.path("folder");
    fs::create_symlink(path_, link);
    fs::create_directory(folder);
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    for (const std::string& path : {link, pipe, folder, std::string("/dev/fd")}) {
        EXPECT_EQ(error_of([&] { OutputFile{path}; }),
                  path + ": file type: not a regular file, the name of a file to write is needed");
    }
    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_EQ(count(), 3);
}

TEST_F(FilesTest, WritesDevicesDirectly) {
    OutputFile null("/dev/null");
    null.write("text");
    null.commit();
    EXPECT_TRUE(fs::is_character_file("/dev/null"));

    OutputFile full("/dev/full");
    full.write("text");  // into a buffer
    EXPECT_EQ(error_of([&] { full.commit(); }), "/dev/full: write: No space left on device");
    EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST_F(FilesTest, LeavesNothingBehindWhenItCannotBeNamed) {
    OutputFile file(path_);
    fs::create_directory(path_);
    EXPECT_EQ(error_of([&] { file.commit(); }), path_ + ": write: Is a directory");
    EXPECT_EQ(count(), 1);
}

}  // namespace
}  // namespace llama512::test
