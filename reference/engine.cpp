#include "engine.hpp"

#include <algorithm>
#include <utility>

#include "fast/fast.hpp"
#include "tell.hpp"

namespace llama512 {

std::string level_of(const std::string& kernels) {
    std::string names = "plain, fast";
    for (const std::string& level : fast_levels()) {
        if (kernels == "fast-" + level) return level;
        names += ", fast-" + level;
    }
    if (kernels == "fast" || kernels == "plain") return "";
    throw UsageError("--kernels: '" + kernels + "' is not a name of kernels that this processor runs: " + names);
}

std::unique_ptr<Engine> Engines::make(Quantization quantization, std::size_t n_sequences, std::size_t max_rows) const {
    const Config& config = checkpoint_.config();
    const Weights& weights = checkpoint_.weights();
    std::unique_ptr<const Kernels> made;
    if (quantization != Quantization::none) {
        made = quantized_kernels(quantization, config, weights, threads_, level_);
    } else if (options_.kernels != plain_kernels().name()) {
        made = fast_kernels(threads_, level_);
    }
    const Kernels& kernels = made == nullptr ? plain_kernels() : *made;
    const TransformerOptions use = {
        .kernels = &kernels, .n_sequences = n_sequences, .max_rows = max_rows, .name = options_.model};
    return std::unique_ptr<Engine>(new Engine{std::move(made), kernels, Transformer(config, weights, use)});
}

std::vector<std::span<const std::byte>> Engines::matrices(const Kernels& kernels) const {
    const Weights& w = checkpoint_.weights();
    std::vector<std::span<const std::byte>> result;
    for (const std::span<const float> matrix : {w.wq, w.wk, w.wv, w.wo, w.w1, w.w3, w.w2, w.wcls}) {
        result.push_back(kernels.stored(matrix));
    }
    return result;
}

std::size_t Engines::matrix_bytes(const Kernels& kernels) const {
    std::size_t bytes = 0;
    for (const std::span<const std::byte> matrix : matrices(kernels)) bytes += matrix.size();
    return bytes;
}

Quantization default_draft(const Options& options, std::size_t seq_len, const Kernels& kernels, std::size_t matrix_bytes) {
    constexpr std::size_t kMatrixBytes = 32 << 20;
    constexpr std::size_t kTokens = 128;
    const bool pays = matrix_bytes > kMatrixBytes && std::min(max_steps(options, 1), seq_len) >= kTokens;
    const bool wide = kernels.name() != plain_kernels().name() && kernels.name() != "fast-" + fast_levels().front();
    const bool possible = options.quantization == Quantization::none && options.batch_file.empty() && options.extremes_file.empty();
    return pays && wide && possible ? Quantization::int8 : Quantization::none;
}

}  // namespace llama512
