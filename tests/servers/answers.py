"""The truth that a test holds, and how it is told: whole, in pieces, slowly, torn, or not at all."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from servers.dialects import dialect_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers.exchange import Act, Exchange

Finish = Literal["stop", "length", "content_filter", "tool_calls", "other"]


@dataclass(frozen=True)
class Tokens:
    """What an answer used, in the plainest terms: `input` and `output` are totals, the rest are parts of them."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Answer:
    """One answer of a model. Used as an act, it is told in the dialect and the way (plain, streamed) it was asked in.

    Attributes:
        pieces: The text, as it is cut for a stream.
        finish: Why it ended, in plain terms; `word` says it in the provider's own word instead.
        model: The model that served it; None: the one that was asked for.
        delay: Seconds before each piece of a stream, and before a plain answer.
        quirks: Names of deviations that real servers show; `servers.dialects` has them.
        chop: Bytes in each write to the socket; 0: one event in each.
    """

    pieces: tuple[str, ...] = ("Tokens ", "are ", "counted, ", "not guessed.")
    tokens: Tokens = Tokens(input=120, output=34)
    finish: Finish = "stop"
    word: str | None = None
    model: str | None = None
    id: str = "req_7f3a"
    delay: float = 0.0
    quirks: frozenset[str] = frozenset()
    chop: int = 0

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    async def __call__(self, exchange: Exchange) -> None:
        """Tell it to the end."""
        if dialect_of(exchange.request).streamed(exchange.request):
            await self.tell(exchange)
            await exchange.end()
        else:
            await self.hand_over(exchange)

    async def hand_over(self, exchange: Exchange) -> None:
        """Send it whole, as one JSON object."""
        dialect = dialect_of(exchange.request)
        await asyncio.sleep(self.delay)
        headers = {"content-type": "application/json", **dialect.id_header(self)}
        await exchange.whole(200, headers, dialect.plain(self, exchange.request))

    async def tell(self, exchange: Exchange, *, pieces: int | None = None) -> None:
        """Stream it, the first `pieces` of the text only if that is given; the body is left open."""
        dialect = dialect_of(exchange.request)
        await exchange.head(200, {"content-type": dialect.stream_type, **dialect.id_header(self)})
        texts = 0
        for event in dialect.events(self, exchange.request):
            if texts == pieces:
                return
            await asyncio.sleep(self.delay if event.is_text else 0)
            await self._write(exchange, event.data)
            texts += event.is_text

    async def _write(self, exchange: Exchange, data: bytes) -> None:
        data = data.replace(b"data: ", b"data:") if "tight" in self.quirks else data
        data = data.replace(b"\n", b"\r\n") if "crlf" in self.quirks else data
        size = self.chop or len(data)
        for at in range(0, len(data), size):
            await exchange.send(data[at : at + size])
            await asyncio.sleep(0)


def model_list(*names: str, sizes: Mapping[str, int] | None = None) -> Act:
    """Return an act: ollama's list of its models, some of them with their sizes."""
    models = [{"name": name} for name in names] + [{"name": name, "size": size} for name, size in (sizes or {}).items()]

    async def act(exchange: Exchange) -> None:
        body = json.dumps({"models": models}).encode()
        await exchange.whole(200, {"content-type": "application/json"}, body)

    return act
