#!/usr/bin/env python3
"""Marks in sources, and the table of operations that they mean.

    tests/run anatomy/marks_test.py -v
"""

from __future__ import annotations

import json
import re
import unittest
import xml.etree.ElementTree as ElementTree
from unittest import mock

import anatomy
from support.folders import FolderTest
from support.sources import other_sources
from support.tools import ROOT

from common.anatomy import marks
from common.anatomy.explain import bytes_by
from common.anatomy.operations import OPERATIONS, Operation
from common.anatomy.units import unit
from common.picture.bars import bars_svg
from common.picture.page import page
from common.picture.style import styles


class Marks(FolderTest):
    def source(self, text: str, name: str = "a.cpp") -> marks.Source:
        (self.folder / name).write_text(text, "utf-8")
        with other_sources(self.folder):
            return marks.source(name)

    def test_lines_and_regions(self) -> None:
        source = self.source('int a;\n// "@rope" and `@rope` are quotations, a@rope.org is none\nint b;\n'
                             "// turn the query @rope\nint c;  // angle\nint d;  // score @softmax\nint e;\n"
                             "// @matmul, row by row\n// to the end\nint f;\n")
        self.assertEqual(source.marks, (None,) * 3 + ("rope", "rope", "softmax", "rope") + ("matmul",) * 3)
        self.assertEqual([place.comment for place in source.places],
                         ["", '"@rope" and `@rope` are quotations, a@rope.org is none', "", "turn the query", "angle",
                          "score", "turn the query", "matmul, row by row", "to the end",
                          "matmul, row by row to the end"])
        self.assertEqual([place.text for place in source.places][4:7], ["int c;", "int d;", "int e;"])

    def test_nasm(self) -> None:
        source = self.source('  db ";@rope"  ; text @output\n', "a.asm")
        (place,) = source.places
        self.assertEqual((place.text, place.comment, source.marks), ('db ";@rope"', "text", ("output",)))

    def test_bad_marks(self) -> None:
        for comment in ("@atention", "@Rope", "@ rope", "@rope @softmax"):
            with self.subTest(comment=comment):
                self.assertUserError("a.cpp:1: '.*': a comment has one mark, .* known are header, ",
                                     self.source, f"int a;  // {comment}\n")


class Operations(FolderTest):
    def test_reference_functions_exist(self) -> None:
        for name, operation in OPERATIONS.items():
            for place in operation.reference:
                file, _, function = place.partition(":")
                with self.subTest(operation=name, function=function):
                    self.assertRegex((ROOT / file).read_text("utf-8"), rf"(?m)^[\w:<>&\[\] ]*{re.escape(function)}\(")

    def test_one_more_is_one_line(self) -> None:
        """It is a mark, and stands in the table, in the bars and on the page, with a look that no other has."""
        new = {"drawing": Operation("drawing", ("reference/sampler.cpp:sample_top_p",)), "sorting": Operation("sorting")}
        (self.folder / "a.asm").write_text("  nop ; choose @drawing\n", "utf-8")
        with mock.patch.dict(OPERATIONS, new), other_sources(self.folder):
            units = [unit(b"\x90", 0, 1, True, "nop", [("a.asm", 1)])]
            columns = {"mine": bytes_by(units, "operation")}
            table, svg, html = anatomy.summary(columns, True), bars_svg(columns, {}), page("m", {"mine": units})
            looks = styles()
        self.assertEqual(units[0].operation, "drawing")
        self.assertRegex(table, r"(?m)^\| drawing +\| +1 +\|")
        texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        self.assertIn("drawing", [text.text for text in texts])
        self.assertIn(".o-drawing{", svg)
        data = json.loads(re.findall(r'id="data">(.*?)</script>', html)[0])
        self.assertEqual(data["operations"]["drawing"]["title"], "drawing")
        self.assertEqual(data["operations"]["drawing"]["reference"][0]["name"], "sample_top_p")
        self.assertIn(".op-drawing{", html)
        self.assertIn('<th scope="col" data-operation="drawing">', html)
        self.assertEqual(list(looks), list(OPERATIONS) + list(new))
        for field in ("code", "pattern", "light", "dark"):
            self.assertEqual(len({getattr(look, field) for look in looks.values()}), len(looks), field)


if __name__ == "__main__":
    unittest.main()
