// The whole of Llama 2, greedy, without a library, for processors that have no x87: in as few bytes of machine code as we
// know how, in doubles.
//
//   model.hpp      the model's shape (constexpr; written by the packer)
//   shape.hpp      what follows from it
//   isa/….hpp      an instruction set's registers, its helpers, and where things are in the arena
//   doubles.hpp    the target, which includes that: where the arena is, system calls
//   counted.hpp    helpers, for instruction sets that count their loops; sums.hpp: for those without vectors
//   doubles.ld     the file's header, with code and constants in its free bytes, this code, the packed model (for WebAssembly
//                  the linker makes all of that)
//
// What the machine sees
// ---------------------
//   model   layers | classifier | records      read only, in the order of use: `doubles` in tools/common/pack
//   arena   position 0 | position 1 | … | position seq_len                 doubles, zero at the start
//
// A row of the model is dim weights in float32. Or in int8: a float32, the row's scale, and dim signed bytes, whole steps. Each
// is multiplied with the scale when it is loaded, which is right both for the row's product and for where the row is added. So one
// scale does for each row, and an embedding, or a column of wo or w2, is a row as all others are. In int4 a byte has two signed
// numbers of 4 bits, the upper one first (Arm: the lower one). Which of them is the next one, the address of x's element says: it
// is an even cell for the first one, as head sizes are even, and so is dim.
//
// One position's row in the arena. `r` walks through it, and every cell that `r` has not reached yet is still zero:
//
//   x[dim] one | per layer: { k[head_size] v[head_size] } of each kv head, q[dim] +head_size gate[hidden_dim] up[hidden_dim]
//   | logits[vocab_size]
//            keys and values are where rows() wrote them, so the row is also the KV cache;
//            the attention's output overwrites the queries, one head further right: the last head's
//            output falls into the head_size cells after q, the others onto a query that is done with
//
// Registers (named in isa/….hpp; each is a variable of the language)
//   w  next weight     r  the cell     x  the end of this position's residual stream
//   n  rows or heads to go      j  inner count, and the length of a text      l  layers to go      m  pairs or gates to go
//   a  key or value, and scratch      b  best cell of a row run
//
// What an instruction set says in its own way
// -------------------------------------------
// The engine below says what is done; a step that machines do differently is a helper of isa/….hpp or of the target. Most of
// them are one or two instructions. (c: counted.hpp has one, for those that count; s: sums.hpp, for those without vectors.)
//
//   set_up, exit                   what is done once; the end of the program
//   begin_position                 r at the position's first cell, which becomes 1 (what the embedding is multiplied with);
//                                  n: one row
//   is_last                        whether this was the last position, asked before the classifier
//   again_position                 x one position on; whether there is one, and the token was not BOS
//   call_rows, back                rows(), with n as it is; its end
//   run(count), again_row       c  the next rows against x; whether there is another one
//   run_logits                     the classifier's
//   w_to_model, to_record          w = the first layer; w = the record of the best token, j = its text's length
//   write_piece                    writes the text, j bytes; w is at the embedding before and after it, or after it
//   begin_layers, again_layer      the loop over layers,
//   to_layer                    c  and from a layer's end to where the next one begins
//   begin_heads, again_head     c  heads, from the last one to the first:
//   to_head                        r = the query, a = the key that is this position's
//   again_key                      whether a is still in the arena
//   to_outputs                  c  r = the first head's output
//   to_query, back_to_query     c  before and behind a position's work: r = the query
//   begin_pairs, again_pair        pairs of a query and a key,
//   take_query, take_key           which are loaded,
//   Turned, put_query              turned (by product, which is one), put,
//   slow_down, next_pair           and left, with a smaller angle
//   begin_values, again_value      a position's values,
//   take_value, get, put_next      one; the output that it goes into, which is put
//   a_back                         from there one position back
//   to_gates, again_gate        c  gates, from the last one to the first (c: count_gates); n is hidden_dim at the end
//   take_gate, put_gated           one with what it is for; the product, in place
//   GATE_GOES_TO(label)            a jump, if it is a gate whose share has been made (a count tells it that is there anyhow)
//   zero, one                      numbers
//   again(count)                   --count != 0
//   begin_best, put_best           the best cell of a run; put, compared, and on
//   GO_ON(piece)                   a piece may end here, and another one go on, where the header has room for so much
//   take_cells                     p = the cell; and where the dot product begins: 0, or the next cell, which is 0 where it matters
//   take_scale                     in int8 and int4 the row's scale, which w is at
//   begin_x, again_x               x,
//   take_element, put_x            an element of it and a weight (in steps times the scale); the element plus p times the weight
//   begin_squares                  epsilon
//   Sums, add_dot, add_squares, normed    s  w . x and x . x, and w . x / rms(x)
//
// fresh(v), settle(v) and fence() emit nothing. fresh(v) tells the compiler that the register v may have changed, settle(v) that its
// value is needed now, fence() says so of all memory.
//
// And two switches where the order of things depends on it:
//   text_first      in a record, the text is before the embedding. So BOS's is not written, w steps on to the embedding, and
//                   the file to write to is there (Thumb-2: -6)
//   called_share    power_of_e() is a function (CALLED, with a variable of its own: COUNT), which is called twice: WebAssembly
//                   has no jumps into a loop. Elsewhere it is where the scores need it, and the gates come by
//
// Loads are exact, float32 to double; every sum is in doubles. So e^s may be made by squaring, to 3e-9, and cosine and sine
// by a series, to the last digit. (In int8 and int4 a weight is what its steps and the scale make in float32, or more exactly.)
//
// "(-4)": the bytes that a trick saves for stories260K's shape, measured by taking it away, on riscv64 if nothing else is said.
// (Those that are about an instruction set or a target stand there.)
//
// "@rope" in a comment says what the machine code is for: that of its line or, where the comment stands alone, of all
// lines from there on. A helper's code belongs to the line that calls it. `llama512 anatomy` counts by it.

