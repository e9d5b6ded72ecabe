"""What all widgets of ours share: how they look, where they speak, and the still twin that stands in for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from IPython.core.getipython import get_ipython

from victor_nb.errors import VictorError
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.display import publisher
from victor_nb.notebook.widgets.kit import (
    HTML,
    Layout,
    VBox,
    Widget,
    close_parts,
    put_inside,
    styled,
    take_on_any_thread,
)
from victor_nb.notebook.widgets.page import Still, words
from victor_nb.notebook.widgets.places import leave_other_runs
from victor_nb.notebook.widgets.pulse import pulse
from victor_nb.notebook.widgets.theme import STYLE
from victor_nb.notebook.widgets.twin import Twin
from victor_nb.session import Session, session

if TYPE_CHECKING:
    from collections.abc import Callable

VIEW: Final = "application/vnd.jupyter.widget-view+json"


class Surface(VBox):
    """A widget of ours.

    A subclass puts its controls inside with `furnish`, says what it shows with `still`, and starts `look`s for what
    changes by itself. What it changes on the page goes through `post`.

    Args:
        home: The session it is about; None for the kernel's.
    """

    title: str = ""

    def __init__(self, home: Session | None = None) -> None:
        self.home = home or session()
        self._twin = Twin()
        self._ends: list[Callable[[], None]] = []
        self._looks: list[tuple[Callable[[], object], float]] = []
        self._told = HTML()
        cast("Any", super()).__init__()
        styled(self, "victor")

    # --- for subclasses ---

    def furnish(self, *children: Widget) -> None:
        """Put the controls inside, under the title and over the line in which errors are told."""
        style = HTML(f"<style>{STYLE}{self._twin.hidden_by}</style>", layout=Layout(display="none"))
        head = HTML(f'<div class="victor-title">{words(self.title)}</div>')
        put_inside(self, style, head, *children, self._told)
        take_on_any_thread(self)

    def still(self) -> Still:
        """Return what the twin shows."""
        raise NotImplementedError

    def post(self, widget: Widget, **traits: object) -> None:
        """Set traits of a widget, soon: never more messages a second than a front end takes."""
        pulse().send(widget, **traits)

    def look(self, work: Callable[[], object], *, every: float) -> None:
        """Do something every so many seconds, as long as the widget is on a page; what it raises is told."""
        self._looks.append((work, every))
        self._ends.append(pulse().look(lambda: self.tried(work), every=every))

    def tried(self, work: Callable[[], object]) -> bool:
        """Do something, and tell whether it went well: what goes wrong is told, and stands in `%victor errors`."""
        try:
            work()
        except VictorError as error:
            # A call that failed has put its error there itself, and a look may find the same again and again.
            if not any(type(known) is type(error) and str(known) == str(error) for known in self.home.errors):
                self.home.errors.append(error)
            self.tell(error)
            return False
        return True

    def tell(self, what: VictorError | str | None) -> None:
        """Say something in one line under the controls, an error in red; None takes it away."""
        bad = isinstance(what, VictorError)
        line = f"{type(what).__name__}: {what}" if bad else what or ""
        line = redacted(self.home, line)
        role, look = ("alert", "victor-bad") if bad else ("status", "victor-quiet")
        self.post(self._told, value=f'<div role="{role}">{words(line, look)}</div>' if line else "")

    def changed(self) -> None:
        """Say that the twin may no longer be true."""
        if self._twin.shown:
            pulse().put(self._twin, lambda: self._twin.update(self.still()))

    # --- life ---

    def resume(self) -> None:
        """Go on looking, after `rest`."""
        if not self._ends:
            self._ends = [pulse().look(lambda work=work: self.tried(work), every=every) for work, every in self._looks]

    def rest(self) -> None:
        """Stop looking: the widget is on no page any more."""
        for end in self._ends:
            end()
        self._ends.clear()

    def close(self) -> None:
        """End everything, and take the widget from the page."""
        self.rest()
        close_parts(self)
        cast("Any", super()).close()

    def __del__(self) -> None:
        """Do nothing: ipywidgets would close it, and one whose arguments were refused has nothing to close."""

    def _ipython_display_(self, **_: object) -> None:
        shell = get_ipython()
        if shell is None:
            print(self.still().plain)  # noqa: T201 - plain Python, where displaying is printing
            return
        if not hasattr(shell, "kernel"):
            # A terminal: what is written there stays as it is.
            self.rest()
            publisher(shell)(self._twin.frame(self.still()))
            return
        if self.home.settings.watched:
            leave_other_runs(shell, self)
            self.resume()
            publisher(shell)(cast("Any", self._view()))
        self._twin.show(publisher(shell), self.still())

    def _view(self) -> dict[str, object]:
        """Return the live view. Readers that have no widgets show its empty page, and then the twin."""
        model = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW: model, "text/html": "<!-- live -->", "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
