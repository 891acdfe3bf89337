"""Searches the compiler flags that make a golfed C++ engine smallest, and writes the set that builds then use.

A hill-climb over the knobs below and the target's own, from the set in use: it turns each of them alone, then a few at a time, and keeps
what is not larger. A set is the new best only when the engine built with it still says, token for token, what the
reference says (on a random checkpoint of the budgets' shape; of an engine that is emulated here the first positions). Every step follows from the seed alone; time only cuts
the search short. The state is kept in build/flagsearch/ after every round, so that a search that was interrupted (Ctrl-C)
goes on where it was; --restart begins anew. At the end, flags that save nothing are dropped, and the set becomes the
compiler's own in golf/…/flagset.json, if it is smaller than what builds with this compiler use, or if that does not fit
the source.

The set that is found suits one version of the source and one version of the compiler (LLAMA512_CXX chooses it): search
again after every change. A build with another version uses the set of the nearest one, and says so.

examples:
  tools/llama512 flagsearch cpp-linux-i386
  tools/llama512 flagsearch cpp-linux-x86_64 --seconds 600 --seed 7
  tools/llama512 flagsearch cpp-linux-i386 --dry-run       search, but leave flagset.json alone
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Sequence

from common import processes
from common.engine import builds, engines, gcc, images, packing
from common.engine.engines import Engine
from common.errors import UserError, atomic_write, run_tool
from common.machine import run
from common.match import matching
from common.model import random_model
from common.model.checkpoint import Config
from common.model.models import Model
from common.pack.packer import Span
from common.project import ROOT
from common.terminal import Progress, argument_parser

# Each knob is a list of positions; "" is the compiler's default. The first one is where the search starts.
SWITCHES = """
    aggressive-loop-optimizations align-functions align-jumps align-labels align-loops allocation-dce
    allow-store-data-races auto-inc-dec avoid-store-forwarding branch-count-reg branch-probabilities caller-saves
    code-hoisting combine-stack-adjustments compare-elim conserve-stack cprop-registers crossjumping cse-follow-jumps
    cse-skip-blocks dce defer-pop delete-null-pointer-checks devirtualize dse early-inlining expensive-optimizations
    ext-dce finite-loops fold-mem-offsets forward-propagate gcse gcse-after-reload gcse-las gcse-lm gcse-sm
    guess-branch-probability hoist-adjacent-loads if-conversion if-conversion2 inline-functions
    inline-functions-called-once inline-small-functions ipa-bit-cp ipa-cp ipa-cp-clone ipa-icf ipa-modref ipa-profile
    ipa-pta ipa-pure-const ipa-ra ipa-reference ipa-sra ipa-vrp ira-hoist-pressure ira-loop-pressure
    ira-share-save-slots ira-share-spill-slots isolate-erroneous-paths-attribute ivopts jump-tables keep-gc-roots-live
    late-combine-instructions live-range-shrinkage loop-interchange lra-remat malloc-dce math-errno modulo-sched
    move-loop-invariants move-loop-stores omit-frame-pointer optimize-sibling-calls optimize-strlen partial-inlining
    peel-loops peephole peephole2 plt predictive-commoning printf-return-value reciprocal-math ree rename-registers
    reorder-blocks reorder-blocks-and-partition reorder-functions rerun-cse-after-loop
    reschedule-modulo-scheduled-loops rounding-math rtti sched-critical-path-heuristic sched-dep-count-heuristic
    sched-interblock sched-pressure sched-spec sched-spec-insn-heuristic schedule-fusion schedule-insns
    schedule-insns2 section-anchors sel-sched-pipelining selective-scheduling selective-scheduling2 shrink-wrap
    shrink-wrap-separate signed-zeros single-precision-constant split-ivs-in-unroller split-loops split-paths
    split-wide-types split-wide-types-early ssa-backprop ssa-phiopt stdarg-opt store-merging strict-aliasing
    strict-overflow thread-jumps toplevel-reorder tree-bit-ccp tree-builtin-call-dce tree-ccp tree-ch
    tree-coalesce-vars tree-copy-prop tree-cselim tree-dce tree-dominator-opts tree-dse tree-forwprop tree-fre
    tree-loop-distribute-patterns tree-loop-distribution tree-loop-if-convert tree-loop-im tree-loop-ivcanon
    tree-loop-optimize tree-loop-vectorize tree-partial-pre tree-phiprop tree-pre tree-pta tree-reassoc
    tree-scev-cprop tree-sink tree-slp-vectorize tree-slsr tree-sra tree-switch-conversion tree-tail-merge tree-ter
    tree-vrp trapping-math unroll-loops unswitch-loops unsafe-math-optimizations variable-expansion-in-unroller
    version-loops-for-strides vpt web wrapv
