"""How long a provider asks us to wait before we ask again."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    import httpx2

_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)s")


def asked_wait(headers: httpx2.Headers, body: object) -> float | None:
    """Return how many seconds a refusal asks to wait; None where it says nothing usable.

    Args:
        headers: `retry-after-ms` of OpenAI and Azure, else `retry-after` (RFC 9110, 10.2.3).
        body: Google sends no header, but a `google.rpc.RetryInfo` among the error's details.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after", "").strip()
    if not given:
        return _delay(body)
    seconds = _number(given)
    return _until(given) if seconds is None else seconds


def _number(given: str) -> float | None:
    try:
        number = float(given)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _until(given: str) -> float | None:
    try:
        when = parsedate_to_datetime(given)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _delay(body: object) -> float | None:
    """Read the `retryDelay` of google's error details, a duration such as `39s`; a list may be around the error."""
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    if isinstance(body, list):
        body = next(iter(cast("list[object]", body)), None)
    outer = _mapping(body)
    error = _mapping(outer.get("error")) or outer  # an SDK may have unwrapped it
    for detail in _list(error.get("details")):
        told = _mapping(detail)
        found = _DURATION.fullmatch(str(told.get("retryDelay"))) if told.get("@type") == _RETRY_INFO else None
        if found:
            return float(found[1])
    return None


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
