"""What recording costs a streamed answer, and whether replays give each sample its own.

    python tests/benchmarks/tapes.py

The same answers from one loopback server, live and recorded in turns; then a hundred replays of 48 calls at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers import OPENAI, Answer, Server, faults
from victor_nb import OrchestratorPool, Settings
from victor_nb.kernel import reset
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.exchange import Act, Exchange, Request

ROW = "profile status http_status error_type attempt request_id input_tokens output_tokens cost"
PIECES = 150  # of an answer, one each 6 ms: a fast model's 170 tokens a second


@contextmanager
def desk() -> Iterator[tuple[Path, Server]]:
    """Work in an empty folder, with a server."""
    with TemporaryDirectory() as name, Server() as server:
        folder = Path(name)
        os.environ.update(OPENAI_API_KEY="pretend-0123456789", NO_PROXY="*", VICTOR_LEDGER="memory")
        os.environ["VICTOR_TAPE"] = str(folder / "tapes" / "bench.jsonl")
        here = Path.cwd()
        os.chdir(folder)
        try:
            yield folder, server
        finally:
            reset()
            os.chdir(here)


def rewind(mode: str, folder: Path, server: Server) -> OrchestratorPool:
    """Begin a session in a mode."""
    reset()
    os.environ["VICTOR_MODE"] = mode
    write_profiles(folder, one={"provider": "openai", "model": OPENAI.model, "base_url": f"{server.url}/v1"})
    return OrchestratorPool(Settings())


async def lifelike(exchange: Exchange) -> None:
    """Think as long as the quickest hosted models do, then answer at their pace."""
    await asyncio.sleep(0.15)
    await Answer(pieces=tuple(f"word{number} " for number in range(PIECES)), delay=0.006)(exchange)


def overhead(rounds: int = 8) -> tuple[float, float]:
    """Return time to the first text and to the end of recorded streams, as multiples of those of live ones."""
    seen: dict[str, list[tuple[float, float]]] = {"live": [], "record": []}
    with desk() as (folder, server):
        server.play(lifelike)
        for turn in range(rounds + 1):
            for mode, times in seen.items():
                with rewind(mode, folder, server) as pool:
                    asked = pool.get_orchestrator("one")
                    asked.run_sync("Warm up.")
                    for _ in range(2):
                        began = time.perf_counter()
                        stream, first = asked.stream("Go."), 0.0
                        for _piece in stream:
                            first = first or time.perf_counter() - began
                        if turn:
                            times.append((first, time.perf_counter() - began))
    live, recorded = ([median(values) for values in zip(*seen[mode], strict=True)] for mode in ("live", "record"))
    return recorded[0] / live[0], recorded[1] / live[1]


def mixed_up(runs: int = 100) -> int:
    """Return in how many replays of different and equal prompts an answer, or a row of the ledger, is another one.

    One request in nine is refused when they are recorded, so there are retries.
    """
    numbers = count()

    def answer(request: Request) -> Act:
        if next(numbers) % 9 == 0:
            return faults.status(429, "Slow down.", retry_after_ms="5")
        return Answer(pieces=("Of ", json.dumps(request.json["messages"][-1]["content"]), f" {next(numbers)}"))

    def asked(pool: OrchestratorPool) -> object:
        with pool:
            different = pool.fan_out_sync([f"Question {number}" for number in range(8)], ["one"])
            equal = pool.fan_out_sync("The same?", ["one"], n=8)
            both = pool.fan_out_sync([f"Question {number}?" for number in range(4)], ["one"], n=8)
            rows = [[getattr(row, name) for name in ROW.split()] for row in pool.runtime.ledger.rows()]
        answers = [[str(entry.outcome) for entry in each.entries] for each in (different, equal, both)]
        return answers, sorted(rows, key=repr)

    with desk() as (folder, server):
        server.answer = answer
        recorded = asked(rewind("record", folder, server))
        assert "'error', 429" in repr(recorded), "no retry was recorded"
        return sum(asked(rewind("replay", folder, server)) != recorded for _ in range(runs))


def main() -> None:
    """Print what was measured."""
    began = time.perf_counter()
    print(f"replays with a wrong answer or row: {mixed_up()} of 100 ({time.perf_counter() - began:.0f} s)")
    first, whole = overhead()
    print(f"recorded / live, medians: first text {first:.3f}, whole answer {whole:.3f}")


if __name__ == "__main__":
    main()