""".split()

VALUES: list[list[str]] = [
    ["-Oz", "-Os", "-O1", "-O2"],
    ["", "-fira-algorithm=priority"],
    ["", "-fira-region=one", "-fira-region=all", "-fira-region=mixed"],
    ["", "-freorder-blocks-algorithm=stc", "-freorder-blocks-algorithm=simple"],
    ["", "-fvect-cost-model=unlimited", "-fvect-cost-model=cheap"],
    ["", "-fexcess-precision=fast", "-ffloat-store"],
    ["", "-fno-tree-loop-distribute-patterns"],
    ["", "-fno-semantic-interposition"],
    ["", "--param=ira-max-conflict-table-size=0", "--param=ira-loop-reserved-regs=0", "--param=ira-loop-reserved-regs=4"],
    ["", "--param=iv-consider-all-candidates-bound=0", "--param=iv-consider-all-candidates-bound=100"],
    ["", "--param=iv-max-considered-uses=1", "--param=iv-max-considered-uses=20", "--param=iv-max-considered-uses=500"],
    ["", "--param=iv-always-prune-cand-set-bound=0", "--param=iv-always-prune-cand-set-bound=100"],
    ["", "--param=avg-loop-niter=1", "--param=avg-loop-niter=2", "--param=avg-loop-niter=100"],
    ["", "--param=lra-max-considered-reload-pseudos=0", "--param=lra-inheritance-ebb-probability-cutoff=100"],
    ["", "--param=max-cse-path-length=1", "--param=max-cse-insns=1"],
    ["", "--param=max-gcse-memory=0", "--param=gcse-cost-distance-ratio=0", "--param=gcse-unrestricted-cost=0"],
    ["", "--param=sink-frequency-threshold=0", "--param=sink-frequency-threshold=100"],
    ["", "--param=min-crossjump-insns=1", "--param=min-crossjump-insns=2"],
    ["", "--param=max-combine-insns=2", "--param=max-combine-insns=3"],
    ["", "--param=max-completely-peeled-insns=0", "--param=max-completely-peel-times=0"],
    ["", "--param=sra-max-propagations=0"],
    ["", "--param=logical-op-non-short-circuit=0", "--param=logical-op-non-short-circuit=1"],
    ["", "--param=inline-min-speedup=100", "--param=max-inline-insns-size=100", "--param=max-inline-insns-size=0"],
    ["", "--param=tree-reassoc-width=1", "--param=tree-reassoc-width=2"],
]

Knobs = list[list[str]]
COMMON: Knobs = VALUES + [["", f"-f{switch}", f"-fno-{switch}"] for switch in SWITCHES]


def knobs_of(engine: Engine) -> Knobs:
    """Those of every target, and the engine's target's own."""
    return COMMON + [["", *values] for values in engine.target.gcc("knobs")]


ROUND = 4  # sets that are tried in one round; fixed, so that the search does not depend on the machine's cores
EMULATED = 64  # positions that an engine is checked on where it is emulated, which takes a hundred times as long
TIMEOUT = 30.0  # seconds for a story; with wrong flags it may never end
PATIENCE = 150  # rounds without a smaller set, after which the search goes back to the best set and kicks it


@dataclass
class State:
    """A search that can be interrupted and resumed. A set is {knob: position}; what is not in it is at its first."""

    inputs: str  # what is searched for: engine, source, target, compiler, seed
    rounds: int = 0
    current: dict[int, int] = field(default_factory=dict)
    current_size: int = 1 << 30
    best: dict[int, int] = field(default_factory=dict)
    best_size: int = 1 << 30
    stale: int = 0
    refused: list[str] = field(default_factory=list)  # sets that were small, but wrong

    def save(self, path: Path) -> None:
        with atomic_write(path, "w") as file:
            json.dump(self.__dict__, file)

    @staticmethod
    def load(path: Path) -> State | None:
        try:
            facts = json.loads(path.read_text("utf-8"))
            for name in ("current", "best"):
                facts[name] = {int(knob): position for knob, position in facts[name].items()}
            return State(**facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


class Trial:
    """Builds an engine with a set of flags: to measure it, and to check what it says."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder, self.knobs = engine, folder, knobs_of(engine)
        shape = engines.budget_shape()
        self.packed, self.spans = self.pack("packed", shape.config)[1:]
        told = replace(shape.config, seq_len=EMULATED) if run.emulated(engine) else shape.config
        self.model, packed, _ = self.pack("told", told)
        effective = Model(shape.name, packed / "effective.bin", packed / "tokenizer.bin")
        self.expected = matching.expect(effective)
        if self.expected.gap < matching.SMALLEST_GAP:
            raise UserError(f"the random checkpoint has a near-tie of {self.expected.gap:g}, it cannot tell right from "
                            "wrong; take another seed in tools/flagsearch.py")

    def pack(self, name: str, config: Config) -> tuple[Model, Path, list[Span]]:
        """A random checkpoint, and what the engine is made from for it."""
        folder = self.folder / name
        folder.mkdir()
        weights = random_model.weights(config, seed=512)
        model = random_model.write(folder, engines.budget_shape().name, weights, engines.budget_shape().longest_piece)
        return model, folder, packing.pack(self.engine, model, self.engine.encodings[0], folder)

    def size(self, flags: Sequence[str], worker: int) -> int | None:
        """Counted bytes with these flags; None when the compiler or the linker refuses."""
        files = self.folder / f"size{worker}"
        files.mkdir(exist_ok=True)
        for name in ("model.hpp", "model.packed"):
            shutil.copy(self.packed / name, files)
        try:
            gcc.compile(self.engine, files, flags)
            gcc.link(self.engine, files)
        except UserError:
            return None
        return images.counted_bytes(self.engine, files / "engine.bin", files, self.spans)

    def right(self, flags: Sequence[str]) -> bool:
        """Whether the engine built with these flags says what the reference says."""
        try:
            built = builds.build(self.engine, self.model, self.folder / "right", flags=flags)
            story = run.run(built, timeout=TIMEOUT)
        except UserError:
            return False
        return matching.compare(story.text, self.expected, run.seen(self.engine)) is None


