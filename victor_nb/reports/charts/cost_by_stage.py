"""Where the money of a run went, and what it would have cost otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from victor_nb.reports.charts.axes import height, money_scale, name_rows
from victor_nb.reports.charts.canvas import finish, paper
from victor_nb.reports.charts.columns import groups, money, need, numbers, provenance, words
from victor_nb.reports.charts.header import header, swatch, unpriced_swatch
from victor_nb.reports.charts.marks import (
    BLUE,
    EDGE,
    GREEN,
    GREY,
    SKY,
    VERMILION,
    bar,
    figures,
    line,
    rule,
    unknown,
)
from victor_nb.reports.charts.wording import MINUS, amount, bounded, difference, listing, sentences, total

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