#include "shape.hpp"

typedef double real;
typedef float f32;

// A weight: float32, or the number of steps; in int4 those of two weights.
constexpr bool in_halves = weight_bits == 4, in_steps = in_halves || weight_bits == 8;
static_assert(dim % 2 == 0);  // a row of halves is whole bytes
template <bool> struct Encoded { typedef f32 type; };
template <> struct Encoded<true> { typedef signed char type; };
typedef Encoded<in_steps>::type weight;

// Cells of all keys and values of a layer; of a layer.
constexpr int kv_cells = 2 * kv_dim, layer_cells = kv_cells + dim + head_size + 2 * hidden_dim;

// A query's keys. Head h of the queries begins h * head_size cells behind the first one, its keys
// (h / heads_per_kv_head) * 2 * head_size behind the first of these, which is kv_cells before. With two query heads for one of
// the keys, and sizes that are powers of two, all of this is in the address: one bit, head_size, is the second one's of the pair
// of heads, and one, kv_cells, is that of the queries. So the keys' address is that of the query with these bits cleared, where
// every layer begins at a multiple of so many cells: what fills a layer up is its gap.
constexpr int heads_per_kv_head = n_heads / n_kv_heads;
constexpr bool power(long n) { return (n & (n - 1)) == 0; }
constexpr bool in_pairs = heads_per_kv_head == 2 && power(head_size);
constexpr bool in_one_bit = in_pairs && power(kv_cells) && kv_cells <= 128;
constexpr int gap_to(int unit) { return -layer_cells & (unit - 1); }
constexpr long position_cells(int unit) { return dim + 2 + n_layers * (long(layer_cells) + gap_to(unit)) + vocab_size; }

// Places in the model.
extern "C" const char model[];
constexpr long classifier = n_layers * (qkv + dim + 3L * hidden_dim) * matrix_row_bytes;
constexpr long records = classifier + long(vocab_size) * matrix_row_bytes;

#include "doubles.hpp"
#ifndef GO_ON
#define GO_ON(piece)
#endif

// @softmax: e^s, and its share of a sum that it is added to. e^s = (1 + s / 2^24) ^ (2^24), by squaring; the division is
// folded into Wq and W1. Nothing overflows in a double (s < 709), so that softmax need not subtract the maximum.
// In: y = 1 + s / 2^24, sum. Out: sum + e^s, y = e^s / sum.
CALLED real power_of_e(real y) {
  COUNT j = exp_squarings;
  do {
    y *= y;
  } while (again(j));
  return y;
}
INLINE void to_share(real& y, real& sum) {
  y = power_of_e(y);
  sum += y;
  y /= sum;
}

