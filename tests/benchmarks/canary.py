"""Look for a key in all that is kept or shown after many calls to servers that echo it: `canary.py 1000`.

The server repeats the key that it was asked with, each time in another way: in the answer (cut between two pieces), as
the model, as the id in a header, in errors, in what is no answer at all. A fifth of the calls is recorded on a tape and
replayed; at the end a notebook that prints what it was answered is recorded and checked by `victor-nb`. The key must be
in no reply, repr, pickle, traceback, log, row, output of a cell or file: tape, notebook, store of answers, report.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import yaml

from cells import Shell
from servers import DIALECTS, Answer, Server, faults, model_list
from victor_nb.errors import VictorError
from victor_nb.kernel import reset, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.exchange import Act, Exchange, Request
    from victor_nb.calls.stream import Stream

KEY = "canary-7d1f0c5e93b24a68"
HALF = len(KEY) // 2
ANSWER = Answer(("Your key is ", KEY[:HALF], KEY[HALF:], ", and can", "ary", " is a bird."))


async def _header(exchange: Exchange) -> None:
    await exchange.whole(503, {"x-request-id": KEY, "request-id": KEY, "x-key": KEY, "retry-after": KEY}, KEY.encode())


async def _refusal(exchange: Exchange) -> None:
    """Refuse in words that a tape keeps, without the key; an answer with the key would not be recorded."""
    await exchange.whole(401, {}, f"No: {KEY}".encode())


ECHOES: dict[str, Callable[[], Act]] = {
    "answer": lambda: ANSWER,
    "as the model": lambda: replace(ANSWER, model=KEY),
    "as the id": lambda: replace(ANSWER, id=KEY),
    "as the word of its end": lambda: replace(ANSWER, word=KEY),
    "cut": lambda: faults.cut(ANSWER, 4, "reset"),
    "event": lambda: faults.error_event(ANSWER, 3, f"No: {KEY}"),
    "refusal": faults.echo_key,
    "failure": lambda: faults.echo_key(500),
    "limit": lambda: faults.echo_key(429),
    "page": lambda: faults.body(f"<html>{KEY}</html>".encode()),
    "header": lambda: _header,
}


class Logs(logging.Handler):
    """Keeps what all loggers say."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as a file would have it."""
        self.said.append(self.format(record))


NOTEBOOK = ["%load_ext victor_nb", "import os, victor_nb"] + [
    f"try:\n    print(victor_nb.session().pool.get_orchestrator({name!r}).run_sync('Noted {number}?').content)\n"
    "except victor_nb.VictorError as error:\n    print(error)"
    for number in range(3)
    for name in ("openai", "anthropic")
]


