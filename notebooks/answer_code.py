"""Runs the code of answers: in a process of its own, with limits on time and memory, without network and files.

`tabulate` shows what it returned, `draw_shares` how often it passes, and `price_tries` what it costs to try again.
"""

from __future__ import annotations

import atexit
import base64
import json
import pickle
import re
import subprocess
import sys
import threading
from difflib import ndiff
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

CODE: Final = re.compile(r"```python\n(.*?)```", re.DOTALL)
DOCSTRING: Final = re.compile(r'^    """.*?"""\n', re.DOTALL | re.MULTILINE)
SECONDS: Final = 4  # that a program may take
WORKER: Final = """
import base64, doctest, json, os, pickle, signal, sys, typing
if {pandas}:
    import pandas

def limit():
    import resource
    signal.alarm({seconds})
    resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    void = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(void, stream)
    sys.addaudithook(guard)

def guard(event, args):
    if event.startswith(("socket.", "subprocess.", "ctypes.", "shutil.", "os.")) and event not in allowed:
        raise PermissionError(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise PermissionError("writing")

def run(program, names):
    try:
        names.update({{"__name__": "answer", "doctest": doctest}})
        exec(program, names)
        return json.dumps(["", names.get("value")], default=str)
    except BaseException as error:
        return json.dumps([type(error).__name__, None])

allowed = "os.listdir", "os.scandir"
for line in sys.stdin:
    program, names = json.loads(line)
    end, start = os.pipe()
    child = os.fork()
    if not child:
        try:
            names = pickle.loads(base64.b64decode(names))
            limit()
            os.write(start, run(program, names).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(start)
    os.waitpid(child, 0)
    print(os.read(end, 60_000).decode() or '["TimeoutError", null]', flush=True)
    os.close(end)
"""
"""What runs foreign code: each program in a fork. It prints the name of the error, or "", and what the program calls
`value`. A guard against accidents with limits, and no prison for code that means harm."""


class CodeError(Exception):
    """The code of an answer ended in an error, whose name this is; `TimeoutError` where it did not end by itself."""


def code_in(answer: object) -> str:
    """Return the Python code of an answer, all blocks of it; "" where there is none."""
    return "\n\n".join(CODE.findall(str(answer)))


def changes(before: object, after: object) -> str:
    """Return the lines that differ between the code of two answers, with `-` before those of the first."""
    old, new = (code_in(answer).splitlines() for answer in (before, after))
    return "\n".join(line for line in ndiff(old, new) if line[0] in "+-")


def value_of(answer: object, call: str, **names: object) -> Any:  # noqa: ANN401 - JSON is of any shape
    """Return the value of an expression behind the code of an answer, as JSON has it.

    Args:
        answer: A text with Python code in fences.
        call: The expression, such as `best_day(sales).values.tolist()`.
        names: What it may use.

    Raises:
        CodeError: The code or the expression failed, or took too long.
    """
    return run(f"{code_in(answer)}\nvalue = {call}", **names)


def run(program: str, **names: object) -> Any:  # noqa: ANN401 - JSON is of any shape
    """Run a program; return what it calls `value`, as JSON has it. It needs Linux or macOS.

    Raises:
        CodeError: It failed, or took too long.
    """
    given = pickle.dumps(names)
    with _turn:
        worker = _worker(pandas=b"pandas" in given or "pandas" in program)
        if worker.stdin is None or worker.stdout is None:
            raise CodeError("BrokenPipeError")
        worker.stdin.write(json.dumps([program, base64.b64encode(given).decode()]) + "\n")
        worker.stdin.flush()
        error, value = json.loads(worker.stdout.readline() or '["BrokenPipeError", null]')
    if error:
        raise CodeError(error)
    return value


_turn: Final = threading.Lock()


@cache
def _worker(*, pandas: bool) -> subprocess.Popen[str]:
    """Start the process that runs the code of answers: not this one, and with no key in its environment."""
    source = WORKER.format(seconds=SECONDS, pandas=pandas, memory=1 << (32 if pandas else 29))
    program = [sys.executable, "-I", *([] if pandas else ["-S"]), "-B", "-c", source]
    worker = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}, text=True)  # noqa: S603
    atexit.register(worker.kill)
    return worker


def passes(answer: object, call: str, wanted: object, /, **names: object) -> bool:
    """Return whether an expression behind the code of an answer has the value that is wanted; it has none if it fails.

    Args:
        answer: A text with Python code in fences.
        call: The expression, as for `value_of`.
        wanted: Its value, as JSON has it.
        names: What the expression may use.
    """
    try:
        return bool(value_of(answer, call, **names) == wanted)
    except CodeError:
        return False


