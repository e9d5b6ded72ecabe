"""The table of faults: what goes wrong, by which bytes or behaviour, and what comes of it at each protocol and way.

An outcome is the status that the row gets, and how its tokens are known; or the error, and the same where text had
come. `-` is a cell that cannot be, with the reason in `why`. `tests/test_fault_table.py` plays all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from servers import Answer, Dialect, faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers.exchange import Act, Exchange
    from workbench import Way

OK: Final = "ok reported"
CUT: Final = "PartialAnswerError estimated"
BEGUN: Final = {f"{name} stream": "PartialAnswerError partial" for name in ("anthropic", "google")}
"""Text had come; two protocols count a part of the tokens before it."""
BUSY: Final = {f"{name} stream": "OverloadedError" for name in ("anthropic", "google")}
"""The name that an error has there."""
Place = Literal[
    "server", "closed", "dns", "untrusted", "no-tls", "crowd", "dead-proxy", "proxy-407", "proxy-502", "proxy-hangs-up"
]


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        act: What the server does; None where the fault is on the way to it.
        plain, stream: What comes of it.
        other: The same where a protocol differs, by `PROTOCOL` or `PROTOCOL WAY`.
        text: What an answer says where it is `ok`; None for what depends on the protocol.
        place: Where the request goes.
        slow: Whether it takes the profile's timeout to end it.
        heavy: Whether its bytes are so many that it is played alone.
    """

    act: Act | None
    plain: str
    stream: str
    other: Mapping[str, str] = field(default_factory=dict)
    text: str | None = Answer().text
    place: Place = "server"
    slow: bool = False
    heavy: bool = False

    def outcome(self, dialect: Dialect, way: Way) -> str:
        """Return what comes of it in one cell."""
        name = repr(dialect)
        both = self.plain if way == "plain" else self.stream
        return self.other.get(f"{name} {way}", self.other.get(name, both))


def _row(act: Act | None, plain: str, stream: str | None = None, **more: object) -> Fault:
    return Fault(act, plain, stream or plain, **more)  # type: ignore[arg-type]


def _refused(status: int, message: str = "No.", **stated: object) -> Act:
    return faults.status(
        status, message, body=json.dumps({"error": {"message": message, **stated}}).encode() if stated else None
    )


def _first_event_is(data: bytes) -> Act:
    """Answer with this object, as the body or as the only event."""

    async def act(exchange: Exchange) -> None:
        dialect = faults.dialect_of(exchange.request)
        sse = "event-stream" in dialect.stream_type and dialect.streamed(exchange.request)
        await faults.body(b"data: %b\n\n" % data if sse else data + b"\n")(exchange)

    return act


def _plain_or(plain: Act, stream: Act) -> Act:
    """Do one thing for a plain request, another for a stream."""

    async def act(exchange: Exchange) -> None:
        streamed = faults.dialect_of(exchange.request).streamed(exchange.request)
        await (stream if streamed else plain)(exchange)

    return act


def _then(data: bytes) -> Act:
    """Stream two pieces, then these bytes as an event; plainly, answer with the bytes."""

    async def act(exchange: Exchange) -> None:
        await Answer().tell(exchange, pieces=2)
        sse = "event-stream" in faults.dialect_of(exchange.request).stream_type
        await exchange.send(b"event: content_block_delta\ndata: %b\n\n" % data if sse else data + b"\n")
        await exchange.end()

    return _plain_or(faults.body(data), act)


def _gives_up(pieces: int) -> Act:
    """State an error in a stream after so many pieces of text, or in a plain 200."""

    async def plain(exchange: Exchange) -> None:
        await faults.body(faults.dialect_of(exchange.request).error(500, "Out of stars"))(exchange)

    return _plain_or(plain, faults.error_event(Answer(), pieces, "Out of stars"))


def _ends(how: faults.Ending, pieces: int = 2) -> Act:
    """End a stream so after some text; plainly, in the middle of the body."""
    plain: Act = faults.cut_plain(Answer())
    if how == "clean":
        plain = faults.cut_json(Answer())
    elif how in {"reset", "silence"}:
        plain = faults.verbatim("HTTP/1.1 200 OK\ncontent-type: {kind}\ncontent-length: {more}", end=how)
    return _plain_or(plain, faults.cut(Answer(), pieces, how))


