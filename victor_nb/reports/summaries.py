"""A ledger frame summed up: by profile, by day, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd

from victor_nb.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

By = Literal["profile", "provider", "model", "stage", "strategy", "notebook", "day", "run_id", "status", "mode"]
Every = Literal["minute", "hour", "day", "week", "month"]

GROUPS: Final = "profile provider model stage strategy notebook day run_id status mode".split()
"""What a ledger can be summed up by. A day is one of UTC."""

_FREQUENCIES: Final = {"minute": "min", "hour": "h", "day": "D", "week": "W-MON", "month": "MS"}
_SUMS: Final = {
    **dict.fromkeys("input_tokens output_tokens cache_read_tokens cache_write_tokens reasoning_tokens".split(), 0),
    **dict.fromkeys(("cost", "billed"), 1),
}
"""The columns that are summed, with the known values that it takes at least: money that nobody knows is not 0."""
_ENDED: Final = ("ok", "error", "interrupted", "partial")
_FAILED: Final = ("error", "partial")


def summary(frame: pd.DataFrame, by: By | Sequence[By] = "profile") -> pd.DataFrame:
    """Sum up a ledger frame (`session().ledger.to_frame()`), one row for each group, in the order of their first rows.

    Args:
        frame: One row per attempt.
        by: One of `GROUPS`, or several of them; an empty list sums up everything.

    Returns:
        A frame whose index is the groups, NaN where a row is of none (a call outside of any strategy has no stage):

        - `calls`, `attempts`, `retries` (attempts after a call's first);
        - `input_tokens`, `output_tokens`, and what is inside them: `cache_read_tokens`, `cache_write_tokens`,
          `reasoning_tokens`;
        - `cost` and `billed` (USD): sums of what is known, NaN where nothing is; `unpriced` counts the attempts whose
          cost is not known, so that `cost` is a lower bound where it is not 0;
        - `latency_p50`, `latency_p95`, `ttft_p50`, `ttft_p95` (seconds) of attempts that went well: percentiles by
          linear interpolation between the two nearest of them (Hyndman and Fan's type 7, numpy's default);
        - `tokens_per_second`: output tokens of attempts that went well, over their latencies added up;
        - `error_rate`: errors and answers that broke off, as a share of the attempts that were sent and have ended;
        - `cache_share`: cache reads as a share of the input tokens.

    Raises:
        ConfigError: There is no such group.
    """
    rows = _prepared(frame)
    keys = _keys(rows, [by] if isinstance(by, str) else list(by))
    groups = rows.groupby(keys, sort=False, observed=True, dropna=False)
    sums = [groups[name].sum(min_count=least).rename(name) for name, least in _SUMS.items()]
    counts = groups[["unpriced", "retries", "ended", "failed"]].sum()
    seen = pd.concat(
        [
            groups["call_id"].nunique().astype("Int64").rename("calls"),
            groups["attempt"].size().astype("Int64").rename("attempts"),
            counts["retries"].astype("Int64"),
            *sums,
            counts["unpriced"].astype("Int64"),
            *_percentiles(groups),
            _ratio(groups["served_tokens"].sum(), groups["served_seconds"].sum()).rename("tokens_per_second"),
            _ratio(counts["failed"], counts["ended"]).rename("error_rate"),
        ],
        axis="columns",
        sort=False,
    )
    seen["cache_share"] = _ratio(seen["cache_read_tokens"], seen["input_tokens"])
    return seen


def _prepared(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that are needed, with a few that make a sum of what is asked for."""
    well, timed = frame["status"] == "ok", frame["latency"].notna() & frame["output_tokens"].notna()
    return frame.assign(
        day=frame["ts"].dt.floor("D"),
        unpriced=frame["cost"].isna(),
        retries=frame["attempt"] > 1,
        ended=frame["status"].isin(_ENDED),
        failed=frame["status"].isin(_FAILED),
        good_latency=frame["latency"].where(well),
        good_ttft=frame["ttft"].where(well),
        served_tokens=frame["output_tokens"].where(well & timed).astype("Float64"),
        served_seconds=frame["latency"].where(well & timed),
    )


def _keys(rows: pd.DataFrame, by: Sequence[str]) -> list[Any]:
    for name in by:
        if name not in GROUPS:
            close = did_you_mean(name, GROUPS)
            hint = f"Did you mean {close!r}?" if close else f"Use one of: {', '.join(GROUPS)}."
            raise ConfigError(f"A ledger is not summed up by {name!r}. {hint}")
    return list(by) or [pd.Series("all", index=rows.index, name="all", dtype="str")]


def _percentiles(groups: Any) -> list[pd.Series[float]]:  # noqa: ANN401 - pandas' own class for groups is private
    return [
        groups[f"good_{name}"].quantile(share / 100).astype("float64").rename(f"{name}_p{share}")
        for name in ("latency", "ttft")
        for share in (50, 95)
    ]


def _ratio(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[float]:
    """Divide; what is divided by nothing is NaN."""
    numbers = pd.to_numeric(whole).astype("float64")
    return part.astype("float64") / numbers.where(numbers > 0)


def spend(frame: pd.DataFrame, every: Every = "day") -> pd.DataFrame:
    """Return what a ledger frame's attempts cost in each period of time, those without any attempt included.

    Returns:
        A frame by the beginning of each period (UTC; weeks begin on Monday): `attempts`, `cost` and `billed` (USD,
        sums of what is known, NaN where nothing is), `unpriced` (attempts), `cumulative_cost` (USD).

    Raises:
        ConfigError: There is no such period.
    """
    if every not in _FREQUENCIES:
        raise ConfigError(f"Money is not summed up every {every!r}. Use one of: {', '.join(_FREQUENCIES)}.")
    grouper = pd.Grouper(key="ts", freq=_FREQUENCIES[every], closed="left", label="left")
    groups = frame.assign(unpriced=frame["cost"].isna()).groupby(grouper)
    quiet = groups["attempt"].size() == 0
    columns = {
        "attempts": groups["attempt"].size().astype("Int64"),
        "cost": groups["cost"].sum(min_count=1).mask(quiet, 0.0),
        "billed": groups["billed"].sum(min_count=1).mask(quiet, 0.0),
        "unpriced": groups["unpriced"].sum().astype("Int64"),
    }
    return pd.DataFrame(columns).assign(cumulative_cost=lambda found: found["cost"].fillna(0.0).cumsum())
