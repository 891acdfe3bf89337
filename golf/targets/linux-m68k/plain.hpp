// Linux on 68k.
#pragma once

// @output
inline void write(const char* text, int length) {
  register int number asm("d0") = 4;
  register int file asm("d1") = 1;  // the standard output
  register const char* from asm("d2") = text;
  register int count asm("d3") = length;
  asm volatile("trap #0" : "+r"(number) : "r"(file), "r"(from), "r"(count) : "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register int number asm("d0") = 1;
  register int status asm("d1") = 0;
  asm volatile("trap #0" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
