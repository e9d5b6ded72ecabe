"""What a cell shows: an answer while it grows, and the one frame that is saved."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from uuid import uuid4

from IPython.core.getipython import get_ipython

from victor_nb.errors import MalformedAnswerError
from victor_nb.money import usd
from victor_nb.notebook.forms import present
from victor_nb.notebook.markdown import FENCE, MOST_SHOWN, Bundle, Shown, as_markdown, clean, escape, notice, sanitise
from victor_nb.notebook.options import MagicCall
from victor_nb.providers.params import STANDARD_TIERS
from victor_nb.values import UNPAID, Reply
from victor_nb.workflows.progress_bar import Meter, Tally, tqdm_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.calls.stream import Stream

_FASTEST: Final = 0.13  # seconds between two frames: at most 8 a second, by the clock of the receiver too
_SLOWEST: Final = 0.22  # seconds between two frames of a text that grows: at least 4 a second
_RATE: Final = 40_000  # bytes a second, above which frames come less often: a page takes time to draw them, too
_MOST: Final = 180_000  # bytes a second, never more. Jupyter drops messages of a server that sends 1 MB a second
HEAVIEST: Final = 39_500  # bytes of a frame that can be shown four times a second
_ENVELOPE: Final = 800  # bytes of a message beside the frame
_FIRST: Final = 0.1  # seconds; an answer that comes within them needs no word of waiting
_LOOK: Final = 0.05  # seconds between two looks at a work that may have grown

_WHOLE: Final = 16_000  # characters; up to here all of the text is shown while it grows
_WINDOW: Final = 8_000  # characters of its end that are shown from then on

_REASONS: Final = {"length": "cut at max_tokens", "content_filter": "cut by the provider's filter"}

_VIEW: Final = "application/vnd.jupyter.widget-view+json"


class Pace:
    """Decides when frames may be shown: 4 to 8 a second, the fewer the more they weigh, never 200 kB in a second.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._now = clock()
        self._next = self._began + _FIRST

    @property
    def seconds(self) -> int:
        """Whole seconds since it began."""
        return int(self._clock() - self._began)

    @property
    def wait(self) -> float:
        """Seconds until it is worth a look whether a frame is due."""
        return max(_LOOK, self._next - self._clock())

    def is_due(self) -> bool:
        """Return whether a frame may be shown now."""
        self._now = self._clock()
        return self._now >= self._next

    def sent(self, frame: Bundle) -> None:
        """Count a frame that is shown, from the moment at which it was due: to make it takes time as well."""
        size = weight(frame)
        self._next = self._now + max(_FASTEST, min(size / _RATE, _SLOWEST), size / _MOST)


def weight(frame: Bundle) -> int:
    """Return the bytes of the message that shows a frame."""
    return len(json.dumps(frame, ensure_ascii=False).encode()) + _ENVELOPE


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
        "" if reply.made is None else reply.reused,
        f"{reply.attempts} attempts" if reply.attempts > 1 else "",
        reply.status if reply.status != "ok" else _REASONS.get(reply.finish_reason or "", ""),
        *reply.notes,
    ]
    return " · ".join(filter(None, parts))


class Place:
    """One place of the cell that runs now, in which one frame follows the other: `place(frame)`.

    Call it from the main thread only: what another thread shows goes to whichever cell is the newest.

    Args:
        shell: Where the cell runs.
        display_id: Of what stands in the place already, for the time being; "" for a new place.

    Attributes:
        passing: Whether what it shows was only meant for the time of waiting.
    """

    def __init__(self, shell: InteractiveShell, display_id: str = "") -> None:
        self._shell = shell
        self._transient = {"display_id": display_id or uuid4().hex}
        self._shown = self.passing = bool(display_id)

    def __call__(self, frame: Bundle) -> None:
        """Show a frame in place of the one before."""
        screen = cast("Any", self._shell).display_pub
        screen.publish(data=dict(frame), metadata={}, transient=self._transient, update=self._shown)
        self._shown, self.passing = True, False

    def clear(self) -> None:
        """Empty it, if what it shows was only meant for the time of waiting."""
        if self.passing:
            self(NOTHING)


