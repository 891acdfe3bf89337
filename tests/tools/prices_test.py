"""common/size/prices.py: a price is a difference. What prices there are, tests/size/size_test.py builds."""

from __future__ import annotations

import unittest

from support.skip import main

from common.size.prices import Price


class Prices(unittest.TestCase):
    def test_price(self) -> None:
        self.assertEqual(Price("e", "f", with_it=483, without_it=468).price, 15)


if __name__ == "__main__":
    main()
