// Linux on AArch64.
//
// The kernel clears all registers before a program begins: n and j are 0, so the first token, BOS, writes nothing. What weights
// in steps are loaded into is 0, too.
#pragma once

#include "isa/aarch64.hpp"

// dim * epsilon. Its lower half is e_type and e_machine: they change its eighth digit.
extern "C" [[gnu::section(".header.epsilon")]] const unsigned header_epsilon;
const unsigned header_epsilon = __builtin_bit_cast(unsigned long, dim * rms_epsilon) >> 32;  // @rmsnorm

// In the header's free bytes stands what has the same length for every shape (-16). All of it is done once.
#define JUMP(target) { asm volatile("b " #target ::: "memory"); __builtin_unreachable(); }
extern "C" void start_2(), start_3(), story();
CODE(".start") start() {
  asm volatile("mov %0, %1" : "=r"(x) : "i"(first_row - x_unit));  // ones in a row: one instruction @loop
  asm volatile("mov %0, 64" : "=r"(number));  // @output
  JUMP(start_2)  // @loop
}
CODE(".start_2") start_2() {
  set_slowdown();  // @rope
  JUMP(start_3)  // @loop
}
CODE(".start_3") start_3() {
  constexpr long place = records + record_bytes;
  if constexpr (place < 0xff000) asm volatile("adr %0, model + %1" : "=r"(w) : "i"(place));  // @embedding
  else asm volatile("adrp %0, model + %1" : "=r"(w) : "i"(place));  // @embedding
  JUMP(story)  // @loop
}
INLINE void set_up() {
  asm volatile(".globl arena_end\n\t.set arena_end, %0" : : "i"(first_row + step * (seq_len + 1)));  // for doubles.ld
  constexpr long place = records + record_bytes;
  if constexpr (place >= 0xff000) asm volatile("add %0, %0, :lo12:model + %1" : "+r"(w) : "i"(place));  // @embedding
  if constexpr (!positions_by_bit) {
    t = seq_len + 1;
    fresh(t);
  }
}

INLINE void w_to_model() { asm volatile("adr %0, model" : "=r"(w)); }

// write(1, text, length): all is in its place already.
INLINE void write_piece() { asm volatile("svc 0" : "+r"(n) : "r"(w), "r"(j), "r"(number) : "memory"); }

// exit(0)
[[noreturn]] INLINE void exit() {
  asm volatile("mov x8, 93\n\tsvc 0" : : "r"(n));
  __builtin_unreachable();
}
