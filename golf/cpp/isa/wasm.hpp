// WebAssembly: registers, and instructions that C++ has no name for. A target's doubles.hpp includes it.
//
// A local variable and a global one cost the same: 2 bytes to get, 2 to set; but a local one can be set and kept on the stack in
// 2 bytes (tee). Constants cost by their size: an integer from -64 to 63 has 2 bytes, a double 9. A call has 2.
//
// So r and w, which rows() shares with its callers, are globals of the module, and everything else is a member of Machine, which
// lives in a function: clang makes locals of its members. doubles.cpp's functions are members as well. wasm-opt then makes
// the code anew, and removes most of what barriers cost.
#pragma once

typedef unsigned long word;  // as wide as a pointer
typedef long long wide;      // for what is computed at compile time
typedef double cell;

#define INLINE inline __attribute__((always_inline))
#define FUNCTION static __attribute__((noinline))
#define CODE(section_) INLINE void Engine::

constexpr bool text_first = false, called_share = true;
#define CALLED FUNCTION
#define COUNT long
#define GATE_GOES_TO(label) if constexpr (false) goto label

// volatile: clang would copy them into locals, and back. r is the stack pointer, which nobody else needs: of all globals
// it alone can begin with another number than 0.
#define GLOBAL __attribute__((address_space(1)))
extern cell* volatile GLOBAL r __asm__("__stack_pointer");
static const weight* volatile GLOBAL w;

// settle(v): v is computed here. clang would rather keep what it is made of, in two more locals, and compute it after the loop (-14).
#define settle(v) asm volatile("" : "+r"(v))
#define fresh(v) asm volatile("" : "+r"(v))
#define fence() asm volatile("" ::: "memory")

// --count != 0
#define again(count) (--count != 0)

// Where the arena's parts are
// ---------------------------
// A position's row has a power of two as size, so that r with its low bits cleared is the row's beginning: no x is needed (-6). x ends
// at a multiple of a power of two; so do a head's cells, if that is what their number is: loops end by address (-6 each).
//
//   row   x, up to x_unit | up to lead: nothing | one | per layer: as in doubles.cpp, and layer_gap | logits | row_end
//
// From the end of a row it is always as far to the `one` of the next: one addition (-9). That takes up to twice as much memory as is
// written to.
constexpr wide power_above(wide v) { return v > 1 ? 1LL << (64 - __builtin_clzll(v - 1)) : 1; }  // not below v
constexpr wide whole(wide v, wide of) { return (v + of - 1) / of * of; }
constexpr long head_bytes = 8 * head_size, kv_bytes = 8 * kv_cells;
constexpr bool heads_by_bit = power(head_size);
constexpr long layer_unit = in_one_bit ? 2 * kv_bytes : in_pairs ? 2 * head_bytes : heads_by_bit ? head_bytes : 8;
constexpr long layer_bytes = whole(8 * layer_cells, layer_unit), layer_gap = layer_bytes - 8 * layer_cells;
constexpr long x_unit = power_above(8 * dim), lead = whole(x_unit + 8, layer_unit) - 8;  // layers begin one cell behind lead
constexpr wide logits_end = lead + 8 + wide(n_layers) * layer_bytes + 8 * vocab_size, row_end = whole(logits_end, 16);
constexpr wide row_bytes = power_above(row_end);
static_assert(workspace_bytes == row_bytes * (seq_len + 2));  // the packer checks that it fits into memory

INLINE cell* moved(cell* p, long bytes) { return (cell*)((char*)p + bytes); }

// r += bytes, and the new r: the call has 4 bytes, and leaves an address to store to (in place: 7 and more).
FUNCTION cell* r_by(long bytes) {  // @loop
  r = moved(r, bytes);                  // @loop
  return r;                             // @loop
}

// As a double, a small integer has 3 bytes (-6 each).
INLINE real whole_number(long v) {
  asm volatile("" : "+r"(v));
  return v;
}
INLINE real product(real v, real u) { return v * u; }
INLINE real zero() { return whole_number(0); }

// What RoPE's angle is divided by from one pair to the next: rope_theta ^ (2 / head_size).
constexpr bool whole_ratio = rope_ratio_whole;
INLINE void slow_down(real& angle) {
  angle /= whole_ratio ? whole_number(rope_ratio_whole) : __builtin_pow(rope_theta, 2.0 / head_size);
}
constexpr int terms = 24;

FUNCTION cell* rows_of(long count);

struct Turned {
  real u, v;
};
#include "sums.hpp"

INLINE bool more();  // whether the arena has a row for another position

struct Machine {
  long j, n, h, m;
  const char* a;
  cell *p, *b;
  cell* now;  // r, while r_by()'s result is on the stack

  // Not volatile, so that two of them are one; and a different one for every a and m, so that none leaves its loop (-3).
  INLINE real one() {
    long v = 1;
    asm("" : "+r"(v) : "r"(a), "r"(m));
    return v;
  }
  INLINE real get() { return *moved(r, head_bytes); }

  INLINE void run(long count) { b = rows_of(count); }
  INLINE void call_rows() { run(n); }
  INLINE void run_logits() { run(vocab_size); }
  INLINE bool again_row() { return again(n); }

  // Positions.
  INLINE void begin_position() {
    now = r_by(row_bytes - row_end + lead);
    *now = one();
    n = 1;
  }
  INLINE constexpr bool is_last() { return false; }
  INLINE bool again_position() {  // to_record() makes j 0 when there is none
    if constexpr (row_end != logits_end) r_by(row_end - logits_end);
    return j;
  }

