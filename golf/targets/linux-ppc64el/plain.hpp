// Linux on 64-bit PowerPC.
#pragma once

// @output
inline void write(const char* text, long length) {
  register long number asm("r0") = 4;
  register long file asm("r3") = 1;  // the standard output
  register const char* from asm("r4") = text;
  register long count asm("r5") = length;
  asm volatile("sc" : "+r"(number), "+r"(file), "+r"(from), "+r"(count) :
               : "cr0", "ctr", "r7", "r8", "r9", "r10", "r11", "r12", "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register long number asm("r0") = 1;
  register long status asm("r3") = 0;
  asm volatile("sc" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
