// Weights in whole steps, each row with the size of its step behind it. The embedding is bf16.
//
// The x87 loads no bytes. So a weight goes onto the processor's stack, and is loaded from there as a word; twice, for in a register
// of the x87 it would be in the way of others.
#pragma once

#include "copy-bf16.hpp"

INLINE void next_weight() { pop_a(); }
// A row's product times its scale, and w behind the row.
INLINE real scaled(real product) {
  product *= *w;
  w_on_by_4();
  return product;
}
