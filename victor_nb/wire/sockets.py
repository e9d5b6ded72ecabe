"""aiohttp under httpx2's interface. httpx2's own pool is quadratic in concurrent connections; aiohttp's is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp
import httpx2
from httpx_aiohttp.httpx2 import AiohttpTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

# How long an idle connection is kept: below the shortest keep-alive that servers are known to announce (5 s).
_KEEP_ALIVE: Final = 4.5
_LONGEST_HEADER: Final = 65_536  # bytes; gateways add long ones


class Sockets(httpx2.AsyncBaseTransport):
    """One client's connections: unlimited, closed with it. Every failure leaves as an httpx2 exception.

    Args:
        context: The TLS context, shared.
        proxy: The proxy to go through, if any.
    """

    def __init__(self, *, context: ssl.SSLContext, proxy: str | None) -> None:
        self._context = context
        self._inner = AiohttpTransport(
            verify=context, proxy=httpx2.Proxy(proxy) if proxy else None, client=self._open_session
        )

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._context, keepalive_timeout=_KEEP_ALIVE)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: It could not be sent, or was not answered.
        """
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.ConnectTimeout as error:
            raise _mend(error, request) from error
        except aiohttp.ClientError as error:
            raise httpx2.RemoteProtocolError(str(error), request=request) from error
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Body(response.stream)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, whose failures leave as httpx2 exceptions too."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner:
                yield piece
        except httpx2.ConnectTimeout as error:
            raise _mend(error, None) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error)) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _mend(error: httpx2.ConnectTimeout, request: httpx2.Request | None) -> httpx2.TransportError:
    """Undo httpx-aiohttp's reading of every lost connection as a connect timeout."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return error
    if isinstance(cause, aiohttp.ClientConnectorError):
        return httpx2.ConnectError(str(cause), request=request)
    return httpx2.RemoteProtocolError(str(error) or "the server hung up", request=request)
