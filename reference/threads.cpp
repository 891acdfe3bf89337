#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "error.hpp"

#ifdef __linux__
#include <sched.h>
#endif

namespace llama512 {

using std::size_t;

namespace {

/// A range is shared out in so many pieces for each thread.
constexpr std::uint32_t kPiecesPerThread = 4;

/// How often a thread that waits looks again before it sleeps. It gives its processor away each time, if anybody wants it.
constexpr int kLooks = 200;

/// Waits until `done` says so: looks a few times, and then sleeps until somebody notifies `changing`, which has another value then.
template <typename T, typename Done>
void wait(const std::atomic<T>& changing, Done done) {
    for (int look = 0; look < kLooks; look++) {
        if (done(changing.load())) return;
        std::this_thread::yield();
    }
    for (T value = changing.load(); !done(value); value = changing.load()) changing.wait(value);
}

/// The threads that help the main one. They live as long as the program, and sleep when there is nothing to do.
class Helpers {
public:
    ~Helpers() {
        stopping_ = true;
        number_.fetch_add(1);
        number_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    void run(size_t threads, size_t n, const std::function<void(size_t, size_t)>& part) {
        while (threads_.size() + 1 < threads) start_thread(threads);
        const std::uint32_t pieces = static_cast<std::uint32_t>(std::min(n, threads * kPiecesPerThread));
        part_ = &part;
        n_ = n;
        pieces_ = pieces;
        done_ = 0;
        const std::uint32_t number = number_.load() + 1;
        open_ = std::uint64_t{number} << 32 | pieces;
        number_ = number;
        number_.notify_all();
        take_pieces(number);
        wait(done_, [pieces](std::uint32_t done) { return done == pieces; });
    }

private:
    void start_thread(size_t wanted) {
        try {
            threads_.emplace_back([this, number = number_.load()] { help(number); });
        } catch (const std::system_error& error) {
            throw Error("threads", std::to_string(threads_.size() + 2) + " of " + std::to_string(wanted),
                        error.code().message() + ", fewer are needed");
        }
    }

    void help(std::uint32_t number) {
        for (;;) {
            wait(number_, [number](std::uint32_t now) { return now != number; });
            if (stopping_) return;
            number = number_.load();
            take_pieces(number);
        }
    }

    /// Does pieces of job `number` as long as there are any. A thread that comes too late finds another number, and takes none:
    /// what describes the job is only read for a piece that was taken, and stays until all pieces are done.
    void take_pieces(std::uint32_t number) {
        for (std::uint64_t open = open_.load(); open >> 32 == number && (open & 0xffffffff) != 0;) {
            if (!open_.compare_exchange_weak(open, open - 1)) continue;
            const size_t piece = (open & 0xffffffff) - 1;
            const size_t pieces = pieces_;
            (*part_)(piece * n_ / pieces, (piece + 1) * n_ / pieces);
            if (done_.fetch_add(1) + 1 == pieces) done_.notify_one();
            open = open_.load();
        }
    }

    std::vector<std::thread> threads_;
    std::atomic<bool> stopping_ = false;

    // The job.
    const std::function<void(size_t, size_t)>* part_ = nullptr;
    size_t n_ = 0;
    size_t pieces_ = 0;
    std::atomic<std::uint32_t> number_ = 0;  // of the job, counted
    std::atomic<std::uint64_t> open_ = 0;    // its number, and in the lower half how many pieces nobody has taken
    std::atomic<std::uint32_t> done_ = 0;    // pieces that are done
};

}  // namespace

size_t physical_cores() {
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
    return std::max<size_t>(cores.size(), 1);
}

size_t threads_for(size_t work, size_t threads) {
    constexpr size_t kWorkPerThread = 100'000;
    return std::clamp<size_t>(work / kWorkPerThread, 1, threads);
}

void parallel(size_t threads, size_t n, const std::function<void(size_t first, size_t last)>& part) {
    static Helpers helpers;
    if (threads <= 1 || n <= 1) {
        part(0, n);
    } else {
        helpers.run(std::min(threads, n), n, part);
    }
}

}  // namespace llama512
