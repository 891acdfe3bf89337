// What an engine imports from WASI (preview 1): for doubles.hpp and plain.hpp.
#pragma once

struct Text {
  const void* at;
  long length;
};
extern "C" [[clang::import_module("wasi_snapshot_preview1"), clang::import_name("fd_write")]]
int fd_write(int file, const Text* texts, int count, long* written);
