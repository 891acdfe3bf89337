// A Llama 2 model from a GGUF file of architecture `llama`.
//
// Keys of the metadata: https://github.com/ggml-org/ggml, docs/gguf.md, section "LLaMA". Names of the tensors: the same
// page, "Standardized tensor names".
//
//   llama.embedding_length         dim            llama.attention.head_count     n_heads
//   llama.feed_forward_length      hidden_dim     llama.attention.head_count_kv  n_kv_heads (none: n_heads)
//   llama.block_count              n_layers       llama.context_length           seq_len
//   llama.attention.layer_norm_rms_epsilon        llama.rope.freq_base           rope_theta (none: 10000)
//   vocab_size: the number of tokenizer.ggml.tokens, or else the rows of token_embd.weight
//
//   token_embd    token_embedding                 blk.N.attn_q, attn_k, attn_v, attn_output   wq, wk, wv, wo of layer N
//   output        wcls (none: tied)               blk.N.ffn_gate, ffn_down, ffn_up            w1, w2, w3
//   output_norm   rms_final                       blk.N.attn_norm, ffn_norm                   rms_att, rms_ffn
//
// Each name ends in ".weight". The rows of attn_q and attn_k are in llama2.c's order: RoPE turns adjacent pairs. (A
// converter from Hugging Face's files, which pair each value with the one half a head further, reorders the rows.)
#pragma once

#include "files/checkpoint.hpp"
#include "files/gguf.hpp"

namespace llama512 {

/// Tensors become float32, one after another, in memory. One that is float32 in the file, and in one piece (no layer's, or
/// that of the only layer), is a view into the file.
///
/// Throws Error, naming the key or tensor and the value, when the model is not one that this engine computes (another
/// architecture, RoPE scaling, a window, experts, biases, ...), a key or tensor is missing, a shape is not what the keys
/// say, or a weight is not finite. No key of the model is ignored: of those that begin with "llama.", an unknown one is
/// refused, as the output could depend on it.
Contents read_gguf_model(const Gguf& gguf, std::size_t threads);

}  // namespace llama512
