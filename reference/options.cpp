#include "options.hpp"

#include <charconv>
#include <functional>
#include <string_view>
#include <vector>

namespace llama512 {

const char* const kHelp =
    R"(Tells a story with a Llama 2 model: the readable reference engine of llama512.

Usage: reference -m FILE [options]

Model:
  -m, --model FILE      checkpoint in llama2.c's format: v0, v1 or v2;
                        or GGUF v1 to v3 of architecture llama: F32, F16, BF16, Q8_0, Q4_0
      --tokenizer FILE  llama2.c's tokenizer.bin, or a GGUF file; default: a GGUF file's own, or else,
                        beside the model, the first that exists of:
                        STEM.tokenizer.bin, tokenizer.bin, tok<vocab_size>.bin

Prompt (default: none, the story starts from BOS):
  -p, --prompt TEXT     UTF-8; invalid UTF-8 is refused, which llama2.c accepts
  -f, --file FILE       read the prompt from a file; one final newline is dropped

Length (default: until the model stops with BOS or the context, seq_len, is full):
  -n, --predict N       tokens to generate after the prompt
      --steps N         positions, prompt included, as llama2.c's -n;
                        0, and more than seq_len, mean seq_len
                        (with both, the first limit that is reached ends the text)

Choice of the next token:
      --temp T          temperature; 0 is greedy (default), else 0.001 to 1000
      --top-p P         keep the most likely tokens of total probability P, 0 to 1;
                        0 and 1 keep all (default 0.9, for race 1; no effect when greedy)
      --sampler NAME    top-p: from the most likely tokens, as llama2.c does (default);
                        race: by the exponential race, as the golfed engines do; from all tokens, and with
                        --top-p from the most likely ones (any seed, 0 too)
  -s, --seed N          the same seed gives the same text; without one, and for top-p with 0, it is
                        taken from the clock, and the timing line shows it

Speed:
      --kernels NAME    fast (default): the widest vectors of this processor; or those of one level:
                        fast-baseline, fast-avx2, fast-avx512, which all compute the same;
                        plain: the loops of ops.cpp, the definition of right
      --quantize NAME   int8 or int4: round the matrices to 8 or 4 bits a weight, in groups of 64 or 32 with a scale, and
                        multiply in integers. Other tokens than float32's may come out
      --draft NAME      int8 or int4: such a copy of the model guesses tokens ahead, which one float32 pass then confirms or
                        corrects (see draft.hpp). The tokens are float32's, in less time. none: without. Default: int8 where
                        it pays, for one long story by a model of more than 32 MB
      --draft-max N     guesses at a time at most, 1 to 64 (default 7)
  -t, --threads N       1 to 1024 (default: the physical cores; what is small is computed by one)
  -b, --batch-size N    tokens of prompts that share a pass over the weights, 1 to 4096 (default 32)

Many stories:
      --batch FILE      a story for each line of FILE, its prompt (an empty line: none); written to stdout as lines of JSON:
                        index (from 0), prompt, text, tokens, tokens_per_second, and the seed, which is --seed plus index.
                        Every story is what it would be alone
      --batch-folder DIR  write the texts to DIR/1.txt, DIR/2.txt and so on instead
  -np, --parallel N     stories told at a time, sharing each pass over the weights, 1 to 4096 (default 8)

Output:
      --tokens          print token ids, one per line, BOS first, instead of text
      --logits FILE     write the logits: float32, vocab_size values per position
      --extremes FILE   write the largest magnitudes of the run, a line each: NAME VALUE LAYER POSITION,
                        where NAME is score, gate, up or rms (see Extremes in transformer.hpp)
      --timings FILE    write the timings: a JSON object
      --quiet           no timing lines on stderr
      --version         print the version
  -h, --help            print this help

Exit status: 0 success, 1 a file, prompt or output is bad, 2 the command line is bad.

Examples:
  reference -m stories260K.bin
  reference -m stories260K.bin -p "The dragon was sad" -n 80
  reference -m stories260K.bin --temp 0.8 --top-p 0.9 --seed 1 --steps 96
  reference -m stories260K.bin --temp 0.8 --sampler race --seed 0
  reference -m stories260K.bin --tokens --quiet --logits logits.f32
  reference -m stories260K.gguf
  reference -m stories15M.bin --batch prompts.txt -np 16 --temp 0.8 --seed 1
)";

