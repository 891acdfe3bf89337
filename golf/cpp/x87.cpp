// The whole of Llama 2, greedy, without a library, in as few bytes of machine code as we know how.
//
//   model.hpp      the model's shape (constexpr; written by the packer), and what encoding its weights have: WEIGHTS
//   shape.hpp      what follows from it
//   x87.hpp        the target: where the arena is, system calls; with isa/x86.hpp: registers, one-instruction helpers
//   weights/….hpp  how a weight is read
//   x87.ld         the file's header, with code in its free bytes, this code, the packed model, the arena
//
// What the machine sees
// ---------------------
//   model   layers | classifier | records      read only, in the order of use: `stream` in tools/common/pack
//   arena   dummy row | position 0 | position 1 | … | position seq_len - 1        zero at the start
//
// One position's row in the arena, in floats. `r` walks through it, and every cell that `r` has not
// reached yet is still zero. That is a convention the code lives on:
//
//   a cell | x[dim] | per layer: v[kv_dim] k[kv_dim] q[dim] +head_size gate[hidden_dim] up[hidden_dim] | logits[vocab_size]
//            keys and values are where rows() wrote them, so the row is also the KV cache;
//            the attention's output overwrites the queries, one head further right: the last head's
//            output falls into the head_size cells after q, the others onto a query that is done with
//
// Registers (named in isa/x86.hpp; each is a variable of the language)
//   w  next weight     r  next cell     x  residual stream of this position
//   n  rows or heads to go, 0 whenever nobody counts      j  inner count, 0 likewise; index() = j as an index
//   b  best cell of a row run (best() = its address), then the next token      a  scratch; key() = a as an address
//
// A token is carried as b = 4 * (1 - token): the distance from the best logit to the end of the
// logits, shifted so that BOS (token 1) is 0. Linux starts a program with all registers zero, so the
// first token is BOS, and n = j = 0, for no bytes at all (-6). (UEFI does not: begin() does it there.)
//
// fresh(v), fence() and settle(v) emit nothing. fresh(v) tells gcc that the register v may have changed, fence() says
// so of all memory, settle(v) keeps v in one x87 register. Without them gcc loads a value once and keeps it, or
// makes a second copy of it: good for speed, bad for size (-25 for the fences, -14 for settle).
//
// "(-4)": the bytes that a trick saves on i386 for stories260K's shape, measured by taking it away.
//
// "@rope" in a comment says what the machine code is for: that of its line or, where the comment stands alone, of all
// lines from there on. A helper's code belongs to the line that calls it. `llama512 anatomy` counts by it.

#include "shape.hpp"

// Before x is a cell that nobody uses: so x's address is that of the cell before its first element, and an element's needs no offset
// (x86-64: -2). The cell is copied with the embedding, from what stands before it; where one more would be a longer number, there
// is none.
constexpr bool cell_before = dim % 256 != 0;
constexpr int copied = dim + cell_before;

// Cells of a position's row.
constexpr int stride = copied + n_layers * (qkv + head_size + 2 * hidden_dim) + vocab_size;

// N, made from a register that is known to hold 0, by replacing its low bytes only: `mov bl, 172` is 2 bytes,
// `mov ebx, 172` is 5 (-21). -256 is `dec ebx` and `xor bl, bl`.
template <int N, class T> static inline __attribute__((always_inline)) T count(T zero) {
  if constexpr (N < -256) return N;
  else if constexpr (N < 0) return ((zero - 1) & ~T(255)) | (N & 255);
  else if constexpr (N < 256) return (zero & ~T(255)) | N;
  else if constexpr (N < 65536 && N % 256 == 0) return (zero & ~T(0xff00)) | N;
  else if constexpr (N < 65536) return (zero & ~T(0xffff)) | N;
  else return N;
}

#include "x87.hpp"
#include WEIGHTS

static_assert(workspace_bytes == 4LL * (seq_len + 2) * stride);  // the packer checks that it fits into memory

