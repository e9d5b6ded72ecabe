"""Two workers on this machine, small tables, and a model that kills a worker: for 10."""

from __future__ import annotations

import os
import signal
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from tempfile import mkdtemp
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, cast

import pandas as pd

from victor_nb import session
from victor_nb.values import SimulatedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask.distributed import Client
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


def shown(frame: pd.DataFrame, form: dict[str, str] | None = None) -> Styler:
    """Return a frame as a table with labels on the left; a row `all` is bold, and a zero is a dash.

    Args:
        frame: What to show.
        form: How the numbers of a column are written, by its name.
    """
    heads: list[CSSDict] = [
        {"selector": "th.row_heading, th.index_name, th.blank", "props": "text-align: left; font-weight: normal"}
    ]
    named = frame.rename_axis(columns=str(frame.index.name or ""), index=None)
    style = named.style.format({column: partial(_written, (form or {}).get(str(column), "{}")) for column in frame})
    style = style.set_uuid("shown")
    if "all" in frame.index:
        heads.append({"selector": f"tbody th.row{len(frame) - 1}", "props": "font-weight: bold"})
        style = style.set_properties(pd.IndexSlice[["all"], :], **{"font-weight": "bold"})
    return style.set_table_styles(heads)


def _written(form: str, value: object) -> str:
    """Return a value as a cell of a table."""
    return "–" if value == 0 else form.format(value)


class Killing:
    """A simulated model that notes each question, and once kills the worker that waits for its answer to a message.

    Attributes:
        answer: The model, for `session().simulate_with`.
        killed: A file that is there once a worker was killed.
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
        rows.columns = pd.Index(["asked: own rows", "asked: rows of the other"])
        processes: dict[str, int] = cast("Any", client).run(os.getpid) if client is not None else {}
        left = {str(process) for process in processes.values()}
        rows["at the end"] = ["alive" if process in left else "dead" for process in rows.index]
        rows = rows.sort_values("at the end", ascending=False)
        rows.index = pd.Index([f"worker {number}" for number in range(1, len(rows) + 1)])
        return rows
