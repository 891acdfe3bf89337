// Weights in float32.
#pragma once

constexpr int embedding_early = 0;  // so many bytes before an embedding w stands, more than before another weight

INLINE void clear_scratch() {}
INLINE void take_weight() {}
INLINE f32& weight() { return *w; }
INLINE void next_weight() { w_on_by_4(); }
INLINE real scaled(real product) { return product; }

// j = dim weights from w to r; w is then at the text's length.
INLINE void copy_embedding() { copy_all(); }
