// Linux on i386.
#pragma once

#define WIDE "e"
#include "../x86.hpp"

// n is a file descriptor too, j the address of a text.
#define key word(a)
#define index word(j)
#define best word(b)

// The rows of all positions end at a power of two, so that one bit of r tells when they are done (-2 against comparing r).
// In front of them stand the image (from 2 MiB on, less than 4 KiB of code, the model) and pages that are never touched;
// behind them only the embedding of the last token.
constexpr long long rows_bytes = 4 * (seq_len + 1LL) * stride;
constexpr int end_bit = [] {
  int bit = 22;
  while (1LL << bit < 0x201000 + packed_bytes + rows_bytes) bit++;
  return bit;
}();
static_assert(end_bit < 32);  // the packer checks that model and arena fit

INLINE address where(const f32* p) { return (address)p; }
INLINE f32* cell(address p) { return (f32*)p; }
INLINE constexpr address arena_at(long index_) { return (1LL << end_bit) - rows_bytes + 4LL * index_; }
INLINE bool in_arena() { return address(a) >= arena_at(0); }
INLINE bool at_end() {
  asm volatile(".globl arena_end\n\t.set arena_end, %c0" : : "i"(arena_at((seq_len + 2L) * stride)));  // for link.ld
  asm goto("btl %1, %0\n\tjc %l[yes]" : : "r"(r), "i"(end_bit) : "cc" : yes);
  return false;
yes:
  return true;
}

// write(1, text, length): the length is at w, the text behind it.
INLINE void write_piece() {
  n++;
  asm volatile("lodsl" : "+r"(w), "+r"(a));
  b = a;
  j = where(w);
  a = count<4>(a);
  asm volatile("int $0x80" : "+r"(a) : "r"(n), "r"(j), "r"(b) : "memory");
  n--;
}

// exit(0): n is 0 wherever the program can end.
[[noreturn]] INLINE void exit() {
  a = 1;
  asm volatile("int $0x80" : : "r"(a), "r"(n));
  __builtin_unreachable();
}
