// UEFI on x86-64.
//
// Arithmetic is x87, whose state the firmware gives as UEFI wants it: control word 037Fh, an empty stack. The image has a
// base of its own and no relocations, so everything is below 4 GiB, as on Linux.
//
// The firmware's functions have Microsoft's calling convention: arguments in rcx and rdx; 32 bytes above the return address
// are theirs; rsp is a multiple of 16; rbx, rbp, rsi, rdi stay as they are, the other registers named here do not.
#pragma once

#include "isa/x86_64.hpp"

// Memory: the image ends where the arena begins, and SizeOfImage reaches behind the arena, so the firmware gives us both.
// It promises no zeros there, so start makes them, and as many bytes as position 0's address says (-3: no number of its own).
// So the arena is at least as far up as it is long; and a model lies above the first 26 MiB, where firmware works. If it
// begins at a power of two, one bit tells whether an address is in it (-1).
constexpr long long mib = 1 << 20, row_bytes = 4LL * stride;
constexpr long long pages(long long bytes) { return (bytes + 4095) & -4096; }
constexpr long long larger(long long one, long long other) { return one > other ? one : other; }
constexpr long long image_bytes = pages(packed_bytes + 1024);  // at most
constexpr int arena_bit = [] {
  for (int bit = 25; bit < 30; bit++)
    if (1LL << bit >= larger((seq_len + 2) * row_bytes, 26 * mib + image_bytes)) return bit;
  return 0;  // there is none
}();
constexpr long long arena = arena_bit ? 1LL << arena_bit : larger(pages(seq_len * row_bytes), 26 * mib + image_bytes);
constexpr long long end_of_zeros = 2 * (arena + row_bytes), end_of_rows = arena + (seq_len + 1) * row_bytes;
INLINE constexpr address arena_at(long index_) { return arena + 4LL * index_; }

// a -= 4 * stride; whether it is in the arena then. A number in the header takes 2 bytes less in each instruction.
extern "C" [[gnu::section(".header.number")]] address header_number;
address header_number = arena_bit ? address(row_bytes) : arena_at(0);  // @attention
INLINE bool back_in_arena() {
  if constexpr (arena_bit) {
    asm goto(NEAR("subl 1(%%rbp), %%eax", near_number) "\n\tbtl %[bit], %%eax\n\tjc %l[yes]"
             : "+r"(a) : [bit] "i"(arena_bit), "r"(rows_at), "m"(header_number) : "cc" : yes);
  } else {
    a -= 4 * stride;
    asm goto(NEAR("cmpl 1(%%rbp), %%eax", near_number) "\n\tjae %l[yes]"
             : : "r"(a), "r"(rows_at), "m"(header_number) : "cc" : yes);
  }
  return false;
yes:
  return true;
}

// Where the rows end. The image's size is a number that may be larger than it must be: it is this one, where that is
// enough (-4).
constexpr bool size_is_end = end_of_rows + arena - image_bytes >= end_of_zeros;
extern "C" [[gnu::section(".header.size")]] address size_of_image;
[[gnu::section(".data.end")]] static address rows_end = end_of_rows;  // @loop
address size_of_image = size_is_end ? end_of_rows : end_of_zeros - (arena - image_bytes);  // @header
// The pieces, and where x87.ld puts them. start, token and record fill the header's largest hole, 98 to 135, and go on with
// `mov $0, %ebx`, of which the number is NumberOfRvaAndSizes (-3: no jump over it, and n is 0 for one byte). Where they are too
// long for that, the second half of start is behind rows (+11).
constexpr int count_size(long long number) { return number < 256 || number % 256 == 0 && number < 65536 ? 2 : number < 65536 ? 4 : 5; }
// About the cycles of a story: 12 for a weight, 50 for a number of a key or query. The firmware's watchdog resets the PC after
// 5 minutes; start turns it off for stories that could take 100 seconds on a processor of 1 GHz (+39 then).
constexpr double cycles = 12.0 * seq_len * packed_bytes * 8 / weight_bits +
                          0.5 * seq_len * seq_len * n_layers * n_heads * (50.0 * head_size + 200);
constexpr bool watchdog_off = cycles > 1e11;
constexpr bool start_fits = record_bytes / 4 <= 128 && count_size(copied) == 2 && !watchdog_off;
// In int8 rows is too long for a short jump over it, and for the longer one start must be shorter.
constexpr bool far_clear = !start_fits && weight_bytes == 1;
// In int4 what is behind that second half is too far from rows for an offset of one byte. Then the model's address is taken by pass,
// for ready has no room for it, and numbers there have addresses of their own.
constexpr bool far_model = !start_fits && weight_bits == 4;
INLINE void model_to_w() {
  if constexpr (far_model) asm volatile("mov $model, %k0" : "=r"(w));
  else load_w();
}
INLINE void slow_down(real& angle) {
  // 10, the header's Subsystem (-2)
  if constexpr (rope_ratio_whole == 10) asm(NEAR("fidivs 1(%%rbp)", near_subsystem) : "+t"(angle) : "r"(rows_at));
  else if constexpr (far_model && whole_slowdown) asm("fidivs %1" : "+t"(angle) : "m"(slowdown));
  else if constexpr (far_model) asm("fmuls %1" : "+t"(angle) : "m"(speedup));
  else slow_down_by_own(angle);
}
INLINE void compare_with_end() {
  if constexpr (size_is_end) asm volatile(NEAR("cmpl %%edi, 1(%%rbp)", near_size) : : "r"(r), "r"(rows_at), "m"(size_of_image) : "cc");
  else if constexpr (far_model) asm volatile("cmpl %%edi, %1" : : "r"(r), "m"(rows_end) : "cc");
  else asm volatile(NEAR("cmpl %%edi, 1(%%rbp)", near_end) : : "r"(r), "r"(rows_at), "m"(rows_end) : "cc");
}
extern "C" void clear();

