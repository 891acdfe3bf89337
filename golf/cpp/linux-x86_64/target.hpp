// Linux on x86-64.
//
// Arithmetic is x87, as on i386: 100 bytes less than SSE. Everything is mapped below 4 GiB, so addresses are
// computed in 32 bits (each 64-bit operation costs a prefix byte) and only used as 64-bit ones. The upper halves of all
// registers stay zero. The linker script puts the arena at exactly 2 GiB: an address is in the arena if its sign
// bit is set (-5), and arena addresses are plain numbers.
#pragma once

#define WIDE "r"
#include "../x86.hpp"

// The low half of a register is a number, the whole an address. (gcc notes that they share it: that is the point.)
// w is also the address of a text, r a file descriptor; a system call destroys j.
register word key asm("rax");
register word index asm("rcx");
register word best asm("rdx");

__attribute__((used)) static f32 arena[(seq_len + 2L) * stride];

INLINE address where(const f32* p) { return (address)(word)p; }
INLINE f32* cell(address p) { return (f32*)(word)p; }
INLINE constexpr address arena_at(long index_) { return 0x80000000 + 4 * index_; }
INLINE bool in_arena() { return a < 0; }
INLINE bool at_end() { return where(r) >= arena_at((seq_len + 1) * stride); }

// write(1, text, length): the length is at w, the text behind it, and w is where the system call wants the text. The call's
// number is that of the standard output, too (-1).
INLINE void write_piece() {
  asm volatile("lodsl" : "+r"(w), "+r"(a));
  b = a;
  a = count<1>(a);
  asm volatile("push %%rdi; mov %%eax, %%edi; syscall; pop %%rdi"
               : "+r"(a), "+r"(j) : "r"(b), "r"(w) : "r11", "memory");
}

[[noreturn]] INLINE void exit() {
  asm volatile("push $60; pop %%rax; xor %%edi, %%edi; syscall" : "+r"(a));
  __builtin_unreachable();
}
