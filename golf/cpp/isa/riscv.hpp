// RISC-V with the extensions D and C, 32 or 64 bits: registers, and the instructions that C++ has no name for. A target's
// doubles.hpp includes it.
//
// Compressed instructions have 2 bytes. A load or store of a double is one with a base in s0, s1, a0 … a5 and an offset of 0 to
// 248, or with sp, and up to 504: so r, which is used most, is sp. A branch on zero is one for the same eight registers.
#pragma once

typedef unsigned long word;  // as wide as a pointer
typedef double cell;

#define INLINE static inline __attribute__((always_inline))
// A piece of code, in a section that the linker script finds a place for. naked: gcc writes no prologue.
#define CODE(section_) extern "C" [[gnu::naked, gnu::used, gnu::section(section_)]] void

register cell* r asm("sp");
register const f32* w asm("a1");  // a system call's text
register long l asm("a0");        // a system call's file
register long j asm("a2");        // a system call's length
register cell* b asm("a3");
register long m asm("a3");
register long n asm("a4");
register cell* a asm("a5");
register long k asm("a5");
register cell* x asm("s4");
register long t asm("s0");
register const char* g asm("s1");  // a place in the header: constants are near it
register cell* first asm("t5");    // x of position 0
register word minus_stride asm("t4");  // in bytes
register real slowdown asm("fs1");

#define fresh(v) asm volatile("" : "+r"(v))
#define fence() asm volatile("" ::: "memory")

// --count != 0. (A register's variable cannot be referred to.)
#define again(count) ({ count--; fresh(count); count != 0; })

// The cell r[i]. gcc does not know that sp is a base like others, and copies it.
constexpr bool near(long i) { return 8 * i >= -2048 && 8 * i < 2048; }
INLINE real get(long i) {
  real v;
  if (near(i)) asm volatile("fld %0, %1(sp)" : "=f"(v) : "i"(8 * i), "r"(r));
  else v = r[i];
  return v;
}
INLINE void put(long i, real v) { asm volatile("fsd %0, %1(sp)" : : "f"(v), "i"(8 * i), "r"(r) : "memory"); }

INLINE real constant(int place) { return *(const volatile real*)(g + place); }
INLINE real junk() {
  real v;
  asm volatile("" : "=f"(v));
  return v;
}

// r is one cell before the next one: so the best logit is as far from r, when all are made, as its record from the first
// one (-2); r + next is one instruction of 2 bytes, too.
constexpr int next = 1;

// What RoPE's angle is divided by from one pair to the next: 10000 ^ (2 / head_size). A small integer needs no constant in memory.
// gcc drops the one that is not used.
constexpr real rope_ratio = __builtin_pow(10000, 2.0 / head_size);
constexpr bool whole_ratio = head_size == 2 || head_size == 4 || head_size == 8;
INLINE void slow_down(real& angle) { angle /= slowdown; }
constexpr int terms = 24;

// Whether a number is made by `c.li` or `c.lui`: by 2 bytes. Others are made in set_up(), for the header has no room for them.
constexpr bool is_short(long number) {
  return (number >= -32 && number < 32) || (number % 4096 == 0 && number >= -32 * 4096 && number < 32 * 4096);
}
// Positions are counted in steps such that all of them are a multiple of 4096: `c.lui` (-2, and on riscv64 its place in the
// header: -4).
constexpr int position = [] {
  for (int step = 1; step < 32; step++)
    if (is_short(seq_len * long(step))) return step;
  return 1;
}();
constexpr long all_positions = seq_len * long(position);
INLINE void set_t() {
  t = all_positions;
  fresh(t);
}
INLINE void set_minus_stride() {
  minus_stride = -8 * stride;
  fresh(minus_stride);
}

// One position on, and one back.
INLINE void x_on() {
  x = (cell*)((word)x - minus_stride);
  fresh(x);
}
INLINE void a_back() {
  a = (cell*)((word)a + minus_stride);
  fresh(a);
}

#define CLOBBERED "ra", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "ft0", "ft1", "ft2", "ft3", "memory"
INLINE void call_rows() {
  asm volatile(CALL_ROWS : "+r"(r), "+r"(w), "+r"(n), "=r"(b), "=r"(a) : "r"(x), "r"(g) : CLOBBERED);
}
INLINE void call_share(real& y_, real& sum_) {
  register real y asm("fa5") = y_;
  register real sum asm("fa3") = sum_;
  asm volatile(CALL_SHARE : "+f"(y), "+f"(sum), "=r"(j) : : "ra");
  y_ = y;
  sum_ = sum;
}
#define SHARE_REGISTERS \
  register real y asm("fa5"); \
  register real sum asm("fa3"); \
  asm volatile("" : "=f"(y), "=f"(sum))
[[noreturn]] INLINE void back_from_share(real y_, real sum_) {
  register real y asm("fa5") = y_;
  register real sum asm("fa3") = sum_;
  asm volatile("ret" : : "f"(y), "f"(sum));
  __builtin_unreachable();
}
[[noreturn]] INLINE void back() {
  asm volatile("ret" : : "r"(b), "r"(r), "r"(w), "r"(n));
  __builtin_unreachable();
}
// w = the record of the token whose logit is at b (a shift instead of a product: -4), j = its text's length. w is behind the classifier, whose last row is token 0's.
INLINE void to_record() {
  n = (char*)r - (char*)b;
  fresh(n);
  constexpr long factor = record_bytes / 8;
  if constexpr (((factor - 1) & (factor - 2)) == 0) {
    w = (const f32*)((const char*)w + n);
    fresh(w);
    n *= factor - 1;
  } else {
    n *= factor;
  }
  fresh(n);
  w = (const f32*)((const char*)w + n);
  fresh(w);
  j = ((const unsigned char*)w)[record_bytes - 1];
}

// A jump of 2 bytes to another section; the assembler would take 4, and gcc more (-2 each).
#define JUMP(target) { asm volatile(".reloc ., R_RISCV_RVC_JUMP, " #target "\n\t.insn 0xa001" ::: "memory"); __builtin_unreachable(); }
