"""The base class of all widgets, their fallback without a kernel, and typed helpers for ipywidgets.

The private doors of ipykernel that are used here are listed in CONTRIBUTING.md, each with its test.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from uuid import uuid4
from weakref import WeakSet

import ipywidgets as ipw  # pyright: ignore[reportMissingTypeStubs] - it has none
from IPython.core.getipython import get_ipython

from victor_nb import kernel
from victor_nb.errors import VictorError
from victor_nb.notebook.display import Place
from victor_nb.notebook.widgets.html import LIVE, Content, fallback_style, key_handler, stylesheet, words
from victor_nb.notebook.widgets.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.kernel import Session
    from victor_nb.notebook.markdown import Bundle

VIEW: Final = "application/vnd.jupyter.widget-view+json"
W = TypeVar("W", bound=ipw.Widget)


class VictorWidget(ipw.VBox):
    """A box with a title, controls, and a line for messages; static HTML takes its place where no kernel runs.

    A subclass adds its controls with `add_controls`, returns its static content from `fallback`, and changes what is
    on the page through `post` and `poll`, which together keep to what a front end can take.

    Args:
        session: The session; None for the kernel's.

    Attributes:
        title: What stands over the controls.
    """

    title: str = ""

    def __init__(self, session: Session | None = None) -> None:
        _attach(get_ipython())
        self.session = session or kernel.session()
        self._fallback = Fallback()
        self._starts: list[Callable[[], Callable[[], object]]] = []
        self._stops: list[Callable[[], object]] = []
        self._message = ipw.HTML()
        cast("Any", super()).__init__()
        with_classes(self, "victor")

    # --- for subclasses ---

    def add_controls(self, *children: ipw.Widget) -> None:
        """Put widgets between the title and the line for messages."""
        css = f"{stylesheet(*LIVE)}{self._fallback.hiding_style}"
        style = ipw.HTML(f"{key_handler()}<style>{css}</style>", layout=ipw.Layout(display="none"))
        title = ipw.HTML(f'<div class="victor-title">{words(self.title)}</div>')
        set_children(self, style, title, *children, self._message)
        receive_on_any_thread(self)

    def fallback(self) -> Content:
        """Return the content that replaces the widget where no kernel runs."""
        raise NotImplementedError

    def post(self, widget: ipw.Widget, **traits: object) -> None:
        """Set traits of a widget soon, at the rate that the throttle of all widgets allows."""
        throttle().send(widget, **traits)

    def while_shown(self, start: Callable[[], Callable[[], object]]) -> None:
        """Run something while the widget is on a page: call `start` then, and what it returned at the end."""
        self._starts.append(start)
        self._stops.append(start())

    def poll(self, work: Callable[[], object], *, every: float) -> None:
        """Call a function every so many seconds while the widget is on a page; its `VictorError` is shown."""
        self.while_shown(lambda: throttle().poll(lambda: self.attempt(work), every=every))

    def attempt(self, work: Callable[[], object]) -> bool:
        """Call a function and return whether it succeeded; a `VictorError` is shown, and kept for `%victor errors`."""
        try:
            work()
        except VictorError as error:
            # A call that failed has put its error there itself, and a poll may find the same again and again.
            if not any(type(known) is type(error) and str(known) == str(error) for known in self.session.errors):
                self.session.errors.append(error)
            self.show_message(error)
            return False
        return True

    def show_message(self, message: VictorError | str | None) -> None:
        """Show one line under the controls, an error in red; None removes it."""
        error = isinstance(message, VictorError)
        line = self.session.redacted(f"{type(message).__name__}: {message}" if error else message or "")
        role, look = ("alert", "victor-bad") if error else ("status", "victor-quiet")
        self.post(self._message, value=f'<div role="{role}">{words(line, look)}</div>' if line else "")

    def refresh_fallback(self) -> None:
        """Bring the fallback up to date, soon, wherever it is shown."""
        if self._fallback.shown:
            self._fallback.late = True
            throttle().put(self._fallback, lambda: self._fallback.update(self.fallback()))

    # --- life ---

    def resume(self) -> None:
        """Resume all that runs while the widget is shown, after `suspend`."""
        if not self._stops:
            self._stops = [start() for start in self._starts]

    def suspend(self) -> None:
        """End all that runs while the widget is shown: it is on no page any more."""
        while self._stops:
            self._stops.pop()()

    def close(self) -> None:
        """Stop all polls, and remove the widget and its parts from the front end and from ipywidgets."""
        self.suspend()
        _, *parts = descendants(self)
        for each in [*parts, self]:
            for name in ("style", "layout"):
                look = cast("Any", getattr(each, name, None))
                if isinstance(look, ipw.Widget):
                    look.close()
        for each in parts:
            each.close()
        cast("Any", super()).close()

    def __del__(self) -> None:
        """Do nothing: ipywidgets would close it, and one whose arguments were refused has nothing to close."""

    def fallback_frame(self) -> Bundle:
        """Return the fallback as it is now."""
        return self._fallback.frame(self.fallback())

    def show_fallback(self, publish: Callable[[Bundle], None]) -> None:
        """Show the fallback in one more place."""
        self._fallback.show(publish, self.fallback())

    def settle(self) -> None:
        """Bring the fallback up to date now: after the cell's end nothing more of it is saved."""
        if self._fallback.late:
            self._fallback.update(self.fallback())

    def _ipython_display_(self, **_: object) -> None:
        show(self, self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Fallback:
    """Static HTML and text below a widget, updated with it: what a saved, exported or headless notebook shows.

    Attributes:
        late: Whether an update waits for its turn.
    """

    def __init__(self) -> None:
        self._id = uuid4().hex[:12]
        self._publishers: list[Callable[[Bundle], None]] = []
        self._shown: Content | None = None
        self.late = False

    @property
    def hiding_style(self) -> str:
        """The CSS rule with which the live widget hides its fallback, but not in a page exported by nbconvert."""
        name = f".victor-fallback-{self._id}"
        return f"body:not(.jp-Notebook) :is(.jp-OutputArea-child:has({name}),{name}){{display:none}}"

    @property
    def shown(self) -> bool:
        """Whether it is in any cell."""
        return bool(self._publishers)

    def show(self, publish: Callable[[Bundle], None], content: Content) -> None:
        """Show it in one more place."""
        publish(self.frame(content))
        self._publishers.append(publish)

    def update(self, content: Content) -> None:
        """Show other content in all its places."""
        self.late = False
        if content != self._shown:
            for publish in self._publishers:
                publish(self.frame(content))

    def frame(self, content: Content) -> Bundle:
        """Return the content as a bundle of MIME types."""
        self._shown = content
        html = f"<style>{fallback_style(content.html)}</style>{content.html}"
        return {
            "text/html": f'<div class="victor victor-fallback victor-fallback-{self._id}">{html}</div>',
            "text/plain": content.plain,
        }


# --- showing ---


def show(box: ipw.Box, *ours: VictorWidget) -> None:
    """Show a box in the cell that runs, and below it the fallbacks of our widgets in it, or of itself."""
    shell = get_ipython()
    if shell is None:
        for each in ours:
            print(each.fallback().plain)  # noqa: T201 - plain Python, where displaying is printing
        return
    is_live = hasattr(shell, "kernel") and ours[0].session.settings.watched
    if is_live:
        for each in ours:
            _stop_earlier_runs(shell, each)
            each.resume()
        # Readers that have no widgets show the empty page of the live view, and then the fallback.
        model = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
        Place(shell)(cast("Any", {VIEW: model, "text/html": "<!-- live -->", "text/plain": repr(box)}))
    for each in ours:
        if hasattr(shell, "kernel"):
            each.show_fallback(Place(shell))
            _with_fallback.add(each)
        else:  # a terminal: what is written there stays as it is
            each.suspend()
            Place(shell)(each.fallback_frame())


def show_layout(box: ipw.Box) -> None:
    """Show a box of any kind, such as that of `interact`, with the fallbacks of our widgets in it.

    Raises:
        NotImplementedError: It holds none: IPython shows it as ever.
    """
    if isinstance(box, VictorWidget):
        cast("Any", box)._ipython_display_()  # the board's waits for its run where it is not watched
        return
    ours = [each for each in descendants(box) if isinstance(each, VictorWidget)]
    if not ours:
        raise NotImplementedError
    show(box, *ours)


_with_fallback: Final[WeakSet[VictorWidget]] = WeakSet()
"""The widgets whose fallbacks are in a cell: they are brought up to date when a cell ends."""
_attached: Final[WeakSet[InteractiveShell]] = WeakSet()
"""The shells in which that happens, and in which boxes are shown by `show_layout`."""


def _attach(shell: InteractiveShell | None) -> None:
    """Show boxes by `show_layout` from now on, and bring fallbacks up to date after each cell."""
    if shell is not None and shell not in _attached:
        _attached.add(shell)
        cast("Any", shell).display_formatter.ipython_display_formatter.for_type(ipw.Box, show_layout)
        cast("Any", shell).events.register("post_run_cell", _settle_all)


def _settle_all(*_: object) -> None:
    for widget in [*_with_fallback]:
        widget.settle()


# --- which cell shows which widget ---

_shown_in: Final[defaultdict[str, dict[int, list[VictorWidget]]]] = defaultdict(dict)
"""The widgets of each cell, by the execution count of the run that showed them."""


def _stop_earlier_runs(shell: InteractiveShell, widget: VictorWidget) -> None:
    """Note that the running cell shows a widget, and stop those that only earlier runs of the cell have shown."""
    parent = cast("dict[str, dict[str, str]]", cast("Any", shell).kernel.get_parent("shell") or {})
    cell = parent.get("metadata", {}).get("cellId")  # where the front end sends one
    if cell is None:
        return
    run = int(cast("Any", shell).execution_count)
    before = {count: widgets for count, widgets in _shown_in[cell].items() if count != run}
    _shown_in[cell] = {run: [*_shown_in[cell].get(run, []), widget]}
    still_shown = {id(each) for runs in _shown_in.values() for widgets in runs.values() for each in widgets}
    for widgets in before.values():
        for each in widgets:
            if id(each) not in still_shown:
                each.suspend()


# --- ipywidgets, with types ---


def with_classes(widget: W, *classes: str) -> W:
    """Add CSS classes to a widget, and return it."""
    for name in classes:
        cast("Any", widget).add_class(name)
    return widget


def on_click(button: ipw.Button, call: Callable[[], object]) -> None:
    """Call a function whenever a button is pressed, on the thread that takes the front end's message."""

    def clicked(_: object) -> None:
        call()

    cast("Any", button).on_click(clicked)


def on_change(widget: ipw.Widget, trait: str, call: Callable[[], object]) -> None:
    """Call a function whenever a trait has changed, by a user or by code."""

    def changed(_: object) -> None:
        call()

    cast("Any", widget).observe(changed, names=trait)


def column(*children: ipw.Widget, classes: str = "") -> ipw.Box:
    """Return widgets one below the other."""
    return with_classes(cast("Any", ipw.VBox)(children), *classes.split())


def row(*children: ipw.Widget, classes: str = "victor-row") -> ipw.Box:
    """Return widgets side by side, as far as there is room."""
    return with_classes(cast("Any", ipw.HBox)(children), *classes.split())


def set_children(box: ipw.Box, *children: ipw.Widget) -> None:
    """Replace the children of a box; the same ones again send nothing."""
    if cast("Any", box).children != children:
        box.children = children


def descendants(widget: ipw.Widget) -> Iterator[ipw.Widget]:
    """Yield a widget and all widgets in it."""
    yield widget
    for child in cast("tuple[ipw.Widget, ...]", getattr(widget, "children", ())):
        yield from descendants(child)


def receive_on_any_thread(widget: ipw.Widget) -> None:
    """Let clicks arrive while a cell runs.

    ipykernel 7.4 delivers a front end's messages to the thread that last sent one to it, which is the one that runs
    cells. Without that route they go where the front end sends them: to a thread beside it. Other kernels have no such
    route.
    """
    for each in descendants(widget):
        comm = cast("Any", each).comm
        if hasattr(comm, "_reply_subshell_for"):
            comm._reply_subshell_for = None  # noqa: SLF001 - there is no public way


def receives_while_busy() -> bool:
    """Return whether a click can arrive while a cell runs: it needs a kernel with subshells, ipykernel 7.1 or newer."""
    info = getattr(getattr(get_ipython(), "kernel", None), "kernel_info", None)
    return info is None or "kernel subshells" in info.get("supported_features", ())
