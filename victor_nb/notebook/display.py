"""What a cell shows: an answer while it grows, and the one frame that is saved."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from uuid import uuid4

from IPython.core.getipython import get_ipython

from victor_nb.errors import MalformedAnswerError
from victor_nb.money import usd
from victor_nb.notebook.forms import present
from victor_nb.notebook.markdown import FENCE, Bundle, Shown, as_markdown, clean, escape, notice, sanitise
from victor_nb.notebook.options import MagicCall
from victor_nb.providers.params import STANDARD_TIERS
from victor_nb.values import UNPAID, Reply
from victor_nb.workflows.progress_bar import Meter, Tally, tqdm_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.calls.stream import Stream

PER_SECOND: Final = 8
"""Updates at the most. Jupyter drops messages of a server that sends more than 1,000 a second, or 1 MB a second."""

_WHOLE: Final = 400  # characters; up to here all of the text is shown while it grows
_WINDOW: Final = 240  # characters of its end that are shown from then on
_GROWTH: Final = 1.2  # how much longer a text must be to be shown whole again
_ENVELOPE: Final = 110  # bytes of a message beside the text

_REASONS: Final = {"length": "cut at max_tokens", "content_filter": "cut by the provider's filter"}

_VIEW: Final = "application/vnd.jupyter.widget-view+json"


class Pace:
    """Decides about one text. Showing all of it again for each of 1,500 pieces would take 9 MB for 9 kB.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -1.0
        self._size = 0
        self._spent = 0

    def window(self, size: int) -> int | None:
        """Return how many characters of the end of a text to show now, of `size` in all; None to wait."""
        now = self._clock()
        if size <= self._size or (self._size and now - self._last < 1 / PER_SECOND):
            return None
        shown = size if size <= _WHOLE else _WINDOW
        if size <= _WHOLE and size < self._size * _GROWTH:
            return None
        if self._spent + shown + _ENVELOPE > _allowance(size):
            return None
        self._last, self._size = now, size
        return shown

    def sent(self, size: int) -> None:
        """Count a frame of `size` bytes."""
        self._spent += size + _ENVELOPE


def _allowance(size: int) -> float:
    """Return the bytes that frames may take until a text has `size`: less than once more the text, if it is long.

    The frame that is saved takes two more, as Markdown and as plain text: three times the text in all.
    """
    return min(1_000 + size, 2_300 + 0.45 * size)


def bill(reply: Reply) -> str:
    """Return the line: `fast · gpt-6-luna · 212 -> 340 tok · USD 0.0002 · 2.1 s`, then what is out of the ordinary.

    The cost is the list price; it was not paid where the line says `simulated` or `replayed`.
    """
    parts = [
        reply.profile,
        reply.model if reply.profile not in {reply.model, f"{reply.provider}:{reply.model}"} else "",
        f"{reply.usage.input_tokens:,} -> {reply.usage.output_tokens:,} tok"
        + (f" ({reply.usage.reasoning_tokens:,} reasoning)" if reply.usage.reasoning_tokens else ""),
        f"tier {reply.service_tier}" if reply.service_tier and reply.service_tier not in STANDARD_TIERS else "",
        usd(reply.cost) if reply.cost or not reply.free else "free",
        f"{reply.latency:.1f} s",
        UNPAID.get(reply.mode, ""),
        f"{reply.attempts} attempts" if reply.attempts > 1 else "",
        reply.status if reply.status != "ok" else _REASONS.get(reply.finish_reason or "", ""),
        *reply.notes,
    ]
    return " · ".join(filter(None, parts))


def publisher(shell: InteractiveShell) -> Callable[[Bundle], None]:
    """Return what shows one frame after the other in the same place of the cell that runs now.

    Call it from the main thread only: what another thread shows goes to whichever cell is the newest.
    """
    transient = {"display_id": uuid4().hex}
    shown = False

    def publish(frame: Bundle) -> None:
        nonlocal shown
        cast("Any", shell.display_pub).publish(data=dict(frame), metadata={}, transient=transient, update=shown)
        shown = True

    return publish


Work = TypeVar("Work")
Result = TypeVar("Result")


