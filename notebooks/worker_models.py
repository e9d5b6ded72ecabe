"""Two workers on this machine, and a model that kills one of them: for 10."""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pandas as pd

from victor_nb import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask.distributed import Client

    from victor_nb.values import SimulatedQuestion


def two_workers() -> Client | None:
    """Start a cluster of two processes with Dask, and return its client.

    None where answers come from a tape, or go to one: there the kernel asks, and no worker is needed.
    """
    if session().mode in {"record", "replay"}:
        return None
    from dask.distributed import Client, LocalCluster  # noqa: PLC0415 - a second, where it is needed

    return Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50))


class Killing:
    """A simulated model that notes each question, and once kills the worker that asks it about a message.

    Attributes:
        answer: The model, for `session().simulate_with`.
        killed: A file that is there once a worker was killed.
    """

    def __init__(self, model: Callable[[SimulatedQuestion], str], last: str) -> None:
        folder = Path(mkdtemp())
        log, killed = folder / "log", folder / "killed"  # files, as they outlive a worker
        log.touch()

        def answer(question: SimulatedQuestion) -> str:
            message = question.prompt.rpartition("\n")[2]
            with log.open("a") as file:
                file.write(f"{message}\n")
            if message == last and parent_process() and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)  # as a system does that has no memory left
            return model(question)

        self.answer, self.killed, self._log = answer, killed, log

    def counts(self) -> pd.Series:
        """Return how often the model was asked about each message, by all workers."""
        return pd.Series(self._log.read_text().splitlines(), dtype=object).value_counts()