def flags_of(chosen: dict[int, int], knobs: Knobs) -> list[str]:
    """The flags of a set, in the order of the knobs."""
    positions = [knob[chosen.get(index, 0)] for index, knob in enumerate(knobs)]
    return [flag for flag in positions if flag]


def set_of(flags: Sequence[str], knobs: Knobs) -> dict[int, int]:
    """The set that has these flags, as far as they are on knobs."""
    return {index: knob.index(flag) for index, knob in enumerate(knobs) for flag in flags if flag in knob[1:]}


def turned(chosen: dict[int, int], knobs: Knobs, generator: random.Random, count: int) -> dict[int, int]:
    """The set with `count` knobs turned."""
    result = dict(chosen)
    for index in generator.sample(range(len(knobs)), count):
        # Half of the time back to the start, so that sets stay short.
        positions = [0] if result.get(index) and generator.random() < 0.5 else range(len(knobs[index]))
        result[index] = generator.choice([p for p in positions if p != result.get(index, 0)])
        if not result[index]:
            del result[index]
    return result


def search(trial: Trial, state: State, seed: int, deadline: float, path: Path, progress: Progress) -> None:
    """Rounds of the hill-climb until the deadline."""
    knobs = trial.knobs
    alone = [(index, position) for index, knob in enumerate(knobs) for position in range(len(knob))]
    random.Random(seed).shuffle(alone)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        while time.monotonic() < deadline:
            generator = random.Random(f"{seed} {state.rounds}")
            if state.rounds == 0:
                tries = [state.current]
            elif turns := alone[ROUND * (state.rounds - 1):][:ROUND]:
                tries = [{**state.current, index: position} for index, position in turns]
            else:
                tries = [turned(state.current, knobs, generator, generator.choice((1, 1, 1, 2, 2, 3, 5)))
                         for _ in range(ROUND)]
            sizes = list(pool.map(trial.size, [flags_of(chosen, knobs) for chosen in tries], range(len(tries))))
            state.rounds += 1
            state.stale += 1
            for size, chosen in sorted(((size, i) for i, size in enumerate(sizes) if size is not None)):
                if size > state.current_size:
                    break
                flags = flags_of(tries[chosen], knobs)
                if size < state.best_size:
                    if " ".join(flags) in state.refused:
                        continue
                    if not trial.right(flags):
                        state.refused.append(" ".join(flags))
                        continue
                    state.best, state.best_size, state.stale = tries[chosen], size, 0
                state.current, state.current_size = tries[chosen], size
                break
            if state.stale >= PATIENCE:
                state.current = turned(state.best, knobs, generator, 8)
                state.current_size, state.stale = 1 << 30, 0
            state.save(path)
            progress.update(time.monotonic() - progress.start, f"round {state.rounds}  best {state.best_size} bytes")


