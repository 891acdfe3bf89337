// WebAssembly with WASI. The model is at 16, so that its address has one byte; the text's address and length, which fd_write wants
// to have in memory, are at 4, and how much was written (nobody asks) goes over the length. The arena is behind the model: the first
// position's row begins at a multiple of its size.
#pragma once

#include "isa/wasm.hpp"
#include "wasi.hpp"

constexpr wide behind_model = whole(16 + packed_bytes, 16), all_rows = row_bytes * seq_len;
constexpr wide above_model = whole(behind_model + row_bytes - row_end, row_bytes), power_above_model = power_above(above_model);

// If that leaves not too much memory unused, the first row begins at a power of two: then a shift tells that a key is before it (-3).
// And if all rows are as much, another shift tells that r is behind them (-2).
constexpr bool rows_by_bit = power(seq_len) && power_above_model <= all_rows && all_rows <= 1 << 29;
constexpr bool first_by_bit = rows_by_bit || power_above_model <= 1 << 29;
constexpr wide first_row = rows_by_bit ? all_rows : first_by_bit ? power_above_model : above_model;
constexpr int first_bit = __builtin_ctzll(first_row);
constexpr wide before_first = first_row - row_bytes + row_end;

// The linker lets the stack begin behind all data: r begins where the row of a position before the first one would end.
[[gnu::used, gnu::aligned(16)]] static char skipped[before_first - behind_model];

// clang would make a comparison with a power of two of it, whose constant is long.
INLINE word shifted(word v, int bits) {
  v >>= bits;
  fresh(v);
  return v;
}
INLINE bool more() {
  if constexpr (rows_by_bit) return !shifted((word)r, first_bit + 1);
  else return (word)r != (word)(first_row + all_rows + logits_end);
}

struct Engine : Machine {
  void story();
  void rows();

  INLINE void set_up() { w = (const weight*)(model + records + record_bytes); }
  INLINE void w_to_model() { w = (const weight*)model; }
  INLINE bool again_key() {
    if constexpr (first_by_bit) return shifted((word)a, first_bit);
    else return (word)a >= (word)first_row;
  }
  INLINE void write_piece() {
    Text& text = *(Text*)4;
    text.at = w;
    text.length = j;
    fd_write(1, &text, 1, &text.length);
  }
  INLINE void exit() {}
};

// @matmul
FUNCTION cell* rows_of(long count) {
  Engine e;
  e.n = count;
  e.rows();
  return e.b;
}
// @loop
extern "C" [[clang::export_name("_start")]] void start() { Engine().story(); }
