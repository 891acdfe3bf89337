// The program `reference`: from the command line to a model, ready to tell stories (tell.hpp).

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include "draft.hpp"
#include "engine.hpp"
#include "error.hpp"
#include "fast/fast.hpp"
#include "files/checkpoint.hpp"
#include "files/output_file.hpp"
#include "files/vocabulary.hpp"
#include "options.hpp"
#include "sampler.hpp"
#include "tell.hpp"
#include "threads.hpp"
#include "timings.hpp"
#include "tokenizer.hpp"
#include "transformer.hpp"

namespace llama512 {
namespace {

/// A seed that is not 0.
std::uint64_t seed_from_clock() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

std::unique_ptr<OutputFile> open_output(const std::string& path) {
    return path.empty() ? nullptr : std::make_unique<OutputFile>(path);
}

void write_extremes(OutputFile& file, const Extremes& extremes) {
    const auto line = [&](const char* name, const Extreme& extreme) {
        char text[100];
        std::snprintf(text, sizeof text, "%s %.9g %zu %zu\n", name, static_cast<double>(extreme.value), extreme.layer,
                      extreme.pos);
        file.write(std::string_view(text));
    };
    line("score", extremes.score);
    line("gate", extremes.gate);
    line("up", extremes.up);
    line("rms", extremes.rms);
    file.commit();
}

void run(const Options& options) {
    const Stopwatch load;
    const std::size_t threads = options.threads == 0 ? physical_cores() : options.threads;
    const std::string level = level_of(options.kernels);
    const Checkpoint checkpoint(options.model, threads);
    const Config& config = checkpoint.config();
    Vocabulary vocabulary = options.tokenizer.empty() ? checkpoint.vocabulary()
                                                      : read_vocabulary(options.tokenizer, config.vocab_size);
    const std::string tokenizer_file = vocabulary.name;
    const Tokenizer tokenizer(std::move(vocabulary));
    const std::vector<std::string> inputs = {options.model, tokenizer_file, options.prompt_file, options.batch_file};
    refuse_overwriting(inputs, options.logits_file, "--logits");
    refuse_overwriting(inputs, options.timings_file, "--timings");
    refuse_overwriting(inputs, options.extremes_file, "--extremes");
    const auto extremes_file = open_output(options.extremes_file);
    const auto timings_file = open_output(options.timings_file);
    const bool timed = !options.quiet || timings_file != nullptr;

    // What tells the stories; what guesses tokens for it; and with --quantize, what it is compared with.
    const Engines engines(options, level, checkpoint, threads);
    const std::size_t sequences = options.batch_file.empty() ? 1 : options.parallel;
    const std::size_t max_rows = std::max({sequences, options.batch_size, options.draft_max + 1});
    const std::unique_ptr<Engine> engine = engines.make(options.quantization, sequences, max_rows);
    const std::size_t matrix_bytes = engines.matrix_bytes(engine->kernels);
    const Quantization draft_quantization =
        options.draft.value_or(default_draft(options, config.seq_len, engine->kernels, matrix_bytes));
    std::unique_ptr<Engine> guesser;
    std::optional<Draft> draft;
    if (draft_quantization != Quantization::none) {
        try {
            guesser = engines.make(draft_quantization, 1, options.batch_size);
            draft.emplace(guesser->transformer, options.draft_max);
        } catch (const std::bad_alloc&) {
            if (options.draft) throw;  // nobody asked for it: it goes without
        }
    }
    std::unique_ptr<Engine> unrounded;
    if (options.quantization != Quantization::none && timed) unrounded = engines.make(Quantization::none, 1, options.batch_size);

    const bool seeded = options.seed && (*options.seed != 0 || options.sampler == Method::race);
    const std::uint64_t seed = seeded ? *options.seed : seed_from_clock();
    const float top_p = options.top_p.value_or(options.sampler == Method::race ? 1.0f : 0.9f);
    const auto sampler = [&](std::uint64_t story_seed) {
        return Sampler(options.temperature, top_p, story_seed, options.sampler, engine->kernels);
    };
    const Setup setup{options, tokenizer, engine->transformer, draft ? &*draft : nullptr,
                      unrounded ? &unrounded->transformer : nullptr, sampler, seed, load, inputs};
    Timings timings = options.batch_file.empty() ? tell_story(setup) : tell_batch(setup);

    if (extremes_file != nullptr) write_extremes(*extremes_file, engine->transformer.extremes());
    if (!timed) return;
    timings.kernels = engine->kernels.name();
    timings.threads = threads;
    timings.sequences = sequences;
    timings.weight_bytes = matrix_bytes;
    timings.read_bandwidth = read_bandwidth(engines.matrices(engine->kernels), threads);
    if (guesser != nullptr) {
        timings.draft = draft_quantization == Quantization::int4 ? "int4" : "int8";
        timings.draft_bytes = engines.matrix_bytes(guesser->kernels);
    }
    if (timings_file != nullptr) {
        timings_file->write(json(timings));
        timings_file->commit();
    }
    if (!options.quiet) {
        std::string text = lines(timings);
        if (options.temperature != 0.0f) text += "reference: seed " + std::to_string(seed) + "\n";
        std::fputs(text.c_str(), stderr);
    }
}

/// A file that is opened while a standard stream is closed would take its number, and what is printed would go into that file.
/// So nothing is opened without a standard output; the others are replaced by /dev/null. Throws Error.
void check_standard_streams() {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (fcntl(stream, F_GETFD) != -1) continue;
        if (stream == STDOUT_FILENO) throw Error("stdout", "write", "it is closed");
        open("/dev/null", O_RDWR);  // the lowest number that is free
    }
}

}  // namespace
}  // namespace llama512

int main(int argc, char** argv) {
    using namespace llama512;
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is then an error of write, and is reported like any other
    try {
        check_standard_streams();
        const Options options = parse_options(argc, argv);
        if (options.help) {
            print(kHelp);
        } else if (options.version) {
            print("reference (llama512) " LLAMA512_VERSION "\n");
        } else {
            run(options);
        }
        return 0;
    } catch (const UsageError& error) {
        report_error("reference", error.what());
        return 2;
    } catch (const std::bad_alloc&) {
        report_error("reference", "memory: not enough for this model and context");
        return 1;
    } catch (const std::exception& error) {
        report_error("reference", error.what());
        return 1;
    }
}
