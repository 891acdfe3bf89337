// Linux on z/Architecture.
#pragma once

// @output
inline void write(const char* text, long length) {
  register long file asm("r2") = 1;  // the standard output
  register const char* from asm("r3") = text;
  register long count asm("r4") = length;
  asm volatile("svc 4" : "+r"(file) : "r"(from), "r"(count) : "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register long status asm("r2") = 0;
  asm volatile("svc 1" : : "r"(status));
  __builtin_unreachable();
}
