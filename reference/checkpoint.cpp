#include "checkpoint.hpp"

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

struct Header {
    int version;
    size_t size;  // in bytes
    Config config;
    bool tied;          // the classifier is the token embedding
    size_t group_size;  // v2: values that share one scale
};

/// One tensor of the file. A layout is the list of them, in the file's order.
struct Tensor {
    const char* name;
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
        {"token_embedding", &Weights::token_embedding, 1, c.vocab_size * c.dim},
        {"rms_att", &Weights::rms_att, c.n_layers, c.dim},
        {"wq", &Weights::wq, c.n_layers, c.dim * c.dim},
        {"wk", &Weights::wk, c.n_layers, c.kv_dim() * c.dim},
        {"wv", &Weights::wv, c.n_layers, c.kv_dim() * c.dim},
        {"wo", &Weights::wo, c.n_layers, c.dim * c.dim},
        {"rms_ffn", &Weights::rms_ffn, c.n_layers, c.dim},
        {"w1", &Weights::w1, c.n_layers, c.hidden_dim * c.dim},
        {"w2", &Weights::w2, c.n_layers, c.dim * c.hidden_dim},
        {"w3", &Weights::w3, c.n_layers, c.hidden_dim * c.dim},
        {"rms_final", &Weights::rms_final, 1, c.dim},
        // Tables of cosines and sines, which early versions of llama2.c read: rope() computes them instead.
        {"freq_cis_real", nullptr, 1, c.seq_len * c.head_size() / 2},
        {"freq_cis_imag", nullptr, 1, c.seq_len * c.head_size() / 2},
    };
    if (!tied) layout.push_back({"wcls", &Weights::wcls, 1, c.vocab_size * c.dim});
    return layout;
}

/// v1, and v2 with quantized = true: norms first, then matrices.
std::vector<Tensor> layout_v1(const Config& c, bool tied, bool quantized) {
    std::vector<Tensor> layout = {
        {"rms_att", &Weights::rms_att, c.n_layers, c.dim},
        {"rms_ffn", &Weights::rms_ffn, c.n_layers, c.dim},
        {"rms_final", &Weights::rms_final, 1, c.dim},
        {"token_embedding", &Weights::token_embedding, 1, c.vocab_size * c.dim, quantized},
        {"wq", &Weights::wq, c.n_layers, c.dim * c.dim, quantized},
        {"wk", &Weights::wk, c.n_layers, c.kv_dim() * c.dim, quantized},
        {"wv", &Weights::wv, c.n_layers, c.kv_dim() * c.dim, quantized},
        {"wo", &Weights::wo, c.n_layers, c.dim * c.dim, quantized},
        {"w1", &Weights::w1, c.n_layers, c.hidden_dim * c.dim, quantized},
        {"w2", &Weights::w2, c.n_layers, c.dim * c.hidden_dim, quantized},
        {"w3", &Weights::w3, c.n_layers, c.hidden_dim * c.dim, quantized},
    };
    if (!tied) layout.push_back({"wcls", &Weights::wcls, 1, c.vocab_size * c.dim, quantized});
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

void check_finite(const MappedFile& file, const char* name, std::span<const float> values) {
    for (size_t i = 0; i < values.size(); i++) {
        if (!std::isfinite(values[i])) {
            throw Error(file.path(), name,
                        "element " + to_string(i) + " is " + to_string(values[i]) + ", finite weights are needed");
        }
    }
}

}  // namespace

Checkpoint::Checkpoint(const std::string& path) : file_(path) {
    const Header header = read_header(file_);
    config_ = header.config;
    const bool quantized = header.version == 2;
    const std::vector<Tensor> layout =
        header.version == 0 ? layout_v0(config_, header.tied) : layout_v1(config_, header.tied, quantized);
    check_file_size(file_, header, layout);

    size_t n_dequantized = 0;
    for (const Tensor& tensor : layout) {
        if (tensor.quantized) n_dequantized += tensor.n_matrices * tensor.matrix_size;
    }
    dequantized_.reserve(n_dequantized);  // so that it never moves, and views into it stay valid

    size_t offset = header.size;
    for (const Tensor& tensor : layout) {
        const size_t n_values = tensor.n_matrices * tensor.matrix_size;
        std::span<const float> values;
        if (tensor.quantized) {
            const size_t start = dequantized_.size();
            for (size_t m = 0; m < tensor.n_matrices; m++) {
                const size_t matrix = offset + m * matrix_bytes(tensor, header.group_size);
                dequantize(dequantized_, file_, matrix, tensor.matrix_size, header.group_size);
            }
            values = std::span(dequantized_).subspan(start, n_values);
        } else {
            // Aligned: mappings start at a page, and everything before is a multiple of 4 bytes.
            values = {reinterpret_cast<const float*>(file_.bytes().data() + offset), n_values};
        }
        if (tensor.view != nullptr) {
            check_finite(file_, tensor.name, values);
            weights_.*tensor.view = values;
        }
        offset += tensor.n_matrices * matrix_bytes(tensor, header.group_size);
    }
    if (header.tied) weights_.wcls = weights_.token_embedding;
}

}  // namespace llama512
