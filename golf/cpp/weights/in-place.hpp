// Weights that the x87 loads where they stand.
#pragma once

INLINE void take_weight() {}
INLINE f32& weight() { return *w; }
INLINE real scaled(real product) { return product; }
