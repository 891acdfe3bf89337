// What the two x86 targets share: types, registers, and the instructions that C++ has no name for. Each helper is one to
// four instructions. A target includes it after it has said how wide registers are: WIDE is "e" or "r".
#pragma once

typedef float f32;
typedef long double real;     // x87: 80 bits
typedef unsigned long word;   // as wide as a pointer
typedef unsigned address;     // what addresses are computed in
typedef int number;           // as wide as address

#define INLINE static inline __attribute__((always_inline))
// naked: gcc writes no prologue; on x86-64 it would push a register, to align a stack that nobody looks at (-2 each).
#define ENTRY [[noreturn, gnu::externally_visible, gnu::naked]]
#define LAYER [[gnu::naked, gnu::used, gnu::section(".text.layer")]]
#define ROWS [[gnu::section(".text.rows")]] __attribute__((noinline))
#define HEADER __attribute__((section(".header"), used))

// The registers. On i386 these seven are all: gcc allocates nothing, and spills nothing.
register number a asm("eax");      // lods loads into it; system call number
register number n asm("ebx");
register number j asm("ecx");      // loop counts in it
register number b asm("edx");      // length of a text
register f32* x asm(WIDE "bp");
register f32* w asm(WIDE "si");    // lods reads from it
register f32* r asm(WIDE "di");    // scas moves it

#define fresh(v) asm volatile("" : "+r"(v))
#define fence() asm volatile("" ::: "memory")
#define settle(v) asm("" : "+t"(v))  // v is here, and in one x87 register

constexpr int head_size = dim / n_heads, kv_dim = head_size * n_kv_heads, qkv = dim + 2 * kv_dim;
constexpr int stride = dim + n_layers * (qkv + head_size + 2 * hidden_dim) + vocab_size;

template <int N, class T> INLINE T count(T zero);

// --j != 0, as one instruction (-1 at each of five places). `loop` reaches 127 bytes, enough for every inner loop.
INLINE bool again() {
  asm goto("loop %l[yes]" : "+r"(j) : : : yes);
  return false;
yes:
  return true;
}
// w++ and r++ in one byte instead of three (-2 at each of three places).
INLINE void next_weight() {
  if constexpr (weight_bytes == 4) asm volatile("lodsl" : "+r"(w), "+r"(a));
  else asm volatile("lodsw" : "+r"(w), "+r"(a));
}
INLINE void next_cell() { asm volatile("scasl" : "+r"(r)); }

// The last words of a function that rows() stands behind: neither call nor return (-6). n is still needed.
[[noreturn]] INLINE void fall_into_rows() {
  fresh(n);
  __builtin_unreachable();
}

// b = a % j, a = a / j, for positive numbers.
INLINE void divide() { asm volatile("cltd\n\tidivl %2" : "+r"(a), "=r"(b) : "r"(j) : "cc"); }

// w = base + b, as one instruction (-1 on x86-64).
INLINE void w_from_b(const char* base) { asm volatile("leal %c1(%%" WIDE "dx), %%esi" : "=r"(w) : "i"(base), "r"(b)); }

// Whether w has not arrived there, compared as 32 bits (-1 on x86-64).
INLINE bool before(const char* end) {
  asm goto("cmpl %1, %k0\n\tjne %l[yes]" : : "r"(w), "i"(end) : "cc" : yes);
  return false;
yes:
  return true;
}

INLINE real square_root(real v) { return __builtin_sqrtl(v); }
INLINE void cos_sin(real angle, real& c, real& s) { asm("fsincos" : "=t"(c), "=u"(s) : "0"(angle)); }
// Two dead x87 registers go with one instruction (-2).
INLINE void drop(real p, real sum) { asm("fcompp" : : "t"(p), "u"(sum) : "st", "st(1)"); }

// dim weights from w to r; w is then at the text's length.
INLINE void copy_embedding() {
  if constexpr (weight_bytes == 4) {
    j = count<dim>(j);
    asm volatile("rep movsl" : "+r"(w), "+r"(r), "+r"(j) : : "memory");
  } else {
    j = dim;
    do {
      *r = *w;
      fence();
      next_weight();
      next_cell();
    } while (again());
    next_weight();
  }
}
