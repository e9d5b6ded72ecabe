"""Endpoints, and the translation of what SDKs and sockets raise into `ProviderError`s without keys.

What SDKs and sockets raise becomes one family of errors, with every key taken out; no layer above knows theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urljoin, urlsplit

import httpx2

from victor_nb import errors
from victor_nb.config.secret import has_key, masked
from victor_nb.config.trust import vet
from victor_nb.providers.catalog import host_of
from victor_nb.providers.refusals import asked_wait, judge, shorten
from victor_nb.providers.spec import spec_of
from victor_nb.values import TAPED
from victor_nb.wire.transport import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from victor_nb.config.profiles import Profile, Timeouts
    from victor_nb.config.secret import Redactor, Secret
    from victor_nb.config.settings import Settings
    from victor_nb.providers.refusals import Fault
    from victor_nb.providers.spec import Spec
    from victor_nb.values import Mode
    from victor_nb.wire.player import Place
    from victor_nb.wire.transport import Wire

_STEPS: Final = {
    402: "Check the account's plan and billing at {host}.",
    407: "The proxy asks for a user and a password: write them into its address, http://user:password@host:port.",
}
"""The next step after a status, where its class has none."""
_NEXT: Final[dict[type[errors.ProviderError], str]] = {
    errors.AuthenticationError: "Check the key: {mending}, then run the cell again.",
    errors.ConnectError: "Check base_url and the network.",
    errors.NotFoundError: "Check the model's name and base_url: %victor doctor {profile} says which is nearest.",
    errors.ContextLengthError: "Shorten the prompt or lower max_tokens.",
    errors.RateLimitError: "Wait, or lower the profile's concurrency.",
    errors.QuotaError: "Check the account's plan and billing at {host}: waiting does not help.",
    errors.ContentFilterError: "Rephrase the prompt, or ask another profile.",
    errors.OverloadedError: "Try again later, or ask another profile.",
    errors.RequestTimeoutError: "Raise timeout, or ask another profile.",
    errors.MalformedAnswerError: "Ask again, or check base_url.",
    errors.InternalError: "Ask again; if it fails again, restart the kernel, and report it.",
}
"""The next step after an error, unless the provider's spec has a better one."""
_UNWRITABLE: Final = (TypeError, ValueError, RecursionError)
"""What `params` that are no JSON, and limits that an SDK checks by itself, end in before anything is sent."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a profile's requests go, and with what.

    Attributes:
        folders: Where a relative path in the profile may start: beside the settings, and in the working folder.
        mending: How its key is set right.
        vet: Raises where what it uses is not trusted; a model file may be another one at each call.
    """

    profile: str
    spec: Spec
    model: str
    base_url: str
    key: Secret | None
    variables: tuple[str, ...]
    mending: str
    timeouts: Timeouts
    transport: httpx2.AsyncBaseTransport
    redactor: Redactor
    mode: Mode
    folders: tuple[Path, ...]
    vet: Callable[[], None]

    @classmethod
    def of(cls, profile: Profile, settings: Settings, wire: Wire, *, mode: Mode, key: Secret | None) -> Endpoint:
        """Return the endpoint of a profile, with a transport of its own.

        Raises:
            ConfigError: The mode has no transport.
        """
        spec, base_url = spec_of(profile.provider), settings.base_url(profile)
        transport = wire.open(
            mode,
            spec=spec,
            base_url=base_url,
            proxy=None if spec.starts_itself else settings.proxy(base_url),
            speed=settings.speed(mode),
            certificates=settings.certificates,
            tape=_tape(settings, mode) if mode in TAPED else None,
        )
        return cls(
            profile=profile.name,
            spec=spec,
            model=profile.model,
            base_url=base_url,
            key=key,
            variables=(variables := settings.key_variables(profile)),
            mending=settings.variables.mending(variables),
            timeouts=profile.timeout,
            transport=transport,
            redactor=settings.redactor(),
            mode=mode,
            folders=settings.folders,
            vet=partial(vet, settings, profile),
        )


