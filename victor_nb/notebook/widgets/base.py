"""What all widgets of ours share: how they look, where they speak, and the still twin that stands in for them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from uuid import uuid4

from IPython.core.getipython import get_ipython
from ipywidgets import (  # pyright: ignore[reportMissingTypeStubs] - it has none
    HTML,
    Box,
    Button,
    Checkbox,
    Dropdown,
    HBox,
    Layout,
    Select,
    Text,
    Textarea,
    ToggleButtons,
    ValueWidget,
    VBox,
    Widget,
)

from victor_nb.errors import VictorError
from victor_nb.kernel import Session, session
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.display import publisher
from victor_nb.notebook.widgets.html import Still, words
from victor_nb.notebook.widgets.theme import STYLE
from victor_nb.notebook.widgets.throttle import pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.notebook.display import Bundle


_HIDE: Final = "body:not(.jp-Notebook) :is(.jp-OutputArea-child:has(.victor-twin-{0}),.victor-twin-{0}){{display:none}}"
"""Part of the live widget: while it lives, the twin is not seen. A page by nbconvert holds dead copies at the most."""

_NO_WIDGET: Final = (
    ".jp-OutputArea-child:has(+ .jp-OutputArea-child .victor-twin):not(:has(> .jp-OutputArea-output > *)),"
    "body.jp-Notebook .jp-OutputArea-child:has(> .jp-OutputArea-output.jupyter-widgets)"
    ":has(+ .jp-OutputArea-child .victor-twin){display:none}"
)
"""Part of the twin: JupyterLab's lines about a widget that is not there tell nobody anything, nor does a dead copy."""


class Twin:
    """One place under the widget, brought up to date as the widget changes."""

    def __init__(self) -> None:
        self._id = uuid4().hex[:12]
        self._publishers: list[Callable[[Bundle], None]] = []
        self._shown: Still | None = None

    @property
    def hidden_by(self) -> str:
        """The style with which a live widget hides its twin."""
        return _HIDE.format(self._id)

    @property
    def shown(self) -> bool:
        """Whether it stands anywhere."""
        return bool(self._publishers)

    def show(self, publish: Callable[[Bundle], None], still: Still) -> None:
        """Show it in one more place."""
        publish(self.frame(still))
        self._publishers.append(publish)

    def update(self, still: Still) -> None:
        """Show what it is now, wherever it stands."""
        if still != self._shown:
            for publish in self._publishers:
                publish(self.frame(still))

    def frame(self, still: Still) -> Bundle:
        """Return what is shown of it, by MIME type."""
        self._shown = still
        inner = f"<style>{STYLE}{_NO_WIDGET}</style>{still.html}"
        return {
            "text/html": f'<div class="victor victor-twin victor-twin-{self._id}">{inner}</div>',
            "text/plain": still.plain,
        }


class Resident(Protocol):
    """What is shown in cells."""

    def rest(self) -> None:
        """Stop what goes on: it is in no cell any more."""
        ...


_residents: Final[defaultdict[str, dict[int, list[Resident]]]] = defaultdict(dict)


def leave_other_runs(shell: InteractiveShell, newcomer: Resident) -> None:
    """Note that a widget is shown in the cell that runs now, and let those rest that only earlier runs of it showed."""
    cell = _cell(shell)
    if cell is None:
        return
    run = int(cast("Any", shell).execution_count)
    before = {count: residents for count, residents in _residents[cell].items() if count != run}
    _residents[cell] = {run: [*_residents[cell].get(run, []), newcomer]}
    elsewhere = {id(resident) for runs in _residents.values() for residents in runs.values() for resident in residents}
    for residents in before.values():
        for resident in residents:
            if id(resident) not in elsewhere:
                resident.rest()


def _cell(shell: InteractiveShell) -> str | None:
    """Return the front end's own name of the cell that runs now, where it gives one."""
    parent = cast("dict[str, dict[str, str]]", cast("Any", shell).kernel.get_parent("shell") or {})
    return parent.get("metadata", {}).get("cellId")


__all__ = [
    "HTML",
    "Box",
    "Button",
    "Checkbox",
    "Dropdown",
    "HBox",
    "Layout",
    "Select",
    "Text",
    "Textarea",
    "ToggleButtons",
    "VBox",
    "ValueWidget",
    "Widget",
    "close_parts",
    "hears_while_busy",
    "on_change",
    "on_press",
    "put_inside",
    "stack",
    "styled",
    "take_on_any_thread",
    "within",
]

W = TypeVar("W", bound=Widget)


def styled(widget: W, *classes: str) -> W:
    """Give a widget these CSS classes, and return it."""
    for name in classes:
        cast("Any", widget).add_class(name)
    return widget


def on_press(button: Button, do: Callable[[], object]) -> None:
    """Do something whenever a button is pressed, on whatever thread the front end's message arrives."""

    def pressed(_: object) -> None:
        do()

    cast("Any", button).on_click(pressed)


def on_change(widget: Widget, trait: str, do: Callable[[], object]) -> None:
    """Do something whenever a trait has changed, whoever changed it."""

    def changed(_: object) -> None:
        do()

    cast("Any", widget).observe(changed, names=trait)


def stack(*children: Widget, across: bool = False) -> Box:
    """Return widgets one below the other, or side by side as far as there is room."""
    return styled(cast("Any", HBox if across else VBox)(children), *(("victor-row",) if across else ()))


def put_inside(box: Box, *children: Widget) -> None:
    """Give a box other children; the same ones again send nothing."""
    if cast("Any", box).children != children:
        box.children = children


def within(widget: Widget) -> Iterator[Widget]:
    """Yield a widget and all that is in it."""
    yield widget
    for child in cast("tuple[Widget, ...]", getattr(widget, "children", ())):
        yield from within(child)


def close_parts(widget: Widget) -> None:
    """Close all that is in a widget, looks and layouts too, which the front end and ipywidgets would keep."""
    _, *parts = within(widget)
    for each in [*parts, widget]:
        for name in ("style", "layout"):
            look = cast("Any", getattr(each, name, None))
            if isinstance(look, Widget):
                look.close()
    for each in parts:
        each.close()


def take_on_any_thread(widget: Widget) -> None:
    """Let clicks arrive while a cell runs.

    ipykernel 7.4 sends what a front end says to the thread that last spoke to it, which is the one that runs cells;
    without that route the front end's own choice holds, a thread beside it. Other kernels have no such route.
    """
    for each in within(widget):
        comm = cast("Any", each).comm
        if hasattr(comm, "_reply_subshell_for"):
            comm._reply_subshell_for = None  # noqa: SLF001 - there is no public way


def hears_while_busy() -> bool:
    """Tell whether a click can arrive while a cell runs: it needs a kernel with subshells, ipykernel 7.1 or newer."""
    info = getattr(getattr(get_ipython(), "kernel", None), "kernel_info", None)
    return info is None or "kernel subshells" in info.get("supported_features", ())


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
