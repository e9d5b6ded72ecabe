"""The cost of past calls at other profiles' prices."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import Row
from victor_nb.errors import ConfigError, suggest
from victor_nb.money import add
from victor_nb.reports.frames import records_frame
from victor_nb.workflows.orchestrator_pool import OrchestratorPool, kernel_pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from victor_nb.accounting.pricing import Tariff
    from victor_nb.reports.frames import DataFrame, Dtype


def find_tariff(name: str, pool: OrchestratorPool) -> Tariff:
    """Return the prices that go by a name: a profile's, else a model's.

    Raises:
        ConfigError: The name is neither a profile nor a model with a known price.
    """
    tariff = pool.runtime.find_tariff(name, pool.settings)
    if tariff is None:
        known = pool.settings.profiles
        hint = suggest(name, known, otherwise=f"Profiles: {', '.join(known)}.")
        raise ConfigError(f"{name!r} is neither a profile nor a model with a known price. {hint}")
    return tariff


def reprice(row: Row, tariff: Tariff) -> Decimal | None:
    """Return what an attempt would have cost, in USD; None when its tokens, or the tariff's price, are unknown.

    It is priced by itself, since a tier reprices a whole request, and from its own tokens: another model, whose
    tokeniser and manner differ, would have used others.
    """
    if row.input_tokens is None and row.output_tokens is None:
        # Nothing was answered: it cost nothing anywhere; unless it was under way, when its cost is unknown.
        return row.cost if row.cost == 0 else None
    return tariff.price(row.usage, tier=row.service_tier if row.profile == tariff.name else None).cost


WHAT_IF: Final = (
    "call_id run_id strategy stage profile model what_if input_tokens cache_read_tokens output_tokens cost "
    "what_if_cost saved mode"
).split()
"""One row for each attempt, priced again: `what_if` is the profile or model whose prices `what_if_cost` (USD) takes."""

_EVERYBODY: Final = "*"
_NEEDED: Final = ("profile", "input_tokens", "output_tokens", "cost")
_SUMMED: Final[Mapping[str, Dtype]] = {
    "profile": "text",
    "what_if": "text",
    "calls": "count",
    "cost": "money",
    "what_if_cost": "money",
    "delta": "money",
    "unpriced": "count",
}
_NEVER: Final = datetime.fromtimestamp(0, tz=UTC)
_FIELDS: Final = {each.name for each in fields(Row)}


def what_if(
    past: Ledger | DataFrame | Iterable[Row],
    other: Mapping[str, str],
    *,
    by: Literal["profile"] | None = "profile",
    pool: OrchestratorPool | None = None,
) -> DataFrame:
    """Price what was asked again, as if other profiles had been asked.

    The tokens stay: another model would have used others, so this is an estimate. The ledger is not changed.

    Args:
        past: A ledger (its kernel's rows), a frame of one (also filtered), or rows, such as `run.rows`.
        other: The profile or model whose prices to take, by the profile that was asked; `*` stands for all the others.
        by: `profile` sums up; None gives one row for each attempt, for charts.
        pool: Whose profiles are meant; else the kernel's.

    Returns:
        By profile: `profile`, `what_if` (whose prices), `calls`, `cost` and `what_if_cost` (USD, over the attempts that
        have a price on both sides; NaN where there is none), `delta` (`what_if_cost - cost`: negative would have been
        cheaper), `unpriced` (attempts left out). Profiles that `other` does not name keep what they cost.

    Raises:
        ConfigError: A name is neither a profile nor a model with a known price, or nothing was asked of a profile.
    """
    rows, pool = _rows(past), pool or kernel_pool()
    asked = dict.fromkeys(row.profile for row in rows)
    for name in other:
        if name not in asked and name != _EVERYBODY:
            hint = suggest(name, asked, otherwise=f"Asked were: {', '.join(asked) or 'none'}.")
            raise ConfigError(f"Nothing was asked of {name!r}. {hint}")
    tariffs = {name: find_tariff(target, pool) for name, target in other.items()}
    records: list[dict[str, Any]] = []
    for row in rows:
        tariff = tariffs.get(row.profile) or tariffs.get(_EVERYBODY)
        cost = row.cost if tariff is None else reprice(row, tariff)
        saved = None if cost is None or row.cost is None else row.cost - cost
        alike = {name: getattr(row, name) for name in WHAT_IF if name in _FIELDS}
        named = row.profile if tariff is None else tariff.name
        records.append({**alike, "what_if": named, "what_if_cost": cost, "saved": saved})
    if by is None:
        return records_frame(records, WHAT_IF)
    return records_frame(_summed(records), _SUMMED)


def _summed(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """Yield a row for each profile and what was asked instead, summed up where both sides have a price."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["profile"], record["what_if"]].append(record)
    for (profile, other), each in groups.items():
        priced = [record for record in each if record["saved"] is not None]
        cost, what_if_cost = (add(record[name] for record in priced)[0] for name in ("cost", "what_if_cost"))
        yield {
            "profile": profile,
            "what_if": other,
            "calls": len({record["call_id"] for record in each}),
            "cost": cost if priced else None,
            "what_if_cost": what_if_cost if priced else None,
            "delta": what_if_cost - cost if priced else None,
            "unpriced": len(each) - len(priced),
        }


# --- rows of whatever was given ---


def _rows(past: Ledger | DataFrame | Iterable[Row]) -> list[Row]:
    if isinstance(past, Ledger):
        return past.rows()
    if hasattr(past, "to_dict"):
        return _of_frame(past)
    return list(cast("Iterable[Row]", past))


def _of_frame(frame: Any) -> list[Row]:  # noqa: ANN401 - pandas lives in reports
    """Return the rows of a ledger frame; what it does not have is unknown."""
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise ConfigError(f"The frame has no column {missing[0]!r}. Give session().ledger.to_frame(), or a part of it.")
    found: list[Row] = []
    for number, cells in enumerate(frame.to_dict("records")):
        known = {name: _cell(name, value) for name, value in cells.items() if name in _FIELDS and not _unknown(value)}
        otherwise: dict[str, Any] = {"ts": _NEVER, "call_id": str(number), "provider": "", "model": ""}
        found.append(Row(**{**otherwise, **known}))
    return found


def _unknown(value: object) -> bool:
    """Return whether a cell is empty: None, NaN or pandas' NA."""
    return value is None or str(value) in {"nan", "<NA>", "NaT", "None"}


def _cell(name: str, value: Any) -> Any:  # noqa: ANN401 - a cell of any column
    if name in {"cost", "billed"}:
        return Decimal(str(value))
    return int(value) if name.endswith(("_tokens", "_searches")) or name == "attempt" else value
