// Weights in float32.
#pragma once

#include "in-place.hpp"

INLINE void next_weight() { w_on_by_4(); }

constexpr int embedding_bytes = 4;

// j weights from w to r; w is then at the text's length.
INLINE void copy_embedding() { copy_all(); }
