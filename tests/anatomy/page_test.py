#!/usr/bin/env python3
"""anatomy.html in headless Chromium: one cell per counted byte, and every cell explains itself.

    tests/run anatomy/page_test.py [everything] -v

What the page must show is what `llama512 anatomy --json` says; how many bytes are counted, `llama512 size --json`.
Needs Debian's packages chromium and chromium-driver. Exit status 77 (SKIP): they are not there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

from browser import Browser
from support.everything import EVERYTHING
from support.tools import ROOT

from common.engine import engines

PHONE = (360, 740)
CONTRAST = 4.5  # WCAG 2.1, 1.4.3

PANEL = "return document.getElementById('panel').innerText"
# [foreground, background, what] of every element that has text of its own and is seen.
TEXTS = """
    const ground = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
        }
        return 'none';
    };
    return [...document.body.querySelectorAll('*')]
        .filter(element => element.checkVisibility() && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)
            && [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()))
        .map(element => [getComputedStyle(element).color, ground(element), element.className || element.tagName]);
"""


def llama512(*arguments: object, ok: tuple[int, ...] = (0,)) -> str:
    """What a tool prints."""
    result = subprocess.run([sys.executable, "-B", ROOT / "tools" / "llama512", *map(str, arguments)], encoding="utf-8",
                            capture_output=True, env={**os.environ, "NO_COLOR": "1"})
    if result.returncode not in ok:
        raise AssertionError(f"llama512 {arguments[0]} failed: {result.stderr}")
    return result.stdout


def contrast(first: str, second: str) -> float:
    """Of two colours as getComputedStyle says them: rgb(…, …, …)."""
    def luminance(colour: str) -> float:
        if not colour.startswith("rgb("):
            raise AssertionError(f"{colour}: no opaque colour")
        channels = [int(value) / 255 for value in colour[4:-1].split(",")]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


def words(text: str) -> str:
    """The text with all white space made one space: the page breaks lines as it likes."""
    return " ".join(text.split())


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="llama512-anatomy-")
        cls.addClassCleanup(temporary.cleanup)
        path = Path(temporary.name) / "anatomy.html"
        cls.engines = json.loads(llama512("anatomy", "--json", "--html", path))
        # The page does the same for all. What it does is tried with one for each way of explaining bytes and each image.
        kinds = {(known.toolchain, known.target.image): known.name for known in engines.table()
                 if known.name in {engine["engine"] for engine in cls.engines}}
        cls.some = [engine for engine in cls.engines if engine["engine"] in kinds.values()]
        cls.few = cls.some if EVERYTHING else [cls.some[0], cls.some[-1]]
        cls.text = path.read_text("utf-8")
        cls.url = path.as_uri()
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self) -> None:
        self.browser.resize(1280, 900)
        self.browser.media(prefers_color_scheme="light")

    def tearDown(self) -> None:
        self.assertEqual(self.browser.problems(), [], "the console or the network")

    def open(self, engine: dict, offset: int | None = None) -> None:
        byte = "" if offset is None else f"&byte={offset}"
        self.browser.open(f"{self.url}#engine={engine['engine']}{byte}")

    def unit_at(self, engine: dict, offset: int) -> dict:
        return next(unit for unit in engine["units"]
                    if unit["offset"] <= offset < unit["offset"] + len(unit["bytes"]) // 2)

    def samples(self, engine: dict) -> list[dict]:
        """A unit of each operation, those with the longest inline chains, and both ends."""
        by_operation = {unit["operation"]: unit for unit in engine["units"]}
        deepest = max(engine["units"], key=lambda unit: len(unit["places"]))
        return [*by_operation.values(), deepest, engine["units"][0], engine["units"][-1]]

    def check_panel(self, unit: dict) -> None:
        """The panel shows this unit with all that belongs to it."""
        shown = words(self.browser.run(PANEL))
        self.assertIn(words(unit["instruction"]), shown)
        self.assertIn(bytes.fromhex(unit["bytes"]).hex(" "), shown)
        for place in unit["places"]:
            self.assertIn(f"{place['file']}:{place['line']}", shown)
            self.assertIn(words(place["text"]), shown)
            self.assertIn(words(place["comment"]), shown)

    def selected(self) -> int:
        """The offset of the byte that is selected; it must be the only one, and the only one that Tab reaches."""
        found = self.browser.run("return ['[aria-selected=true]', '[tabindex=\"0\"]'].map(state => "
                                 "[...document.querySelectorAll('.cell' + state)].map(cell => cell.dataset.offset))")
        self.assertEqual(len(found[0]), 1)
        self.assertEqual(*found)
        return int(found[0][0])

    def test_one_cell_per_counted_byte(self) -> None:
        rows = json.loads(llama512("size", "--json", ok=(0, 1)))  # for every shape; the page is for the first one
        counted = {row["engine"]: row["bytes"] for row in rows if row["model"] == rows[0]["model"]}
        self.assertEqual([engine["engine"] for engine in self.engines], list(counted))
        for engine in self.engines:
            with self.subTest(engine=engine["engine"]):
                self.open(engine)
                cells = self.browser.run("return [...document.querySelectorAll('#grid .cell')].map(cell => "
                                         "[Number(cell.dataset.offset), cell.querySelector('.hex').textContent, "
                                         "cell.dataset.operation])")
                self.assertEqual(len(cells), counted[engine["engine"]])
                expected = [[unit["offset"] + place, f"{byte:02x}", unit["operation"]] for unit in engine["units"]
                            for place, byte in enumerate(bytes.fromhex(unit["bytes"]))]
                self.assertEqual(cells, expected)
                self.check_sums(engine, Counter(operation for _, _, operation in cells))

    def check_sums(self, engine: dict, cells: Counter[str]) -> None:
        """The legend and the table say as many bytes of each operation as there are cells."""
        self.assertEqual({name: cells[name] for name in engine["operations"]}, engine["operations"])
        legend = self.browser.run("return Object.fromEntries([...document.querySelectorAll('#legend button')].map("
                                  "button => [button.dataset.operation, "
                                  "Number(button.querySelector('.bytes').textContent)]))")
        self.assertEqual(legend, engine["operations"])
        table = self.browser.run("return [...document.querySelectorAll('tr')].map(row => [...row.cells].map("
                                 "cell => cell.dataset.operation || cell.textContent.trim()))")
        (row,) = (dict(zip(table[0], row)) for row in table[1:] if row[0] == engine["engine"])
        self.assertEqual({name: int(row[name]) for name in engine["operations"]}, engine["operations"])
        self.assertEqual(int(row["bytes"]), engine["counted"])

    def test_click(self) -> None:
        for number, engine in enumerate(self.some):
            self.open(engine)
            for unit in self.samples(engine)[::3 if number and not EVERYTHING else 1]:
                with self.subTest(engine=engine["engine"], offset=unit["offset"]):
                    last = unit["offset"] + len(unit["bytes"]) // 2 - 1
                    self.browser.click(f".cell[data-offset='{last}']")
                    self.assertEqual(self.selected(), last)
                    self.check_panel(unit)
                    framed = self.browser.run("return [...document.querySelectorAll('.cell.unit')].map(cell => "
                                              "Number(cell.dataset.offset))")
                    self.assertEqual(framed, list(range(unit["offset"], last + 1)))
                    self.assertTrue(self.browser.run("return location.hash")
                                    .endswith(f"#engine={engine['engine']}&byte={last}"))

    def test_pointing(self) -> None:
        engine = self.engines[0]
        self.open(engine, 0)
        for unit in self.samples(engine)[::3]:
            self.browser.point(f".cell[data-offset='{unit['offset']}']")
            self.check_panel(unit)
            self.assertEqual(self.selected(), 0)  # pointing selects nothing
        self.browser.point("h2")
        self.check_panel(engine["units"][0])

    def test_keyboard(self) -> None:
        for engine in self.few:
            with self.subTest(engine=engine["engine"]):
                self.open(engine, 0)
                self.browser.run("document.querySelector('.cell').focus()")
                offset = 0
                for key, step in (("ArrowRight", 1), ("ArrowDown", 16), ("ArrowRight", 1), ("ArrowLeft", -1),
                                  ("End", 14), ("Home", -15), ("ArrowDown", 16), ("ArrowUp", -16)):
                    self.browser.keys(key)
                    offset += step
                    self.assertEqual(self.selected(), offset, key)
                    self.check_panel(self.unit_at(engine, offset))
                self.assertEqual(self.browser.run("return document.activeElement.dataset.offset"), str(offset))
                self.assertNotEqual(self.browser.run("return getComputedStyle(document.activeElement).outlineStyle"),
                                    "none", "the focus is not visible")
                self.browser.keys("End", held="Control")
                self.check_panel(engine["units"][-1])
                self.browser.keys("ArrowRight", "ArrowDown")  # nothing is behind the last one
                self.check_panel(engine["units"][-1])

    def test_tabs_by_keyboard(self) -> None:
        self.open(self.engines[0])
        self.browser.run("document.querySelector('[role=tab]').focus()")
        for engine in [*self.engines[1:], self.engines[0]]:
            self.browser.keys("ArrowRight")
            self.assertEqual(self.browser.run("return document.querySelectorAll('.cell').length"), engine["counted"])
            self.assertEqual(self.browser.run("return document.querySelector('[role=tab][aria-selected=true]').id"),
                             f"tab-{engine['engine']}")

    def test_grid_is_one_for_screen_readers(self) -> None:
        self.open(self.engines[0])
        self.assertEqual(self.browser.run("return document.querySelectorAll("
                                          "'[role=grid] > [role=row] > [role=gridcell][aria-label]').length"),
                         self.engines[0]["counted"])

    def test_fragment(self) -> None:
        for engine in self.some:
            unit = self.samples(engine)[3]
            self.open(engine, unit["offset"])
            self.assertEqual(self.selected(), unit["offset"])
            self.check_panel(unit)
        self.browser.open(f"{self.url}#engine=nonsense&byte=-7")
        self.check_panel(self.engines[0]["units"][0])

    def test_reference(self) -> None:
        engine = self.engines[0]
        for operation, line in (("rmsnorm", "std::sqrt(mean_square + epsilon)"),
                                ("swiglu", "gate[i] = silu * up[i];"), ("attention", "softmax(scores);")):
            unit = next(unit for unit in engine["units"] if unit["operation"] == operation)
            self.open(engine, unit["offset"])
            self.assertIn(line, words(self.browser.run(PANEL)))

    def test_legend_highlights(self) -> None:
        engine = self.engines[0]
        self.open(engine)
        lit = ("const lit = [...document.querySelectorAll('.highlighting .cell.lit')]; "
               "return [lit.length, [...new Set(lit.map(cell => cell.dataset.operation))]]")
        self.assertEqual(self.browser.run(lit), [0, []])
        self.browser.point("#legend [data-operation=rope]")
        self.assertEqual(self.browser.run(lit), [engine["operations"]["rope"], ["rope"]])
        self.browser.point("h1")
        self.assertEqual(self.browser.run(lit), [0, []])
        self.browser.click("#legend [data-operation=matmul]")
        self.browser.point("h1")
        self.assertEqual(self.browser.run(lit), [engine["operations"]["matmul"], ["matmul"]])
        self.check_contrast()
        self.browser.keys("Escape")
        self.assertEqual(self.browser.run(lit), [0, []])

    def test_phone(self) -> None:
        self.browser.resize(*PHONE)
        for engine in self.few:
            with self.subTest(engine=engine["engine"]):
                self.open(engine)
                self.check_width()
                self.assertEqual(self.browser.run("return document.querySelectorAll('.cell').length"),
                                 engine["counted"])
                for unit in self.samples(engine)[::4]:
                    cell = f".cell[data-offset='{unit['offset']}']"
                    self.browser.run("document.querySelector(arguments[0]).scrollIntoView({block: 'nearest'})", cell)
                    self.browser.click(cell)
                    self.check_panel(unit)
                    self.check_width()
                    self.check_panel_is_seen()

    def check_width(self) -> None:
        self.assertEqual(self.browser.run("return [innerWidth, document.documentElement.scrollWidth]"), [PHONE[0]] * 2)
        wide = self.browser.run("return [...document.querySelectorAll('.cell, #panel *, #legend *, #tabs *')]"
                                ".filter(each => each.getBoundingClientRect().right > innerWidth + .5)"
                                ".map(each => each.className)")
        self.assertEqual(wide, [])

    def check_panel_is_seen(self) -> None:
        """While a byte is selected, the panel is on the screen, and the byte is not behind it."""
        cell, panel, bottom = self.browser.run(
            "const panel = document.getElementById('panel').getBoundingClientRect();"
            "const cell = document.querySelector('.cell[aria-selected=true]').getBoundingClientRect();"
            "return [cell.bottom, panel.top, panel.bottom]")
        self.assertLessEqual(bottom, PHONE[1] + 1)
        self.assertLessEqual(cell, panel + 1)

    def test_contrast(self) -> None:
        for scheme in ("light", "dark"):
            grounds = set()
            self.browser.media(prefers_color_scheme=scheme)
            for engine in self.some:
                with self.subTest(scheme=scheme, engine=engine["engine"]):
                    self.open(engine)
                    self.check_contrast()
                    grounds.add(self.browser.run("return getComputedStyle(document.body).backgroundColor"))
            self.assertEqual(len(grounds), 1)
            self.assertEqual(contrast(grounds.pop(), "rgb(255, 255, 255)") < CONTRAST, scheme == "light")

    def check_contrast(self) -> None:
        texts = self.browser.run(TEXTS)
        self.assertGreater(len(texts), 700)  # two in each cell
        for text, ground, what in {tuple(entry) for entry in texts}:
            self.assertGreaterEqual(contrast(text, ground), CONTRAST, f"{what}: {text} on {ground}")

    def test_operations_differ_without_colour(self) -> None:
        """Each operation has its own letters and its own pattern."""
        self.open(self.engines[0])
        looks = self.browser.run("return [...document.querySelectorAll('#legend .swatch')].map(each => "
                                 "[each.textContent, getComputedStyle(each, '::after').maskImage, "
                                 "getComputedStyle(each).backgroundColor])")
        self.assertEqual(len(looks), len(self.engines[0]["operations"]))
        for column in zip(*looks):
            self.assertEqual(len(set(column)), len(looks))
            self.assertNotIn("none", column)

    def test_page_asks_for_nothing(self) -> None:
        """Not only does it make no requests: its policy forbids them."""
        self.assertEqual(re.findall(r"<(?:link|img|iframe|object|embed|base)\b|@import| src=", self.text), [])
        self.assertIn("default-src 'none'", self.text[:1000])
        self.open(self.engines[0])
        self.assertEqual(self.browser.run("return fetch('https://example.com').then(() => 'loaded', () => 'refused')"),
                         "refused")
        refused = self.browser.problems()
        self.assertTrue(any("Content Security Policy" in problem for problem in refused), refused)
        self.assertFalse(any(problem.startswith("request:") for problem in refused), refused)


if __name__ == "__main__":
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if absent:
        print(f"SKIP: {' and '.join(absent)} not found; the packages chromium and chromium-driver have them")
        sys.exit(77)
    unittest.main()
