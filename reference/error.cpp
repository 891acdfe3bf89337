#include "error.hpp"

#include <algorithm>
#include <cstdio>

namespace llama512 {

void report_error(const char* program, std::string message) {
    std::ranges::replace_if(message, [](unsigned char c) { return c < ' ' || c == 0x7F; }, '?');
    std::fprintf(stderr, "%s: error: %s\n", program, message.c_str());
}

}  // namespace llama512
