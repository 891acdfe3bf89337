"""common/engine/together.py: what it says fits together is what a build says; and nothing else fits."""

from __future__ import annotations

import itertools
import unittest
from dataclasses import replace

from support.folders import FolderTest
from support.skip import main
from support.tools import run_tool

from common.engine import builds, engines, together
from common.engine.nasm import SectorFull
from common.engine.together import Together
from common.model import models
from common.pack.race import Sampling

SECTOR = 512


class Largest(unittest.TestCase):
    def test_parts_of_others_are_left_out(self) -> None:
        sets = [Together(tuple(names), 500) for names in ("ABC", "BCD", "AB", "D", "AD", "")]
        self.assertEqual(["".join(each.features) for each in together.largest(sets)], ["ABC", "BCD", "AD"])


class Sets(FolderTest):
    ENGINE = next(engine for engine in engines.table() if engine.features)

    def test_they_are_what_a_build_says(self) -> None:
        engine, model = self.ENGINE, models.find_model()
        encoding = engine.encodings[-1]
        sets = together.fitting_sets(engine, model, encoding)
        found = {frozenset(each.features): each.counted for each in sets}
        self.assertEqual(len(found), len(sets))
        self.assertTrue(all(counted <= SECTOR for counted in found.values()))
        first, *comforts = engine.beyond["features"]
        for features in found:
            self.assertTrue(not features & {"CLOCK"} or "TEMPERATURE" in features, features)
            self.assertTrue(not features & {*comforts} or first in features, features)
        shown = together.largest(sets)
        self.assertTrue(1 < len(shown) < len(sets))
        everything = {*engine.features, *engine.choices, *engine.beyond["features"], *engine.on_request, "TEMPERATURE", "CLOCK"}
        self.assertEqual({*together.known(engine)}, everything)
        for features in [frozenset(engine.choices), *(frozenset(each.features) for each in shown[:3])]:
            self.assertEqual(self.counted(features), found[features], features)
        tried = itertools.count()
        for each in shown:  # with any other feature it does not fit, or is no set
            for more in everything - {*each.features}:
                features = frozenset({*each.features, more})
                self.assertNotIn(features, found)
                if not {*comforts, "CLOCK"} & {more} and next(tried) < 5:
                    with self.assertRaises(SectorFull):
                        self.counted(features)

    def counted(self, features: frozenset[str]) -> int:
        """By an ordinary build."""
        engine, beyond = self.ENGINE, self.ENGINE.beyond["features"]
        chosen = engine.without({*engine.features, *beyond[1:]} - features)
        chosen = chosen.large if beyond[0] in features else chosen
        chosen = chosen.with_requested(features & {*engine.on_request})
        chosen = replace(chosen, features=(*chosen.features, *(f"NO_{name}" for name in engine.choices if name not in features)))
        if "TEMPERATURE" in features:
            chosen = chosen.sampled(Sampling(1.0, None if "CLOCK" in features else 0))
        return builds.build(chosen, models.find_model(), self.folder / "built", engine.encodings[-1]).counted

    def test_the_tool(self) -> None:
        result = run_tool("build", "--features", "--engine", self.ENGINE.name)
        self.assertEqual(result.returncode, 0, result.stderr)
        head, columns, _, *rows = result.stdout.splitlines()
        self.assertRegex(head, rf"^{self.ENGINE.name}, {models.PROJECT_MODEL}, {self.ENGINE.encodings[0]}: \d+ sets of features "
                         rf"fit into the sector; these are the {len(rows)} to which none can be added$")
        self.assertEqual(columns.split(), ["bytes", *together.known(self.ENGINE)])
        self.assertTrue(all(int(row.split()[0]) <= SECTOR for row in rows))
        for arguments, status, said in ((["--engine", "asm-boot"], 1, "asm-boot: features: it has none"),
                                        (["--temperature", "1"], 2, "--features: it tries all"),
                                        (["-o", str(self.folder)], 2, "not allowed with")):
            result = run_tool("build", "--features", *arguments)
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertIn(said, result.stderr)


if __name__ == "__main__":
    main()
