#include "generate.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "error.hpp"
#include "tokenizer.hpp"

namespace llama512 {

using std::size_t;
using std::to_string;

namespace {

void check_finite(const Kernels& ops, std::span<const float> logits, size_t pos, const std::string& name) {
    if (std::isfinite(ops.largest(logits))) return;
    const auto bad = std::ranges::find_if_not(logits, [](float logit) { return std::isfinite(logit); });
    throw Error(name, "logits",
                to_string(*bad) + " for token " + to_string(bad - logits.begin()) + " at position " + to_string(pos) +
                    ", finite values are needed (weights too large for float32?)");
}

/// A story that is being told, in one of the Transformer's sequences.
struct Telling {
    size_t story;
    std::vector<int> tokens;  // fed already, and those that can be fed next: the prompt, or the token that was sampled and guesses
    size_t pos = 0;           // of the first one that was not fed
};

}  // namespace

void check_prompt(size_t n_tokens, size_t seq_len, const std::string& name) {
    if (n_tokens <= seq_len) return;
    throw Error(name, "prompt",
                to_string(n_tokens) + " tokens (BOS included), at most the model's seq_len of " + to_string(seq_len) +
                    " are supported");
}

void generate(Transformer& transformer, std::span<Story> stories, const std::function<void(const Step&)>& on_step,
              const std::function<void(size_t story, size_t steps)>& on_end, const GenerateOptions& options) {
    const size_t seq_len = transformer.config().seq_len;
    const size_t vocab_size = transformer.config().vocab_size;
    for (const Story& story : stories) check_prompt(story.prompt.size(), seq_len, options.name);

    Draft* draft = options.draft;
    std::vector<std::optional<Telling>> sequences(std::min(transformer.n_sequences(), transformer.max_rows()));
    size_t n_begun = 0;
    const auto begin_next = [&]() -> std::optional<Telling> {
        while (n_begun < stories.size()) {
            const size_t number = n_begun++;
            if (stories[number].max_steps > 0) return Telling{number, stories[number].prompt};
            on_end(number, 0);
        }
        return std::nullopt;
    };

    for (std::vector<Input> batch;; batch.clear()) {
        // Each story's next token, or as much of its prompt as there is room for, one row being kept for each of the others.
        size_t reserved = 0;
        for (std::optional<Telling>& telling : sequences) {
            if (!telling) telling = begin_next();
            if (telling) reserved++;
        }
        if (reserved == 0) return;
        for (size_t sequence = 0; sequence < sequences.size(); sequence++) {
            if (!sequences[sequence]) continue;
            auto& [number, tokens, pos] = *sequences[sequence];
            const Story& story = stories[number];
            const bool all_logits = options.all_logits || story.sampler.reads_prompts();
            const size_t room = transformer.max_rows() - batch.size() - --reserved;
            const size_t last = std::min({pos + room, story.max_steps, seq_len});
            if (draft != nullptr && pos + 1 == tokens.size()) {
                const std::vector<int> guesses = draft->guess(tokens, story.sampler, last - pos - 1);
                tokens.insert(tokens.end(), guesses.begin(), guesses.end());
            }
            const size_t end = std::min(tokens.size(), last);
            for (size_t p = pos; p < end; p++) {
                batch.push_back({tokens[p], p, sequence, all_logits || p + 1 >= story.prompt.size()});
            }
        }

        std::span<const float> logits;
        try {
            logits = transformer.forward(batch);
        } catch (const Error&) {
            // A wrong guess may lead where no float32 does. The story itself may not: it goes on without guesses.
            if (draft == nullptr) throw;
            draft = nullptr;
            for (std::optional<Telling>& telling : sequences) {
                if (telling) telling->tokens.resize(std::max(telling->pos + 1, stories[telling->story].prompt.size()));
            }
            continue;
        }
        for (const Input& input : batch) {
            std::optional<Telling>& telling = sequences[input.sequence];
            const std::span<const float> row = logits.first(input.wants_logits ? vocab_size : 0);
            logits = logits.subspan(row.size());
            // After its end, and after a wrong guess, nothing counts.
            if (!telling || input.pos != telling->pos || input.token != telling->tokens[input.pos]) continue;
            Story& story = stories[telling->story];
            check_finite(transformer.kernels(), row, input.pos, options.name);
            const bool in_prompt = input.pos + 1 < story.prompt.size();
            telling->pos++;
            if (in_prompt) {
                story.sampler.skip(row);
            } else {
                const int sampled = story.sampler.sample(row);
                const bool guessed = telling->pos < telling->tokens.size() && telling->tokens[telling->pos] == sampled;
                if (!guessed) {
                    telling->tokens.resize(telling->pos);
                    telling->tokens.push_back(sampled);
                }
            }
            const int next = telling->tokens[telling->pos];
            on_step({input.pos, input.token, row, next, in_prompt, telling->story});
            if (next == kBos || telling->pos == std::min(story.max_steps, seq_len)) {
                on_end(telling->story, telling->pos);
                telling.reset();
            }
        }
    }
}

size_t generate(Transformer& transformer, const Sampler& sampler, std::span<const int> prompt, size_t max_steps,
                const std::function<void(const Step&)>& on_step, const GenerateOptions& options) {
    Story story{{prompt.begin(), prompt.end()}, sampler, max_steps};
    size_t n_steps = 0;
    generate(transformer, std::span(&story, 1), on_step, [&](size_t, size_t steps) { n_steps = steps; }, options);
    return n_steps;
}

}  // namespace llama512
