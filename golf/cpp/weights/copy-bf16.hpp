// An embedding in bfloat16: the upper half of a float, copied to where zeros are.
#pragma once

constexpr int embedding_bytes = 2;

// j weights from w to r; w is then at the text's length.
INLINE void copy_embedding() {
  do copy_to_upper_half();
  while (again());
}
