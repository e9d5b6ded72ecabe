"""Two workers on this machine, seconds as a chart, small tables, and a model that kills a worker: for 10."""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from pathlib import Path
from tempfile import mkdtemp
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, cast

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


def draw_seconds(took: dict[str, float], title: str) -> Figure:
    """Draw a bar for each name: the seconds that it took, the fewest in colour.

    Args:
        took: Seconds, by name.
        title: What the bars show.
    """
    ax = draw.paper(None, rows=len(took))
    indent = draw.name_rows(ax, list(took), most=40)
    ax.set_xlim(0, max(took.values()) * 1.12)
    draw.no_scale(ax.xaxis)
    ax.spines["bottom"].set_visible(False)
    for row, seconds in enumerate(took.values()):
        draw.bar(ax, row, 0, seconds, draw.BLUE if seconds == min(took.values()) else draw.GREY, linewidth=0)
        place = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(f"{seconds:.1f} s", (seconds, row), fontsize=draw.SMALL, color=draw.EDGE, **place)
    draw.header(ax, title, ["Real seconds, of the machine that ran this page."], indent=indent)
    return draw.finish(ax, title, ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()))


def shown(frame: pd.DataFrame, form: dict[str, str] | None = None) -> Styler:
    """Return a frame as a table with labels on the left; a row `all` is bold.

    Args:
        frame: What to show.
        form: How the numbers of a column are written, by its name.
    """
    heads: list[CSSDict] = [
        {"selector": "th.row_heading, th.index_name, th.blank", "props": "text-align: left; font-weight: normal"}
    ]
    named = frame.rename_axis(columns=str(frame.index.name or ""), index=None)
    style = named.style.format(cast("Any", form)).set_uuid("shown")
    if "all" in frame.index:
        heads.append({"selector": f"tbody th.row{len(frame) - 1}", "props": "font-weight: bold"})
        style = style.set_properties(pd.IndexSlice[["all"], :], **{"font-weight": "bold"})
    return style.set_table_styles(heads)


class Killing:
    """A simulated model that notes each question, and once kills the worker that waits for its answer to a message.

    Attributes:
        answer: The model, for `session().simulate_with`.
        killed: A file that is there once a worker was killed.
    """

    def __init__(self, model: Callable[[SimulatedQuestion], str], last: str) -> None:
        folder = Path(mkdtemp())
        log, killed = folder / "log", folder / "killed"  # files, as they outlive a worker
        log.touch()

        def answer(question: SimulatedQuestion) -> str | SimulatedAnswer:
            message = question.prompt.rpartition("\n")[2]
            with log.open("a") as file:
                file.write(f"{os.getpid()}\t{message}\n")
            if message == last and parent_process() and not killed.exists():
                killed.touch()
                Timer(DEATH, os.kill, (os.getpid(), signal.SIGKILL)).start()  # as a system does that has no memory left
                return SimulatedAnswer("It is never heard.", delay=60)
            return model(question)

        self.answer, self.killed, self._log = answer, killed, log

    def asked(self) -> pd.DataFrame:
        """Return each question in its order: the number of the process that was asked, and the message."""
        lines = [line.split("\t", 1) for line in self._log.read_text().splitlines()]
        return pd.DataFrame(lines, columns=["process", "message"])

    def by_worker(self, client: Client | None) -> pd.DataFrame:
        """Return for each worker how many rows it was asked first, how many after the other one, and what became of it.

        Args:
            client: That of the cluster, which knows who is left; None: there is no worker.
        """
        asked = self.asked()
        asked["again"] = asked["message"].duplicated()
        rows = pd.crosstab(asked["process"], asked["again"]).reindex(columns=[False, True], fill_value=0)
        rows.columns = pd.Index(["own rows", "rows of the other"])
        processes: dict[str, int] = cast("Any", client).run(os.getpid) if client is not None else {}
        left = {str(process) for process in processes.values()}
        rows["at the end"] = ["alive" if process in left else "dead" for process in rows.index]
        rows = rows.sort_values("at the end", ascending=False)
        rows.index = pd.Index([f"worker {number}" for number in range(1, len(rows) + 1)])
        return rows
