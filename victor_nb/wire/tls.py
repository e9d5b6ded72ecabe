"""The TLS contexts of a session."""

from __future__ import annotations

import ssl
import threading

import httpx2


class Tls:
    """A real context takes 20-35 ms and 0.7 MB, so all clients of a session share one, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._real: ssl.SSLContext | None = None
        # Where no TLS is spoken, aiohttp still wants a context; this one trusts nobody, and costs nothing.
        self._none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def context(self, base_url: str) -> ssl.SSLContext:
        """Return the context for a client of this address."""
        if not base_url.startswith("https:"):
            return self._none
        with self._lock:
            if self._real is None:
                self._real = httpx2.create_ssl_context()
            return self._real
