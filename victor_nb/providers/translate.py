"""Endpoints, and the translation of what SDKs and sockets raise into `ProviderError`s without keys.

What SDKs and sockets raise becomes one family of errors, with every key taken out; no layer above knows theirs.
"""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2

from victor_nb import errors
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from victor_nb.config.profiles import Profile, Timeouts
    from victor_nb.config.secret import Redactor, Secret
    from victor_nb.config.settings import Settings
    from victor_nb.providers.spec import Spec
    from victor_nb.values import Mode
    from victor_nb.wire.transport import Wire

_LONGEST: Final = 300  # characters of a provider's own words
_BY_STATUS: Final[dict[int, type[errors.ProviderError]]] = {
    401: errors.AuthenticationError,
    403: errors.AuthenticationError,
    404: errors.NotFoundError,
    408: errors.RequestTimeoutError,
    413: errors.ContextLengthError,
    429: errors.RateLimitError,
    503: errors.OverloadedError,
    529: errors.OverloadedError,
}
# Errors that arrive inside a stream carry a name where a status should be.
_BY_NAME: Final = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "resource_exhausted": 429,
    "overloaded_error": 529,
    "unavailable": 503,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "timeout_error": 504,
    "invalid_request_error": 400,
    "invalid_argument": 400,
}
_CONFLICT: Final = 409
_FIRST_REDIRECT: Final = 300
_FIRST_SERVER_ERROR: Final = 500
_TOO_LONG: Final = re.compile(
    r"context.{0,12}(length|window)|prompt is too long|too many (input )?tokens|maximum.{0,20}tokens", re.IGNORECASE
)
_NEXT: Final[dict[type[errors.ProviderError], str]] = {
    errors.AuthenticationError: "Check the key in {variables}.",
    errors.ConnectError: "Check base_url and the network.",
    errors.NotFoundError: "Check the model's name and base_url.",
    errors.ContextLengthError: "Shorten the prompt or lower max_tokens.",
    errors.RateLimitError: "Wait, or lower the profile's concurrency.",
    errors.OverloadedError: "Try again later, or ask another profile.",
    errors.RequestTimeoutError: "Raise timeout, or ask another profile.",
    errors.InternalError: "Ask again; if it fails again, restart the kernel, and report it.",
}
"""The next step after an error, unless the provider's spec has a better one."""
_UNWRITABLE: Final = (TypeError, ValueError, RecursionError)
"""What `params` that are no JSON, and limits that an SDK checks by itself, end in before anything is sent."""
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)
_LOGGERS: Final = ("httpx2", "httpcore2", "aiohttp")
"""What logs below every client; the loggers of an SDK are in its provider's spec."""


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

    @classmethod
    def of(cls, profile: Profile, settings: Settings, wire: Wire, *, mode: Mode, key: Secret | None) -> Endpoint:
        """Return the endpoint of a profile, with a transport of its own.

        Raises:
            ConfigError: The mode has no transport.
        """
        spec, base_url = spec_of(profile.provider), settings.base_url(profile)
        transport = wire.open(
            mode, spec=spec, base_url=base_url, proxy=settings.proxy(base_url), sim_speed=settings.sim_speed
        )
        return cls(
            profile=profile.name,
            spec=spec,
            model=profile.model,
            base_url=base_url,
            key=key,
            variables=settings.key_variables(profile),
            timeouts=profile.timeout,
            transport=transport,
            redactor=settings.redactor(),
        )


class StatusError(Exception):
    """An answer with an error status, over plain httpx2. It never leaves the providers."""

    def __init__(self, status: int, headers: httpx2.Headers, body: object) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = headers
        self.body = body


