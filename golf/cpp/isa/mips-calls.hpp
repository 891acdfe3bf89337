// How a program on Linux writes and ends, for golf/cpp/plain.cpp: MIPS32, in either order of bytes.
#pragma once

#ifdef __mips16
// MIPS16 reaches no floating-point registers. @rmsnorm
extern "C" [[gnu::used, gnu::nomips16]] double sqrt(double square) {
  return __builtin_sqrt(square);
}
#endif

// MIPS16 has no such instruction. (hi and lo, where there are any, hold nothing here.) @output
[[gnu::nomips16]] inline void write(const char* text, int length) {
  register int number asm("$2") = 4004;
  register int file asm("$4") = 1;  // the standard output
  register const char* from asm("$5") = text;
  register int count asm("$6") = length;
  asm volatile("syscall" : "+r"(number) : "r"(file), "r"(from), "r"(count)
               : "$1", "$3", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$24", "$25", "memory");
}

// @loop
[[noreturn, gnu::nomips16]] inline void exit() {
  register int number asm("$2") = 4001;
  register int status asm("$4") = 0;
  asm volatile("syscall" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
