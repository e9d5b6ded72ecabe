"""Where the money of a run went, and what it would have cost otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

from victor_nb.reports.charts.drawing import (
    BLUE,
    EDGE,
    GREEN,
    GREY,
    MINUS,
    NOTHING,
    ORANGE,
    PALETTE,
    SKY,
    VERMILION,
    WAITING,
    amount,
    band,
    bar,
    bounded,
    colours,
    difference,
    figures,
    finish,
    groups,
    header,
    height,
    line,
    listing,
    money,
    money_scale,
    name_axis,
    name_rows,
    need,
    no_scale,
    numbers,
    panels,
    paper,
    points,
    provenance,
    rule,
    seconds,
    seconds_scale,
    sentences,
    swatch,
    symbol,
    total,
    unknown,
    unpriced_swatch,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from victor_nb.reports.charts.drawing import Money
    from victor_nb.workflows.baselines import Savings


_ACTUAL: Final = "actual cost"


@dataclass(frozen=True, slots=True)
class _Step:
    """One row of the chart: a bar from `left`, `length` long, then a hatched band where more is unknown."""

    name: str
    left: float
    length: float
    said: str
    colour: str
    unpriced: int = 0

    @property
    def end(self) -> float:
        return self.left + self.length


@dataclass(frozen=True, slots=True)
class _Baseline:
    """What the cost is compared with: in words, and in USD as a whole or by stage."""

    words: str
    cost: float
    by_stage: dict[str, float] | None


def cost_by_stage(frame: pd.DataFrame, *, savings: Savings | None = None, ax: Axes | None = None) -> Figure:
    """Show where the money went, stage by stage: a waterfall from the baseline down to what was paid.

    Where the price of any call is unknown, nothing is compared: known costs are added up, and hatched bands say that
    there is more.

    Args:
        frame: One row for each attempt, call or stage: `stage` and `cost` (USD), and `mode`, `unpriced` where there
            are such. With `what_if_cost` (USD) and `what_if` (the profile whose prices these are; `what_if_frame` has
            both), the first bar is the baseline, and each stage takes off what it saved.
        savings: The baseline in words and in USD, such as `run.savings("premium", kind="one_call")`. Without
            `what_if_cost`, the stages add up to the actual cost, and a line marks the baseline.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame has no `stage` or no `cost`.
    """
    need(frame, "cost_by_stage", ("stage", "cost"), source="run.to_frame(), or the ledger's frame")
    stages = {name: money(rows) for name, rows in groups(frame, "stage", missing="(no stage)")}
    unpriced = sum(part.unpriced for part in stages.values())
    actual = sum(part.known for part in stages.values() if not math.isnan(part.known))
    baseline = None if unpriced else _baseline(frame, savings)
    if baseline is not None and baseline.by_stage is not None:
        steps = _down(baseline, {name: part.known for name, part in stages.items()}, actual)
    else:
        steps = _up({name: (part.known, part.unpriced) for name, part in stages.items()}, actual, unpriced, baseline)
    return _draw(paper(ax, height=height(len(steps))), steps, actual, unpriced, baseline, provenance(frame))


def _baseline(frame: pd.DataFrame, savings: Savings | None) -> _Baseline | None:
    """Return what there is to compare with; None where its price is unknown in part."""
    costs = numbers(frame, "what_if_cost")
    if len(costs) and not any(map(math.isnan, costs)):
        said = _bare(savings.baseline) if savings else f"same calls at {_other(frame)}'s prices"
        by_stage = {
            name: float(numbers(rows, "what_if_cost").sum())
            for name, rows in groups(frame, "stage", missing="(no stage)")
        }
        return _Baseline(said, sum(by_stage.values()), by_stage)
    if savings is None or savings.baseline_cost is None:
        return None
    said = f"{_bare(savings.baseline)}{' (estimated)' if savings.estimated else ''}"
    return _Baseline(said, float(savings.baseline_cost), None)


def _other(frame: pd.DataFrame) -> str:
    """Name the profiles whose prices were taken instead of what was paid."""
    names = words(frame, "what_if")
    others = {name for name, own in zip(names, words(frame, "profile"), strict=True) if name and name != own}
    return " and ".join(sorted(others or set(filter(None, names)))) or "other"


def _down(baseline: _Baseline, stages: dict[str, float], actual: float) -> list[_Step]:
    """From the baseline, take off what each stage saved."""
    steps = [_Step(baseline.words, 0.0, baseline.cost, amount(baseline.cost), GREY)]
    level = baseline.cost
    for name, cost in stages.items():
        saved = (baseline.by_stage or {})[name] - cost
        sign, colour = (MINUS, GREEN) if saved >= 0 else ("+", VERMILION)
        said = f"{sign if saved else ''}{amount(abs(saved))} (cost {amount(cost)})"
        steps.append(_Step(name, level - max(saved, 0.0), abs(saved), said, colour))
        level -= saved
    return [*steps, _Step(_ACTUAL, 0.0, actual, amount(actual), BLUE)]


def _up(stages: dict[str, tuple[float, int]], actual: float, unpriced: int, baseline: _Baseline | None) -> list[_Step]:
    """Add up what each stage cost."""
    steps: list[_Step] = []
    if baseline is not None:
        steps.append(_Step(baseline.words, 0.0, baseline.cost, amount(baseline.cost), GREY))
    level = 0.0
    for name, (known, missing) in stages.items():
        length = 0.0 if math.isnan(known) else known
        steps.append(_Step(name, level, length, bounded(known, missing), SKY, missing))
        level += length
    return [*steps, _Step(_ACTUAL, 0.0, actual, bounded(actual, unpriced), BLUE, unpriced)]


def _draw(ax: Axes, steps: list[_Step], actual: float, unpriced: int, baseline: _Baseline | None, note: str) -> Figure:
    indent = name_rows(ax, [step.name for step in steps])
    money_scale(ax, [step.end for step in steps])
    for row, step in enumerate(steps):
        bar(ax, row, step.left, step.length, step.colour, label=step.name)
        if step.unpriced:
            unknown(ax, row, step.end)
    _connect(ax, steps)
    if baseline is not None and baseline.by_stage is None:
        rule(ax, baseline.cost, linestyle="--")
    figures(ax, [step.said for step in steps])
    title = _title(actual, unpriced, baseline)
    header(ax, title, [_how(baseline, unpriced), note], legend=_legend(steps), indent=indent)
    shown = listing(f"{step.name} {step.said}" for step in steps)
    return finish(ax, sentences("Cost by stage in USD", title, f"From top to bottom: {shown}", note))


def _connect(ax: Axes, steps: list[_Step]) -> None:
    """Join the end of each step to the beginning of the next, as waterfalls do."""
    ends = [step.left if step.colour == GREEN else step.end for step in steps]
    for row, (end, step) in enumerate(zip(ends, steps[1:], strict=False)):
        if step.left <= end <= step.end * (1 + 1e-9) and not step.unpriced:
            line(ax, [end, end], [row, row + 1], EDGE, linewidth=0.6, linestyle=":")


def _title(actual: float, unpriced: int, baseline: _Baseline | None) -> str:
    if baseline is None:
        return f"Cost by stage: {total(actual, unpriced)}"
    compared = difference(actual, baseline.cost)
    return f"{total(actual, unpriced)}: {compared} {'as' if compared == 'as much' else 'than'} {_the(baseline.words)}"


def _how(baseline: _Baseline | None, unpriced: int) -> str:
    if baseline is None:
        return "Not compared with a baseline: prices are missing." if unpriced else ""
    if baseline.by_stage is None:
        return f"What each stage cost, up to the actual sum; the dashed line is {_the(baseline.words)}."
    return f"From {_the(baseline.words)} down to the actual cost: what each stage saved."


def _bare(words: str) -> str:
    """Return the words as the label of a row."""
    return words.removeprefix("the ")


def _the(words: str) -> str:
    """Return the words as they go into a sentence."""
    return f"the {words}" if words.startswith("same") else words


def _legend(steps: list[_Step]) -> list[Artist]:
    named = {GREY: "baseline", SKY: "stage", GREEN: "saved", VERMILION: "dearer than the baseline", BLUE: "actual"}
    used = {step.colour for step in steps}
    known: list[Artist] = [swatch(said, colour) for colour, said in named.items() if colour in used]
    return [*known, *unpriced_swatch(shown=any(step.unpriced for step in steps))]


def funnel(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show the narrowing of a run: on the left the items of each stage and those that went on, on the right its USD.

    Args:
        frame: One row for each stage, in order (`stages_frame(run.stages)`): `stage`, `items` (what it came to),
            `kept_items` (what went on), `cost` (USD), and `unpriced`, `mode` where there are such.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "funnel", ("stage", "items", "kept_items", "cost"), source="a strategy run, or stages_frame(stages)")
    stages = [name for name, _ in groups(frame, "stage", missing="(no stage)")]
    parts = [rows for _, rows in groups(frame, "stage", missing="(no stage)")]
    items = [(_sum(rows, "items"), _sum(rows, "kept_items")) for rows in parts]
    costs = [money(rows) for rows in parts]
    ax = paper(ax, height=height(len(stages)))
    left, right = panels(ax, (0.0, 0.36), (0.62, 0.9))
    indent = name_rows(left, stages, most=22)
    _narrow(left, items)
    _spend(right, stages, costs)
    known, unpriced = sum(np.nan_to_num(part.known) for part in costs), sum(part.unpriced for part in costs)
    title = _title_funnel(items, total(float(known), unpriced))
    note = provenance(frame)
    legend = [swatch("items", SKY), swatch("kept", BLUE), *unpriced_swatch(shown=bool(unpriced))]
    header(ax, title, [note], legend=legend, indent=indent)
    said = (
        f"{name} {came:,.0f} to {kept:,.0f}, USD {bounded(*cost)}"
        for name, (came, kept), cost in zip(stages, items, costs, strict=True)
    )
    return finish(ax, sentences("Funnel by stage: items that came and went on, and USD", title, listing(said), note))


def _sum(rows: pd.DataFrame, name: str) -> float:
    return float(np.nansum(numbers(rows, name)))


def _narrow(ax: Axes, items: Sequence[tuple[float, float]]) -> None:
    """Draw items and what was kept of them as centred bars, joined as a funnel is."""
    for row, (came, kept) in enumerate(items):
        bar(ax, row, -came / 2, came, SKY, label="items")
        bar(ax, row, -kept / 2, kept, BLUE, label="kept", height=0.3)
    for row, ((_, kept), (came, _)) in enumerate(pairwise(items)):
        band(ax, [row + 0.31, row + 0.69], [kept / 2, min(kept, came) / 2])
    widest = max((came for came, _ in items), default=0) or 1
    ax.set_xlim(-widest / 2 * 1.05, widest / 2 * 1.05)
    no_scale(ax.xaxis)  # a centred bar has no place on one: its numbers stand beside it
    name_axis(ax.xaxis, "items → kept")
    figures(ax, [f"{came:,.0f} → {kept:,.0f}" for came, kept in items])


def _spend(ax: Axes, stages: Sequence[str], costs: Sequence[Money]) -> None:
    name_rows(ax, stages, most=0)
    money_scale(ax, [cost.known for cost in costs])
    for row, cost in enumerate(costs):
        known = float(np.nan_to_num(cost.known))
        bar(ax, row, 0, known, ORANGE, label=stages[row])
        if cost.unpriced:
            unknown(ax, row, known)
    rule(ax, 0.0)
    figures(ax, [bounded(*cost) for cost in costs])


def _title_funnel(items: Sequence[tuple[float, float]], spent: str) -> str:
    if not items:
        return f"Items and money: {NOTHING}"
    return f"From {items[0][0]:,.0f} items to {items[-1][1]:,.0f} for {spent}"


_MOST_ROWS: Final = 30
"""Rows that can be named; of a longer run they are thinner, and the page is not longer."""
_MOST_CALLS: Final = 300
_AXIS_NAME: Final = 14.0
_WELL: Final = frozenset({"ok", "running"})


class _Span(NamedTuple):
    """One attempt, or one call as a whole: seconds from the beginning of the run."""

    call: str
    name: str
    profile: str
    status: str
    start: float
    queue: float
    latency: float

    @property
    def end(self) -> float:
        return self.start + self.latency


def gantt(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show the calls of a run over time, one row each: waiting for a place, then the provider's own time.

    Args:
        frame: One row for each call (`run.to_frame()`) or attempt (the ledger's frame): `profile`, `latency` (seconds),
            and `start` (seconds from the run's beginning to the request) or `ts` (when it was sent). Where there are
            such: `call_id` (attempts of one call share a row), `stage`, `queue` (seconds), `status`, `run_id`: of
            several runs the latest is shown.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    clock = "start" if "start" in frame.columns else "ts"
    need(frame, "gantt", ("profile", "latency", clock), source="run.to_frame(), or the ledger's frame")
    frame, which = _latest(frame)
    spans = _spans(frame, clock)
    drawn, part = _first(spans)
    rows = {call: row for row, call in enumerate(dict.fromkeys(span.call for span in drawn))}
    ax = paper(ax, height=height(min(len(rows), _MOST_ROWS)))
    names = _names(drawn, rows)
    indent = name_rows(ax, names) + (0 if any(names) else _AXIS_NAME)
    seconds_scale(ax, [span.end for span in drawn])
    name_axis(ax.yaxis, "" if any(names) else "calls")
    colour = _colours(drawn)
    for span in drawn:
        _draw_gantt(ax, rows[span.call], span, colour[span.profile])
    title, note = _title_gantt(spans), provenance(frame, "not a provider's timings")
    header(ax, title, [which, part, note], legend=_legend_gantt(drawn, colour), indent=indent)
    told = listing(f"{span.name} from {span.start:.2f} to {span.end:.2f} s" for span in drawn)
    return finish(ax, sentences(title, told, part, note))


def _first(spans: Sequence[_Span]) -> tuple[list[_Span], str]:
    """Return as many calls as can be drawn, and what to say if these are not all."""
    calls = list(dict.fromkeys(span.call for span in spans))
    if len(calls) <= _MOST_CALLS:
        return list(spans), ""
    first = set(calls[:_MOST_CALLS])
    return [span for span in spans if span.call in first], f"Drawn are the first {_MOST_CALLS:,} calls."


def _latest(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Keep the rows of the run that was started last, where there are several."""
    runs = words(frame, "run_id")
    if len(set(runs)) <= 1:
        return frame, ""
    latest = next(run for run in reversed(runs) if run)
    return frame[[run == latest for run in runs]], f"The latest of {len(set(runs) - {''}):,} runs."


