// The program `train`: from a corpus in tokens to a checkpoint.

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "arguments.hpp"
#include "checkpoint.hpp"
#include "dataset.hpp"
#include "trainer.hpp"

namespace llama512::train {
namespace {

constexpr const char* kHelp = R"(Trains a Llama 2 model on stories in tokens, and writes a llama2.c v0 checkpoint.

Usage: train --tokens FILE --out FILE [options]

  --tokens FILE      what `tokenize` wrote
  --out FILE         the checkpoint; its weights lie on the grid of --encoding, and are exact in bfloat16, too
  --init FILE        start from this checkpoint instead of from random weights: llama2.c v0, v1 or v2,
                     of the same shape, tied, with norm gains of 1
  --state FILE       where to keep the state of the training; when it exists, training goes on from there
  --state-every N    steps between two states (default 500)
  --steps N          default 13000
  --batch N          stories in a step (default 16)
  --warm-up N        steps until the learning rate's peak (default 200; at most a tenth of --steps)
  --rate R           the learning rate's peak (default 0.004)
  --encoding NAME    what the weights are to be exact in: int8 (default) or int4
  --round-from S     share of the steps before weights are rounded (default 0.667; 1: never)
  --seed N           default 1; the same seed gives the same weights on the same machine
  --threads N        default 1; the result does not depend on it
  --stop-at N        stop after step N, as an interruption would (default: at the end)

Shape (defaults): --dim 48 --hidden-dim 128 --layers 3 --heads 6 --kv-heads 3 --vocab-size 512 --seq-len 256

Ctrl-C keeps the state, when there is one, and ends with status 130.
)";

volatile std::sig_atomic_t interrupted = 0;

/// One line on stderr: redrawn on a terminal, printed every ten seconds elsewhere.
class Progress {
public:
    explicit Progress(std::uint64_t steps) : steps_(steps) {}

    void add(std::uint64_t step, std::size_t n_tokens, double loss) {
        loss_ = n_seen_++ == 0 ? loss : loss_ + 0.02 * (loss - loss_);
        n_tokens_ += n_tokens;
        const auto now = std::chrono::steady_clock::now();
        const bool last = step == steps_;
        if (now - drawn_ < (terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000)) && !last) return;
        drawn_ = now;
        const double seconds = std::chrono::duration<double>(now - start_).count();
        const double left = seconds / static_cast<double>(n_seen_) * static_cast<double>(steps_ - step);
        std::fprintf(stderr, "%strain: step %llu of %llu  loss %.4f  %.0f tokens/s  %d:%02d left%s", terminal_ ? "\r" : "",
                     static_cast<unsigned long long>(step), static_cast<unsigned long long>(steps_), loss_,
                     static_cast<double>(n_tokens_) / seconds, static_cast<int>(left) / 60, static_cast<int>(left) % 60,
                     terminal_ && !last ? "   " : "\n");
    }

private:
    std::uint64_t steps_;
    bool terminal_ = isatty(STDERR_FILENO) != 0;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), drawn_ = start_;
    std::uint64_t n_seen_ = 0, n_tokens_ = 0;
    double loss_ = 0;
};

int train(const Arguments& arguments) {
    Options o;
    const auto count = [&](const char* name, std::uint64_t min, std::uint64_t max) {
        return arguments.number<std::uint64_t>(name, min, max);
    };
    const auto size = [&](const char* name, std::int64_t min, std::int64_t max) {
        return arguments.number<std::int64_t>(name, min, max);
    };
    o.config = parse_config({size("--dim", 2, 4096), size("--hidden-dim", 1, 16384), size("--layers", 1, 128),
                             size("--heads", 1, 4096), size("--kv-heads", 1, 4096), size("--vocab-size", 261, 32768),
                             size("--seq-len", 4, 65536)},
                            "shape");
    o.seed = count("--seed", 0, UINT64_MAX);
    o.steps = count("--steps", 1, 1'000'000'000);
    o.batch = count("--batch", 1, 65536);
    o.warm_up = std::min(count("--warm-up", 1, 1'000'000'000), std::max<std::uint64_t>(o.steps / 10, 1));
    o.rate = arguments.number<float>("--rate", 0.0f, 1.0f);
    const std::string& encoding = arguments.text("--encoding");
    if (encoding != "int8" && encoding != "int4") throw UsageError("--encoding: '" + encoding + "' is not int8 or int4");
    o.encoding = encoding == "int4" ? Encoding::kInt4 : Encoding::kInt8;
    o.round_from = arguments.number<float>("--round-from", 0.0f, 1.0f);
    const std::uint64_t state_every = count("--state-every", 1, UINT64_MAX);
    const std::uint64_t stop_at = std::min(count("--stop-at", 0, UINT64_MAX), o.steps);
    const std::string& out = arguments.file("--out");
    const std::string& state = arguments.text("--state");

    Dataset data(arguments.file("--tokens"), o.config.vocab_size, o.config.seq_len, o.seed);
    Trainer trainer(o, data, count("--threads", 1, 256));
    if (!arguments.text("--init").empty()) trainer.start_from(read_checkpoint(arguments.text("--init"), o.config));
    if (!state.empty() && std::filesystem::exists(state)) {
        trainer.load(state);
        std::fprintf(stderr, "train: goes on from step %llu\n", static_cast<unsigned long long>(trainer.step()));
    }
    { OutputFile probe(out); }  // better refused now than after the training
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });

    Progress progress(o.steps);
    while (trainer.step() < stop_at && interrupted == 0) {
        const double loss = trainer.train_step();
        progress.add(trainer.step(), trainer.step_tokens(), loss);
        if (!std::isfinite(loss)) {
            throw Error("step " + std::to_string(trainer.step()), "loss",
                        std::to_string(loss) + ", a finite number is needed; try a lower --rate");
        }
        if (!state.empty() && trainer.step() % state_every == 0) trainer.save(state);
    }
    if (trainer.step() < o.steps) {
        if (!state.empty()) trainer.save(state);
        std::fprintf(stderr, "\ntrain: stopped at step %llu%s\n", static_cast<unsigned long long>(trainer.step()),
                     state.empty() ? "" : ", the same command goes on");
        return interrupted != 0 ? 130 : 0;
    }
    write_checkpoint(out, o.config, trainer.exported());
    if (!state.empty()) trainer.save(state);
    std::fprintf(stderr, "train: loss %.4f per token on %zu stories that were held out\n", trainer.validate(),
                 data.held_out_size());
    return 0;
}

}  // namespace
}  // namespace llama512::train

int main(int argc, char** argv) {
    using namespace llama512::train;
    int status = 0;
    const int failed = run_program("train", kHelp, argc, argv, [&] {
        status = train(Arguments(argc, argv, {{"--tokens", ""}, {"--out", ""}, {"--init", ""}, {"--state", ""}, {"--state-every", "500"},
                                              {"--steps", "13000"}, {"--batch", "16"}, {"--warm-up", "200"},
                                              {"--rate", "0.004"}, {"--encoding", "int8"}, {"--round-from", "0.667"}, {"--seed", "1"},
                                              {"--threads", "1"}, {"--stop-at", "18446744073709551615"}, {"--dim", "48"},
                                              {"--hidden-dim", "128"}, {"--layers", "3"}, {"--heads", "6"},
                                              {"--kv-heads", "3"}, {"--vocab-size", "512"}, {"--seq-len", "256"}}));
    });
    return failed != 0 ? failed : status;
}
