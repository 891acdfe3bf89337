// A board with a Cortex-M7 and no operating system: Arm's MPS2+ with the FPGA image AN500.
//
// The image is at 0, where the processor finds its vector table: two words, then code (see doubles.ld). The arena is 16 MiB
// of RAM; positions go down in it, the first one at its end, and each row begins at a multiple of its size. So the walk back
// in time, which goes up, ends where a bit of the address comes: `lsls` instead of a register that is compared with (-2); and
// the last position is where all lower bits of x are 0 (-2).
//
// RAM holds anything when the power comes, so it is cleared; x then stands at its end, which is a bit of the address.
#pragma once

constexpr bool text_first = true;  // in a record, before the embedding
constexpr bool x_from_start = true;  // x is where the residual stream begins

// Layers begin at a multiple of so many cells. to_keys() has 4 bytes or 6, and the gap costs some, too.
constexpr int gap_bytes(int unit) { return gap_to(unit) == 0 ? 0 : gap_to(unit) < 32 ? 2 : 4; }
constexpr bool whole_layers = in_one_bit && 4 + gap_bytes(2 * kv_cells) <= 6 + gap_bytes(2 * head_size);
constexpr int unit = whole_layers ? 2 * kv_cells : power(head_size) ? 2 * head_size : 1;
constexpr int gap = gap_to(unit);

// A row: x, a gap, the cell of the embedding, layers, logits. It is a power of two.
constexpr long power_from(long long n) { return n <= 1 ? 1 : 2 * power_from((n + 1) / 2); }
constexpr int layers_from = (dim + 1 + unit - 1) / unit * unit;
constexpr long stride = power_from(layers_from + position_cells(unit) - dim - 1);
static_assert(workspace_bytes == 8LL * stride * seq_len);  // the packer checks that it fits into memory
constexpr unsigned long ram = 0x60000000, ram_bytes = 0x1000000;

#include "isa/arm.hpp"

// Two words behind the code: the address of BOS's embedding, and the upper half of dim * epsilon. The lower half is that
// address: it changes the tenth digit (-4).
extern "C" [[gnu::section(".constants.bos")]] const char* const bos;  // @embedding
const char* const bos = model + records + record_bytes + text_bytes;  // @embedding
extern "C" [[gnu::section(".constants.epsilon")]] const unsigned epsilon_above;  // @rmsnorm
const unsigned epsilon_above = __builtin_bit_cast(unsigned long long, dim * rms_epsilon) >> 32;  // @rmsnorm
INLINE real epsilon() {
  real v;
  asm volatile(".globl epsilon_load\nepsilon_load: .reloc .+2, R_ARM_ABS8, epsilon_words\n\tvldr %P0, [pc, #0]" : "=w"(v));
  return v;
}

// After reset lr is all ones, and the word before the stack pointer that the vector table has is CPACR, whose ones let code
// use the FPU (-10). No barrier follows, as in the makers' own SystemInit(): four million stores come before the first
// double (-8).
INLINE void set_up() {
  asm volatile("push {lr}\n\t"             // @loop
               "mov.w %0, %5\n\t"          // @loop
               "movs %1, #0\n"             // @loop
               "0: stmia %0!, {%1}\n\t"    // @loop
               "lsls %2, %0, #8\n\t"       // @loop
               "bcc.n 0b\n\t"              // @loop
               ".reloc ., R_ARM_THM_ALU_PREL_11_0, rows\n\t.inst.w 0xf2af0904\n\t"  // @matmul
               ".reloc ., R_ARM_THM_PC8, bos\n\t.inst.n 0x49ff"                     // @embedding
               : "=l"(x), "=l"(j), "=l"(m), "=r"(rows_at), "=r"(w) : "i"(ram) : "memory");
  static_assert(ram_bytes == 1 << 24);
  set_slowdown();  // @rope
}

INLINE void begin_position() {
  x = (cell*)((word)x - 8 * stride);
  fresh(x);
  r = x + (layers_from - 1);  // the cell before the first layer
  fresh(r);
  n = 1;  // row
  fresh(n);
  m = n << 30;  // the upper half of 2, by which the embedding is added to x; it was halved
  fresh(m);
  ((volatile long*)r)[1] = m;
}
INLINE constexpr bool is_last() { return false; }
INLINE bool again_position() {
  if constexpr (power(seq_len)) {
    asm goto("lsls %0, %1, %2\n\tbne %l[yes]" : "=l"(m) : "l"(x), "i"(32 - place_of(8 * stride * seq_len)) : "cc", "memory" : yes);
    return false;
  yes:
    return true;
  } else {
    return (word)x != ram + ram_bytes - 8ul * stride * seq_len;
  }
}
INLINE void a_back() {
  a = (cell*)((word)a + 8 * stride - 16 * head_size);
  fresh(a);
}
INLINE bool again_key() { return is_not_in_a(ram_bytes); }

// adr of 2 bytes (-2).
INLINE void w_to_model() { asm volatile(".reloc ., R_ARM_THM_PC8, model\n\t.inst.n 0xa1ff" : "=r"(w)); }

// UART0: DATA, STATE, CTRL, and at 16 the divisor of its clock. All is set up for each text, for there is no register that
// would keep its address. 25 MHz / 217 = 115200 bits a second. l is 1, the bit of the transmitter (-2). n is 0 after rows() (-2).
// BOS is the end.
constexpr unsigned long uart = 0x40004000;
INLINE void write_piece() {
  asm volatile("cbz %[j], story_end\n\t"
               "mov.w %[a], %[uart]\n\t"
               "movs %[m], #217\n\t"
               "str %[m], [%[a], #16]\n\t"
               "str %[l], [%[a], #8]\n"
               "0: ldr %[m], [%[a], #4]\n\t"  // as long as the buffer is full
               "lsrs %[m], #1\n\t"
               "bcs.n 0b\n\t"
               "ldrb %[m], [%[w], %[n]]\n\t"
               "str %[m], [%[a]]\n\t"
               "adds %[n], #1\n\t"
               "cmp %[n], %[j]\n\t"
               "bne.n 0b"
               : [a] "=l"(a), [m] "=l"(m), [n] "+l"(n) : [w] "l"(w), [j] "l"(j), [l] "l"(l), [uart] "i"(uart) : "memory", "cc");
  w += text_bytes / weight_bytes;
  fresh(w);
}

// The end, for whoever looks at the processor: a jump to itself.
[[noreturn]] INLINE void exit() {
  asm volatile("story_end: b.n story_end");
  __builtin_unreachable();
}
