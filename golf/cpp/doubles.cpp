// The whole of Llama 2, greedy, without a library, for processors that have no x87: in as few bytes of machine code as we
// know how, in doubles.
//
//   model.hpp      the model's shape (constexpr; written by the packer)
//   shape.hpp      what follows from it
//   doubles.hpp    the target: where the arena is, system calls; with isa/….hpp: registers, one-instruction helpers
//   doubles.ld     the file's header, with code and constants in its free bytes, this code, the packed model
//
// What the machine sees
// ---------------------
//   model   layers | classifier | records      float32, read only, in the order of use: `doubles` in tools/common/pack
//   arena   position 0 | position 1 | … | position seq_len                 doubles, zero at the start
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
//   w  next weight     r  next cell, r[next]     x  the end of this position's residual stream
//   n  rows or heads to go      j  inner count, and the length of a text      l  layers to go      t  positions to go
//   a  key or value, and scratch      b  best cell of a row run, then how far on it is; and pairs to go
//
// Loads are exact, float32 to double; every sum is in doubles. So e^s may be made by squaring, to 3e-9, and cosine and sine
// by a series, to the last digit.
//
// fresh(v) and fence() emit nothing. fresh(v) tells gcc that the register v may have changed, fence() says so of all memory.
//
// "(-4)": the bytes that a trick saves on riscv64 for stories260K's shape, measured by taking it away. (Those that are about
// an instruction set or a target stand there.)
//
// "@rope" in a comment says what the machine code is for: that of its line or, where the comment stands alone, of all
// lines from there on. A helper's code belongs to the line that calls it. `llama512 anatomy` counts by it.

#include "shape.hpp"

typedef double real;
typedef float f32;

// Cells of all keys and values of a layer; of a layer.
constexpr int kv_cells = 2 * kv_dim, layer_cells = kv_cells + dim + head_size + 2 * hidden_dim;

// A query's keys. Head h of the queries begins h * head_size cells behind the first one, its keys
// (h / heads_per_kv_head) * 2 * head_size behind the first of these, which is kv_cells before. With two query heads for one of
// the keys, and sizes that are powers of two, all of this is in the address: its low bits are the place within the pair of
// heads, and one bit, kv_cells, is that of the queries. So the keys' address is that of the query with these bits cleared.
// Layers are filled up for this to so many cells (2 bytes for 4).
constexpr int heads_per_kv_head = n_heads / n_kv_heads;
constexpr bool power(int n) { return (n & (n - 1)) == 0; }
constexpr bool in_pairs = heads_per_kv_head == 2 && power(head_size);
constexpr bool in_one_bit = in_pairs && power(kv_cells) && kv_cells <= 128;
constexpr int unit = in_one_bit ? 2 * kv_cells : in_pairs ? 2 * head_size : 1;
constexpr int gap = -layer_cells & (unit - 1);

// Cells of a position: whole pages, whose number is a short constant.
constexpr int page = 4096 / 8;
constexpr int stride_unit = unit > page ? unit : page;
constexpr long stride = (dim + 2 + n_layers * (long(layer_cells) + gap) + vocab_size + stride_unit - 1) & -stride_unit;
static_assert(workspace_bytes == 8 * stride * (seq_len + 1LL));  // the packer checks that it fits into memory

// Places in the model.
extern "C" const char model[];
constexpr long classifier = 4L * n_layers * dim * (qkv + dim + 3L * hidden_dim);
constexpr long records = classifier + 4L * vocab_size * dim;

#include "doubles.hpp"

extern "C" void story(), share(), rows(), row();

// a = the first key of head n - 1, whose query is at r.
INLINE void to_keys() {
  if constexpr (in_one_bit) a = (cell*)((word)r & ~8l * kv_cells & -8l * 2 * head_size);
  else if constexpr (in_pairs) a = (cell*)((word)r & -8l * 2 * head_size) - kv_cells;
  else a = r + next - ahead - kv_cells + ((n - 1) / heads_per_kv_head * 2 - (n - 1)) * head_size;
  fresh(a);
}