// @loop
CODE(".story") story() {
  set_up();
  do {
    real y, sum, angle, gate, up;
    begin_position();  // @embedding
    call_rows();       // @matmul
    if constexpr (!text_first) write_piece();  // @output
    w_to_model();    // @loading
    begin_layers();  // @loop
    do {
      run(dim + 2 * kv_dim);  // @matmul

      // @attention, head by head, from the last one to the first; within a head from the current position back to the
      // first one. q is turned by one step per position (RoPE on the way back: no position, no rotated keys, no table).
      // The output is a running mean, output += p * (v - output) with p = e / sum, so the order of the keys does not matter,
      // no second pass is needed, and at the first key p is exactly 1: the output may start as any junk.
      begin_heads();
      do {
        to_head();
        sum = zero();  // @softmax
        do {
          to_query();
          y = one();      // @softmax
          angle = one();  // @rope
          begin_pairs();
          do {
            real qa, qb, ka, kb;
            take_query(qa, qb);
            take_key(ka, kb);
            y += qa * ka;  // a score, on top of 1
            y += qb * kb;
            settle(y);
            // The pair as z = qa + i qb, turned: z e^(i angle), by Horner's rule for the series of e: z' = z + (i angle / j) z'
            // for j = 24 … 1. What z' is at first does not matter: 24! is larger than all that a double can tell. @rope
            j = terms;
            Turned z;
            do {
              real step = angle / j, along = product(step, z.u), across = product(step, z.v);
              z.u = qa - across;
              z.v = qb + along;
            } while (again(j));
            put_query(z);
            slow_down(angle);
            next_pair();          // @attention
          } while (again_pair());  // @attention

          // @softmax. The gates come by for their share, too, with a jump, and leave where it is seen that it was a gate: a
          // function would be called twice, and return (-6; riscv32 -2, Thumb-2 -6, AArch64 -4).
        share:
          to_share(y, sum);
          GATE_GOES_TO(gated);

          // The mean of the values. @attention
          begin_values();
          do {
            real value = take_value(), o = get();
            o += y * (value - o);
            put_next(o);
          } while (again_value());
          back_to_query();
          a_back();
        } while (again_key());
      } while (again_head());
      to_outputs();

      // Wo, W1 and W3 in one run @matmul: Wo's rows use up the attention's output, then r is at fresh cells.
      run(dim + 2 * hidden_dim);

      // @swiglu, in place, from the last cell to the first, so that r ends at the first.
      // silu(g) u = g u e^g / (1 + e^g): the share of e^g in a sum that begins with e^0.
      to_gates();
      do {
        take_gate(gate, up);
        sum = one();
        y = gate + sum;
        if constexpr (called_share) to_share(y, sum);
        else goto share;
      gated:
        put_gated(gate, up, y);
      } while (again_gate());

      // W2 @matmul
      call_rows();
      to_layer();              // @loop
    } while (again_layer());   // @loop
    if (is_last()) break;      // @loop
    run_logits();              // @matmul
    to_record();               // @embedding
    if constexpr (text_first) write_piece();  // @output
  } while (again_position());  // @loop
  exit();                      // @output
}

// @matmul: n rows of a matrix against x. Every row does two things:
//   dot         *r = (w . x) / rms(x)     all norms are folded into this division; sqrt(dim) is folded into the matrix
//   accumulate  x += *r * w               for the embedding, Wo and W2, which are stored transposed
// and needs only one of them. Where a result is wanted, *r is a fresh cell, so 0 is accumulated. Where x is to be
// accumulated, *r is 1, the attention's or the gate's output, and what the dot leaves there is never read again.
// One routine, no flag. It also keeps the argmax of the run, which only the classifier uses: the classifier's rows
// are stored in reverse, so that >= prefers the lowest token; *b starts as *r itself, so that negative logits are
// no special case.
// In: w, r, x, n. Out: w and r behind the last row and cell, b the best cell, n = 0.
CODE(".rows") rows() {
  begin_best();  // @argmax
  GO_ON(row)
  do {
    real p;
    Sums sums;
    take_cells(p, sums);
    begin_squares(sums);  // @rmsnorm
    const auto scale = take_scale();
    begin_x();
    do {
      Element e = take_element(scale);
      add_dot(sums, e);      // dot += w x
      add_squares(sums, e);  // squares += x x @rmsnorm
      put_x(e, p);           // x += p w
    } while (again_x());
    real dot = normed(sums);  // @rmsnorm
    put_best(dot);            // @argmax
  } while (again_row());
  back();
}
