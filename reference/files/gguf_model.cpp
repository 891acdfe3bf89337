#include "files/gguf_model.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "error.hpp"
#include "files/gguf_vocabulary.hpp"
#include "ops.hpp"
#include "tokenizer.hpp"

namespace llama512 {

namespace {

using std::size_t;
using std::string;
using std::string_view;
using std::to_string;

// Keys that this file reads.
constexpr const char* kDimKey = "llama.embedding_length";
constexpr const char* kHiddenDimKey = "llama.feed_forward_length";
constexpr const char* kLayersKey = "llama.block_count";
constexpr const char* kHeadsKey = "llama.attention.head_count";
constexpr const char* kKvHeadsKey = "llama.attention.head_count_kv";
constexpr const char* kContextKey = "llama.context_length";
constexpr const char* kHeadSizeKeys[] = {"llama.rope.dimension_count", "llama.attention.key_length",
                                         "llama.attention.value_length"};
constexpr const char* kVocabSizeKey = "llama.vocab_size";
constexpr const char* kEpsilonKey = "llama.attention.layer_norm_rms_epsilon";
constexpr const char* kThetaKey = "llama.rope.freq_base";
constexpr const char* kBosKey = "tokenizer.ggml.bos_token_id";

/// A key that may be there only with a value that changes nothing, as Gguf::describe writes it.
struct NeutralKey {
    const char* key;
    std::vector<string_view> values;
    const char* reason;
};

const std::vector<NeutralKey>& neutral_keys() {
    static const std::vector<NeutralKey> keys = {
        {"general.type", {"'model'"}, "adapters and projectors are not supported"},
        {"general.quantization_version", {"2"}, "convert the model again, with a newer llama.cpp"},
        {"split.count", {"1", "0"}, "join the parts with llama.cpp's llama-gguf-split --merge"},
        {"llama.expert_count", {"0"}, "mixtures of experts are not supported"},
        {"llama.expert_used_count", {"0"}, "mixtures of experts are not supported"},
        {"llama.attention.causal", {"true"}, "each position attends to those before it"},
        {"llama.attention.sliding_window", {"0"}, "each position attends to all before it"},
        {"llama.use_parallel_residual", {"false"}, "the feed-forward layer reads what attention has added to"},
        {"llama.rope.scaling.type", {"'none'"}, "RoPE scaling is not supported"},
        {"llama.rope.scaling.factor", {"1", "0"}, "RoPE scaling is not supported"},
        {"llama.rope.scale_linear", {"1"}, "RoPE scaling is not supported"},
        {"llama.tensor_data_layout", {"'Meta AI original pth'", "'reference'"}, "other orders of rows are not supported"},
        {"tokenizer.ggml.add_bos_token", {"true"}, "every text begins with BOS"},
    };
    return keys;
}

void refuse_what_differs(const Gguf& gguf) {
    if (gguf.text("general.architecture") != "llama") {
        gguf.refuse("general.architecture", "'llama' is needed: other architectures are not supported");
    }
    const auto& neutral = neutral_keys();
    for (const string_view key : gguf.keys()) {
        const auto found = std::ranges::find(neutral, key, &NeutralKey::key);
        if (found != neutral.end()) {
            if (std::ranges::find(found->values, gguf.describe(key)) == found->values.end()) {
                string needed(found->values[0]);
                for (size_t i = 1; i < found->values.size(); i++) needed += " or " + string(found->values[i]);
                gguf.refuse(key, needed + " is needed: " + found->reason);
            }
        } else if (key.starts_with("llama.")) {
            const auto is_key = [&](const char* known) { return key == known; };
            constexpr const char* own[] = {kDimKey,     kHiddenDimKey, kLayersKey,  kHeadsKey, kKvHeadsKey,
                                           kContextKey, kVocabSizeKey, kEpsilonKey, kThetaKey};
            if (!std::ranges::any_of(own, is_key) && !std::ranges::any_of(kHeadSizeKeys, is_key)) {
                gguf.refuse(key, "the key is unknown: what it changes is not supported");
            }
        }
    }
    const auto bos = gguf.integer(kBosKey);
    if (bos && *bos != kBos) {
        gguf.refuse(kBosKey, to_string(kBos) + " is needed: that token begins every text, and ends a story");
    }
}

std::int64_t required_integer(const Gguf& gguf, const char* key) {
    const auto value = gguf.integer(key);
    if (!value) gguf.refuse(key, "a whole number is needed");
    return *value;
}

/// A constant of the model: finite and above 0.
float positive_number(const Gguf& gguf, const char* key, std::optional<float> if_none) {
    const auto value = gguf.number(key);
    if (!value && if_none) return *if_none;
    if (!value || !std::isfinite(*value) || *value <= 0.0f) gguf.refuse(key, "a finite number above 0 is needed");
    return *value;
}

/// `n_embeddings`: the rows of the token embedding.
Config read_config(const Gguf& gguf, std::uint64_t n_embeddings) {
    const auto tokens = gguf.texts(kTokensKey);
    const char* const vocab_size_name = tokens ? kTokensKey : "token_embd.weight rows";
    const std::int64_t n_heads = required_integer(gguf, kHeadsKey);
    Config config = parse_config(
        {required_integer(gguf, kDimKey), required_integer(gguf, kHiddenDimKey), required_integer(gguf, kLayersKey),
         n_heads, gguf.integer(kKvHeadsKey).value_or(n_heads),
         static_cast<std::int64_t>(tokens ? tokens->size() : n_embeddings), required_integer(gguf, kContextKey)},
        gguf.path(), "",
        {kDimKey, kHiddenDimKey, kLayersKey, kHeadsKey, kKvHeadsKey, vocab_size_name, kContextKey});

    for (const char* const key : kHeadSizeKeys) {
        const auto value = gguf.integer(key);
        if (value && static_cast<size_t>(*value) != config.head_size()) {
            gguf.refuse(key, to_string(config.head_size()) + " is needed: " + kDimKey + " / " + kHeadsKey);
        }
    }
    const auto stated = gguf.integer(kVocabSizeKey);
    if (stated && static_cast<size_t>(*stated) != config.vocab_size) {
        gguf.refuse(kVocabSizeKey, to_string(config.vocab_size) + " is needed: the number of " + vocab_size_name);
    }
    config.rms_epsilon = positive_number(gguf, kEpsilonKey, std::nullopt);
    config.rope_theta = positive_number(gguf, kThetaKey, kRopeTheta);
    return config;
}

/// A tensor of Weights: what its parts are called in the file, one for each layer or one in all, and their shape.
struct Layout {
    std::span<const float> Weights::*view;
    const char* name;
    bool in_layers;
    size_t rows;  // 1: a vector
    size_t columns;
};

std::vector<Layout> make_layout(const Config& c) {
    return {
        {&Weights::token_embedding, "token_embd", false, c.vocab_size, c.dim},
        {&Weights::rms_att, "attn_norm", true, 1, c.dim},
        {&Weights::wq, "attn_q", true, c.dim, c.dim},
        {&Weights::wk, "attn_k", true, c.kv_dim(), c.dim},
        {&Weights::wv, "attn_v", true, c.kv_dim(), c.dim},
        {&Weights::wo, "attn_output", true, c.dim, c.dim},
        {&Weights::rms_ffn, "ffn_norm", true, 1, c.dim},
        {&Weights::w1, "ffn_gate", true, c.hidden_dim, c.dim},
        {&Weights::w2, "ffn_down", true, c.dim, c.hidden_dim},
        {&Weights::w3, "ffn_up", true, c.hidden_dim, c.dim},
        {&Weights::rms_final, "output_norm", false, 1, c.dim},
        {&Weights::wcls, "output", false, c.vocab_size, c.dim},
    };
}

/// The names of a tensor's parts in the file.
std::vector<string> part_names(const Layout& tensor, size_t n_layers) {
    if (!tensor.in_layers) return {string(tensor.name) + ".weight"};
    std::vector<string> names;
    for (size_t layer = 0; layer < n_layers; layer++) {
        names.push_back("blk." + to_string(layer) + "." + tensor.name + ".weight");
    }
    return names;
}

/// Llama 3.1's factors for the frequencies of RoPE, which change nothing when all are 1.
constexpr const char* kRopeFactors = "rope_freqs.weight";

void check_rope_factors(const Gguf& gguf, const GgufTensor& tensor) {
    std::vector<float> factors(tensor.size());
    tensor.type->dequantize(factors, tensor.data);
    for (size_t i = 0; i < factors.size(); i++) {
        if (factors[i] != 1.0f) {
            throw Error(gguf.path(), kRopeFactors, "element " + to_string(i) + " is " + to_string(factors[i]) +
                                                       ", 1 is needed: RoPE scaling is not supported");
        }
    }
}

void refuse_unknown_tensors(const Gguf& gguf, const std::vector<GgufTensor>& tensors, const std::vector<Layout>& layout,
                            size_t n_layers) {
    std::unordered_set<string> known = {kRopeFactors};
    for (const Layout& tensor : layout) {
        for (const string& name : part_names(tensor, n_layers)) known.insert(name);
    }
    for (const GgufTensor& tensor : tensors) {
        if (!known.contains(string(tensor.name))) {
            throw Error(gguf.path(), shorten(tensor.name), "unknown, a Llama 2 model of " + to_string(n_layers) +
                            " layers has no tensor of this name: biases, experts and others are not supported");
        }
        if (tensor.name == kRopeFactors) check_rope_factors(gguf, tensor);
    }
}

using TensorsByName = std::unordered_map<string_view, const GgufTensor*>;

/// The tensor of this name, whose shape is checked.
const GgufTensor& find_tensor(const Gguf& gguf, const TensorsByName& tensors, const string& name, const Layout& layout) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
        throw Error(gguf.path(), name, "none, a tensor of " + tensor_type_names() + " is needed");
    }
    const auto& d = found->second->dimensions;
    if (d[0] != layout.columns || d[1] != layout.rows || d[2] != 1 || d[3] != 1) {
        string shown = to_string(d[0]) + " x " + to_string(d[1]);
        if (d[2] != 1 || d[3] != 1) shown += " x " + to_string(d[2]) + " x " + to_string(d[3]);
        throw Error(gguf.path(), name, "dimensions " + shown + ", " + to_string(layout.columns) + " x " +
                                           to_string(layout.rows) + " are needed (columns x rows)");
    }
    return *found->second;
}

}  // namespace

