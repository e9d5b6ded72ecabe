"""How often the interval of a map's price holds what it costs: 100 maps, answered by the simulator.

Run it as `python tests/benchmarks/forecast.py [maps] [rows]`. Each map asks about other texts, of lengths that spread
by a factor of six; the share of intervals that hold the final cost, and their width beside it, are printed.
"""

from __future__ import annotations

import os
import random
import sys

os.environ |= {"VICTOR_MODE": "simulate", "VICTOR_SIM_SPEED": "0", "VICTOR_LEDGER": "memory", "VICTOR_CACHE": "off"}

from victor_nb import session

WORDS = "price colour battery screen case strap button menu sound delivery support manual box cable lens".split()


def main(maps: int, rows: int) -> None:
    """Run the maps, and print what came of their prices."""
    held, width = 0, 0.0
    for number in range(maps):
        chance = random.Random(number)
        texts = [f"{number}-{row}: {' '.join(chance.choices(WORDS, k=chance.randint(10, 60)))}" for row in range(rows)]
        handle = session().pool.start_map(texts, "Comment on this review in a sentence: {{ value }}", profile="fast")
        handle.result()
        cost, spent = handle.priced and handle.priced.cost, float(handle.tally.spent.cost)
        assert cost is not None
        held += cost.low <= spent <= cost.high
        width += (cost.high - cost.low) / spent
    print(f"{held} of {maps} intervals hold the cost; they are {width / maps:.0%} of it wide")


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*given, *(100, 150)[len(given) :])
