"""The transports below the protocols: what the clients of a session share, and the connections to the outside."""

from __future__ import annotations

import pkgutil
import ssl
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import httpx2

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from victor_nb.providers.spec import Spec
    from victor_nb.values import Mode

# How long an idle connection is kept: below the shortest keep-alive that servers are known to announce (5 s).
_KEEP_ALIVE: Final = 4.5
_LONGEST_HEADER: Final = 65_536  # bytes; gateways add long ones


class Wire:
    """What all clients of a session share below their protocols: the TLS contexts.

    A real context takes 20-35 ms and 0.7 MB, so there is one, made when it is first needed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        # Where no TLS is spoken, aiohttp still wants a context; this one trusts no certificate, and costs nothing.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def context(self, base_url: str) -> ssl.SSLContext:
        """Return the TLS context for a client of this address."""
        if not base_url.startswith("https:"):
            return self._no_tls
        with self._lock:
            if self._tls is None:
                self._tls = httpx2.create_ssl_context()
            return self._tls

    def warm_up(self) -> None:
        """Import and load early what the first request would have to wait for."""
        pkgutil.resolve_name("httpx_aiohttp.httpx2")
        self.context("https:")

    def open(
        self, mode: Mode, *, spec: Spec, base_url: str, proxy: str | None, sim_speed: float
    ) -> httpx2.AsyncBaseTransport:
        """Return a transport of its own for one client of this provider.

        Raises:
            ConfigError: The mode has no transport.
        """
        if mode == "simulate":
            from victor_nb.wire.simulator import Simulator  # noqa: PLC0415 - only this mode needs it

            return Simulator(spec, speed=sim_speed)
        if mode == "live":
            return Real(context=partial(self.context, base_url), proxy=proxy)
        raise ConfigError(f"Mode {mode!r} is not available yet. Use live or simulate (%victor mode simulate).")


class Real(httpx2.AsyncBaseTransport):
    """One client's connections, over aiohttp: unlimited, opened by the first request, closed with the client.

    httpx2's own pool is quadratic in concurrent connections; aiohttp's is not. Every failure is raised as an httpx2
    exception.

    Args:
        context: Returns the TLS context.
        proxy: The proxy to go through, if any.
    """

    def __init__(self, *, context: Callable[[], ssl.SSLContext], proxy: str | None = None) -> None:
        # Now and not at the first request, and by this form of the statement, which waits for a package that another
        # thread is importing (`from package.part import` does not): it brings the older httpx, which openai's SDK looks
        # up in `sys.modules` at every step, and takes for whole while it is half imported.
        import httpx_aiohttp.httpx2  # noqa: PLC0415 - aiohttp is slow to import

        self._make = httpx_aiohttp.httpx2.AiohttpTransport
        self._context = context
        self._proxy = proxy
        self._inner: httpx2.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: It could not be sent, or was not answered.
        """
        from aiohttp import ClientError  # noqa: PLC0415 - slow to import

        if self._inner is None:
            context, proxy = self._context(), httpx2.Proxy(self._proxy) if self._proxy else None
            self._inner = self._make(verify=context, proxy=proxy, client=partial(_session, context))
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.ConnectTimeout as error:
            raise _mend(error, request) from error.__cause__
        except ClientError as error:
            raise httpx2.RemoteProtocolError(str(error), request=request) from error
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Body(response.stream)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        if self._inner is not None:
            await self._inner.aclose()


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    import aiohttp  # noqa: PLC0415 - slow to import

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=_KEEP_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
    )


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, whose failures are raised as httpx2 exceptions too."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from aiohttp import ClientError  # noqa: PLC0415 - slow to import

        try:
            async for piece in self._inner:
                yield piece
        except httpx2.ConnectTimeout as error:
            raise _mend(error, None) from error.__cause__
        except ClientError as error:
            raise httpx2.ReadError(str(error)) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _mend(error: httpx2.ConnectTimeout, request: httpx2.Request | None) -> httpx2.TransportError:
    """Return the real error behind httpx-aiohttp's connect timeout, which it raises for every lost connection."""
    from aiohttp import ClientConnectorError  # noqa: PLC0415 - slow to import

    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return error
    if isinstance(cause, ClientConnectorError):
        return httpx2.ConnectError(str(cause), request=request)
    return httpx2.RemoteProtocolError(str(error) or "the server hung up", request=request)
