"""What a benchmark says, for people: tables on a terminal, and the block of README.md.

    from common.bench import report
    print(report.text(results))
    report.readme(results)               # Markdown
"""

from __future__ import annotations

import textwrap

from common.bench import figures, growth, samples
from common.bench.contenders import GOLFED, LLAMA2C, OTHER, PLAIN
from common.bench.results import Results, What, Who
from common.bench.samples import STORY, WHOLE, Spread
from common.picture.bench import Bar, bench_svg
from common.picture.growth import Line
from common.terminal import markdown_table, paint, size_text, table

HEADERS = ["", "weights", "threads", "tokens/s", "lowest to highest", "x plain", "x llama2.c", "whole process", "x llama2.c ",
           "read/s", "of bandwidth", "first token"]
ALIGNMENT = "llrrrrrrrrrr"
README_WIDTH = 125  # letters in a line
NAMED = 4  # columns that stay, even empty ones
COLOURS = {"aim reached": "green", "reached": "yellow", "MISSED": "red", "not measured": "dim"}
LEGEND = """(tokens/s: positions after the first one, over their time: the reference's own times, llama2.c's own to a millisecond (of a
story shorter than 0.2 s the difference of two whole processes); of a batch all positions, prompts included. whole process: positions per
second of the processor, from start to end. x: the middle ratio of runs in the same round. read/s: bytes of weights. of bandwidth: of
what so many threads read of the same weights at most, as the reference measures it after its stories. first token: from the start of
the load, files in memory.)"""


def text(results: Results) -> str:
    """All of it."""
    measured = [what for what in results.models if any(sample.shape == what.name for sample in results.samples)]
    parts = [machine(results), *(shape_table(results, what) for what in measured), LEGEND if measured else "nothing was measured",
             others(results), figures_table(results), parameters(results), positions(results),
             "\n".join(f"note: {note}" for note in results.notes)]
    return "\n\n".join(part for part in parts if part)


def machine(results: Results) -> str:
    facts = [f"{name}: {value}" for name, value in results.machine.items()]
    rounds = f"{results.rounds} rounds{', --quick' if results.quick else ''}{', interrupted' if results.interrupted else ''}"
    core = "not held to a core" if results.core is None else f"held to core {results.core}"
    return "\n".join([*facts, f"{rounds}; programs with one thread are {core}"])


def shape_table(results: Results, what: What) -> str:
    """Everyone who ran with a model."""
    rows = [shape_row(results, what, who) for who in results.contenders]
    known = [row for row in rows if any(row[NAMED - 1:])]
    kept = [column for column in range(len(HEADERS)) if column < NAMED or any(row[column] for row in known)]
    title = f"{what.name}: {what.parameters:,} parameters, {'trained' if what.trained else 'random'} weights"
    return "\n".join([paint(title, "bold"), table([[row[column] for column in kept] for row in known], [HEADERS[column] for column in kept],
                                                  "".join(ALIGNMENT[column] for column in kept))])


def shape_row(results: Results, what: What, who: Who) -> list[str]:
    """A contender's figures, "" for those that it has not."""
    story, whole = results.of(what.name, who.name, STORY), results.of(what.name, who.name, WHOLE)
    rate, read = samples.of(story, samples.rate), samples.of(story, samples.read_rate)
    batch = who.name.startswith("batch")
    plain, peer = peers(results, who)

    def times(other: Who | None, kind: str) -> str:
        if other is None or other.name == who.name or batch:
            return ""
        measure = samples.rate if kind == STORY else samples.whole_rate
        found = samples.ratio(results.of(what.name, who.name, kind), results.of(what.name, other.name, kind), measure)
        return f"{found.middle:.2f}" if found else ""

    first, process = samples.of(story, lambda sample: sample.first_token), samples.of(whole, samples.whole_rate)
    share = results.share(what.name, who)
    return [who.label, who.weights, str(who.threads), number(rate), f"{number_text(rate.low)} to {number_text(rate.high)}" if rate else "",
            times(plain, STORY), times(peer, STORY), number(process), times(peer, WHOLE), size_text(read.middle) if read else "",
            f"{100 * share.middle:.0f} %" if share else "", f"{1000 * first.middle:.1f} ms" if first and not batch else ""]


def peers(results: Results, who: Who) -> tuple[Who | None, Who | None]:
    """Plain kernels, and the program of llama2.c with the same kind of weights (float32 where it has no such)."""
    plain = next((each for each in results.contenders if each.group == PLAIN), None)
    theirs = [each for each in results.contenders if each.group == LLAMA2C]
    kind = who.weights if who.weights == "int8" and who.group != GOLFED else "f32"
    return plain, next((each for each in theirs if each.weights == kind), None)


def number(found: Spread | None) -> str:
    return number_text(found.middle) if found else ""


def number_text(value: float) -> str:
    """Three digits at the least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def others(results: Results) -> str:
    """Of another program's report."""
    if not results.others:
        return ""
    rows = [[other.label, other.model, other.threads, number_text(other.rate),
             "" if other.deviation is None else f"± {number_text(other.deviation)}", other.file] for other in results.others]
    return "\n".join([paint("not from this run", "bold"), table(rows, ["", "model", "threads", "tokens/s", "", "file"], "llrrrl")])


