"""All figures of speed and size in one run: `make bench`, a JSON line each, and a table that says what they mean.

    make bench [ONLY=ledger,map] [BASE=earlier.jsonl]
    python tests/benchmarks/bench.py [--only WORDS] [--base FILE] [--out FILE] [--tiny]

Each figure has its baseline, the same work without us, in the same run: both sides take turns, so that what else the
machine does weighs on both. What can be compared between runs and machines is the ratio. `--base` compares with the
lines of an earlier run; `--tiny` runs each benchmark for a moment, to see that it still runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from benchmarks.server import KEYS, server  # noqa: E402 - found beside this folder

MARK = "victor-bench "


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark.

    Attributes:
        name: What was measured.
        value: Ours, in `unit`.
        unit: Of value and baseline.
        baseline: The same without us; None where nothing is comparable.
        against: What the baseline is.
        goal: The highest ratio that the project aims at.
        benchmark: The function that measured it.
    """

    name: str
    value: float
    unit: str
    baseline: float | None
    against: str
    goal: float | None = None
    benchmark: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by the baseline; below 1 we need less."""
        return None if not self.baseline else self.value / self.baseline

    def line(self) -> str:
        """Write it as a JSON line."""
        ratio = self.ratio
        return json.dumps({**asdict(self), "ratio": None if ratio is None else round(ratio, 4)})


@dataclass(frozen=True)
class Run:
    """What a benchmark is given.

    Attributes:
        url: The server's address.
        tiny: Whether to run for a moment only.
    """

    url: str
    tiny: bool = False

    def size(self, full: int, tiny: int) -> int:
        """Return how much to do."""
        return tiny if self.tiny else full


Benchmark = Callable[[Run], Iterator[Figure]]
BENCHMARKS: dict[str, Benchmark] = {}
"""By name, in the order in which they run."""


def benchmark(work: Benchmark) -> Benchmark:
    """Enter a benchmark; its docstring says what its figures mean."""
    BENCHMARKS[work.__name__.rstrip("_")] = work
    return work


@benchmark
def imports(run: Run) -> Iterator[Figure]:
    """Seconds of a fresh interpreter: what a user waits for before the first cell."""
    from benchmarks.start import imports as timed

    bare, load, sdk = timed(run.size(5, 1), "decimal" if run.tiny else "openai")
    yield Figure("import victor_nb", bare, "s", sdk, "import openai", 0.5)
    yield Figure("%load_ext victor_nb", load, "s", sdk, "import openai", 0.5)


@benchmark
def orchestrators(run: Run) -> Iterator[Figure]:
    """Seconds until a profile can be asked: the first time with the import of its SDK, then from the pool."""
    from benchmarks.start import orchestrators as timed

    light = ("import decimal", "ollama") if run.tiny else ()
    cold, sdk, cached, item = timed(run.url, run.size(3, 1), *light)
    yield Figure("orchestrator, cold", cold, "s", sdk, "import openai, AsyncOpenAI()")
    yield Figure("orchestrator, cached", cached * 1e6, "us", item * 1e6, "an item of a dict")


@benchmark
def call(run: Run) -> Iterator[Figure]:
    """CPU of one plain call, its price and its row in the ledger included; with a budget, its holds too."""
    from benchmarks.bench_calls import measure

    for name, (sdk, plain, limited) in measure(calls=run.size(300, 3), rounds=run.size(5, 1)).items():
        yield Figure(f"call, {name}", plain, "us", sdk, f"{name} SDK", 1.1)
        yield Figure(f"call with a budget, {name}", limited, "us", sdk, f"{name} SDK", 1.3)


@benchmark
def chunk(run: Run) -> Iterator[Figure]:
    """CPU of one streamed piece, as part of a whole call; and of a plain call where there is no SDK."""
    from benchmarks.bench_stream import measure

    goals = {"openai": 0.5, "anthropic": 1.0}
    pieces, whole = measure(run.url, chunks=run.size(2_000, 20), calls=run.size(200, 3), rounds=run.size(5, 1))
    for name, (ours, theirs) in pieces.items():
        yield Figure(
            f"chunk, {name}", ours, "us", theirs, f"{name} SDK" if name in goals else "httpx2", goals.get(name)
        )
    for name, (ours, theirs) in whole.items():
        yield Figure(f"call, {name}", ours, "us", theirs, "httpx2")


@benchmark
def fan_out(run: Run) -> Iterator[Figure]:
    """Wall of so many calls at once whose answers take 200 ms each, every one of them in the ledger."""
    from benchmarks.bench_map import measure_fan_out

    sizes = [2] if run.tiny else [4, 100, 1_000]
    for calls, (ours, theirs) in measure_fan_out(run.url, sizes, rounds=run.size(3, 1)).items():
        goal = 0.5 if calls == 1_000 else None
        yield Figure(f"fan-out of {calls:,}", ours, "s", theirs, "openai SDK", goal)


@benchmark
def map_(run: Run) -> Iterator[Figure]:
    """Wall, CPU and peak memory of a map of a frame, 256 in flight, answers of 200 ms: all from frame to frame."""
    from benchmarks.bench_map import measure_map

    rows = run.size(10_000, 3)
    units = {"wall": ("s", 1.2), "cpu": ("s", None), "MB": ("MB", None)}
    for name, (ours, theirs) in measure_map(run.url, rows, rounds=run.size(2, 1)).items():
        yield Figure(
            f"map of {rows:,} rows, {name}", ours, units[name][0], theirs, "openai SDK on aiohttp", units[name][1]
        )


@benchmark
def ledger(run: Run) -> Iterator[Figure]:
    """A million rows: rows per second in bulk (the higher the ratio the better), time and memory of the frame."""
    from benchmarks.bench_ledger import measure

    rows = run.size(1_000_000, 50)
    append, frame, memory = measure(rows)
    yield Figure(f"append of {rows:,} rows", append[0], "rows/s", append[1], "executemany")
    yield Figure("to_frame, time", frame[0], "s", frame[1], "read_sql_query", 0.6)
    yield Figure("to_frame, memory", memory[0], "MB", memory[1], "read_sql_query", 0.6)


@benchmark
def display(run: Run) -> Iterator[Figure]:
    """Bytes that one streamed answer sends to the notebook, which it draws, keeps and sends on."""
    from benchmarks.start import display as counted

    ours, naive = counted(run.url, run.size(1_000, 30))
    yield Figure("display, bytes of a cell", ours, "B", naive, "an update a piece", 0.1)


@benchmark
def memory(run: Run) -> Iterator[Figure]:
    """Bytes that one more profile takes after its first call: client, connection, and what is kept of it."""
    from benchmarks.start import memory as grown

    ours, theirs = grown(run.url, run.size(100, 4))
    yield Figure("memory of a profile", ours / 1e3, "kB", theirs / 1e3, "an AsyncOpenAI", 1.0)


@benchmark
def hops(_: Run) -> Iterator[Figure]:
    """Files and functions of ours that a streamed cell runs through: how far a reader has to follow it."""
    from benchmarks.start import hops as counted

    files, functions, sdk_files, sdk_functions = counted()
    yield Figure("files per cell", files, "", sdk_files, "openai SDK, same cell")
    yield Figure("functions per cell", functions, "", sdk_functions, "openai SDK, same cell")


def child(names: list[str], run: Run) -> None:
    """Run benchmarks in this process, and print their figures for the parent."""
    from victor_nb.kernel import reset

    for name in names:
        for figure in BENCHMARKS[name](run):
            print(MARK + replace(figure, benchmark=name).line(), flush=True)
        reset()


def measured(names: list[str], run: Run) -> list[Figure]:
    """Run benchmarks in a process and a folder of their own.

    Raises:
        RuntimeError: One failed.
    """
    words = ["--child", "--only", ",".join(names), "--url", run.url, *(["--tiny"] if run.tiny else [])]
    program = [sys.executable, __file__, *words]
    kept = {key: value for key, value in os.environ.items() if not key.endswith(("_KEY", "_BASE_URL", "_PROXY"))}
    with tempfile.TemporaryDirectory() as folder:
        own = {"VICTOR_MODE": "live", "VICTOR_LEDGER": f"{folder}/ledger.sqlite", "HOME": folder, "NO_PROXY": "*"}
        where = {"PYTHONPATH": str(TESTS.parent), "IPYTHONDIR": folder, "JUPYTER_PREFER_ENV_PATH": "1", "CI": ""}
        ended = subprocess.run(
            program, check=False, capture_output=True, text=True, cwd=folder, env={**kept, **KEYS, **own, **where}
        )
    if ended.returncode:
        raise RuntimeError(f"{', '.join(names)} failed:\n{ended.stdout[-2_000:]}\n{ended.stderr[-4_000:]}")
    lines = [line.removeprefix(MARK) for line in ended.stdout.splitlines() if line.startswith(MARK)]
    return [read(line) for line in lines]


def read(line: str) -> Figure:
    """Read a figure from its JSON line."""
    known = json.loads(line)
    return Figure(**{key: known[key] for key in Figure.__dataclass_fields__})


def number(value: float | None) -> str:
    """Write a figure with three digits that count."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: list[Figure], base: dict[str, Figure]) -> str:
    """Write figures as a table, with the ratios of an earlier run beside them, and below what each benchmark means."""
    head = ["benchmark", "ours", "", "baseline", "which is", "ratio", "goal", *(["was", "change"] if base else [])]
    rows = [head]
    for each in figures:
        row = [each.name, number(each.value), each.unit, number(each.baseline), each.against, number(each.ratio)]
        row.append("" if each.goal is None else f"{each.goal:g}{' !' if (each.ratio or 0) > each.goal else ''}")
        if base:
            was = base[each.name].ratio if each.name in base else None
            change = f"{each.ratio / was - 1:+.0%}" if was and each.ratio else ""
            row += [number(was), change]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, 2, 4}
    lines = [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    meanings = [f"{name}: {BENCHMARKS[name].__doc__}" for name in dict.fromkeys(each.benchmark for each in figures)]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", *meanings])


def chosen(words: str) -> list[str]:
    """Return the benchmarks whose names begin with one of the words, which commas part; all where there is none.

    Raises:
        SystemExit: A word fits none.
    """
    wanted = [word for word in words.replace(",", " ").split() if word]
    for word in wanted:
        if not any(name.startswith(word) for name in BENCHMARKS):
            sys.exit(f"No benchmark begins with {word!r}. There are: {', '.join(BENCHMARKS)}.")
    return [name for name in BENCHMARKS if not wanted or name.startswith(tuple(wanted))]


def earlier(path: str | None) -> dict[str, Figure]:
    """Return the figures of an earlier run by name."""
    lines = Path(path).read_text(encoding="utf-8").splitlines() if path else []
    return {figure.name: figure for figure in map(read, filter(None, lines))}


def main() -> None:
    """Run the benchmarks, write their lines, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the first letters of some: ledger,map")
    parser.add_argument("--base", help="the lines of an earlier run")
    parser.add_argument("--out", default="build/bench.jsonl", help="where the lines go")
    parser.add_argument("--tiny", action="store_true", help="only see that each runs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names, base, figures = chosen(given.only), earlier(given.base), list[Figure]()
    if given.child:
        child(names, Run(given.url, tiny=given.tiny))
        return
    alone = [names] if given.tiny else [[name] for name in names]  # memory and imports of one are not another's
    out = Path(given.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with server() as url, out.open("w", encoding="utf-8") as file:
        for some in alone:
            began = time.perf_counter()
            found = measured(some, Run(url, tiny=given.tiny))
            figures += found
            file.writelines(f"{figure.line()}\n" for figure in found)
            file.flush()
            print(f"{', '.join(some)} took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(figures, base))


if __name__ == "__main__":
    main()
