"""Frames to chart, tame and wild, and ways to look at what was drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from matplotlib.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import Bbox

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def long(number: int) -> str:
    return f"openai-compatible-gateway-eu-west-model-{number}"


def stages(mode: str = "simulate") -> pd.DataFrame:
    """The funnel of the seed, with what each stage would have cost at claude-sonnet-4-5's prices."""
    return pd.DataFrame(
        {
            "stage": ["explore", "select", "implement", "review"],
            "items": [10, 10, 3, 1],
            "kept_items": [10, 3, 1, 1],
            "cost": [0.0, 0.000855, 0.01725, 0.0135],
            "profile": ["local", "fast", "code", "sonnet"],
            "what_if": ["sonnet"] * 4,
            "what_if_cost": [0.066, 0.018, 0.0252, 0.0135],
            "mode": [mode] * 4,
        }
    )


def comparison() -> pd.DataFrame:
    """Three strategies on two tasks, one of them never cheaper nor better than another."""
    costs = {"Funnel": (0.03, 0.05), "Tiered": (0.01, 0.01), "Specialized": (0.04, 0.04)}
    scores = {"Funnel": (0.8, 1.0), "Tiered": (0.6, 0.7), "Specialized": (0.6, 0.85)}
    return pd.DataFrame(
        [
            {
                "strategy": name,
                "task": f"task {task}",
                "cost": costs[name][task],
                "same_calls": 0.12,
                "one_call": 0.02,
                "baseline": "premium",
                "estimated": True,
                "score": scores[name][task],
                "mode": "live",
            }
            for task in (0, 1)
            for name in costs
        ]
    )


def calls() -> pd.DataFrame:
    """Two calls at once, of which one waited; then one that was tried twice."""
    rows: list[dict[str, Any]] = [
        {"call_id": "a", "stage": "explore", "profile": "fast", "start": 0.0, "queue": 0.0, "latency": 1.0},
        {"call_id": "b", "stage": "explore", "profile": "fast", "start": 0.5, "queue": 0.5, "latency": 1.0},
        {"call_id": "c", "stage": "review", "profile": "premium", "start": 1.5, "latency": 0.5, "status": "error"},
        {"call_id": "c", "stage": "review", "profile": "premium", "start": 2.5, "latency": 1.5},
    ]
    return pd.DataFrame([{"status": "ok", **row} for row in rows])


def ledger() -> pd.DataFrame:
    """Four attempts, one of them of unknown price."""
    return pd.DataFrame(
        {
            "ts": [NOON + timedelta(hours=hour) for hour in range(4)],
            "call_id": list("abcd"),
            "profile": ["fast", "premium", "fast", "gateway"],
            "latency": [1.0, 2.0, 1.0, 3.0],
            "input_tokens": [100, 300, 100, 50],
            "output_tokens": [20, 60, 20, 10],
            "cost": [0.25, 2.0, 0.25, None],
            "billed": [0.25, 2.0, 0.25, None],
            "mode": ["live"] * 4,
            "status": ["ok"] * 4,
            "attempt": [1] * 4,
            "model": ["small", "large", "small", "unlisted"],
        }
    )


def answers() -> pd.DataFrame:
    """A fan-out in which one profile failed, one failed once, and one has no price."""
    ok: dict[str, Any] = {"status": "ok", "mode": "live", "error": None}
    failed = {"status": "error", "mode": "live", "latency": None, "ttft": None, "cost": None}
    return pd.DataFrame(
        [
            {**ok, "profile": "fast", "latency": 1.0, "ttft": 0.25, "cost": 0.001},
            {**ok, "profile": "fast", "latency": 2.0, "ttft": 0.75, "cost": 0.003},
            {**failed, "profile": "fast", "error": "OverloadedError: no room"},
            {**ok, "profile": "gateway", "latency": 0.5, "ttft": None, "cost": None},
            {**failed, "profile": "google", "error": "RateLimitError: slow down"},
        ]
    )


