// Llama 2, greedy, without a library: reference/transformer.cpp and reference/ops.cpp once more, in 1.1 to 1.5 KB.
//
//   model.hpp   the model's shape (constexpr; written by the packer); shape.hpp: what follows from it
//   plain.hpp   the target: how a program writes, and how it ends
//   plain.ld    the file's header, this code, the packed model, zeroed memory (for Linux: elf32.ld, elf64.ld)
//
// What the machine sees
// ---------------------
//   header | constants | code | model                      the file, mapped as it is
//   residual | logits | activations | normed | scores      zero at the start (where nobody promises it, plain.hpp clears it)
//
// The model is a struct, whose memory image the packed file is (`plain` in tools/common/pack). Every number that is
// computed has a place of its own: a row for each position, and in it for each layer. Nothing is overwritten, so the
// keys and values of all rows are the KV cache, and what is added to begins as zero.
//
// How it differs from the reference
// ---------------------------------
// - Matrices that multiply the same vector are multiplied as one, for they stand one behind the other: wq, wk and wv; w1
//   and w3.
// - matmul adds to its output: to zeros, or to the residual stream, where wo and w2 lead.
// - exp, cos and sin are one function, the exponential of a complex number, by squaring.
// - silu comes from softmax, and softmax's maximum from argmax.
// - Loops that never run zero times say so by `do`, where that is shorter; where the order is free, some of them go downwards.
// - Activations are doubles. Weights, which are float32, are converted where they are multiplied, and nowhere else.
//
// "@rope" in a comment says what the machine code is for: that of its line or, where the comment stands alone, of all
// lines from there on. `llama512 anatomy` counts by it.

#include "shape.hpp"
#include "plain.hpp"

constexpr int kv_mul = n_heads / n_kv_heads;  // query heads that share a head of keys and values
constexpr int n_qkv_heads = n_heads + 2 * n_kv_heads;

struct Layer {
  float rms_att[dim];                        // (dim)
  float wqkv[n_qkv_heads * head_size][dim];  // (dim + 2 kv_dim, dim): wq, wk, wv
  float wo[dim][dim];                        // (dim, dim)
  float rms_ffn[dim];                        // (dim)
  float w13[2 * hidden_dim][dim];            // (2 hidden_dim, dim): w1, w3
  float w2[dim][hidden_dim];                 // (dim, hidden_dim)
};

struct Piece {
  unsigned char length;
  char text[longest_piece];
};

struct Model {
  float token_embedding[vocab_size][dim];  // (vocab_size, dim)
  Layer layers[n_layers];
  float rms_final[dim];                    // (dim)
  float wcls[vocab_size][dim];             // (vocab_size, dim)
  Piece vocabulary[vocab_size];
};
static_assert(__builtin_offsetof(Model, vocabulary) + sizeof(Model::vocabulary) == packed_bytes);
extern "C" const Model model;

typedef double real;  // what activations are

// What one layer computes at one position.
struct Activations {
  real qkv[n_qkv_heads][head_size];  // the heads of queries, then of keys, then of values
  real heads[n_heads][head_size];    // attention's output
  real gate_up[2 * hidden_dim];      // w1 x, then w3 x
};

real residual[seq_len][dim];                // x, the residual stream
real logits[seq_len][vocab_size];
Activations activations[n_layers][seq_len];
real normed[dim];                           // rmsnorm's output
real scores[seq_len];                       // of one head at one position
static_assert(workspace_bytes == sizeof residual + sizeof logits + sizeof activations + sizeof normed + sizeof scores);

struct Complex {
  real re, im;
};

// e^z = (1 + z / 2^28 + …)^(2^28), by squaring: one multiplication of complex numbers, 28 times.
//
// Of the series only the second term of a turn is needed: without it |e^(i angle)| would grow with the angle.
// It is right to 3e-8 for exponents up to 0 (below -2^29 it is not 0 any more), and for angles up to 2,000; of 20,000,
// it is off by 2e-5. @softmax
[[gnu::noinline]] static Complex exponential(real re, real im) {
  constexpr int squarings = 28;
  constexpr real steps = 1 << squarings;
  re /= steps;
  im /= steps;
  re = 1 + re - im * im / 2;
  for (int i = 0; i < squarings; i++) {
    const real square = re * re - im * im;
    im *= 2 * re;
    re = square;
  }
  return {re, im};
}

// a . b @matmul
static real dot(const real* a, const real* b, int n) {
  real sum = 0;
  do {
    n--;
    sum += a[n] * b[n];
  } while (n);
  return sum;
}

// out += w x: out (d), x (n), w (d, n)
static void matmul(real* out, const real* x, const float* w, int n, int d) {
  do {
    for (int i = 0; i < n; i++) *out += *w++ * x[i];
    out++;
  } while (--d);
}
template <int d, int n> static void matmul(real* out, const real* x, const float (&w)[d][n]) {
  matmul(out, x, w[0], n, d);
}

