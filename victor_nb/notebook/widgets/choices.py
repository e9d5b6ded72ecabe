"""A list of names to tick, one or several.

Boxes, not a listbox: JupyterLab keeps the arrow keys for itself, and letters are commands to it. Tab and Space are left
to the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from traitlets import Tuple

from victor_nb.notebook.widgets.kit import (
    HTML,
    Checkbox,
    VBox,
    on_change,
    put_inside,
    stack,
    styled,
    take_on_any_thread,
)
from victor_nb.notebook.widgets.page import words
from victor_nb.notebook.widgets.pulse import pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Choices(VBox):
    """Names with a box each.

    Args:
        label: What they are called together.
        names: All of them.
        chosen: Those that are ticked at first.
        several: Whether more than one may be ticked; ticking one then leaves the others.

    Attributes:
        value: The names that are ticked, in the order of the list; also those that are not shown now.
    """

    value: Any = Tuple(help="The names that are ticked.")

    def __init__(self, label: str, names: Sequence[str], chosen: Sequence[str] = (), *, several: bool = True) -> None:
        self._moving = False
        self.several = several
        self._boxes: dict[str, Any] = {}
        self._list = styled(stack(), "victor-choices")
        put_inside(self._list, *map(self._box, names))
        cast("Any", super()).__init__((HTML(words(label, "victor-quiet")), self._list))
        on_change(self, "value", self._tick)
        self.value = tuple(chosen)

    def show(self, names: Sequence[str]) -> None:
        """Show these names only, soon; the others keep their ticks. A name that is new gets a box."""
        shown = [self._box(name) for name in names]
        pulse().put(self._list, lambda: put_inside(self._list, *shown))

    def _box(self, name: str) -> Any:  # noqa: ANN401 - a checkbox, which has no types
        if name not in self._boxes:
            box = Checkbox(name in self.value, description=name, indent=False)
            on_change(box, "value", self._ticker(name))
            take_on_any_thread(box)
            self._boxes[name] = box
        return self._boxes[name]

    @property
    def shown(self) -> tuple[str, ...]:
        """The names that are shown now."""
        return tuple(box.description for box in cast("Any", self._list).children)

    @property
    def disabled(self) -> bool:
        """Whether nothing can be ticked now."""
        return all(box.disabled for box in self._boxes.values())

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        for box in self._boxes.values():
            box.disabled = disabled

    def tick(self, name: str, *, on: bool = True) -> None:
        """Tick a box, or untick it, as a click does."""
        self._boxes[name].value = on

    def _ticker(self, name: str) -> Callable[[], None]:
        return lambda: self._clicked(name)

    def _clicked(self, name: str) -> None:
        """Take a click over; of names that exclude each other, one stays ticked."""
        if self._moving:
            return
        if self.several:
            self.value = tuple(each for each, box in self._boxes.items() if box.value)
        elif self._boxes[name].value:
            self.value = (name,)
        else:
            self._tick()

    def _tick(self) -> None:
        """Make the boxes say what the value says."""
        self._moving = True
        try:
            for name, box in self._boxes.items():
                box.value = name in self.value
        finally:
            self._moving = False
