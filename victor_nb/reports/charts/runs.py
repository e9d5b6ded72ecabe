"""Charts of a strategy run: where its money went, how items became fewer, and what ran in parallel."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import GREY, MINUS, amount, in_usd, listing, percent, seconds, short, total
from victor_nb.reports.frames import NOTHING, Money, added, groups, known, money, need, numbers, provenance, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from victor_nb.money import Savings


_MOST_OWNERS: Final = 6


class _Baseline(NamedTuple):
    """What the cost is compared with: in words, and in USD as a whole or by stage."""

    words: str
    cost: float
    by_stage: Mapping[str, float] | None

    @property
    def name(self) -> str:
        """The words as they go into a sentence."""
        return f"the {self.words}" if self.words.startswith("same") else self.words


class _Step(NamedTuple):
    """One row of a waterfall: a bar from `left`, `length` long, then a hatched band where more is unknown."""

    name: str
    left: float
    length: float
    text: str
    colour: str
    unpriced: int = 0

    @property
    def end(self) -> float:
        return self.left + self.length


@draw.chart("calls")
def cost_by_stage(frame: pd.DataFrame, *, savings: Savings | None = None, ax: Axes | None = None) -> Figure:
    """Show where the money went, stage by stage: a waterfall from the baseline down to what was paid.

    Where the price of any call is unknown, nothing is compared: known costs are added up, and hatched bands show that
    there is more.

    Args:
        frame: One row for each attempt, call or stage: `stage` and `cost` (USD), and `mode`, `unpriced` where there
            are such. With `what_if_cost` (USD) and `what_if` (the profile whose prices these are), as the frame of
            `what_if(..., by=None)` has them, the first bar is the baseline, and each stage takes off what it saved.
        savings: The baseline in words and in USD, such as `run.savings("premium", kind="one_call")`. Without
            `what_if_cost`, the stages add up to the actual cost, and a line marks the baseline.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame has no `stage` or no `cost`.
    """
    need(frame, "cost_by_stage", ("stage", "cost"), source="run.to_frame(), or the ledger's frame")
    rows_of = dict(groups(frame, "stage"))
    stages = {name: money(rows) for name, rows in rows_of.items()}
    unpriced = sum(part.unpriced for part in stages.values())
    actual = sum(known(part.known for part in stages.values()))
    baseline = None if unpriced else _baseline(frame, savings)
    if not (actual or unpriced or baseline):
        return draw.nothing(ax, f"Cost by stage: {'nothing, all stages were free' if stages else NOTHING}")
    colours = _stage_colours(rows_of)
    steps = [
        *_steps(stages, baseline, colours),
        _Step("actual cost", 0.0, actual, in_usd(actual, unpriced), draw.EDGE, unpriced),
    ]
    ax = draw.paper(ax, rows=len(steps))
    indent = draw.name_rows(ax, [step.name for step in steps], [step.text for step in steps])
    draw.scale(ax, [step.end for step in steps])
    _waterfall(ax, steps)
    if baseline is not None and baseline.by_stage is None:
        ax.axvline(baseline.cost, color=draw.EDGE, linewidth=0.8, linestyle="--")
    title, note = _compared(frame, actual, baseline) or _most(stages, actual, unpriced), provenance(frame)
    notes = [_how(actual, baseline, unpriced), note]
    draw.header(ax, title, notes, legend=_step_legend(steps, baseline, rows_of), unpriced=unpriced, indent=indent)
    rows = listing(f"{step.name} {step.text}" for step in steps)
    return draw.finish(ax, "Cost by stage in USD", title, f"From top to bottom: {rows}", note)


def _baseline(frame: pd.DataFrame, savings: Savings | None) -> _Baseline | None:
    """Return the baseline; None where its price is unknown in part."""
    bare = savings.baseline.removeprefix("the ") if savings else ""
    costs = numbers(frame, "what_if_cost")
    if costs and len(known(costs)) == len(costs):
        parts = groups(frame, "stage")
        by_stage = {name: sum(numbers(rows, "what_if_cost")) for name, rows in parts}
        return _Baseline(bare or f"same calls at {_others(frame)}'s prices", sum(by_stage.values()), by_stage)
    if savings is None or savings.baseline_cost is None:
        return None
    return _Baseline(f"{bare}{' (estimated)' if savings.estimated else ''}", float(savings.baseline_cost), None)


def _others(frame: pd.DataFrame) -> str:
    """Name the profiles whose prices were taken instead of what was paid."""
    names = words(frame, "what_if")
    others = {name for name, own in zip(names, words(frame, "profile"), strict=True) if name and name != own}
    return " and ".join(sorted(others or set(filter(None, names)))) or "other"


def _stage_colours(stages: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return the colour of each stage: its profile's, where it has one alone."""
    names = {stage: {*words(rows, "profile")} - {""} for stage, rows in stages.items()}
    colours = draw.colours(name for owners in names.values() for name in sorted(owners))
    return {stage: colours[next(iter(owners))] if len(owners) == 1 else GREY for stage, owners in names.items()}


