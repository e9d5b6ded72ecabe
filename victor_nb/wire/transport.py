"""The transports below the protocols: what the clients of a session share, and the connections to the outside."""

from __future__ import annotations

import pkgutil
import re
import ssl
import threading
import zlib
from base64 import b64encode
from contextlib import aclosing, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    import aiohttp
    from httpx_aiohttp.httpx2 import AiohttpTransport

    from victor_nb.providers.spec import Spec
    from victor_nb.values import Mode
    from victor_nb.wire.player import Place
    from victor_nb.wire.recorder import Tapes

# How long an idle connection is kept: below the shortest keep-alive that servers are known to announce (5 s).
_KEEP_ALIVE: Final = 4.5
_LONGEST_HEADER: Final = 65_536  # bytes; gateways add long ones
_MOST_HEADERS: Final = 1_000  # gateways add many, and aiohttp takes 128
_LONGEST: Final = 1 << 26  # bytes of an answer in one piece; the longest texts with images have a quarter
_LONGEST_STREAM: Final = 1 << 29  # bytes; 128,000 tokens of which each states twenty others have half
_LONGEST_REFUSAL: Final = 1 << 20
_STREAMS: Final = re.compile("event-stream|ndjson")
_GZIP: Final = 31  # zlib's word for it; it is all that is asked for
_SOCKS: Final = {
    "socks4": ("SOCKS4", False),
    "socks4a": ("SOCKS4", True),
    "socks5": ("SOCKS5", False),
    "socks5h": ("SOCKS5", True),
    "socks": ("SOCKS5", True),  # what GNOME's settings write
}
"""The kinds of SOCKS proxies, and whether they look names up; 1080 is their port where none is given."""


class SetupError(httpx2.TransportError):
    """What the environment names for all connections cannot be used, so none was opened."""

    def __init__(self, fact: str, step: str) -> None:
        super().__init__(fact)
        self.fact = fact
        self.step = step


class Wire:
    """What all clients of a session share below their protocols: the TLS contexts.

    A real context takes 20-35 ms and 0.7 MB, so there is one, made when it is first needed.
    """

    def __init__(self) -> None:
        self.loading = threading.Lock()
        """Is held while certificates are loaded; a process must not be forked meanwhile."""
        self._tls: dict[Path | None, ssl.SSLContext] = {}
        self.sending: Callable[[], object] | None = None
        """Is called right before the bytes of a request go out, in the context of what sends it."""
        # Where no TLS is spoken, aiohttp still wants a context; this one trusts no certificate, and costs nothing.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def context(self, base_url: str, certificates: tuple[str, Path] | None = None) -> ssl.SSLContext:
        """Return the TLS context for a client of this address.

        Args:
            base_url: The address.
            certificates: The setting that names what to trust instead of the system's certificates, and their place.

        Raises:
            SetupError: They cannot be read.
        """
        if not base_url.lower().startswith("https:"):
            return self._no_tls
        setting, place = certificates or ("SSL_CERT_FILE", None)
        with self.loading:
            if place not in self._tls:
                try:
                    self._tls[place] = _context(place)
                except OSError as error:
                    if error.filename is not None:  # certificates that are not there have no name
                        raise _no_log(error) from error
                    fact = f"the certificates that {setting} names cannot be read ({error.strerror or error})"
                    raise SetupError(fact, "Correct it, or unset it.") from error
            return self._tls[place]

    def warm_up(self, certificates: tuple[str, Path] | None) -> None:
        """Import and load early what the first request would have to wait for."""
        with suppress(SetupError):  # the first request says so
            _aiohttp_transport()
            self.context("https:", certificates)

    def open(
        self,
        mode: Mode,
        *,
        spec: Spec,
        base_url: str,
        proxy: str | None,
        speed: float,
        certificates: tuple[str, Path] | None = None,
        tape: Place | None = None,
    ) -> httpx2.AsyncBaseTransport:
        """Return a transport of its own for one client of this provider.

        Raises:
            TapeError: The tape to replay or to record cannot be used.
        """
        if mode == "simulate":
            from victor_nb.wire.simulator import Simulator  # noqa: PLC0415 - only this mode needs it

            return Simulator(spec, speed=speed)
        if tape is None:
            return Real(context=partial(self.context, base_url, certificates), proxy=proxy, sending=self.sending)
        from victor_nb.wire.player import Player  # noqa: PLC0415 - only where there are tapes
        from victor_nb.wire.recorder import Recorder  # noqa: PLC0415 - as above

        if mode == "replay":
            self.tapes.playback(tape)  # what is wrong with it is said now
            return Player(partial(self.tapes.playback, tape), provider=spec.name, base_url=base_url, speed=speed)
        real = Real(context=partial(self.context, base_url, certificates), proxy=proxy)
        return Recorder(real, recording=self.tapes.recording(tape), provider=spec.name, base_url=base_url)

    @cached_property
    def tapes(self) -> Tapes:
        """The tapes that this kernel records and replays."""
        from victor_nb.wire.recorder import Tapes  # noqa: PLC0415 - only where there are tapes

        return Tapes()


