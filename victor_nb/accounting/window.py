"""A window of the ledger: since when, and whose attempts are meant, in words that a line or a call gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from victor_nb.accounting.rows import zone
from victor_nb.errors import ConfigError, suggest

if TYPE_CHECKING:
    from victor_nb.accounting.ledger import Ledger
    from victor_nb.accounting.rows import Row

Whose: TypeAlias = Literal["kernel", "notebook", "all"]
"""The rows of this kernel; of this notebook, whichever kernels ran it; or of the whole ledger."""
Since: TypeAlias = "str | date | timedelta | None"

SCOPES: Final[tuple[Whose, ...]] = get_args(Whose)
EXAMPLES: Final = ("30d", "12h", "today", "2026-11-01")

_SPAN: Final = re.compile(r"(?P<count>\d{1,6})\s*(?P<unit>h|hours?|d|days?|w|weeks?)", re.IGNORECASE)
_SCOPES: Final = {"kernel": "this kernel", "all": "all kernels"}


@dataclass(frozen=True, slots=True)
class Window:
    """Some of a ledger's attempts.

    Attributes:
        scope: Whose.
        since: When the first may have started; None for all.
        notebook: The path of the notebook that a scope of `notebook` means.
    """

    scope: Whose = "kernel"
    since: datetime | None = None
    notebook: str | None = None

    @classmethod
    def of(cls, scope: str = "kernel", since: Since = None, *, notebook: str | None = None) -> Window:
        """Read what was given.

        Args:
            scope: `kernel` (`session` is the same), `notebook` or `all`.
            since: `30d`, `12h`, `2w`, `today`, a date, a moment, or the time that it is ago. Days and weeks begin at
                midnight, and today is one of them.
            notebook: The path of this kernel's notebook, where it is known.

        Raises:
            ConfigError: There is no such scope, or it is not a time in the past.
        """
        wanted = "kernel" if scope == "session" else scope
        found: Whose | None = next((word for word in SCOPES if word == wanted), None)
        if found is None:
            raise ConfigError(f"There is no scope {str(scope)[:40]!r}. {suggest(scope, SCOPES, shape='scope={}')}")
        if found == "notebook" and notebook is None:
            raise ConfigError("Which notebook this is, is not known here. Use scope=kernel or scope=all.")
        return cls(found, begin(since), notebook if found == "notebook" else None)

    def rows(self, ledger: Ledger) -> list[Row]:
        """Return its rows, oldest first."""
        return ledger.rows(self.kernels, since=self.since, notebook=self.notebook)

    @property
    def kernels(self) -> Literal["kernel", "all"]:
        """The scope that a ledger has."""
        return "kernel" if self.scope == "kernel" else "all"

    def __str__(self) -> str:
        """Say whose, and since when by this machine's clock."""
        whose = f"notebook {self.notebook}" if self.scope == "notebook" else _SCOPES[self.scope]
        if self.since is None:
            return f"{whose}, from the beginning"
        here = self.since.astimezone()
        return f"{whose}, since {here:%Y-%m-%d %H:%M} {zone(here)}"


def begin(since: Since) -> datetime | None:
    """Return the moment that is meant, in this machine's zone.

    Raises:
        ConfigError: It is not a time in the past.
    """
    if since is None:
        return None
    now = datetime.now().astimezone()
    try:
        found = _moment(since, now)
    except (ValueError, OverflowError):
        text = str(since)[:40]
        hint = (
            " Months are not counted: write 30d, or a date."
            if re.fullmatch(r"\d+\s*(m|mo|months?|y|years?)", text)
            else ""
        )
        raise ConfigError(
            f"since={text} is not understood. Write {', '.join(EXAMPLES[:-1])} or {EXAMPLES[-1]}.{hint}"
        ) from None
    if found > now:
        raise ConfigError(f"since={str(since)[:40]} is in the future: nothing can have been asked since then.")
    return found


def _moment(since: Since, now: datetime) -> datetime:
    """Return the moment that is meant; what cannot be read, or lies before all clocks, is a ValueError."""
    if isinstance(since, timedelta):
        return now - since
    if isinstance(since, date):
        if hasattr(since, "to_pydatetime"):  # of pandas, whose `astimezone` wants a zone
            since = cast("datetime", cast("Any", since).to_pydatetime())
        return since.astimezone() if isinstance(since, datetime) else datetime.combine(since, time.min).astimezone()
    text = str(since).strip()
    if text.lower() == "today":
        return _midnight(now, 0)
    if span := _SPAN.fullmatch(text):
        count, unit = int(span["count"]), span["unit"][0].lower()
        if unit == "h":
            return now - timedelta(hours=count)
        return _midnight(now, max(0, count * (7 if unit == "w" else 1) - 1))
    return datetime.fromisoformat(text).astimezone()


def _midnight(now: datetime, days: int) -> datetime:
    """Return the midnight here with which the day began so many days ago."""
    return datetime.combine(now.date() - timedelta(days=days), time.min).astimezone()