// A number in memory; RoPE needs another one (isa/x86.hpp). They sit in the file's header, in bytes that nobody reads
// (-6). Not const, or gcc would make its own copies.
extern "C" [[gnu::section(".header.epsilon")]] f32 dim_epsilon;
f32 dim_epsilon = dim * float(rms_epsilon);  // @rmsnorm

// Of an address more than 16 MiB behind a symbol gcc makes no constant on x86-64; of a number it does.
extern "C" char model[];

// The float at base + 4 * j. An address with all its constants in one place becomes one [base+4*j+d] operand.
INLINE f32& at(word base) { return ((f32*)base)[index()]; }

// The element of x that j counts: the last one when all dim are to come.
INLINE f32& element() { return at((word)x - (cell_before ? 0 : 4)); }

// (1 + z / 2^24) ^ (2^24) = exp(z) to seven digits, by squaring. The caller passes 1 + z / 2^24; the division is
// folded into Wq and W1 (-20 against the x87's own exponential, used twice). Nothing overflows in an 80-bit real
// (z < 11000), so that softmax need not subtract the maximum.
INLINE real exp_from(real y) {
  j = count<exp_squarings>(j);
  do y *= y;
  while (again());
  return y;
}

// Queries are walked from the last head to the first; n = -4*dim .. -4*head_size is how far (in bytes).
// The packer orders them so that query slot s uses key/value slot s % n_kv_heads. So the distance between a query and
// its keys is constant within a run of n_kv_heads heads, and grows by one kv_dim from run to run. Counting up to 0
// needs no comparison, and leaves this distance without a constant (-14).
// Out: a = n, down to a whole run above -4*dim; j = 0.
INLINE void run_of_head() {
  constexpr number run = 4 * kv_dim;
  if constexpr (run & (run - 1)) {
    a = n + 4 * dim;
    j = run;
    divide();  // b is free here; gcc would save it in a stack frame, which a naked function has not
    j = 0;
    a = n;
    a -= b;
  } else {
    a = n & -run;
  }
}

// A pass is in pieces: the file's header has room for some of them, and the jumps between all of them are short (-12).
// Where each one lies is said in x87.ld, how it comes to the next in x87.hpp: to_…() falls into it, or jumps.
extern "C" void token(), record(), pass(), ready(), layers(), logits(), choice(), leave(), layer(),
    rows();

// Position by position @loop
CODE(".start") start() {
  begin();
  to_token();
}

// The token's record @embedding: records are whole words, so there is no shift and no rounding (-22).
CODE(".token") token() {
  b *= -(record_bytes / 4);
  j = count<copied>(j);
  to_record();
}

CODE(".record") record() {
  w_from_b(records_offset + record_bytes - cell_before * embedding_bytes);
  to_pass();
}

// @loop
CODE(".pass") pass() {
  know_rows();             // @matmul
  new_x();                 // @embedding
  copy_embedding();        // @embedding
  write_piece();           // BOS's record has no text: it may be "printed" like the others @output
  to_ready();
}

CODE(".ready") ready() {
  keep_x();      // @embedding
  w_to_model();  // @loading
  to_layers_or_leave();
}

CODE(".layers") layers() {
  count_layers();
  call_layers();
  to_logits();
}

CODE(".logits") logits() {
  n = count<vocab_size>(n);  // @matmul
  call_rows();               // @matmul
  b -= number(where(r));     // @argmax
  to_choice();
}

CODE(".choice") choice() {
  to_token_or_leave();
}

CODE(".leave") leave() {
  exit();
}

