// An embedding in bfloat16, dense: w is two bytes before the weight, and what stands there is the float's lower half.
#pragma once

// j = dim weights from w to r; w is then at the text's length.
INLINE void copy_embedding() {
  do {  // 4 bytes of which 2 are the weight: a string move, and w back by half (-4)
    copy();
    w_back_by_2();
  } while (again());
  w_on_by_2();
}