def _tape(settings: Settings, mode: Mode) -> Place:
    """Return where exchanges are recorded, or replayed from.

    Raises:
        ConfigError: It is not known, or nothing may be recorded.
    """
    from victor_nb.config.notebook import current_cell  # noqa: PLC0415 - only where there are tapes
    from victor_nb.wire.player import Place  # noqa: PLC0415 - as above

    def leaks(text: str) -> bool:
        return settings.leaks(text) or has_key(text)

    return Place(settings.tape(mode), leaks, settings.redactor().clean, current_cell)


class Translator:
    """Translates what one endpoint's client raises."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._who = endpoint.spec.name

    def cause(self, failure: Exception) -> Exception | None:
        """Return the failure as a cause, without the key that its request was sent with.

        Unless a traceback of it would print a key. Packages such as tblib, which dask brings, pickle causes too.
        """
        for link in _chain(failure, contexts=True):
            text = f"{link!r} {link}"
            if self._endpoint.redactor.clean(text) != text:
                return None
            for holder in (link, getattr(link, "response", None)):
                self._take_key_out(getattr(holder, "__dict__", {}))
        return failure

    def _take_key_out(self, held: Mapping[str, object]) -> None:
        """Remove the headers that hold a key from the requests that an error or a response holds."""
        for request in held.values():
            if isinstance(request, httpx2.Request):
                for name, value in list(request.headers.items()):
                    if self._endpoint.redactor.clean(value) != value:
                        del request.headers[name]

    def translate(self, failure: Exception, *, answered: bool) -> errors.VictorError:
        """Return a failure as a `ProviderError`; it blames the answer only if there was one. Those of tapes stay."""
        for link in _chain(failure):
            if isinstance(link, (errors.ProviderError, errors.TapeError, errors.SecretError)):
                return link
            if (found := self._of_status(link)) or (found := self._of_transport(link)):
                return found
        *_, first = _chain(failure)
        if _is_internal(first) or not (answered or isinstance(first, _UNWRITABLE)):
            fact = f"{self._who}'s client failed, not the answer: {type(first).__name__}: {_words(first)}"
            return self._make(errors.InternalError, fact, refused=not answered)
        if not answered:
            return self._make(errors.BadRequestError, f"the request cannot be written: {_words(first)}", refused=True)
        fact = f"the answer is not one of {self._who}'s protocol: {_words(failure)}"
        return self._make(errors.MalformedAnswerError, fact)

    def _of_status(self, failure: BaseException) -> errors.ProviderError | None:
        """Translate an answer with an error status or error body."""
        body: object = getattr(failure, "body", None)
        status = cast("int | None", getattr(failure, "status_code", None))
        if status is None and not _mapping(body):
            return None
        headers, fault = _headers(failure), judge(status, body, at_capacity=self._endpoint.spec.at_capacity)
        words = fault.words or _words(failure)
        if fault.moved and "location" in headers:
            words = f"it has moved to {self._place(headers['location'])}"
        return self._make(
            fault.kind,
            f"{self._who} {fault.answered}: {words}",
            http_status=fault.status,
            request_id=headers.get("request-id") or headers.get("x-request-id"),
            retryable=fault.retryable,
            retry_after=asked_wait(headers, body),
            refused=fault.unpaid and not getattr(failure, "begun", False),
            step=self._step(fault),
        )

    def _place(self, location: str) -> str:
        """Return where a redirect leads, without a query, which may hold a secret."""
        try:
            return masked(urljoin(self._endpoint.base_url, location).partition("?")[0])
        except ValueError:
            return "what is no address"

    def _step(self, fault: Fault) -> str | None:
        """Return the next step after an error that needs one of its own; None for that of its class."""
        home, base_url = urlsplit(self._endpoint.spec.base_url), urlsplit(self._endpoint.base_url)
        known = fault.kind in self._endpoint.spec.hints
        if fault.moved:
            return "If you trust that address, set base_url to it: a key goes nowhere else by itself."
        if fault.status == self._endpoint.spec.at_capacity or "resource unavailable" in fault.words.lower():
            return "The tier has no capacity: wait, or name another after it, such as tier=flex,standard."
        if fault.kind is errors.NotFoundError and home.path and not base_url.path.strip("/") and not known:
            return "base_url has no path: most servers have this API under /v1."
        if fault.status in {400, 404} and "v1/responses" in fault.words and "responses" in self._endpoint.spec.apis:
            return "Write api: responses in its profile."
        if fault.kind is errors.NotFoundError and self._endpoint.spec.api_of(self._endpoint.model, None) != "chat":
            return "Check the model's name; if this server has no Responses API, write api: chat in the profile."
        return _STEPS.get(fault.status) if fault.kind is errors.BadRequestError else None

    def _of_transport(self, failure: BaseException) -> errors.ProviderError | None:
        """Translate a failure on the way."""
        address, wait = self._endpoint.base_url, self._endpoint.timeouts
        kind: type[errors.ProviderError] = errors.ConnectError
        refused = isinstance(failure, (httpx2.ConnectTimeout, httpx2.ConnectError, httpx2.ProxyError))
        match failure:
            case httpx2.ConnectTimeout():
                kind, fact = errors.RequestTimeoutError, f"did not accept a connection within {wait.connect:g} s"
            case httpx2.TimeoutException():
                kind, fact = errors.RequestTimeoutError, f"sent nothing for {wait.read:g} s"
            case SetupError():
                return self._make(kind, failure.fact, step=failure.step, refused=True, retryable=False)
            case httpx2.ProxyError():
                step = "Start it, or mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY lists hosts that need none."
                return self._make(kind, f"{self._who} is asked through a proxy, and {failure}", refused=True, step=step)
            case httpx2.ConnectError():
                why = " (its certificate is not trusted)" if "certificate" in str(failure).lower() else ""
                fact = f"cannot be reached at {address}{why}"
            case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
                return self._make(errors.BadRequestError, f"{address} is not an address. Check base_url", refused=True)
            case httpx2.DecodingError():
                return self._make(errors.MalformedAnswerError, f"{self._who}'s answer {failure}")
            case httpx2.TransportError():
                fact = "hung up before the answer was complete"
            case _:
                return None
        return self._make(kind, f"{self._who} {fact}", refused=refused)

    def _make(
        self,
        kind: type[errors.ProviderError],
        fact: str,
        *,
        refused: bool = False,
        step: str | None = None,
        **more: Any,
    ) -> errors.ProviderError:
        """Make one error: fact, then next step, keys taken out."""
        endpoint = self._endpoint
        step = (step or endpoint.spec.hints.get(kind) or _NEXT.get(kind, "")).format(
            variables=" or ".join(endpoint.variables) or "the profile's api_key_env",
            mending=endpoint.mending,
            profile=endpoint.profile,
            model=endpoint.model,
            host=host_of(endpoint.base_url),
        )
        clean = endpoint.redactor.clean(fact, cut="...").encode("utf-8", "replace").decode().rstrip(".")
        if more.get("request_id"):
            more["request_id"] = endpoint.redactor.clean(more["request_id"])
        text = f"{endpoint.profile}: {clean}. {step}".rstrip()
        made = kind(text, profile=endpoint.profile, provider=self._who, model=endpoint.model, **more)
        made.refused = refused
        return made


def _chain(failure: BaseException, *, contexts: bool = False) -> Iterator[BaseException]:
    """Yield a failure, its cause, and so on, each once: `raise a from a` makes a circle."""
    link: BaseException | None = failure
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (link.__context__ if contexts else None)


def _is_internal(failure: BaseException) -> bool:
    """Return whether the failure is one that no answer can cause: of an import, or a missing attribute."""
    if not isinstance(failure, AttributeError):
        return isinstance(failure, (ImportError, NameError))
    if isinstance(failure.obj, ModuleType):
        return True
    frames = list(walk_tb(failure.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__")).startswith("victor_nb.")


def _words(failure: BaseException) -> str:
    """Return the text of an exception on one line, shortened."""
    return shorten(str(failure)) or type(failure).__name__


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _headers(failure: BaseException) -> httpx2.Headers:
    response = getattr(failure, "response", None)
    headers = getattr(response, "headers", None) or getattr(failure, "headers", None)
    return headers if isinstance(headers, httpx2.Headers) else httpx2.Headers()