class Translator:
    """Translates what one endpoint's client raises."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._who = endpoint.spec.name

    def cause(self, failure: Exception) -> Exception | None:
        """Return the failure as a cause, unless a traceback of it would print a key."""
        for link in _chain(failure, contexts=True):
            text = f"{link!r} {link}"
            if self._endpoint.redactor.clean(text) != text:
                return None
        return failure

    def translate(self, failure: Exception, *, answered: bool) -> errors.ProviderError:
        """Return a failure as a `ProviderError`; it blames the answer only if there was one."""
        for link in _chain(failure):
            if isinstance(link, errors.ProviderError):
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
        refused = status is not None and status >= _FIRST_REDIRECT
        if status is None or not refused:
            # An error inside an answer that began well: only its name distinguishes it.
            inner = _details(body)
            names = [str(inner[key]).lower() for key in ("type", "code", "status") if inner.get(key) is not None]
            status = next((_BY_NAME[name] for name in names if name in _BY_NAME), _FIRST_SERVER_ERROR)
        words = _message(body) or _words(failure)
        kind = (
            errors.OverloadedError
            if status == self._endpoint.spec.at_capacity
            else _BY_STATUS.get(status)
            or (errors.ServerError if status >= _FIRST_SERVER_ERROR else errors.BadRequestError)
        )
        if kind is errors.BadRequestError and _TOO_LONG.search(words):
            kind = errors.ContextLengthError
        headers = _headers(failure)
        return self._make(
            kind,
            f"{self._who} answered {status}: {words}",
            http_status=status,
            request_id=headers.get("request-id") or headers.get("x-request-id"),
            retryable=kind.retryable or status == _CONFLICT,
            retry_after=asked_wait(headers, body),
            refused=refused,
        )

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
            case httpx2.ConnectError() | httpx2.ProxyError():
                why = " (its certificate is not trusted)" if "certificate" in str(failure).lower() else ""
                fact = f"cannot be reached at {address}{why}"
            case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
                return self._make(errors.BadRequestError, f"{address} is not an address. Check base_url", refused=True)
            case httpx2.DecodingError():
                return self._make(errors.MalformedAnswerError, f"{self._who}'s answer cannot be decompressed")
            case httpx2.TransportError():
                fact = "hung up before the answer was complete"
            case _:
                return None
        return self._make(kind, f"{self._who} {fact}", refused=refused)

    def _make(
        self, kind: type[errors.ProviderError], fact: str, *, refused: bool = False, **more: Any
    ) -> errors.ProviderError:
        """Make one error: fact, then next step, keys taken out."""
        endpoint = self._endpoint
        variables = " or ".join(endpoint.variables) or "the profile's api_key_env"
        step = endpoint.spec.hints.get(kind) or _NEXT.get(kind, "")
        step = step.format(variables=variables, model=endpoint.model)
        clean = endpoint.redactor.clean(fact).rstrip(".")
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


# --- the details of an error in an answer ---


def _details(body: object) -> dict[str, object]:
    """Return the object that describes an error: some providers wrap it in `error`, google in a list as well."""
    if isinstance(body, list):
        body = next(iter(cast("list[object]", body)), None)
    outer = _mapping(body)
    return _mapping(outer.get("error")) or outer  # an SDK may have unwrapped it


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _message(body: object) -> str:
    """Return the provider's own words from an error body."""
    if isinstance(body, (str, bytes)):
        value = _parsed(body)
        if value is not None:
            return _message(value)
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        return _shorten(re.sub(r"<[^>]*>", " ", text))
    inner = _details(body)
    message = inner.get("message") or inner.get("error") or inner.get("detail")
    return _shorten(str(message)) if message else ""


def _parsed(body: str | bytes) -> object:
    """Return the value of a JSON text; None where it is not JSON."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None


def _words(failure: BaseException) -> str:
    """Return the text of an exception on one line, shortened."""
    return _shorten(str(failure)) or type(failure).__name__


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _headers(failure: BaseException) -> httpx2.Headers:
    response = getattr(failure, "response", None)
    headers = getattr(response, "headers", None) or getattr(failure, "headers", None)
    return headers if isinstance(headers, httpx2.Headers) else httpx2.Headers()


# --- how long a refusal asks to wait ---


def asked_wait(headers: httpx2.Headers, body: object) -> float | None:
    """Return how many seconds a refusal asks to wait; None where it has no usable value.

    Args:
        headers: `retry-after-ms` of OpenAI and Azure, else `retry-after` (RFC 9110, 10.2.3).
        body: Google sends no header, but a `google.rpc.RetryInfo` among the error's details.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds:  # 0 would be no wait at all, and the other header knows better
        return milliseconds / 1000
    given = headers.get("retry-after", "").strip()
    found = (read(given) for read in (_number, _until) if given)
    return next((seconds for seconds in found if seconds is not None), _delay(body))


def _number(given: str) -> float | None:
    try:
        number = float(given)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _until(given: str) -> float | None:
    try:
        when = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _delay(body: object) -> float | None:
    """Read the `retryDelay` of google's error details, a duration such as `39s`."""
    listed = _details(_parsed(body) if isinstance(body, (str, bytes)) else body).get("details")
    for detail in map(_mapping, cast("list[object]", listed) if isinstance(listed, list) else []):
        delay = detail.get("retryDelay")
        if detail.get("@type") == _RETRY_INFO and isinstance(delay, str) and (found := _DURATION.fullmatch(delay)):
            return float(found[1]) or None
    return None


# --- keys in the logs of SDKs ---


class _Guard(logging.Filter):
    """A logging filter that removes keys from every record, and drops none."""

    def __init__(self) -> None:
        super().__init__()
        self.redactors: set[Redactor] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = original = record.getMessage()
        for redactor in self.redactors:
            text = redactor.clean(text)
        if text != original:
            record.msg, record.args = text, ()
        return True


_guard: Final = _Guard()


def guard_logs(redactor: Redactor, loggers: Iterable[str]) -> None:
    """Clean what these loggers and those of the connections log from now on, their children's records included."""
    _guard.redactors.add(redactor)
    names = {*_LOGGERS, *loggers}
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in names:  # a filter is not inherited, so each logger gets it
            logging.getLogger(name).addFilter(_guard)
