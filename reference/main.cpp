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

/// The level of --kernels, empty: the widest. Throws UsageError where this processor has no kernels of that name.
std::string level_of(const std::string& kernels) {
    std::string names = "plain, fast";
    for (const std::string& level : fast_levels()) {
        if (kernels == "fast-" + level) return level;
        names += ", fast-" + level;
    }
    if (kernels == "fast" || kernels == "plain") return "";
    throw UsageError("--kernels: '" + kernels + "' is not a name of kernels that this processor runs: " + names);
}

/// The bytes of the matrices, which one pass reads.
std::vector<std::span<const std::byte>> matrices(const Weights& w, const Kernels& kernels) {
    std::vector<std::span<const std::byte>> result;
    for (const std::span<const float> matrix : {w.wq, w.wk, w.wv, w.wo, w.w1, w.w3, w.w2, w.wcls}) {
        result.push_back(kernels.stored(matrix));
    }
    return result;
}

/// A draft pays where a pass waits for memory, which it does for matrices that no core's own cache holds, and for so many
/// tokens that the time to round them is won back; and where a few rows cost hardly more than one, as the vectors are wide.
Quantization default_draft(const Options& options, const Config& config, const Weights& weights, const Kernels& kernels) {
    constexpr std::size_t kMatrixBytes = 32 << 20;
    constexpr std::size_t kTokens = 128;
    std::size_t bytes = 0;
    for (const auto matrix : matrices(weights, kernels)) bytes += matrix.size();
    const bool pays = bytes > kMatrixBytes && std::min(max_steps(options, 1), config.seq_len) >= kTokens;
    const bool possible = options.quantization == Quantization::none && options.batch_file.empty() &&
                          options.extremes_file.empty() && options.kernels != "plain" &&
                          kernels.name() != "fast-" + fast_levels().front();
    return pays && possible ? Quantization::int8 : Quantization::none;
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

    std::unique_ptr<Kernels> fast;
    if (options.quantization != Quantization::none) {
        fast = quantized_kernels(options.quantization, config, checkpoint.weights(), threads, level);
    } else if (options.kernels != plain_kernels().name()) {
        fast = fast_kernels(threads, level);
    }
    const Kernels& kernels = fast == nullptr ? plain_kernels() : *fast;

    const bool many = !options.batch_file.empty();
    const std::size_t sequences = many ? options.parallel : 1;
    Transformer transformer(config, checkpoint.weights(),
                            {.kernels = &kernels,
                             .n_sequences = sequences,
                             .max_rows = std::max({sequences, options.batch_size, options.draft_max + 1}),
                             .name = options.model});
    const bool seeded = options.seed && (*options.seed != 0 || options.sampler == Method::race);
    const std::uint64_t seed = seeded ? *options.seed : seed_from_clock();
    const float top_p = options.top_p.value_or(options.sampler == Method::race ? 1.0f : 0.9f);
    const auto sampler = [&](std::uint64_t story_seed) {
        return Sampler(options.temperature, top_p, story_seed, options.sampler, kernels);
    };
    const auto extremes_file = open_output(options.extremes_file);
    const auto timings_file = open_output(options.timings_file);

    // The draft shares the model's weights, but for the matrices.
    std::unique_ptr<Kernels> draft_kernels;
    std::optional<Transformer> draft_model;
    std::optional<Draft> draft;
    const Quantization draft_quantization = options.draft.value_or(default_draft(options, config, checkpoint.weights(), kernels));
    if (draft_quantization != Quantization::none) {
        draft_kernels = quantized_kernels(draft_quantization, config, checkpoint.weights(), threads, level);
        draft_model.emplace(config, checkpoint.weights(),
                            TransformerOptions{.kernels = draft_kernels.get(), .max_rows = options.batch_size, .name = options.model});
        draft.emplace(*draft_model, options.draft_max);
    }

    // What --quantize changes is told beside the timings.
    std::unique_ptr<Kernels> exact_kernels;
    std::optional<Transformer> unrounded;
    if (options.quantization != Quantization::none && (!options.quiet || timings_file != nullptr)) {
        exact_kernels = fast_kernels(threads, level);
        unrounded.emplace(config, checkpoint.weights(),
                          TransformerOptions{.kernels = exact_kernels.get(), .max_rows = options.batch_size, .name = options.model});
    }

    const Setup setup{options, tokenizer, transformer, draft ? &*draft : nullptr, unrounded ? &*unrounded : nullptr,
                      sampler, seed, load, inputs};
    Timings timings = many ? tell_batch(setup) : tell_story(setup);

    if (extremes_file != nullptr) write_extremes(*extremes_file, transformer.extremes());
    if (options.quiet && timings_file == nullptr) return;
    timings.kernels = kernels.name();
    timings.threads = threads;
    timings.sequences = sequences;
    const auto read = matrices(checkpoint.weights(), kernels);
    for (const auto matrix : read) timings.weight_bytes += matrix.size();
    timings.read_bandwidth = read_bandwidth(read, threads);
    if (draft) {
        timings.draft = draft_quantization == Quantization::int4 ? "int4" : "int8";
        for (const auto matrix : matrices(checkpoint.weights(), *draft_kernels)) timings.draft_bytes += matrix.size();
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
