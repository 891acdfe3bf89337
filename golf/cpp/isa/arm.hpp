// Thumb-2 with VFPv3-D16: registers, and the instructions that C++ has no name for. A target's doubles.hpp includes it.
//
// An instruction for doubles has 4 bytes, whatever it does: so pairs are loaded and stored by one, which steps as well. One
// for r0 … r7 mostly has 2, and its constants are below 256. These are all taken; what gcc needs for itself is r8 and up.
// Doubles lie at multiples of 8 bytes, floats of 4, which vldm wants them to; so do scales where rows are a multiple of 4.
//
// "(-4)": the bytes of code that a trick saves for stories260K's shape; the whole is filled up to a multiple of 4.
#pragma once

typedef unsigned long word;  // as wide as a pointer
typedef double cell;

#define INLINE static inline __attribute__((always_inline))
// A piece of code, in a section that the linker script finds a place for. naked: gcc writes no prologue.
#define CODE(section_) extern "C" [[gnu::naked, gnu::used, gnu::section(section_)]] void

register long l asm("r0");        // a system call's file
register const weight* w asm("r1");  // its text
register long j asm("r2");        // its length
register cell* a asm("r3");
register cell* r asm("r4");
register cell* b asm("r5");
register long m asm("r5");
register cell* x asm("r6");
register long n asm("r7");         // its number
register word rows_at asm("r9");   // blx has 2 bytes, bl 4 (-6)

extern "C" void story(), rows();
constexpr bool called_share = false;
#define CALLED INLINE
#define COUNT

#define settle(v)
#define fresh(v) asm volatile("" : "+r"(v))
#define fence() asm volatile("" ::: "memory")

// --count != 0, as the flags that the subtraction leaves. (gcc finds that itself where it does not know better.)
#define again(count) ({ \
  __label__ yes; \
  bool is_again = true; \
  asm goto("subs %0, #1\n\tbne %l[yes]" : "+l"(count) : : "cc", "memory" : yes); \
  is_again = false; \
  yes: is_again; })

// Whether the bit of that value is set in a: a shift leaves it in the carry, and the bits below it in m.
constexpr int place_of(long value) { return value == 1 ? 0 : 1 + place_of(value / 2); }
INLINE bool is_in_a(long value) {
  asm goto("lsls %0, %1, %2\n\tbcs %l[yes]" : "=l"(m) : "l"(a), "i"(32 - place_of(value)) : "cc", "memory" : yes);
  return false;
yes:
  return true;
}
INLINE bool is_not_in_a(long value) {
  asm goto("lsls %0, %1, %2\n\tbcc %l[yes]" : "=l"(m) : "l"(a), "i"(32 - place_of(value)) : "cc", "memory" : yes);
  return false;
yes:
  return true;
}

// Forward only: cbnz. gcc would put the gates into the middle of the attention (-2).
#define GATE_GOES_TO(label) asm goto("cbnz %0, %l[" #label "]" : : "l"(m) : "memory" : label)

INLINE real epsilon();  // the target's
INLINE real junk() {
  real v;
  asm volatile("" : "=w"(v));
  return v;
}
INLINE real product(real v, real w_) {
  real result = v * w_;
  asm volatile("" : "+w"(result));
  return result;
}
INLINE real one() {
  real v;
  asm volatile("vmov.f64 %P0, #1.0" : "=w"(v));
  return v;
}
INLINE real zero() {
  real v;
  asm volatile("vsub.f64 %P0, %P0, %P0" : "=w"(v));
  return v;
}

INLINE real get() { return *(const volatile real*)r; }
INLINE void put_next(real v) { asm volatile("vstmia %0!, {%P1}" : "+l"(r) : "w"(v) : "memory"); }

#define CLOBBERED "lr", "ip", "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "cc", "memory"
INLINE void call_rows() {
  fresh(n);
  asm volatile("blx %[rows]" : "+r"(r), "+r"(w), "+r"(n), "=r"(b), "=r"(a), "=r"(j) : "r"(x), [rows] "r"(rows_at) : CLOBBERED);
}
[[noreturn]] INLINE void back() {
  asm volatile("bx lr" : : "r"(b), "r"(r), "r"(w), "r"(n));
  __builtin_unreachable();
}
#include "counted.hpp"

// What RoPE's angle is divided by from one pair to the next: rope_theta ^ (2 / head_size).
constexpr real rope_ratio = __builtin_pow(rope_theta, 2.0 / head_size);
constexpr bool short_ratio = rope_ratio_whole == 10;
register real slowdown asm("d8");
INLINE void set_slowdown() {
  if constexpr (short_ratio) {
    asm volatile("vmov.f64 %P0, #10.0" : "=w"(slowdown));
  } else {
    constexpr word lower = __builtin_bit_cast(unsigned long long, rope_ratio) & 0xffffffff;
    constexpr word upper = __builtin_bit_cast(unsigned long long, rope_ratio) >> 32;
    asm volatile("movw r2, %1\n\tmovt r2, %2\n\tmovw r3, %3\n\tmovt r3, %4\n\tvmov %P0, r2, r3"
                 : "=w"(slowdown) : "i"(lower & 0xffff), "i"(lower >> 16), "i"(upper & 0xffff), "i"(upper >> 16) : "r2", "r3");
  }
}
INLINE void slow_down(real& angle) { angle /= slowdown; }
constexpr int terms = 24;

