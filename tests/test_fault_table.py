"""Every fault of the table, at every protocol, plainly and by a stream: one outcome, one row, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

import psutil
import pytest

from fault_table import ELSEWHERE, NAMED, TABLE
from servers import PROTOCOLS, Answer, Dialect, Request, Server, closed_port, faults
from servers.dialects import dialect_of
from victor_nb import errors
from victor_nb.kernel import reset, session
from workbench import Way, ask, assert_clean, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from servers.exchange import Act

pytest_plugins = ["workbench_fixtures"]
CERTIFICATE = Path(__file__).parent / "servers" / "self_signed.pem"
WAYS: tuple[Way, ...] = get_args(Way)
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
LONGEST = 100.0  # seconds; a machine may be busy, and most wait for a place
Cell = tuple[str, Dialect, Way]


def label(cell: Cell) -> str:
    """Name a cell of the table."""
    name, dialect, way = cell
    return f"{name} | {dialect!r} {way}"


def every_cell() -> Iterator[Cell]:
    """Yield each row at each protocol, plainly and by a stream."""
    for name in TABLE:
        for dialect in PROTOCOLS:
            yield name, dialect, "plain"
            yield name, dialect, "stream"


CELLS = {label(cell): cell for cell in every_cell()}
PROXIES = {
    "407": faults.verbatim("HTTP/1.1 407 Log in\ncontent-length: 0", body=b""),
    "502": faults.verbatim("HTTP/1.1 502 No such host\ncontent-length: 0", body=b""),
    "hangs-up": faults.hang_up(),
}


def answer(request: Request) -> Act:
    """Do what the row does that a prompt names; as a proxy, what its host does."""
    if request.method == "CONNECT":
        return PROXIES[request.path.partition(".")[0]]
    return TABLE[said(request)].act or Answer()


@pytest.fixture
async def places(server: Server, keys: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, str]]:
    """Return the origin of each place that a row may name."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,no-such-host.invalid")
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    certified = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certified.load_cert_chain(CERTIFICATE)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
        writer.close()

    with ExitStack() as stack:
        untrusted = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=certified)
        no_tls = await asyncio.start_server(refuse, "127.0.0.1", 0)
        for each in (untrusted, no_tls):
            stack.callback(each.close)
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # its queue is full: a further connection is never accepted
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(full.getsockname())
        yield {
            "server": server.url,
            "closed": f"http://127.0.0.1:{closed_port()}",
            "dns": "http://no-such-host.invalid",
            "untrusted": f"https://127.0.0.1:{untrusted.sockets[0].getsockname()[1]}",
            "no-tls": f"https://127.0.0.1:{no_tls.sockets[0].getsockname()[1]}",
            "crowd": f"http://127.0.0.1:{full.getsockname()[1]}",
            "dead-proxy": "http://far.invalid",
            "proxy-407": "https://407.invalid",
            "proxy-502": "https://502.invalid",
            "proxy-hangs-up": "https://hangs-up.invalid",
        }


def desk(cell: Cell) -> str:
    """Return the name of the profile that a cell is played with."""
    name, dialect, _ = cell
    return f"{dialect!r}/{TABLE[name].place}{'-hasty' if TABLE[name].slow else ''}"


async def outcome(cell: Cell) -> tuple[str, str]:
    """Play one cell; return what came of it, and its text."""
    name, _, way = cell
    orchestrator = session().pool.get_orchestrator(desk(cell))
    try:
        async with asyncio.timeout(3 * LONGEST):
            reply = await ask(orchestrator, name, way, tags={"cell": label(cell)})
    except errors.ProviderError as error:
        assert_clean(error)
        return type(error).__name__, error.partial.content if error.partial else ""
    return reply.status, reply.content


async def play(cells: list[Cell], *, apart: float = 0) -> dict[str, tuple[str, str]]:
    """Play cells, so many seconds apart; what is no error of the family is a finding of its own."""
    tasks: list[asyncio.Task[tuple[str, str]]] = []
    for cell in cells:
        tasks.append(asyncio.create_task(outcome(cell)))
        await asyncio.sleep(apart)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    came = [(repr(each), "") if isinstance(each, BaseException) else each for each in found]
    return dict(zip(map(label, cells), came, strict=True))


def judged(label: str, came: str, text: str, row: dict[str, Any]) -> list[str]:
    """Return what is wrong with a cell: with what came of it, or with its row."""
    name, dialect, way = CELLS[label]
    fault, source = TABLE[name], row["usage_source"]
    unpriced = "unpriced" if came == "ok" and source == "reported" and row["cost"] is None else None
    got, wanted = " ".join(filter(None, (came, source, unpriced))), fault.outcome(dialect, way)
    status = {"ok": "ok", "partial": "partial", "PartialAnswerError": "partial"}.get(came, "error")
    counts, free = [row[count] for count in TOKENS], dialect.name == "ollama"
    unknown = source in {"estimated", "partial"} and not free
    tests = {
        f"{got}, not {wanted}": got != wanted,
        f"its row says {row['status']}, {row['error_type']}": (row["status"], row["error_type"])
        != (status, came if came.endswith("Error") else None),
        f"tokens {counts} of nothing": source is None and any(count is not None for count in counts),
        f"tokens {counts} of {text!r}": bool(text) and not all(count and 0 < count < 1_000 for count in counts[:2]),
        f"cost {row['cost']}": bool(text) and (row["cost"] is None) != (unknown or bool(unpriced)),
        f"text {text!r}": came == "ok" and text != (fault.text or text),
        f"latency {row['latency']}": not 0 <= row["latency"] < LONGEST,
    }
    return [problem for problem, is_so in tests.items() if is_so]


