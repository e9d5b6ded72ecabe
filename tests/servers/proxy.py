"""A SOCKS5 proxy (RFC 1928) that sends every connection to one port of this machine, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

USER = 2
NAME = 3


class Socks:
    """`with Socks(port, user="u", password="p") as proxy: ... proxy.asked`: host and port of each connection."""

    def __init__(self, port: int, *, user: str = "", password: str = "") -> None:
        self.asked: list[tuple[str, int]] = []
        self.port = 0
        self._to = port
        self._login = (user.encode(), password.encode())
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="socks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for the sockets to close

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if await self._greet(reader, writer):
                    there, back = await asyncio.open_connection("127.0.0.1", self._to)
                    writers.append(back)
                    await asyncio.gather(_pass(reader, back), _pass(there, writer))
        finally:
            for each in writers:
                each.transport.abort()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        wants = USER if self._login[0] else 0
        writer.write(bytes([5, wants]))
        if wants:
            _, size = await reader.readexactly(2)
            user = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(bytes([1, (user, password) != self._login]))
            if (user, password) != self._login:
                return False
        _, _, _, kind = await reader.readexactly(4)
        size = (await reader.readexactly(1))[0] if kind == NAME else {1: 4, 4: 16}[kind]
        host = await reader.readexactly(size)
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append((host.decode() if kind == NAME else ".".join(map(str, host)), port))
        writer.write(bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
        return True


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
