"""common/picture/chart.py: every change is at its place, names do not overlap, and the text is always the same."""

from __future__ import annotations

import re
import unittest
from xml.etree import ElementTree

from support.skip import main

from common.picture import chart
from common.picture.chart import line_chart, push_apart

SVG = "{http://www.w3.org/2000/svg}"
THREE = [{"a": 400}, {"a": 390, "b": 391}, {"a": 390, "b": 391, "c": 390}]


class Chart(unittest.TestCase):
    def texts(self, changes: list[dict[str, int]]) -> list[str]:
        return ["".join(node.itertext()) for node in ElementTree.fromstring(line_chart(changes)).iter(f"{SVG}text")]

    def markers(self, changes: list[dict[str, int]]) -> list[str]:
        """What pointing at a marker says."""
        titles = [node.text or "" for node in ElementTree.fromstring(line_chart(changes)).iter(f"{SVG}title")]
        return titles[1:]

    def test_markers_stand_where_bytes_change(self) -> None:
        self.assertEqual(self.markers(THREE), ["change 1: a, 400 bytes", "change 2: a, 390 bytes",
                                               "change 2: b, 391 bytes", "change 3: c, 390 bytes"])
        again = [{"a": 400}, {}, {"a": 400}]  # a gap: the second one does not build
        self.assertEqual(self.markers(again), ["change 1: a, 400 bytes", "change 3: a, 400 bytes"])

    def test_lines(self) -> None:
        svg = line_chart([{"a": 400}, {}, {"a": 400}, {"a": 300}])
        path = re.search(r'class="l0" d="([^"]*)"', svg)
        assert path
        points = re.findall(r"([ML])([\d.]+) ([\d.]+)H([\d.]+)", path[1])
        self.assertEqual([point[0] for point in points], ["M", "M", "L"])
        self.assertEqual(points[1][3], points[2][1])  # a step ends where the next one begins
        self.assertGreater(float(points[2][2]), float(points[1][2]))  # fewer bytes are further down
        self.assertEqual(float(points[2][3]), chart.WIDTH - chart.RIGHT)  # to the right edge: it is so today

    def test_names_and_limit(self) -> None:
        texts = self.texts([*THREE, {"a": 380, "b": 391}])
        for text in ("a 380", "b 391", "c 390, gone", "one sector, 512", "4"):
            self.assertIn(text, texts)

    def test_few_and_many(self) -> None:
        for count in (0, 1, 2, 300):
            with self.subTest(count=count):
                changes = [{"a": 500 - number, "b <&>": 600} for number in range(count)]
                numbers = re.findall(r'class="quiet middle"[^>]*>(\d+)<', line_chart(changes))
                self.assertLessEqual(len(numbers), chart.NUMBERS)
                self.assertEqual(numbers[:1], ["1"] if count else [])
        self.assertIn("b <&> 600", self.texts([{"b <&>": 600}]))

    def test_scale_holds_everything(self) -> None:
        for values in ([512], [1, 512], [350, 483, 512], [512, 512000], [512, 520, 521]):
            scale = chart.choose_scale(values)
            self.assertTrue(0 <= scale.low <= min(values) and max(values) < scale.high, values)
            self.assertLessEqual(scale.high - scale.low, 9 * scale.step)

    def test_push_apart(self) -> None:
        self.assertEqual(push_apart([10, 50, 90], 20, 0, 100), [10, 50, 90])
        self.assertEqual(push_apart([50, 50, 50], 20, 0, 100), [30, 50, 70])
        self.assertEqual(push_apart([0, 5, 100], 20, 0, 100), [0, 20, 100])
        self.assertEqual(push_apart([95, 99], 20, 0, 100), [80, 100])
        for places in ([10, 12, 31, 49, 50], [1, 2, 3, 98, 99]):
            moved = push_apart(places, 18, 0, 100)
            self.assertTrue(all(b - a >= 18 - 1e-9 for a, b in zip(moved, moved[1:])), moved)

    def test_dark_mode_and_looks(self) -> None:
        engines = {f"e{number}": 400 + 10 * number for number in range(12)}
        svg = line_chart([engines])
        self.assertIn("@media (prefers-color-scheme:dark)", svg)
        looks = {(chart.COLOURS[n % len(chart.COLOURS)], chart.DASHES[n % len(chart.DASHES)],
                  chart.MARKERS[n % len(chart.MARKERS)]) for n in range(12)}
        self.assertEqual(len(looks), 12)
        shapes = re.findall(r'class="m(\d+)" transform="[^"]*" d="([^"]*)"/>', svg)
        self.assertEqual(len({shape for place, shape in shapes if int(place) < 8}), 8)
        self.assertEqual(svg, line_chart([dict(engines)]))
        self.assertIsNone(re.search(r"\d\.\d{3}", svg.partition("</style>")[2]))

    def test_description(self) -> None:
        root = ElementTree.fromstring(line_chart(THREE))
        self.assertEqual(root.findtext(f"{SVG}desc"),
                         "3 changes. a: from 400 to 390 bytes. b: 391 bytes. c: 390 bytes.")


if __name__ == "__main__":
    main()
