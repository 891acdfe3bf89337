// WebAssembly with WASI.
#pragma once

struct Text {
  const char* at;
  long length;
};
extern "C" [[clang::import_module("wasi_snapshot_preview1"), clang::import_name("fd_write")]]
int fd_write(int file, const Text* texts, int count, long* written);
extern "C" [[clang::export_name("_start")]] void start();

// @output
inline void write(const char* text, int length) {
  Text& all = *(Text*)4;
  all = {text, length};
  fd_write(1, &all, 1, &all.length);
}

inline void exit() {}
