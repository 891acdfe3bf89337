"""The anatomy's picture and page, without a browser and without building an engine.

    tests/run tools/anatomy_bars_test.py -v
"""

from __future__ import annotations

import json
import re
import unittest
import xml.etree.ElementTree as ElementTree
from unittest import mock

from support.folders import FolderTest
from support.skip import main
from support.tools import run_tool

from common.anatomy import reference_source
from common.anatomy.marks import Place
from common.anatomy.operations import OPERATIONS, Operation
from common.anatomy.units import Unit
from common.picture.bars import SECTOR, bars_svg
from common.picture.page import digest, page
from common.picture.style import DARK, LIGHT, contrast, styles

SVG = "{http://www.w3.org/2000/svg}"
COLUMNS = {"one": {name: 10 + 3 * place for place, name in enumerate(OPERATIONS)},
           "two & <three>": {"header": 96, "loading": 1, "matmul": 250, "argmax": 0}}
TARGETS = {"one": "some-machine", "two & <three>": "<other>"}


class Bars(unittest.TestCase):
    def setUp(self) -> None:
        self.svg = bars_svg(COLUMNS, TARGETS)
        self.root = ElementTree.fromstring(self.svg)

    def widths(self, svg: str, looks: str = r"o-\w+") -> dict[str, dict[str, float]]:
        """By engine and operation: how wide the part is."""
        found: dict[str, dict[str, float]] = {}
        for group in ElementTree.fromstring(svg).findall(f"{SVG}g"):
            engine = group.findtext(f"{SVG}title", "").rpartition(":")[0]
            found[engine] = {each.get("class", "")[2:]: float(each.get("width", 0)) for each in group.iter(f"{SVG}rect")
                             if re.fullmatch(looks, each.get("class", ""))}
        return found

    def test_all_bars_have_one_scale(self) -> None:
        widths = self.widths(self.svg)
        self.assertEqual(list(widths), list(COLUMNS))
        scales = set()
        for engine, parts in COLUMNS.items():
            self.assertEqual(list(widths[engine]), [name for name, size in parts.items() if size])
            for name, width in widths[engine].items():
                self.assertAlmostEqual(width / widths["one"]["header"] * 10, parts[name], delta=0.5)
            scales.add(round(sum(widths[engine].values()) / sum(parts.values()), 2))
        self.assertEqual(len(scales), 1)

    def test_parts_follow_one_another(self) -> None:
        for group in self.root.findall(f"{SVG}g"):
            end = None
            for part in group.findall(f"{SVG}g"):
                rectangle = part.find(f"{SVG}rect")
                assert rectangle is not None
                x, width = float(rectangle.get("x", 0)), float(rectangle.get("width", 0))
                self.assertAlmostEqual(x, x if end is None else end, delta=0.02)
                end = x + width

    def test_words(self) -> None:
        texts = [element.text for element in self.root.iter(f"{SVG}text")]
        for engine, parts in COLUMNS.items():
            self.assertIn(engine, texts)
            self.assertIn(str(sum(parts.values())), texts)
            self.assertIn(f"{engine}: {sum(parts.values())} bytes", self.root.findtext(f"{SVG}desc", ""))
        for name, operation in OPERATIONS.items():
            self.assertIn(operation.title, texts)
            self.assertIn(styles()[name].code, texts)
        self.assertIn(f"one sector, {SECTOR}", texts)
        self.assertTrue(self.root.findtext(f"{SVG}title"))

    def test_grouped_by_target(self) -> None:
        """Each engine below its target's name, and no bar on another one."""
        columns = {f"e{number}": {"matmul": 100 + number} for number in range(15)}
        targets = {f"e{number}": f"t{number % 9}" for number in range(14)}
        root = ElementTree.fromstring(bars_svg(columns, targets))
        found: list[tuple[str, str]] = []
        target, below = "", 0.0
        for node in root.iter():
            if node.tag == f"{SVG}text" and node.get("class") in ("name", "end"):
                y, text = float(node.get("y", 0)), node.text or ""
                self.assertGreater(y, below)
                below = y
                if node.get("class") == "name":
                    target = text
                else:
                    found.append((text, target))
        self.assertEqual(found, [(engine, its) for its in dict.fromkeys(targets.values()) for engine in targets
                                 if targets[engine] == its] + [("e14", "gone")])
        self.assertIn("Target t8. e8: 108 bytes, of these matmul 108.", root.findtext(f"{SVG}desc", ""))

    def test_nothing_leaves_the_picture(self) -> None:
        width = float(self.root.get("width", 0))
        for columns in (COLUMNS, {"huge": {"matmul": 5000, "rope": 1}}):
            for element in ElementTree.fromstring(bars_svg(columns, TARGETS)).iter(f"{SVG}rect"):
                self.assertLessEqual(float(element.get("x", 0)) + float(element.get("width", 0)), width)

    def test_patterns_are_defined(self) -> None:
        used = set(re.findall(r"url\(#([\w-]+)\)", self.svg))
        self.assertEqual(used, {element.get("id") for element in self.root.iter(f"{SVG}pattern")})
        self.assertEqual(len(used), len(OPERATIONS))

    def test_same_input_same_text(self) -> None:
        self.assertEqual(self.svg, bars_svg(json.loads(json.dumps(COLUMNS)), TARGETS))
        self.assertIn("@media (prefers-color-scheme:dark)", self.svg)
        self.assertTrue(self.svg.endswith("</svg>\n"))


