"""The engines of a picture by target, which is how pictures are divided.

    from common.picture.groups import by_target
    by_target(["asm-pc", "asm-board", "asm-old"], {"asm-board": "board", "asm-pc": "pc"})
        # {"board": ["asm-board"], "pc": ["asm-pc"], "gone": ["asm-old"]}
"""

from __future__ import annotations

from typing import Iterable, Mapping

from common.engine import engines

GONE = "gone"  # the group of engines that have no target any more


def targets() -> dict[str, str]:
    """The target of every engine that there is."""
    return {engine.name: engine.target.name for engine in engines.table()}


def families() -> dict[str, str]:
    """The family of every engine's target: how tables are divided."""
    return {engine.name: engine.target.fact("family") for engine in engines.table()}


def by_target(names: Iterable[str], target_of: Mapping[str, str]) -> dict[str, list[str]]:
    """The engines of each target, in the order of `target_of`, which is that of targets(). Engines that it does not have
    come last, by name."""
    wanted = set(names)
    groups: dict[str, list[str]] = {}
    for engine, target in target_of.items():
        if engine in wanted:
            groups.setdefault(target, []).append(engine)
    gone = sorted(wanted - set(target_of))
    return groups | ({GONE: gone} if gone else {})
