"""Stop, where nobody watches: one line, and the call ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from servers import Server, faults
from victor_nb.errors import VictorInterrupted
from victor_nb.kernel import session
from workbench import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cells import Shell

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


@contextmanager
def stopped_when(condition: Callable[[], object]) -> Iterator[None]:
    """Press Stop once the condition holds."""

    def press() -> None:
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    try:
        yield
    finally:
        presser.join()


@pytest.mark.parametrize("cell", ["%%victor out=never\nHi.", "never = %victor ask -- Hi."])
def test_when_stop_is_pressed_where_nobody_watches_then_it_is_one_line_and_the_call_ends(
    live: Shell, server: Server, cell: str
) -> None:
    server.play(faults.silence())
    with stopped_when(lambda: server.requests):
        stop = live.fail(cell)
    assert isinstance(stop, VictorInterrupted)
    assert session().errors[-1] is stop
    server.wait(lambda: server.requests[0].hung_up)
    assert "never" not in live.names
    assert [row["status"] for row in rows()] == ["interrupted"]


def test_when_stop_is_pressed_during_the_doctor_then_it_is_one_line(live: Shell, server: Server) -> None:
    server.play(faults.silence(), faults.silence())
    with stopped_when(lambda: server.requests):
        stop = live.fail("%victor doctor")
    assert isinstance(stop, VictorInterrupted)
    assert session().errors[-1] is stop
