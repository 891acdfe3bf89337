#include "fast/levels.hpp"

#include <stdexcept>

namespace llama512::fast {

// What level.cpp exports, compiled for each level: see CMakeLists.txt.
extern const Level baseline;
#ifdef LLAMA512_X86_LEVELS
extern const Level avx2;
extern const Level avx512;
#endif

std::vector<const Level*> levels() {
    std::vector<const Level*> result = {&baseline};
#ifdef LLAMA512_X86_LEVELS
    if (__builtin_cpu_supports("avx2")) result.push_back(&avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        result.push_back(&avx512);
    }
#endif
    return result;
}

const Level& find_level(std::string_view name) {
    const std::vector<const Level*> here = levels();
    if (name.empty()) return *here.back();
    for (const Level* level : here) {
        if (name == level->name) return *level;
    }
    throw std::out_of_range("fast kernels: level");
}

}  // namespace llama512::fast
