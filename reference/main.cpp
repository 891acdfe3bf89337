// The program `reference`, from the command line to a story on stdout.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"
#include "files/checkpoint.hpp"
#include "files/output_file.hpp"
#include "files/vocabulary.hpp"
#include "generate.hpp"
#include "options.hpp"
#include "sampler.hpp"
#include "tokenizer.hpp"
#include "transformer.hpp"

namespace llama512 {
namespace {

/// Writes to stdout at once, so that the text streams.
void print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
        throw Error("stdout", "write", std::strerror(errno));
    }
}

/// The file's text, without one final newline. Reads no more than max_size + 1 bytes of text.
std::string read_prompt_file(const std::string& path, std::size_t max_size) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (file == nullptr) throw Error(path, "open", std::strerror(errno));
    std::string text(max_size + 2, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get())) throw Error(path, "read", std::strerror(errno));
    if (text.ends_with('\n')) text.pop_back();
    return text;
}

/// The prompt's tokens, BOS first.
std::vector<int> encode_prompt(const Options& options, const Tokenizer& tokenizer, const Config& config) {
    // A longer text can be refused without counting its tokens, which takes long for a very long text.
    const std::size_t max_size = config.seq_len * tokenizer.longest_piece();
    const bool from_file = !options.prompt_file.empty();
    const std::string source = from_file ? options.prompt_file : "--prompt";
    const std::string text = from_file ? read_prompt_file(options.prompt_file, max_size) : options.prompt;
    if (text.size() > max_size) {
        throw Error(source, "size", "more than " + std::to_string(max_size) + " bytes, the model's seq_len of " +
                                        std::to_string(config.seq_len) + " tokens of at most " +
                                        std::to_string(tokenizer.longest_piece()) + " bytes cannot hold it");
    }
    return tokenizer.encode(text, source);
}

/// The number of forward passes that --steps and --predict allow.
std::size_t max_steps(const Options& options, std::size_t prompt_size, std::size_t seq_len) {
    std::size_t steps = options.steps == 0 ? seq_len : std::min(options.steps, seq_len);
    // The pass of the prompt's last token gives the first generated token.
    if (options.predict) steps = std::min(steps, prompt_size - 1 + *options.predict);
    return steps;
}

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
    const Checkpoint checkpoint(options.model);
    const Config& config = checkpoint.config();
    Vocabulary vocabulary = options.tokenizer.empty() ? checkpoint.vocabulary()
                                                      : read_vocabulary(options.tokenizer, config.vocab_size);
    const std::string tokenizer_file = vocabulary.name;
    const Tokenizer tokenizer(std::move(vocabulary));
    for (const std::string& input : {options.model, tokenizer_file, options.prompt_file}) {
        std::error_code ignored;
        if (std::filesystem::equivalent(options.logits_file, input, ignored)) {
            throw Error(options.logits_file, "--logits", "this would overwrite " + input + ", another file is needed");
        }
    }
    const std::vector<int> prompt = encode_prompt(options, tokenizer, config);
    const bool seeded = options.seed && (*options.seed != 0 || options.sampler == Method::race);
    const std::uint64_t seed = seeded ? *options.seed : seed_from_clock();
    Transformer transformer(config, checkpoint.weights(), options.model);
    const float top_p = options.top_p.value_or(options.sampler == Method::race ? 1.0f : 0.9f);
    Sampler sampler(options.temperature, top_p, seed, options.sampler);
    const auto logits_file = open_output(options.logits_file);
    const auto extremes_file = open_output(options.extremes_file);

    const auto print_token = [&](int previous, int token) {
        if (options.tokens) {
            print(std::to_string(token) + "\n");
        } else {
            const std::string piece = tokenizer.decode(previous, token);
            if (is_printable(piece)) print(piece);
        }
    };
    const auto on_step = [&](const Step& step) {
        if (logits_file != nullptr) logits_file->write(step.logits);
        // BOS, the first of --tokens, waits for the first pass: a model that fails there prints nothing.
        if (step.pos == 0 && options.tokens) print_token(kBos, step.token);
        if (step.next != kBos) print_token(step.token, step.next);
    };

    const auto start = std::chrono::steady_clock::now();
    const std::size_t limit = max_steps(options, prompt.size(), config.seq_len);
    const std::size_t steps = generate(transformer, sampler, prompt, limit, on_step, options.model);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (steps == 0 && options.tokens) print_token(kBos, prompt[0]);
    if (!options.tokens) print("\n");
    if (logits_file != nullptr) logits_file->commit();
    if (extremes_file != nullptr) write_extremes(*extremes_file, transformer.extremes());

    if (!options.quiet) {
        std::fprintf(stderr, "reference: %zu tokens in %.3f s, %.0f tokens/s", steps, seconds.count(),
                     static_cast<double>(steps) / seconds.count());
        if (options.temperature != 0.0f) std::fprintf(stderr, ", seed %llu", static_cast<unsigned long long>(seed));
        std::fprintf(stderr, "\n");
    }
}

}  // namespace
}  // namespace llama512

int main(int argc, char** argv) {
    using namespace llama512;
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is then an error of write, and is reported like any other
    try {
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
