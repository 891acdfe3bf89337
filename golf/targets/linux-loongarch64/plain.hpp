// Linux on LoongArch.
#pragma once

// @output
inline void write(const char* text, long length) {
  register long number asm("a7") = 64;
  register long file asm("a0") = 1;  // the standard output
  register const char* from asm("a1") = text;
  register long count asm("a2") = length;
  asm volatile("syscall 0" : "+r"(file) : "r"(number), "r"(from), "r"(count)
               : "$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$t8", "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register long number asm("a7") = 93;
  register long status asm("a0") = 0;
  asm volatile("syscall 0" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
