#include "timings.hpp"

#include <cstdarg>
#include <cstdio>

namespace llama512 {

using std::size_t;

namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
    char text[400];
    va_list values;
    va_start(values, pattern);
    std::vsnprintf(text, sizeof text, pattern, values);
    va_end(values);
    return text;
}

double per(double amount, double of) { return of > 0 ? amount / of : 0; }

/// "eval time = 12.34 ms / 100 runs ( 0.12 ms per token, 8103.73 tokens per second)"
std::string rate(const char* name, double seconds, size_t count, const char* unit) {
    const auto n = static_cast<double>(count);
    return format("reference: %16s = %10.2f ms / %5zu %-6s (%8.3f ms per token, %9.2f tokens per second)\n", name,
                  seconds * 1e3, count, unit, per(seconds * 1e3, n), per(n, seconds));
}

double bytes_per_second(const Timings& t) { return per(static_cast<double>(bytes_read(t)), t.eval); }

}  // namespace

std::string json(const Agreement& a) {
    if (!a.compared) return "";
    return ", \"first_difference\": " + (a.first_difference ? std::to_string(*a.first_difference) : "null");
}

size_t bytes_read(const Timings& t) { return t.passes * t.weight_bytes + t.draft_passes * t.draft_bytes; }

std::string lines(const Timings& t) {
    std::string text = format("reference: %16s = %10.2f ms\n", "load time", t.load * 1e3);
    if (t.prompt > 0) text += rate("prompt eval time", t.prompt, t.prompt_tokens, "tokens");
    text += rate("eval time", t.eval, t.eval_tokens, "runs");
    text += format("reference: %16s = %10.2f ms / %5zu tokens\n", "total time", (t.load + t.prompt + t.eval) * 1e3,
                   t.prompt_tokens + t.eval_tokens);
    text += format("reference: %16s = %10.2f GB/s, %.0f %% of the %.2f GB/s at which %zu thread%s read%s them (%s kernels%s)\n",
                   "weights read", bytes_per_second(t) / 1e9, 100 * per(bytes_per_second(t), t.read_bandwidth),
                   t.read_bandwidth / 1e9, t.threads, t.threads == 1 ? "" : "s", t.threads == 1 ? "s" : "", t.kernels.c_str(), t.draft == "none" ? "" : (", " + t.draft + " draft").c_str());
    if (t.agreement.compared) {
        text += t.agreement.first_difference
                    ? format("reference: float32 would have said another token %zu\n", *t.agreement.first_difference)
                    : "reference: float32 would have said the same tokens\n";
    }
    return text;
}

std::string json(const Timings& t) {
    return format("{\"kernels\": \"%s\", \"draft\": \"%s\", \"threads\": %zu, \"sequences\": %zu, \"load_ms\": %.3f, \"first_token_ms\": %.3f, "
                  "\"prompt_tokens\": %zu, \"prompt_ms\": %.3f, ",
                  t.kernels.c_str(), t.draft.c_str(), t.threads, t.sequences, t.load * 1e3, (t.load + t.prompt) * 1e3, t.prompt_tokens,
                  t.prompt * 1e3) +
           format("\"eval_tokens\": %zu, \"eval_ms\": %.3f, \"passes\": %zu, \"weight_bytes\": %zu, "
                  "\"draft_passes\": %zu, \"draft_bytes\": %zu, \"bytes_read\": %zu, \"read_bandwidth\": %.6g",
                  t.eval_tokens, t.eval * 1e3, t.passes, t.weight_bytes, t.draft_passes, t.draft_bytes, bytes_read(t), t.read_bandwidth) +
           json(t.agreement) + "}\n";
}

}  // namespace llama512