class Real(httpx2.AsyncBaseTransport):
    """One client's connections, over aiohttp: unlimited, opened by the first request, closed with the client.

    httpx2's own pool is quadratic in concurrent connections; aiohttp's is not. It keeps a connection though the request
    says `Connection: close`, unless the answer says so too; so such requests have connections that are never kept.
    Every failure is raised as an httpx2 exception.

    Args:
        context: Returns the TLS context.
        proxy: The proxy to go through, if any.
        sending: Is called right before the bytes of a request go out.

    Raises:
        SetupError: TLS cannot be set up.
    """

    def __init__(
        self,
        *,
        context: Callable[[], ssl.SSLContext],
        proxy: str | None = None,
        sending: Callable[[], object] | None = None,
    ) -> None:
        self._make = _aiohttp_transport()
        self._context = context
        self._session = partial(_session, sending=sending)
        self._proxy = proxy.strip() if proxy else None
        self._inner: dict[bool, httpx2.AsyncBaseTransport] = {}  # by whether connections are kept
        self._of_socks: tuple[type[Exception], ...] = ()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: It could not be sent, or was not answered.
        """
        from aiohttp import ClientError  # noqa: PLC0415 - slow to import

        kept = request.headers.get("connection", "").lower() != "close"
        if kept not in self._inner:
            self._inner[kept] = self._open(kept=kept)
        try:
            response = await self._inner[kept].handle_async_request(request)
        except (httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise _mend(error, request, self._proxy, self._of_socks) from error.__cause__
        except ClientError as error:
            raise httpx2.RemoteProtocolError(str(error), request=request) from error
        except self._of_socks as error:
            raise _no_proxy(self._proxy, str(error)) from error
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Body(response.stream, response)
        return response

    def _open(self, *, kept: bool) -> httpx2.AsyncBaseTransport:
        """Make the owner of connections, and read the proxy as curl does: without a scheme it is an HTTP proxy.

        Args:
            kept: Whether connections are kept for further requests.

        Raises:
            SetupError: The certificates or the proxy cannot be used.
        """
        context, given, session = self._context(), self._proxy, partial(self._session, kept=kept)
        if not given:
            return self._make(verify=context, client=partial(session, context))
        address = given if "://" in given else f"http://{given}"
        scheme = address.partition("://")[0].lower()
        if scheme in _SOCKS:
            return self._make(verify=context, client=partial(session, context, self._socks(address)))
        try:
            proxy = httpx2.Proxy(address)
            if proxy.auth is not None:  # as a header: aiohttp's own class for it goes with its next version
                login = b64encode(":".join(proxy.auth).encode()).decode()
                proxy = httpx2.Proxy(proxy.url, headers={"Authorization": f"Basic {login}"})
        except (ValueError, httpx2.InvalidURL) as error:
            fact = f"the proxy {given} cannot be used"
            raise SetupError(fact, "Write HTTPS_PROXY as http://host:port or socks5://host:port.") from error
        return self._make(verify=context, proxy=proxy, client=partial(session, context))

    def _socks(self, address: str) -> partial[aiohttp.TCPConnector]:
        """Return what makes a connector through a SOCKS proxy.

        Raises:
            SetupError: The package for it is missing, or the address is none.
        """
        url, step = urlsplit(address), "Install it with `pip install aiohttp-socks`, or unset ALL_PROXY."
        try:
            socks: Any = pkgutil.resolve_name("aiohttp_socks")  # only those behind such a proxy have it
        except ImportError as error:
            fact = f"the proxy {address} is a SOCKS proxy, for which the package aiohttp-socks is needed"
            raise SetupError(fact, step) from error
        self._of_socks = (socks.ProxyError, socks.ProxyConnectionError, socks.ProxyTimeoutError)
        kind, names = _SOCKS[url.scheme.lower()]
        try:
            return partial(
                socks.ProxyConnector,
                host=url.hostname or "127.0.0.1",
                port=url.port or 1080,
                proxy_type=socks.ProxyType[kind],
                username=unquote(url.username) if url.username else None,
                password=unquote(url.password) if url.password else None,
                rdns=names,
            )
        except ValueError as error:
            raise SetupError(f"the proxy {address} cannot be used", "Write it as socks5://host:port.") from error

    async def aclose(self) -> None:
        """Close every connection."""
        for inner in self._inner.values():
            await inner.aclose()


def _aiohttp_transport() -> type[AiohttpTransport]:
    """Import aiohttp, and return what makes a transport of it.

    A client calls it when it is made and not at the first request, and by this form of the statement, which waits for a
    package that another thread is importing (`from package.part import` does not): it brings the older httpx, which
    openai's SDK looks up in `sys.modules` at every step, and takes for whole while it is half imported.

    Raises:
        SetupError: TLS cannot be set up, which aiohttp does at once.
    """
    try:
        import httpx_aiohttp.httpx2  # noqa: PLC0415 - aiohttp is slow to import
    except OSError as error:
        raise _no_log(error, ", and restart the kernel") from error  # aiohttp is half imported
    return httpx_aiohttp.httpx2.AiohttpTransport


def _no_log(error: OSError, more: str = "") -> SetupError:
    """Return the error of the only file that TLS opens beside certificates: where it writes its session keys."""
    fact = f"TLS cannot write its log of keys to {error.filename} ({error.strerror or error})"
    return SetupError(fact, f"Correct or unset SSLKEYLOGFILE{more}.")


def _context(place: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the certificates of a file or a folder, or (None) the system's."""
    if place is None:
        return httpx2.create_ssl_context()
    if place.is_dir():
        return ssl.create_default_context(capath=place)
    return ssl.create_default_context(cafile=place)


