"""Runs the code of answers: in a process of its own, with limits on time and memory, without network and files."""

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
from typing import Any, Final

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
    """Return what differs between the code of two answers, line by line, without docstrings."""
    old, new = (DOCSTRING.sub("", code_in(answer)).splitlines() for answer in (before, after))
    return "\n".join(line for line in ndiff(old, new) if line[0] != "?" and line.strip())


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
