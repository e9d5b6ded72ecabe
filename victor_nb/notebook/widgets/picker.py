"""`%victor pick`: choose the profiles that are asked, and see their prices and whether their keys are set."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import ipywidgets as ipw  # pyright: ignore[reportMissingTypeStubs] - it has none
from IPython.core.getipython import get_ipython
from traitlets import Any as AnyTrait
from traitlets import Tuple, validate

from victor_nb import kernel
from victor_nb.errors import ConfigError, VictorError
from victor_nb.notebook.doctor import ending, key_state, prices, usual_profile
from victor_nb.notebook.grammar import defaults_of
from victor_nb.notebook.widgets.base import VictorWidget, column, on_change, receive_on_any_thread, row, set_children
from victor_nb.notebook.widgets.html import Content, code, region, table, words
from victor_nb.notebook.widgets.throttle import throttle
from victor_nb.providers.spec import spec_of
from victor_nb.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session

_COLUMNS: Final = ("profile", "provider", "model", "USD/M in", "out", "key", "at once", "mind")
_NUMBERS: Final = ("USD/M in", "out")
_ONE, _SEVERAL = "one", "several"


class CheckboxList(ipw.VBox):
    """Names with a checkbox each.

    Not a `Select`: JupyterLab keeps the arrow keys for itself, and letters are commands to it; Tab and Space are left
    to the page.

    Args:
        label: What the names are called together.
        names: All of them.
        chosen: Those that are ticked at first.
        several: Whether more than one may be ticked; else ticking one unticks the others.

    Attributes:
        value: The names that are ticked, in the order of the list; also those that are not shown now.
    """

    value: Any = Tuple(help="The names that are ticked.")

    def __init__(self, label: str, names: Sequence[str], chosen: Sequence[str] = (), *, several: bool = True) -> None:
        self.several = several
        self._following = False
        self._boxes: dict[str, Any] = {}
        self._list = column(*map(self._box, names), classes="victor-choices")
        cast("Any", super()).__init__((ipw.HTML(words(label, "victor-quiet")), self._list))
        on_change(self, "value", self._show_value)
        self.value = tuple(chosen)

    def show(self, names: Sequence[str]) -> None:
        """Show these names only, soon; the others keep their ticks. A name that is new gets a checkbox."""
        boxes = [self._box(name) for name in names]
        throttle().put(self._list, lambda: set_children(self._list, *boxes))

    def _box(self, name: str) -> Any:  # noqa: ANN401 - a checkbox, which has no types
        if name not in self._boxes:
            box = ipw.Checkbox(name in self.value, description=name, indent=False)
            on_change(box, "value", partial(self._clicked, name))
            receive_on_any_thread(box)
            self._boxes[name] = box
        return self._boxes[name]

    @property
    def shown(self) -> tuple[str, ...]:
        """The names that are shown now."""
        return tuple(box.description for box in cast("Any", self._list).children)

    @property
    def disabled(self) -> bool:
        """Whether no name can be ticked now."""
        return all(box.disabled for box in self._boxes.values())

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        for box in self._boxes.values():
            box.disabled = disabled

    def tick(self, name: str, *, on: bool = True) -> None:
        """Tick a name, or untick it, as a click does."""
        self._boxes[name].value = on

    def _clicked(self, name: str) -> None:
        if self._following:
            return
        if self.several:
            self.value = tuple(each for each, box in self._boxes.items() if box.value)
        elif self._boxes[name].value:
            self.value = (name,)
        else:
            self._show_value()  # one stays ticked

    def _show_value(self) -> None:
        self._following = True
        try:
            for name, box in self._boxes.items():
                box.value = name in self.value
        finally:
            self._following = False


class _Choice(AnyTrait):
    """A name, or several; never None."""

    allow_none = False


class ProfilePicker(VictorWidget, ipw.ValueWidget):
    """A list of the profiles, to choose from.

    What is chosen becomes the default of `%%victor` at once, as `%victor set profile=fast` would do it; that line is
    shown, ready to copy. `picker.observe(handler, names="value")` and `interact(f, profile=picker)` work as with any
    widget of ipywidgets, and so does a layout of your own.

    Args:
        value: The profile that is chosen at first, or several; None for the one that is asked now.
        several: Whether several may be chosen, which a `%%victor` cell then asks side by side.
        sets_default: Whether a choice becomes the default of `%%victor`.
        session: The session; None for the kernel's.

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
        session: Session | None = None,
    ) -> None:
        self.session = session or kernel.session()
        self._defaults = defaults_of(get_ipython()) if sets_default else None
        chosen = self._known((value,) if isinstance(value, str) else tuple(value or self._default()))
        many = len(chosen) > 1 if several is None else several
        if len(chosen) > 1 and not many:
            raise ConfigError(f"One profile may be chosen, not {len(chosen)}. Write ProfilePicker(several=True).")
        super().__init__(self.session)
        self._filter = ipw.Text(description="Filter", placeholder="name, provider or model", continuous_update=True)
        self._mode: Any = ipw.ToggleButtons(
            description="Ask", options=[_ONE, _SEVERAL], value=_SEVERAL if many else _ONE
        )
        self._list = CheckboxList("Profiles", list(self.session.settings.profiles), chosen, several=many)
        self._table, self._line = ipw.HTML(), ipw.HTML()
        self.value = chosen if many else next(iter(chosen))
        self._show()
        self.add_controls(
            row(self._filter, self._mode), row(self._list, self._table, classes="victor-beside"), self._line
        )
        on_change(self._filter, "value", self._show)
        on_change(self._mode, "value", self._switch)
        on_change(self._list, "value", self._picked)
        on_change(self, "value", lambda: self.attempt(self._chosen))
        if value is not None:
            self._set_default()
        if self._defaults is not None:
            self.while_shown(partial(self._watch_defaults, self._defaults.watchers))

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names that are chosen, also where it is only one."""
        return (self.value,) if isinstance(self.value, str) else tuple(self.value)

    @property
    def line(self) -> str:
        """The line that chooses the same again, or asks the same where the default is not set."""
        key = "profile" if len(self.profiles) == 1 else "profiles"
        start = "%%victor" if self._defaults is None else "%victor set"
        return f"{start} {key}={','.join(self.profiles)}"

    # --- the choice ---

    @validate("value")
    def _checked(self, proposal: Mapping[str, Any]) -> str | tuple[str, ...]:
        """Raise if a name is no profile's, before anything has changed."""
        value = proposal["value"]
        if not isinstance(value, (str, tuple, list)):
            raise ConfigError(f"A profile is chosen by its name, not by a {type(value).__name__}. Write 'fast'.")
        names = self._known((value,) if isinstance(value, str) else tuple(cast("Sequence[str]", value)))
        return value if isinstance(value, str) else names

    def _known(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ConfigError("No profile is chosen. Name one, such as ProfilePicker('fast').")
        return tuple(self.session.settings.profile(name).name for name in dict.fromkeys(names))

    def _default(self) -> tuple[str, ...]:
        """Return the profiles that a bare `%%victor` asks, without those that the settings no longer have."""
        names = self._defaults.profiles if self._defaults is not None else ()
        chosen = tuple(name for name in names if name in self.session.settings.profiles)
        return chosen or (usual_profile(self.session),)

    def _picked(self) -> None:
        """Take what was ticked as the choice; where nothing is ticked, restore the boxes."""
        ticked = self._list.value
        if not ticked:
            self._list.value = self.profiles
        elif ticked != self.profiles:
            self.value = ticked if self._list.several else ticked[0]

    def _switch(self) -> None:
        several = self._mode.value == _SEVERAL
        if several == isinstance(self.value, str):
            self.value = self.profiles if several else self.profiles[0]
        self._show()

    def _chosen(self) -> None:
        self._mode.value = _ONE if isinstance(self.value, str) else _SEVERAL
        self._show()
        self._set_default()
        self.show_message(None)
        self.refresh_fallback()

    def _set_default(self) -> None:
        names = self.profiles
        if self._defaults is not None and self._defaults.profiles != names:
            self._defaults.set({"profile": names[0]} if len(names) == 1 else {"profiles": names})

    # --- `%victor set` elsewhere ---

    def _watch_defaults(self, watchers: list[Callable[[], object]]) -> Callable[[], object]:
        """Follow `%victor set`; return what ends that."""
        watchers.append(self._follow)
        self._follow()
        return lambda: watchers.remove(self._follow)

    def _follow(self) -> None:
        """Show what `%victor set` has chosen."""
        names = self._default()
        if names != self.profiles:
            with suppress(VictorError):  # `%victor set` itself has refused what is no profile
                self.value = names[0] if len(names) == 1 else names

    # --- what is shown ---

    def _names(self) -> list[str]:
        """Return the names that the filter leaves."""
        wanted = str(self._filter.value).lower().split()
        return [
            profile.name
            for profile in self.session.settings.profiles.values()
            if all(word in f"{profile.name} {profile.provider} {profile.model}".lower() for word in wanted)
        ]

    def _show(self) -> None:
        names = self._names()
        self._list.several = self._mode.value == _SEVERAL
        self._list.value = self.profiles
        self._list.show(names)
        self._show_table(names)

    def _show_table(self, names: Sequence[str]) -> None:
        columns, rows = self._cells(names)
        chosen = [index for index, name in enumerate(names) if name in self.profiles]
        found = table(Table(columns, rows, _NUMBERS), "Profiles", marked=chosen)
        none = f"<p>No profile of {len(self.session.settings.profiles)} matches the filter.</p>"
        self.post(self._table, value=region(found, "Profiles", "victor-wider") if rows else none)
        self.post(self._line, value=code(self.line))

    def _cells(self, names: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return a table's columns and rows, with one column more where a model is about to retire."""
        profiles = self.session.settings.profiles
        rows = [self._row(profiles[name]) for name in names if name in profiles]
        return (_COLUMNS, rows) if any(row[-1] for row in rows) else (_COLUMNS[:-1], [row[:-1] for row in rows])

    def _row(self, profile: Profile) -> tuple[str, ...]:
        limit = profile.concurrency or spec_of(profile.provider).concurrency or "no limit"
        name = f"{profile.name} (default)" if profile.name == self.session.settings.default else profile.name
        cost, key = prices(self.session, profile), key_state(self.session, profile)
        return (name, profile.provider, profile.model, *cost, key, str(limit), ending(self.session, profile))

    def fallback(self) -> Content:
        """Return the chosen profiles as a table, and the line that chooses them."""
        columns, rows = self._cells(self.profiles)
        chosen = Content.table(Table(columns, rows, _NUMBERS), "The chosen profiles")
        return Content.line(f"{self.title}: chosen", "victor-title") + chosen + Content.code(self.line)

    def settle(self) -> None:
        """Bring the tables up to date now: the cell that has ended may have set keys, or written profiles."""
        if not self.session.closed:
            with suppress(VictorError):  # a cell that asks says what is wrong with profiles.yaml
                if self._stops:
                    self._show_table(self._names())
                self._fallback.update(self.fallback())

    def get_interact_value(self) -> str | tuple[str, ...]:
        """Return the argument that `interact` calls a function with."""
        return self.value

    def __repr__(self) -> str:
        value = self.value if isinstance(self.value, str) else list(self.value)
        return f"ProfilePicker({value!r})"
