// What the two x86 targets share: types, registers, and the instructions that C++ has no name for. Each helper is one to
// four instructions. A target includes it after it has said how wide registers are: WIDE is "e" or "r".
#pragma once

typedef float f32;
typedef long double real;     // x87: 80 bits
typedef unsigned long word;   // as wide as a pointer
typedef unsigned address;     // what addresses are computed in
typedef int number;           // as wide as address

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define ENTRY [[noreturn, gnu::externally_visible]]
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
