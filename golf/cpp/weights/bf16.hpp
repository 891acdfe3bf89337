// Weights in bfloat16, dense: w is two bytes before the weight, and what stands there is the float's lower half.
#pragma once

#include "copy-bf16.hpp"

constexpr int embedding_early = 0;  // so many bytes before an embedding w stands, more than before another weight

INLINE void clear_scratch() {}
INLINE void take_weight() {}
INLINE f32& weight() { return *w; }
INLINE void next_weight() { w_on_by_2(); }
INLINE real scaled(real product) { return product; }
