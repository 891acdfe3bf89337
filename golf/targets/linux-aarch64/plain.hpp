// Linux on AArch64.
#pragma once

// @output
inline void write(const char* text, long length) {
  register long number asm("x8") = 64;
  register long file asm("x0") = 1;  // the standard output
  register const char* from asm("x1") = text;
  register long count asm("x2") = length;
  asm volatile("svc 0" : "+r"(file) : "r"(number), "r"(from), "r"(count) : "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register long number asm("x8") = 93;
  register long status asm("x0") = 0;
  asm volatile("svc 0" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
