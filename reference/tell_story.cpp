#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.hpp"
#include "files/output_file.hpp"
#include "generate.hpp"
#include "tell.hpp"

namespace llama512 {
namespace {

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

std::vector<int> read_prompt(const Options& options, const Tokenizer& tokenizer, const Config& config) {
    if (options.prompt_file.empty()) return encode_prompt(options.prompt, "--prompt", tokenizer, config);
    const std::size_t max_size = max_prompt_bytes(tokenizer, config);
    return encode_prompt(read_prompt_file(options.prompt_file, max_size), options.prompt_file, tokenizer, config);
}

}  // namespace

Timings tell_story(const Setup& setup) {
    const Options& options = setup.options;
    const Config& config = setup.transformer.config();
    const std::vector<int> prompt = read_prompt(options, setup.tokenizer, config);
    const auto logits_file = open_output(options.logits_file);

    const auto print_token = [&](int previous, int token) {
        if (options.tokens) {
            print(std::to_string(token) + "\n");
        } else {
            const std::string piece = setup.tokenizer.decode(previous, token);
            if (is_printable(piece)) print(piece);
        }
    };
    Timings timings;
    timings.load = setup.load.seconds();
    const Stopwatch watch;
    std::size_t passes_of_prompt = 0;
    std::size_t draft_passes_of_prompt = 0;
    const auto draft_passes = [&] { return setup.draft == nullptr ? 0 : setup.draft->passes(); };
    std::vector<int> tokens = {kBos};
    const auto on_step = [&](const Step& step) {
        tokens.push_back(step.next);
        if (step.in_prompt || step.pos + 1 == prompt.size()) {
            timings.prompt_tokens++;
            timings.prompt = watch.seconds();
            passes_of_prompt = setup.transformer.passes();
            draft_passes_of_prompt = draft_passes();
        } else {
            timings.eval_tokens++;
        }
        if (logits_file != nullptr) logits_file->write(step.logits);
        // BOS, the first of --tokens, waits for the first pass: a model that fails there prints nothing.
        if (step.pos == 0 && options.tokens) print_token(kBos, step.token);
        if (step.next != kBos) print_token(step.token, step.next);
    };
    const std::size_t limit = max_steps(options, prompt.size());
    const GenerateOptions generate_options = {.all_logits = logits_file != nullptr, .draft = setup.draft, .name = options.model};
    const std::size_t steps = generate(setup.transformer, setup.sampler(setup.seed), prompt, limit, on_step, generate_options);
    if (steps == 0 && options.tokens) print_token(kBos, prompt[0]);
    if (!options.tokens) print("\n");
    if (logits_file != nullptr) logits_file->commit();

    timings.eval = watch.seconds() - timings.prompt;
    timings.passes = setup.transformer.passes() - passes_of_prompt;
    timings.draft_passes = draft_passes() - draft_passes_of_prompt;
    timings.agreement = compare(setup, tokens, prompt.size(), setup.seed);
    return timings;
}

}  // namespace llama512
