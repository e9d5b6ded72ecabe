"""What an answer that is an error says: which error it is, in whose words, and how long to wait."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, cast

from victor_nb import errors

if TYPE_CHECKING:
    import httpx2

    from victor_nb.values import Delta

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
# Errors that arrive inside an answer carry a name where a status should be, or a number, or both. In lower case.
_BY_NAME: Final = {
    **dict.fromkeys(("authentication_error", "invalid_authentication_error", "authenticationerror"), 401),
    **dict.fromkeys(("unauthenticated", "unauthorized", "invalid_api_key"), 401),
    **dict.fromkeys(("permission_error", "permission_denied", "permissiondeniederror", "forbidden"), 403),
    **dict.fromkeys(("not_found_error", "not_found", "notfounderror", "model_not_found"), 404),
    "request_too_large": 413,
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "rate_limit_reached_error", "ratelimiterror"), 429),
    **dict.fromkeys(("resource_exhausted", "too_many_requests"), 429),
    **dict.fromkeys(("overloaded_error", "engine_overloaded_error", "overloaded"), 529),
    **dict.fromkeys(("unavailable", "service_unavailable", "serviceunavailableerror", "capacity_exceeded"), 503),
    **dict.fromkeys(("server_error", "api_error", "internal", "internal_error"), 500),
    **dict.fromkeys(("internal_server_error", "internalservererror"), 500),
    **dict.fromkeys(("timeout_error", "deadline_exceeded"), 504),
    **dict.fromkeys(("invalid_request_error", "invalid_argument", "failed_precondition", "badrequesterror"), 400),
}
# Names that say more than any status.
_BY_CODE: Final[dict[str, type[errors.ProviderError]]] = {
    **dict.fromkeys(("context_length_exceeded", "exceed_context_size_error"), errors.ContextLengthError),
    **dict.fromkeys(("string_above_max_length", "contextwindowexceedederror"), errors.ContextLengthError),
    **dict.fromkeys(("insufficient_quota", "exceeded_current_quota_error", "billing_error"), errors.QuotaError),
    **dict.fromkeys(("billing_hard_limit_reached", "billing_not_active"), errors.QuotaError),
    **dict.fromkeys(("content_filter", "content_policy_violation"), errors.ContentFilterError),
    "responsibleaipolicyviolation": errors.ContentFilterError,
    **dict.fromkeys(("api_key_invalid", "invalid_api_key"), errors.AuthenticationError),
}
_CONFLICT: Final = 409
_FIRST_REDIRECT: Final = 300
_FIRST_REFUSAL: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_AFTER_STATUSES: Final = 600
_TOO_LONG: Final = re.compile(
    r"context.{0,12}(length|window|limit|size)|(prompt|input|request) is too long|too many (input )?tokens"
    r"|maximum.{0,20}tokens|input tokens exceed|prompt exceeds",
    re.IGNORECASE,
)
_NO_MONEY: Final = re.compile(
    r"credit balance is too low|insufficient (balance|credits?|funds|quota)|out of credits|spending limit"
    r"|(used|exhausted) all (available |of your )?credits|billing hard limit",
    re.IGNORECASE,
)
"""What a refusal says where there is no money left. Not "exceeded your quota", which Google says of a busy minute."""
_PAYMENT: Final = re.compile(r"credit|balance|billing|quota|payment|spend|top.?up", re.IGNORECASE)
"""What it says beside a 402."""
_PAYMENT_REQUIRED: Final = 402
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


class StatusError(Exception):
    """An answer with an error status, or one that began well and states an error. It never leaves the providers.

    Attributes:
        came: What the answer brought beside the error.
    """

    def __init__(self, status: int, headers: httpx2.Headers, body: object, *, came: Delta | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = headers
        self.body = body
        self.came = came


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error in an answer is.

    Attributes:
        kind: The class of ours.
        status: The HTTP status, or the one that the error in an answer that began well amounts to.
        answered: How the provider answered, in words.
        words: What it said; "" where it said nothing.
        unpaid: Whether nothing was generated.
    """

    kind: type[errors.ProviderError]
    status: int
    answered: str
    words: str
    unpaid: bool

    @property
    def moved(self) -> bool:
        """Whether the client is sent elsewhere."""
        return self.status < _FIRST_REFUSAL

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind.retryable or self.status == _CONFLICT


