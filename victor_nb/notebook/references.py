"""`$name` as a whole value: the Python object of that name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast

from victor_nb.errors import MagicError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

_REFERENCE: Final = re.compile(r"\$([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_SHELLS: Final = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
"""Names that IPython puts beside the user's."""


def own(names: Iterable[str]) -> list[str]:
    """Return the names that a user gave, without what Python and IPython keep among them."""
    return [name for name in names if not name.startswith("_") and name not in _SHELLS]


def look_up(key: str, text: str, names: Mapping[str, object]) -> object:
    """Return the object that `$name` or `$name.part` means; a text that is no reference stays as it is.

    Raises:
        MagicError: There is no such name, or no such part of it.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        if text.startswith("$") and (len(text) == 1 or text[1].isdigit() or text[1] == "{"):
            raise MagicError(f"{key}={text} is no reference. $ stands before a Python name only, such as {key}=$value.")
        return text
    first, *parts = match[1].split(".")
    if first not in names:
        close = did_you_mean(first, own(names))
        hint = f"Did you mean ${close}?" if close else "Run the cell that defines it first."
        raise MagicError(f"{key}=${match[1]}: {first!r} is not defined. {hint}")
    value = names[first]
    for part in parts:
        value = _part(value, part, f"{key}=${match[1]}")
    return value


def _part(value: object, part: str, shown: str) -> object:
    if part.startswith("_") or isinstance(value, ModuleType):
        raise MagicError(f"{shown}: what starts with _ or belongs to a module cannot be reached. Give it a name first.")
    entries = _entries(value)
    if part in entries:
        return entries[part]
    try:
        return getattr(value, part)
    except AttributeError:
        raise MagicError(f"{shown}: a {type(value).__name__} has no {part!r}. Check the name.") from None


def _entries(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
