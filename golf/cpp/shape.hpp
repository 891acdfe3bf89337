// What follows from the model's shape, for every engine.
#pragma once

#include "model.hpp"

constexpr int head_size = dim / n_heads, kv_dim = head_size * n_kv_heads, qkv = dim + 2 * kv_dim;