def _session(
    context: ssl.SSLContext,
    connect: Callable[..., aiohttp.TCPConnector] | None = None,
    *,
    kept: bool,
    sending: Callable[[], object] | None = None,
) -> aiohttp.ClientSession:
    import aiohttp  # noqa: PLC0415 - slow to import

    keeping: dict[str, Any] = {"keepalive_timeout": _KEEP_ALIVE} if kept else {"force_close": True}
    connector = (connect or aiohttp.TCPConnector)(limit=0, ssl=context, **keeping)
    known = aiohttp.ClientSession.__init__.__kwdefaults__
    more: dict[str, Any] = {"max_headers": _MOST_HEADERS} if "max_headers" in (known or {}) else {}  # older: no limit
    if sending is not None:

        async def say(*_: object) -> None:
            sending()

        trace = aiohttp.TraceConfig()
        trace.on_request_chunk_sent.append(say)  # by its name: aiohttp calls it before it writes the chunk
        more["trace_configs"] = [trace]
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
        **more,
    )


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, unpacked, up to a limit; failures are raised as httpx2 exceptions too.

    Of a refusal, what comes before a failure or the limit is enough: its status says what it is.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, response: httpx2.Response) -> None:
        headers = response.headers
        packed = headers.pop("content-encoding") if "content-encoding" in headers else ""
        self._inner = inner
        self._refusal = response.is_error
        self._unpack = zlib.decompressobj(_GZIP) if "gzip" in packed.lower() else None
        streamed = _STREAMS.search(headers.get("content-type", ""))
        self._most = _LONGEST_REFUSAL if self._refusal else _LONGEST_STREAM if streamed else _LONGEST

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from aiohttp import ClientError  # noqa: PLC0415 - slow to import

        room = self._most
        try:
            async with aclosing(cast("AsyncGenerator[bytes]", aiter(self._inner))) as pieces:
                async for piece in pieces:
                    data = piece if self._unpack is None else self._unpack.decompress(piece, room + 1)
                    room -= len(data)
                    if room < 0 and not self._refusal:
                        raise httpx2.DecodingError(f"has more than {self._most >> 20} MB")
                    yield data
                    if room < 0:
                        return
        except (httpx2.TransportError, ClientError, zlib.error) as error:
            if not self._refusal:
                raise _of_body(error) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _of_body(error: Exception) -> httpx2.RequestError:
    """Return what a failure in the middle of an answer is."""
    if isinstance(error, httpx2.ConnectTimeout):
        return _mend(error, None, None, ())
    if isinstance(error, httpx2.RequestError):
        return error
    return (
        httpx2.DecodingError("cannot be decompressed")
        if isinstance(error, zlib.error)
        else httpx2.ReadError(str(error))
    )


def _mend(
    error: httpx2.TransportError,
    request: httpx2.Request | None,
    proxy: str | None,
    of_socks: tuple[type[Exception], ...],
) -> httpx2.TransportError:
    """Return the real error behind httpx-aiohttp's connect timeout, which it raises for every lost connection."""
    from aiohttp import ClientConnectorError, ClientHttpProxyError, ClientProxyConnectionError  # noqa: PLC0415 - slow

    cause = error.__cause__
    if isinstance(cause, ClientHttpProxyError):
        return _no_proxy(proxy, f"it answered {cause.status} {cause.message}".rstrip())
    if isinstance(cause, ClientProxyConnectionError) or (cause and isinstance(cause.__cause__, of_socks)):
        return _no_proxy(proxy, "it cannot be reached")
    if isinstance(cause, TimeoutError):
        return error
    if isinstance(cause, ClientConnectorError):
        return httpx2.ConnectError(str(cause), request=request)
    return httpx2.RemoteProtocolError(str(error) or "the server hung up", request=request)


def _no_proxy(proxy: str | None, why: str) -> httpx2.ProxyError:
    return httpx2.ProxyError(f"the proxy {proxy} does not help: {' '.join(why.split())}")
