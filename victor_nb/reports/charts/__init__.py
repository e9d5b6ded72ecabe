"""Charts: one function for each question, each of a frame, each a figure that a notebook shows by itself.

| kind | its question | its frame |
|---|---|---|
| `cost_by_stage` | where did the money go, and against which baseline? | `run.to_frame()`, `what_if(...)` |
| `funnel` | how many items went on, and for how much? | `stages_frame(run.stages)` |
| `strategy_comparison` | which strategy is the cheapest, against both baselines? | `compare(...)` |
| `pareto` | which is worth its money? | `compare(..., judge=...)` |
| `gantt` | what ran in parallel, and what waited? | `run.to_frame()`, the ledger's |
| `spend_over_time` | how much by when? | the ledger's |
| `tokens_vs_cost` | who takes the tokens, and who the money? | the ledger's, `run.to_frame()` |
| `replies` | who answers fast, and who cheaply? | `replies.to_frame()` |

All of them take `ax=` and return the figure; `figure.alt` says in words what it shows, and `html_image(figure)` puts
both into a page. Money is in USD. What nobody knows the price of is hatched and called unpriced: never drawn as 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from victor_nb.errors import ConfigError, did_you_mean
from victor_nb.reports.charts.comparisons import pareto, replies, strategy_comparison
from victor_nb.reports.charts.drawing import Chart, html_image, png
from victor_nb.reports.charts.runs import cost_by_stage, funnel, gantt
from victor_nb.reports.charts.spending import spend_over_time, tokens_vs_cost
from victor_nb.reports.frames import run_frame, stages_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "KINDS",
    "Chart",
    "cost_by_stage",
    "funnel",
    "gantt",
    "html_image",
    "pareto",
    "plot",
    "png",
    "replies",
    "spend_over_time",
    "strategy_comparison",
    "tokens_vs_cost",
]

KINDS: Final[Mapping[str, Callable[..., Figure]]] = {
    "cost_by_stage": cost_by_stage,
    "funnel": funnel,
    "gantt": gantt,
    "pareto": pareto,
    "replies": replies,
    "spend_over_time": spend_over_time,
    "strategy_comparison": strategy_comparison,
    "tokens_vs_cost": tokens_vs_cost,
}
"""Every chart by its name."""


def plot(kind: str, source: Any, *, ax: Axes | None = None, **options: Any) -> Figure:  # noqa: ANN401
    """Chart a frame, or a strategy run, by the name of the chart.

    Args:
        kind: One of `KINDS`.
        source: A frame; a strategy run, of which the chart gets the frame that it needs; or whatever has `.to_frame()`.
        ax: Where to draw, if not on a new figure.
        options: What the chart takes beside its frame.

    Raises:
        ConfigError: There is no such chart, or the frame lacks a column.
    """
    if kind not in KINDS:
        close = did_you_mean(kind, KINDS)
        hint = f"Did you mean {close!r}?" if close else f"Use one of: {', '.join(KINDS)}."
        raise ConfigError(f"There is no chart {kind!r}. {hint}")
    return KINDS[kind](_frame(kind, source), ax=ax, **options)


def _frame(kind: str, source: Any) -> Any:  # noqa: ANN401 - a frame, or what one is made from
    if hasattr(source, "stages"):
        return stages_frame(source.stages) if kind == "funnel" else run_frame(source)
    return source.to_frame() if hasattr(source, "to_frame") and not hasattr(source, "columns") else source