def hunt(folder: Path, count: int, *, seed: int = 13, notebook: bool = False) -> dict[str, int]:
    """Make so many calls in a folder, and return where the key was found and how often; {} is what is hoped for."""
    logs, draw = Logs(), random.Random(seed)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(logs)
    root.setLevel(logging.DEBUG)
    found: dict[str, int] = {}

    def look(where: str, *things: object) -> None:
        for thing in things:
            data = thing if isinstance(thing, bytes) else str(thing).encode()
            if KEY.encode() in data or KEY[:HALF].encode() in data:
                found[where] = found.get(where, 0) + 1

    with Server() as server:
        kinds = list(ECHOES)
        turn = iter(range(10 * count))

        def answer(asked: Request) -> Act:
            if asked.method == "GET":
                return model_list()
            return _refusal if b"Noted" in asked.body else ECHOES[kinds[next(turn) % len(kinds)]]()

        server.answer = answer
        profiles = {
            each.name: {"provider": each.name, "model": each.model, "base_url": each.base_url(server.url), "retries": 0}
            for each in DIALECTS
            if each.key_variable  # another is sent no key
        }
        given = {"profiles": profiles, "default": "openai", "ledger": "ledger.sqlite"}
        (folder / "profiles.yaml").write_text(yaml.safe_dump(given))
        os.environ["VICTOR_TAPE"] = str(folder / "tapes" / "canary.jsonl")
        shell = Shell()
        stored = session().settings.cache_path
        try:
            for number in range(count):
                name = draw.choice(list(profiles))
                cache = draw.choice(["", " cache=on"])
                _one(shell, number, name, cache, look)
            _tape(shell, folder, range(count, count + max(10, count // 5)), list(profiles), look)
            if notebook:
                look("victor-nb", *_by_command(folder))
            for line in ("ledger 1000", "last", "errors", "status", "cost by=model", "doctor", "report spent.html"):
                ran = shell.run(f"%victor {line}")
                look(f"%victor {line}", json.dumps(ran.frames), *_texts(ran.error))
            look("frame", session().ledger.to_frame().to_csv())
            look("session", repr(vars(session())), repr(session().settings), *map(repr, session().errors))
        finally:
            reset()
            root.removeHandler(logs)
            root.setLevel(level)
    look("logs", "\n".join(logs.said))
    kept = [folder, *filter(None, [stored and stored.parent])]
    for file in sorted({each for place in kept for each in place.rglob("*") if each.is_file()}):
        look(f"file {file.name}", file.read_bytes())
    return found


def _tape(shell: Shell, folder: Path, numbers: range, names: list[str], look: Callable[..., None]) -> None:
    """Record calls on a tape, and replay them."""
    for mode in ("record", "replay"):
        shell.run(f"%victor mode {mode}")
        for number in numbers:
            _one(shell, number, names[number % len(names)], "", look)
        for line in ("tape", "tape verify"):
            ran = shell.run(f"%victor {line}")
            look(f"%victor {line}", json.dumps(ran.frames), *_texts(ran.error))
    assert (folder / "tapes" / "canary.jsonl").stat().st_size
    shell.run("%victor mode live")


def _by_command(folder: Path) -> Iterator[str]:
    """Record a notebook and check it with a report, and yield what is printed."""
    cells = [{"cell_type": "code", "source": each, "metadata": {}, "outputs": []} for each in NOTEBOOK]
    for number, cell in enumerate(cells):
        cell |= {"execution_count": None, "id": f"c{number}"}
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    (folder / "noted.ipynb").write_text(text)
    for words in (["record", "noted.ipynb"], ["check", "noted.ipynb", "--report", "build/noted"]):
        command = [sys.executable, "-m", "victor_nb.cli", *words]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr.replace(KEY, "THE KEY")
        yield ended.stdout + ended.stderr


def _one(shell: Shell, number: int, name: str, cache: str, look: Callable[..., None]) -> None:
    """Ask once: by a cell, by a fan-out, by Python."""
    match number % 4:
        case 0 | 1:
            ran = shell.run(f"%%victor {name}{cache}\nQuestion {number}")
            look("cell", json.dumps(ran.frames), *_texts(ran.error))
        case 2:
            try:
                replies = session().pool.fan_out_sync(f"Question {number}", list(dict.fromkeys((name, "openai"))))
            except VictorError as error:
                look("error", *_texts(error))
                return
            look("fan-out", repr(replies), str(replies), pickle.dumps(replies), replies.to_frame().to_csv())
        case _:
            stream = session().pool.get_orchestrator(name).stream(f"Question {number}")
            pieces: list[str] = []
            try:
                asyncio.run(_read(stream, pieces))
                look("reply", repr(stream.reply), str(stream.reply), pickle.dumps(stream.reply))
            except Exception as error:  # noqa: BLE001 - whatever it is, it may hold a key
                look("error", *_texts(error))
            look("pieces", "".join(pieces))


async def _read(stream: Stream, pieces: list[str]) -> None:
    async for piece in stream:
        pieces.append(piece)  # noqa: PERF401 - those that came before it broke count


def _texts(error: BaseException | None) -> list[object]:
    """Return all that an error may be shown or sent as."""
    if error is None:
        return []
    return [str(error), repr(error), repr(vars(error)), pickle.dumps(error), *traceback.format_exception(error)]


if __name__ == "__main__":
    for each in DIALECTS:
        if each.key_variable:
            os.environ[each.key_variable] = KEY
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        os.environ |= {"XDG_DATA_HOME": made, "XDG_CONFIG_HOME": made, "NO_PROXY": "*"}
        leaks = hunt(Path(made), int(sys.argv[1]) if len(sys.argv) > 1 else 1000, notebook=True)
    print(leaks or "the key is nowhere")
    sys.exit(bool(leaks))