def figures_table(results: Results) -> str:
    found = figures.found(results)
    if not found:
        return ""
    rows = [[*one.cells[:-1], paint(one.verdict, COLOURS[one.verdict])] for one in found]
    return "\n".join([paint("figures", "bold"), table(rows, figures.HEADERS, figures.ALIGNMENT)])


def parameters(results: Results) -> str:
    """Growth of the cost with the model."""
    rows = [[what.name, f"{what.parameters:,}", label, f"{cost:.4g}", f"{1e6 * cost / what.parameters:.3f}"]
            for what, label, cost in growth.by_parameters(results)]
    if not rows:
        return ""
    return "\n".join([paint("cost of a token by parameters", "bold"),
                      table(rows, ["model", "parameters", "", "ms", "ns for each parameter"], "lrlrr")])


def positions(results: Results) -> str:
    """Growth of the cost within a story: a table for each model."""
    tables = []
    found = growth.by_position(results)
    for what in results.models:
        members = {label: rows for (shape, label), rows in found.items() if shape == what.name}
        spans = sorted({(begin, end) for rows in members.values() for begin, end, _ in rows})
        if spans:
            known = {label: {(begin, end): f"{cost:.4g}" for begin, end, cost in rows} for label, rows in members.items()}
            costs = [[label, *(row.get(span, "") for span in spans)] for label, row in known.items()]
            tables.append("\n".join([paint(f"{what.name}: ms for a token, by position", "bold"),
                                     table(costs, ["", *(f"{begin} to {end}" for begin, end in spans)], "l" + "r" * len(spans))]))
    return "\n\n".join(tables)


# --- README.md ---------------------------------------------------------------------------------------------------

def readme(results: Results) -> str:
    """The block: the machine, the figures, and tokens per second of everyone."""
    facts = results.machine
    place = f"{facts.get('cores')} cores of {facts.get('processor')}{' (a virtual machine)' if facts.get('virtual') == 'yes' else ''}"
    words = (f"Measured on {facts.get('date')} on {place}, caches {facts.get('caches')}, {facts.get('compiler')}, {facts.get('kernel')}: "
             f"the middle ratio of {results.rounds} rounds, in which the programs took turns. A program with one thread stayed on one "
             f"core.{trained(results)}{peer(results)}")
    return (f"{textwrap.fill(words, README_WIDTH, break_on_hyphens=False)}\n\n"
            f"{markdown_table([one.cells for one in figures.found(results)], figures.HEADERS, figures.ALIGNMENT)}\n\n"
            f"Tokens per second; in italics, of the whole process, of the golfed engines:\n\n{rates(results)}\n")


def trained(results: Results) -> str:
    names = [what.name for what in results.models if what.trained]
    return f" The weights are random, but for {' and '.join(names)}." if names else " The weights are random."


def peer(results: Results) -> str:
    made = results.machine.get("llama2.c")
    return f" llama2.c: {made}." if made else ""


def speed(results: Results, what: str, who: str) -> tuple[Spread | None, bool]:
    """Tokens per second of a contender with a model: within the story, or where only that is known of the whole process (True)."""
    story = samples.of(results.of(what, who, STORY), samples.rate)
    return (story, False) if story else (samples.of(results.of(what, who, WHOLE), samples.whole_rate), True)


def rates(results: Results) -> str:
    """A row for each contender, a column for each model; of those that only whole processes are known of, in italics."""
    rows = []
    for who in results.contenders:
        cells = []
        for what in results.models:
            found, whole = speed(results, what.name, who.name)
            cells.append("" if found is None else f"*{number(found)}*" if whole else number(found))
        if any(cells):
            rows.append([who.label, *cells])
    return markdown_table(rows, ["", *(what.name for what in results.models)], "l" + "r" * len(results.models))


# --- The picture -------------------------------------------------------------------------------------------------

def picture(results: Results) -> str:
    """Everyone's speed: within the story, or of the whole process where only that is known; and how the cost grows."""
    panels = []
    for what in results.models:
        bars = []
        for who in results.contenders:
            found, whole = speed(results, what.name, who.name)
            if found:
                bars.append(Bar(who.label + ", whole process" * whole, who.group, found.middle, found.low, found.high))
        if bars:
            panels.append((f"{what.name}: {what.parameters:,} parameters", bars))
    if results.others:
        panels.append(("not from this run", [Bar(f"{other.label}, {other.model}", OTHER, other.rate, other.rate - (other.deviation or 0),
                                                 other.rate + (other.deviation or 0)) for other in results.others]))
    groups = {who.label: who.group for who in results.contenders}
    plots: dict[str, list[Line]] = {}
    for (shape, label), rows in growth.by_position(results).items():
        plots.setdefault(shape, []).append(Line(label, groups[label], rows))
    return bench_svg(panels, list(plots.items()))
