// AArch64: registers, and the instructions that C++ has no name for. A target's doubles.hpp includes it.
//
// Every instruction has 4 bytes, so what counts is their number. Loops end by address, not by a count, where sizes allow it: the
// arena is laid out so that one bit of a pointer changes at a loop's end, and `tbz` tests a bit and jumps.
#pragma once

typedef unsigned long word;  // as wide as a pointer
typedef double cell;
typedef double pair __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))
// A piece of code, in a section that the linker script finds a place for. gcc has no naked functions here: it writes no prologue
// as long as nothing is to be saved, so it is not told that a call changes x30, and leaves that alone (-ffixed-x30) (-4).
#define CODE(section_) extern "C" [[gnu::used, gnu::section(section_)]] void

register long n asm("x0");        // a system call's file, or the exit status
register const weight* w asm("x1");  // a system call's text
register long j asm("x2");        // a system call's length
register cell* a asm("x3");
register cell* b asm("x4");
register cell* r asm("x5");
register cell* x asm("x6");
register long m asm("x7");
register long number asm("x8");  // a system call's number
register long l asm("x10");
register long t asm("x11");
register real slowdown asm("d9");
register pair raised asm("v10");  // in steps, a weight is byte 7; the others are 0, as the kernel leaves them

constexpr bool text_first = false;

extern "C" void story(), rows();
constexpr bool called_share = false;
#define CALLED INLINE
#define COUNT

#define settle(v)
#define fresh(v) asm volatile("" : "+r"(v))
#define fence() asm volatile("" ::: "memory")

// --count != 0. (A register's variable cannot be referred to.)
#define again(count) ({ count--; fresh(count); count != 0; })

// Where the arena's parts are
// ---------------------------
// One bit of a pointer tells a loop's end, so what a loop goes through ends at a multiple of a power of two:
//
//   x        ends where its address has the bit x_unit, as none of its elements' has (-4)
//   heads    a head's keys and its values begin at a multiple of their size (-28); the second head of the queries is where r,
//            two heads on, has the bit head_unit, and the first one not (-8)
//   layers   are so long that the last one is the first to end with the bit layers_bit (-8)
//   rows     of positions have a power of two as size. The first position's keys begin at first_row, a power of two above the
//            model: one position before, its bit is clear (-8). If seq_len is a power of two, position seq_len + 1 is the first
//            one above 2 * first_row (-8).
//
// That takes up to four times as much memory as is written to. Rows of more than 1 GiB are not filled up, and what does not
// fit these patterns is counted, for some bytes.
constexpr int log2(unsigned long v) { return 63 - __builtin_clzl(v); }
constexpr long power_above(long v) { return v > 1 ? 1L << (log2(v - 1) + 1) : 1; }  // not below v
constexpr long whole(long v, long of) { return (v + of - 1) / of * of; }
constexpr long larger(long v, long u) { return v > u ? v : u; }

constexpr long head_bytes = 8 * head_size, kv_bytes = 8 * kv_cells, layer_bytes = 8 * layer_cells;
constexpr bool heads_by_bit = power(head_size);
constexpr long x_unit = power_above(8 * dim);
constexpr long head_unit = larger(x_unit, power_above(2 * head_bytes)), layer_unit = 2 * head_unit;
constexpr long lead = (head_unit - 2 * head_bytes - kv_bytes) & (layer_unit - 1);  // from a row's multiple to layer 0
constexpr long least_layer = whole(layer_bytes, layer_unit), last_layer = lead + (n_layers - 1) * least_layer;
constexpr int layers_bit = log2(larger(power_above(last_layer + 1), 1L << log2(last_layer + least_layer)));
constexpr long layers_end = 1L << layers_bit;
constexpr long wide_layer = larger(least_layer, whole(layers_end - lead, layer_unit * n_layers) / n_layers);
constexpr bool layers_fit = lead + (n_layers - 1) * wide_layer < layers_end && lead + n_layers * wide_layer < 2 * layers_end;
constexpr long row_end(long layer) { return lead + n_layers * layer + 8 * vocab_size + 2 * x_unit; }
constexpr long row_unit = larger(larger(4096, 2 * layer_unit), 4 * x_unit);
constexpr long wide_row =
    larger(larger(power_above(row_end(layers_fit ? wide_layer : least_layer)), 2 * layers_end), row_unit);
