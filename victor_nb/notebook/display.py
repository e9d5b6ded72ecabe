"""What a cell shows: an answer while it grows, and the one frame that is saved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import uuid4

from victor_nb.errors import MalformedAnswerError
from victor_nb.notebook.bill import bill
from victor_nb.notebook.forms import Shown, as_markdown, present
from victor_nb.notebook.grammar import MagicCall
from victor_nb.notebook.markdown import FENCE, clean, escape, sanitise
from victor_nb.notebook.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.errors import VictorError
    from victor_nb.values import Reply

Bundle: TypeAlias = "Mapping[str, str]"
"""A frame, by MIME type."""


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


class LiveAnswer:
    """One answer in one place: frames of it while it grows, then the last one, which is what the notebook keeps.

    Args:
        publish: Shows a frame in place of the one before.
        call: What of the answer is to be seen.
        watched: Whether anybody looks before it is complete.
    """

    def __init__(self, publish: Callable[[Bundle], None], call: MagicCall, *, watched: bool) -> None:
        self._publish = publish
        self._call = call
        self._pace = Pace() if watched and call.show == "answer" else None

    def grow(self, text: str) -> None:
        """Show the answer so far, or the end of it, if it is time to."""
        size = self._pace.window(len(text)) if self._pace else None
        if self._pace is None or size is None:
            return
        plain = self._call.form == "text"
        frame = {"text/plain": clean(text[-size:])} if plain else {"text/markdown": sanitise(tail(text, size))}
        self._publish(frame)
        self._pace.sent(len(json.dumps(frame)))

    def fail(self, error: VictorError) -> None:
        """Show an error where nothing else came."""
        line = f"{type(error).__name__}: {error}"
        self._publish({"text/markdown": escape(clean(line)), "text/plain": clean(line)})

    def end(self, reply: Reply) -> None:
        """Show the answer as it is to be kept.

        Raises:
            MalformedAnswerError: It has not the form that was asked for; it is shown as it came.
        """
        failure: MalformedAnswerError | None = None
        try:
            shown = present(reply, self._call.form, self._call.schema)
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
    plain = "\n\n".join(part for part in (answer.plain, clean(line)) if part)
    if answer.markdown is None:
        return {"text/plain": plain}
    # Ours, and no tag: an arrow may stay an arrow.
    marked = escape(line).replace("-&gt;", "->")
    markdown = "\n\n".join(part for part in (answer.markdown, marked) if part)
    return {"text/markdown": markdown, "text/plain": plain} if plain else {}


def reply_frame(reply: Reply) -> Bundle:
    """Return a reply as it is shown where it is the value of a cell."""
    return final_frame(as_markdown(reply.content), reply, MagicCall())
