"""A client's socket, its request, and the words of HTTP/1.1 to answer it with, in order or out of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

    Act: TypeAlias = "Callable[[Exchange], Awaitable[None]]"

REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 429: "Too Many Requests", 500: "Server Error"}
SETTLE = 0.02  # seconds for bytes to reach the client before a reset throws away what has not


class HungUp(Exception):  # noqa: N818 - it is an event, not an error
    """The client closed its side."""


@dataclass(eq=False)
class Request:
    """What a client asked, and when, and whether it stayed to hear the answer.

    Attributes:
        path: Path and query, as sent.
        headers: Names in lower case.
        json: The parsed body; None where it was empty.
        arrived: `time.monotonic()` when the whole request was here.
        connection: Number of the TCP connection it came on, from 0.
        hung_up: The client closed the connection before the answer was finished.
        finished: The script's answer was sent to its end.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    arrived: float
    connection: int
    hung_up: bool = False
    finished: bool = False
    json: Any = field(init=False)

    def __post_init__(self) -> None:
        self.json = json.loads(self.body) if self.body else None

    @property
    def text(self) -> str:
        """Everything that was sent, as one text, to look for what must not be in it."""
        head = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.method} {self.path}\n{head}\n\n{self.body.decode()}"


class Connection:
    """One client's socket: a buffer that is filled at all times, so that a hang-up is seen at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.writer = writer
        self.number = number
        self.gone = asyncio.Event()
        self._reader = reader
        self._buffer = bytearray()
        self._more = asyncio.Event()

    async def fill(self) -> None:
        """Read until the client closes."""
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                self._buffer += data
                self._more.set()
        self.gone.set()
        self._more.set()

    async def request(self) -> Request:
        """Return the next request, or raise HungUp."""
        head = await self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines if line)
        }
        body = await self._body(headers)
        return Request(method, path, headers, body, time.monotonic(), self.number)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._exactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self._until(b"\r\n"), 16):
            body += await self._exactly(size)
            await self._until(b"\r\n")
        await self._until(b"\r\n")
        return body

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            await self._wait()
        return self._take(at + len(mark))[: -len(mark)]

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._wait()
        return self._take(size)

    async def _wait(self) -> None:
        if self.gone.is_set():
            raise HungUp
        self._more.clear()
        await self._more.wait()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


class Exchange:
    """One request being answered: the words of HTTP/1.1 for a script to say, in order or out of it."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.request = request
        self.ended = False
        self.left = False
        self._connection = connection
        self._chunked = False

    async def head(self, status: int, headers: Mapping[str, str], *, length: int | None = None) -> None:
        """Send the status line and the headers; without a length, chunks follow."""
        self._chunked = length is None
        framing = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **framing}.items()]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, framed as the head promised."""
        if data:
            await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def raw(self, data: bytes) -> None:
        """Write these bytes to the socket as they are."""
        self._connection.writer.write(data)
        await self._connection.writer.drain()

    async def end(self) -> None:
        """End the body as HTTP wants it; the connection may serve another request."""
        if self._chunked:
            await self.raw(b"0\r\n\r\n")
        self.ended = True

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a complete, plain answer."""
        await self.head(status, headers, length=len(body))
        await self.send(body)
        await self.end()

    async def close(self) -> None:
        """Close the socket (FIN), whatever was promised."""
        self.left = True
        self._connection.writer.close()
        with contextlib.suppress(OSError):
            await self._connection.writer.wait_closed()

    async def reset(self) -> None:
        """Tear the connection down (RST)."""
        self.left = True
        await asyncio.sleep(SETTLE)
        sock: socket.socket = self._connection.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.writer.transport.abort()

    async def forever(self) -> None:
        """Say nothing more; the client's hang-up and the server's end cancel this."""
        await asyncio.Event().wait()
