"""Reads answers that may not have the shape they should: attributes and keys that may be missing or of another type."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.values import FinishReason


def read(value: object, *path: str) -> object:
    """Follow attributes (of SDK objects) or keys (of JSON objects); None where the path ends early."""
    for name in path:
        value = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value


def items(value: object, *path: str) -> list[object]:
    """Return the list at the end of a path; an empty one where there is none."""
    found = read(value, *path)
    return cast("list[object]", found) if isinstance(found, list) else []


def number(value: object, *path: str) -> int:
    """Return the token count at the end of a path; 0 where there is none."""
    found = read(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def text(value: object) -> str | None:
    """Return the value if it is a text."""
    return value if isinstance(value, str) else None


def finish(table: Mapping[str, str], reason: object) -> FinishReason | None:
    """Translate a provider's reason to stop into ours; one that is unknown is `other`."""
    if not isinstance(reason, str) or not reason:
        return None
    return cast("FinishReason", table.get(reason, "other"))