def _owners(stages: Mapping[str, pd.DataFrame]) -> list[Artist]:
    """Return a legend of the profiles that have a stage of their own; of many there is none."""
    names = [{*words(rows, "profile")} - {""} for rows in stages.values()]
    single = dict.fromkeys(next(iter(owners)) for owners in names if len(owners) == 1)
    if len(single) > _MOST_OWNERS:
        return []
    entries: list[Artist] = [draw.swatch(name, colour) for name, colour in draw.colours(single).items()]
    return entries + [draw.swatch("several profiles", GREY)] * any(len(owners) > 1 for owners in names)


_SAVED: Final = draw.pale(GREY)
"""No colour of the palette, which are those of profiles."""


def _steps(stages: Mapping[str, Money], baseline: _Baseline | None, colours: Mapping[str, str]) -> list[_Step]:
    """Take what each stage saved off the baseline, where that is known by stage; else add up what each stage cost."""
    steps: list[_Step] = []
    if baseline is not None:
        steps.append(_Step(baseline.words, 0.0, baseline.cost, in_usd(baseline.cost), "none"))
    down = baseline.by_stage if baseline else None
    level = baseline.cost if baseline and down else 0.0
    for name, (cost, missing) in stages.items():
        if down is None:
            length = 0.0 if math.isnan(cost) else cost
            steps.append(_Step(name, level, length, in_usd(cost, missing), colours[name], missing))
            level += length
            continue
        saved = down[name] - cost
        sign, colour = (MINUS, _SAVED) if saved >= 0 else ("+", draw.VERMILION)
        text = f"{in_usd(cost)} ({sign if saved else ''}{amount(abs(saved))})"
        steps.append(_Step(name, level - max(saved, 0.0), abs(saved), text, colour))
        level -= saved
    return steps


def _waterfall(ax: Axes, steps: Sequence[_Step]) -> None:
    """Draw the steps, and join the end of each to the beginning of the next."""
    for row, step in enumerate(steps):
        look: dict[str, Any] = {"linestyle": "--", "linewidth": 1} if step.colour == "none" else {}
        draw.bar(ax, row, step.left, step.length, step.colour, label=step.name, **look)
        if step.unpriced:
            draw.unknown(ax, row, step.end)
    for row, (one, other) in enumerate(pairwise(steps)):
        end = one.left if one.colour == _SAVED else one.end
        if other.left <= end <= other.end * (1 + 1e-9) and not other.unpriced:
            draw.line(ax, [end, end], [row, row + 1], draw.EDGE, linewidth=0.6, linestyle=":")


def _compared(frame: pd.DataFrame, actual: float, baseline: _Baseline | None) -> str:
    """Say how the cost compares with the baseline; nothing where there is none."""
    if baseline is None:
        return ""
    if baseline.cost <= 0:
        how = "more than" if actual > 0 else "as much as"
    else:
        share = percent(actual / baseline.cost - 1)
        how = "as much as" if share == "0 %" else f"{share} {'less' if actual < baseline.cost else 'more'} than"
    names = {*words(frame, "strategy")} - {""}
    who = short(names.pop()) if len(names) == 1 else "these calls"
    return f"{who[0].upper()}{who[1:]} cost {how} {baseline.name}"


def _most(stages: Mapping[str, Money], actual: float, unpriced: int) -> str:
    """Name the stage that most of the money went to, where that is known."""
    name, most = max(stages.items(), key=lambda item: 0.0 if math.isnan(item[1].known) else item[1].known)
    if unpriced or len(stages) == 1:
        return f"Cost by stage: {total(actual, unpriced)}"
    return f"{short(name)} took {percent(most.known / actual)} of {total(actual, 0)}"


def _how(actual: float, baseline: _Baseline | None, unpriced: int) -> str:
    if baseline is None:
        return "Not compared with a baseline: prices are missing." if unpriced else ""
    costs = f"{in_usd(actual)}, not {in_usd(baseline.cost)}."
    if baseline.by_stage is None:
        return f"{costs} What each stage cost, up to the actual sum; the dashed line is {baseline.name}."
    return f"{costs} On the right: what each stage cost, and in brackets how much less or more that is."


def _step_legend(
    steps: Sequence[_Step], baseline: _Baseline | None, stages: Mapping[str, pd.DataFrame]
) -> list[Artist]:
    dashed: dict[str, Any] = {"linestyle": "--", "linewidth": 1}
    entries: list[Artist] = [draw.swatch("baseline", "none", **dashed)] if baseline else []
    if baseline and baseline.by_stage:
        changes = ("saved", _SAVED), ("more than the baseline", draw.VERMILION)
        used = {step.colour for step in steps}
        entries += [draw.swatch(text, colour) for text, colour in changes if colour in used]
    else:
        entries += _owners(stages)
    return [*entries, draw.swatch("actual", draw.EDGE)]