namespace {

constexpr float kMinTemperature = 0.001f;  // below, logits / temperature may overflow
constexpr float kMaxTemperature = 1000.0f;
constexpr std::size_t kMaxCount = 1'000'000'000;

[[noreturn]] void fail(const std::string& flag, const std::string& message) {
    throw UsageError(flag + ": " + message + "; see reference --help");
}

/// The whole of `text` as a number, or UsageError.
template <typename T>
T parse_number(const std::string& flag, const std::string& text, const char* what, T min, T max) {
    T value{};
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    // Written so that NaN, which compares false with everything, is refused.
    if (error != std::errc() || stopped != end || !(value >= min && value <= max)) {
        fail(flag, "'" + text + "' is not " + what);
    }
    return value;
}

/// One flag of the command line, and what to do with it.
struct Flag {
    const char* short_name;  // may be null
    const char* long_name;
    bool takes_value;
    std::function<void(const std::string& flag, const std::string& value)> set;
};

std::vector<Flag> make_flags(Options& o) {
    using S = const std::string&;
    const auto text = [](std::string& target) {
        return [&target](S flag, S value) {
            if (value.empty()) fail(flag, "'' is not a file name");
            target = value;
        };
    };
    const auto on = [](bool& target) { return [&target](S, S) { target = true; }; };
    const auto parse_quantization = [](S flag, S value) {
        if (value != "int8" && value != "int4") fail(flag, "'" + value + "' is not a quantization: int8 or int4");
        return value == "int8" ? Quantization::int8 : Quantization::int4;
    };
    const auto parse_count = [](S flag, S value) {
        return parse_number<std::size_t>(flag, value, "a whole number from 0 to 1000000000", 0, kMaxCount);
    };
    return {
        {"-m", "--model", true, text(o.model)},
        {nullptr, "--tokenizer", true, text(o.tokenizer)},
        {"-p", "--prompt", true, [&o](S, S value) { o.prompt = value; }},
        {"-f", "--file", true, text(o.prompt_file)},
        {"-n", "--predict", true, [&o, parse_count](S flag, S value) { o.predict = parse_count(flag, value); }},
        {nullptr, "--steps", true, [&o, parse_count](S flag, S value) { o.steps = parse_count(flag, value); }},
        {nullptr, "--temp", true,
         [&o](S flag, S value) {
             const char* const what = "a temperature: 0, or a number from 0.001 to 1000";
             o.temperature = parse_number<float>(flag, value, what, 0.0f, kMaxTemperature);
             if (o.temperature != 0.0f && o.temperature < kMinTemperature) fail(flag, "'" + value + "' is not " + what);
         }},
        {nullptr, "--top-p", true,
         [&o](S flag, S value) { o.top_p = parse_number<float>(flag, value, "a number from 0 to 1", 0.0f, 1.0f); }},
        {nullptr, "--sampler", true,
         [&o](S flag, S value) {
             if (value != "top-p" && value != "race") fail(flag, "'" + value + "' is not a sampler: top-p or race");
             o.sampler = value == "race" ? Method::race : Method::top_p;
         }},
        {"-s", "--seed", true,
         [&o](S flag, S value) {
             o.seed = parse_number<std::uint64_t>(flag, value, "a whole number from 0 to 2^64 - 1", 0, UINT64_MAX);
         }},
        {nullptr, "--kernels", true, text(o.kernels)},
        {nullptr, "--quantize", true,
         [&o, parse_quantization](S flag, S value) { o.quantization = parse_quantization(flag, value); }},
        {nullptr, "--draft", true,
         [&o, parse_quantization](S flag, S value) {
             o.draft = value == "none" ? Quantization::none : parse_quantization(flag, value);
         }},
        {nullptr, "--draft-max", true,
         [&o](S flag, S value) {
             o.draft_max = parse_number<std::size_t>(flag, value, "a whole number from 1 to 64", 1, 64);
         }},
        {"-t", "--threads", true,
         [&o](S flag, S value) {
             o.threads = parse_number<std::size_t>(flag, value, "a whole number from 1 to 1024", 1, 1024);
         }},
        {"-b", "--batch-size", true,
         [&o](S flag, S value) {
             o.batch_size = parse_number<std::size_t>(flag, value, "a whole number from 1 to 4096", 1, 4096);
         }},
        {nullptr, "--batch", true, text(o.batch_file)},
        {nullptr, "--batch-folder", true, text(o.batch_folder)},
        {"-np", "--parallel", true,
         [&o](S flag, S value) {
             o.parallel = parse_number<std::size_t>(flag, value, "a whole number from 1 to 4096", 1, 4096);
         }},
        {nullptr, "--timings", true, text(o.timings_file)},
        {nullptr, "--tokens", false, on(o.tokens)},
        {nullptr, "--logits", true, text(o.logits_file)},
        {nullptr, "--extremes", true, text(o.extremes_file)},
        {nullptr, "--quiet", false, on(o.quiet)},
        {nullptr, "--version", false, on(o.version)},
        {"-h", "--help", false, on(o.help)},
    };
}

}  // namespace

