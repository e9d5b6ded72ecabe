"""`%victor pick`: choose who is asked, and see what that costs and whether a key is set."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from IPython.core.getipython import get_ipython
from traitlets import Any as AnyTrait
from traitlets import Tuple, validate

from victor_nb.errors import ConfigError, VictorError
from victor_nb.kernel import session
from victor_nb.notebook.doctor import ending, key_state, prices, usual_profile
from victor_nb.notebook.grammar import desk
from victor_nb.notebook.widgets.base import (
    HTML,
    Checkbox,
    HBox,
    Surface,
    Text,
    ToggleButtons,
    ValueWidget,
    VBox,
    on_change,
    put_inside,
    stack,
    styled,
    take_on_any_thread,
)
from victor_nb.notebook.widgets.html import Still, code, still_block, still_line, still_table, table, words
from victor_nb.notebook.widgets.throttle import pulse
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session


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


_COLUMNS: Final = ("profile", "provider", "model", "USD/M in", "out", "key", "at once")
_NUMBERS: Final = ("USD/M in", "out")
_ONE, _SEVERAL = "one", "several"


class _Choice(AnyTrait):
    """A name, or several; never None."""

    allow_none = False


class ProfilePicker(Surface, ValueWidget):
    """A list of the profiles, to choose from.

    What is chosen becomes the default of `%%victor` at once, as `%victor set profile=fast` would do it; that line is
    shown, ready to copy. `picker.observe(handler, names="value")` and `interact(f, profile=picker)` work as with any
    widget of ipywidgets, and so does a layout of your own.

    Args:
        value: Who is chosen at first: a name, or several; None for who is asked now.
        several: Whether several may be chosen, which a `%%victor` cell then asks side by side.
        sets_default: Whether a choice becomes the default of `%%victor`.
        home: The session; None for the kernel's.

    Attributes:
        value: The name that is chosen; a tuple of names where several may be.

    Raises:
        ProfileNotFoundError: There is no such profile.
        ConfigError: Several names are given where one may be chosen, or none at all.
    """

    title = "victor_nb · profiles"
    value: Any = _Choice("", help="The chosen profile, or a tuple of them.")

    def __init__(
        self,
        value: str | Sequence[str] | None = None,
        *,
        several: bool | None = None,
        sets_default: bool = True,
        home: Session | None = None,
    ) -> None:
        self.home = home or session()
        self._desk = desk(get_ipython()) if sets_default else None
        chosen = self._known((value,) if isinstance(value, str) else tuple(value or self._default()))
        many = len(chosen) > 1 if several is None else several
        if len(chosen) > 1 and not many:
            raise ConfigError(f"One profile may be chosen, not {len(chosen)}. Write ProfilePicker(several=True).")
        super().__init__(self.home)
        self._endings: dict[str, str] = {}
        self._filter = Text(description="Filter", placeholder="name, provider or model", continuous_update=True)
        self._mode: Any = ToggleButtons(description="Ask", options=[_ONE, _SEVERAL], value=_SEVERAL if many else _ONE)
        self._list = Choices("Profiles", list(self.home.settings.profiles), chosen, several=many)
        self._table, self._line = HTML(), HTML()
        self.value = chosen if many else next(iter(chosen))
        self._arrange()
        self.furnish(
            stack(self._filter, self._mode, across=True),
            styled(HBox([self._list, self._table]), "victor-beside"),
            self._line,
        )
        self._listen()
        if value is not None:
            self._take()
        self._finder = threading.Thread(target=self._find_endings, name="victor-endings", daemon=True)
        self._finder.start()

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names that are chosen, also where it is only one."""
        return (self.value,) if isinstance(self.value, str) else tuple(self.value)

    @property
    def line(self) -> str:
        """The line that chooses the same again."""
        names = self.profiles
        return f"%victor set profile={names[0]}" if len(names) == 1 else f"%victor set profiles={','.join(names)}"

    # --- what was chosen ---

    @validate("value")
    def _checked(self, proposal: Mapping[str, Any]) -> str | tuple[str, ...]:
        """Refuse what is no profile, before anything has changed."""
        value = proposal["value"]
        if not isinstance(value, (str, tuple, list)):
            raise ConfigError(f"A profile is chosen by its name, not by a {type(value).__name__}. Write 'fast'.")
        names = self._known((value,) if isinstance(value, str) else tuple(cast("Sequence[str]", value)))
        return value if isinstance(value, str) else names

    def _listen(self) -> None:
        on_change(self._filter, "value", self._arrange)
        on_change(self._mode, "value", self._switch)
        on_change(self._list, "value", self._picked)
        on_change(self, "value", lambda: self.tried(self._chosen))
        self._watch_desk()

    def _watch_desk(self) -> None:
        if self._desk is not None and self._follow not in self._desk.watchers:
            self._desk.watchers.append(self._follow)

    def resume(self) -> None:
        """Follow `%victor set` again, after `rest`."""
        super().resume()
        self._watch_desk()
        self._follow()

    def rest(self) -> None:
        """Follow nothing any more: the widget is on no page."""
        super().rest()
        if self._desk is not None and self._follow in self._desk.watchers:
            self._desk.watchers.remove(self._follow)

    def _picked(self) -> None:
        """Take over what was ticked; nobody is no choice, and the boxes say so."""
        ticked = self._list.value
        if not ticked:
            self._list.value = self.profiles
        elif ticked != self.profiles:
            self.value = ticked if self._list.several else next(iter(ticked))

    def _switch(self) -> None:
        several = self._mode.value == _SEVERAL
        if several == isinstance(self.value, str):
            self.value = self.profiles if several else self.profiles[0]
        self._arrange()

    def _chosen(self) -> None:
        self._mode.value = _ONE if isinstance(self.value, str) else _SEVERAL
        self._arrange()
        self._take()
        self.tell(None)
        self.changed()

    def _take(self) -> None:
        """Make the choice the default of `%%victor`."""
        names = self.profiles
        if self._desk is not None and self._desk.profiles != names:
            self._desk.set({"profile": names[0]} if len(names) == 1 else {"profiles": names})

    def _follow(self) -> None:
        """Show what `%victor set` has chosen elsewhere."""
        names = self._default()
        if names != self.profiles:
            with suppress(VictorError):  # `%victor set` itself has refused what is no profile
                self.value = names[0] if len(names) == 1 else names

    def _default(self) -> tuple[str, ...]:
        """Return who is asked anyway; a profile that is gone from the settings is not."""
        names = self._desk.profiles if self._desk is not None else ()
        chosen = tuple(name for name in names if name in self.home.settings.profiles)
        return chosen or (usual_profile(self.home),)

    def _known(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ConfigError("No profile is chosen. Name one, such as ProfilePicker('fast').")
        return tuple(self.home.settings.profile(name).name for name in dict.fromkeys(names))

    # --- what is seen ---

    def _names(self) -> list[str]:
        """Return the names that the filter leaves."""
        words = str(self._filter.value).lower().split()
        return [
            profile.name
            for profile in self.home.settings.profiles.values()
            if all(word in f"{profile.name} {profile.provider} {profile.model}".lower() for word in words)
        ]

    def _arrange(self) -> None:
        names = self._names()
        self._list.several = self._mode.value == _SEVERAL
        self._list.value = self.profiles
        self._list.show(names)
        self._describe(names)

    def _describe(self, names: Sequence[str]) -> None:
        columns, rows = self._told_of(names)
        chosen = [place for place, name in enumerate(names) if name in self.profiles]
        found = table(columns, rows, caption="Profiles", numbers=_NUMBERS, chosen=chosen)
        none = f"<p>No profile of {len(self.home.settings.profiles)} matches the filter.</p>"
        self.post(self._table, value=found if rows else none)
        self.post(self._line, value=code(self.line))

    def _told_of(self, names: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return a table's columns and rows; models that come to their end have a column more."""
        profiles = self.home.settings.profiles
        names = [name for name in names if name in profiles]
        rows = [self._row(profiles[name]) for name in names]
        endings = [self._endings.get(name, "") for name in names]
        if not any(endings):
            return _COLUMNS, rows
        return (*_COLUMNS, "mind"), [(*row, words) for row, words in zip(rows, endings, strict=True)]

    def _row(self, profile: Profile) -> tuple[str, ...]:
        limit = profile.concurrency or spec_of(profile.provider).concurrency or "no limit"
        name = f"{profile.name} (default)" if profile.name == self.home.settings.default else profile.name
        cost, key = prices(self.home, profile), key_state(self.home, profile)
        return (name, profile.provider, profile.model, *cost, key, str(limit))

    def _find_endings(self) -> None:
        """Look up which models come to their end, beside: it may import an SDK."""
        with suppress(VictorError):
            found = {name: ending(self.home, profile) for name, profile in self.home.settings.profiles.items()}
            self._endings = {name: words for name, words in found.items() if words}
            if self._endings:
                self._describe(self._names())
                self.changed()

    def wait_for_endings(self, timeout: float | None = None) -> None:
        """Wait until it is known which models come to their end, at most so many seconds."""
        self._finder.join(timeout)

    def still(self) -> Still:
        """Return the chosen profiles as a table, and the line that chooses them."""
        columns, rows = self._told_of(self.profiles)
        chosen = still_table(columns, rows, caption="The chosen profiles", numbers=_NUMBERS)
        return still_line(f"{self.title}: chosen", "victor-title") + chosen + still_block(self.line, "victor-code")

    def get_interact_value(self) -> str | tuple[str, ...]:
        """Return what `interact` calls a function with."""
        return self.value

    def __repr__(self) -> str:
        value = self.value if isinstance(self.value, str) else list(self.value)
        return f"ProfilePicker({value!r})"
