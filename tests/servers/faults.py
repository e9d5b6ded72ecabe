"""The ways in which a provider, or the road to it, fails: each an act for a server's script."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal

from servers.answers import Answer
from servers.dialects import dialect_of

if TYPE_CHECKING:
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
