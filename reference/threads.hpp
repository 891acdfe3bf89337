// Work that is shared by threads.
#pragma once

#include <cstddef>
#include <functional>

namespace llama512 {

/// The processor's cores that this process may use, at least 1. Hardware threads of one core count once: they share what
/// computes.
std::size_t physical_cores();

/// How many of `threads` are worth it for so many numbers to read or multiply: to wake one takes as long as 100,000 of them.
std::size_t threads_for(std::size_t work, std::size_t threads);

/// Calls part(first, last) for ranges that together are 0 to n, in several threads, and returns when all are done. `threads` is
/// how many are started for it, if there are not so many yet; those of earlier calls help, too. With 1, this thread does all.
/// Which thread gets which range is left open: who is free takes the next one, so a thread whose processor is busy with
/// something else does not hold up the others for long. `part` must not throw, nor call parallel itself.
/// Throws Error when the system starts no more threads.
void parallel(std::size_t threads, std::size_t n, const std::function<void(std::size_t first, std::size_t last)>& part);

}  // namespace llama512