def _spans(frame: pd.DataFrame, clock: str) -> list[_Span]:
    latency, queue = numbers(frame, "latency"), np.nan_to_num(numbers(frame, "queue"))
    start = numbers(frame, "start") if clock == "start" else _offsets(frame, queue)
    calls = words(frame, "call_id")
    stages, profiles = words(frame, "stage"), words(frame, "profile", missing="(no profile)")
    names = [f"{stage} · {profile}" if stage else profile for stage, profile in zip(stages, profiles, strict=True)]
    found = [
        _Span(call or f"row {row}", *rest)
        for row, (call, *rest) in enumerate(
            zip(calls, names, profiles, words(frame, "status"), start, queue, latency, strict=True)
        )
    ]
    known = [span for span in found if not math.isnan(span.latency) and not math.isnan(span.start)]
    return sorted(known, key=lambda span: (span.start, span.end))


def _offsets(frame: pd.DataFrame, queue: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return when each attempt was sent, in seconds from when the first was asked for."""
    moments = pd.to_datetime(frame["ts"], utc=True)
    if not len(moments):
        return np.array([], dtype=np.float64)
    asked = moments - pd.to_timedelta(queue, unit="s")
    return np.array((moments - asked.min()).dt.total_seconds(), dtype=np.float64)


def _names(spans: Sequence[_Span], rows: dict[str, int]) -> list[str]:
    """Name every row; of many, the first of each kind, or none where these stand too close."""
    first: dict[str, str] = {}
    for span in spans:
        first.setdefault(span.call, span.name)
    names = [first[call] for call in rows]
    if len(names) <= _MOST_ROWS:
        return names
    changes = ["" if row and names[row - 1] == name else name for row, name in enumerate(names)]
    apart = len(names) / _MOST_ROWS
    named = [row for row, name in enumerate(changes) if name]
    crowded = any(later - earlier < apart for earlier, later in pairwise(named))
    return [""] * len(names) if crowded else changes


def _draw_gantt(ax: Axes, row: int, span: _Span, colour: str) -> None:
    if span.queue > 0:
        bar(ax, row, span.start - span.queue, span.queue, "none", label="queue", **WAITING)
    bar(ax, row, span.start, span.latency, colour, label=span.profile)
    if span.status and span.status not in _WELL:
        points(ax, [span.end], [row], VERMILION, "X", label=span.status)


def _colours(spans: Sequence[_Span]) -> dict[str, str]:
    """Return a colour for each profile; for more of them than there are colours, one for all."""
    found = colours(span.profile for span in spans)
    return found if len(found) <= len(PALETTE) else dict.fromkeys(found, PALETTE[0])


def _title_gantt(spans: Sequence[_Span]) -> str:
    if not spans:
        return f"Calls over time: {NOTHING}"
    wall = max(span.end for span in spans) - min(span.start - span.queue for span in spans)
    serial = sum(span.latency for span in spans)
    calls = len({span.call for span in spans})
    if calls == 1:
        return f"1 call in {seconds(wall)}"
    return f"{calls:,} calls in {seconds(wall)}; one after the other they take {seconds(serial)}"


def _legend_gantt(spans: Sequence[_Span], colour: dict[str, str]) -> list[Artist]:
    told_apart = len(set(colour.values())) == len(colour)
    handles: list[Artist] = [swatch(profile, each) for profile, each in colour.items() if told_apart]
    handles = handles or [swatch("answering", PALETTE[0])]
    if any(span.queue > 0 for span in spans):
        handles.append(swatch("waiting for a place", "none", **WAITING))
    if any(span.status and span.status not in _WELL for span in spans):
        handles.append(symbol("failed or stopped", VERMILION, "X", markeredgecolor=EDGE))
    return handles
