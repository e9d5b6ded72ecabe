"""What an answer that is an error says: which error it is, in whose words, how long to wait, what limits there are."""

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
_READ: Final = 16_384  # characters of a page
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
_BY_NAME: Final = (
    (re.compile(r"toolarge"), 413),
    (re.compile(r"ratelimit|throttl|toomanyrequests|resourceexhausted"), 429),
    (re.compile(r"overloaded|atcapacity"), 529),
    (re.compile(r"unavailable|notready|capacity"), 503),
    (re.compile(r"authentication|unauthenticated|unauthori[sz]ed|apikey"), 401),
    (re.compile(r"permission|forbidden|accessdenied"), 403),
    (re.compile(r"notfound"), 404),
    (re.compile(r"timeout|timedout|deadline"), 504),
    (re.compile(r"upstream|badgateway"), 502),
    (re.compile(r"internal|server|apierror"), 500),
    (re.compile(r"invalid|badrequest|validation|precondition|(un|not)supported"), 400),
)
"""What the names of errors inside an answer hold, where a status should be: small letters without signs."""
_MAY_PASS: Final = (429, 529)
"""What the words alone may say, where there is no name."""
# Names that say more than any status, written as those above.
_BY_CODE: Final[dict[str, type[errors.ProviderError]]] = {
    **dict.fromkeys(("contextlengthexceeded", "exceedcontextsizeerror"), errors.ContextLengthError),
    **dict.fromkeys(("stringabovemaxlength", "contextwindowexceedederror"), errors.ContextLengthError),
    **dict.fromkeys(("insufficientquota", "exceededcurrentquotaerror", "billingerror"), errors.QuotaError),
    **dict.fromkeys(("billinghardlimitreached", "billingnotactive"), errors.QuotaError),
    **dict.fromkeys(("budgetexceeded", "arrearage"), errors.QuotaError),
    **dict.fromkeys(("contentfilter", "contentpolicyviolation", "datainspectionfailed"), errors.ContentFilterError),
    "responsibleaipolicyviolation": errors.ContentFilterError,
    **dict.fromkeys(("apikeyinvalid", "invalidapikey"), errors.AuthenticationError),
}
_CONFLICT: Final = 409
_FIRST_REDIRECT: Final = 300
_FIRST_REFUSAL: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_AFTER_STATUSES: Final = 600
_TOO_LONG: Final = re.compile(
    r"context.{0,12}(length|window|limit|size)|(prompt|input|request) is too long|too many (input )?tokens"
    r"|maximum.{0,20}tokens|input tokens exceed|prompt exceeds|input token count|`inputs` tokens"
    r"|(maximum|range of|exceed\w*).{0,20}(prompt|input|token|sequence) (length|limit)",
    re.IGNORECASE,
)
_NO_MONEY: Final = re.compile(
    r"credit balance is too low|insufficient[ _](balance|credits?|funds|quota)|out of credits|spending limit"
    r"|(used|exhausted) all (available |of your )?credits|billing hard limit|budget has been exceeded"
    r"|key limit exceeded|(specified|hourly|daily|weekly|monthly)\b.{0,20}usage limit",
    re.IGNORECASE,
)
"""What a refusal says where there is no money left. Not "exceeded your quota", which Google says of a busy minute."""
_WITHHELD: Final = re.compile(
    r"content (violates|exists risk|management policy|filtering policy)|inappropriate content|safety system"
    r"|violat\w+ .{0,40}(usage|content|safety) (guideline|polic)",
    re.IGNORECASE,
)
_WRONG_KEY: Final = re.compile(
    r"(incorrect|invalid) api.?key|api.?key (is )?(not valid|invalid|expired)", re.IGNORECASE
)
_PAYMENT: Final = re.compile(r"credit|balance|billing|quota|payment|spend|top.?up", re.IGNORECASE)
"""What it says beside a 402."""
_PAYMENT_REQUIRED: Final = 402
_MARKS: Final = (("<style", ".*?", "</style>"), ("<script", ".*?", "</script>"), ("<", "[^>]*", ">"))
"""What is no word of a page: how each begins, goes on and ends."""
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_EVENT: Final = re.compile(r"^data: *(\{.*\})\s*$", re.MULTILINE)
"""An error that is the only event of a stream."""
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


