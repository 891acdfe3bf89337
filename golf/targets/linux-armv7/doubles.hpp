// Linux on ARMv7-A, in Thumb-2.
//
// The image is at 2 MiB (see doubles.ld). The arena is the upper half of a power of two of addresses, and positions go down in
// it, the first one at its end. So the walk back in time, which goes up, ends where a bit of the address goes out: `lsls` instead of
// a register that is compared with (-2). And where all positions are as many bytes as the arena, the last one tells itself: its x
// ends one cell before the arena (-4). One step back from behind the values is 8 * stride - 16 * head_size: seven or eight bits
// in a row, which fit into one instruction, while their sum would not (-2).
#pragma once

constexpr bool text_first = true;  // in a record, before the embedding
constexpr bool x_from_start = false;  // x is where the residual stream ends

// Layers begin at a multiple of so many cells. to_keys() has 4 bytes or 6, and the gap costs some, too.
constexpr int gap_bytes(int unit) { return gap_to(unit) == 0 ? 0 : gap_to(unit) < 32 ? 2 : 4; }
constexpr bool whole_layers = in_one_bit && 4 + gap_bytes(2 * kv_cells) <= 6 + gap_bytes(2 * head_size);
constexpr int unit = whole_layers ? 2 * kv_cells : power(head_size) ? 2 * head_size : 1;
constexpr int gap = gap_to(unit);

// Cells of a position: a power of two, and so many that all positions are one, too, if seq_len is.
constexpr long power_from(long long n) { return n <= 1 ? 1 : 2 * power_from((n + 1) / 2); }
constexpr long image = 0x200000, least_stride = power_from(position_cells(unit));
static_assert(workspace_bytes == 8LL * least_stride * seq_len);  // the packer checks that it fits into memory
constexpr long arena_from = image + 0x1000 + packed_bytes + 8 * dim + 8;
constexpr long arena = power_from(workspace_bytes > arena_from ? workspace_bytes : arena_from);
constexpr long stride = power(seq_len) ? arena / 8 / seq_len : least_stride;

#include "isa/arm.hpp"

constexpr unsigned long memory_bytes = 2ul * arena - image - 52;

// The header's free bytes: the first instructions, with the address of BOS's embedding behind them (-4).
CODE(".header.start") start() {
  asm volatile("ldr %0, [pc, #0]\n\t"                        // @embedding
               ".reloc ., R_ARM_THM_JUMP11, story\n\t.inst.n 0xe7fe\n\t"  // @loop
               ".word model + %c1" : "=l"(w) : "i"(records + record_bytes + text_bytes));
}

// dim * epsilon. Its lower half is e_type and e_machine: they change its eighth digit.
extern "C" [[gnu::section(".header.epsilon")]] const unsigned header_epsilon;
const unsigned header_epsilon = __builtin_bit_cast(unsigned long long, dim * rms_epsilon) >> 32;  // @rmsnorm
INLINE real epsilon() {
  real v;
  asm volatile(".globl epsilon_load\nepsilon_load: .reloc .+2, R_ARM_ABS8, epsilon_words\n\tvldr %P0, [pc, #-0]" : "=w"(v));
  return v;
}

// The first two instructions are p_memsz, and the first three bits of the next one p_flags (-8).
constexpr bool in_memsz = arena <= 1l << 25;
INLINE void set_up() {
  if constexpr (!in_memsz) asm volatile("b.n 1f\n\t.2byte %c0 + 1\n\t.word 7\n1:" : : "i"(memory_bytes >> 16));
  asm volatile("movs %0, #1\n\t"        // @loop
               "lsls %1, %0, %3\n\t"    // @loop
               ".reloc ., R_ARM_THM_ALU_PREL_11_0, rows\n\t.inst.w 0xf2af0903\n\t"  // @matmul
               "subs %1, #8"             // @loop
               : "=l"(n), "=l"(x), "=r"(rows_at) : "i"(place_of(arena) + 1));
  set_slowdown();  // @rope
}

INLINE void begin_position() {
  x = (cell*)((word)x - 8 * stride);
  fresh(x);
  r = x;
  m = n << 30;  // the upper half of 2, by which the embedding is added to x; it was halved. n is 1, one row (-4)
  fresh(m);
  ((volatile long*)r)[1] = m;
}
INLINE constexpr bool is_last() { return false; }
INLINE bool again_position() {
  if constexpr (power(seq_len)) l = (word)x >> place_of(arena);
  else l = ((word)x + 8 - (2ul * arena - 8ul * stride * seq_len)) >> place_of(8 * stride);
  fresh(l);
  // Neither the last position nor BOS: l becomes 0 otherwise, which is exit's status, too (-2).
  asm goto("muls %0, %1, %0\n\tbne %l[yes]" : "+l"(l) : "l"(j) : "cc", "memory" : yes);
  return false;
yes:
  return true;
}
INLINE void a_back() {
  a = (cell*)((word)a + 8 * stride - 16 * head_size);
  fresh(a);
}
INLINE bool again_key() { return is_in_a(arena); }

// adr of 2 bytes (-2).
INLINE void w_to_model() { asm volatile(".reloc ., R_ARM_THM_PC8, model\n\t.inst.n 0xa1ff" : "=r"(w)); }

// write(1, text, length): the file, text and length are at l, w and j already. The text is before the embedding, so that the
// first one, BOS's, is not written, and j need not be 0 at the start (-2). Then n is 1 for exit() and for the next row (-2).
INLINE void write_piece() {
  n = 4;
  fresh(n);
  asm volatile("svc 0" : "+r"(l) : "r"(w), "r"(j), "r"(n) : "memory");
  w += text_bytes / weight_bytes;
  fresh(w);
  n = 1;
  fresh(n);
}

// exit(0): l is 0, and n is 1.
[[noreturn]] INLINE void exit() {
  asm volatile("svc 0" : : "r"(l), "r"(n));
  __builtin_unreachable();
}