NOTHING: Final[Bundle] = {"text/plain": ""}
"""Takes no room in any front end; nbconvert warns of an output without data."""


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
        self._said = ""

    @property
    def wait(self) -> float:
        """Seconds until `grow` is worth another call."""
        return self._pace.wait if self._pace else _FASTEST

    def grow(self, work: Work, /) -> None:
        """Show what has come so far, if it is time to."""
        raise NotImplementedError

    def end(self, result: Result, /) -> None:
        """Show the result as it is to be kept."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Show a line of ours."""
        self._publish(notice(text))

    def load(self, what: str) -> None:
        """Show that something is being imported, and since when, if it is time to."""
        if self._pace is None or not self._pace.is_due():
            return
        asked = ", ".join(self._call.profiles) or self._call.strategy or self._call.profile or ""
        line = " · ".join(filter(None, (asked, f"loading {what}", f"{self._pace.seconds} s")))
        if line != self._said:
            self._said = line
            self._show_for_now({"text/markdown": muted(line)})

    def _show_for_now(self, frame: Bundle) -> None:
        """Show a frame for the time of waiting."""
        if self._pace is not None:
            self._pace.sent(frame)
        self._publish(frame)
        if isinstance(self._publish, Place):
            self._publish.passing = True

    def _is_due(self, every: float) -> bool:
        """Return whether a frame is to be shown now, with so many seconds between two of them."""
        now = time.monotonic()
        if self._pace is None or now < self._due:
            return False
        self._due = now + every
        return True


class LiveAnswer(Live["Stream", Reply]):
    """One answer in one place of a cell."""

    _seen: tuple[object, ...] = ()

    def grow(self, work: Stream) -> None:
        """Show the answer so far, and how it stands, if it is time to and anything is new."""
        if self._pace is None or not self._pace.is_due():
            return
        text, seconds, thinking = work.text, self._pace.seconds, work.thinking
        if self._seen == (seen := (len(text), seconds, thinking)):
            return
        self._seen = seen
        if self._call.bg:  # its card says how to get at the answer, until that comes
            if text:
                self._show_for_now(self._frame(text, ""))
            return
        profile = work.profile
        model = profile.model if profile.name not in {profile.model, f"{profile.provider}:{profile.model}"} else ""
        doing = amount(text) if text else "thinking" if thinking else "asking"
        self._show_for_now(self._frame(text, " · ".join(filter(None, (profile.name, model, doing, f"{seconds} s")))))

    def _frame(self, text: str, line: str) -> Bundle:
        """Return a text and how it stands: all of it, or as much of its end as can be shown four times a second."""
        size = len(text) if len(text) <= _WHOLE else _WINDOW
        while True:
            if self._call.form == "text":
                shown = clean(text[-size:])
                frame = {"text/plain": "\n\n".join(filter(None, (shown, line)))}
            else:
                shown = sanitise(tail(text, size))
                frame = {"text/markdown": "\n\n".join(filter(None, (shown, line and muted(line))))}
            if weight(frame) <= HEAVIEST:
                return frame
            size //= 2

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


class PrintedAnswer(LiveAnswer):
    """One answer as plain text, printed while it comes."""

    def __init__(self, call: MagicCall) -> None:
        super().__init__(self._print, call, watched=True)
        self._printed = ""

    def load(self, what: str) -> None:
        """Print nothing: it would stay."""

    def grow(self, work: Stream) -> None:
        """Print what is new, if it is time to; what has a form is printed when it is complete."""
        formed = self._call.form not in {"md", "text"} or self._call.schema or getattr(work.profile, "schema", None)
        if not formed and self._pace is not None and self._pace.is_due() and (text := work.text):
            frame = {"text/plain": clean(text[:MOST_SHOWN])}
            self._pace.sent(frame)
            self._print(frame)

    def end(self, reply: Reply) -> None:
        """Print the rest, and the bill."""
        try:
            super().end(reply)
        finally:
            self._print({"text/plain": f"{self._printed}\n" if self._printed else ""})

    def _print(self, frame: Bundle) -> None:
        """Print what of a frame has not been printed; all of it, if it goes on in another way."""
        text = frame["text/plain"]
        new = text[len(self._printed) :] if text.startswith(self._printed) else f"\n\n{text}"
        sys.stdout.write(new)
        sys.stdout.flush()
        self._printed = text


def muted(line: str) -> str:
    """Return a line of ours as Markdown, in small and pale letters where the reader of it can."""
    return f'<small style="opacity:.75">{escape(line)}</small>'


def amount(text: str) -> str:
    """Return how much a text is: `212 words`, or characters where blanks do not separate words."""
    words = len(text.split())
    if len(text) > 15 * words:
        return f"{len(text):,} characters"
    return f"{words:,} word{'s' if words != 1 else ''}"


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
        self._publish(NOTHING)
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
    return CellMeter(Place(shell), began)
