#include "files/llama2c.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "error.hpp"

namespace llama512 {

namespace {

using std::size_t;
using std::to_string;

constexpr std::uint32_t kMagic = 0x616b3432;
constexpr size_t kHeaderSizeV0 = 7 * sizeof(std::int32_t);
constexpr size_t kHeaderSize = 256;  // v1 and v2
constexpr size_t kTiedOffset = 36;   // after the magic, the version and 7 int32
constexpr size_t kGroupSizeOffset = kTiedOffset + 1;
constexpr size_t kConstantsOffset = 64;  // rms_epsilon, rope_theta

struct Header {
    int version;
    size_t size;  // in bytes
    Config config;
    bool tied;          // the classifier is the token embedding
    size_t group_size;  // v2: values that share one scale
};

/// One tensor of the file. A layout is the list of them, in the file's order.
struct Tensor {
    std::span<const float> Weights::*view;  // null: in the file, but not used
    size_t n_matrices;                      // one per layer, or 1
    size_t matrix_size;                     // values in each
    bool quantized = false;
};

std::array<std::int64_t, 7> read_config_values(const MappedFile& file, size_t offset) {
    std::array<std::int64_t, 7> values;
    for (size_t i = 0; i < values.size(); i++) {
        values[i] = file.read<std::int32_t>(offset + i * sizeof(std::int32_t));
    }
    return values;
}

void require_header(const MappedFile& file, size_t size) {
    if (file.size() < size) {
        throw Error(file.path(), "file size",
                    to_string(file.size()) + " bytes, the header alone needs " + to_string(size));
    }
}

Header read_header_v0(const MappedFile& file) {
    Header header{};
    header.size = kHeaderSizeV0;
    auto values = read_config_values(file, 0);
    std::int64_t& vocab_size = values[5];
    header.tied = vocab_size > 0;
    if (vocab_size < 0) vocab_size = -vocab_size;
    header.config = parse_config(values, file.path(), " (no 'ak42' magic, so read as a llama2.c v0 checkpoint)");
    return header;
}

/// A constant that a header may state; 0 says that it is Llama 2's.
void read_constant(const MappedFile& file, size_t offset, const char* name, float& constant) {
    const auto value = file.read<float>(offset);
    if (value == 0) return;
    if (!(value > 0) || !std::isfinite(value)) {
        throw Error(file.path(), name, to_string(value) + ", a finite number above 0 is needed (0: Llama 2's)");
    }
    constant = value;
}

Header read_header(const MappedFile& file) {
    require_header(file, kHeaderSizeV0);
    if (file.read<std::uint32_t>(0) != kMagic) return read_header_v0(file);

    require_header(file, kHeaderSize);
    Header header{};
    header.size = kHeaderSize;
    header.version = file.read<std::int32_t>(4);
    if (header.version != 1 && header.version != 2) {
        throw Error(file.path(), "version", to_string(header.version) + ", version 1 or 2 is needed");
    }
    header.config = parse_config(read_config_values(file, 8), file.path());
    read_constant(file, kConstantsOffset, "rms_epsilon", header.config.rms_epsilon);
    read_constant(file, kConstantsOffset + sizeof(float), "rope_theta", header.config.rope_theta);

    const int tied = file.read<std::uint8_t>(kTiedOffset);
    if (tied > 1) throw Error(file.path(), "shared_classifier", to_string(tied) + ", 0 or 1 is needed");
    header.tied = tied == 1;

    if (header.version == 2) {
        // Every matrix has a side of length dim, so when groups divide dim, they divide the matrix.
        const auto group_size = file.read<std::int32_t>(kGroupSizeOffset);
        if (group_size < 1 || header.config.dim % static_cast<size_t>(group_size) != 0) {
            throw Error(file.path(), "group_size",
                        to_string(group_size) + ", a divisor of dim " + to_string(header.config.dim) + " is needed");
        }
        header.group_size = static_cast<size_t>(group_size);
    }
    return header;
}

std::vector<Tensor> layout_v0(const Config& c, bool tied) {
    std::vector<Tensor> layout = {
        {&Weights::token_embedding, 1, c.vocab_size * c.dim},
        {&Weights::rms_att, c.n_layers, c.dim},
        {&Weights::wq, c.n_layers, c.dim * c.dim},
        {&Weights::wk, c.n_layers, c.kv_dim() * c.dim},
        {&Weights::wv, c.n_layers, c.kv_dim() * c.dim},
        {&Weights::wo, c.n_layers, c.dim * c.dim},
        {&Weights::rms_ffn, c.n_layers, c.dim},
        {&Weights::w1, c.n_layers, c.hidden_dim * c.dim},
        {&Weights::w2, c.n_layers, c.dim * c.hidden_dim},
        {&Weights::w3, c.n_layers, c.hidden_dim * c.dim},
        {&Weights::rms_final, 1, c.dim},
        // freq_cis_real and freq_cis_imag: tables of cosines and sines, which early versions of llama2.c read.
        // rope() computes them instead.
        {nullptr, 1, c.seq_len * c.head_size() / 2},
        {nullptr, 1, c.seq_len * c.head_size() / 2},
    };
    if (!tied) layout.push_back({&Weights::wcls, 1, c.vocab_size * c.dim});
    return layout;
}

/// v1, and v2 with quantized = true: norms first, then matrices.
std::vector<Tensor> layout_v1(const Config& c, bool tied, bool quantized) {
    std::vector<Tensor> layout = {
        {&Weights::rms_att, c.n_layers, c.dim},
        {&Weights::rms_ffn, c.n_layers, c.dim},
        {&Weights::rms_final, 1, c.dim},
        {&Weights::token_embedding, 1, c.vocab_size * c.dim, quantized},
        {&Weights::wq, c.n_layers, c.dim * c.dim, quantized},
        {&Weights::wk, c.n_layers, c.kv_dim() * c.dim, quantized},
        {&Weights::wv, c.n_layers, c.kv_dim() * c.dim, quantized},
        {&Weights::wo, c.n_layers, c.dim * c.dim, quantized},
        {&Weights::w1, c.n_layers, c.hidden_dim * c.dim, quantized},
        {&Weights::w2, c.n_layers, c.dim * c.hidden_dim, quantized},
        {&Weights::w3, c.n_layers, c.hidden_dim * c.dim, quantized},
    };
    if (!tied) layout.push_back({&Weights::wcls, 1, c.vocab_size * c.dim, quantized});
    return layout;
}

/// Bytes of one matrix in the file.
size_t matrix_bytes(const Tensor& tensor, size_t group_size) {
    if (!tensor.quantized) return tensor.matrix_size * sizeof(float);
    return tensor.matrix_size + tensor.matrix_size / group_size * sizeof(float);
}

void check_file_size(const MappedFile& file, const Header& header, const std::vector<Tensor>& layout) {
    size_t expected = header.size;
    for (const Tensor& tensor : layout) expected += tensor.n_matrices * matrix_bytes(tensor, header.group_size);
    if (file.size() != expected) {
        throw Error(file.path(), "file size",
                    to_string(file.size()) + " bytes, its v" + to_string(header.version) + " header needs exactly " +
                        to_string(expected) + (file.size() < expected ? " (truncated?)" : " (trailing bytes?)"));
    }
}

/// Appends one matrix to `out`: int8 values at `offset`, then one float32 scale per group.
/// Groups run through the row-major values.
void dequantize(std::vector<float>& out, const MappedFile& file, size_t offset, size_t matrix_size, size_t group_size) {
    const size_t scales = offset + matrix_size;
    for (size_t i = 0; i < matrix_size; i++) {
        const auto value = file.read<std::int8_t>(offset + i);
        const auto scale = file.read<float>(scales + i / group_size * sizeof(float));
        out.push_back(static_cast<float>(value) * scale);
    }
}

}  // namespace

Contents read_llama2c(const MappedFile& file, size_t threads) {
    const Header header = read_header(file);
    const Config& config = header.config;
    const std::vector<Tensor> layout = header.version == 0
                                           ? layout_v0(config, header.tied)
                                           : layout_v1(config, header.tied, /*quantized=*/header.version == 2);
    check_file_size(file, header, layout);

    Contents contents{.config = config, .weights = {}, .converted = {}};
    Weights& weights = contents.weights;
    std::vector<float>& dequantized = contents.converted;
    size_t n_dequantized = 0;
    for (const Tensor& tensor : layout) {
        if (tensor.quantized) n_dequantized += tensor.n_matrices * tensor.matrix_size;
    }
    dequantized.reserve(n_dequantized);  // so that it never moves, and views into it stay valid

    size_t offset = header.size;
    for (const Tensor& tensor : layout) {
        const size_t n_values = tensor.n_matrices * tensor.matrix_size;
        std::span<const float> values;
        if (tensor.quantized) {
            const size_t start = dequantized.size();
            for (size_t m = 0; m < tensor.n_matrices; m++) {
                const size_t matrix = offset + m * matrix_bytes(tensor, header.group_size);
                dequantize(dequantized, file, matrix, tensor.matrix_size, header.group_size);
            }
            values = std::span(dequantized).subspan(start, n_values);
        } else {
            // Aligned: mappings start at a page, and everything before is a multiple of 4 bytes.
            values = {reinterpret_cast<const float*>(file.bytes().data() + offset), n_values};
        }
        if (tensor.view != nullptr) weights.*tensor.view = values;
        offset += tensor.n_matrices * matrix_bytes(tensor, header.group_size);
    }
    for (const NamedTensor& tensor : kTensors) check_finite(file.path(), tensor.name, weights.*tensor.values, threads);
    if (header.tied) weights.wcls = weights.token_embedding;
    return contents;
}

}  // namespace llama512