class Live(Generic[Work, Result]):
    """One place of a cell: frames while an answer grows, then the one that the notebook keeps.

    Args:
        publish: Shows a frame in place of the one before.
        call: What of the answer is to be seen.
        watched: Whether the cell is seen before the answer is complete.
    """

    def __init__(self, publish: Callable[[Bundle], None], call: MagicCall, *, watched: bool) -> None:
        self._publish = publish
        self._call = call
        self._pace = Pace() if watched and call.show == "answer" else None
        self._due = 0.0

    def grow(self, work: Work, /) -> None:
        """Show what has come so far, if it is time to."""
        raise NotImplementedError

    def end(self, result: Result, /) -> None:
        """Show the result as it is to be kept."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Show a line of ours."""
        self._publish(notice(text))

    def _is_due(self, every: float) -> bool:
        """Return whether a frame is to be shown now, with so many seconds between two of them."""
        now = time.monotonic()
        if self._pace is None or now < self._due:
            return False
        self._due = now + every
        return True


class LiveAnswer(Live["Stream", Reply]):
    """One answer in one place of a cell."""

    def grow(self, work: Stream) -> None:
        """Show the answer so far, or the end of it, if it is time to."""
        text = work.text
        size = self._pace.window(len(text)) if self._pace else None
        if self._pace is None or size is None:
            return
        plain = self._call.form == "text"
        frame = {"text/plain": clean(text[-size:])} if plain else {"text/markdown": sanitise(tail(text, size))}
        self._publish(frame)
        self._pace.sent(len(json.dumps(frame)))

    def end(self, reply: Reply) -> None:
        """Show the answer as it is to be kept.

        Raises:
            MalformedAnswerError: It has not the form that was asked for; it is shown as it came.
        """
        failure: MalformedAnswerError | None = None
        plainly = self._call.form == "md" and reply.data is None
        try:
            shown = as_markdown(reply.content) if plainly else present(reply, self._call.form)
        except MalformedAnswerError as error:
            shown, failure = as_markdown(reply.content), error
        frame = final_frame(shown, reply, self._call)
        if frame:
            self._publish(frame)
        if failure is not None:
            raise failure


def tail(text: str, size: int) -> str:
    """Return the last `size` characters, from the beginning of a line where one is near, and inside code as code."""
    if size >= len(text):
        return text
    start = len(text) - size
    line = text.find("\n", start - 1, start + size // 2)
    start = line + 1 if line >= 0 else start
    mark = ""
    for before in text[:start].split("\n")[:-1]:
        match = FENCE.match(before)
        if match is not None:
            mark = "" if mark and match["mark"].startswith(mark) else mark or match["mark"]
    return f"…\n\n{mark}\n{text[start:]}" if mark else f"… {text[start:]}"


def final_frame(shown: Shown, reply: Reply, call: MagicCall) -> Bundle:
    """Return the frame that is saved: the answer and its bill, or what of them is wanted; empty for nothing."""
    line = bill(reply) if call.cost else ""
    answer = shown if call.show == "answer" and reply.content else Shown("", "")
    if call.show == "none":
        return {}
    plain = "\n\n".join(filter(None, (answer.plain, clean(line))))
    if answer.markdown is None:
        return {"text/plain": plain}
    markdown = "\n\n".join(filter(None, (answer.markdown, escape(line))))
    return {"text/markdown": markdown, "text/plain": plain} if plain else {}


def reply_frame(reply: Reply) -> Bundle:
    """Return a reply as it is shown where it is the value of a cell."""
    return final_frame(as_markdown(reply.content), reply, MagicCall())


class CellMeter(Meter):
    """One bar in one place of a cell. What tqdm would display itself, a saved notebook keeps as its first state.

    Args:
        publish: Shows a frame in place of the one before.
        began: When the work began, by `time.perf_counter`.
    """

    def __init__(self, publish: Callable[[Bundle], None], began: float) -> None:
        super().__init__(began)
        self._publish = publish

    def _made(self, tally: Tally) -> Any:  # noqa: ANN401 - tqdm has no types
        return tqdm_bar("tqdm.auto:tqdm", tally, display=False)

    def show(self, text: str, tally: Tally) -> None:
        """Move the bar; the first time, show it."""
        new = self._bar is None
        super().show(text, tally)
        if new:
            view = {"version_major": 2, "version_minor": 0, "model_id": self._bar.container.model_id}
            self._publish(cast("Any", {_VIEW: view, "text/plain": text}))

    def close(self) -> None:
        """Empty its place, and end its widgets."""
        if self._bar is None:
            return
        self._publish({"text/plain": ""})  # takes no room in any front end; nbconvert warns of an output without data
        self._bar.close()
        box = self._bar.container
        for widget in (*box.children, box):
            for part in (widget.layout, getattr(widget, "style", None), widget):
                if part is not None:
                    part.close()


def cell_meter(began: float) -> CellMeter | None:
    """Return a bar for the cell that runs now; None where there is no notebook, or one that tqdm draws no widget in."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel") or shell.__class__.__module__.startswith("spyder"):
        return None
    return CellMeter(publisher(shell), began)
