"""common/picture/chart.py: every change is at its place, in its target's panel; names do not overlap; always the same."""

from __future__ import annotations

import re
import unittest
from xml.etree import ElementTree

from support.skip import main

from common.picture import chart
from common.picture.chart import line_chart, push_apart

SVG = "{http://www.w3.org/2000/svg}"
THREE = [{"a": 400}, {"a": 390, "b": 391}, {"a": 390, "b": 391, "c": 390}]
ONE = dict.fromkeys("abc", "one")
MANY = {f"asm-target-{number % 9}-{number}": f"target-{number % 9}" for number in range(15)}  # fifteen on nine


class Chart(unittest.TestCase):
    def texts(self, changes: list[dict[str, int]]) -> list[str]:
        root = ElementTree.fromstring(line_chart(changes, ONE))
        return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]

    def markers(self, changes: list[dict[str, int]]) -> list[str]:
        """What pointing at a marker says."""
        titles = [node.text or "" for node in ElementTree.fromstring(line_chart(changes, ONE)).iter(f"{SVG}title")]
        return titles[1:]

    def test_markers_stand_where_bytes_change(self) -> None:
        self.assertEqual(self.markers(THREE), ["change 1: a, 400 bytes", "change 2: a, 390 bytes",
                                               "change 2: b, 391 bytes", "change 3: c, 390 bytes"])
        again = [{"a": 400}, {}, {"a": 400}]  # a gap: the second one does not build
        self.assertEqual(self.markers(again), ["change 1: a, 400 bytes", "change 3: a, 400 bytes"])

    def test_lines(self) -> None:
        svg = line_chart([{"a": 400}, {}, {"a": 400}, {"a": 300}], ONE)
        path = re.search(r'class="l0" d="([^"]*)"', svg)
        assert path
        points = re.findall(r"([ML])([\d.]+) ([\d.]+)H([\d.]+)", path[1])
        self.assertEqual([point[0] for point in points], ["M", "M", "L"])
        self.assertEqual(points[1][3], points[2][1])  # a step ends where the next one begins
        self.assertGreater(float(points[2][2]), float(points[1][2]))  # fewer bytes are further down
        tick = re.search(r'class="tick" d="M0 [\d.]+H([\d.]+)"', svg)
        assert tick
        self.assertEqual(points[2][3], tick[1])  # to the right edge: it is so today

    def test_names_and_limit(self) -> None:
        texts = self.texts([*THREE, {"a": 480, "b": 391}])
        for text in ("one", "a 480", "b 391", "c 390, gone", "one sector, 512", "4"):
            self.assertIn(text, texts)
        self.assertNotIn("one sector, 512", self.texts(THREE))  # too far away

    def test_a_last_change_that_does_not_build(self) -> None:
        self.assertIn("a 390", self.texts([*THREE, {}]))

    def test_few_and_many(self) -> None:
        for count in (0, 1, 2, 60, 300, 2000):
            with self.subTest(count=count):
                changes = [{"a": 5000 - number, "b <&>": 600} for number in range(count)]
                svg = line_chart(changes, {"a": "one"})
                for panel in ElementTree.fromstring(svg).iter(f"{SVG}g"):
                    places = [float(node.get("x", 0)) for node in panel.iter(f"{SVG}text")
                              if node.get("class") == "quiet middle"]
                    self.assertTrue(all(b - a >= 14 for a, b in zip(places, places[1:])), places)
                numbers = re.findall(r'class="quiet middle"[^>]*>(\d+)<', svg)
                self.assertEqual(numbers[:1], ["1"] if count else [])
        self.assertIn("b <&> 600", self.texts([{"b <&>": 600}]))

    def test_a_panel_for_each_target(self) -> None:
        changes = [{engine: 300 + 30 * number + place for place, engine in enumerate(MANY)} for number in range(60)]
        changes[7]["asm-old"] = 400
        root = ElementTree.fromstring(line_chart(changes, MANY))
        panels = root.findall(f"{SVG}g")
        self.assertEqual([panel.findtext(f"{SVG}text") for panel in panels], [*dict.fromkeys(MANY.values()), "gone"])
        for panel in panels:
            target = panel.findtext(f"{SVG}text")
            wanted = {engine for engine, its in MANY.items() if its == target} or {"asm-old"}
            said = [node.text or "" for node in panel.iter(f"{SVG}title")]
            self.assertEqual({text.partition(": ")[2].partition(",")[0] for text in said}, wanted)
        # None in another one's place, nor outside.
        corners = [tuple(map(float, re.findall(r"[\d.]+", panel.get("transform", "")))) for panel in panels]
        self.assertEqual(len(set(corners)), 10)
        self.assertLess(max(y for _, y in corners), float(root.get("height", 0)) - 100)
        # A name's end, by its letters.
        for panel, (x, _) in zip(panels, corners):
            for text in panel.iter(f"{SVG}text"):
                if not text.get("class"):
                    end = x + float(text.get("x", 0)) + chart.LETTER * len("".join(text.itertext()))
                    self.assertLess(end, chart.WIDTH if x > chart.WIDTH / 2 else chart.WIDTH / 2)

    def test_order_of_engines_does_not_matter(self) -> None:
        backwards = [dict(reversed(change.items())) for change in THREE]
        self.assertEqual(line_chart(backwards, ONE), line_chart(THREE, ONE))
        self.assertEqual(line_chart(backwards, {}), line_chart(THREE, {}))

    def test_scale_holds_everything(self) -> None:
        for values in ([512], [1, 512], [350, 483, 512], [512, 512000], [512, 520, 521], [1], [9, 10]):
            for steps in (4, 5, 10):
                scale = chart.choose_scale(values, steps)
                self.assertTrue(0 <= scale.low <= min(values) and max(values) < scale.high, values)
                self.assertLessEqual(scale.high - scale.low, max(steps * scale.step, chart.SPAN))
                self.assertGreaterEqual(scale.high - scale.low, chart.SPAN)

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
        targets = dict.fromkeys(engines, "one")
        svg = line_chart([engines], targets)
        self.assertIn("@media (prefers-color-scheme:dark)", svg)
        looks = {(chart.COLOURS[n % len(chart.COLOURS)], chart.DASHES[n % len(chart.DASHES)],
                  chart.MARKERS[n % len(chart.MARKERS)]) for n in range(12)}
        self.assertEqual(len(looks), 12)
        shapes = re.findall(r'class="m(\d+)" transform="[^"]*" d="([^"]*)"/>', svg)
        self.assertEqual(len({shape for place, shape in shapes if int(place) < 8}), 8)
        self.assertEqual(svg, line_chart([dict(engines)], targets))
        self.assertIsNone(re.search(r"\d\.\d{3}", svg.partition("</style>")[2]))

    def test_description(self) -> None:
        root = ElementTree.fromstring(line_chart(THREE, {"b": "two", "a": "one", "c": "two"}))
        self.assertEqual(root.findtext(f"{SVG}desc"),
                         "3 changes. two: b 391 bytes, c 390 bytes. one: a from 400 to 390 bytes.")


if __name__ == "__main__":
    main()
