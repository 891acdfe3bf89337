// x86-64 with an x87: what isa/x86.hpp leaves open. Everything is below 4 GiB, so addresses are computed in 32 bits (each
// 64-bit operation costs a prefix byte) and only used as 64-bit ones. The upper halves of all registers stay zero.
#pragma once

#define WIDE "r"
#define X "r8"
#include "x86.hpp"

// The low half of a register is a number, the whole an address. (gcc notes that they share it: that is the point.)
register word wide_a asm("rax");
register word wide_j asm("rcx");
register word wide_b asm("rdx");
INLINE word key() { return wide_a; }
INLINE word index() { return wide_j; }
INLINE word best() { return wide_b; }

INLINE address where(const f32* p) { return (address)(word)p; }
INLINE f32* cell(address p) { return (f32*)(word)p; }

// rbp holds the address of rows: a call takes 2 bytes instead of 5, and numbers and model are near enough for an
// offset of one byte. On Linux it saves 20, and costs 7: x in r8 (3), the jump at layer's end (2), and one more to leave (2).
register word rows_at asm("rbp");
extern "C" void rows();
INLINE void call_rows() {
  asm volatile("call *%%rbp" : "+r"(a), "+r"(n), "+r"(j), "+r"(b), "+r"(w), "+r"(r) : "r"(x), "r"(rows_at)
               : "memory", "cc");
}
[[noreturn]] INLINE void to_rows() {
  asm volatile("jmp *%%rbp" : : "r"(rows_at), "r"(n), "r"(w), "r"(r), "r"(x));
  fall();
}
// An instruction whose operand lies `distance` bytes from rows. Only the linker script knows how many, so it fills in the last
// byte.
#define NEAR(instruction, distance) instruction "\n\t.reloc . - 1, R_X86_64_8, " #distance
extern "C" f32 dim_epsilon;
INLINE real epsilon() {
  real value;
  asm(NEAR("flds 1(%%rbp)", near_epsilon) : "=t"(value) : "m"(dim_epsilon), "r"(rows_at));
  return value;
}
// The model's address, too.
INLINE void load_w() { asm volatile(NEAR("leal 1(%%rbp), %%esi", near_model) : "=r"(w) : "r"(rows_at)); }
// RoPE's slowdown, where no other number of the file is it.
INLINE void slow_down_by_own(real& angle) {
  if constexpr (whole_slowdown) asm(NEAR("fidivs 1(%%rbp)", near_slowdown) : "+t"(angle) : "m"(slowdown), "r"(rows_at));
  else asm(NEAR("fmuls 1(%%rbp)", near_speedup) : "+t"(angle) : "m"(speedup), "r"(rows_at));
}