def test_when_a_fault_is_known_then_it_is_in_the_table_and_no_cell_is_empty() -> None:
    assert [name for names in NAMED.values() for name in names if name not in TABLE] == []
    assert len(CELLS) == len(TABLE) * len(PROTOCOLS) * len(WAYS)
    for name, dialect, way in CELLS.values():
        kind, *_ = TABLE[name].outcome(dialect, way).split()
        assert kind in {"ok", "partial"} or issubclass(getattr(errors, kind), errors.ProviderError)
        assert (TABLE[name].act is None) == (TABLE[name].place != "server")
    columns = {f"{dialect!r}{way}" for dialect in PROTOCOLS for way in ("", *(f" {way}" for way in WAYS))}
    assert {column for fault in TABLE.values() for column in fault.other} <= columns


async def test_when_all_that_can_go_wrong_does_then_each_has_one_outcome_and_one_row(
    tmp_path: Path, server: Server, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = {"connect": LONGEST, "read": LONGEST, "total": LONGEST}
    hasty = {"connect": 0.5, "read": 3, "total": 6}
    profiles = {
        desk(cell): {
            "provider": dialect.name,
            "model": dialect.model,
            "base_url": dialect.base_url(origin := places[TABLE[name].place]),
            **({"api_key_env": dialect.key_variable} if "127.0.0.1" not in origin and dialect.key_variable else {}),
            "retries": 0,
            "concurrency": 20,
            "timeout": hasty if TABLE[name].slow else patience,
        }
        for cell in CELLS.values()
        for name, dialect, _ in [cell]
    }
    monkeypatch.setenv("VICTOR_TRUST", ",".join(str(urlsplit(origin).hostname) for origin in places.values()))
    threads, sockets = set(threading.enumerate()), connected()
    write_profiles(tmp_path, **profiles)
    for profile in profiles:  # now, so that a hasty call does not wait for it
        session().pool.get_orchestrator(profile)
    server.answer, came = answer, dict[str, tuple[str, str]]()
    kinds = {label: (TABLE[cell[0]].slow, TABLE[cell[0]].heavy) for label, cell in CELLS.items()}
    came |= await play([cell for label, cell in CELLS.items() if kinds[label] == (False, False)])
    began = time.monotonic()
    came |= await play([cell for label, cell in CELLS.items() if kinds[label] == (True, False)], apart=0.03)
    assert time.monotonic() - began < LONGEST / 2, "a timeout was not kept"
    with monkeypatch.context() as small:  # the limits are 64 times as large, and take a minute to reach
        for place in ("wire.transport._LONGEST", "wire.transport._LONGEST_REFUSAL", "providers.http._LONGEST_EVENT"):
            small.setattr(f"victor_nb.{place}", 1 << 20)
        for label, cell in CELLS.items():
            if kinds[label] == (False, True):
                came |= await play([cell])
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows():
        found.setdefault(row["tags"]["cell"], []).append(row)
    wrong = {
        label: judged(label, *each, found[label][0]) if len(found.get(label, [])) == 1 else [f"{found.get(label)}"]
        for label, each in came.items()
    }
    assert came.keys() == CELLS.keys()
    assert [f"{label}: {problems}" for label, problems in wrong.items() if problems] == []
    assert not [request.path for request in server.requests if request.headers["host"].startswith(ELSEWHERE)]
    assert all(
        not request.finished
        for request in server.requests
        if TABLE[said(request)].heavy and "packed" not in said(request)
    )
    await no_more_than(threads, sockets, server)


def said(request: Request) -> str:
    """Return the prompt of a request; of one to a proxy, that of a row that is answered well."""
    return dialect_of(request).asked(request).messages[-1][1] if request.method != "CONNECT" else "no usage"


def connected() -> set[object]:
    """Return the two ends of each connection that this process has."""
    found = psutil.Process().net_connections("tcp")
    return {(each.laddr, each.raddr) for each in found if each.status == psutil.CONN_ESTABLISHED}


async def no_more_than(threads: set[threading.Thread], sockets: set[object], server: Server) -> None:
    """Hold that no job, task, socket or thread is left, once the session is closed."""
    runtime = session().runtime

    async def others() -> list[str]:
        return [
            str(task) for task in asyncio.all_tasks() if "victor_nb" in str(task) and task is not asyncio.current_task()
        ]

    assert await runtime.loop.call(others) == []
    session().pool.shutdown()
    await asyncio.to_thread(server.wait, lambda: not server.open)
    reset()
    gc.collect()
    left = {thread.name for thread in threading.enumerate() if thread not in threads}
    assert not {name for name in left if not name.startswith("asyncio_")}  # pytest's own loop waits by threads
    assert connected() <= sockets