def judge(status: int | None, body: object, *, at_capacity: int | None = None) -> Fault:
    """Return what an error is, by its code, then by its status, then by its words.

    Args:
        status: Of the answer; below 300, or None, where it began well.
        body: The error, wrapped or not, parsed or not.
        at_capacity: A status by which this provider says that it is overloaded.
    """
    details, words = details_of(body), words_of(body)
    names = _names(details)
    unpaid, answered = True, f"answered {status}"
    if status is None or status < _FIRST_REDIRECT:
        status = _stated_status(details)
        answered = f"answered {status}" if status else "answered with an error"
        status = status or next((_BY_NAME[name] for name in names if name in _BY_NAME), _FIRST_SERVER_ERROR)
        unpaid = status < _FIRST_SERVER_ERROR
    kind = errors.OverloadedError if status == at_capacity else _kind(status, names, words, details)
    return Fault(kind, status, answered, words, unpaid)


def details_of(body: object) -> dict[str, object]:
    """Return the object that describes an error: some providers wrap it in `error`, google in a list as well."""
    if isinstance(body, (str, bytes)):
        body = _parsed(body)
    if isinstance(body, list):
        body = next(iter(cast("list[object]", body)), None)
    outer = _mapping(body)
    return _mapping(outer.get("error")) or outer  # an SDK may have unwrapped it


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _names(details: dict[str, object]) -> list[str]:
    """Return the names by which an error says what it is, in lower case, the most special first."""
    inner = _mapping(details.get("innererror"))
    reasons = [_mapping(each).get("reason") for each in _listed(details.get("details"))]
    found = [inner.get("code"), *reasons, *(details.get(key) for key in ("code", "status", "type"))]
    return [name.lower() for name in found if isinstance(name, str)]


def _stated_status(details: dict[str, object]) -> int | None:
    """Return the HTTP status that an error inside an answer states, as a number or a text."""
    for key in ("code", "status", "status_code"):
        stated = str(details.get(key)).removesuffix(".0")
        if stated.isdecimal() and _FIRST_REFUSAL <= int(stated) < _AFTER_STATUSES:
            return int(stated)
    return None


def _kind(status: int, names: list[str], words: str, details: dict[str, object]) -> type[errors.ProviderError]:
    """Return the class of an error: by its code, then by its status, and by its words where those say too little."""
    named = next((_BY_CODE[name] for name in names if name in _BY_CODE), None)
    if named is not None:
        return named
    if "flagged_input" in _mapping(details.get("metadata")):  # OpenRouter's moderation, a 403
        return errors.ContentFilterError
    if _NO_MONEY.search(words) or (status == _PAYMENT_REQUIRED and _PAYMENT.search(words)) or _daily(details):
        return errors.QuotaError
    if words.startswith("Unexpected endpoint"):  # LM Studio, in a 200
        return errors.NotFoundError
    kind = _BY_STATUS.get(status) or (errors.ServerError if status >= _FIRST_SERVER_ERROR else errors.BadRequestError)
    if kind in {errors.BadRequestError, errors.ServerError} and _TOO_LONG.search(words):
        return errors.ContextLengthError
    return kind


def _daily(details: dict[str, object]) -> bool:
    """Return whether it is a day's quota of Google's that is used up."""
    failures = [_mapping(each).get("violations") for each in _listed(details.get("details"))]
    return any("PerDay" in str(_mapping(each).get("quotaId")) for listed in failures for each in _listed(listed))


def words_of(body: object) -> str:
    """Return the provider's own words from an error body, on one line; "" where it has none."""
    if isinstance(body, (str, bytes)):
        value = _parsed(body)
        if value is not None:
            return words_of(value)
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        return shorten(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL))
    inner = details_of(body)
    said = _said(inner)
    upstream = _mapping(inner.get("metadata"))
    if isinstance(raw := upstream.get("raw"), str) and raw not in said:  # OpenRouter: what its provider said
        said = f"{said} ({upstream.get('provider_name') or 'upstream'}: {words_of(raw)})"
    return shorten(said)


def _said(value: object, *, deep: int = 4) -> str:
    """Return the words in a message, which may be a list of faults, each with its place."""
    if isinstance(value, str) or not deep:
        return value if isinstance(value, str) else ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_said(each, deep=deep - 1) for each in cast("list[object]", value))))
    found, words = _mapping(value), ""
    for key in ("message", "error", "detail", "msg"):
        words = words or _said(found.get(key), deep=deep - 1)
    place = ".".join(map(str, _listed(found.get("loc"))))
    return f"{place}: {words}" if place and words else words


def _parsed(body: str | bytes) -> object:
    """Return the value of a JSON text; None where it is not JSON."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None


def shorten(text: str) -> str:
    """Return a text on one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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
    listed = details_of(body).get("details")
    for detail in map(_mapping, _listed(listed)):
        delay = detail.get("retryDelay")
        if detail.get("@type") == _RETRY_INFO and isinstance(delay, str) and (found := _DURATION.fullmatch(delay)):
            return float(found[1]) or None
    return None