// @loop
CODE(".story") story() {
  set_up();
  do {
    r = x;                 // @embedding
    put_one();             // the embedding is a row that is added to x once @embedding
    n = 1;                 // @matmul
    call_rows();           // @matmul
    write_piece();         // @output
    w_to_model();          // @loading
    l = n_layers;
    do {
      n = dim + 2 * kv_dim;  // @matmul
      call_rows();           // @matmul

      // @attention, head by head, from the last one to the first; within a head from the current position back to the
      // first one. q is turned by one step per position (RoPE on the way back: no position, no rotated keys, no table).
      // The output is a running mean, output += p * (v - output) with p = e / sum, so the order of the keys does not matter,
      // no second pass is needed, and at the first key p is exactly 1: the output may start as any junk.
      n = n_heads;
      do {
        r -= head_size;
        fresh(r);
        to_keys();
        real sum = zero();  // @softmax
        do {
          real score = one(), angle = one();
          m = head_size / 2;
          do {
            real qa = get(next), qb = get(next + 1);
            score += qa * a[ahead];
            fence();
            score += qb * a[ahead + 1];
            // The pair as z = qa + i qb, turned: z e^(i angle), by Horner's rule for the series of e: z' = z + (i angle / j) z'
            // for j = 24 … 1. What z' is at first does not matter: 24! is larger than all that a double can tell. @rope
            j = terms;
            real v = junk();
            do {
              real step = angle / j, u = get(next);
              put(next, qa - step * v);
              v = qb + step * u;
            } while (again(j));
            put(next + 1, v);
            slow_down(angle);
            r += 2;  // @attention
            a += 2;  // @attention
            fence();
          } while (again(m));  // @attention
          call_share(score, sum);  // @softmax
          // The values go from the last to the first, so a comes back to the keys @attention
          j = head_size;
          do {
            a--;
            fresh(a);
            real o = get(next);
            o += score * (a[ahead + head_size] - o);
            put(next, o);
            r++;
            fence();
          } while (again(j));
          r -= 2 * head_size;
          fresh(r);
          a_back();
        } while (a >= first);
      } while (again(n));
      r += head_size;  // the first head's output
      fresh(r);

      // Wo, W1 and W3 in one run @matmul: Wo's rows use up the attention's output, then r is at fresh cells.
      n = dim + 2 * hidden_dim;
      call_rows();

      // @swiglu, in place, from the last cell to the first, so that r ends at the first.
      // silu(g) u = g u e^g / (1 + e^g): the share of e^g in a sum that begins with e^0.
      n = hidden_dim;
      fresh(n);
      m = n;
      do {
        r--;
        fresh(r);
        real gate = get(next - hidden_dim), sum = one(), e = gate + sum;
        call_share(e, sum);
        put(next, get(next) * (gate * e));
        fence();
      } while (again(m));

      // W2 @matmul
      call_rows();
      if constexpr (gap) r += gap;  // @loop
    } while (again(l));    // @loop
    if (!t) break;         // the last token has gone through the layers in vain: so the exit's status, 0, is in l (-2) @loop
    t -= position;         // @loop
    fresh(t);
    n = vocab_size;  // @matmul
    call_rows();     // @matmul
    to_record();     // @embedding
    x_on();          // @loop
  } while (j);       // @loop
  exit();            // @output
}

// @softmax: e^s, and its share of a sum that it is added to. e^s = (1 + s / 2^24) ^ (2^24), by squaring; the division is
// folded into Wq and W1. It is wanted twice (-28). Nothing overflows in a double (s < 709), so that softmax need not subtract the maximum.
// In: y = 1 + s / 2^24, sum. Out: sum + e^s, y = e^s / sum; j = 0.
CODE(".share") share() {
  SHARE_REGISTERS;
  j = exp_squarings;
  do {
    y *= y;
  } while (again(j));
  sum += y;
  y /= sum;
  back_from_share(y, sum);
}

// @matmul: n rows of a matrix against x. Every row does two things:
//   dot         *r = (w . x) / rms(x)     all norms are folded into this division; sqrt(dim) is folded into the matrix
//   accumulate  x += *r * w               for the embedding, Wo and W2, which are stored transposed
// and needs only one of them. Where a result is wanted, *r is a fresh cell, so 0 is accumulated. Where x is to be
// accumulated, *r is 1, the attention's or the gate's output, and what the dot leaves there is never read again.
// One routine, no flag. It also keeps the argmax of the run, which only the classifier uses: the classifier's rows
// are stored in reverse, so that >= prefers the lowest token; *b starts as *r itself, so that negative logits are
// no special case. The dot product begins with the next cell, which is still 0 where it matters.
// In: w, r, x, n. Out: w and r behind the last row and cell, b the best cell, n = 0.
CODE(".rows") rows() {
  b = r + next;  // @argmax
  to_row();
}

CODE(".row") row() {
  do {
    real dot = r[next + 1], squares = epsilon();  // @rmsnorm
    a = x - dim;
    fresh(a);
    do {
      const real weight = *w, value = *a;
      w++;
      fresh(w);
      dot += value * weight;
      squares += value * value;  // @rmsnorm
      *a = value + get(next) * weight;
      fence();
      a++;
      fresh(a);
    } while (a != x);
    dot /= __builtin_sqrt(squares);  // @rmsnorm
    put(next, dot);
    k = dot >= *b;  // @argmax
    fresh(k);
    if (k) b = r + next;  // @argmax
    r++;
    fresh(r);
  } while (again(n));
  back();
}