class StatusError(Exception):
    """An answer with an error status, or one that began well and states an error. It never leaves the providers.

    Attributes:
        came: What the answer brought beside the error.
        begun: Whether other events of a stream came before, of which what they cost is unknown.
    """

    begun = False

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
        status = status or _named_status(names, words)
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
    listed = next(iter(_listed(outer.get("errors"))), None)  # Cloudflare; MiniMax has `base_resp`
    # An SDK may have unwrapped it.
    return _mapping(outer.get("error")) or _mapping(listed) or _mapping(outer.get("base_resp")) or outer


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _names(details: dict[str, object]) -> list[str]:
    """Return the names by which an error says what it is, small letters without signs, the most special first."""
    inner = _mapping(details.get("innererror"))
    reasons = [_mapping(each).get("reason") for each in _listed(details.get("details"))]
    found = [inner.get("code"), *reasons, *(details.get(key) for key in ("code", "status", "type"))]
    return [_plain(name) for name in found if isinstance(name, str)]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _named_status(names: list[str], words: str) -> int:
    """Return the status that an error's names amount to, or its words, where they say that it may pass; else 500."""
    found = (status for name in names for pattern, status in _BY_NAME if pattern.search(name))
    said = (status for pattern, status in _BY_NAME if status in _MAY_PASS and pattern.search(_plain(words)))
    return next(found, None) or next(said, _FIRST_SERVER_ERROR)


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
    if kind is errors.BadRequestError and _WRONG_KEY.search(words):  # xAI
        return errors.AuthenticationError
    if kind in {errors.BadRequestError, errors.AuthenticationError} and _WITHHELD.search(words):
        return errors.ContentFilterError
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
        text = (body if isinstance(body, str) else body.decode("utf-8", "replace"))[:_READ]
        for begins, goes_on, ends in _MARKS:
            # Up to the last end each beginning has one; behind it each would be looked for in all of the rest.
            marked, end, rest = text.rpartition(ends)
            text = re.sub(f"{begins}{goes_on}{ends}", " ", marked + end, flags=re.DOTALL) + rest
        return shorten(text)
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
    for key in ("message", "error", "detail", "msg", "status_msg", "error_msg", "errorMessage"):
        words = words or _said(found.get(key), deep=deep - 1)
    place = ".".join(map(str, _listed(found.get("loc"))))
    return f"{place}: {words}" if place and words else words


def _parsed(body: str | bytes) -> object:
    """Return the value of a JSON text, or of the first event of a stream; None where it is neither."""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    event = _EVENT.search(text)
    try:
        return cast("object", json.loads(event[1] if event else text))
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


# --- which limits an answer states ---


@dataclass(frozen=True, slots=True)
class StatedLimit:
    """A limit of a host, as the headers of an answer state it.

    Attributes:
        name: What it is called, such as `requests` or `input-tokens`.
        limit: What may be used in all.
        remaining: What is left of it.
        reset: Seconds until all of it is there again; None where that is not stated.
    """

    name: str
    limit: float
    remaining: float
    reset: float | None


_LIMIT: Final = re.compile(
    r"(?:x-)?ratelimit-(?P<what>limit|remaining|reset)(?:-(?P<of>[a-z-]+))?"
    r"|anthropic-ratelimit-(?P<named>[a-z-]+)-(?P<which>limit|remaining|reset)"
)
"""OpenAI, Azure, Groq and others; Anthropic. Where nothing says of what, it is requests."""
_PARTS: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|d|h|m|s)", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EPOCH: Final = 1e9  # seconds since 1970; a larger number is a date, and one a thousand times larger is in milliseconds


def stated_limits(headers: httpx2.Headers) -> list[StatedLimit]:
    """Return the limits that the headers of an answer state with what is left of them."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if "ratelimit" in name and (part := _LIMIT.fullmatch(name)):
            of = part["named"] or part["of"] or "requests"
            found.setdefault(of, {})[part["which"] or part["what"]] = value.strip()
    limits: list[StatedLimit] = []
    for name, parts in found.items():
        limit, remaining = _number(parts.get("limit", "")), _number(parts.get("remaining", ""))
        if limit and remaining is not None:
            limits.append(StatedLimit(name, limit, remaining, _until_reset(parts.get("reset", ""))))
    return limits


def _until_reset(given: str) -> float | None:
    """Read seconds, a duration such as `6m0.5s`, or a date."""
    number = _number(given)
    if number is not None:
        if number > _EPOCH:
            number = (number / 1000 if number > 1000 * _EPOCH else number) - datetime.now(UTC).timestamp()
        return max(0.0, number)
    if given and not _PARTS.sub("", given):
        return sum(float(amount) * _SECONDS[unit] for amount, unit in _PARTS.findall(given))
    try:
        when = datetime.fromisoformat(given)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
