"""Explains code line by line, as far as its first words tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from victor_nb.wire.writing.brief import Brief

# What a line does, by its form. The groups are put into the sentence.
_LINES: Final = (
    (r"(?:from\s+([\w.]+)\s+)?import\s+(.+)", "brings in `{1}`"),
    (r"(?:async\s+)?(?:def|func|function|fn)\s+(\w+)\s*\(([^)]*)\).*", "defines the function `{0}`"),
    (r"class\s+(\w+).*", "defines the type `{0}`"),
    (r"return\s+(.+)", "hands back `{0}`"),
    (r"yield\s+(.+)", "gives out `{0}` and waits to be asked for more"),
    (r"raise\s+(.+)", "stops with the error `{0}`"),
    (r"for\s+(.+?)\s+in\s+(.+?):?", "repeats what follows for each `{0}` of `{1}`"),
    (r"while\s+(.+?):?", "repeats what follows as long as `{0}`"),
    (r"(?:el)?if\s+(.+?):?", "goes on here only if `{0}`"),
    (r"else.*", "covers every other case"),
    (r"with\s+(.+?):?", "opens `{0}` and closes it again at the end"),
    (r"try.*", "begins a part that may fail"),
    (r"except\s*(.*?):?", "says what happens when it does"),
    (r"(?:const\s+|let\s+|var\s+)?([\w.\[\]]+)\s*:?=\s*(.+)", "puts `{1}` into `{0}`"),
    (r"([\w.]+)\(.*", "calls `{0}`"),
)
_MOST: Final = 12


def write_explanation(brief: Brief) -> str | None:
    """Return what each line of the code does; None where there is no code."""
    lines = [(number, line.strip()) for number, line in enumerate(brief.code.splitlines(), start=1) if line.strip()]
    told = [f"- Line {number} {does}." for number, line in lines if (does := _does(line))][:_MOST]
    if not told:
        return None
    names = re.findall(r"\b(?:def|func|function|fn|class)\s+(\w+)", brief.code)
    what = (
        f"It defines {', '.join(f'`{name}`' for name in dict.fromkeys(names))}."
        if names
        else "It runs from top to bottom."
    )
    size = f"The code has {len(lines)} line{'s' if len(lines) > 1 else ''}."
    return "\n".join([f"{size} {what}", "", *told])


def _does(line: str) -> str | None:
    for form, sentence in _LINES:
        found = re.fullmatch(form, line.rstrip(";{ "))
        if found:
            return sentence.format(*(group or "" for group in found.groups()))
    return None
