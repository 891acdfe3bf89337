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
register const weight* w asm("a1");  // a system call's text
register long l asm("a0");        // a system call's file
register long j asm("a2");        // a system call's length
register cell* b asm("a3");
register long m asm("a3");
register long n asm("a4");
register cell* a asm("a5");
register long k asm("a5");
register cell* x asm("s4");
register long t asm("s0");
register long halves asm("t6");    // in int4: two weights, the next one at the top of 32 bits
register const char* g asm("s1");  // a place in the header: constants are near it
register cell* first asm("t5");    // x of position 0
register word minus_stride asm("t4");  // in bytes
register real slowdown asm("fs1");

// Where the arena's parts are: layers begin at a multiple of so many cells that the keys' address is made of the query's (2 bytes
// of a gap for 4); positions are whole pages, whose number is a short constant.
constexpr int unit = in_one_bit ? 2 * kv_cells : in_pairs ? 2 * head_size : 1;
constexpr int gap = gap_to(unit);
constexpr int page = 4096 / 8;
constexpr int stride_unit = unit > page ? unit : page;
constexpr long stride = (position_cells(unit) + stride_unit - 1) & -stride_unit;
static_assert(workspace_bytes == 8 * stride * (seq_len + 1LL));  // the packer checks that it fits into memory
constexpr long ahead = 2;  // cells from a to a key: a query's place is two cells behind a multiple, too, and rounded down

constexpr bool text_first = false;
INLINE void put_one();    // the target's
INLINE real epsilon();

extern "C" void story(), rows();
constexpr bool called_share = false;
#define CALLED INLINE
#define COUNT

#define settle(v)
#define fresh(v) asm volatile("" : "+r"(v))
#define fence() asm volatile("" ::: "memory")

// --count != 0. (A register's variable cannot be referred to.)
#define again(count) ({ count--; fresh(count); count != 0; })

// r is one cell before the next one: so the best logit is as far from r, when all are made, as its record from the first
// one (-2); r + next is one instruction of 2 bytes, too.
constexpr int next = 1;

// The cell r[i]. gcc does not know that sp is a base like others, and copies it.
constexpr bool near(long i) { return 8 * i >= -2048 && 8 * i < 2048; }
INLINE real get(long i) {
  real v;
  if (near(i)) asm volatile("fld %0, %1(sp)" : "=f"(v) : "i"(8 * i), "r"(r));
  else v = r[i];
  return v;
}
INLINE void put(long i, real v) {
  if (near(i)) asm volatile("fsd %0, %1(sp)" : : "f"(v), "i"(8 * i), "r"(r) : "memory");
  else r[i] = v;
}

INLINE real constant(int place) { return *(const volatile real*)(g + place); }
INLINE real junk() {
  real v;
  asm volatile("" : "=f"(v));
  return v;
}

// What RoPE's angle is divided by from one pair to the next: rope_theta ^ (2 / head_size). A small integer needs no constant in memory.
// gcc drops the one that is not used.
constexpr real rope_ratio = __builtin_pow(rope_theta, 2.0 / head_size);
constexpr bool whole_ratio = rope_ratio_whole;
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

// Positions: t of them are to come.
INLINE void begin_position() {
  r = x;
  put_one();
  n = 1;
}
INLINE bool is_last() {  // the last token has gone through the layers in vain: so the exit's status, 0, is in l (-2)
  if (!t) return true;
  t -= position;
  fresh(t);
  return false;
}
INLINE bool again_position() {
  x = (cell*)((word)x - minus_stride);
  fresh(x);
  return j;
}
INLINE void a_back() {
  a = (cell*)((word)a + minus_stride);
  fresh(a);
}
INLINE bool again_key() { return a >= first; }

#define CLOBBERED "ra", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "ft0", "ft1", "ft2", "ft3", "memory"
INLINE void call_rows() {
  asm volatile(CALL_ROWS : "+r"(r), "+r"(w), "+r"(n), "=r"(b), "=r"(a) : "r"(x), "r"(g) : CLOBBERED);
}
[[noreturn]] INLINE void back() {
  asm volatile("ret" : : "r"(b), "r"(r), "r"(w), "r"(n));
  __builtin_unreachable();
}
#include "counted.hpp"

INLINE void begin_layers() { l = n_layers; }
INLINE bool again_layer() { return again(l); }
INLINE void run_logits() { run(vocab_size); }

// r = the query of head n - 1, a = its first key.
INLINE void to_head() {
  r -= head_size;
  fresh(r);
  if constexpr (in_one_bit) a = (cell*)((word)r & ~8l * kv_cells & -8l * 2 * head_size);
  else if constexpr (in_pairs) a = (cell*)((word)r & -8l * 2 * head_size) - kv_cells;
  else a = r + next - ahead - kv_cells + ((n - 1) / heads_per_kv_head * 2 - (n - 1)) * head_size;
  fresh(a);
}

