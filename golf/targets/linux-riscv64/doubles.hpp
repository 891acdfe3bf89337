// Linux on RV64GC.
//
// The image begins at 64 KiB: one page earlier, and no kernel would map it. The arena is behind it, with x of position 0
// ending at a multiple of a page, so that one `lui` is enough; the layers begin one cell behind it.
#pragma once

#include "isa/riscv.hpp"

constexpr long image = 0x10000, most_code = 0x1000;
constexpr long ahead = 1;  // cells from a to a key: a query's place is one cell behind a multiple, too, and rounded down
constexpr long first_unit = 8 * stride_unit;
constexpr long first_x = (image + most_code + packed_bytes + 8 * dim + first_unit - 1) & -first_unit;
static_assert(first_x + 8 * stride * (seq_len + 1) < 0x80000000);

// Positions are counted in steps such that all of them are a multiple of 4096 below 32: `c.lui` (-2).
constexpr int position = [] {
  for (int step = 1; step < 32; step++)
    if (const long all = seq_len * long(step); all < 32 || (all % 4096 == 0 && all / 4096 < 32)) return step;
  return 1;
}();

extern "C" [[gnu::section(".header.one")]] const real header_one;
const real header_one = 1;  // @softmax
// dim * epsilon. Its lower half is e_type and e_machine: they change its eighth digit.
extern "C" [[gnu::section(".header.epsilon")]] const unsigned header_epsilon;
const unsigned header_epsilon = __builtin_bit_cast(unsigned long, dim * 1e-5) >> 32;  // @rmsnorm
INLINE real one() { return constant(8); }
INLINE real epsilon() { return constant(16); }
INLINE real zero() { return constant(64); }  // p_offset

// In the header's free bytes stands what has the same length for every shape. Byte 48 is in e_flags, whose bit 3 must be 0 (it
// would mean half as many registers): it is the third one of `addi s11, s1, …`, for every distance.
extern "C" void start_2(), story();
CODE(".start") start() {
  g = (const char*)image;  // @loop
  fresh(g);
  x = (cell*)first_x;  // @loop
  fresh(x);
  asm volatile("addi %0, %1, %%lo(rows)" : "=r"(rows_at) : "r"(g));  // @matmul
  JUMP(start_2)  // @loop
}
CODE(".start_2") start_2() {
  first = x;  // @attention
  fresh(first);
  asm volatile("lui %0, %%hi(model + %1)" : "=r"(w) : "i"(records + record_bytes));  // @embedding
  JUMP(story)  // @loop
}
INLINE void set_up() {
  asm volatile(".globl arena_end\n\t.set arena_end, %0" : : "i"(first_x + 8 * stride * (seq_len + 1)));  // for doubles.ld
  asm volatile("addi %0, %0, %%lo(model + %1)" : "+r"(w) : "i"(records + record_bytes));  // @embedding
  t = seq_len * position;  // @loop
  fresh(t);
  minus_stride = -8 * stride;  // @loop
  fresh(minus_stride);
  set_slowdown();  // @rope
}

INLINE void w_to_model() { asm volatile("addi %0, %1, %%lo(model)" : "=r"(w) : "r"(g)); }

// write(1, text, length): text and length are at w and j already.
INLINE void write_piece() {
  register long file asm("a0") = 1;
  register long number asm("a7") = 64;
  asm volatile("system: ecall" : "+r"(file) : "r"(w), "r"(j), "r"(number) : "memory");
}

// exit(0): the number of the last system call is still there (-2).
[[noreturn]] INLINE void exit() {
  register long status asm("a0") = 0;
  asm volatile("addi a7, a7, 93 - 64\n\tj system" : : "r"(status));
  __builtin_unreachable();
}
