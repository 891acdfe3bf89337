// Linux on i386.
#pragma once

#define WIDE "e"
#include "../x86.hpp"

// n is a file descriptor too, j the address of a text.
#define key word(a)
#define index word(j)
#define best word(b)

static f32 arena[(seq_len + 2L) * stride];

INLINE address where(const f32* p) { return (address)p; }
INLINE f32* cell(address p) { return (f32*)p; }
INLINE address arena_at(long index_) { return (address)(arena + index_); }
INLINE bool in_arena() { return address(a) >= arena_at(0); }

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
