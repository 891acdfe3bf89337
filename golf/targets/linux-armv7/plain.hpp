// Linux on Armv7.
#pragma once

extern "C" [[noreturn]] void start();  // so it saves no registers

// @output
inline void write(const char* text, int length) {
  register int number asm("r7") = 4;
  register int file asm("r0") = 1;  // the standard output
  register const char* from asm("r1") = text;
  register int count asm("r2") = length;
  asm volatile("svc 0" : "+r"(file) : "r"(number), "r"(from), "r"(count) : "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register int number asm("r7") = 1;
  register int status asm("r0") = 0;
  asm volatile("svc 0" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
