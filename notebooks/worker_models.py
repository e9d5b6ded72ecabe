"""Two workers on this machine, small tables, and a model that kills a worker and draws its calls: for 10."""

from __future__ import annotations

import os
import signal
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from tempfile import mkdtemp
from threading import Timer
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from victor_nb import session
from victor_nb.reports.charts import drawing as draw
from victor_nb.values import SimulatedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask.distributed import Client
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler
    from pandas.io.formats.style_render import CSSDict

    from victor_nb.values import SimulatedQuestion

DEATH: Final = 3.0  # seconds after the last question: what was asked before it has ended, and the ledger has heard
AT_ONCE: Final = 10  # calls of a worker, a column of the chart
FATES: Final = {
    "in the table": ("in the table", draw.BLUE, "o"),
    "lost": ("answered and paid, but lost", draw.ORANGE, "s"),
    "under way": ("under way at the death", draw.VERMILION, "D"),
}
"""What became of a call: how the legend names it, its colour and its marker."""


def two_workers() -> Client | None:
    """Start a cluster of two processes with Dask, and return its client.

    A worker that dies is not started again: it stands for a machine. None where answers come from a tape, or go to one:
    there the kernel asks, and no worker is needed.
    """
    if session().mode in {"record", "replay"}:
        return None
    from dask.distributed import Client, LocalCluster  # noqa: PLC0415 - a second, where it is needed

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50)
    for nanny in cluster.workers.values():
        nanny.close_gracefully()  # which only says that it is to start no other worker
    return Client(cluster)


def stop(client: Client | None) -> None:
    """End a cluster with its workers; None: there is none."""
    if client is not None:
        client.shutdown()


def timed(
    ask: Callable[..., object],
    ways: dict[str, dict[str, Any]],
    models: dict[float, Callable[[SimulatedQuestion], SimulatedAnswer]],
) -> pd.DataFrame:
    """Return how many seconds something takes with each model (the rows) in each way (the columns).

    Args:
        ask: What to time.
        ways: The options that it is called with, by the name of the way.
        models: The simulated models, by the seconds that a call takes.
    """
    took = pd.DataFrame(0.0, pd.Index(list(models), name="a call takes"), list(ways))
    for call, model in models.items():
        session().simulate_with(model)
        for way, options in ways.items():
            began = perf_counter()
            ask(**options)
            took.loc[call, way] = round(perf_counter() - began, 2)
    return took


def bill(answers: pd.DataFrame) -> pd.DataFrame:
    """Return what became of the calls of profile `fast`: how many, their USD, and what they may cost more, at most.

    Args:
        answers: The table of the map that asked them, with out="desk".
    """
    columns = {"calls": ("status", "size"), "USD": ("cost", "sum"), "USD more, at most": ("held", "sum")}
    calls = session().ledger.to_frame().query("profile == 'fast'")
    found = calls.groupby("status").agg(**columns).reindex(["ok", "interrupted"], fill_value=0)
    costs = pd.DataFrame(columns=found.columns, index=pd.Index([], name="what became of the calls"))
    costs.loc["answered, in the table"] = [len(answers), answers["desk_price"].sum(), 0]
    costs.loc["answered, but lost with the worker"] = found.loc["ok"] - costs.loc["answered, in the table"]
    costs.loc["under way at the death"] = found.loc["interrupted"]
    costs.loc["all"] = found.sum()
    return costs


def shown(frame: pd.DataFrame, usual: str = "{}", **forms: str) -> Styler:
    """Return a frame as a table with labels on the left; a row `all` is bold, and a zero is a dash.

    Args:
        frame: What to show.
        usual: How numbers are written, those on the left too.
        forms: How those of a column are, by its name.
    """
    heads: list[CSSDict] = [
        {"selector": "th.row_heading, th.index_name, th.blank", "props": "text-align: left; font-weight: normal"}
    ]
    named = frame.rename_axis(columns=str(frame.index.name or ""), index=None)
    if pd.api.types.is_numeric_dtype(named.index):
        named.index = named.index.map(usual.format)
    style = named.style.format({column: partial(_written, forms.get(str(column), usual)) for column in frame})
    style = style.set_uuid("shown")
    if "all" in frame.index:
        heads.append({"selector": f"tbody th.row{len(frame) - 1}", "props": "font-weight: bold"})
        style = style.set_properties(pd.IndexSlice[["all"], :], **{"font-weight": "bold"})
    return style.set_table_styles(heads)