def tabulate(answers: Mapping[str, object], call: str, right: object, /, **names: object) -> pd.DataFrame:
    """Return the pairs that each answer's code gives, a row for each answer; the first row is what is right.

    Args:
        answers: By name, texts with Python code in fences.
        call: An expression whose value is a list of pairs, such as `[["Oslo", 2], ["Rome", 1]]`.
        right: What its value should be.
        names: What the expression may use.

    Raises:
        CodeError: The code of an answer failed.
    """
    import pandas as pd  # noqa: PLC0415 - what runs code needs only Python

    rows: dict[str, Any] = {"right": right} | {
        name: value_of(answer, call, **names) for name, answer in answers.items()
    }
    columns = {name: {key: str(value) for key, value in pairs} for name, pairs in rows.items()}
    return pd.DataFrame.from_dict(columns, orient="index").fillna("no row")


def price_tries(samples: pd.DataFrame, *, functions: int = 50, tries: int = 8, last: str = "premium") -> pd.DataFrame:
    """Return what many functions cost with each profile: asked once, and asked until an answer passes.

    With the share p of right answers, a function fails all tries with the chance f = (1 - p)^tries, takes (1 - f) / p
    calls on average, and with the chance f one more of `last`.

    Args:
        samples: `Replies.to_frame()` with a column `right`.
        functions: How many functions there are.
        tries: How often a profile is asked at most.
        last: Who is asked when no try passed.

    Returns:
        US cents, how many functions are wrong, and how many end at `last`; for `last` itself only what it costs once.
    """
    import pandas as pd  # noqa: PLC0415 - what runs code needs only Python

    each = samples.groupby("profile", sort=False)[["right", "cost"]].mean().astype(float).rename_axis(None)
    right, cents = each["right"], 100 * each["cost"]
    fails = (1 - right) ** tries
    once, rule = "asked once", f"up to {tries} tries, then {last}"
    each_cents = (1 - fails) / right * cents + fails * cents[last]
    columns = {
        (once, f"cents for {functions}"): (cents, 2),
        (once, f"wrong of {functions}"): (1 - right, 0),
        (rule, f"cents for {functions}"): (each_cents, 2),
        (rule, f"end at {last}"): (fails, 0),
    }
    texts = {key: (functions * column).map(f"{{:.{digits}f}}".format) for key, (column, digits) in columns.items()}
    table = pd.DataFrame(texts)
    table.loc[last, rule] = "-"
    return table


def draw_shares(samples: pd.DataFrame) -> Figure:
    """Draw which share of each profile's answers is right, with its 95 % interval; the title compares the best two.

    Args:
        samples: `Replies.to_frame()` of two profiles or more, with a column `right`.
    """
    from victor_nb.reports.charts import drawing as draw  # noqa: PLC0415 - what runs code needs only Python
    from victor_nb.reports.statistics import proportion  # noqa: PLC0415 - as above

    groups = samples.groupby("profile", sort=False)["right"]
    counts = {str(name): (int(right.sum()), len(right)) for name, right in groups}
    shares = [proportion(*count) for count in counts.values()]
    ends = [f"{100 * share.low:.0f} to {100 * share.high:.0f} %" for share in shares]
    texts = [f"{hits} of {count} ({end})" for (hits, count), end in zip(counts.values(), ends, strict=True)]
    ax = draw.paper(None, rows=len(counts))
    indent = draw.name_rows(ax, list(counts), texts)
    for row, share in enumerate(shares):
        draw.line(ax, [share.low, share.high], [row, row], draw.BLUE, linewidth=3, alpha=0.5, solid_capstyle="butt")
        draw.points(ax, [share.value], [row], draw.BLUE, "o", markersize=8)
    ax.set_xlim(0, 1.04)  # a dot at the end is whole, beside its text
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    draw.name_axis(ax.xaxis, "answers that pass")
    best, second = sorted(zip(counts, shares, strict=True), key=lambda pair: -pair[1].value)[:2]
    (hits, count), (fewer, of) = counts[best[0]], counts[second[0]]
    overlap = "overlap" if second[1].high >= best[1].low else "do not overlap"
    title = f"{best[0]} passed {hits} times in {count}, {second[0]} {fewer} in {of}: their bars {overlap}"
    note = "Dot: these answers. Bar: where the share of many more answers likely lies (95 %, by Wilson)."
    draw.header(ax, title, [note], indent=indent)
    said = (f"{name} {text}" for name, text in zip(counts, texts, strict=True))
    return draw.finish(ax, title, note, "; ".join(said))