def tidied(trial: Trial, state: State) -> list[str]:
    """The best set without the flags that save nothing."""
    chosen, size = dict(state.best), state.best_size
    for index in sorted(state.best):
        without = {knob: position for knob, position in chosen.items() if knob != index}
        found = trial.size(flags_of(without, trial.knobs), 0)
        if found is not None and found <= size:
            chosen, size = without, found
    if not trial.right(flags_of(chosen, trial.knobs)):
        return flags_of(state.best, trial.knobs)
    state.best_size = size
    return flags_of(chosen, trial.knobs)


def inputs(engine: Engine, compiler: str, seed: int) -> str:
    knobs = hashlib.sha256(json.dumps(knobs_of(engine)).encode()).hexdigest()
    return builds.input_hash(engine, engine.encodings[0], compiler, [str(seed), knobs], [])


def write_set(engine: Engine, compiler: str, found: dict[str, object]) -> None:
    """Makes what was found the compiler's set; those of the others stay."""
    sets = engine.target.flag_sets()
    sets[engine.name] = dict(sorted((sets.get(engine.name, {}) | {compiler: found}).items()))
    with atomic_write(engine.target.flagset, "w") as file:
        json.dump({"about": "Written by `llama512 flagsearch`: do not edit.", "sets": dict(sorted(sets.items()))},
                  file, indent=1)
        file.write("\n")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("engine", metavar="ENGINE", help="a C++ engine of golf/engines.json")
    parser.add_argument("--seconds", type=float, default=300, metavar="N", help="how long to search (default: 300)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which search (default: 1)")
    parser.add_argument("--restart", action="store_true", help="do not resume")
    parser.add_argument("--dry-run", action="store_true", help="do not write flagset.json")
    options = parser.parse_args()

    engine = engines.find(options.engine)
    if engine.toolchain != "gcc":
        raise UserError(f"{engine.name}: toolchain {engine.toolchain!r}: only C++ engines have compiler flags to search")
    compiler = gcc.name(engine)
    path = ROOT / "build" / "flagsearch" / f"{engine.name}-{compiler.replace(' ', '-')}.json"
    wanted = inputs(engine, compiler, options.seed)
    state = None if options.restart else State.load(path)
    if state is None or state.inputs != wanted:
        state = State(wanted)
    else:
        print(f"resuming after round {state.rounds}, best {state.best_size} bytes")

    with processes.temporary_folder() as temporary:
        trial = Trial(engine, temporary)
        present, searched = gcc.small_flags(engine, compiler)
        present_size = trial.size(present, 0) if trial.right(present) else None
        if present_size is not None and state.rounds == 0:
            state.current = set_of(present, trial.knobs)
        try:
            with Progress(engine.name, total=options.seconds, unit="s") as progress:
                search(trial, state, options.seed, time.monotonic() + options.seconds, path, progress)
        except KeyboardInterrupt:
            print(f"\ninterrupted after round {state.rounds}; the same command goes on from there")
            return
        if state.best_size == 1 << 30:
            raise UserError(f"{engine.name}: no flag set gives an engine that compiles and is right, not even -Oz; "
                            f"see `llama512 verify --engine {engine.name}`")
        flags = tidied(trial, state)
    print(f"{engine.name}: {state.best_size} counted bytes with {compiler} {' '.join(flags)}")
    if options.dry_run:
        return
    if searched and present_size is not None and present_size <= state.best_size:
        print(f"{engine.target.flagset}: kept, its {present_size} bytes are not more")
        return
    write_set(engine, compiler, {"seed": options.seed, "rounds": state.rounds, "flags": flags})
    print(f"{engine.target.flagset}: written")


if __name__ == "__main__":
    run_tool(main)
