"""The first live call of fresh kernels, so soon after the extension was loaded that its imports are still under way.

    python tests/benchmarks/first_call.py [KERNELS] [--only PROVIDER] [--against CHECKOUT]      (60 unless given)

Each kernel loads the extension, waits between 0 and 2 s, and asks one of the four providers, a server on loopback, by
the Python API, blocking or awaited, with no other profile beside it or with those of the other three. No call may fail.
With another checkout, whose code takes turns with this one's, the ratio of the seconds that the first call takes is
printed too: a machine may be busy with other things.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE / "tests"))

from cells import Kernel  # noqa: E402 - found beside this folder
from servers import DIALECTS, Answer, Dialect, Server  # noqa: E402 - as above
from workbench import write_profiles  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 2.0  # seconds between the load and the call
CELL = """
import time
start = time.perf_counter()
from victor_nb import Agent
agent = {make}
reply = {ask}
print(f"{{time.perf_counter() - start:.3f}} {{reply.content}}")
"""
WAYS = (
    {"make": "Agent.create_sync(profile={name!r})", "ask": "agent.run_sync('How many?')"},
    {"make": "await Agent.create(profile={name!r})", "ask": "await agent.run('How many?')"},
)


@dataclass(frozen=True)
class Case:
    """One fresh kernel: whom it asks, how, how long after the load, and beside which other profiles."""

    dialect: Dialect
    way: dict[str, str]
    delay: float
    alone: bool

    def run(self, checkout: Path, server: Server) -> tuple[float, str]:
        """Return how long the first call took, in seconds, and what went wrong."""
        there = [self.dialect] if self.alone else DIALECTS
        profiles = {
            dialect.name: {"provider": dialect.name, "model": dialect.model, "base_url": dialect.base_url(server.url)}
            for dialect in there
        }
        keys = {dialect.key_variable: "canary-0f3c" for dialect in there if dialect.key_variable}
        with tempfile.TemporaryDirectory() as folder:
            write_profiles(Path(folder), **profiles)
            quiet = {"CI": "", "VICTOR_MODE": "live", "NO_PROXY": "*", "HOME": folder, "IPYTHONDIR": folder}
            with Kernel(Path(folder), PYTHONPATH=str(checkout), **quiet, **keys) as kernel:
                kernel.run("%load_ext victor_nb")
                time.sleep(self.delay)
                words = {key: text.format(name=self.dialect.name) for key, text in self.way.items()}
                ran = kernel.run(CELL.format(**words))
        seconds, _, text = ran.said.strip().partition(" ")
        if ran.error or text != Answer().text:
            return 0.0, " ".join(ran.error or [ran.said])[-300:]
        return float(seconds), ""

    def __str__(self) -> str:
        return f"{self.dialect.name:9} {'alone' if self.alone else 'of 4 '} {self.delay:4.2f} s later"


def cases(kernels: int, dialects: Sequence[Dialect]) -> Iterator[Case]:
    """Yield so many cases, the providers in turn, over all delays."""
    turns = max(1, (kernels - 1) // len(dialects))
    for number in range(kernels):
        turn = number // len(dialects)
        way, alone = WAYS[turn % 2], turn // 2 % 2 == 0
        yield Case(dialects[number % len(dialects)], way, LONGEST * turn / turns, alone)


def measure(kernels: Sequence[Case], checkouts: Sequence[Path]) -> None:
    """Ask in fresh kernels of each checkout, and print what failed and how long the others took."""
    taken: list[dict[Path, float]] = []
    with Server(Answer()) as server:
        for number, case in enumerate(kernels):
            taken.append({})
            for checkout in checkouts[:: 1 if number // len(DIALECTS) % 2 else -1]:  # the second finds warm caches
                seconds, wrong = case.run(checkout, server)
                if not wrong:
                    taken[-1][checkout] = seconds
                print(f"{case}: {wrong or f'{seconds:.2f} s'} {checkout.name}", flush=True)
    for checkout in checkouts:
        found = [seconds[checkout] for seconds in taken if checkout in seconds]
        failed, middle = len(kernels) - len(found), statistics.median(found or [0.0])
        print(f"{checkout}: {failed} of {len(kernels)} failed, median of the others {middle:.2f} s")
    pairs = [tuple(seconds[checkout] for checkout in checkouts) for seconds in taken if len(seconds) == len(checkouts)]
    if len(checkouts) > 1 and pairs:
        print(f"median ratio of {len(pairs)} pairs: {statistics.median(ours / theirs for ours, theirs in pairs):.2f}")


def main() -> None:
    """Read the command line, and measure."""
    os.environ["VICTOR_LEDGER"] = "memory"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="?", type=int, default=60)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--only", choices=[dialect.name for dialect in DIALECTS], help="one provider")
    given = parser.parse_args()
    dialects = [dialect for dialect in DIALECTS if given.only in {None, dialect.name}]
    checkouts = [HERE, *([given.against.resolve()] if given.against else [])]
    measure(list(cases(given.kernels, dialects)), checkouts)


if __name__ == "__main__":
    main()
