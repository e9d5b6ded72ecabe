"""The test of the function that 05 asks for, its chart, and what is right of the capitals that were measured."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from answer_code import DOCSTRING, code_in, passes, value_of
from IPython.display import Markdown

from victor_nb.reports.charts import drawing as draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

DAYS: Final = [date(2026, 6, 1) + timedelta(days=n) for n in range(28)]
PAIRS: Final = list(combinations_with_replacement(DAYS, 2))
HOLIDAYS: Final = {date(2026, 6, 10), date(2026, 6, 20)}
WEEK: Final = {"monday": date(2026, 6, 1), "friday": date(2026, 6, 5)}


def passed(answer: object) -> float:
    """Return the share of the 406 pairs of dates in four weeks for which the function counts what numpy counts."""
    days = timedelta(days=1)
    expected = [np.busday_count(start, end + days, holidays=[*HOLIDAYS]) for start, end in PAIRS]
    counted = value_of(answer, "[workdays(*pair, holidays) for pair in pairs]", pairs=PAIRS, holidays=HOLIDAYS)
    return float(np.mean(np.equal(counted, expected)))


def one_week(answer: object) -> int:
    """Return how many workdays the function counts from a Monday to the Friday after it, without holidays."""
    return value_of(answer, "workdays(monday, friday, set())", **WEEK)


def tests_passed(answer: object, tests: object) -> str:
    """Return how many tests of another answer the code of an answer passes, as `2 of 4`: a test is a line of assert."""
    lines = code_in(tests).splitlines()
    setting = "\n".join(line for line in lines if not line.startswith("assert "))
    conditions = [line.removeprefix("assert ") for line in lines if line.startswith("assert ")]
    passing = sum(passes(answer, f"[exec({setting!r}, globals()), {each}]", [None, True]) for each in conditions)
    return f"{passing} of {len(conditions)}"


def function_in(answer: object) -> str:
    """Return the function of an answer, without imports and docstring."""
    code = DOCSTRING.sub("", code_in(answer))
    return code[code.index("def ") :]


def draw_versions(scores: Mapping[str, Sequence[float]], alone: float, title: str) -> Figure:
    """Draw how much of the test each version of each run passes.

    Args:
        scores: For each name of a run, the shares of its three versions.
        alone: The share that the last model passes by itself.
        title: What is to be seen.
    """
    ax = draw.paper(None, body=2.3)
    draw.plain(ax)
    ax.grid(visible=False)
    for height in (0, 0.5, 1):  # no further than the points, so that the names stand free
        draw.line(ax, [-0.2, 2], [height, height], draw.GREY, alpha=0.3, linewidth=0.6, zorder=0)
    draw.line(ax, [-0.15, 2], [alone, alone], draw.EDGE, linestyle="--")
    ax.text(-0.15, alone + 0.03, f"premium alone: {alone:.0%}", color=draw.EDGE)
    for (name, shares), colour, rise in zip(scores.items(), (draw.VERMILION, draw.BLUE), (-16, 8), strict=True):
        draw.line(ax, range(3), shares, colour, linewidth=2.2)
        draw.points(ax, range(3), shares, colour, "o", markersize=8)
        for at, share in enumerate(shares):
            place: dict[str, Any] = {"xytext": (0, rise), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{share:.0%}", (at, share), color=colour, fontweight="bold", **place)
        ax.text(2.1, shares[-1], name, color=colour, va="center", fontweight="bold")
    ax.set_xlim(-0.2, 2.9)
    ax.set_ylim(-0.14, 1.17)
    ax.set_xticks(range(3), ["draft", "improved by default", "polished by premium"])
    ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    draw.header(ax, title, ["Share of the test that each version passes. The answers are simulated; their code runs."])
    told = [f"{name}: {', '.join(f'{share:.0%}' for share in shares)}" for name, shares in scores.items()]
    return draw.finish(ax, title, "; ".join([*told, f"premium alone: {alone:.0%}"]))


def right_capitals(measured: pd.DataFrame) -> pd.DataFrame:
    """Return whether each answer names the capital of its row, by any of its names."""
    names = [capital.split(" / ") for capital in measured["capital"]]
    return measured[["alone", "draft", "final"]].apply(
        lambda answers: [any(map(answer.__contains__, each)) for answer, each in zip(answers, names, strict=True)]
    )


def mark_answers(measured: pd.DataFrame) -> Markdown:
    """Return the answers as a table, each with a mark: whether it names the capital."""
    marks = right_capitals(measured).replace({True: "✓ ", False: "✗ "})
    table = marks + measured[marks.columns]
    rows = [table.columns, [":--"] * len(table.columns), *table.to_numpy().tolist()]
    return Markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))


def by_draft(measured: pd.DataFrame) -> pd.DataFrame:
    """Return how many answers are right, and how many final ones repeat the draft, by whether the draft is right."""
    right = right_capitals(measured)
    counted = pd.DataFrame(
        {
            "countries": 1,
            "right alone": right["alone"],
            "right from the draft": right["final"],
            "draft repeated": measured["final"] == measured["draft"],
        }
    )
    groups = right["draft"].map({True: "draft right", False: "draft wrong"})
    sums = counted.groupby(groups).sum().rename_axis(None)
    sums.loc["all"] = sums.sum()
    return sums
