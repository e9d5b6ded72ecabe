"""An HTTP/1.1 server on plain sockets that does as it is told, the protocol's rules included.

It is written on asyncio streams, not on a web framework, because a framework will not send half a chunk, hang up before
the answer or leave a JSON object open. One server lives for one test, in a thread and loop of its own; it keeps what it
was asked (`server.requests`), and answers by a script.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from servers.exchange import Connection, Exchange, HungUp, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.exchange import Act

_LOOK: Final = 0.02  # seconds after which a condition is looked at again


class Server:
    """A server for one test: `with Server() as server: server.play(act, act)`.

    Acts are played one per request, and the last one again for every further request. `server.answer` may be set
    instead: it chooses an act for each request.
    """

    def __init__(self, *acts: Act) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self.faults: list[BaseException] = []
        self.answer: Callable[[Request], Act] = self._next
        self._acts = deque(acts)
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="server", daemon=True)
        self._port = 0

    @property
    def url(self) -> str:
        """The origin, without a path and without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    def play(self, *acts: Act) -> Self:
        """Replace the script."""
        self._acts = deque(acts)
        return self

    def wait(self, condition: Callable[[], object], *, timeout: float = 60.0) -> None:
        """Wait until the condition is true; fail after `timeout` seconds.

        It is looked at whenever the server sees something, and every 20 ms: what a script counts by itself, in the
        middle of an answer, is a change that no one reports.
        """
        until = time.monotonic() + timeout
        with self._changed:
            while not self._changed.wait_for(condition, _LOOK):
                if time.monotonic() > until:
                    raise AssertionError(f"not so within {timeout} s; {len(self.requests)} requests, {self.open} open")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not stop"
        assert not self.faults, self.faults

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=2048)
        self._port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(Connection(reader, writer, self.connections)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._note(connections=1, opened=1)

    async def _serve(self, connection: Connection) -> None:
        filling = self._loop.create_task(connection.fill())
        try:
            with contextlib.suppress(HungUp, OSError):
                while await self._exchange(connection):
                    pass
        finally:
            filling.cancel()
            connection.writer.transport.abort() if connection.gone.is_set() else connection.writer.close()
            self._note(opened=-1)

    async def _exchange(self, connection: Connection) -> bool:
        """Answer one request; say whether the connection may carry another."""
        request = await connection.request()
        self._note(request=request)
        exchange = Exchange(connection, request)
        playing = self._loop.create_task(self._play(exchange))
        leaving = self._loop.create_task(connection.gone.wait())
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost = await self._cancel(playing, leaving)
        # A client that left shows first as its closed side, or as a write that fails.
        request.hung_up = not (exchange.ended or exchange.left) and (connection.gone.is_set() or lost)
        request.finished = exchange.ended
        self._note()
        return exchange.ended and request.headers.get("connection") != "close"

    async def _play(self, exchange: Exchange) -> None:
        await self.answer(exchange.request)(exchange)

    async def _cancel(self, playing: asyncio.Task[None], leaving: asyncio.Task[object]) -> bool:
        """End both, keep what a script did wrong, and say whether the connection was lost under it."""
        playing.cancel()
        leaving.cancel()
        results = await asyncio.gather(playing, leaving, return_exceptions=True)
        self.faults += [error for error in results if isinstance(error, Exception) and not isinstance(error, OSError)]
        return any(isinstance(error, OSError) for error in results)

    def _next(self, request: Request) -> Act:
        if not self._acts:
            raise AssertionError(f"no script for {request.method} {request.path}")
        return self._acts.popleft() if len(self._acts) > 1 else self._acts[0]

    def _note(self, *, request: Request | None = None, connections: int = 0, opened: int = 0) -> None:
        with self._changed:
            self.requests += [request] if request else []
            self.connections += connections
            self.open += opened
            self._changed.notify_all()


def closed_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
