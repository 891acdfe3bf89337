// Weights in int8.
#pragma once

#include "steps.hpp"

INLINE void take_weight() { push_byte(); }
INLINE short& weight() { return *top; }
