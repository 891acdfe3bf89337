// Linux on x86-64.
//
// Arithmetic is x87, as on i386: 100 bytes less than SSE. The linker script puts the arena at exactly 2 GiB: an address is in
// the arena if its sign bit is set (-5), and arena addresses are plain numbers.
#pragma once

#include "isa/x86_64.hpp"  // w is also the address of a text, r a file descriptor; a system call destroys j

__attribute__((used)) static f32 arena[(seq_len + 2L) * stride];

INLINE constexpr address arena_at(long index_) { return 0x80000000 + 4 * index_; }
INLINE bool back_in_arena() { a -= 4 * stride; return a < 0; }

INLINE void begin() { r = cell(arena_at(stride)); }
INLINE void new_x() { x = cell(where(r)); }
INLINE void keep_x() {}
INLINE void count_layers() { j = n_layers; }

// write(1, text, length): the length is at w, the text behind it, and w is where the system call wants the text. The
// call's number is that of the standard output, too (-1).
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

// Where the rows end. It lies on the segment's flags, and its lowest three bits say "read, write, execute" (-3: r is
// compared with this, and not with four bytes of the instruction).
extern "C" [[gnu::section(".header.end")]] address rows_end;
address rows_end = arena_at((seq_len + 1L) * stride) | 7;  // @loop

// start, rows_known, token and record are in the header (-16). layers stands before rows; pass and leave stand behind
// it, near the model.
extern "C" void rows_known();
[[noreturn]] INLINE void to_token() JUMP(rows_known)
// Before the first token. Where token's factor takes 4 bytes, there is no room for this: then every pass does it (+5).
constexpr bool short_factor = record_bytes / 4 <= 128;
CODE(".rows_known") rows_known() {
  if constexpr (short_factor) rows_at = word(&rows);  // @matmul
  fresh(rows_at);  // here it is used: g++ 14 and later would drop it otherwise
  fall();
}
INLINE void know_rows() {
  if constexpr (!short_factor) rows_at = word(&rows);
}
[[noreturn]] INLINE void to_record() JUMP(record)
// How much longer the code from rows on may be than in float32 with small numbers; and the code from layers on.
constexpr int longer_from_rows = (dim < 128 ? 0 : 2) + (cell_before ? 0 : 2) + (short_factor ? 0 : 5)
                                 + (weight_bits == 32 ? 0 : weight_bits == 16 ? 5 : weight_bits == 8 ? 13 : 24);
constexpr int longer = longer_from_rows + (n_layers < 128 ? 0 : 2)
                       + (vocab_size < 256 || (vocab_size < 65536 && vocab_size % 256 == 0) ? 0 : vocab_size < 65536 ? 2 : 3);
// A short jump from ready back to layers has 19 bytes to spare with g++ 12, and 16 with g++ 16: too few in bf16 and int8 with large
// numbers, and in int4 (+4). Then the model may be too far from rows for an offset of one byte (32 to spare with g++ 12; +2), and
// RoPE's speedup as well (+3).
constexpr bool far_layers = longer > 14, far_model = longer_from_rows > 24;
// And record, in the header, has room for a short jump alone, with 6 bytes to spare in int4 with small numbers and g++ 12: where
// that is too few it leads to a jump behind choice (+8, with the one that then becomes long there).
constexpr bool far_pass = longer > 27;
[[noreturn]] INLINE void to_pass() {
  if constexpr (far_pass) JUMP(on_to_pass)
  else JUMP(pass)
}
INLINE void w_to_model() {
  asm volatile(".globl model_is_far\n\t.set model_is_far, %c0" : : "i"(far_model));  // for x87.ld
  if constexpr (far_model) asm volatile("mov $model, %k0" : "=r"(w));
  else load_w();
}
INLINE void slow_down(real& angle) {
  if constexpr (far_model && !whole_slowdown) asm("fmuls %1" : "+t"(angle) : "m"(speedup));
  else slow_down_by_own(angle);
}
[[noreturn]] INLINE void to_layers_or_leave() {
  if constexpr (!far_layers)
    asm volatile(NEAR("cmpl %%edi, 1(%%rbp)", near_end) "\n\t" SHORT("0x73", layers)  // jae
                 : : "r"(r), "r"(rows_at) : "cc", "memory");
  else
    asm volatile(NEAR("cmpl %%edi, 1(%%rbp)", near_end) "\n\tjae layers" : : "r"(r), "r"(rows_at) : "cc", "memory");
  fall();
}
[[noreturn]] INLINE void to_ready() { fall(); }
[[noreturn]] INLINE void to_logits() { fall(); }
[[noreturn]] INLINE void to_choice() { fall(); }
[[noreturn]] INLINE void to_token_or_leave() {
  next_token();
  if constexpr (!far_pass) JUMP(leave)
  asm volatile("jmp leave\n\t.type on_to_pass, @function\non_to_pass: jmp pass\n\t.size on_to_pass, . - on_to_pass" ::: "memory");
  fall();
}
