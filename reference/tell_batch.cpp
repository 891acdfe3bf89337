#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "error.hpp"
#include "files/output_file.hpp"
#include "generate.hpp"
#include "tell.hpp"

namespace llama512 {
namespace {

constexpr std::size_t kMaxStories = 1'000'000;

/// The lines of a file, without what ends them: a newline, or CR and newline. Reads no further than a line of more than max_size
/// bytes, which can be no prompt and is cut. Throws Error for more lines than kMaxStories.
std::vector<std::string> read_lines(const std::string& path, std::size_t max_size) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) throw Error(path, "open", std::strerror(EISDIR));
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Error(path, "open", std::strerror(errno));
    std::vector<std::string> lines;
    std::string line;
    std::string buffer(max_size + 3, '\0');  // for a byte too many, CR and newline
    while (file.getline(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0) {
        line.assign(buffer, 0, static_cast<std::size_t>(file.gcount()));
        if (!file.eof() && !file.fail()) line.pop_back();  // the newline, which was counted
        if (line.ends_with('\r')) line.pop_back();
        if (lines.size() == kMaxStories) {
            throw Error(path, "lines", "more than " + std::to_string(kMaxStories) + ", so many stories are told at most");
        }
        lines.push_back(line);
    }
    if (file.bad()) throw Error(path, "read", std::strerror(errno));
    return lines;
}

/// A string of JSON, RFC 8259. A byte that belongs to no character becomes U+FFFD.
std::string json_string(const std::string& text) {
    std::string result = "\"";
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = utf8_length(std::string_view(text).substr(i));
        const char c = text[i];
        if (size == 0) {
            result += "\\ufffd";
        } else if (c == '"' || c == '\\') {
            result += {'\\', c};
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
            result += escape;
        } else {
            result += text.substr(i, size);
        }
        i += size == 0 ? 1 : size;
    }
    return result + "\"";
}

/// A story of the batch, as far as it is told.
struct Told {
    std::vector<int> tokens = {kBos};  // BOS, the prompt, and what was sampled
    std::string text;                  // of all but BOS
    double begun = 0;                  // seconds since the first pass
    double ended = 0;
    std::size_t steps = 0;
    bool complete = false;
    Agreement agreement;
};

std::string json_line(std::size_t index, const std::string& prompt, const Told& told, const Options& options,
                      std::uint64_t seed) {
    std::ostringstream line;
    line << "{\"index\": " << index << ", \"prompt\": " << json_string(prompt) << ", \"text\": " << json_string(told.text)
         << ", \"tokens\": [";
    for (std::size_t i = 0; i < told.tokens.size(); i++) line << (i == 0 ? "" : ", ") << told.tokens[i];
    line << "]";
    if (options.temperature != 0.0f) line << ", \"seed\": " << seed;
    line << json(told.agreement);
    const double seconds = told.ended - told.begun;
    line << ", \"tokens_per_second\": " << (seconds > 0 ? static_cast<double>(told.steps) / seconds : 0) << "}\n";
    return line.str();
}

/// The file in --batch-folder of story `index`.
std::string story_file(const Options& options, std::size_t index) {
    return options.batch_folder + "/" + std::to_string(index + 1) + ".txt";
}

/// Makes --batch-folder. Throws Error where a story would be written over a file that was read.
void prepare_folder(const Setup& setup, std::size_t n_stories) {
    const Options& options = setup.options;
    std::error_code failed;
    std::filesystem::create_directories(options.batch_folder, failed);
    if (failed) throw Error(options.batch_folder, "create", failed.message());
    for (std::size_t i = 0; i < n_stories; i++) refuse_overwriting(setup.inputs, story_file(options, i), "--batch-folder");
}

}  // namespace

Timings tell_batch(const Setup& setup) {
    const Options& options = setup.options;
    const Config& config = setup.transformer.config();
    const std::vector<std::string> prompts = read_lines(options.batch_file, max_prompt_bytes(setup.tokenizer, config));
    if (!prompts.empty() && prompts.size() - 1 > std::numeric_limits<std::uint64_t>::max() - setup.seed) {
        throw UsageError("--seed: " + std::to_string(setup.seed) + " is too large to be counted on for each of " +
                         std::to_string(prompts.size()) + " lines");
    }
    std::vector<Story> stories;
    for (std::size_t i = 0; i < prompts.size(); i++) {
        const std::string source = options.batch_file + ":" + std::to_string(i + 1);
        std::vector<int> prompt = encode_prompt(prompts[i], source, setup.tokenizer, config);
        check_prompt(prompt.size(), config.seq_len, source);
        const std::size_t limit = max_steps(options, prompt.size());
        stories.push_back({std::move(prompt), setup.sampler(setup.seed + i), limit});
    }
    if (!options.batch_folder.empty()) prepare_folder(setup, stories.size());

    Timings timings;
    timings.load = setup.load.seconds();
    const Stopwatch watch;
    std::vector<Told> told(stories.size());
    std::size_t next_to_print = 0;
    double not_telling = 0;  // seconds that the comparisons took
    const auto on_step = [&](const Step& step) {
        Told& story = told[step.story];
        if (step.pos == 0) story.begun = watch.seconds() - not_telling;
        (step.pos < stories[step.story].prompt.size() ? timings.prompt_tokens : timings.eval_tokens)++;
        story.tokens.push_back(step.next);
        if (step.next == kBos) return;
        const std::string piece = setup.tokenizer.decode(step.token, step.next);
        if (is_printable(piece)) story.text += piece;
    };
    const auto on_end = [&](std::size_t number, std::size_t steps) {
        told[number].ended = watch.seconds() - not_telling;
        told[number].steps = steps;
        told[number].complete = true;
        const Stopwatch comparing;
        told[number].agreement = compare(setup, told[number].tokens, stories[number].prompt.size(), setup.seed + number);
        not_telling += comparing.seconds();
        if (told[number].tokens.size() > 1 && told[number].tokens.back() == kBos) told[number].tokens.pop_back();
        // Lines are written in the order of the file, as soon as all before are told.
        for (; next_to_print < told.size() && told[next_to_print].complete; next_to_print++) {
            const std::size_t i = next_to_print;
            if (options.batch_folder.empty()) {
                print(json_line(i, prompts[i], told[i], options, setup.seed + i));
            } else {
                OutputFile file(story_file(options, i));
                file.write(told[i].text + "\n");
                file.commit();
            }
            told[i] = {};
        }
    };
    generate(setup.transformer, stories, on_step, on_end, {.name = options.model});
    timings.eval = watch.seconds() - not_telling;
    timings.passes = setup.transformer.passes();
    return timings;
}

}  // namespace llama512
