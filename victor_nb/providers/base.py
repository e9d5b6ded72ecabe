"""The base class of all providers: it sends a `ChatRequest`, yields deltas, and raises `ProviderError`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, ClassVar, Final, cast

import httpx2

from victor_nb.config.secret import SHORTEST_SECRET, guard_logs
from victor_nb.config.trust import place_of, vet
from victor_nb.errors import UNLOADABLE, ProviderOpenError, SecretError, VictorError
from victor_nb.providers.catalog import FLEX_SECONDS, host_of
from victor_nb.providers.translate import Endpoint, Translator
from victor_nb.values import UNPAID, Lesson
from victor_nb.wire.transport import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from victor_nb.config.profiles import Profile
    from victor_nb.config.secret import Secret
    from victor_nb.config.settings import Settings
    from victor_nb.values import ChatRequest, Delta, Mode
    from victor_nb.wire.transport import Wire

# What a broken or foreign answer makes of a parser that trusted it.
_FAILURES: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    RecursionError,
    ImportError,
    NameError,
)
_KEY: Final = re.compile(r"(?!['\"])[!-~]+")
"""What an HTTP header takes: printable ASCII, no blanks; and no quotes, which `%env` takes for a part of the key."""
KEYLESS: Final = "victor_nb_keyless"
"""The extension of a request that is sent without the key."""
_OF_HTTP: Final = frozenset("accept connection content-length content-type host transfer-encoding user-agent".split())
_OF_SCHEMAS: Final = re.compile(
    r"schema|response_?format|response_?mime|output_config|structured.output|json_object|json mode|\bformat\b"
)
"""What the refusal of a schema, or of a mode for JSON, speaks of."""
_OF_ITS_RANGE: Final = re.compile(
    r"between|\brange\b|less than|greater than|at (most|least)|exceed|expected a value|too (high|large|big|low|small)"
    r"|maximum|minimum|[<>]=?"
)
"""What is said of a temperature that is only too high or too low: another one would be taken."""
_OF_THE_SDKS: Final = "x-stainless-"
"""What the names of the headers begin with in which the SDKs describe themselves and the machine."""


@dataclass(slots=True)
class _Exchange:
    """Whether a request was answered, is streamed, may take as long as at the flex tier; and who hears its headers."""

    answered: bool = False
    streamed: bool = False
    flex: bool = False
    hear: Callable[[httpx2.Headers], object] | None = None


_exchange: Final[ContextVar[_Exchange | None]] = ContextVar("victor_nb_exchange", default=None)


class Provider(ABC):
    """A client of one provider for one profile."""

    failures: ClassVar[tuple[type[Exception], ...]] = ()
    """What this provider's SDK raises, beside what httpx2 does."""
    longest_plain: ClassVar[int | None] = None
    """Tokens; an answer that may have more is given only as a stream."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.secret = endpoint.key.reveal() if endpoint.key else ""
        """The key that no answer brings back; "" for none, and for one so short that it may be a plain word."""
        self.secret *= len(self.secret) >= SHORTEST_SECRET
        wait = endpoint.timeouts
        self.http = httpx2.AsyncClient(
            transport=endpoint.transport,
            timeout=httpx2.Timeout(None, connect=wait.connect),
            follow_redirects=False,  # a key is for the address it was given for
            trust_env=False,
            event_hooks={"request": [self._set_headers], "response": [self._note_answer]},
        )
        self._translator = Translator(endpoint)
        guard_logs(endpoint.redactor, endpoint.spec.loggers)

    @property
    def key(self) -> str:
        """The key to send; `none` stands for none, since the SDKs demand one."""
        return self.endpoint.key.reveal() if self.endpoint.key else "none"

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What is sent with every request beside HTTP's own headers: the key above all."""
        return {}

    async def _set_headers(self, request: httpx2.Request) -> None:
        """Send our own headers and those of HTTP, and no others.

        An SDK adds headers from the environment (ANTHROPIC_CUSTOM_HEADERS, OPENAI_CUSTOM_HEADERS): it would replace a
        profile's key, or go to whatever server the profile names.
        """
        ours = {} if KEYLESS in request.extensions else dict(self.headers)
        if request.url.userinfo and (taken := {*ours} & {"authorization", "Authorization"}):
            if self.endpoint.key is not None:
                raise ValueError("base_url holds a user and a password, and the key goes where they would. Remove them")
            del ours[taken.pop()]
        headers = {"accept-encoding": "gzip"}  # what the transport unpacks up to a limit
        if (exchange := _exchange.get()) and exchange.streamed and request.url.scheme == "http":
            # Else llama.cpp's server offers to keep the connection, and closes it behind the stream all the same.
            headers["connection"] = "close"
        if request.method == "POST":
            headers["content-type"] = "application/json"
        for name, value in request.headers.items():
            if name in _OF_HTTP or name.startswith(_OF_THE_SDKS):
                headers.setdefault(name, value)
        request.headers = httpx2.Headers(headers | ours)

    async def _note_answer(self, response: httpx2.Response) -> None:
        if exchange := _exchange.get():
            exchange.answered = True
            if exchange.hear is not None:
                exchange.hear(response.headers)

    def lesson(self, refusal: str, request: ChatRequest) -> Lesson | None:
        """Return what can be sent otherwise after a refused request; None where the user must know better.

        Args:
            refusal: What the provider said.
            request: What was sent; what it has learned already is refused no more.
        """
        # What is named first counts: behind it there may be a list of what would be taken.
        return min(self.lessons(refusal.lower(), request), key=itemgetter(0), default=(0, None))[1]

    def lessons(self, refusal: str, request: ChatRequest) -> Iterator[tuple[int, Lesson]]:
        """Yield what each name in a refusal (in lower case) may teach, and where it stands."""
        schema = request.schema
        if schema is not None and schema.kind != "prompt" and (named := _OF_SCHEMAS.search(refusal)):
            host, what = host_of(self.endpoint.base_url), "JSON schema" if schema.kind == "schema" else "mode for JSON"
            note = f"the schema stands in the prompt: {host} takes no {what} of {request.model}"
            kind = "json" if schema.kind == "schema" else "prompt"
            yield named.start(), Lesson("schema", kind, note if schema.read else "")
        if request.temperature is not None and "temperature" in refusal and not _OF_ITS_RANGE.search(refusal):
            note = "temperature not sent: the model takes none"
            yield refusal.index("temperature"), Lesson("temperature", None, note)

    def other_limit(self, request: ChatRequest) -> str | None:
        """Return another name for the output limit that this provider's servers may know; None for none."""
        del request
        return None

    @abstractmethod
    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""

    @abstractmethod
    def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""

    async def send(
        self, request: ChatRequest, *, stream: bool, hear: Callable[[httpx2.Headers], object] | None = None
    ) -> AsyncGenerator[Delta]:
        """Send one request and yield its deltas; every failure is translated.

        Args:
            request: What is sent.
            stream: Whether the answer is to come piece by piece.
            hear: Called with the headers of the answer, well or not.

        Raises:
            ProviderError: Whatever failed.
        """
        failure: Exception | None = None
        exchange = _Exchange(streamed=stream, flex=request.tier == "flex", hear=hear)
        _exchange.set(exchange)
        try:
            if stream:
                async with aclosing(self.stream(request)) as deltas:
                    async for delta in deltas:
                        yield delta
            else:
                yield await self.ask(request)
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, *self.failures, *_FAILURES) as error:
            failure = error
        if failure is not None:
            if (came := getattr(failure, "came", None)) is not None:
                yield came
            # Outside the handler, so that a cause which holds a key does not hang on as the context either.
            raise self._translator.translate(failure, answered=exchange.answered) from self._translator.cause(failure)

    def translate(self, failure: Exception) -> VictorError:
        """Return what a request that was not answered failed with, in our terms."""
        return self._translator.translate(failure, answered=False)

    @property
    def read_timeout(self) -> httpx2.Timeout:
        """The waits of a stream: to connect, and between two pieces."""
        wait, exchange = self.endpoint.timeouts, _exchange.get()
        flex = exchange is not None and exchange.flex and "read" not in wait.model_fields_set
        return httpx2.Timeout(FLEX_SECONDS if flex else wait.read, connect=wait.connect, pool=None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()


def open_provider(profile: Profile, settings: Settings, wire: Wire, *, mode: Mode, key: Secret | None) -> Provider:
    """Return a client for a profile; the first one of a provider imports its SDK, which takes up to a second.

    Raises:
        ConfigError: The mode has no transport.
        SecretError: The key cannot be sent.
        ProviderOpenError: The client cannot be made, or its host is not trusted.
    """
    try:
        if mode not in UNPAID:
            vet(settings, profile)
            _check_host(settings.base_url(profile))
        endpoint = Endpoint.of(profile, settings, wire, mode=mode, key=key)
        if key is not None and not _KEY.fullmatch(key.reveal()):
            fact = f"what {' or '.join(endpoint.variables)} holds is no key: it has blanks, quotes or other signs. "
            fact += f"Copy the key again: {endpoint.mending}, then run the cell again."
            raise SecretError(f"Failed to create provider for profile {profile.name!r}: {fact}")
        if mode not in UNPAID and (part := endpoint.spec.fill_in) and part in endpoint.base_url:
            variable = endpoint.spec.base_url_variable
            fact = f"no address. Put yours for {part} in base_url: {endpoint.base_url}, or set {variable}."
            raise ProviderOpenError(f"Failed to create provider for profile {profile.name!r}: {fact}")
        return cast("type[Provider]", endpoint.spec.load_client(profile.model, profile.api))(endpoint)
    except VictorError:
        raise
    except SetupError as error:
        words = f"{error.fact}. {error.step}"
    except httpx2.InvalidURL as error:
        words = f"base_url is no address: {settings.redactor().clean(str(error))}"
    except UNLOADABLE as error:
        words = settings.redactor().clean(str(error))
    raise ProviderOpenError(f"Failed to create provider for profile {profile.name!r}: {words}")


def _check_host(address: str) -> None:
    """Raise if what is asked is another host than what was looked at, since an address can be read in two ways."""
    if place_of(str(httpx2.URL(address))) != place_of(address):
        raise httpx2.InvalidURL("its host can be read in two ways")
