// The tokenizer of a GGUF file: SentencePiece's pieces, as llama2.c's tokenizer.bin has them.
//
// Keys: https://github.com/ggml-org/ggml, docs/gguf.md, section "Tokenizer".
//
//   tokenizer.ggml.model         'llama'
//   tokenizer.ggml.tokens        (vocab_size) texts, with U+2581 for a space and "<0xNN>" for a byte
//   tokenizer.ggml.scores        (vocab_size) float32; none: all are 0
//   tokenizer.ggml.token_type    (vocab_size) 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte; or none
//   tokenizer.ggml.bos_token_id  1, see gguf_model; none: 1
//   tokenizer.ggml.eos_token_id  none: 2
#pragma once

#include "files/gguf.hpp"
#include "tokenizer.hpp"

namespace llama512 {

constexpr const char* kTokensKey = "tokenizer.ggml.tokens";  // gguf_model counts them

/// What llama2.c's tokenizer.py would make of the same SentencePiece model: U+2581 becomes a space, and BOS and EOS become
/// "\n<s>\n" and "\n</s>\n". So text and tokens are the same as with a checkpoint and its tokenizer.bin.
///
/// Throws Error, naming the key and the value, when there is no tokenizer, or it is one of another kind, or damaged.
Vocabulary read_gguf_vocabulary(const Gguf& gguf);

}  // namespace llama512