constexpr bool wide = wide_row * (seq_len + 1L) <= 1L << 30;
constexpr bool layers_by_bit = wide && layers_fit, positions_by_bit = wide && power(seq_len);
constexpr long layer_step = layers_by_bit ? wide_layer : least_layer;
constexpr long row_bytes = wide ? wide_row : whole(row_end(least_layer), row_unit);
static_assert(workspace_bytes == row_bytes * (seq_len + 1L));  // the packer checks that it fits into memory

constexpr long image = 0x10000, most_code = 0x1000;
constexpr long first_row = power_above(larger(seq_len * row_bytes, image + most_code + packed_bytes + 2 * x_unit));
constexpr long step = positions_by_bit ? first_row / seq_len : row_bytes;

INLINE cell* moved(cell* p, long bytes) { return (cell*)((char*)p + bytes); }
// A bit of an address. gcc would take two instructions to test it and jump (-28).
#define bit(p, place) BRANCHES("tbnz %0, %1, %l[yes]", p, place)
#define no_bit(p, place) BRANCHES("tbz %0, %1, %l[yes]", p, place)
#define BRANCHES(instruction, p, place) ({ \
  __label__ yes; \
  bool is = true; \
  asm goto(instruction : : "r"(p), "i"(place) : "memory" : yes); \
  is = false; \
yes: \
  is; \
})

INLINE real get() { return *r; }
INLINE void r_by(long bytes) {
  r = moved(r, bytes);
  fresh(r);
}
INLINE real one() {
  real v;
  asm volatile("fmov %d0, 1.0" : "=w"(v));
  return v;
}
INLINE real zero() { return 0; }
INLINE real product(real v, real u) { return v * u; }
INLINE real junk() {
  real v;
  asm volatile("" : "=w"(v));
  return v;
}

// What RoPE's angle is divided by from one pair to the next: rope_theta ^ (2 / head_size).
constexpr real rope_ratio = __builtin_pow(rope_theta, 2.0 / head_size);
constexpr bool whole_ratio = rope_ratio_whole == 10;
[[gnu::section(".data.ratio")]] static const real ratio = rope_ratio;  // @rope
INLINE void set_slowdown() {
  if constexpr (whole_ratio) asm volatile("fmov %d0, 10.0" : "=w"(slowdown));
  else asm volatile("ldr %d0, %1" : "=w"(slowdown) : "S"(&ratio));
}
INLINE void slow_down(real& angle) { angle /= slowdown; }
constexpr int terms = 24;  // of its cosine and sine

#define CLOBBERED "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "cc", "memory"
INLINE void call_rows() {
  asm volatile("bl rows" : "+r"(r), "+r"(w), "+r"(n), "=r"(b), "=r"(a) : "r"(x) : CLOBBERED);
}

// A run of rows counts up to 0. So x0 is 0 at entry and after the classifier: the exit status (-4). The embedding's run is of one
// row because it begins with that 0, and ends with 1 in it: standard output (-8).
INLINE void run(long count) {
  n = -count;
  fresh(n);
  call_rows();
}
INLINE void run_logits() { run(vocab_size); }
INLINE bool again_row() {
  n++;
  fresh(n);
  return n < 0;
}

// Positions. After seq_len passes there is one more, whose token is not shown: so both ends are at the loop's end, where x0 is
// 0 (-4).
INLINE void begin_position() {
  r = moved(x, x_unit + lead - 8);
  fresh(r);
  *r = one();
}
INLINE constexpr bool is_last() { return false; }
INLINE bool again_position() {
  x = moved(x, step);
  fresh(x);
  if (!j) return false;
  if constexpr (positions_by_bit) return no_bit(x, log2(first_row) + 1);
  else return again(t);
}

