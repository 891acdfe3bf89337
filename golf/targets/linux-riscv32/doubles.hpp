// Linux on RV32GC.
//
// The image begins at 3FF00000h: p_vaddr is this number, p_offset before it is 0, so there is a 1.0 in the header (its 8 bytes
// hold 6 of code: -6; `lui` has 4: +2); and g, which is the image's address, is the upper half of one (-2). User space reaches
// beyond 9C000000h. The arena is behind the model, with x of position 0 ending at a multiple of a page, so that one `lui` is
// enough; the layers begin two cells behind it.
#pragma once

// c.jal, of 2 bytes (-10). The assembler takes 4 for what is in another section.
#define CALL(target) ".reloc ., R_RISCV_RVC_JUMP, " #target "\n\t.insn 0x2001"
#define CALL_ROWS CALL(rows)
#include "isa/riscv.hpp"

constexpr long image = 0x3ff00000, most_code = 0x1000;
constexpr long first_unit = 8 * stride_unit;
constexpr unsigned long first_x = (image + most_code + packed_bytes + 8 * dim + first_unit - 1) & -first_unit;
constexpr unsigned long arena_end = first_x + 8 * stride * (seq_len + 1);
static_assert(first_x + 8LL * stride * (seq_len + 1) < 0x80000000);

// RoPE's ratio comes from a register that Linux has set to 0, by `c.addi`, whose code, as the upper half of p_memsz, says how
// much memory there is (-4, by taking it away): the register is chosen such that it is enough, and not much more. Where the ratio is no number
// below 32, or more memory is needed, p_memsz is a number.
constexpr long ratio_10 = 10;
constexpr unsigned long memory = arena_end - image;
constexpr int ten = [] {
  for (int number = 3; number < 32; number++) {
    const bool free = number < 8 || number > 27;
    if (free && (number << 23 | (1 | ratio_10 << 2) << 16) >= memory) return number;
  }
  return 0;
}();
constexpr bool in_memsz = rope_ratio_whole == 10 && ten;
[[gnu::section(".data.ratio")]] static real exact_ratio = rope_ratio;  // @rope

extern "C" [[gnu::section(".header.epsilon")]] const unsigned header_epsilon;
const unsigned header_epsilon = __builtin_bit_cast(unsigned long long, dim * rms_epsilon) >> 32;  // @rmsnorm
INLINE real epsilon() { return constant(16); }
INLINE real zero() { return constant(24); }  // e_entry and e_phoff: below 1e-311
INLINE real one() { return constant(48); }
INLINE void put_one() { asm volatile("sw %0, %1(sp)" : : "r"(g), "i"(8 * next + 4), "r"(r) : "memory"); }

// In the header's free bytes stands what has the same length for every shape. Byte 36 is in e_flags, whose bit 3 must be 0 (it
// would mean half as many registers): it is the last but one of `li a7, 64`.
extern "C" void start_2(), start_3(), memory_size(), story();
CODE(".start") start() {
  x = (cell*)first_x;  // @loop
  fresh(x);
  if constexpr (is_short(all_positions)) set_t();  // @loop
  JUMP(start_2)  // @loop
}
CODE(".start_2") start_2() {
  if constexpr (is_short(-8 * stride)) set_minus_stride();  // @loop
  asm volatile("li a7, 64");  // @output
  if constexpr (in_memsz) JUMP(memory_size)  // @loop
  else JUMP(start_3)  // @loop
}
CODE(".memory") memory_size() {
  if constexpr (in_memsz) {  // @header
    first = x;  // @attention
    fresh(first);
    asm volatile("addi x%c0, x%c0, %1" : : "i"(ten), "i"(ratio_10));  // @rope
  } else {
    asm volatile(".4byte %0" : : "i"(memory));  // p_memsz
  }
  __builtin_unreachable();
}
// p_flags, whose lowest three bits are to be 1 (read, write, execute): those of `lui` are.
CODE(".start_3") start_3() {
  g = (const char*)image;  // @loop
  fresh(g);
  __builtin_unreachable();
}
INLINE void set_up() {
  asm volatile(".globl arena_end, record_one\n"  // for doubles.ld
               "\t.set arena_end, %0\n\t.set record_one, %1" : : "i"(arena_end), "i"(records + record_bytes));
  if constexpr (!is_short(-8 * stride)) set_minus_stride();  // @loop
  if constexpr (!is_short(all_positions)) set_t();  // @loop
  w = *(const weight* const volatile*)(g + 56);  // p_paddr (-4) @embedding
  if constexpr (in_memsz) {
    asm volatile("fcvt.d.w %0, x%c1" : "=f"(slowdown) : "i"(ten));  // @rope
  } else {
    first = x;  // @attention
    fresh(first);
    if constexpr (whole_ratio) {
      m = __builtin_lround(rope_ratio);  // @rope
      fresh(m);
      slowdown = m;  // @rope
    } else {
      asm volatile("fld %0, %%lo(%2)(%1)" : "=f"(slowdown) : "r"(g), "i"(&exact_ratio));  // @rope
    }
  }
  asm volatile("" : "+f"(slowdown));
}
INLINE void w_to_model() { asm volatile("addi %0, %1, %%lo(model)" : "=r"(w) : "r"(g)); }

// write(1, text, length): text and length are at w and j already, the call's number in a7.
INLINE void write_piece() {
  register long file asm("a0") = 1;
  asm volatile("system: ecall" : "+r"(file) : "r"(w), "r"(j) : "memory");
}

// exit(0): the number of `write` is still there (-2; no other code may use a7: -ffixed-a7), and the status in l.
[[noreturn]] INLINE void exit() {
  asm volatile("addi a7, a7, 93 - 64\n\tj system" : : "r"(l));
  __builtin_unreachable();
}
