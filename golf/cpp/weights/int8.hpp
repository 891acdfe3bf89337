// Weights in int8, each row with the size of its step behind it. The embedding is bf16.
//
// The x87 loads no bytes. So a weight goes into the upper byte of a word whose lower one is zero: in the cell before x, a logit
// of the position before that nobody needs any more. The word is 256 times the weight; the scale makes up for it.
#pragma once

#include "copy-bf16.hpp"

constexpr int embedding_early = 2;  // so many bytes before an embedding w stands, more than before another weight

// Once before weights are taken; n is 0.
INLINE void clear_scratch() { ((number*)x)[-1] = n; }
// The weight at w, and w to the next one.
INLINE void take_weight() {
  w_on_by_1();
  ((char*)x)[-3] = a;
}
INLINE short& weight() { return ((short*)x)[-2]; }
INLINE void next_weight() {}
// A row's product times its scale, and w behind the row.
INLINE real scaled(real product) {
  product *= *w;
  w_on_by_4();
  return product;
}
