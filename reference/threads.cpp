#include "threads.hpp"

#include <fstream>
#include <set>
#include <string>

#ifdef __linux__
#include <sched.h>
#endif

namespace llama512 {

std::size_t physical_cores() {
    std::set<std::string> cores;  // each by the list of its hardware threads
#ifdef __linux__
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        std::string siblings = "cpu" + std::to_string(cpu);  // where the kernel does not tell
        std::ifstream("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list") >> siblings;
        cores.insert(siblings);
    }
#endif
    return cores.empty() ? 1 : cores.size();
}

}  // namespace llama512
