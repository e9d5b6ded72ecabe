"""Lets a simulated call stand still at a moment of its own, so that a run is stopped at the same one each time (08)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from victor_nb import session
from victor_nb.wire.clock import CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from victor_nb.values import SimulatedAnswer, SimulatedQuestion


def hold(stage: str, *, after: float) -> threading.Event:
    """Let the first call of a stage stand still some time after it has begun, until it is stopped.

    Args:
        stage: The stage.
        after: Seconds by the simulator's clock.

    Returns:
        What is set once it stands still.
    """
    held, answers = threading.Event(), session().runtime.answers
    find = answers.find

    def held_back(question: SimulatedQuestion, files: Sequence[Path] = ()) -> SimulatedAnswer | None:
        if question.stage == stage:
            answers.find = find
            if (clock := CLOCK.get()) is not None:
                clock.deadline, clock.expire = clock.now + after, held.set
        return find(question, files)

    answers.find = held_back
    return held
