"""Answers out of nowhere, for every protocol, plainly and by a stream: random bytes, and good answers that are mutated.

Run it as `python tests/benchmarks/fuzz.py [--minutes 5] [--seed 0]`; `tests/test_fuzz.py` does a moment of it. A call
must end in a reply or an error of the family, leave one row that says the same, with counts that can be, and take no
longer than a moment. Each finding is printed with the bytes that make it. There are no sockets: a scripted transport
answers, below the SDKs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx2

from servers import PROTOCOLS, Answer, Dialect, Request, Tokens
from victor_nb.errors import ProviderError
from victor_nb.kernel import reset, session
from victor_nb.wire.transport import Wire
from workbench import Way, write_profiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from victor_nb.calls.orchestrator import AgentOrchestrator

ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**18, 10**400, float("nan"), float("inf"), "", "\ud800", "x" * 10_000, "null", "0",
    [], [[]], [None], {}, {"": {}}, {"message": None}, {"text": []}, {"error": "no"}, "error", "stop", "429", -0.0,
]  # fmt: skip
"""What stands where something else is expected."""
SCRAPS = [
    b"null",
    b"{",
    b"}",
    b"[",
    b'"',
    b"\\",
    b"\n",
    b"\r",
    b"\n\n",
    b"data:",
    b"event: error\n",
    b"data: [DONE]\n\n",
]
SCRAPS += [b"\xff", b"\xef\xbb\xbf", b"\0", b":", b",", b"1e999", b"-", b"9" * 5_000, b"[" * 3_000, b'{"error": {}}']
TYPES = [
    "application/json",
    "text/event-stream",
    "application/x-ndjson",
    "text/html",
    "",
    "application/json; charset=x",
]
STATUSES = [200] * 12 + [201, 204, 299, 302, 400, 401, 404, 413, 429, 498, 500, 503, 529, 999]
HEADERS = ["retry-after", "retry-after-ms", "x-request-id", "request-id", "x-ratelimit-remaining", "x-ratelimit-limit"]
HEADERS += ["x-litellm-response-cost", "x-gemini-service-tier", "location", "x-should-retry"]
VALUES = ["", "-1", "nan", "1e400", "soon", "9" * 400, "Wed, 99 Foo 2026", "٣", "//[", "0001-01-01T00:00:00", "true"]
MOST = 10**10  # tokens
LONGEST = 20.0  # seconds, on a machine that is busy
ANSWERS = [
    Answer(),
    Answer(
        tokens=Tokens(input=120, output=34, cache_read=20, cache_write=10, reasoning=5), quirks=frozenset({"thinks"})
    ),
    Answer(quirks=frozenset({"pings", "usage_on_finish"}), finish="length"),
    Answer(pieces=("Zwölf ", "\U0001f3b2", "一")),
    Answer(pieces=(), finish="length"),
]


class Said(NamedTuple):
    """What a server says: status, headers, and the pieces of a body."""

    status: int
    headers: list[tuple[str, str]]
    pieces: list[bytes]


class Finding(NamedTuple):
    """What should not be."""

    what: str
    dialect: Dialect
    way: Way
    said: Said


class Scripted(httpx2.AsyncBaseTransport):
    """Answers each request with what is to be said next."""

    said: Said

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        status, headers, pieces = Scripted.said
        return httpx2.Response(status, headers=headers, stream=_Pieces(pieces), request=request)


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class ScriptedWire(Wire):
    """Opens no sockets."""

    def open(self, *_: object, **__: object) -> httpx2.AsyncBaseTransport:
        return Scripted()


def good(chance: random.Random, dialect: Dialect, way: Way) -> list[bytes]:
    """Return a good answer, in pieces."""
    path, question = dialect.question("How many?", stream=way == "stream")
    request = Request("POST", path, {}, json.dumps(question).encode(), 0.0, 0)
    answer = chance.choice(ANSWERS)
    if way == "stream":
        return [event.data for event in dialect.events(answer, request)]
    return [dialect.plain(answer, request) if chance.random() < 0.9 else dialect.error(429, "Slow down.")]


def mutated(chance: random.Random, pieces: list[bytes]) -> list[bytes]:
    """Return an answer after some mutations, of its bytes, its JSON or its order."""
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        pieces = pieces or [b""]
        at = chance.randrange(len(pieces))
        match chance.randrange(9):
            case 0:
                pieces[at] = pieces[at][: chance.randint(0, len(pieces[at]))]
            case 1:
                pieces.insert(at, chance.choice(pieces))
            case 2:
                chance.shuffle(pieces)
            case 3:
                del pieces[at]
            case 4:
                place = chance.randint(0, len(pieces[at]))
                pieces[at] = pieces[at][:place] + chance.choice(SCRAPS) + pieces[at][place:]
            case 5:
                data = bytearray(pieces[at])
                for _ in range(min(len(data), chance.randint(1, 8))):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                pieces[at] = bytes(data)
            case 6:
                pieces.insert(at, chance.randbytes(chance.randint(0, 60)))
            case _:
                pieces[at] = twisted(chance, pieces[at])
    return pieces


def twisted(chance: random.Random, data: bytes) -> bytes:
    """Return an event or a body in which some part of the JSON is something else."""
    head, brace, rest = data.partition(b"{")
    tail = rest[len(rest.rstrip(b"\r\n")) :]
    try:
        value = json.loads(brace + rest)
    except (ValueError, RecursionError):
        return data
    places = list(_places(value))
    for holder, key in chance.sample(places, min(len(places), chance.randint(1, 3))):
        if isinstance(holder, dict) and chance.random() < 0.2:
            holder.pop(key, None)
        elif isinstance(holder, dict) or key < len(holder):
            holder[key] = chance.choice(ODD)
    return head + json.dumps(value).encode() + tail


def _places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(each, (dict, list)):
            yield from _places(each)


def made_up(chance: random.Random, dialect: Dialect, way: Way) -> Said:
    """Return what a server says: seldom well."""
    if chance.random() < 0.1:
        pieces = [chance.randbytes(chance.randint(0, 200))]
    else:
        pieces = mutated(chance, good(chance, dialect, way))
    if chance.random() < 0.3:
        data, pieces = b"".join(pieces), []
        while data:
            size = chance.choice([1, 2, 3, 10, 100, 1_000, 20_000])
            pieces, data = [*pieces, data[:size]], data[size:]
    due = dialect.stream_type if way == "stream" else "application/json"
    headers = [("content-type", due if chance.random() < 0.8 else chance.choice(TYPES))]
    headers += [(name, chance.choice(VALUES)) for name in HEADERS if chance.random() < 0.1]
    return Said(chance.choice(STATUSES), [(name, value) for name, value in headers if value.isascii()], pieces)


async def look(orchestrator: AgentOrchestrator, way: Way) -> str:
    """Make a call, and return what is wrong with what came of it; "" for nothing."""
    began, call = time.monotonic(), orchestrator.call("How many?", {}, stream=way == "stream")
    try:
        async with asyncio.timeout(LONGEST):
            reply = await call.run()
        status, text = reply.status, reply.content
    except ProviderError as error:
        status, text = ("partial" if error.partial is not None else "error"), str(error)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"{type(error).__name__}: {error}"[:300]
    if [row.status for row in call.rows] != [status]:
        return f"{status}, but rows {[row.status for row in call.rows]}"
    [row] = call.rows
    counts = [row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens, row.reasoning_tokens]
    try:
        f"{text} {call.text} {row.error} {row.model_served} {row.request_id} {row.service_tier}".encode()
    except UnicodeEncodeError:
        return "a text that cannot be written"
    if any(each is not None and not 0 <= each <= MOST for each in counts) or (row.cost is not None and row.cost < 0):
        return f"counts {counts}, cost {row.cost}"
    return f"{time.monotonic() - began:.1f} s" if time.monotonic() - began > LONGEST / 2 else ""


def trial(folder: Path, *, cases: int = 10**9, seconds: float = 1e9, seed: int = 0) -> tuple[int, list[Finding]]:
    """Ask so often or so long; return how often, and what was found."""
    chance, findings, end = random.Random(seed), list[Finding](), time.monotonic() + seconds
    common = {"base_url": "http://127.0.0.1:9", "retries": 0}
    write_profiles(
        folder, **{f"{each!r}": {"provider": each.name, "model": each.model, **common} for each in PROTOCOLS}
    )
    vars(session().runtime)["wire"] = ScriptedWire()
    orchestrators = {each: session().pool.get_orchestrator(f"{each!r}") for each in PROTOCOLS}
    done = 0

    async def all_of_them() -> None:
        nonlocal done
        while done < cases and time.monotonic() < end:
            dialect, way = chance.choice(PROTOCOLS), chance.choice(get_args(Way))
            Scripted.said = made_up(chance, dialect, way)
            if what := await look(orchestrators[dialect], way):
                findings.append(Finding(what, dialect, way, Scripted.said))
            done += 1

    session().runtime.loop.start(all_of_them).result()
    written = len(session().ledger.rows())
    if written != done:
        findings.append(Finding(f"{written} rows in the ledger for {done} calls", PROTOCOLS[0], "plain", Scripted.said))
    return done, findings


def main() -> None:
    """Fuzz for some minutes, and print each kind of finding once, with the bytes that made it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    os.environ |= {"VICTOR_LEDGER": "memory", "VICTOR_CACHE": "off", "NO_PROXY": "*"}
    os.environ |= {each.key_variable: "of-no-use" for each in PROTOCOLS if each.key_variable}
    end, done, findings = time.monotonic() + 60 * given.minutes, 0, list[Finding]()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        while time.monotonic() < end:  # a session for some thousand calls, whose rows are in memory
            seed = given.seed + done
            count, found = trial(Path(folder), cases=2_000, seconds=end - time.monotonic(), seed=seed)
            done, findings = done + count, findings + found
            reset()
    print(f"{done:,} answers, seed {given.seed}: {len(findings)} findings")
    kinds = Counter(each.what for each in findings)
    for what, count in kinds.most_common(30):
        first = next(each for each in findings if each.what == what)
        print(f"{count} x {what}\n  {first.dialect!r} {first.way} {first.said.status} {first.said.headers}")
        print(f"  {b''.join(first.said.pieces)[:600]!r}")


if __name__ == "__main__":
    main()
