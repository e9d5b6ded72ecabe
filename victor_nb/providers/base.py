"""What every provider is to the layers above: a request goes in, deltas come out, and one family of errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast

import httpx2

from victor_nb.providers.translate import Border, guard_logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from victor_nb.config.profiles import Timeouts
    from victor_nb.config.secret import Redactor, Secret
    from victor_nb.providers.spec import Spec
    from victor_nb.values import ChatRequest, Delta

# What a broken or foreign answer makes of a parser that trusted it.
PARSE_FAILURES: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    AssertionError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a profile's requests go, and with what."""

    profile: str
    spec: Spec
    model: str
    base_url: str
    key: Secret | None
    variables: tuple[str, ...]
    timeouts: Timeouts
    transport: httpx2.AsyncBaseTransport
    redactor: Redactor


class Provider(ABC):
    """A client of one provider for one profile."""

    failures: ClassVar[tuple[type[Exception], ...]] = ()
    """What this provider's SDK raises, beside what httpx2 does."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        wait = endpoint.timeouts
        self.http = httpx2.AsyncClient(
            transport=endpoint.transport,
            timeout=httpx2.Timeout(None, connect=wait.connect),
            follow_redirects=False,  # a key is for the address it was given for
            trust_env=False,
        )
        self._border = Border(endpoint)
        guard_logs(endpoint.redactor, endpoint.spec.loggers)

    def must_stream(self, request: ChatRequest) -> bool:
        """Tell whether the provider answers this request only as a stream."""
        del request
        return False

    @abstractmethod
    async def ask(self, request: ChatRequest) -> Delta:
        """Ask plainly: the whole answer at once."""

    @abstractmethod
    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Ask for a stream."""

    async def send(self, request: ChatRequest, *, stream: bool) -> AsyncGenerator[Delta]:
        """Ask once, and translate whatever goes wrong.

        Raises:
            ProviderError: The one family, whoever failed and however.
        """
        failure: Exception | None = None
        try:
            if stream:
                async for delta in self.stream(request):
                    yield delta
            else:
                yield await self.ask(request)
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, *self.failures, *PARSE_FAILURES) as error:
            failure = error
        if failure is not None:
            # Outside the handler, so that a cause which holds a key does not hang on as the context either.
            raise self._border.translate(failure) from self._border.cause(failure)

    @property
    def read_timeout(self) -> httpx2.Timeout:
        """The waits of a stream: to connect, and between two pieces."""
        wait = self.endpoint.timeouts
        return httpx2.Timeout(wait.read, connect=wait.connect, pool=None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()


def open_provider(endpoint: Endpoint) -> Provider:
    """Return a client for an endpoint; the first one of a provider imports its SDK, which takes up to a second."""
    return cast("type[Provider]", endpoint.spec.load_client())(endpoint)
