"""A hand on the Stop button of a board, which presses it at the same moment each time: for 08."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from victor_nb import session
from victor_nb.wire.clock import CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from victor_nb.values import SimulatedAnswer, SimulatedQuestion


def press_stop(stage: str, *, after: float, job: str = "job") -> None:
    """Stop a run, once, some time after one of its stages has begun, as a click on the board's button does.

    Args:
        stage: The stage.
        after: Seconds by the simulator's clock.
        job: The variable of the notebook that holds the run.
    """
    shell = get_ipython()
    names: dict[str, Any] = {} if shell is None else shell.user_ns
    answers = session().runtime.answers
    find = answers.find

    def waited(question: SimulatedQuestion, files: Sequence[Path] = ()) -> SimulatedAnswer | None:
        if question.stage == stage:
            answers.find = find
            while job not in names:
                time.sleep(0.01)
            if (clock := CLOCK.get()) is not None:
                clock.deadline, clock.expire = clock.now + after, names[job].cancel
        return find(question, files)

    answers.find = waited
