"""The ways in which a provider, or the road to it, fails: each an act for a server's script."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Literal

from servers.answers import Answer
from servers.dialects import dialect_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.exchange import Act, Exchange

Ending = Literal["reset", "fin", "clean", "silence"]
JSON = {"content-type": "application/json"}
NO_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value is supported."
)
PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in to the Wi-Fi.</body></html>"


def status(
    code: int,
    message: str = "No.",
    *,
    retry_after: str | None = None,
    retry_after_ms: str | None = None,
    body: bytes | None = None,
) -> Act:
    """Refuse, in the provider's own form (or with another body)."""

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        waits = {"retry-after": retry_after, "retry-after-ms": retry_after_ms}
        wait = {name: value for name, value in waits.items() if value is not None}
        headers = {**JSON, **dialect.id_header(Answer(id="req_err")), **wait}
        await exchange.whole(code, headers, dialect.error(code, message) if body is None else body)

    return act


def too_long() -> Act:
    """Refuse a prompt for its length, in the words of each provider."""

    async def act(exchange: Exchange) -> None:
        await status(400, dialect_of(exchange.request).too_long)(exchange)

    return act


def http_date(seconds: float) -> str:
    """Return the date of a Retry-After that is so many seconds ahead, rounded up to what a date can say."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def hang_up() -> Act:
    """Close the connection instead of answering."""

    async def act(exchange: Exchange) -> None:
        await exchange.close()

    return act


def silence() -> Act:
    """Take the request and never say a word."""

    async def act(exchange: Exchange) -> None:
        await exchange.forever()

    return act


def cut(answer: Answer, pieces: int, how: Ending) -> Act:
    """Break a stream off after so many pieces of text.

    `reset` tears the connection down, `fin` closes it inside the chunked body, `clean` ends the body as HTTP wants it
    but before the protocol's own end, and `silence` keeps it open and says nothing more.
    """

    async def act(exchange: Exchange) -> None:
        await answer.tell(exchange, pieces=pieces)
        endings = {"reset": exchange.reset, "fin": exchange.close, "clean": exchange.end, "silence": exchange.forever}
        await endings[how]()

    return act


def cut_plain(answer: Answer) -> Act:
    """Close the connection in the middle of a plain answer."""

    async def act(exchange: Exchange) -> None:
        body = dialect_of(exchange.request).plain(answer, exchange.request)
        await exchange.head(200, JSON, length=len(body))
        await exchange.send(body[: len(body) // 2])
        await exchange.close()

    return act


def error_event(answer: Answer, pieces: int, message: str = "Overloaded") -> Act:
    """Give up in the middle of a stream that began with a 200, by the protocol's own error event."""

    async def act(exchange: Exchange) -> None:
        await answer.tell(exchange, pieces=pieces)
        await exchange.send(dialect_of(exchange.request).error_event(message))
        await exchange.end()

    return act


def body(data: bytes, *, kind: str | None = None) -> Act:
    """Answer 200 with these bytes, plain or streamed as it was asked; `kind` is another Content-Type than is due."""

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        due = dialect.stream_type if dialect.streamed(exchange.request) else "application/json"
        await exchange.whole(200, {"content-type": kind or due}, data)

    return act


def page() -> Act:
    """Answer 200 with a web page, as a captive portal or a proxy does."""
    return body(PAGE, kind="text/html; charset=utf-8")


def empty() -> Act:
    """Answer 200 with nothing."""
    return body(b"")


def malformed() -> Act:
    """Answer 200 with something that is nearly JSON."""

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        prefix = b"data: " if "event-stream" in dialect.stream_type and dialect.streamed(exchange.request) else b""
        await body(prefix + b"{'text': True,}\n\n")(exchange)

    return act


def compressed(answer: Answer) -> Act:
    """Answer well, plainly or by a stream, in gzip."""

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        if dialect.streamed(exchange.request):
            kind, data = dialect.stream_type, b"".join(event.data for event in dialect.events(answer, exchange.request))
        else:
            kind, data = "application/json", dialect.plain(answer, exchange.request)
        await exchange.whole(200, {"content-type": kind, "content-encoding": "gzip"}, gzip.compress(data))

    return act