# --- funnel ---


@draw.chart("stages")
def funnel(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show how a run narrows: on the left the items of each stage and what it kept of them, on the right its USD.

    Args:
        frame: One row for each stage, in order (`run.stages_frame()`): `stage`, `items` (what it came to),
            `kept_items` (what went on), `cost` (USD), and `unpriced`, `mode` where there are such.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "funnel", ("stage", "items", "kept_items", "cost"), source="a strategy run, or run.stages_frame()")
    stages = dict(groups(frame, "stage"))
    items = [(added(rows, "items"), added(rows, "kept_items")) for rows in stages.values()]
    if not items:
        return draw.nothing(ax, f"Items and money by stage: {NOTHING}")
    amounts = [money(rows) for rows in stages.values()]
    ax, colours = draw.paper(ax, rows=len(stages)), _stage_colours(stages)
    counts = [_narrowing(came, kept) for came, kept in items]
    left, right, indent = draw.panels(ax, list(stages), counts, draw.amounts_of(list(stages), amounts))
    _narrow(left, items, list(colours.values()))
    draw.costs(right, list(stages), amounts, colours)
    right.axvline(0.0, color=draw.EDGE, linewidth=0.8)
    unpriced, note = sum(part.unpriced for part in amounts), provenance(frame)
    spent = total(sum(known(part.known for part in amounts)), unpriced)
    ended = [name for name, (came, _) in zip(stages, items, strict=True) if came] or [*stages]  # the others: cut off
    kept = items[list(stages).index(ended[-1])][1]
    title = f"From {items[0][0]:,.0f} items to {kept:,.0f} for {spent}"
    if ended[-1] != (last := [*stages][-1]):
        title += f"; nothing came of {last}"
    draw.header(ax, title, [note], legend=_owners(stages), unpriced=unpriced, indent=indent)
    rows = (
        f"{name} {came:,.0f} to {kept:,.0f}, {in_usd(*cost)}"
        for name, (came, kept), cost in zip(stages, items, amounts, strict=True)
    )
    return draw.finish(ax, "Funnel by stage: items that came and went on, and USD", title, listing(rows), note)


def _narrowing(came: float, kept: float) -> str:
    """Say how many items a stage came to and, where it dropped any, how many it kept."""
    if not came:
        return "none"
    return f"{came:,.0f}" if kept == came else f"{came:,.0f} → {kept:,.0f}"


def _narrow(ax: Axes, items: Sequence[tuple[float, float]], colours: Sequence[str]) -> None:
    """Draw items and what was kept of them as centred bars, joined as a funnel is."""
    for row, ((came, kept), colour) in enumerate(zip(items, colours, strict=True)):
        draw.bar(ax, row, -came / 2, came, draw.pale(colour), label="items")
        draw.bar(ax, row, -kept / 2, kept, colour, label="kept", height=0.3)
    for row, ((_, kept), (came, _)) in enumerate(pairwise(items)):
        sides = [kept / 2, min(kept, came) / 2]
        ax.fill_betweenx(
            [row + 0.31, row + 0.69], [-side for side in sides], sides, color=GREY, alpha=0.35, linewidth=0
        )
    widest = max((came for came, _ in items), default=0) or 1
    ax.set_xlim(-widest / 2 * 1.05, widest / 2 * 1.05)
    draw.no_scale(ax.xaxis)  # a centred bar has no place on one: its numbers are beside it
    draw.name_axis(ax.xaxis, "items (pale) → kept (dark)")


# --- gantt ---

_MOST_ROWS: Final = 30
"""Rows that can be named; of a longer run they are thinner, and the page is not longer."""
_MOST_CALLS: Final = 300
_WELL: Final = frozenset({"", "ok", "running"})
_WAITING: Final[Mapping[str, Any]] = {"hatch": "....", "edgecolor": GREY, "linewidth": 0.6}


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