// A pair of the query: what is turned is the cell and a register.
struct Turned {
  struct Cell {
    operator real() const { return get(next); }
    void operator=(real v) const { put(next, v); }
  } u;
  real v = junk();
};
INLINE real product(real v, real u) { return v * u; }
INLINE void begin_pairs() { m = head_size / 2; }
INLINE void take_query(real& qa, real& qb) {
  qa = get(next);
  qb = get(next + 1);
}
INLINE void take_key(real& ka, real& kb) {
  ka = a[ahead];
  fence();
  kb = a[ahead + 1];
}
INLINE void put_query(const Turned& z) { put(next + 1, z.v); }
INLINE void next_pair() {
  r += 2;
  a += 2;
  fence();
}
INLINE bool again_pair() { return again(m); }
#define GATE_GOES_TO(label) if (m) goto label

// The values go from the last to the first, and their outputs with them, so a comes back to the keys, and r to the query (-2).
INLINE void begin_values() { j = head_size; }
INLINE real take_value() {
  a--;
  fresh(a);
  r--;
  fresh(r);
  return a[ahead + head_size];
}
INLINE real get() { return get(next + head_size); }
INLINE void put_next(real v) {
  put(next + head_size, v);
  fence();
}
INLINE void back_to_query() {}
INLINE bool again_value() { return again(j); }

// Gates are hidden_dim cells before what they are for, and what comes out overwrites that.
INLINE void to_gates() { count_gates(); }
INLINE void take_gate(real& gate, real&) {
  r--;
  fresh(r);
  gate = get(next - hidden_dim);
}
INLINE void put_gated(real gate, real, real share) {
  put(next, get(next) * (gate * share));
  fence();
}

// A row against x.
#include "sums.hpp"
INLINE void begin_best() { b = r + next; }
INLINE void take_cells(real& p, Sums& sums) {
  sums.dot = r[next + 1];
  p = get(next);
}
INLINE void begin_squares(Sums& sums) { sums.squares = epsilon(); }
INLINE void begin_x() {
  a = x - dim;
  fresh(a);
}
// It may be at any address, as may a model of float32, which begins at an even one: Linux runs such loads.
INLINE f32 take_scale() {
  if constexpr (!in_steps) return 1;
  f32 scale = *(const f32*)w;
  asm volatile("" : "+f"(scale));  // loaded before w goes on: by c.flw (riscv32: -2)
  w += scale_bytes;
  fresh(w);
  return scale;
}
// In int4 a byte is loaded at every even cell of x, with the three before it, so that it is at the top of a word.
INLINE int take_half() {
  long odd;
  asm volatile("slli %0, %0, 4\n\t"
               "andi %2, %3, 8\n\t"
               "bnez %2, 0f\n\t"
               "lw %0, -3(%1)\n\t"
               "addi %1, %1, 1\n"
               "0:" : "+r"(halves), "+r"(w), "=&r"(odd) : "r"(a));
  return int(halves) >> 28;
}
INLINE real take_weight(f32 scale) {
  if constexpr (in_halves) return take_half() * scale;
  const real weight = in_steps ? *w * scale : *w;  // in int8 by lb (riscv32: there is no c.lb, +2)
  w++;
  fresh(w);
  return weight;
}
INLINE Element take_element(f32 scale) {
  const real value = *a;
  return {take_weight(scale), value};
}
INLINE void put_x(const Element& e, real p) {
  *a = e.value + p * e.weight;
  fence();
  a++;
  fresh(a);
}
INLINE bool again_x() { return a != x; }
INLINE void put_best(real dot) {
  put(next, dot);
  k = dot >= *b;
  fresh(k);
  if (k) b = r + next;
  r++;
  fresh(r);
}

// w = the record of the token whose logit is at b (a shift instead of a product: -4), j = its text's length. w is behind the classifier, whose last row is token 0's.
INLINE void to_record() {
  n = (char*)r - (char*)b;
  fresh(n);
  constexpr long factor = record_bytes / 8;
  if constexpr (((factor - 1) & (factor - 2)) == 0) {
    w = (const weight*)((const char*)w + n);
    fresh(w);
    n *= factor - 1;
  } else {
    n *= factor;
  }
  fresh(n);
  w = (const weight*)((const char*)w + n);
  fresh(w);
  j = ((const unsigned char*)w)[record_bytes - 1];
}

// A jump of 2 bytes to another section; the assembler would take 4, and gcc more (-2 each).
#define JUMP(target) { asm volatile(".reloc ., R_RISCV_RVC_JUMP, " #target "\n\t.insn 0xa001" ::: "memory"); __builtin_unreachable(); }