  // Layers.
  INLINE void begin_layers() {}
  INLINE void to_layer() {
    if constexpr (layer_gap) r_by(layer_gap);
  }
  INLINE bool again_layer() { return (const char*)w != model + classifier; }  // a count has 13 bytes (-4)

  // Heads.
  INLINE void begin_heads() {
    if constexpr (!in_one_bit) h = n_heads;
  }
  INLINE void to_head() {
    const word q = (word)r_by(-head_bytes);
    if constexpr (in_one_bit) a = (const char*)(q & ~kv_bytes & ~head_bytes);
    else if constexpr (in_pairs) a = (const char*)((q & ~head_bytes) - kv_bytes);
    else a = (const char*)(q - kv_bytes + ((h - 1) / heads_per_kv_head * 2 - (h - 1)) * head_bytes);
  }
  INLINE bool again_head() {
    if constexpr (in_one_bit) return (word)r & (kv_bytes - 1);  // kv_bytes is the size of all queries, too (-5)
    else return again(h);
  }
  INLINE void to_outputs() { r_by(head_bytes); }
  INLINE void to_query() {}
  INLINE void back_to_query() {}
  INLINE void a_back() { a -= row_bytes; }

  INLINE void begin_pairs() {
    if constexpr (!heads_by_bit) m = head_size / 2;
  }
  INLINE void take_query(real& qa, real& qb) {
    qa = r[0];
    qb = r[1];
  }
  INLINE void take_key(real& ka, real& kb) {
    ka = ((cell*)a)[0];
    kb = ((cell*)a)[1];
  }
  INLINE void put_query(const Turned& z) {
    r[0] = z.u;
    r[1] = z.v;
  }
  INLINE void next_pair() {
    a += 16;
    now = r_by(16);
  }
  INLINE bool again_pair() {
    if constexpr (heads_by_bit) return (word)now & (head_bytes - 1);
    else return again(m);
  }

  // Values and outputs, from the last to the first: so r and a come back to the head's beginning (-6).
  INLINE void begin_values() {
    if constexpr (!heads_by_bit) m = head_size;
  }
  INLINE real take_value() {
    now = r_by(-8);
    a -= 8;
    fresh(a);
    return *(cell*)(a + head_bytes);
  }
  INLINE void put_next(real v) { *moved(now, head_bytes) = v; }
  INLINE bool again_value() {
    if constexpr (heads_by_bit) return (word)r & (head_bytes - 1);
    else return again(m);
  }

  INLINE void to_gates() { m = n = hidden_dim; }
  // The address to store to first, then the factors in their order: all wait on the stack (-3).
  INLINE void take_gate(real& gate, real& up) {
    now = r_by(-8);
    up = *r;
    gate = *(r - hidden_dim);
  }
  INLINE void put_gated(real gate, real up, real share) { *now = up * (gate * share); }
  INLINE bool again_gate() { return again(m); }

  // A row against x. The cell is read for every element: it has no local to be set (-4).
  INLINE void take_cells(real&, Sums& sums) { sums.dot = zero(); }
  INLINE void begin_squares(Sums& sums) {
    f32 epsilon = dim * rms_epsilon;  // 6 bytes (a double: 9)
    fresh(epsilon);
    sums.squares = epsilon;
  }
  INLINE void begin_x() { p = (cell*)(((word)r & -row_bytes) + (x_unit - 8 * dim)); }
  INLINE real take_scale() {  // as double: another type of locals has 2 bytes to be declared (-2)
    if constexpr (!in_steps) return 1;
    real scale = *(const f32*)w;
    settle(scale);
    w = w + scale_bytes;
    return scale;
  }
  // In int4 4 bits go to the top of a word. The shift is 24 at an even cell of x, 28 at an odd one: bits 3 and 4 of the number, bit 2
  // of which is the cell's bit 3; a shift looks at no others (-3).
  INLINE long take_half() {
    word up = (word)p >> 1 | 24;
    fresh(up);
    return long(*(const unsigned char*)w << (up & 31)) >> 28;
  }
  INLINE Element take_element(real scale) {
    const real weight = in_halves ? take_half() * scale : in_steps ? *w * scale : *w, value = *p;
    return {weight, value};
  }
  INLINE void put_x(const Element& e, real) {
    *p = e.value + e.weight * *r;
    if constexpr (!in_halves) w = w + 1;
    fence();
    p++;
    if constexpr (in_halves) {  // w steps on when the next cell is an even one: `eqz` makes a 1 of its bit (-2)
      fresh(p);
      word odd = (word)p & 8;
      fresh(odd);
      w = w + !odd;
    }
  }
  INLINE bool again_x() { return (word)p & (x_unit - 1); }

  INLINE void begin_best() { b = r; }
  INLINE void put_best(real dot) {
    *r = dot;
    b = dot >= *b ? r : b;
    r_by(8);
  }

  // w = the record of the token whose logit is at b, j = its text's length; or 0 after the last position, so that the loop over
  // positions has one condition (-2). The best cell comes from rows(), and stays on the stack when the distance is a negative one (-4).
  INLINE void to_record() {
    long n = (char*)b - (char*)r, go = more();
    fresh(n);
    fresh(go);
    w = (const weight*)(model + records - record_bytes + n * -(record_bytes / 8));
    fence();
    j = ((const unsigned char*)w)[record_bytes - 1] * go;
  }

  INLINE void back() {}
};
