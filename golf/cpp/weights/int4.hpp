// Weights in int4: two in a byte, the upper half first.
#pragma once

#include "steps.hpp"

static_assert(dim % 2 == 0);  // a row is whole bytes

INLINE void take_weight() { push_half(); }
INLINE short& weight() { return *(short*)((char*)top + 1); }