Options parse_options(int argc, const char* const* argv) {
    Options options;
    const std::vector<Flag> flags = make_flags(options);
    bool prompt_given = false;

    for (int i = 1; i < argc; i++) {
        // --flag VALUE or --flag=VALUE
        const std::string argument = argv[i];
        const bool is_long = argument.starts_with("--");
        const std::size_t equals = is_long ? argument.find('=') : std::string::npos;
        const std::string name = argument.substr(0, equals);

        const Flag* flag = nullptr;
        for (const Flag& candidate : flags) {
            if (name == candidate.long_name || (candidate.short_name != nullptr && name == candidate.short_name)) {
                flag = &candidate;
            }
        }
        if (flag == nullptr) {
            fail(name, name.starts_with('-') ? "no such flag" : "unexpected argument, a flag is needed");
        }

        std::string value;
        if (equals != std::string::npos) {
            value = argument.substr(equals + 1);
            if (!flag->takes_value) fail(name, "'" + value + "' is given, but the flag takes no value");
        } else if (flag->takes_value) {
            i++;
            if (i == argc) fail(name, "a value is needed after it");
            value = argv[i];
        }
        flag->set(name, value);
        if (options.help || options.version) return options;
        if (flag->long_name == std::string_view("--prompt")) prompt_given = true;
    }

    if (options.model.empty()) fail("--model", "a checkpoint file is needed");
    if (prompt_given && !options.prompt_file.empty()) {
        fail("--file", "'" + options.prompt_file + "' is given as well as --prompt, only one is allowed");
    }
    const Quantization draft = options.draft.value_or(Quantization::none);
    for (const auto& [flag, quantization] : {std::pair{"--quantize", options.quantization}, {"--draft", draft}}) {
        if (quantization != Quantization::none && options.kernels == "plain") {
            fail(flag, "plain kernels compute with float32 only, fast ones are needed");
        }
    }
    if (draft != Quantization::none) {
        const auto needless = [](const char* flag) { fail("--draft", "it does not go with " + std::string(flag)); };
        if (!options.batch_file.empty()) needless("--batch: one pass is shared by many stories there");
        if (options.quantization != Quantization::none) needless("--quantize: it is float32's tokens that it keeps");
        if (!options.extremes_file.empty()) needless("--extremes: they would be those of the guesses as well");
    }
    if (!options.batch_file.empty()) {
        const auto alone = [](const char* flag) { fail(flag, "it is for one story, --batch is given as well"); };
        if (prompt_given) alone("--prompt");
        if (!options.prompt_file.empty()) alone("--file");
        if (options.tokens) alone("--tokens");
        if (!options.logits_file.empty()) alone("--logits");
    } else if (!options.batch_folder.empty()) {
        fail("--batch-folder", "'" + options.batch_folder + "' is for the stories of --batch FILE, which is not given");
    }
    return options;
}

}  // namespace llama512
