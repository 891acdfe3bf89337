#include "gguf_writer.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <stdexcept>

namespace llama512::test {

namespace {

template <typename T>
std::string bytes_of(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string size_bytes(std::uint64_t size, std::uint32_t version) {
    return version == 1 ? bytes_of(static_cast<std::uint32_t>(size)) : bytes_of(size);
}

std::string text_bytes(const std::string& text, std::uint32_t version) { return size_bytes(text.size(), version) + text; }

std::string value_bytes(const MetaValue& value, std::uint32_t version) {
    if (value.type == 8) return text_bytes(value.bytes, version);
    if (value.type != 9) return value.bytes;
    std::string bytes = bytes_of(value.element_type) + size_bytes(value.elements.size(), version);
    for (const MetaValue& element : value.elements) bytes += value_bytes(element, version);
    return bytes;
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

/// The float16 of a value that it holds without loss, in its normal range or 0.
std::uint16_t float16_bits(float value) {
    int exponent;
    const float fraction = std::frexp(std::abs(value), &exponent);  // 0.5 to 1
    const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
    if (fraction == 0.0f) return sign;
    return static_cast<std::uint16_t>(sign | (exponent + 14) << 10 | (static_cast<int>(fraction * 2048.0f) & 0x3FF));
}

}  // namespace

MetaValue meta(std::uint8_t value) { return {0, bytes_of(value), 0, {}}; }
MetaValue meta(std::int8_t value) { return {1, bytes_of(value), 0, {}}; }
MetaValue meta(std::uint16_t value) { return {2, bytes_of(value), 0, {}}; }
MetaValue meta(std::int16_t value) { return {3, bytes_of(value), 0, {}}; }
MetaValue meta(std::uint32_t value) { return {4, bytes_of(value), 0, {}}; }
MetaValue meta(std::int32_t value) { return {5, bytes_of(value), 0, {}}; }
MetaValue meta(float value) { return {6, bytes_of(value), 0, {}}; }
MetaValue meta(bool value) { return {7, bytes_of(value), 0, {}}; }
MetaValue meta(const char* text) { return {8, text, 0, {}}; }
MetaValue meta(const std::string& text) { return {8, text, 0, {}}; }
MetaValue meta(std::uint64_t value) { return {10, bytes_of(value), 0, {}}; }
MetaValue meta(std::int64_t value) { return {11, bytes_of(value), 0, {}}; }
MetaValue meta(double value) { return {12, bytes_of(value), 0, {}}; }

MetaValue meta_array(std::uint32_t type, std::vector<MetaValue> elements) { return {9, "", type, std::move(elements)}; }

float quantum(std::uint32_t type) { return type == kQ4_0 ? 1.0f / 16 : 1.0f / 256; }

std::string encode(std::uint32_t type, const std::vector<float>& values) {
    std::string bytes;
    if (type == kF32 || type == kF16 || type == kBF16) {
        for (const float value : values) {
            if (type == kF32) bytes += bytes_of(value);
            if (type == kF16) bytes += bytes_of(float16_bits(value));
            if (type == kBF16) {
                bytes += bytes_of(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
            }
        }
        return bytes;
    }
    const auto q = [&](std::size_t i) { return static_cast<int>(values[i] / quantum(type)); };
    for (std::size_t start = 0; start < values.size(); start += 32) {
        bytes += bytes_of(float16_bits(quantum(type)));
        for (std::size_t i = start; i < start + (type == kQ8_0 ? 32 : 16); i++) {
            bytes += static_cast<char>(type == kQ8_0 ? q(i) : (q(i) + 8) | (q(i + 16) + 8) << 4);
        }
    }
    return bytes;
}

std::vector<float> random_values_of(std::uint32_t type, std::size_t n, std::uint32_t seed) {
    std::mt19937 random(seed);
    const int levels = type == kQ4_0 ? 16 : 256;
    std::vector<float> values;
    for (std::size_t i = 0; i < n; i++) {
        values.push_back(static_cast<float>(static_cast<int>(random() % unsigned(levels)) - levels / 2) * quantum(type));
    }
    return values;
}

void GgufFile::set(const std::string& key, MetaValue value) {
    for (auto& [name, old] : metadata) {
        if (name == key) {
            old = std::move(value);
            return;
        }
    }
    metadata.emplace_back(key, std::move(value));
}

void GgufFile::erase(const std::string& key) {
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
}

TensorEntry& GgufFile::tensor(const std::string& name) {
    const auto found = std::ranges::find(tensors, name, &TensorEntry::name);
    if (found == tensors.end()) throw std::out_of_range(name);
    return *found;
}

std::string GgufFile::head() const {
    std::string bytes = "GGUF" + bytes_of(version) + size_bytes(tensor_count.value_or(tensors.size()), version) +
                        size_bytes(metadata_count.value_or(metadata.size()), version);
    for (const auto& [key, value] : metadata) {
        bytes += text_bytes(key, version) + bytes_of(value.type) + value_bytes(value, version);
    }
    std::uint64_t next = 0;
    for (const TensorEntry& tensor : tensors) {
        bytes += text_bytes(tensor.name, version) + bytes_of(static_cast<std::uint32_t>(tensor.dimensions.size()));
        for (const std::uint64_t dimension : tensor.dimensions) bytes += size_bytes(dimension, version);
        bytes += bytes_of(tensor.type) + bytes_of(tensor.offset.value_or(next));
        next = round_up(next + tensor.data.size(), alignment);
    }
    return bytes;
}

std::string GgufFile::bytes() const {
    std::string bytes = head();
    for (const TensorEntry& tensor : tensors) {
        bytes.resize(round_up(bytes.size(), alignment));
        bytes += tensor.data;
    }
    return bytes;
}

std::vector<std::string> tiny_tokens(std::size_t vocab_size) {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    for (int byte = 0; byte < 256; byte++) {
        const char* const digits = "0123456789ABCDEF";
        tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
    }
    for (const char* text : {"\u2581", "a", "b", "c", "ab", "\u2581ab", "\u2581c", "abc", "\u2581\u2581", "d", "de"}) {
        tokens.push_back(text);
    }
    tokens.resize(vocab_size, "x");
    return tokens;
}

GgufFile gguf_of(const TinyModel& model, std::uint32_t type) {
    const Config& c = model.config;
    GgufFile file;
    const auto number = [](std::size_t value) { return meta(static_cast<std::uint32_t>(value)); };
    file.set("general.architecture", meta("llama"));
    file.set("llama.context_length", number(c.seq_len));
    file.set("llama.embedding_length", number(c.dim));
    file.set("llama.block_count", number(c.n_layers));
    file.set("llama.feed_forward_length", number(c.hidden_dim));
    file.set("llama.rope.dimension_count", number(c.head_size()));
    file.set("llama.attention.head_count", number(c.n_heads));
    file.set("llama.attention.head_count_kv", number(c.n_kv_heads));
    file.set("llama.attention.layer_norm_rms_epsilon", meta(c.rms_epsilon));
    file.set("llama.rope.freq_base", meta(c.rope_theta));

    const std::vector<std::string> tokens = tiny_tokens(c.vocab_size);
    std::vector<float> scores;
    std::vector<std::int32_t> types;
    for (std::size_t i = 0; i < tokens.size(); i++) {
        scores.push_back(static_cast<float>(i));  // later pieces merge first
        types.push_back(i == 0 ? 2 : i < 3 ? 3 : i < 3 + 256 ? 6 : 1);
    }
    file.set("tokenizer.ggml.model", meta("llama"));
    file.set("tokenizer.ggml.tokens", meta_array(tokens));
    file.set("tokenizer.ggml.scores", meta_array(scores));
    file.set("tokenizer.ggml.token_type", meta_array(types));
    file.set("tokenizer.ggml.bos_token_id", meta(std::uint32_t{1}));
    file.set("tokenizer.ggml.eos_token_id", meta(std::uint32_t{2}));

    const auto add = [&](const std::string& name, const std::vector<float>& stack, std::size_t layer, std::size_t rows,
                         std::size_t columns) {
        const auto start = stack.begin() + static_cast<std::ptrdiff_t>(layer * rows * columns);
        const std::vector<float> values(start, start + static_cast<std::ptrdiff_t>(rows * columns));
        const std::uint32_t stored = rows == 1 ? kF32 : type;  // norms
        std::vector<std::uint64_t> dimensions = {columns};
        if (rows > 1) dimensions.push_back(rows);
        file.tensors.push_back({name + ".weight", dimensions, stored, encode(stored, values)});
    };
    add("token_embd", model.token_embedding, 0, c.vocab_size, c.dim);
    for (std::size_t layer = 0; layer < c.n_layers; layer++) {
        const std::string block = "blk." + std::to_string(layer) + ".";
        add(block + "attn_norm", model.rms_att, layer, 1, c.dim);
        add(block + "ffn_down", model.w2, layer, c.dim, c.hidden_dim);
        add(block + "ffn_gate", model.w1, layer, c.hidden_dim, c.dim);
        add(block + "ffn_up", model.w3, layer, c.hidden_dim, c.dim);
        add(block + "ffn_norm", model.rms_ffn, layer, 1, c.dim);
        add(block + "attn_k", model.wk, layer, c.kv_dim(), c.dim);
        add(block + "attn_output", model.wo, layer, c.dim, c.dim);
        add(block + "attn_q", model.wq, layer, c.dim, c.dim);
        add(block + "attn_v", model.wv, layer, c.kv_dim(), c.dim);
    }
    add("output_norm", model.rms_final, 0, 1, c.dim);
    if (!model.tied) add("output", model.wcls, 0, c.vocab_size, c.dim);
    return file;
}

}  // namespace llama512::test
