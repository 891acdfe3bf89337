// Llama2.c's tokenizer.bin (its tokenizer.py).
//
// int32 max_token_length, then one record per token: float32 score, int32 length, `length` bytes of text.
// Nothing says how many records there are: that is the checkpoint's vocab_size.
#pragma once

#include <cstddef>
#include <string>

#include "tokenizer.hpp"

namespace llama512 {

/// The most bytes that a piece may have: far above any vocabulary's.
constexpr std::size_t kMaxPieceSize = 1 << 16;

/// From a tokenizer.bin, or from the tokenizer that a GGUF file has.
/// Throws Error, naming the record and the value, unless the file holds exactly `vocab_size` sound records.
Vocabulary read_vocabulary(const std::string& path, std::size_t vocab_size);

/// The tokenizer that belongs to a checkpoint: the first file that exists in its folder of
/// STEM.tokenizer.bin, tokenizer.bin, tok<vocab_size>.bin, where STEM is the checkpoint's name without ".bin".
/// Throws Error when there is none.
std::string find_tokenizer(const std::string& checkpoint, std::size_t vocab_size);

}  // namespace llama512
