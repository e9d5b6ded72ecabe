"""What the magics of a kernel remember between two cells: the defaults that `%victor set` and `%victor pick` gave."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from victor_nb.notebook.grammar import MagicCall, apply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SETTABLE: Final = ("profile", "profiles", "system", "timeout", "max_tokens", "temperature", "cost", "show")
"""The keys that `%victor set` takes."""

_LONGEST: Final = 40  # characters of a value where defaults are listed
_ONE_OR_MANY: Final = ("profile", "profiles")


class Desk:
    """The defaults of one notebook.

    Attributes:
        given: Each by its key, in the order in which they came.
        defaults: The same as the call that a bare `%%victor` is.
        watchers: Called after every change.
    """

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        self.defaults = MagicCall()
        self.watchers: list[Callable[[], object]] = []

    def set(self, given: Mapping[str, object]) -> None:
        """Take further defaults; one profile takes the place of several, and the other way round."""
        for key, other in (_ONE_OR_MANY, _ONE_OR_MANY[::-1]):
            if key in given:
                self.given.pop(other, None)
        self.given.update(given)
        self._changed()

    def reset(self) -> None:
        """Forget all defaults."""
        self.given.clear()
        self._changed()

    @property
    def profiles(self) -> tuple[str, ...]:
        """Whom a bare `%%victor` asks; empty for the default of the settings."""
        one = self.defaults.profile
        return self.defaults.profiles or ((one,) if one else ())

    def _changed(self) -> None:
        self.defaults = apply(self.given, MagicCall())
        for watcher in list(self.watchers):
            watcher()

    def __str__(self) -> str:
        """Say the defaults as `%victor set` takes them."""
        return " ".join(f"{key}={_word(value)}" for key, value in self.given.items())


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return shlex.quote(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


_desks: Final[WeakKeyDictionary[Any, Desk]] = WeakKeyDictionary()
_nobodys: Final = Desk()


def desk(shell: object | None) -> Desk:
    """Return the desk of a notebook's shell; without a shell there is one for the process."""
    return _nobodys if shell is None else _desks.setdefault(shell, Desk())