// normed = weight * x / sqrt(mean(x^2) + epsilon) @rmsnorm
constexpr float epsilon = rms_epsilon;  // a variable of its own: 8 bytes less on AArch64 than a conversion
static const real* rmsnorm(const real* x, const float* weight) {
  const real rms = __builtin_sqrt(dot(x, x, dim) / dim + epsilon);
  for (int i = 0; i < dim; i++) normed[i] = weight[i] * x[i] / rms;
  return normed;
}

// The index of the largest value; on a tie the lowest such index. @argmax
[[gnu::noinline]] static int argmax(const real* x, int n) {
  int best = 0;
  do {
    n--;
    if (!(x[n] < x[best])) best = n;  // (g++ for SH-4 does not understand >=)
  } while (n);
  return best;
}

// x[i] = exp(x[i]) / sum over j of exp(x[j]) @softmax
static void softmax(real* x, int n) {
  const real max = x[argmax(x, n)];
  real sum = 0;
  int i = n;
  do {
    i--;
    sum += x[i] = exponential(x[i] - max, 0).re;
  } while (i);
  do {
    n--;
    x[n] /= sum;
  } while (n);
}

// Whether a head begins with element i. Where that is a division, it subtracts, for not every machine has one. @rope
inline bool begins_head(int i) {
  if ((head_size & (head_size - 1)) == 0) return i % head_size == 0;
  while (i > 0) i -= head_size;
  return i == 0;
}

// Turns each pair of each head of x by the angle pos * rope_theta^(-2i/head_size). @rope
static void rope(real* x, int n, int pos) {
  constexpr float slowdown = __builtin_pow(rope_theta, 2.0 / head_size);  // from one pair to the next
  real angle = 0;
  for (int i = 0; i < n; i += 2) {
    if (begins_head(i)) angle = pos;
    const Complex turn = exponential(0, angle);
    const real x0 = x[i], x1 = x[i + 1];
    x[i] = x0 * turn.re - x1 * turn.im;
    x[i + 1] = x0 * turn.im + x1 * turn.re;
    angle /= slowdown;
  }
}

// gate = silu(gate) * up, where silu(z) = z / (1 + exp(-z)): z times its share in a softmax of z and 0 @swiglu
static void swiglu(real* gate, const real* up, int n) {
  for (int i = 0; i < n; i++) {
    real sigmoid[] = {gate[i], 0};
    softmax(sigmoid, 2);
    gate[i] *= sigmoid[0] * up[i];
  }
}

// The head of keys and values that serves a query head: head / kv_mul, by subtraction as above. @attention
inline unsigned serving(unsigned head) {
  if ((kv_mul & (kv_mul - 1)) == 0) return head / kv_mul;
  unsigned kv_head = 0;
  for (; head >= kv_mul; head -= kv_mul) kv_head++;
  return kv_head;
}

// heads = for each query head: softmax(q . k / sqrt(head_size)) v, over all positions so far @attention
static void attention(Activations* cache, int pos) {
  Activations& now = cache[pos];
  for (unsigned head = 0; head < n_heads; head++) {
    const int k = n_heads + serving(head), v = k + n_kv_heads;
    for (int t = 0; t <= pos; t++)
      scores[t] = dot(now.qkv[head], cache[t].qkv[k], head_size) / __builtin_sqrt(head_size);
    softmax(scores, pos + 1);
    for (int t = 0; t <= pos; t++)
      for (int i = 0; i < head_size; i++) now.heads[head][i] += scores[t] * cache[t].qkv[v][i];
  }
}

// @loop
static void forward(int token, int pos) {
  real* x = residual[pos];
  for (int i = 0; i < dim; i++) x[i] = model.token_embedding[token][i];  // @embedding
  for (int l = 0; l < n_layers; l++) {  // through the model @loading
    const Layer& layer = model.layers[l];
    Activations& now = activations[l][pos];
    // x += attention(rmsnorm(x))
    matmul(now.qkv[0], rmsnorm(x, layer.rms_att), layer.wqkv);  // @matmul
    rope(now.qkv[0], dim + kv_dim, pos);
    attention(activations[l], pos);
    matmul(x, now.heads[0], layer.wo);  // @matmul
    // x += w2(silu(w1(rmsnorm(x))) * w3(rmsnorm(x)))
    matmul(now.gate_up, rmsnorm(x, layer.rms_ffn), layer.w13);  // @matmul
    swiglu(now.gate_up, now.gate_up + hidden_dim, hidden_dim);
    matmul(x, now.gate_up, layer.w2);  // @matmul
  }
  // logits = wcls(rmsnorm(x))
  matmul(logits[pos], rmsnorm(x, model.rms_final), model.wcls);  // @matmul
}

extern "C" [[gnu::used]] void start() {
  int token = 1;
  for (int pos = 0; pos < seq_len; pos++) {
    forward(token, pos);
    token = argmax(logits[pos], vocab_size);
    if (token == 1) break;
    const Piece& piece = model.vocabulary[token];
    write(piece.text, piece.length);
  }
  exit();
}
