// Linux on i386.
#pragma once

#define WIDE "e"
#define X "ebp"
#include "isa/x86.hpp"

// n is a file descriptor too, j the address of a text.
INLINE word key() { return word(a); }
INLINE word index() { return word(j); }
INLINE word best() { return word(b); }

INLINE address where(const f32* p) { return (address)p; }
INLINE f32* cell(address p) { return (f32*)p; }

// The first instruction, `mov $first_row, %edi`, lies on the header's p_memsz and p_flags (-5, see x87.ld). Its
// bytes are BFh and the address of position 0's row, of which the highest must be 7 mod 8: read, write, execute. So
// p_memsz is 256 * the address + BFh, without the highest byte, and has to reach behind the arena. In front of the
// rows stand the image (from 2 MiB on, less than 4 KiB of code, the model) and pages that are never touched; behind
// them one more row, of the embedding of the last token, and of values that are multiplied by 0 (see layer).
constexpr long long image = 0x200000, rows_bytes = 4 * (seq_len + 1LL) * stride;
struct Arena {
  long long end;  // of the rows
  int end_bit;    // the bit of r whose change tells the end; 0: none does

  constexpr long long first_row() const { return end - rows_bytes + 4 * stride; }
  constexpr long long memory() const { return (first_row() & 0xffffff) << 8 | 0xbf; }
  constexpr bool fits(long long most_memory) const {
    return (first_row() >> 24 & 7) == 7 && end - rows_bytes >= image + 0x1000 + packed_bytes &&
           image + 52 + memory() >= end + 4 * stride && memory() <= most_memory;
  }
};
constexpr Arena arena = [] {
  const auto lowest_end = [](long long high) {  // for this highest byte of first_row
    const long long behind = rows_bytes - 4 * stride, low = ((high << 24) + behind + 4 * stride - image) / 255 + 4;
    return (high << 24) + (low & -4) + behind;
  };
  // Rows that end at a multiple of a power of two: `bt` instead of `cmp` (-2). It wants more memory, which is never
  // touched, but no kernel maps more than it has: 1 GiB at most.
  int bit = 3;
  while (1LL << bit < rows_bytes) bit++;
  for (int high = 7; high < 128; high += 8)
    if (Arena found{(lowest_end(high) + (1LL << bit) - 1) & -(1LL << bit), bit}; found.fits(1 << 30)) return found;
  for (int high = 7; high < 128; high += 8)
    if (Arena found{lowest_end(high), 0}; found.fits(0xa0000000)) return found;
  return Arena{1LL << 32, 0};
}();
static_assert(arena.end + 4 * stride <= 0xa0000000, "model and arena do not fit");  // the packer has checked that they do

INLINE constexpr address arena_at(long index_) { return arena.end - rows_bytes + 4LL * index_; }
INLINE bool back_in_arena() { a -= 4 * stride; return address(a) >= arena_at(0); }

INLINE void begin() { r = cell(arena_at(stride)); }
INLINE void new_x() { x = cell(where(r)); }
INLINE void keep_x() {}
INLINE void count_layers() { j = n_layers; }

INLINE void slow_down(real& angle) {
  if constexpr (whole_slowdown) asm("fidivs %1" : "+t"(angle) : "m"(slowdown));
  else asm("fmuls %1" : "+t"(angle) : "m"(speedup));
}
extern "C" f32 dim_epsilon;
INLINE real epsilon() { return dim_epsilon; }

// write(1, text, length): n is 1 here, the length is at w, the text behind it.
INLINE void write_piece() {
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

// start and token, pass, layers, leave, layer, rows stand one behind the other, record is in the header (-4 with its
// two jumps). layer falls into rows, whose `ret` is its own (-6).
extern "C" void rows();
INLINE void know_rows() {}
INLINE void call_rows() { rows(); }
[[noreturn]] INLINE void to_rows() {
  fresh(n);
  fall();
}
INLINE void w_to_model() { asm volatile("mov $model, %0" : "=r"(w)); }
[[noreturn]] INLINE void to_token() { fall(); }
[[noreturn]] INLINE void to_record() JUMP(record)
[[noreturn]] INLINE void to_pass() {
  n++;  // for write_piece: there is one more free byte (-1) @output
  JUMP(pass)
}
[[noreturn]] INLINE void to_layers_or_leave() {
  asm volatile(".globl arena_end\n\t.set arena_end, %c0" : : "i"(arena_at((seq_len + 2L) * stride)));  // for x87.ld
  if constexpr (arena.end_bit == 0)
    asm volatile("cmpl %1, %0\n\t" SHORT("0x73", leave) : : "r"(r), "i"(address(arena.end)) : "cc", "memory");  // jae
  else if constexpr (arena.end >> arena.end_bit & 1)
    asm volatile("btl %1, %0\n\t" SHORT("0x72", leave) : : "r"(r), "i"(arena.end_bit) : "cc", "memory");  // jc
  else
    asm volatile("btl %1, %0\n\t" SHORT("0x73", leave) : : "r"(r), "i"(arena.end_bit) : "cc", "memory");  // jnc
  fall();
}
[[noreturn]] INLINE void to_ready() { fall(); }
[[noreturn]] INLINE void to_logits() { fall(); }
[[noreturn]] INLINE void to_choice() { fall(); }
[[noreturn]] INLINE void to_token_or_leave() {
  next_token();
  fall();
}