FRAMES = {
    "break_even": comparison,
    "cost_by_stage": stages,
    "funnel": stages,
    "gantt": calls,
    "pareto": comparison,
    "replies": answers,
    "spend": ledger,
    "spend_over_time": ledger,
    "strategy_comparison": comparison,
    "tokens_vs_cost": ledger,
}
"""A tame frame for each kind of chart."""


NAMES = ["stage", "profile", "strategy", "call_id"]
MONEY = ["cost", "what_if_cost", "same_calls", "one_call", "billed"]
"""The columns that `wild` fills; a chart that draws others has them added here."""


def wild(kind: str) -> pd.DataFrame:
    """Return a frame of a dozen rows with long names, tiny amounts, and money that nobody knows."""
    frame = pd.concat([FRAMES[kind]()] * 12, ignore_index=True).head(12)
    for column in frame.columns.intersection(NAMES):
        frame[column] = [long(number) for number in range(12)]
    for column in frame.columns.intersection(MONEY):
        frame[column] = [number * 1.7e-7 if number % 5 else None for number in range(12)]
    if "score" in frame:
        frame["score"] = [0.9 + number % 4 / 100 for number in range(12)]
        frame["score_se"] = 0.01
    return frame


# --- what was drawn ---


def axes(figure: Figure) -> list[Axes]:
    """Return all axes with data, panels inside others too."""
    return [ax for ax in _all(figure) if not ax.child_axes]


def bars(ax: Axes, label: str | None = None) -> list[Rectangle]:
    """Return the bars of that label, or all that stand for something known."""
    return [
        bar
        for container in ax.containers
        for bar in getattr(container, "patches", [])
        if (container.get_label() == label if label else container.get_label() != "unpriced")
    ]


def spans(ax: Axes, label: str | None = None) -> list[tuple[float, float]]:
    """Return where bars begin and how long they are."""
    return [(round(bar.get_x(), 9), round(bar.get_width(), 9)) for bar in bars(ax, label)]


def texts(figure: Figure) -> list[str]:
    """Return all that is written, ticks aside."""
    return [text.get_text() for ax in _all(figure) for text in _said(ax)]


def row_names(ax: Axes) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]


def legend(figure: Figure) -> list[str]:
    found = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    return [text.get_text() for each in found if each for text in each.get_texts()]


def _all(figure: Figure) -> list[Axes]:
    return cast("list[Axes]", [each for ax in figure.axes for each in (ax, *ax.child_axes)])


def _said(ax: Axes) -> list[Text]:
    key = ax.get_legend()
    found = [*ax.texts, ax.xaxis.label, ax.yaxis.label, *(key.get_texts() if key else [])]
    return [text for text in found if text.get_text()]


def _ticks(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    found = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
    shown = [label for place, label in found if low <= place <= high and label.get_text()]
    return [*shown, *([axis.get_offset_text()] if axis.get_offset_text().get_text() else [])]


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return each text that is written, ticks too, and the pixels that it takes."""
    figure.draw_without_rendering()
    found = [
        text
        for ax in _all(figure)
        for text in (*_said(ax), *(tick for axis in (ax.xaxis, ax.yaxis) if ax.axison for tick in _ticks(axis)))
    ]
    return [(text.get_text(), Text.get_window_extent(text)) for text in found]  # of an annotation without its line


def clipped(figure: Figure) -> list[str]:
    """Return the texts that reach beyond the figure."""
    edge = figure.bbox.padded(1)
    return [
        text for text, box in boxes(figure) if not (edge.contains(box.x0, box.y0) and edge.contains(box.x1, box.y1))
    ]


def overlapping(found: Sequence[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """Return the pairs of texts of which one hides the other."""
    return [
        (one, other)
        for at, (one, box) in enumerate(found)
        for other, more in found[at + 1 :]
        if box.padded(-1.5).overlaps(more.padded(-1.5))
    ]
