// How golf/cpp/doubles.cpp goes through its loops where an instruction set counts: n and m count down to 0 (RISC-V, Thumb-2).
// Others have ways of their own for all of these (isa/aarch64.hpp). An isa header includes it behind its registers and call_rows().
#pragma once

// The next count rows against x.
INLINE void run(int count) {
  n = count;
  call_rows();
}
INLINE bool again_row() { return again(n); }

INLINE void to_layer() {
  if constexpr (gap) r += gap;
}

// Heads.
INLINE void begin_heads() { n = n_heads; }
INLINE void to_query() {}
INLINE bool again_head() { return again(n); }
INLINE void to_outputs() {
  r += head_size;
  fresh(r);
}

// Gates. m is not 0 where one's share is made, and 0 where that of a score is: pairs have been counted in it.
INLINE void count_gates() {
  n = hidden_dim;
  fresh(n);
  m = n;
}
INLINE bool again_gate() { return again(m); }