class Look(unittest.TestCase):
    def test_every_operation_has_one_of_its_own(self) -> None:
        self.assertEqual(list(styles()), list(OPERATIONS))
        for field in ("code", "pattern", "light", "dark"):
            self.assertEqual(len({getattr(style, field) for style in styles().values()}), len(OPERATIONS), field)

    def test_a_made_one_is_its_own_as_well(self) -> None:
        more = {f"operation{letter}": Operation(letter) for letter in "abcdefghi"}
        with mock.patch.dict(OPERATIONS, more):
            self.test_every_operation_has_one_of_its_own()
            self.test_contrast()

    def test_contrast(self) -> None:
        self.assertAlmostEqual(contrast("#000000", "#ffffff"), 21)
        self.assertAlmostEqual(contrast("#767676", "#ffffff"), 4.54, places=2)
        for theme, ground, mark in ((LIGHT, "light", "light_mark"), (DARK, "dark", "dark_mark")):
            for colour in (theme.ground, theme.raised):
                self.assertGreaterEqual(contrast(theme.ink, colour), 4.5)
                self.assertGreaterEqual(contrast(theme.quiet, colour), 4.5)
                self.assertGreaterEqual(contrast(theme.accent, colour), 3)  # not text: WCAG 1.4.11
            for name, style in styles().items():
                self.assertGreaterEqual(contrast(theme.ink, getattr(style, ground)), 4.5, name)
                self.assertGreaterEqual(contrast(theme.accent, getattr(style, ground)), 3, name)
                self.assertGreaterEqual(contrast(getattr(style, mark), getattr(style, ground)), 2.4, name)


class Page(unittest.TestCase):
    def setUp(self) -> None:
        place = Place("golf/a.asm", 7, "cmp al, '<'", "</script> & <!-- end nothing")
        self.units = [Unit(0, b"\x3c\x3c", "matmul", "code", "cmp al, 0x3c", (place,)),
                      Unit(510, b"\x55\xaa", "header", "data", "dw 0xaa55", ())]
        self.page = page("<mine>", {"one": self.units, "two": self.units[:1]})

    def test_data(self) -> None:
        found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', self.page, re.DOTALL)
        data = json.loads(found[0])
        self.assertEqual(list(data["operations"]), list(OPERATIONS))
        self.assertEqual(data["places"], [vars(self.units[0].places[0])])
        self.assertEqual([engine["name"] for engine in data["engines"]], ["one", "two"])
        self.assertEqual(data["engines"][0]["units"][1], {"offset": 510, "bytes": "55aa", "operation": "header",
                                                          "kind": "data", "instruction": "dw 0xaa55", "places": []})
        self.assertEqual(self.page.count("<script"), 2)
        self.assertIn("shape of &lt;mine&gt;", self.page)

    def test_policy_knows_style_and_script(self) -> None:
        policy = re.findall(r'Content-Security-Policy" content="(.*?)"', self.page)[0]
        for tag, rule in (("style", "style-src"), ("script", "script-src")):
            text = re.findall(rf"<{tag}>(.*?)</{tag}>", self.page, re.DOTALL)
            self.assertEqual(len(text), 1)
            self.assertIn(f"{rule} '{digest(text[0])}';", policy)
        self.assertTrue(policy.startswith("default-src 'none';"))
        self.assertNotIn("unsafe", policy)

    def test_same_input_same_text(self) -> None:
        self.assertEqual(self.page, page("<mine>", {"one": self.units, "two": self.units[:1]}))


class Reference(FolderTest):
    def test_all_that_operations_name(self) -> None:
        for name, operation in OPERATIONS.items():
            for entry in operation.reference:
                found = reference_source.find_function(entry)
                text = (reference_source.ROOT / found.file).read_text("utf-8").splitlines()
                self.assertIn(found.source.splitlines()[0], text[found.line - 1], name)
                self.assertEqual(found.source.count("{"), found.source.count("}"), entry)
                self.assertTrue(found.comment, entry)

    def test_definition_and_contract(self) -> None:
        (self.folder / "a.hpp").write_text("/// Adds. Of a\n/// and b.\n///\n/// Never fails.\n"
                                           "int add(int a,\n  int b);\n/// Other.\nint other();\n", "utf-8")
        (self.folder / "a.cpp").write_text("int twice(int a) { return add(a, a); }\n"
                                           "int user() {\n    return add(1,\n 2);\n}\n"
                                           "int Class::add(int a,\n        int b) {\n"
                                           "    if (a) {\n    }\n    return 0;\n}\n", "utf-8")
        with mock.patch.object(reference_source, "ROOT", self.folder):
            for entry in ("a.hpp:add", "a.cpp:add", "a.cpp:Class::add"):
                found = reference_source.find_function(entry)
                self.assertEqual((found.file, found.line), ("a.cpp", 6))
                self.assertEqual(found.comment, "Adds. Of a and b.\nNever fails.")
                self.assertEqual(len(found.source.splitlines()), 6)
            self.assertEqual(reference_source.find_function("a.cpp:twice").source,
                             "int twice(int a) { return add(a, a); }")
            self.assertUserError("a.cpp: gone: ", reference_source.find_function, "a.cpp:gone")
            self.assertUserError("a.hpp: other: ", reference_source.find_function, "a.hpp:other")


class Tool(unittest.TestCase):
    def test_usage(self) -> None:
        for arguments in (("--units",), ("--units", "--engine", "asm-boot", "--engine", "asm-linux-i386"),
                          ("--json", "--markdown"), ("--tokenizer", "x"), ("nonsense",)):
            self.assertEqual(run_tool("anatomy", *arguments).returncode, 2, arguments)
        result = run_tool("anatomy", "--engine", "nonsense")
        self.assertEqual(result.returncode, 1)
        self.assertIn("nonsense", result.stderr)


if __name__ == "__main__":
    main()
