"""Reading what servers answer: JSON of any shape, streams as servers really write them, and a client without an SDK."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Final, cast

import httpx2

from victor_nb.providers.base import Provider
from victor_nb.providers.refusals import StatusError, details_of, words_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping

    from victor_nb.values import FinishReason

DONE: Final[dict[str, object]] = {}
"""What a stream yields for `[DONE]`, its last event."""
FIRST: Final = (0, None, "0")
"""The index of the answer that is read, where several come."""
OTHERS: Final = "several answers came: the first one is shown, all are paid for"
_ENDS: Final = {"message_stop", "response.completed", "response.incomplete", "response.failed"}
"""The last events of streams, after which nothing of the answer comes."""
_MARK: Final = b"\xef\xbb\xbf"
"""A byte order mark."""
_IDLE: Final = {b"ping", b"heartbeat", b"keepalive", b"keep-alive"}
"""Names of events that only keep a connection open."""
_EMPTY: Final = {b"", b"null", b'""'}
"""Data that say nothing, as some gateways send them."""
_WHOLE: Final = (b'"choices"', b'"candidates"', b'"content"', b'"response"')
"""Names that an answer in one piece has, and an error has not."""
_OF_ERRORS: Final = frozenset({"code", "status_code", "errors", "base_resp", "detail", "error_msg"})
_OF_ANSWERS: Final = frozenset({"type", "choices", "candidates", "usageMetadata", "model"})
"""What an event that is an error without saying so has, and what all others have."""
_WELL: Final = 200
_NO_ERROR: Final = {"0", "200", "ok", "success", "none", "null"}
"""What stands where an error would, and says that there is none."""
_LINGER: Final = 0.2  # seconds; to open a new connection would take about as long
_SHOWN: Final = 80  # characters of what is no JSON
_STRAY: Final = 1_000  # lines; a page of HTML has fewer that matter
_LONGEST_EVENT: Final = 1 << 25  # bytes; an image in one has a quarter
_MOST_TOKENS: Final = 10**9  # a thousand times what a model reads; a count above it is none


_FINISH: Final = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed", "complete"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    "model_context_window_exceeded": "length",
    **dict.fromkeys(("content_filter", "refusal", "safety", "recitation", "blocklist"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "spii", "image_safety"), "content_filter"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
}
"""Why an answer ended, in the words of the protocols and of gateways, which pass on those of others; lower case."""
_NO_REASON: Final = {"", "null", "none", "finish_reason_unspecified"}
"""What stands for a reason in an answer that has not ended."""


class PlainProvider(Provider):
    """Posts JSON to a path below the base URL."""

    failures: ClassVar[tuple[type[Exception], ...]] = (StatusError,)

    async def post(self, path: str, body: Mapping[str, object]) -> tuple[dict[str, object], httpx2.Headers]:
        """Return the JSON object that a plain request is answered with, and its headers."""
        response = await self.http.post(self.endpoint.base_url + path, content=encode(body))
        _check(response, response.content)
        answer = parse(response.content)
        check_event(answer, response)
        return answer, response.headers

    @asynccontextmanager
    async def open(self, path: str, body: Mapping[str, object]) -> AsyncGenerator[httpx2.Response]:
        """Open a streamed answer; `events` reads it."""
        url = self.endpoint.base_url + path
        async with self.http.stream("POST", url, content=encode(body), timeout=self.read_timeout) as response:
            if not response.is_success:
                _check(response, await response.aread())
            yield response


# --- streams ---


async def events(
    response: httpx2.Response, *, sse: bool = False, check: bool = True
) -> AsyncGenerator[dict[str, object]]:
    """Yield the JSON objects of a stream, `DONE` last where the server sends `[DONE]`, and close it.

    Args:
        response: Whose body has not been read.
        sse: Whether they are the data of server-sent events, and not one a line (NDJSON).
        check: Whether errors among them are raised.

    Raises:
        StatusError: One of them is an error.
        ValueError: One of them is no JSON object, or something else came.
    """
    reader, begun = Reader(sse=sse), False
    event: dict[str, object] = {}
    try:
        async with aclosing(response), aclosing(response.aiter_bytes()) as pieces:
            async for piece in pieces:
                for event in reader.feed(piece):
                    if check:
                        check_event(event, response)
                    yield event
                    begun = begun or event.get("type") != "ping"
                    if event is DONE or event.get("type") in _ENDS or event.get("done") is True:
                        await _linger(pieces)
                        return
            for event in reader.end():
                if check:
                    check_event(event, response)
                yield event
    except StatusError as error:
        error.begun = begun
        raise
    except httpx2.TransportError:
        if not any(read(each, "finishReason") for each in items(event, "candidates")):  # Google's end
            raise


async def _linger(pieces: AsyncIterator[bytes]) -> None:
    """Wait a moment for the end of a body whose last event has come: it frees the connection for the next request."""
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_LINGER):
            async for _ in pieces:
                pass


def check_event(event: Mapping[str, object], response: httpx2.Response) -> None:
    """Raise if an object of an answer that began well is an error.

    Raises:
        StatusError: It is.
    """
    if (event.get("error") and fails(event["error"])) or "error" in (event.get("type"), event.get("object")):
        raise StatusError(response.status_code, response.headers, event)
    if not _OF_ERRORS.isdisjoint(event) and _OF_ANSWERS.isdisjoint(event) and words_of(event):
        raise StatusError(response.status_code, response.headers, event)


class Reader:
    """Reads the bytes of a stream, however they are cut: server-sent events (WHATWG HTML, 9.2), or an object a line.

    More tolerant than the standard where nothing is lost by it: the last event may lack its empty line, as may those
    between, if each is whole; data that is a comment is one. What is no event is an error, if it says so.
    """

    def __init__(self, *, sse: bool = False) -> None:
        self._sse = sse
        self._parts: list[bytes] = []  # of a line that has not ended
        self._room = _LONGEST_EVENT  # for more of it
        self._data: list[bytes] = []  # of an event that has not ended
        self._name = b""
        self._stray: list[bytes] = []
        self._begun = self._any = self._return = False

    def feed(self, piece: bytes) -> Iterator[dict[str, object]]:
        """Yield the events that these bytes complete."""
        for line in self._split(piece):
            event = None
            if line.startswith(b"data:"):
                if len(self._data) == 1:
                    event = self._whole()
                self._data.append(line[5:])
            elif line:
                event = self._other(line)
            elif self._data:
                event = self._take()
            if event is not None:
                yield event

    def _split(self, piece: bytes) -> list[bytes]:
        """Return the lines that these bytes complete; they end in CR, LF or both, which may be cut apart."""
        if self._return and piece:
            piece, self._return = piece.removeprefix(b"\n"), False
        if b"\n" not in piece and b"\r" not in piece:
            self._room -= len(piece)
            if self._room < 0:
                raise ValueError(f"a line of it has more than {_LONGEST_EVENT >> 20} MB")
            if piece:
                self._parts.append(piece)
            return []
        if self._parts:
            piece = b"".join([*self._parts, piece])
            self._parts.clear()
            self._room = _LONGEST_EVENT
        if not self._begun:
            self._begun, piece = True, piece.removeprefix(_MARK)
        lines = piece.splitlines()
        if piece.endswith(b"\r"):
            self._return = True
        elif not piece.endswith(b"\n"):
            self._parts.append(lines.pop())
        return lines

    def end(self) -> Iterator[dict[str, object]]:
        """Yield what the end of the stream completes.

        Raises:
            ValueError: No event came, but something else.
        """
        self._return = False
        yield from self.feed(b"\n\n")
        if self._any or not self._stray:
            return
        rest = b"\n".join(self._stray)
        found = details_of(rest)
        if found and not any(key in rest for key in _WHOLE):
            yield {"error": found}
        raise ValueError("it is no stream, as was asked for, but: " + (words_of(rest) or "a whole answer"))

    def _take(self, *, whole: bool = True) -> dict[str, object] | None:
        """Return the event whose data has come, if it is one; `whole` says that no more of it comes."""
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        data, name = data.strip(), self._name
        self._data.clear()
        self._name = b""
        if data in _EMPTY or data.startswith(b":") or name in _IDLE:
            return None
        self._any = True
        if data == b"[DONE]":
            return DONE
        if name != b"error":
            return parse(data)
        try:
            event = parse(data)
        except ValueError:
            if not whole:
                raise
            return {"error": data.decode("utf-8", "replace")}
        return event if event.get("error") else {"error": event}

    def _whole(self) -> dict[str, object] | None:
        """Return an event that is whole, though no empty line ended it; None where its next line may complete it."""
        kept, name = [*self._data], self._name
        try:
            return self._take(whole=False)
        except ValueError:
            self._data, self._name = kept, name
            return None

    def _other(self, line: bytes) -> dict[str, object] | None:
        """Read a line that is no data."""
        if line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif not self._sse:
            if line.strip():
                self._any = True
                return parse(line)
        elif not line.startswith((b":", b"id:", b"retry:")) and len(self._stray) < _STRAY:
            self._stray.append(line)
            if self._any and line.startswith(b"{"):  # an error that a server forgot to wrap
                try:
                    event = parse(line)
                except ValueError:
                    return None
                return event if event.get("error") else None
        return None


# --- JSON ---


def fails(error: object) -> bool:
    """Return whether the `error` of an answer is one: some send an empty one, or `{"code": 0, "message": ""}`."""
    stated = cast("dict[str, object]", error).values() if isinstance(error, dict) else [error]
    return any(each and str(each).lower() not in _NO_ERROR for each in stated)


def encode(body: Mapping[str, object]) -> bytes:
    """Write JSON as UTF-8."""
    return json.dumps(body, ensure_ascii=False).encode()


def parse(data: bytes | str) -> dict[str, object]:
    """Read a JSON object; bytes that are no UTF-8 become U+FFFD.

    Raises:
        ValueError: It is something else.
    """
    try:
        value: object = json.loads(data)
    except UnicodeDecodeError:
        return parse(cast("bytes", data).decode("utf-8", "replace"))
    except ValueError as error:
        shown = words_of(data) or (data if isinstance(data, str) else data.decode("utf-8", "replace"))
        raise ValueError(f"it is no JSON, but: {' '.join(shown[:_SHOWN].split()) or 'nothing'}") from error
    if isinstance(value, list) and read(next(iter(cast("list[object]", value)), None), "error"):  # Google's
        value = cast("list[object]", value)[0]
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, object]", value)


def _check(response: httpx2.Response, body: bytes) -> None:
    if not response.is_success:
        raise StatusError(response.status_code, response.headers, body)


def no_answer(body: Mapping[str, object], headers: httpx2.Headers, lacks: str) -> Exception:
    """Return what a whole answer that is none means: the error that it states, else what it lacks."""
    if words_of(body):
        return StatusError(_WELL, headers, body)
    return ValueError(f"no {lacks}, but: {json.dumps(body)[:_SHOWN]}")


def given(**options: object) -> dict[str, object]:
    """Return the options that are not None: nothing else is sent."""
    for name in [*options]:
        if options[name] is None:
            del options[name]
    return options


def read(value: object, *path: str) -> object:
    """Follow keys of JSON objects; None where the path ends early."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, object]", value).get(name)
    return value


def items(value: object, *path: str) -> list[object]:
    """Return the list at the end of a path; an empty one where there is none."""
    found = read(value, *path)
    return cast("list[object]", found) if isinstance(found, list) else []


def number(value: object, *path: str) -> int:
    """Return the token count at the end of a path, also one that is written as 10.0 or "10"; 0 where there is none."""
    found = read(value, *path)
    if isinstance(found, (float, str)) and re.fullmatch(r"\d{1,15}(\.0)?", str(found), re.ASCII):
        found = int(float(found))
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found <= _MOST_TOKENS else 0


def text(value: object) -> str | None:
    """Return the value if it is a text."""
    return value if isinstance(value, str) else None


def finish(reason: object) -> FinishReason | None:
    """Translate a provider's reason to stop into ours: None where it names none, `other` where it is unknown."""
    if not isinstance(reason, str) or reason.lower() in _NO_REASON:
        return None
    return cast("FinishReason", _FINISH.get(reason.lower(), "other"))
