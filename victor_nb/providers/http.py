"""Clients without an SDK: JSON out and in over plain httpx2; and readers that take whatever shape an answer has."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, cast

from victor_nb.providers.base import Provider
from victor_nb.providers.translate import StatusError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import httpx2

    from victor_nb.values import FinishReason


class PlainProvider(Provider):
    """Posts JSON to a path below the base URL."""

    failures: ClassVar[tuple[type[Exception], ...]] = (StatusError,)

    async def post(self, path: str, body: Mapping[str, object]) -> tuple[dict[str, object], httpx2.Headers]:
        """Return the JSON object that a plain request is answered with, and its headers."""
        response = await self.http.post(self.endpoint.base_url + path, content=encode(body))
        _check(response, response.content)
        return parse(response.content), response.headers

    @asynccontextmanager
    async def open(self, path: str, body: Mapping[str, object]) -> AsyncGenerator[httpx2.Response]:
        """Open a streamed answer; `events` reads it."""
        url = self.endpoint.base_url + path
        async with self.http.stream("POST", url, content=encode(body), timeout=self.read_timeout) as response:
            if not response.is_success:
                _check(response, await response.aread())
            yield response


async def events(response: httpx2.Response, *, prefix: bytes = b"") -> AsyncGenerator[dict[str, object]]:
    """Yield the JSON objects of a stream, one a line (NDJSON), or after `data:` on its line (server-sent events).

    Raises:
        StatusError: One of them is an error.
        ValueError: One of them is no JSON object.
    """
    async for line in _lines(response):
        if line and line.startswith(prefix):
            event = parse(line.removeprefix(prefix))
            if "error" in event:
                raise StatusError(response.status_code, response.headers, event)
            yield event


async def _lines(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """Yield the lines of a stream. They end at a line feed only: other separators are part of a text."""
    rest = b""
    async for piece in response.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.strip()
    if rest.strip():
        yield rest.strip()


def encode(body: Mapping[str, object]) -> bytes:
    """Write JSON as UTF-8."""
    return json.dumps(body, ensure_ascii=False).encode()


def parse(data: bytes | str) -> dict[str, object]:
    """Read a JSON object.

    Raises:
        ValueError: It is something else.
    """
    value: object = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, object]", value)


def _check(response: httpx2.Response, body: bytes) -> None:
    if not response.is_success:
        raise StatusError(response.status_code, response.headers, body)


def given(**options: object) -> dict[str, object]:
    """Return the options that are not None: nothing else is sent."""
    for name in [*options]:
        if options[name] is None:
            del options[name]
    return options


def read(value: object, *path: str) -> object:
    """Follow attributes (of SDK objects) or keys (of JSON objects); None where the path ends early."""
    for name in path:
        value = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value


def items(value: object, *path: str) -> list[object]:
    """Return the list at the end of a path; an empty one where there is none."""
    found = read(value, *path)
    return cast("list[object]", found) if isinstance(found, list) else []


def number(value: object, *path: str) -> int:
    """Return the token count at the end of a path, also one that is written as 10.0 or "10"; 0 where there is none."""
    found = read(value, *path)
    if isinstance(found, (float, str)) and re.fullmatch(r"\d{1,15}(\.0)?", str(found)):
        return int(float(found))
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def text(value: object) -> str | None:
    """Return the value if it is a text."""
    return value if isinstance(value, str) else None


def finish(table: Mapping[str, str], reason: object) -> FinishReason | None:
    """Translate a provider's reason to stop into ours; one that is unknown is `other`."""
    if not isinstance(reason, str) or not reason:
        return None
    return cast("FinishReason", table.get(reason, "other"))