@draw.chart("calls", "ledger")
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
    if not spans:
        return draw.nothing(ax, f"Calls over time: {NOTHING}")
    calls = list(dict.fromkeys(span.call for span in spans))
    part = f"Drawn are the first {_MOST_CALLS:,} calls." if len(calls) > _MOST_CALLS else ""
    rows = {call: row for row, call in enumerate(calls[:_MOST_CALLS])}
    drawn = [span for span in spans if span.call in rows]
    names = _row_names(drawn, len(rows))
    ax = draw.paper(ax, rows=min(len(rows), _MOST_ROWS))
    indent = draw.name_rows(ax, names) + (0 if any(names) else 14.0)
    draw.scale(ax, [span.end for span in drawn], "seconds")
    draw.name_axis(ax.yaxis, "" if any(names) else "calls")
    colours = _colours(drawn)
    for span in drawn:
        _draw_span(ax, rows[span.call], span, colours[span.profile])
    if any(names) and len(rows) <= _MOST_ROWS:
        draw.row_values(ax, [seconds(sum(span.latency for span in drawn if span.call == call)) for call in rows])
    title, note = _title(spans), provenance(frame, "not a provider's timings")
    draw.header(ax, title, [which, part, note], legend=_span_legend(drawn, colours), indent=indent)
    times = listing(f"{span.name} from {span.start:.2f} to {span.end:.2f} s" for span in drawn)
    return draw.finish(ax, title, times, part, note)


def _latest(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Keep the rows of the run that was started last, where there are several."""
    runs = words(frame, "run_id")
    if len(set(runs)) <= 1:
        return frame, ""
    latest = next(run for run in reversed(runs) if run)
    return frame[[run == latest for run in runs]], f"The latest of {len(set(runs) - {''}):,} runs."


def _spans(frame: pd.DataFrame, clock: str) -> list[_Span]:
    queues = [0.0 if math.isnan(queue) else queue for queue in numbers(frame, "queue")]
    starts = numbers(frame, "start") if clock == "start" else _offsets(frame, queues)
    stages, profiles = words(frame, "stage"), words(frame, "profile", missing="(no profile)")
    names = [f"{stage} · {profile}" if stage else profile for stage, profile in zip(stages, profiles, strict=True)]
    calls = [call or f"row {row}" for row, call in enumerate(words(frame, "call_id"))]
    cells = zip(calls, names, profiles, words(frame, "status"), starts, queues, numbers(frame, "latency"), strict=True)
    spans = [_Span(*each) for each in cells]
    return sorted((span for span in spans if not math.isnan(span.end)), key=lambda span: (span.start, span.end))


def _offsets(frame: pd.DataFrame, queues: Sequence[float]) -> list[float]:
    """Return when each attempt was sent, in seconds from when the first was asked for."""
    import pandas as pd

    moments = [moment.timestamp() for moment in pd.to_datetime(frame["ts"], utc=True)]
    began = min((moment - queue for moment, queue in zip(moments, queues, strict=True)), default=0.0)
    return [round(moment - began, 6) for moment in moments]  # to the microseconds that the ledger has


def _row_names(spans: Sequence[_Span], rows: int) -> list[str]:
    """Name every row; of many, the first of each kind, or none where these stand too close."""
    first: dict[str, str] = {}
    for span in spans:
        first.setdefault(span.call, span.name)
    names = list(first.values())
    if rows <= _MOST_ROWS:
        return names
    changes = ["" if row and names[row - 1] == name else name for row, name in enumerate(names)]
    named = [row for row, name in enumerate(changes) if name]
    crowded = any(later - earlier < rows / _MOST_ROWS for earlier, later in pairwise(named))
    return [""] * rows if crowded else changes


def _draw_span(ax: Axes, row: int, span: _Span, colour: str) -> None:
    if span.queue > 0:
        draw.bar(ax, row, span.start - span.queue, span.queue, "none", label="queue", **_WAITING)
    draw.bar(ax, row, span.start, span.latency, colour, label=span.profile)
    if span.status not in _WELL:
        draw.points(ax, [span.end], [row], draw.VERMILION, "X", label=span.status)


def _colours(spans: Sequence[_Span]) -> dict[str, str]:
    """Return a colour for each profile; where two have the same, one for all."""
    colours = draw.colours(dict.fromkeys(span.profile for span in spans))
    return colours if len({*colours.values()}) == len(colours) else dict.fromkeys(colours, draw.BLUE)


def _title(spans: Sequence[_Span]) -> str:
    wall = max(span.end for span in spans) - min(span.start - span.queue for span in spans)
    calls = len({span.call for span in spans})
    if calls == 1:
        return f"1 call in {seconds(wall)}"
    serial = sum(span.latency for span in spans)
    return f"{calls:,} calls in {seconds(wall)}; one after the other they take {seconds(serial)}"


def _span_legend(spans: Sequence[_Span], colours: Mapping[str, str]) -> list[Artist]:
    distinct = len(set(colours.values())) == len(colours)
    entries: list[Artist] = [draw.swatch(profile, colour) for profile, colour in colours.items() if distinct]
    entries = entries or [draw.swatch("answering", draw.BLUE)]
    if any(span.queue > 0 for span in spans):
        entries.append(draw.swatch("waiting for a place", "none", **_WAITING))
    if any(span.status not in _WELL for span in spans):
        entries.append(draw.symbol("failed or stopped", draw.VERMILION, "X", markeredgecolor=draw.EDGE))
    return entries