def then_close(answer: Answer) -> Act:
    """Answer well, then close the connection without having said so, as servers do with idle ones."""

    async def act(exchange: Exchange) -> None:
        await answer(exchange)
        await exchange.close()

    return act


def cut_json(answer: Answer) -> Act:
    """Answer 200 with JSON that stops in the middle, under a Content-Length that says so.

    In a stream it is the first event that stops, after which the body ends as HTTP wants it.
    """

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        if dialect.streamed(exchange.request):
            first = next(iter(dialect.events(answer, exchange.request))).data.rstrip()
            await body(first[:-20] + b"\n\n")(exchange)
        else:
            await body(dialect.plain(answer, exchange.request)[:-20])(exchange)

    return act


def plain_for_stream(answer: Answer) -> Act:
    """Answer with one JSON object even where a stream was asked."""
    return answer.hand_over


def echo_key(code: int = 401) -> Act:
    """Refuse, and repeat the caller's key in the body and in a header, as careless servers do."""

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        key = dialect.asked(exchange.request).key
        reply = dialect.error(code, f"Incorrect API key provided: {key}. You said: {exchange.request.text}")
        await exchange.whole(code, {**JSON, "x-debug": str(key)}, reply)

    return act


def redirect(to: str, code: int = 307) -> Act:
    """Send the client elsewhere, with the same path."""

    async def act(exchange: Exchange) -> None:
        await exchange.whole(code, {"location": to + exchange.request.path}, b"")

    return act


# --- bytes that are no HTTP, or only just ---


