"""The transport to the outside, made when the first request goes out: a client that never asks costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from victor_nb.wire.sockets import Sockets
    from victor_nb.wire.tls import Tls


class Real(httpx2.AsyncBaseTransport):
    """One client's way to one address.

    Args:
        tls: The session's TLS contexts.
        base_url: The address.
        proxy: The proxy to go through, where the environment names one.
    """

    def __init__(self, *, tls: Tls, base_url: str, proxy: str | None = None) -> None:
        self._tls = tls
        self._base_url = base_url
        self._proxy = proxy
        self._sockets: Sockets | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: It could not be sent, or was not answered.
        """
        if self._sockets is None:
            from victor_nb.wire.sockets import Sockets  # noqa: PLC0415 - aiohttp is slow to import

            self._sockets = Sockets(context=self._tls.context(self._base_url), proxy=self._proxy)
        return await self._sockets.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._sockets is not None:
            await self._sockets.aclose()
