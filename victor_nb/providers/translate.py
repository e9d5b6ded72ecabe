"""The border: what SDKs and sockets raise becomes one family of errors, with every key taken out.

No layer above knows an SDK's exception.
"""

from __future__ import annotations

import json
import logging
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2

from victor_nb import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from victor_nb.config.secret import Redactor
    from victor_nb.providers.base import Endpoint


_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


def asked_wait(headers: httpx2.Headers, body: object) -> float | None:
    """Return how many seconds a refusal asks to wait; None where it says nothing usable.

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
    """Read the `retryDelay` of google's error details, a duration such as `39s`; a list may be around the error."""
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return None
    if isinstance(body, list):
        body = next(iter(cast("list[object]", body)), None)
    outer = _mapping(body)
    error = _mapping(outer.get("error")) or outer  # an SDK may have unwrapped it
    for told in map(_mapping, _list(error.get("details"))):
        delay = told.get("retryDelay")
        if told.get("@type") == _RETRY_INFO and isinstance(delay, str) and (found := _DURATION.fullmatch(delay)):
            return float(found[1]) or None
    return None


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


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
}


class StatusError(Exception):
    """An answer that says it is an error, over plain httpx2. It never leaves the providers."""

    def __init__(self, status: int, headers: httpx2.Headers, body: object) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = headers
        self.body = body


class Border:
    """Translates for one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def cause(self, failure: Exception) -> Exception | None:
        """Return the failure as a cause, unless a traceback of it would print a key."""
        link: BaseException | None = failure
        while link is not None:
            text = f"{link!r} {link}"
            if self._endpoint.redactor.clean(text) != text:
                return None
            link = link.__cause__ or link.__context__
        return failure

    def translate(self, failure: Exception) -> errors.ProviderError:
        """Return the error of ours that says what the failure means."""
        link: BaseException | None = failure
        while link is not None:
            if isinstance(link, errors.ProviderError):
                return link
            if (found := self._of_status(link)) or (found := self._of_transport(link)):
                return found
            link = link.__cause__
        return self._make(
            errors.MalformedAnswerError, f"the answer is not one of {self._who}'s protocol: {_words(failure)}"
        )

    @property
    def _who(self) -> str:
        return self._endpoint.spec.name

    def _of_status(self, failure: BaseException) -> errors.ProviderError | None:
        """Translate an answer that says it is an error."""
        body: object = getattr(failure, "body", None)
        status = cast("int | None", getattr(failure, "status_code", None))
        if status is None and not _is_mapping(body):
            return None
        names = _names(body)
        if status is None or status < _FIRST_REDIRECT:
            # An error inside an answer that began well: only its name tells what it is.
            status = next((_BY_NAME[name] for name in names if name in _BY_NAME), _FIRST_SERVER_ERROR)
        words = _message(body) or _words(failure)
        kind = _BY_STATUS.get(status) or (
            errors.ServerError if status >= _FIRST_SERVER_ERROR else errors.BadRequestError
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
        )

    def _of_transport(self, failure: BaseException) -> errors.ProviderError | None:
        """Translate a failure on the way."""
        match failure:
            case httpx2.ConnectTimeout():
                wait = self._endpoint.timeouts.connect
                return self._make(
                    errors.RequestTimeoutError, f"{self._who} did not accept a connection within {wait:g} s"
                )
            case httpx2.TimeoutException():
                wait = self._endpoint.timeouts.read
                return self._make(errors.RequestTimeoutError, f"{self._who} sent nothing for {wait:g} s")
            case httpx2.ConnectError() | httpx2.ProxyError():
                why = " (its certificate is not trusted)" if "certificate" in str(failure).lower() else ""
                return self._make(errors.ConnectError, f"{self._who} cannot be reached at {self._address}{why}")
            case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
                return self._make(errors.BadRequestError, f"{self._address} is not an address. Check base_url")
            case httpx2.DecodingError():
                return self._make(errors.MalformedAnswerError, f"{self._who}'s answer cannot be decompressed")
            case httpx2.TransportError():
                return self._make(errors.ConnectError, f"{self._who} hung up before the answer was complete")
            case _:
                return None

    @property
    def _address(self) -> str:
        return self._endpoint.base_url

    def _make(self, kind: type[errors.ProviderError], fact: str, **more: Any) -> errors.ProviderError:
        """Make one error: fact, then next step, keys taken out."""
        variables = " or ".join(self._endpoint.variables) or "the profile's api_key_env"
        step = self._endpoint.spec.hints.get(kind) or _NEXT.get(kind, "")
        step = step.format(variables=variables, model=self._endpoint.model)
        clean = self._endpoint.redactor.clean(fact).rstrip(".")
        return kind(
            f"{self._endpoint.profile}: {clean}. {step}".rstrip(),
            profile=self._endpoint.profile,
            provider=self._who,
            model=self._endpoint.model,
            **more,
        )


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _words(failure: BaseException) -> str:
    """Return what an exception says, on one line, shortened."""
    text = " ".join(str(failure).split()) or type(failure).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _inner(body: object) -> dict[str, object]:
    """Return the mapping that describes the error: some providers wrap it in `error`, google in a list as well."""
    if isinstance(body, list) and body:
        body = cast("list[object]", body)[0]
    if not isinstance(body, dict):
        return {}
    mapping = cast("dict[str, object]", body)
    inner = mapping.get("error")
    return cast("dict[str, object]", inner) if isinstance(inner, dict) else mapping


def _names(body: object) -> list[str]:
    inner = _inner(body)
    return [str(inner[key]).lower() for key in ("type", "code", "status") if inner.get(key) is not None]


def _message(body: object) -> str:
    """Return the provider's own words from an error body."""
    if isinstance(body, (str, bytes)):
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        try:
            return _message(json.loads(text))
        except (ValueError, RecursionError):
            stripped = re.sub(r"<[^>]*>", " ", text)
            return _shorten(stripped)
    inner = _inner(body)
    message = inner.get("message") or inner.get("error") or inner.get("detail")
    return _shorten(str(message)) if message else ""


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _headers(failure: BaseException) -> httpx2.Headers:
    response = getattr(failure, "response", None)
    headers = getattr(response, "headers", None) or getattr(failure, "headers", None)
    return headers if isinstance(headers, httpx2.Headers) else httpx2.Headers()


_LOGGERS: Final = ("httpx2", "httpcore2", "aiohttp")


class _Guard(logging.Filter):
    """Cleans every record; it never drops one."""

    def __init__(self) -> None:
        super().__init__()
        self.redactors: set[Redactor] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        said = text = record.getMessage()
        for redactor in self.redactors:
            text = redactor.clean(text)
        if text != said:
            record.msg, record.args = text, ()
        return True


_guard: Final = _Guard()


def guard_logs(redactor: Redactor, loggers: Iterable[str]) -> None:
    """Clean what the SDKs log from now on. A filter is not inherited, so each of their loggers gets it."""
    _guard.redactors.add(redactor)
    names = {*_LOGGERS, *loggers}
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in names:
            logging.getLogger(name).addFilter(_guard)