// With a head_size that is a power of two, layers begin at a multiple of 16 * head_size bytes, a head's keys have the bit
// 8 * head_size clear in their addresses, its values have it set: nobody has to count them (-4). After the keys m is 0.
constexpr bool by_address = power(head_size);
struct Turned {
  real u = junk(), v = junk();  // d14 and d15, which nothing else is in: not much larger than what they shall be
};
INLINE void begin_pairs() {
  if constexpr (!by_address) {
    m = head_size / 2;
    fresh(m);
  }
}
INLINE void take_query(real& qa, real& qb) {
  register real first asm("d2");
  register real second asm("d3");
  asm volatile("vldmia %2, {%P0, %P1}" : "=w"(first), "=w"(second) : "l"(r) : "memory");
  qa = first;
  qb = second;
}
INLINE void take_key(real& ka, real& kb) {
  register real first asm("d0");
  register real second asm("d1");
  asm volatile("vldmia %2!, {%P0, %P1}" : "=w"(first), "=w"(second), "+l"(a) : : "memory");
  ka = first;
  kb = second;
}
INLINE void put_query(const Turned& z) {
  register real first asm("d14") = z.u;
  register real second asm("d15") = z.v;
  asm volatile("vstmia %0!, {%P1, %P2}" : "+l"(r) : "w"(first), "w"(second) : "memory");
}
INLINE void next_pair() {}
INLINE bool again_pair() {
  if constexpr (by_address) return is_not_in_a(8 * head_size);
  else return again(m);
}

// The values go from the first to the last.
INLINE void begin_values() {
  if constexpr (!by_address) {
    j = head_size;
    fresh(j);
  }
}
INLINE real take_value() {
  real v;
  asm volatile("vldmia %1!, {%P0}" : "=w"(v), "+l"(a) : : "memory");
  return v;
}
INLINE void back_to_query() {
  r -= 2 * head_size;
  fresh(r);
}
INLINE bool again_value() {
  if constexpr (by_address) return is_in_a(8 * head_size);
  else return again(j);
}

// A gate and what it is for are neighbours: one load for both, and no distance (-6). a takes them, and r puts what comes out,
// both from the last one to the first: at the end, r is at the first one that was put.
INLINE void to_gates() {
  count_gates();
  a = r;
  fresh(a);
}
INLINE void take_gate(real& gate, real& up) {
  register real first asm("d12");
  register real second asm("d13");
  asm volatile("vldmdb %2!, {%P0, %P1}" : "=w"(first), "=w"(second), "+l"(a) : : "memory");
  gate = first;
  up = second;
}
INLINE void put_gated(real gate, real up, real share) {
  asm volatile("vstmdb %0!, {%P1}" : "+l"(r) : "w"(up * gate * share) : "memory");
}

