// Linux on RV64GC.
//
// The arena is behind the image, with x of position 0 ending at a multiple of a page, so that one `lui` is enough; the layers
// begin two cells behind it.
#pragma once

#define CALL_ROWS "jalr s1"
#include "isa/riscv.hpp"

// p_memsz is how much memory there is, and the address of BOS's record, too: so the image lies as high as all is large (-6
// against making the address, -2 against a number of its own). Where that would be more than 2 GiB, the image is at 128 KiB.
constexpr long most_code = 0x1000, first_unit = 8 * stride_unit;
constexpr long all_bytes = packed_bytes + workspace_bytes + 8 * dim + first_unit + 2 * most_code;
constexpr bool in_memsz = 2 * all_bytes < 0x7f000000;
constexpr long lowest = 0x20000;  // below, `lui` would be `c.lui`, which is shorter, and g not where it is meant to be
constexpr long image = in_memsz && all_bytes > lowest ? (all_bytes + 0xffff) & ~0xffffl : lowest;
constexpr long first_x = (image + most_code + packed_bytes + 8 * dim + first_unit - 1) & -first_unit;
constexpr long arena_end = first_x + 8 * stride * (seq_len + 1);
static_assert(first_x >= lowest && arena_end < 0x80000000);

// Constants lie on numbers of the header; what these add is in digits that do not matter: the ninth of RoPE's ratio (-2), the
// sixth of epsilon. (Where the ratio is no whole number, it is exact, and behind the code.)
extern "C" [[gnu::section(".header.ratio")]] const unsigned header_ratio;
extern "C" [[gnu::section(".header.epsilon")]] const unsigned header_epsilon;
extern "C" [[gnu::section(".header.one")]] const real header_one;
constexpr unsigned upper_half(real number) { return __builtin_bit_cast(unsigned long, number) >> 32; }
const unsigned header_ratio = whole_ratio ? upper_half(rope_ratio) : 0;  // @rope
const unsigned header_epsilon = (upper_half(dim * rms_epsilon) - 3 & -8u) + 7;  // @rmsnorm
const real header_one = 1;  // @softmax
[[gnu::section(".data.ratio")]] static real exact_ratio = rope_ratio;  // @rope

// g is where rows() is, in the header: so a call has 2 bytes, and no register is needed for it alone (-10). The `jal` that
// leads on to the next piece sets it. Places from there on.
constexpr int here = 48;
INLINE real epsilon() { return constant(56 - here); }
INLINE real zero() { return constant(64 - here); }  // p_offset: below 1e-320 (-2)
INLINE real one() { return constant(80 - here); }
INLINE void put_one() { put(next, one()); }

// In the header's free bytes stands what has the same length for every shape. Byte 48 is in e_flags, whose bit 3 must be 0 (it
// would mean half as many registers): it is the first one of rows().
extern "C" void start_2(), story(), row();
CODE(".start") start() {
  x = (cell*)first_x;  // @loop
  fresh(x);
  asm volatile("jal %0, start_2" : "=r"(g));  // g is what comes behind @loop
  __builtin_unreachable();
}
CODE(".start_2") start_2() {
  first = x;  // @attention
  fresh(first);
  if constexpr (is_short(-8 * stride)) set_minus_stride();  // @loop
  if constexpr (is_short(all_positions)) set_t();  // @loop
  JUMP(story)  // @loop
}
#define GO_ON(piece) JUMP(piece) } CODE("." #piece) piece() {  // rows() begins in the header

INLINE void set_up() {
  asm volatile(".globl image, arena_end, record_one, memory_is_record\n"  // for doubles.ld
               "\t.set image, %0\n\t.set arena_end, %1\n\t.set record_one, %2\n\t.set memory_is_record, %3"
               : : "i"(image), "i"(arena_end), "i"(records + record_bytes), "i"(in_memsz));
  if constexpr (!is_short(-8 * stride)) set_minus_stride();  // @loop
  if constexpr (!is_short(all_positions)) set_t();  // @loop
  if constexpr (in_memsz) {
    w = (const weight*)(word)*(const volatile int*)(g + 96 - here);  // @embedding
  } else {
    asm volatile("lui %0, %%hi(model + %1)\n\taddi %0, %0, %%lo(model + %1)" : "=r"(w) : "i"(records + record_bytes));  // @embedding
  }
  if constexpr (whole_ratio) slowdown = constant(16 - here);  // @rope
  else asm volatile("fld %0, %%lo(%2 - %3)(%1)" : "=f"(slowdown) : "r"(g), "i"(&exact_ratio), "i"(here));  // @rope
  asm volatile("" : "+f"(slowdown));
}

// p_vaddr is where the model begins (-2).
INLINE void w_to_model() {
  w = *(const weight* const volatile*)(g + 72 - here);
  fresh(w);
}

// write(1, text, length): text and length are at w and j already.
INLINE void write_piece() {
  register long file asm("a0") = 1;
  register long number asm("a7") = 64;
  asm volatile("system: ecall" : "+r"(file) : "r"(w), "r"(j), "r"(number) : "memory");
}

// exit(0): the number of the last system call is still there (-2; no other code may use a7: -ffixed-a7), and the status in l.
[[noreturn]] INLINE void exit() {
  asm volatile("addi a7, a7, 93 - 64\n\tj system" : : "r"(l));
  __builtin_unreachable();
}
