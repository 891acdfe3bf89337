#include "files/vocabulary.hpp"

#include <cmath>
#include <cstdint>
#include <filesystem>

#include "error.hpp"
#include "files/gguf_vocabulary.hpp"
#include "files/mapped_file.hpp"

namespace llama512 {

using std::size_t;
using std::to_string;

namespace {

/// A GGUF file's, which says itself how many tokens there are.
Vocabulary read_from_gguf(const Gguf& gguf, size_t vocab_size) {
    Vocabulary vocabulary = read_gguf_vocabulary(gguf);
    if (vocabulary.pieces.size() != vocab_size) {
        throw Error(vocabulary.name, kTokensKey, to_string(vocabulary.pieces.size()) + " tokens, the checkpoint's vocab_size of " +
                                                     to_string(vocab_size) + " is needed (another model's tokenizer?)");
    }
    return vocabulary;
}

}  // namespace

Vocabulary read_vocabulary(const std::string& path, size_t vocab_size) {
    const MappedFile file(path);
    if (is_gguf(file)) return read_from_gguf(Gguf(file), vocab_size);
    size_t offset = 0;
    const auto require = [&](size_t n_bytes, const std::string& field) {
        if (file.size() - offset < n_bytes) {
            throw Error(path, field, "the file ends at byte " + to_string(file.size()) + ", " + to_string(n_bytes) +
                                         " bytes are needed at byte " + to_string(offset) + " (vocab_size is " +
                                         to_string(vocab_size) + ")");
        }
    };

    require(sizeof(std::int32_t), "max_token_length");
    const auto max_token_length = file.read<std::int32_t>(offset);
    offset += sizeof(std::int32_t);
    if (max_token_length < 1 || max_token_length > static_cast<std::int32_t>(kMaxPieceSize)) {
        throw Error(path, "max_token_length", to_string(max_token_length) + ", a value from 1 to " +
                                                  to_string(kMaxPieceSize) + " is needed");
    }

    Vocabulary vocabulary{.name = path, .pieces = {}, .scores = {}};
    for (size_t token = 0; token < vocab_size; token++) {
        const std::string record = "record " + to_string(token);
        require(sizeof(float) + sizeof(std::int32_t), record);
        const auto score = file.read<float>(offset);
        const auto length = file.read<std::int32_t>(offset + sizeof(float));
        offset += sizeof(float) + sizeof(std::int32_t);
        if (!std::isfinite(score)) {
            throw Error(path, record, "score " + to_string(score) + ", a finite number is needed");
        }
        if (length < 0 || length > max_token_length) {
            throw Error(path, record, "length " + to_string(length) + ", a value from 0 to max_token_length " +
                                          to_string(max_token_length) + " is needed");
        }
        const auto n_bytes = static_cast<size_t>(length);
        require(n_bytes, record);
        vocabulary.pieces.emplace_back(file.text().substr(offset, n_bytes));
        vocabulary.scores.push_back(score);
        offset += n_bytes;
    }

    if (offset != file.size()) {
        throw Error(path, "file size",
                    to_string(file.size()) + " bytes, the checkpoint's vocab_size of " + to_string(vocab_size) +
                        " records ends at byte " + to_string(offset) + " (another model's tokenizer?)");
    }
    return vocabulary;
}

std::string find_tokenizer(const std::string& checkpoint, size_t vocab_size) {
    namespace fs = std::filesystem;
    const fs::path path(checkpoint);
    const std::string stem = path.extension() == ".bin" ? path.stem().string() : path.filename().string();
    const std::string names[] = {stem + ".tokenizer.bin", "tokenizer.bin", "tok" + to_string(vocab_size) + ".bin"};
    for (const std::string& name : names) {
        const fs::path candidate = path.parent_path() / name;
        std::error_code ignored;
        if (fs::exists(candidate, ignored)) return candidate.string();
    }
    throw Error(checkpoint, "tokenizer", "none of " + names[0] + ", " + names[1] + ", " + names[2] +
                                             " is beside the model, give one with --tokenizer FILE");
}

}  // namespace llama512
