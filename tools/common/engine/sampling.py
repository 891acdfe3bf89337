"""The options with which tools ask for an engine that draws its tokens.

    from common.engine import sampling
    sampling.add_options(parser)
    chosen = sampling.chosen(parser, options)       # None: greedy; or for Engine.sampled
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from common.pack.race import Sampling

CLOCK = "clock"  # instead of a seed
FOLDER = "sampled"  # where such engines are built, in the folder of the greedy ones


def add_options(parser: ArgumentParser, engines: str) -> None:
    """--temperature, --top-p and --seed. `engines`: which ones."""
    parser.add_argument("--temperature", type=float, metavar="T",
                        help=f"draw the story's tokens at this temperature, as `reference --sampler race` does; {engines}")
    parser.add_argument("--top-p", type=float, metavar="P",
                        help="for --temperature: draw from the most likely tokens of total probability P (default: 1, from all "
                             "of them; 0 means that too)")
    parser.add_argument("--seed", type=_seed, metavar="N",
                        help=f"for --temperature: the same seed tells the same story; {CLOCK}: another one each time (default: 0)")


def chosen(parser: ArgumentParser, options: Namespace) -> Sampling | None:
    """What these options say."""
    if options.temperature is None:
        for option, given in (("--seed", options.seed), ("--top-p", options.top_p)):
            if given is not None:
                parser.error(f"{option}: it is for --temperature")
        return None
    return Sampling(options.temperature, None if options.seed == CLOCK else options.seed or 0, options.top_p or 1.0)


def _seed(text: str) -> int | str:
    if text == CLOCK:
        return text
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r}, a whole number or `{CLOCK}` is needed")
    return int(text)
