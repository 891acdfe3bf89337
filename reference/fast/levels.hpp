// Which levels of the fast kernels there are, and which of them this processor can run.
#pragma once

#include <string_view>
#include <vector>

#include "fast/level.hpp"

namespace llama512::fast {

/// The levels that this processor can run, the widest registers last.
std::vector<const Level*> levels();

/// The level of that name, or without one the last. Throws std::out_of_range where there is none.
const Level& find_level(std::string_view name);

}  // namespace llama512::fast
