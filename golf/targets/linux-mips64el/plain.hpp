// Linux on MIPS64.
#pragma once

// @output
inline void write(const char* text, long length) {
  register long number asm("$2") = 5001;
  register long file asm("$4") = 1;  // the standard output
  register const char* from asm("$5") = text;
  register long count asm("$6") = length;
  asm volatile("syscall" : "+r"(number) : "r"(file), "r"(from), "r"(count)
               : "$1", "$3", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$24", "$25", "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register long number asm("$2") = 5058;
  register long status asm("$4") = 0;
  asm volatile("syscall" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