def verbatim(head: str, *, body: bytes | None = None, end: Ending = "fin") -> Act:
    """Answer with a head as it is written here, and a body: the right one unless another is given."""

    async def act(exchange: Exchange) -> None:
        kind, data = _well(exchange) if body is None else ("", body)
        last = "" if "connection:" in head or not head.startswith("HTTP/1.1") else "\nconnection: close"
        words = (head + last).format(kind=kind, size=len(data), more=len(data) + 100, less=len(data) // 2)
        await exchange.raw(words.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + data)
        await {"reset": exchange.reset, "fin": exchange.close, "clean": exchange.end, "silence": exchange.forever}[
            end
        ]()

    return act


def chunked(*, trailers: str = "", bad: bytes = b"") -> Act:
    """Answer well in chunks, with trailers behind them or with a chunk of another size than it says."""

    async def act(exchange: Exchange) -> None:
        kind, data = _well(exchange)
        await exchange.head(200, {"content-type": kind, **({"trailer": "x-sum"} if trailers else {})})
        half = len(data) // 2
        await exchange.raw(bad)
        await exchange.send(data[:half])
        await exchange.send(data[half:])
        await exchange.raw(b"0\r\n" + trailers.encode() + b"\r\n")
        exchange.ended = True

    return act


def drip(what: Literal["head", "body"], *, pause: float = 0.05) -> Act:
    """Send one byte after another, without end: of a head, or of a body."""

    async def act(exchange: Exchange) -> None:
        kind, data = _well(exchange)
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\ncontent-type: %b\r\n" % kind.encode())
        await exchange.raw(b"x-slow: " if what == "head" else b"\r\n")
        for byte in b"y" * 10_000 if what == "head" else data[:1] + b" " * 10_000:
            await exchange.raw(bytes([byte]))
            await asyncio.sleep(pause)

    return act


def flood(size: int, piece: bytes, *, code: int = 200, packed: bool = False) -> Act:
    """Send a body of so many bytes: the first half of an answer, and then the same piece again and again."""

    async def act(exchange: Exchange) -> None:
        kind, data = _well(exchange)
        begin = data[: len(data) // 2]
        count, block = size // (1 << 20), piece * ((1 << 20) // len(piece))
        headers = {"content-type": kind, **({"content-encoding": "gzip"} if packed else {})}
        await exchange.head(code, headers, length=None if packed else len(begin) + count * len(block))
        pack = zlib.compressobj(9, wbits=31) if packed else None
        for data in (begin, *[block] * count):
            await exchange.send(pack.compress(data) if pack else data)
        await exchange.send(pack.flush() if pack else b"")
        await exchange.end()

    return act


def headers(size: int, *, count: int = 1) -> Act:
    """Answer well under so many headers of so many bytes."""

    async def act(exchange: Exchange) -> None:
        kind, data = _well(exchange)
        many = {f"x-long-{number}": "v" * size for number in range(count)}
        await exchange.whole(200, {"content-type": kind, **many}, data)

    return act


def _well(exchange: Exchange, answer: Answer | None = None) -> tuple[str, bytes]:
    """Return the content type and the bytes of a good answer, in the way that is asked for."""
    dialect, request, answer = dialect_of(exchange.request), exchange.request, answer or Answer()
    if not dialect.streamed(request):
        return "application/json", dialect.plain(answer, request)
    return dialect.stream_type, b"".join(event.data for event in dialect.events(answer, request))


# --- good answers, made worse ---


def typed(kind: str | None, answer: Answer | None = None, *, charset: str = "utf-8") -> Act:
    """Answer well under another content type, or (None) under none, and in another charset."""

    async def act(exchange: Exchange) -> None:
        _, data = _well(exchange, answer)
        named = {} if kind is None else {"content-type": kind}
        await exchange.whole(200, named, data.decode().encode(charset))

    return act


def told_by(change: Callable[[list[bytes]], list[bytes]], *, plain: Callable[[bytes], bytes] | None = None) -> Act:
    """Answer with the events of a good stream, changed; plainly with the body, changed as well."""

    async def act(exchange: Exchange) -> None:
        dialect, request = dialect_of(exchange.request), exchange.request
        if dialect.streamed(request):
            data = b"".join(change([event.data for event in dialect.events(Answer(), request)]))
            await exchange.whole(200, {"content-type": dialect.stream_type}, data)
        else:
            whole = dialect.plain(Answer(), request)
            await exchange.whole(200, JSON, plain(whole) if plain else whole)

    return act


def edited(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Act:
    """Answer well, but for an edit of each object in it, at any depth."""

    def walk(value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, list):
            return [walk(each) for each in value]
        return edit({name: walk(each) for name, each in value.items()}) if isinstance(value, dict) else value

    def event(data: bytes) -> bytes:
        head, brace, rest = data.partition(b"{")
        if not brace:
            return data
        body = rest.rstrip(b"\n")
        return head + json.dumps(walk(json.loads(brace + body))).encode() + rest[len(body) :]

    return told_by(lambda events: [event(each) for each in events], plain=event)


def counted(change: Callable[[str, Any], Any]) -> Act:
    """Answer well, but with other counts of tokens: `change` gets each by its name, and returns what stands for it."""

    def edit(found: dict[str, Any]) -> dict[str, Any]:
        counts = {name for name, each in found.items() if type(each) is int and re.search("[tT]oken|eval_count", name)}
        return {name: change(name, each) if name in counts else each for name, each in found.items()}

    return edited(edit)


def uncounted() -> Act:
    """Answer well, without any usage."""
    usages = {"usage", "usageMetadata", "prompt_eval_count", "eval_count"}
    return edited(lambda found: {name: each for name, each in found.items() if name not in usages})


def unknown(*, first: bool) -> Act:
    """Answer well, with events of kinds that nothing is known of among the others, or before them."""

    async def act(exchange: Exchange) -> None:
        dialect = dialect_of(exchange.request)
        strange = {"type": "response.hologram.delta", "hologram": {"depth": 3}, "choices": [], "message": {}}
        data = json.dumps(strange).encode()
        line = b"event: hologram\ndata: %b\n\n" % data if "event-stream" in dialect.stream_type else data + b"\n"
        act = told_by(
            lambda events: [line, *events] if first else [part for each in events for part in (each, line)],
            plain=lambda body: b'{"hologram": {"depth": 3}, ' + body[1:],
        )
        await act(exchange)

    return act


def stated(cost: object) -> Act:
    """Answer well, with a cost in the usage: any JSON."""

    def edit(found: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {**each, "cost": cost, "is_byok": False} if name in {"usage", "usageMetadata"} and each else each
            for name, each in found.items()
        }

    return edited(edit)


def served(tier: str) -> Act:
    """Answer well, at another tier than the standard one."""

    def edit(found: dict[str, Any]) -> dict[str, Any]:
        return (
            {**found, "service_tier": tier}
            if {"choices", "output", "input_tokens", "usageMetadata"} & {*found}
            else found
        )

    return edited(edit)