// x passes through one layer.
// In: w, r, x. Out: w behind the layer's weights, r behind its cells, n = j = 0.
CODE(".layer") layer() {
  n = count<qkv>(n);  // @matmul
  call_rows();        // @matmul

  // @attention, head by head, from the current position back to the first one.
  // q is turned by one step per position (RoPE on the way back: no position, no rotated keys, no table).
  // The output is a running mean, output += p * (v - output) with p = e / sum, so the order of the keys
  // does not matter, no second pass is needed, and at the first key p is exactly 1: the output may start as
  // any junk. The update is one step late, so that it shares its loop with the next key's score; the last
  // one happens on the dummy row.
  n = count<-4 * dim>(n);
  do {
    run_of_head();
    a += number(where(r));
    // The order in which they come onto the x87 stack; in the other one, a loop would need fxch and a jump (10 bytes).
#if __GNUC__ < 15
    real sum = 0, p = 0;  // @softmax
#else
    real p = 0, sum = 0;  // @softmax
#endif
    do {
      real score = 1;  // exp_from's 1 (-4) @softmax
      j = count<head_size>(j);
      do {  // keys and values are stored in reverse within a head: r walks up, j down
        real t = at(key() + 4 * (stride - 2 * kv_dim) + 4 * (kv_dim - head_size - 1)) - *r;
        fence();
        t *= p;
        t += *r;
        *r = t;
        score += r[-head_size] * at(key() + 4 * (-head_size - 1));
        next_cell();
      } while (again());

      // Turn the query by one step @rope
      j = count<head_size / 2>(j);
      real angle = 1;
      do {  // r walks down again, pair by pair; the pairs are stored in reverse, the fastest last
        real c, s;
        cos_sin(angle, c, s);
        real cb = c * r[-head_size - 1], ca = c * r[-head_size - 2];
        real sb = s * r[-head_size - 1], sa = s * r[-head_size - 2];
        ca -= sb;
        cb += sa;
        r[-head_size - 1] = cb;
        r[-head_size - 2] = ca;
        slow_down(angle);
        r = cell(where(r) - 8);
      } while (again());

      // The weight of this position @softmax
      score = exp_from(score);
      settle(score);
      sum += score;
      p = score / sum;
      // One position back @attention
    } while (back_in_arena());
    drop(p, sum);  // @softmax
    r = cell(where(r) - 4 * head_size);
  } while (n += 4 * head_size);
  r = cell(where(r) + 4 * head_size);  // the first head's output

  // Wo, W1 and W3 in one run @matmul: Wo's rows use up the attention's output, then r is at fresh cells (-7).
  fresh(n);
  n = count<dim + 2 * hidden_dim>(n);
  call_rows();

  // @swiglu, in place, from the last cell to the first, so that r ends at the first (-10).
  // W1 holds -1, W3 holds -1 too: silu(g) * u = -g * -u / (1 + exp(-g)).
  n = count<hidden_dim>(n);
  do {
    r = cell(where(r) - 4);
    fence();
    real gate = r[-hidden_dim];
    gate /= 1 + exp_from(1 + gate);
    *r *= gate;
  } while (--n);

  // W2 @matmul
  fresh(n);
  n = count<hidden_dim>(n);
  to_rows();
}

// @matmul: n rows of a matrix against x. Every row does two things:
//   dot         *r = (w . x) / rms(x)     all norms are folded into this division; sqrt(dim) is folded into the matrix
//   accumulate  x += *r * w               for Wo and W2, which are stored transposed
// and needs only one of them. Where a result is wanted, *r is a fresh cell, so 0 is accumulated. Where x is to be
// accumulated, *r is the attention's or the gate's output, and what the dot leaves there is never read again.
// One routine, no flag. It also keeps the argmax of the run, which only the classifier uses: the classifier's rows
// are stored in reverse, so that >= prefers the lowest token; *b starts as *r itself, so that negative logits are
// no special case.
// In: w, r, x, n. Out: w and r behind the last row and cell, b the best cell, n = j = 0.
CODE(".rows") rows() {
  b = where(r);  // @argmax
  do {
    real dot = 0;
    settle(dot);
    real squares = epsilon();  // @rmsnorm
    j = dim;
    do {  // from the end of x to its start: counting down to 0 needs no comparison; the rows are stored in reverse
      take_weight();
      real value = element(), t = value;
      t *= weight();
      dot += t;
      fence();
      t = *r;
      t *= weight();
      t += value;
      element() = t;
      squares += value * value;  // @rmsnorm
      next_weight();
    } while (again());
    *r = scaled(dot / square_root(squares));  // @rmsnorm
    fence();  // compare what was stored: equal rows must tie
    if (*r >= *(f32*)best()) b = where(r);  // @argmax
    next_cell();
  } while (--n);
  back();
}
