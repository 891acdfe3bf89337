// Linux on Alpha.
#pragma once

// A function expects its own address in register 27; a program begins without it.
asm(".globl entry\nentry: br $27, 0f\n0: lda $27, start - 0b($27)\nbr $31, start");

// @output
inline void write(const char* text, long length) {
  register long number asm("$0") = 4;
  register long file asm("$16") = 1;  // the standard output
  register const char* from asm("$17") = text;
  register long count asm("$18") = length;
  asm volatile("callsys" : "+r"(number) : "r"(file), "r"(from), "r"(count)
               : "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$19", "$20", "$21", "$22", "$23", "$24", "$25",
                 "$27", "$28", "memory");
}

// @loop
[[noreturn]] inline void exit() {
  register long number asm("$0") = 1;
  register long status asm("$16") = 0;
  asm volatile("callsys" : : "r"(number), "r"(status));
  __builtin_unreachable();
}