// Layers.
INLINE void begin_layers() {
  if constexpr (!layers_by_bit) l = n_layers;
}
INLINE void to_layer() {
  if constexpr (layer_step != layer_bytes) r_by(layer_step - layer_bytes);
}
INLINE bool again_layer() {
  if constexpr (layers_by_bit) return no_bit(r, layers_bit);
  else return again(l);
}

// Heads. Between two positions, and two heads, r is two heads behind the query: where the output has ended. So the last head
// of all leaves r where the outputs begin (-4), and there is a bit to tell.
INLINE void begin_heads() { r_by(head_bytes); }
INLINE void to_head() {
  if constexpr (n_heads == 2 * n_kv_heads && heads_by_bit) {
    a = (cell*)((word)r & -2 * head_bytes);
    fresh(a);
    a = moved(a, -2 * head_bytes - kv_bytes);
  } else {
    const long place = (word)r & (head_unit - 1);
    a = moved(r, place / (head_bytes * heads_per_kv_head) * 2 * head_bytes - place - 2 * head_bytes - kv_bytes);
  }
  fresh(a);
}
INLINE bool again_head() {
  r_by(-head_bytes);
  return bit(r, log2(head_unit));
}
INLINE void to_outputs() {}
INLINE void to_query() { r_by(-2 * head_bytes); }
INLINE void back_to_query() {}
INLINE void a_back() {
  a = moved(a, -2 * head_bytes);  // behind the values
  fresh(a);
  a = moved(a, -step);
  fresh(a);
}
INLINE bool again_key() { return bit(a, log2(first_row)); }

// A pair of the query, and of the key.
struct Turned {
  real u = junk(), v = junk();
};
INLINE void begin_pairs() {
  if constexpr (!heads_by_bit) m = head_size / 2;
}
INLINE void take_query(real& qa, real& qb) { asm volatile("ldp %d0, %d1, [%2]" : "=w"(qa), "=w"(qb) : "r"(r)); }
INLINE void take_key(real& ka, real& kb) { asm volatile("ldp %d0, %d1, [%2], 16" : "=w"(ka), "=w"(kb), "+r"(a)); }
INLINE void put_query(const Turned& z) { asm volatile("stp %d1, %d2, [%0], 16" : "+r"(r) : "w"(z.u), "w"(z.v) : "memory"); }
INLINE void next_pair() {}
INLINE bool again_pair() {
  if constexpr (heads_by_bit) return no_bit(a, log2(head_bytes));
  else return again(m);
}

INLINE void put_next(real v) { asm volatile("str %d1, [%0], 8" : "+r"(r) : "w"(v) : "memory"); }
INLINE void begin_values() {
  if constexpr (!heads_by_bit) m = head_size;
}
INLINE real take_value() {
  real v;
  asm volatile("ldr %d0, [%1], 8" : "=w"(v), "+r"(a));
  return v;
}
INLINE bool again_value() {
  if constexpr (heads_by_bit) return bit(a, log2(head_bytes));
  else return again(m);
}

// Gates are counted down from the 0 that the last run has left, to the count of the next one (-4). So n is not 0 where one's
// share is made, and 0 where that of a score is: heads are not counted.
INLINE void to_gates() {
  a = r - hidden_dim;
  fresh(a);
}
INLINE void take_gate(real& gate, real& up) {
  asm volatile("ldr %d0, [%1, -8]!" : "=w"(gate), "+r"(a));
  asm volatile("ldr %d0, [%1, -8]!" : "=w"(up), "+r"(r));
  n--;
  fresh(n);
}
#define GATE_GOES_TO(label) asm goto("cbnz %0, %l[" #label "]" : : "r"(n) : "memory" : label)
INLINE void put_gated(real gate, real up, real share) {
  *r = up * (gate * share);
  fence();
}
INLINE bool again_gate() { return n != -hidden_dim; }

