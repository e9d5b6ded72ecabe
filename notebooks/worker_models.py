"""Two workers on this machine: for 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_nb import session

if TYPE_CHECKING:
    from dask.distributed import Client


def two_workers() -> Client | None:
    """Start a cluster of two processes with Dask, and return its client.

    None where answers come from a tape, or go to one: there the kernel asks, and no worker is needed.
    """
    if session().mode in {"record", "replay"}:
        return None
    print("Starting two workers takes about 3 seconds.")
    from dask.distributed import Client, LocalCluster  # noqa: PLC0415 - a second, where it is needed

    return Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50))
