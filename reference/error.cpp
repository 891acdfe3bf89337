#include "error.hpp"

#include <algorithm>
#include <cstdio>

namespace llama512 {

void report_error(const char* program, std::string message) {
    std::ranges::replace_if(message, [](char c) { return (c >= 0 && c < ' ') || c == '\x7F'; }, '?');
    std::fprintf(stderr, "%s: error: %s\n", program, message.c_str());
}

}  // namespace llama512
