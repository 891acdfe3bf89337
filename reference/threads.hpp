// Work that is shared by threads.
#pragma once

#include <cstddef>
#include <functional>

namespace llama512 {

/// The processor's cores that this process may use, at least 1. Hardware threads of one core count once: they share what
/// computes.
std::size_t physical_cores();

/// Calls part(first, last) for ranges that together are 0 to n, one range in each of at most `threads` threads, and returns
/// when all are done. `part` must not throw.
template <typename Part>
void parallel(std::size_t threads, std::size_t n, const Part& part) {
    threads = threads < n ? threads : n;
    if (threads <= 1) {
        part(std::size_t{0}, n);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static, 1)
#endif
    for (std::size_t thread = 0; thread < threads; thread++) part(thread * n / threads, (thread + 1) * n / threads);
}

}  // namespace llama512