// From the firmware: rcx is the program's handle, rdx the address of the system table; ConOut is at 64 there.
INLINE void begin() {
  asm volatile("push %%rbx\n\tpush %%rsi\n\tpush %%rdi\n\tpush %%rbp\n\tpush 64(%%rdx)"
               "\n\t.globl arena_begin\n\t.set arena_begin, %c0" : : "i"(arena) : "memory");
  if constexpr (!far_clear) rows_at = word(&rows);  // @matmul
  r = cell(arena_at(stride));
}
INLINE void clear_arena() {
  asm volatile("mov %%edi, %%ecx\n\tpush %%rdi\n\txor %%eax, %%eax\n\trep stosb\n\tpop %%rdi\n\tcltd"  // @loop
               : "+r"(a), "=r"(j), "=r"(b), "+r"(r) : "r"(rows_at) : "memory");
}
[[noreturn]] INLINE void to_token() {
  if constexpr (start_fits) {
    clear_arena();
    fall();
  }
  if constexpr (!far_clear) JUMP(clear)
  asm volatile("jmp clear" ::: "memory");
  fall();
}
CODE(".clear") clear() {
  if constexpr (start_fits) __builtin_unreachable();
  if constexpr (far_clear) rows_at = word(&rows);  // @matmul
  // SystemTable->BootServices->SetWatchdogTimer(0, 0, 0, 0); the stack is aligned here, and has to be with rbp and 40 bytes on it.
  if constexpr (watchdog_off)
    asm volatile("mov 96(%%rdx), %%rax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\txor %%r8d, %%r8d\n\txor %%r9d, %%r9d\n\t"  // @loop
                 "enter $40, $0\n\tcall *256(%%rax)\n\tleave"
                 : : "r"(rows_at), "r"(r) : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
  clear_arena();
  if constexpr (!watchdog_off && weight_bytes == 4) JUMP(token)  // @loop
  asm volatile("jmp token");  // too far for a short one @loop
  fall();
}
[[noreturn]] INLINE void to_record() { fall(); }
[[noreturn]] INLINE void to_pass() { fall(); }  // into `mov $0, %ebx`

// With 128 layers or more, or a vocabulary of no multiple of 256 and of 256 or more, layers and logits are too long for the hole at 64: then ready counts the layers, and what
// was there is done before (+10).
constexpr bool layers_fit = n_layers < 128 && count_size(vocab_size) == 2;
// And where pass is longer, a short jump to ready, which is at 30, does not reach it (+3).
constexpr bool pass_fits = weight_bytes == 4 && layers_fit;

INLINE void know_rows() {}

// x = r. The firmware does not keep x, so r is pushed until it is done, ConOut below it.
INLINE void new_x() { asm volatile("pop %%rax\n\tpush %%rax\n\tpush %%rdi" : "=r"(a) : "r"(r) : "memory"); }
// ConOut->OutputString(ConOut, w).
INLINE void write_piece() {
  asm volatile("xchg %%rax, %%rcx" : "+r"(a), "+r"(j));
  b = where(w);
  fresh(b);
  if constexpr (!layers_fit || far_model) model_to_w();
  asm volatile("enter $32, $0\n\tcall *8(%%rcx)"
               : "+r"(a), "+r"(j), "+r"(b) : "r"(w), "r"(r), "r"(rows_at) : "r9", "r10", "r11", "memory", "cc");
}
INLINE void pop_x() { asm volatile("leave\n\tpop %%r8" : "=r"(x) : : "memory"); }
[[noreturn]] INLINE void to_ready() {
  if constexpr (!layers_fit) pop_x();
  if constexpr (pass_fits) JUMP(ready)
  asm volatile("jmp ready" ::: "memory");
  fall();
}
INLINE void keep_x() {
  if constexpr (layers_fit) pop_x();
}
INLINE void w_to_model() {
  asm volatile(".globl code_is_far\n\t.set code_is_far, %c0" : : "i"(far_model));  // for x87.ld
  if constexpr (layers_fit && !far_model) model_to_w();
}
[[noreturn]] INLINE void to_layers_or_leave() {
  compare_with_end();
  asm volatile(SHORT("0x72", leave) : : : "cc");  // jb
  static_assert(layers_fit || !far_model || size_is_end || n_layers < 256, "ready has no room for so many layers in int4: use int8");
  if constexpr (!layers_fit && n_layers < 256) asm volatile("xor %%ecx, %%ecx\n\tmov %1, %%cl" : "=r"(j) : "i"(n_layers) : "cc");
  else if constexpr (!layers_fit) j = n_layers;
  JUMP(layers)
}
INLINE void count_layers() {
  if constexpr (layers_fit) j = n_layers;
  fresh(j);
}
[[noreturn]] INLINE void to_logits() { fall(); }
[[noreturn]] INLINE void to_choice() JUMP(choice)
[[noreturn]] INLINE void to_token_or_leave() {
  next_token();
  fall();
}
// To the firmware, with EFI_SUCCESS: n is 0 wherever the program can end.
[[noreturn]] INLINE void exit() {
  asm volatile("xchg %%eax, %%ebx\n\tpop %%rbp\n\tpop %%rbp\n\tpop %%rdi\n\tpop %%rsi\n\tpop %%rbx" : "+r"(a), "+r"(n));
  back();
}
