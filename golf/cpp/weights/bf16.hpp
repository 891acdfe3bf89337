// Weights in bfloat16, dense: w is two bytes before the weight, and what stands there is the float's lower half.
#pragma once

#include "copy-bf16.hpp"
#include "in-place.hpp"

INLINE void next_weight() { w_on_by_2(); }
