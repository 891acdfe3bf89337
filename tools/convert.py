"""Makes a llama2.c checkpoint, and its tokenizer, of a model in another format.

IN is a GGUF file (version 1 to 3, architecture llama; F32, F16, BF16, Q8_0, Q4_0), a folder of Hugging Face (config.json,
*.safetensors, tokenizer.model or tokenizer.json), or any model that the other tools take. OUT is the checkpoint to write, NAME.bin;
the tokenizer is written beside it, NAME.tokenizer.bin.

What a model has that Llama 2 has not is refused, with its name and value. RMSNorm's epsilon and RoPE's base may be other ones: they
are kept in the checkpoint's header (of version 1), where we look for them and llama2.c does not.

GGUF files need not be converted: every tool reads them.

examples:
  tools/llama512 convert TinyLlama-1.1B/ tinyllama.bin
  tools/llama512 convert stories15M.gguf stories15M.bin --seq-len 64
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

from common import processes
from common.errors import UserError, run_tool
from common.files import protect
from common.model import checkpoint, huggingface, tokenizer
from common.model.checkpoint import Checkpoint
from common.model.models import find_model, stem
from common.model.vocabulary import Vocabulary
from common.terminal import argument_parser

SUFFIX = ".bin"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("model", metavar="IN", help="the model")
    parser.add_argument("output", metavar="OUT", type=Path, help=f"the checkpoint to write, *{SUFFIX}")
    parser.add_argument("--tokenizer", metavar="PATH", help="its tokenizer (default: in IN, or beside it)")
    parser.add_argument("--seq-len", type=int, metavar="N", help="shorten the context: engines need memory for all of it")
    options = parser.parse_args()
    if options.output.suffix != SUFFIX or not stem(options.output):
        parser.error(f"OUT: {options.output}: a name that ends in {SUFFIX} is needed")

    model, vocabulary, read = load(options.model, options.tokenizer)
    if options.seq_len is not None:
        if not 1 <= options.seq_len <= model.config.seq_len:
            raise UserError(f"--seq-len: {options.seq_len}, a value from 1 to the model's {model.config.seq_len} is needed")
        model = Checkpoint(replace(model.config, seq_len=options.seq_len), model.tensors)

    outputs = [options.output, options.output.with_name(stem(options.output) + ".tokenizer.bin")]
    protect(outputs, read)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    # Written aside, so that both files are there, or none.
    with processes.temporary_folder(options.output.parent) as aside:
        checkpoint.write(aside / outputs[0].name, model)
        tokenizer.write(aside / outputs[1].name, vocabulary.pieces, vocabulary.scores)
        with processes.uninterrupted():
            for path in outputs:
                os.replace(aside / path.name, path)
    config = model.config
    count = sum(math.prod(shape) for shape in config.shapes().values())
    constants = "" if config.is_standard else f", rms_epsilon {config.rms_epsilon:g}, rope_theta {config.rope_theta:g}"
    print(f"{outputs[0]}: {count:,} parameters (dim {config.dim}, hidden_dim {config.hidden_dim}, n_layers {config.n_layers}, n_heads "
          f"{config.n_heads}, n_kv_heads {config.n_kv_heads}, vocab_size {config.vocab_size}, seq_len {config.seq_len}{constants})")
    print(f"{outputs[1]}: {len(vocabulary.pieces):,} tokens")


def load(source: str, tokenizer_path: str | None) -> tuple[Checkpoint, Vocabulary, list[Path]]:
    """The model, its vocabulary, and the files that were read."""
    if Path(source).is_dir():
        model = huggingface.load(source)
        if tokenizer_path is None:
            return model, huggingface.vocabulary(source), sorted(path for path in Path(source).iterdir() if path.is_file())
        return model, tokenizer.load(tokenizer_path, model.config.vocab_size), [Path(tokenizer_path), *Path(source).iterdir()]
    found = find_model(source, tokenizer_path)
    model = checkpoint.load(found.checkpoint)
    return model, tokenizer.load(found.tokenizer, model.config.vocab_size), [found.checkpoint, found.tokenizer]


if __name__ == "__main__":
    run_tool(main)
