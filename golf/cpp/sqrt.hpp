// The square root, for machines that have no instruction for it: Newton's rule, from above until it gets no smaller.
#pragma once

// @rmsnorm
extern "C" [[gnu::used]] double sqrt(double square) {
  double root = square < 1 ? 1 : square;
  for (;;) {
    const double next = (root + square / root) / 2;
    if (!(next < root)) return root;
    root = next;
  }
}