// A row against x. Both sums, and both that they are of, are halves of a register: (x . x, w . x) += (x, w) * x is one
// instruction (-4), and the load of epsilon makes the other half 0. The next cell is not needed for that.
//
// In int8 a byte is loaded to the top of half a register that is 0 elsewhere, as a number with 24 bits behind the point. In int4
// too, at every second weight; before the others the register is shifted, so that the next 4 bits are at the top.
typedef pair Sums;
typedef pair Element;
INLINE void take_cells(real& p, Sums&) { p = get(); }
INLINE void begin_squares(Sums& sums) { asm volatile("ldr %d0, epsilon" : "=w"(sums)); }
INLINE void begin_x() {
  a = x - dim;
  fresh(a);
}
INLINE f32 take_scale() {
  f32 scale = 1;
  if constexpr (in_steps) asm volatile("ldr %s0, [%1], 4" : "=w"(scale), "+r"(w));
  return scale;
}
INLINE Element take_element(f32 scale) {
  Element e;
  if constexpr (in_halves) asm volatile("shl %2.2s, %2.2s, 4\n\ttbnz %4, 3, 0f\n\tld1 {%2.b}[7], [%1], 1\n"
                                        "0: sshr %0.2s, %2.2s, 28\n\tscvtf %0.2s, %0.2s\n\t"
                                        "fmul %0.2s, %0.2s, %3.s[0]\n\tfcvtl %0.2d, %0.2s"
                                        : "=&w"(e), "+r"(w), "+w"(raised) : "w"(scale), "r"(a));
  else if constexpr (in_steps) asm volatile("ld1 {%2.b}[7], [%1], 1\n\tscvtf %0.2s, %2.2s, 24\n\t"
                                       "fmul %0.2s, %0.2s, %3.s[0]\n\tfcvtl %0.2d, %0.2s"
                                       : "=&w"(e), "+r"(w), "+w"(raised) : "w"(scale));
  else asm volatile("ld1 {%0.s}[1], [%1], 4\n\tfcvtl %0.2d, %0.2s" : "=w"(e), "+r"(w));
  asm volatile("ld1 {%0.d}[0], [%1]" : "+w"(e) : "r"(a));
  return e;
}
INLINE void add_dot(Sums& sums, const Element& e) { asm volatile("fmla %0.2d, %1.2d, %1.d[0]" : "+w"(sums) : "w"(e)); }
INLINE void add_squares(Sums&, const Element&) {}
INLINE void put_x(Element e, real p) {
  asm volatile("fmla %d0, %d1, %0.d[1]" : "+w"(e) : "w"(p));
  asm volatile("str %d1, [%0], 8" : "+r"(a) : "w"(e) : "memory");
}
INLINE bool again_x() { return no_bit(a, log2(x_unit)); }
INLINE real normed(Sums sums) {
  real dot;
  asm volatile("mov %d0, %1.d[1]" : "=w"(dot) : "w"(sums));
  return dot / __builtin_sqrt(sums[0]);
}

// The best cell ends at b, as the last one does at r: so their distance is 8 times the token (-4).
INLINE void begin_best() {
  b = r + 1;
  fresh(b);
}
INLINE void put_best(real dot) {
  put_next(dot);
  b = dot >= b[-1] ? r : b;
  fresh(b);
}

[[noreturn]] INLINE void back() {
  asm volatile("ret" : : "r"(b), "r"(r), "r"(w), "r"(n));
  __builtin_unreachable();
}

// w = the record of the token whose logit is before b, j = its text's length.
INLINE void to_record() {
  long token = (char*)r - (char*)b;
  fresh(token);
  constexpr long factor = record_bytes / 8;
  if constexpr (power(factor - 1)) {
    w = (const weight*)((const char*)w + token);
    fresh(w);
    w = (const weight*)((const char*)w + token * (factor - 1));
  } else {
    w = (const weight*)((const char*)w + token * factor);
  }
  fresh(w);
  j = ((const unsigned char*)w)[record_bytes - 1];
  fresh(j);
}
