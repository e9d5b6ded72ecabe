"""`bg=true`: a cell that returns at once, with a card that goes on showing how far its call is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from victor_nb.errors import VictorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.notebook.watching import Handle

Result = TypeVar("Result")

_EVERY: Final = 0.5  # seconds between two looks at it


class Background(Generic[Result]):
    """A call that goes on while other cells run.

    Args:
        name: What it is called on its card.
        work: What goes on.
        finish: Waits for the end and returns the result; it raises what went wrong.
        look: Shows how far it is, in the place of the cell that started it.
        end: Shows the result there.
    """

    def __init__(
        self,
        name: str,
        work: Handle,
        *,
        finish: Callable[[], Result],
        look: Callable[[], None],
        end: Callable[[Result | VictorError | None], None],
    ) -> None:
        self.name = name
        self._work = work
        self._finish = finish
        self._look = look
        self._end = end
        self._shown = False
        self._task: asyncio.Task[None] | None = None

    @property
    def work(self) -> Handle:
        """What goes on: a stream, a fan-out or a strategy, which shows how far it is."""
        return self._work

    def start(self) -> None:
        """Go on showing the card, where the kernel has a loop of its own to do it on."""
        self._look()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a terminal: the card is brought up to date by result()
        self._task = loop.create_task(self._watch())

    async def _watch(self) -> None:
        while not self._work.done():
            await asyncio.sleep(_EVERY)
            if not self._work.done():
                self._look()
        self._show()

    def _show(self) -> None:
        """Show the end, once."""
        if self._shown:
            return
        self._shown = True
        try:
            self._end(self._finish())
        except VictorError as error:
            self._end(error)
        except asyncio.CancelledError:
            self._end(None)

    def done(self) -> bool:
        """Tell whether it has ended, well or not."""
        return self._work.done()

    def cancel(self) -> None:
        """Stop it; what had come is kept."""
        self._work.cancel()

    def result(self) -> Result:
        """Wait for the result.

        Raises:
            VictorError: What went wrong.
            VictorInterrupted: Stop was pressed while waiting; the call was stopped.
        """
        found = self._finish()
        self._show()
        return found

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Background({self.name}, {'ended' if self.done() else 'running'}): .result() .cancel() .done()"
