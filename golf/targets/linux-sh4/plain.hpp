// Linux on SH-4.
#pragma once

// @output
inline void write(const char* text, int length) {
  register int number asm("r3") = 4;
  register int file asm("r4") = 1;  // the standard output
  register const char* from asm("r5") = text;
  register int count asm("r6") = length;
  asm volatile("trapa #0x13" : "+r"(file) : "r"(number), "r"(from), "r"(count) : "r0", "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register int number asm("r3") = 1;
  register int status asm("r4") = 0;
  asm volatile("trapa #0x13" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