Contents read_gguf_model(const Gguf& gguf, size_t threads) {
    refuse_what_differs(gguf);
    const std::vector<GgufTensor> file_tensors = gguf.tensors();
    TensorsByName tensors;
    for (const GgufTensor& tensor : file_tensors) tensors[tensor.name] = &tensor;

    const auto embedding = tensors.find("token_embd.weight");
    const Config config = read_config(gguf, embedding == tensors.end() ? 0 : embedding->second->dimensions[1]);
    std::vector<Layout> layout = make_layout(config);
    refuse_unknown_tensors(gguf, file_tensors, layout, config.n_layers);
    const bool tied = !tensors.contains("output.weight");
    if (tied) layout.pop_back();

    // The parts of each tensor, and whether it can stay where it is: then it is float32, and has no other parts.
    std::vector<std::vector<const GgufTensor*>> parts;
    size_t n_converted = 0;
    const auto in_place = [](const std::vector<const GgufTensor*>& of_tensor) {
        return of_tensor.size() == 1 && of_tensor[0]->type->number == kFloat32Type;
    };
    for (const Layout& tensor : layout) {
        parts.emplace_back();
        for (const string& name : part_names(tensor, config.n_layers)) {
            parts.back().push_back(&find_tensor(gguf, tensors, name, tensor));
        }
        if (!in_place(parts.back())) n_converted += parts.back().size() * tensor.rows * tensor.columns;
    }

    Contents contents{.config = config, .weights = {}, .converted = {}};
    contents.converted.resize(n_converted);
    std::span<float> room = contents.converted;  // what is still to be filled
    for (size_t i = 0; i < layout.size(); i++) {
        const size_t part_size = layout[i].rows * layout[i].columns;
        std::span<const float> values;
        if (in_place(parts[i])) {
            // Aligned: mappings start at a page, and the data's alignment is a multiple of 8.
            values = {reinterpret_cast<const float*>(parts[i][0]->data.data()), part_size};
        } else {
            const std::span<float> stack = room.first(parts[i].size() * part_size);
            for (size_t part = 0; part < parts[i].size(); part++) {
                parts[i][part]->type->dequantize(slice(stack, part, part_size), parts[i][part]->data);
            }
            values = stack;
            room = room.subspan(stack.size());
        }
        for (size_t part = 0; part < parts[i].size(); part++) {
            check_finite(gguf.path(), string(parts[i][part]->name), slice(values, part, part_size), threads);
        }
        contents.weights.*layout[i].view = values;
    }
    if (tied) contents.weights.wcls = contents.weights.token_embedding;
    return contents;
}

}  // namespace llama512
