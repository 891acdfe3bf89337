// A row against x in golf/cpp/doubles.cpp: w . x and x . x, for instruction sets that have no vector of two doubles for both.
#pragma once

struct Sums {
  real dot, squares;
};
struct Element {
  real weight, value;
};
INLINE void add_dot(Sums& sums, const Element& e) { sums.dot += e.value * e.weight; }
INLINE void add_squares(Sums& sums, const Element& e) { sums.squares += e.value * e.value; }
INLINE real normed(const Sums& sums) { return sums.dot / __builtin_sqrt(sums.squares); }