def _written(form: str, value: object) -> str:
    """Return a value as a cell of a table."""
    return "–" if value == 0 else form.format(value)


class Killing:
    """A simulated model that notes each question, and once kills the worker that is asked a message.

    Attributes:
        answer: The model, for `session().simulate_with`.
        killed: A file that is there once a worker was killed: the number of its process.
    """

    def __init__(self, model: Callable[[SimulatedQuestion], SimulatedAnswer], last: str) -> None:
        folder = Path(mkdtemp())
        log, killed = folder / "log", folder / "killed"  # files, as they outlive a worker
        log.touch()

        def answer(question: SimulatedQuestion) -> SimulatedAnswer:
            message = question.prompt.rpartition("\n")[2]
            with log.open("a") as file:
                file.write(f"{os.getpid()}\t{message}\n")
            if message == last and parent_process() and not killed.exists():
                killed.write_text(f"{os.getpid()}")
                Timer(DEATH, os.kill, (os.getpid(), signal.SIGKILL)).start()
                return SimulatedAnswer("It is never heard.", delay=60)
            return model(question)

        self.answer, self.killed, self._log, self._last = answer, killed, log, last

    def calls(self) -> pd.DataFrame:
        """Return each call in its order: the worker (1 is the killed one), the message, and what became of it."""
        lines = [line.split("\t", 1) for line in self._log.read_text().splitlines()]
        calls = pd.DataFrame(lines, columns=["process", "message"])
        dead = self.killed.read_text() if self.killed.exists() else ""
        numbers = {process: at for at, process in enumerate(sorted({*calls["process"]} - {dead}), 2 if dead else 1)}
        calls["worker"] = calls.pop("process").map({dead: 1, **numbers})
        calls["fate"] = "in the table"
        calls.loc[calls["message"].duplicated(keep="last"), "fate"] = "lost"
        calls.loc[(calls["fate"] == "lost") & (calls["message"] == self._last), "fate"] = "under way"
        return calls

    def draw_calls(self) -> Figure:
        """Draw a lane for each worker: a mark for each of its calls in their order, and a cross where it was killed."""
        calls = self.calls()
        if calls.empty:
            return draw.nothing(None, "No worker was asked: the answers come from a tape.")
        order = calls.groupby("worker").cumcount()
        calls["x"], calls["y"] = order // AT_ONCE + 0.5, calls["worker"] - 1.3 + order % AT_ONCE * 0.075
        calls["again"] = calls["message"].duplicated()
        workers = sorted(calls["worker"].unique())
        ax = draw.paper(None, body=1.1 * len(workers))
        indent = draw.name_rows(ax, [f"worker {worker}" for worker in workers])
        for fate, (_, colour, marker) in FATES.items():
            found = calls[calls["fate"] == fate]
            draw.points(ax, found["x"], found["y"], colour, marker, markersize=4.5, markeredgewidth=0)
        ends = sorted({round(each["x"].max() + 0.5) for _, each in calls.groupby(["worker", "again"])})
        ax.set_xlim(0, ends[-1] + 0.3)
        ax.set_xticks([0, 1, *ends], [f"{AT_ONCE * end}" for end in (0, 1, *ends)])
        draw.name_axis(ax.xaxis, "calls of each worker in their order, ten in a column")
        lost, again = (calls["fate"] == "lost").sum(), calls["again"].sum()
        marks = [(1.2, worker - 1, f"{AT_ONCE * (ends[0] - 1)} rows") for worker in workers]
        if self.killed.exists():
            cross: dict[str, Any] = {"markersize": 13, "markeredgewidth": 3, "markeredgecolor": draw.VERMILION}
            draw.points(ax, [ends[0] + 0.6], [0], draw.VERMILION, "x", **cross)
            marks += [(ends[0] + 1.2, 0, "SIGKILL"), (ends[0] + 0.2, 1, f"the {again} rows of worker 1 again")]
        for x, row, text in marks:
            y, va = (row, "center") if text == "SIGKILL" else (row - 0.36, "bottom")
            ax.annotate(text, (x, y), va=va, fontsize=10, color=draw.EDGE)
        title = f"Worker 1 died, and {lost} answers had to be paid again"
        legend = [draw.symbol(*each) for each in FATES.values()]
        draw.header(ax, title, legend=legend, indent=indent)
        said = "; ".join(f"{count} {FATES[str(fate)][0]}" for fate, count in calls["fate"].value_counts().items())
        return draw.finish(ax, title, f"Calls: {said}; {again} of worker 2 are of rows of worker 1")
