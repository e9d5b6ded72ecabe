r"""Prompts with places in them, as strategies have: `{task}`, `{items}`, `{implement}`.

One rule: a known name in single braces is a place, and everything else, single braces included, is sent as typed. What
is put into a place is never looked at again, so a task may hold any braces. `\{task}` is the word itself.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

BEFORE: Final = ("items", "best", "previous")
"""What stands for the stage before: all that it kept as a numbered list, the first of it, its answer word for word."""
RESERVED: Final = ("task", *BEFORE, "sample", "n", "keep")
"""Places that every prompt may have; no stage goes by such a name."""

NAME: Final = r"[A-Za-z_][\w-]*"
_PLACE: Final = re.compile(rf"(\\?)\{{({NAME})\}}")
_DOUBLED: Final = re.compile(rf"\{{\{{\s*({NAME})\s*\}}\}}")
_NEAR: Final = 0.8  # how alike a word must be to be taken for a slip; `{test}` is not one of `{best}`


def places(template: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the known names that a template has places for, in order, each once."""
    found = (name for escape, name in _PLACE.findall(template) if not escape and name in known)
    return tuple(dict.fromkeys(found))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with values in their places."""

    def put(found: re.Match[str]) -> str:
        escape, name = found.groups()
        if name not in values:
            return found[0]
        return f"{{{name}}}" if escape else values[name]

    return _PLACE.sub(put, template)


def slip(template: str, known: Collection[str]) -> str | None:
    """Return what is wrong with the places of a template, in words; None where nothing seems to be."""
    doubled = next((name for name in _DOUBLED.findall(template) if name in known), None)
    if doubled is not None:
        return f"{{{{ {doubled} }}}} is a cell's way of writing. Here it is {{{doubled}}}"
    for escape, name in _PLACE.findall(template):
        near: list[str] = get_close_matches(str(name), known, n=1, cutoff=_NEAR)
        if not escape and name not in known and near:
            return f"{{{name}}} is no place. Did you mean {{{near[0]}}}? As plain text it is \\{{{name}}}"
    return None
