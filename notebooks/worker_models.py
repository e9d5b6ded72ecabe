"""Two workers on this machine, their seconds as a chart, and a model that kills one of them: for 10."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from multiprocessing import parent_process
from pathlib import Path
from tempfile import mkdtemp
from threading import Timer
from typing import TYPE_CHECKING, Final

import pandas as pd

from victor_nb import session
from victor_nb.reports.charts import drawing as draw
from victor_nb.values import SimulatedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask.distributed import Client
    from matplotlib.figure import Figure

    from victor_nb.values import SimulatedQuestion

IMPORTED: Final = ("victor_nb.workflows.partitions", "victor_nb.providers.ollama", "genai_prices", "help_desk")
"""What a worker imports for its first row, which takes seconds: they are part of its start."""

DEATH: Final = 3.0  # seconds after the last question: what was asked before it has ended, and the ledger has heard


def two_workers() -> Client | None:
    """Start a cluster of two processes with Dask, let them import what they need, and return its client.

    None where answers come from a tape, or go to one: there the kernel asks, and no worker is needed.
    """
    if session().mode in {"record", "replay"}:
        return None
    from dask.distributed import Client, LocalCluster  # noqa: PLC0415 - a second, where it is needed

    client = Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50))
    for name in IMPORTED:
        client.run(import_module, name)
    return client


def draw_seconds(took: dict[str, float], title: str) -> Figure:
    """Draw a bar for each name: the seconds that it took.

    Args:
        took: Seconds, by name.
        title: What the bars show.
    """
    ax = draw.paper(None, rows=len(took))
    indent = draw.name_rows(ax, list(took), [f"{seconds:.1f} s" for seconds in took.values()], most=40)
    ax.set_xlim(0, max(took.values()) * 1.02)
    draw.no_scale(ax.xaxis)
    for row, seconds in enumerate(took.values()):
        draw.bar(ax, row, 0, seconds, draw.BLUE)
    draw.header(ax, title, ["Real seconds, of the machine that ran this page."], indent=indent)
    return draw.finish(ax, title, ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()))


def bill(calls: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return what became of the calls of a map of which a worker was lost, and what they cost in USD.

    Args:
        calls: Those of the map, of the ledger's frame.
        table: What it returned, each row with an answer, in the column `desk`.
    """
    ended, open_ended = (calls[calls["status"] == status] for status in ("ok", "interrupted"))
    kept, paid = table["desk_price"].sum(), ended["cost"].sum()
    rows = {
        "answer in the table": (len(table), kept, kept),
        "paid, but its answer died with the worker": (len(ended) - len(table), paid - kept, paid - kept),
        "under way at the death: paid or not": (len(open_ended), 0.0, open_ended["held"].sum()),
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["calls", "USD, for certain", "USD, at most"])
    frame.loc["all"] = frame.sum()
    return frame.astype({"calls": int}).round(5).rename_axis(index="what became of a call")


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
                file.write(f"{message}\n")
            if message == last and parent_process() and not killed.exists():
                killed.touch()
                Timer(DEATH, os.kill, (os.getpid(), signal.SIGKILL)).start()  # as a system does that has no memory left
                return SimulatedAnswer("It is never heard.", delay=60)
            return model(question)

        self.answer, self.killed, self._log = answer, killed, log

    def counts(self) -> pd.Series:
        """Return how often the model was asked about each message, by all workers."""
        return pd.Series(self._log.read_text().splitlines(), dtype=object).value_counts()
