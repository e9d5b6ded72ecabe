"""The ipywidgets that ours are built from, and the few things that we do with them, with types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from IPython import get_ipython
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