// A row against x. The cell and the next one are loaded at once (-4). Where dim is a power of two, x is walked through from its
// end (it lies one cell before a multiple of 16 * dim bytes, so a bit goes out at the other end): a = x instead of x - dim (-2).
#include "sums.hpp"
INLINE void begin_best() { b = r; }
INLINE void take_cells(real& p, Sums& sums) {
  register real first asm("d2");
  register real second asm("d3");
  asm volatile("vldmia %2, {%P0, %P1}" : "=w"(first), "=w"(second) : "l"(r) : "memory");
  p = first;
  sums.dot = second;
}
INLINE void begin_squares(Sums& sums) { sums.squares = epsilon(); }
INLINE void begin_x() {
  if constexpr (power(dim) || x_from_start) a = x;
  else a = x - dim;
  fresh(a);
}
INLINE f32 take_scale() {  // where it may be at no multiple of 4, by a load of the core, which takes any address (+4)
  f32 scale = 1;
  if constexpr (in_steps && matrix_row_bytes % 4 == 0) asm volatile("vldmia %1!, {%0}" : "=t"(scale), "+l"(w));
  else if constexpr (in_steps) asm volatile("ldr %2, [%1], #4\n\tvmov %0, %2" : "=t"(scale), "+l"(w), "=l"(j));
  return scale;
}
// In int4 bit 3 of x's address tells which half of the byte at w it is: the second one steps on. Between two shifts, w and j
// are both changed behind one branch, which is why the lower half comes first. Where x is walked from its end, the first cell is an
// odd one.
INLINE f32 take_half() {
  asm volatile("lsls %0, %2, #29\n\t"
               "ldrb %0, [%1]\n\t"
               ".if %c3\n\tbcs 0f\n\t.else\n\tbcc 0f\n\t.endif\n\t"
               "lsrs %0, #4\n\t"
               "adds %1, #1\n"
               "0: lsls %0, #28" : "=&l"(j), "+l"(w) : "l"(a), "i"(!x_from_start) : "cc");
  f32 steps;  // with 28 bits behind the point: so j needs no shift back (-2)
  asm volatile("vmov %0, %1\n\tvcvt.f32.s32 %0, %0, #28" : "=t"(steps) : "l"(j));
  return steps;
}
INLINE real take_weight(f32 scale) {
  if constexpr (in_halves) {
    return take_half() * scale;
  } else if constexpr (in_steps) {  // the FPU has no load of a byte: a vmov more (+4)
    asm volatile("ldrsb %0, [%1], #1" : "=l"(j), "+l"(w));
    return j * scale;
  } else {
    f32 taken;
    asm volatile("vldmia %1!, {%0}" : "=t"(taken), "+l"(w));
    return taken;
  }
}
INLINE real take_x() {
  if constexpr (power(dim) && !x_from_start) {
    real v;
    asm volatile("vldmdb %1!, {%P0}" : "=w"(v), "+l"(a) : : "memory");
    return v;
  } else {
    return *a;
  }
}
INLINE Element take_element(f32 scale) {
  const real weight = take_weight(scale), value = take_x();
  return {weight, value};
}
INLINE void put_x(const Element& e, real p) {
  const real v = e.value + p * e.weight;
  if constexpr (power(dim) && !x_from_start) *(volatile real*)a = v;
  else asm volatile("vstmia %0!, {%P1}" : "+l"(a) : "w"(v) : "memory");
}
INLINE bool again_x() {
  if constexpr (!power(dim)) return a != (x_from_start ? x + dim : x);
  if constexpr (x_from_start)
    asm goto("lsls %0, %1, %2\n\tbcc %l[yes]" : "=l"(j) : "l"(a), "i"(32 - place_of(8 * dim)) : "cc", "memory" : yes);
  else
    asm goto("lsls %0, %1, %2\n\tbcs %l[yes]" : "=l"(j) : "l"(a), "i"(32 - place_of(8 * dim)) : "cc", "memory" : yes);
  return false;
yes:
  return true;
}
INLINE void put_best(real dot) {  // b starts as r: it is the first cell, whatever comes out of that comparison
  if (dot >= *b) b = r;
  put_next(dot);
}

// From here on to the next layer. The layers are counted by shifting, until a bit falls out; another one is left: l is 1, the
// file that write() wants (-2), and logits are counted from it (-2).
constexpr bool in_bits = n_layers < 31;
INLINE void begin_layers() {
  l = in_bits ? 3l << (n_layers - 1) : n_layers;
  fresh(l);
}
INLINE bool again_layer() {
  if constexpr (!in_bits) return again(l);
  asm goto("lsrs %0, #1\n\tbcc %l[yes]" : "+l"(l) : : "cc", "memory" : yes);
  return false;
yes:
  return true;
}
INLINE void run_logits() {
  if constexpr (!in_bits) {
    l = 1;
    fresh(l);
  }
  if constexpr (power(vocab_size)) n = l << place_of(vocab_size);
  else n = vocab_size;
  call_rows();
}

// r = the query of head n - 1, a = its first key: the place of the pair of heads in units of 16 * head_size bytes, and back
// by the keys and values, which are as many units as there are heads of them. Or one instruction for two bits, if the
// layers need no gap for it.
INLINE void to_head() {
  r -= head_size;
  fresh(r);
  if constexpr (in_one_bit && unit >= 2 * kv_cells) {
    a = (cell*)((word)r & ~(8l * kv_cells | 8l * head_size));
  } else if constexpr (in_pairs) {
    word pair = (word)r / (16 * head_size);
    fresh(pair);
    a = (cell*)((pair - n_kv_heads) * 16 * head_size);
  } else {
    a = r - kv_cells + (((n - 1) * (65536 / heads_per_kv_head + 1) >> 16) * 2 - (n - 1)) * head_size;
  }
  fresh(a);
}

// w = the record of the token whose logit is at b, j = its text's length. w is behind the classifier, whose last row is token 0's.
INLINE void to_record() {
  a = (cell*)((char*)r - (char*)b - 8);
  fresh(a);
  constexpr long factor = record_bytes / 8;
  j = factor;
  fresh(j);
  asm volatile("mla %0, %1, %2, %0" : "+l"(w) : "l"(a), "l"(j));
  j = ((const unsigned char*)w)[text_bytes - 1];
  fresh(j);
}

// A jump of 2 bytes to another section; gcc would take 4.
#define JUMP(target) { asm volatile(".reloc ., R_ARM_THM_JUMP11, " #target "\n\t.inst.n 0xe7fe" ::: "memory"); __builtin_unreachable(); }