def _elsewhere(code: int) -> Act:
    """Send the client to another host: the same machine by another name."""

    async def act(exchange: Exchange) -> None:
        port = exchange.request.headers["host"].rpartition(":")[2]
        await faults.redirect(f"http://{ELSEWHERE}:{port}", code)(exchange)

    return act


ELSEWHERE: Final = "localhost"
UNLISTED: Final = {"anthropic": f"{OK} unpriced"}
"""The list has no price for such a tier."""
UNORDERED: Final = {
    "anthropic stream": "MalformedAnswerError",
    "openai stream": "MalformedAnswerError",
    "ollama stream": "MalformedAnswerError reported",
}
"""Nothing is read behind the end."""
WIDE: Final = Answer(pieces=("Zwölf Grüße, ", "двенадцать, ", "十二, ", "\U0001f3b2."))
"""Of one to four bytes a character."""
_MIB: Final = 1 << 20

TABLE: dict[str, Fault] = {}
STREAMS_THAT_LIE: Final = {
    "clean end without a terminal event": _row(
        _ends("clean"),
        "MalformedAnswerError",
        "partial estimated",
        other={"anthropic stream": "partial partial", "google stream": "partial partial"},
    ),
    "clean end before any text": _row(_ends("clean", 0), "MalformedAnswerError"),
    "200 with a page of HTML": _row(faults.page(), "MalformedAnswerError"),
    "200 that is no stream where one was asked": _row(
        faults.plain_for_stream(Answer()), OK, "MalformedAnswerError", other={"ollama": OK}
    ),
    "200 with nothing": _row(faults.empty(), "MalformedAnswerError"),
    "cut JSON": _row(faults.cut_json(Answer()), "MalformedAnswerError"),
    "nearly JSON": _row(faults.malformed(), "MalformedAnswerError"),
    "nonsense after text": _row(_then(b"{'oops'"), "MalformedAnswerError", CUT, other=BEGUN),
    "bytes that are no text": _row(faults.body(bytes(range(128, 256))), "MalformedAnswerError"),
    "cut socket (FIN)": _row(_ends("fin"), "ConnectError", CUT, other=BEGUN),
    "cut socket (RST)": _row(_ends("reset"), "ConnectError", CUT, other=BEGUN),
    "cut socket before any text": _row(_ends("reset", 0), "ConnectError"),
    "error event inside a 200": _row(_gives_up(0), "ServerError", other=BUSY),
    "error event after text": _row(_gives_up(2), "ServerError", CUT, other=BEGUN),
    "silence after text": _row(_ends("silence"), "RequestTimeoutError", CUT, other=BEGUN, slow=True),
    "silence": _row(faults.silence(), "RequestTimeoutError", slow=True),
    "hang-up before an answer": _row(faults.hang_up(), "ConnectError"),
}
SHAPES: Final = {
    f"200 with {name}": _row(_first_event_is(data), "MalformedAnswerError")
    for name, data in {
        "null": b"null",
        "a list": b"[]",
        "a text": b'"a text"',
        "an empty object": b"{}",
        "a number": b"12",
        "a huge number": b"9" * 5_000,
        "empty lists": b'{"choices": [], "content": [], "candidates": [], "message": {}, "output": []}',
        "nulls": b'{"choices": null, "content": null, "candidates": null, "message": null, "type": "message"}',
        "lists for objects": b'{"choices": [[]], "content": [[]], "candidates": [[]], "message": [], "output": [[]]}',
        "a page that is all marks": b"<script" * 150_000,
        "lists without end": b"[" * 100_000,
        "objects without end": b'{"a":' * 100_000,
    }.items()
}
REFUSALS: Final = {
    "status 400": _row(_refused(400), "BadRequestError"),
    "status 401": _row(_refused(401), "AuthenticationError"),
    "status 402": _row(_refused(402), "BadRequestError"),
    "status 403": _row(_refused(403), "AuthenticationError"),
    "status 404": _row(_refused(404), "NotFoundError"),
    "status 408": _row(_refused(408), "RequestTimeoutError"),
    "status 409": _row(_refused(409), "BadRequestError"),
    "status 413": _row(_refused(413), "ContextLengthError"),
    "status 418": _row(_refused(418), "BadRequestError"),
    "status 422": _row(_refused(422), "BadRequestError"),
    "status 429": _row(_refused(429), "RateLimitError"),
    "status 429 Resource Unavailable": _row(_refused(429, "Resource Unavailable"), "RateLimitError"),
    "status 498": _row(_refused(498, "Flex capacity exceeded"), "BadRequestError"),
    "status 500": _row(_refused(500), "ServerError"),
    "status 502 with a page": _row(faults.status(502, body=faults.PAGE), "ServerError"),
    "status 503": _row(_refused(503), "OverloadedError"),
    "status 504": _row(_refused(504), "ServerError"),
    "status 529": _row(_refused(529, "Overloaded"), "OverloadedError"),
    "status 999": _row(_refused(999), "ServerError"),
    "status 204": _row(faults.verbatim("HTTP/1.1 204 No Content", body=b""), "MalformedAnswerError"),
    "status 304": _row(faults.verbatim("HTTP/1.1 304 Not Modified", body=b""), "BadRequestError"),
    "error whose body is cut": _row(faults.verbatim("HTTP/1.1 500 No\ncontent-length: {more}"), "ServerError"),
    "error whose body is no JSON": _row(faults.status(500, body=b"\xff\xfe\x00"), "ServerError"),
    "error whose page is all marks": _row(faults.status(502, body=b"<style" * 150_000), "ServerError"),
    "error whose words are half a pair": _row(_refused(500, "\ud800", code="\udfff"), "ServerError"),
    "error whose body is of another shape": _row(faults.status(500, body=b'[[{"error": 7}]]'), "ServerError"),
    "the key in the refusal": _row(faults.echo_key(500), "ServerError"),
}
COUNTS: Final = {
    "total above prompt + completion": _row(
        faults.counted(lambda name, count: count + 50 if name.startswith("total") else count), OK
    ),
    "usage in a chunk with choices": _row(Answer(quirks=frozenset({"usage_in_choice"})), OK),
    "usage on the chunk of the end": _row(Answer(quirks=frozenset({"usage_on_finish"})), OK),
    "no usage": _row(faults.uncounted(), "ok estimated"),
    "another served tier": _row(faults.served("priority"), OK, other=UNLISTED | {"responses": f"{OK} unpriced"}),
    "a served tier that nothing is known of": _row(
        faults.served("moon"), OK, other=UNLISTED | dict.fromkeys(("openai", "responses"), f"{OK} unpriced")
    ),
    **{
        f"cost {name}": _row(faults.stated(cost), OK)
        for name, cost in {
            "as a text": "0.01",
            "as no number": "free",
            "NaN": float("nan"),
            "infinite": float("inf"),
            "negative": -0.5,
            "true": True,
            "an object": {"total_cost": {}},
        }.items()
    },
    "counts below zero": _row(faults.counted(lambda _, count: -count - 1), "ok estimated"),
    "counts beyond all measure": _row(faults.counted(lambda *_: 10**18), "ok estimated"),
    "counts beyond any integer": _row(faults.counted(lambda *_: 10**400), "ok estimated"),
    "counts that are texts": _row(faults.counted(lambda _, count: str(count)), OK),
    "counts that are words": _row(faults.counted(lambda *_: "many"), "ok estimated"),
    "counts that are floats": _row(faults.counted(lambda _, count: float(count)), OK),
    "counts that are NaN": _row(faults.counted(lambda *_: float("nan")), "ok estimated"),
    "counts that are infinite": _row(faults.counted(lambda *_: float("inf")), "ok estimated"),
    "counts that are true": _row(faults.counted(lambda *_: True), "ok estimated"),
    "counts that are lists": _row(faults.counted(lambda *_: [1, 2]), "ok estimated"),
    "counts that are null": _row(faults.counted(lambda *_: None), "ok estimated"),
}
FRAMES: Final = {
    "HTTP/1.0": _row(faults.verbatim("HTTP/1.0 200 OK\ncontent-type: {kind}"), OK),
    "HTTP/1.0 that is cut": _row(
        faults.verbatim("HTTP/1.0 200 OK\ncontent-type: {kind}\ncontent-length: {more}"), "ConnectError", OK
    ),
    "no length, ends by closing": _row(faults.verbatim("HTTP/1.1 200 OK\ncontent-type: {kind}\nconnection: close"), OK),
    "no HTTP": _row(faults.verbatim("220 mail.example ESMTP"), "ConnectError"),
    "a status line alone": _row(faults.verbatim("HTTP/1.1 200", body=b""), "MalformedAnswerError"),
    "another length than it says": _row(
        faults.verbatim("HTTP/1.1 200 OK\ncontent-type: {kind}\ncontent-length: {less}"), "ConnectError"
    ),
    "a length below zero": _row(faults.verbatim("HTTP/1.1 200 OK\ncontent-length: -5"), "ConnectError"),
    "two lengths": _row(
        faults.verbatim("HTTP/1.1 200 OK\ncontent-length: {size}\ncontent-length: {less}"), "ConnectError"
    ),
    "a length and chunks": _row(
        faults.verbatim("HTTP/1.1 200 OK\ncontent-length: {size}\ntransfer-encoding: chunked"), "ConnectError"
    ),
    "a chunk of no size": _row(faults.chunked(bad=b"zz\r\n"), "ConnectError"),
    "trailers": _row(faults.chunked(trailers="x-sum: 7\r\n"), OK),
    "100 Continue first": _row(
        faults.verbatim("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\ncontent-type: {kind}\ncontent-length: {size}"), OK
    ),
    "101 Switching Protocols": _row(
        faults.verbatim("HTTP/1.1 101 Switching Protocols\nupgrade: websocket\nconnection: upgrade", body=b""),
        "ServerError",
    ),
    "a header of 60 KB": _row(faults.headers(60_000), OK),
    "a header of 1 MB": _row(faults.headers(_MIB), "ConnectError"),
    "400 headers": _row(faults.headers(40, count=400), OK),
    "20,000 headers": _row(faults.headers(40, count=20_000), "ConnectError"),
    "a header without end": _row(faults.drip("head"), "RequestTimeoutError", slow=True),
    "a body that drips": _row(faults.drip("body"), "RequestTimeoutError", slow=True),
    "a body of 100 MB": _row(faults.flood(100 * _MIB, b"x"), "MalformedAnswerError", CUT, other=BEGUN, heavy=True),
    "a body of 100 MB, packed": _row(
        faults.flood(100 * _MIB, b"x", packed=True), "MalformedAnswerError", CUT, other=BEGUN, heavy=True
    ),
    "an error of 100 MB": _row(faults.flood(100 * _MIB, b"x", code=500), "ServerError", heavy=True),
    "gzip": _row(faults.compressed(Answer()), OK),
    "no gzip, as it says": _row(
        faults.verbatim("HTTP/1.1 200 OK\ncontent-type: {kind}\ncontent-length: {size}\ncontent-encoding: gzip"),
        "MalformedAnswerError",
    ),
    "a packing that nothing is known of": _row(
        faults.verbatim("HTTP/1.1 200 OK\ncontent-type: {kind}\ncontent-length: {size}\ncontent-encoding: lzip"), OK
    ),
    "content type text/plain": _row(faults.typed("text/plain"), OK),
    "content type of a picture": _row(faults.typed("image/png"), OK),
    "no content type": _row(faults.typed(None), OK),
    "charset that it is not": _row(faults.typed("application/json; charset=iso-8859-1", WIDE), OK, text=WIDE.text),
    "charset that does not exist": _row(faults.typed("application/json; charset=x-klingon", WIDE), OK, text=WIDE.text),
    "UTF-16": _row(
        faults.typed("application/json; charset=utf-16", WIDE, charset="utf-16"),
        OK,
        "MalformedAnswerError",
        text=WIDE.text,
        other={"ollama stream": CUT},
    ),
    "a byte order mark": _row(faults.typed("application/json", WIDE, charset="utf-8-sig"), OK, text=WIDE.text),
}
PIECES: Final = {
    **{
        f"chunks of {size} bytes": _row(Answer(pieces=WIDE.pieces, chop=size), OK, text=WIDE.text)
        for size in (1, 2, 3, 7)
    },
    "events doubled": _row(faults.told_by(lambda events: [each for each in events for _ in range(2)]), OK, text=None),
    "events in reverse": _row(faults.told_by(lambda events: events[::-1]), OK, other=UNORDERED, text=None),
    "the end twice": _row(faults.told_by(lambda events: [*events, *events[-2:]]), OK, text=None),
    "the end first": _row(faults.told_by(lambda events: [events[-1], *events]), OK, other=UNORDERED, text=None),
    "unknown events between": _row(faults.unknown(first=False), OK),
    "unknown events before": _row(faults.unknown(first=True), OK),
    "a text of half a pair": _row(Answer(pieces=("a\ud800", "b", "\udfffc")), OK, text="a\ufffdb\ufffdc"),
    "a text with NUL and signs of control": _row(
        Answer(pieces=("a\0b\x1b[31m", "\u202ec")), OK, text="a\0b\x1b[31m\u202ec"
    ),
}
WAYS: Final = {
    "refused connection": _row(None, "ConnectError", place="closed"),
    "name that does not resolve": _row(None, "ConnectError", place="dns"),
    "certificate that is not trusted": _row(None, "ConnectError", place="untrusted"),
    "no TLS where it is asked": _row(None, "ConnectError", place="no-tls"),
    "a server that accepts no connection": _row(None, "RequestTimeoutError", place="crowd", slow=True),
    "a proxy that is dead": _row(None, "ConnectError", place="dead-proxy"),
    "a proxy that wants a login": _row(None, "ConnectError", place="proxy-407"),
    "a proxy that refuses": _row(None, "ConnectError", place="proxy-502"),
    "a proxy that hangs up": _row(None, "ConnectError", place="proxy-hangs-up"),
    **{
        f"redirect {code} to another host": _row(_elsewhere(code), "BadRequestError")
        for code in (301, 302, 303, 307, 308)
    },
}
NAMED: Final = {
    "clean end without a terminal event": ("clean end without a terminal event", "clean end before any text"),
    "HTML": ("200 with a page of HTML",),
    "no SSE": ("200 that is no stream where one was asked",),
    "cut JSON": ("cut JSON", "nearly JSON", "200 with nothing"),
    "cut socket": ("cut socket (FIN)", "cut socket (RST)", "cut socket before any text"),
    "error event": ("error event inside a 200", "error event after text"),
    "498, 429 and 529": ("status 498", "status 429 Resource Unavailable", "status 529"),
    "usage that does not add up": ("total above prompt + completion", "counts below zero", "counts beyond any integer"),
    "served tier": ("another served tier",),
    "cost": ("cost as a text", "cost NaN", "cost negative"),
    "usage in a chunk": ("usage in a chunk with choices", "usage on the chunk of the end"),
    "HTTP": ("HTTP/1.0", "trailers", "two lengths", "a length and chunks"),
    "slow": ("a header without end", "a body that drips", "silence", "silence after text"),
    "large": (
        "a body of 100 MB",
        "a body of 100 MB, packed",
        "an error of 100 MB",
        "a header of 1 MB",
        "20,000 headers",
    ),
    "type": ("content type of a picture", "no content type", "charset that it is not", "UTF-16"),
    "pieces": (
        "chunks of 1 bytes",
        "chunks of 3 bytes",
        "events doubled",
        "events in reverse",
        "unknown events between",
    ),
    "way": (
        "refused connection",
        "name that does not resolve",
        "certificate that is not trusted",
        "no TLS where it is asked",
    ),
    "proxy": ("a proxy that is dead", "a proxy that wants a login", "a proxy that refuses", "a proxy that hangs up"),
    "redirect": tuple(f"redirect {code} to another host" for code in (301, 302, 303, 307, 308)),
}
"""What must be in the table, by what it is about."""
TABLE |= STREAMS_THAT_LIE | SHAPES | REFUSALS | COUNTS | FRAMES | PIECES | WAYS
