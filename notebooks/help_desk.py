"""Messages to a help desk, and simulated models of planted quality that say which desk should answer: for 09 and 10.

The messages are those of the package `chatterbot-corpus` (BSD): what people say to a chatbot, by subject. The simulated
models name the subject that a message is filed under, or another one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from _thread import interrupt_main
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import pandas as pd
import yaml

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.statistics import proportion
from victor_nb.values import SimulatedAnswer
from victor_nb.wire.clock import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from victor_nb.values import SimulatedQuestion

DESKS: Final = {"tech_support": "tech support", "coding": "coding", "ai": "AI", "trivia": "trivia"}
"""The files of the package, and the desks that their messages are for."""
FAULTS: Final = {("fast", False): 0.16, ("fast", True): 0.04, ("local", False): 0.3, ("local", True): 0.14}
"""The share of messages that a profile names a wrong desk for, without and with a description of the desks."""
SHARED: Final = 0.5
"""The share of what `fast` gets wrong that `local` gets wrong too, both with a description of the desks."""
SENT: Final = 0.05  # seconds after which Stop is pressed: the question is sent, and its answer has not begun
INSTEAD: Final = {"coding": "AI", "AI": "coding", "trivia": "AI"}
"""The wrong desk; what is broken on a desk is taken for nothing else."""


def corpus() -> pd.DataFrame:
    """Return the messages, each with the desk that it is for, shuffled.

    The package has a talk for each reply to a question, so that one question is the first line of up to 121 talks.
    """
    rows: list[tuple[str, str]] = []
    for file, desk in DESKS.items():
        text = files("chatterbot_corpus").joinpath(f"data/english/{file}.yml").read_text(encoding="utf-8")
        rows += [(str(talk[0]), desk) for talk in yaml.safe_load(text)["conversations"]]
    messages = pd.DataFrame(rows, columns=["message", "for"]).sample(frac=1, random_state=9)
    return messages.reset_index(drop=True).rename_axis("ticket")


def press_stop() -> None:
    """Interrupt the running cell, as the button does, and end the call that asks once the cell has heard that."""
    interrupt_main()
    for _ in range(1000):
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - documented
        while frame is not None and frame.f_code.co_name != "interrupted":
            frame = frame.f_back
        if frame is not None:
            break
        time.sleep(0.01)
    if (call := asyncio.current_task()) is not None:
        call.cancel()


def stop_soon() -> None:
    """Let Stop be pressed once the call has been sent.

    It is no part of `answer`, which is pickled for workers: a clock cannot be.
    """
    if (clock := CLOCK.get()) is not None:
        clock.deadline, clock.expire = clock.now + SENT, press_stop


def _chance(name: str) -> float:
    """Return a number from 0 to 1 that is as good as random, and the same each time."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) / 2**32


def _wrong(profile: str, message: str, *, described: bool) -> bool:
    """Return whether a profile names a wrong desk, all others left aside."""
    chance = _chance(f"{profile} {message}")
    misled = described and chance > 0.985  # a description misleads, too
    return misled or chance < FAULTS[profile, described]


def simulated(*, stop_at: int | None = None, delay: float = 0) -> Callable[[SimulatedQuestion], SimulatedAnswer]:
    """Return a function that answers as the profiles of `FAULTS` would.

    Args:
        delay: Seconds that it waits before each answer, times `VICTOR_SIM_SPEED`.
        stop_at: The question at which Stop is pressed, counted from 1.
    """
    messages = corpus()
    right: dict[str, str] = dict(zip(messages["message"], messages["for"], strict=True))
    asked = 0

    def answer(question: SimulatedQuestion) -> SimulatedAnswer:
        nonlocal asked
        asked += 1
        if asked == stop_at:
            stop_soon()
        message = question.prompt.rpartition("\n\n")[2].strip()
        desk = right[message]
        described = "is broken" in question.prompt
        wrong = _wrong(question.profile, message, described=described)
        if question.profile == "local" and described and _wrong("fast", message, described=True):
            wrong = _chance(f"both {message}") < SHARED
        return SimulatedAnswer(INSTEAD.get(desk, desk) if wrong else desk, delay=delay)

    return answer


def draw_right(found: dict[str, tuple[int, int]], title: str) -> Figure:
    """Draw a bar for each name: the share of its messages at the right desk, with its 95 % interval.

    Args:
        found: How many are right, and of how many.
        title: What the bars show.
    """
    shares = [proportion(right, count) for right, count in found.values()]
    ax = draw.paper(None, rows=len(found))
    indent = draw.name_rows(
        ax,
        list(found),
        [f"{share.value * 100:.0f} % of {count}" for share, (_, count) in zip(shares, found.values(), strict=True)],
        most=40,
    )
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    for row, share in enumerate(shares):
        draw.bar(ax, row, 0, share.value, draw.BLUE)
        draw.line(ax, [share.low, share.high], [row, row], draw.EDGE, linewidth=1.6)
    draw.header(ax, title, ["Grey lines: 95 % intervals."], indent=indent)
    told = ", ".join(f"{name} {share.value * 100:.0f} %" for name, share in zip(found, shares, strict=True))
    return draw.finish(ax, title, told)
