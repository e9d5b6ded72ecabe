"""What a cell goes through before IPython reads it: our errors become red, and prompts stay as they were typed.

IPython refuses an empty `%%victor` and a comment above it with a `UsageError`, which nbmake calls green; it strips
`>>>` and trailing blanks from prompts; and it takes `%victor ask -- really?` for a question about the name `really`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OURS: Final = re.compile(r"[ \t]*%%victor(?=\s|$)(?P<line>.*)", re.DOTALL)
_CELL: Final = re.compile(r"[ \t]*%%(?P<name>[ \t]*\w+)(?![\w?])")
_ASK: Final = re.compile(
    r"(?P<before>[ \t]*(?:[\w.\[\]'\", ]+=[ \t]*)?)%victor[ \t]+(?P<rest>ask\b[^\n]*\?)[ \t]*(?P<end>\n?)$"
)
_TRIPLE: Final = re.compile(r'"""|' + "'''")
_RAISE: Final = "raise __import__('victor_nb.errors', fromlist=['x']).MagicError({!r})\n"


class Transform:
    """An input transformer of IPython: lines in, lines out.

    Args:
        known: Gives the names of all cell magics, so that a misspelt `%%victor` is told from another magic.
    """

    has_side_effects = True
    """Keeps IPython's console from asking us whether a cell that is being typed is complete."""

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines as IPython is to see them."""
        first = next((place for place, line in enumerate(lines) if _says_something(line)), None)
        if first is None:
            return lines
        ours = _OURS.match(lines[first])
        if ours is not None:
            return [_call(ours["line"].strip(), "".join(lines[first + 1 :]))]
        magic = _CELL.match(lines[first])
        if magic is not None:
            return [_RAISE.format(wrong)] if (wrong := self._misspelt(magic["name"])) else lines
        if lines[first].lstrip().startswith("%%"):
            return lines
        return _in_code(lines)

    def _misspelt(self, name: str) -> str | None:
        """Say what is wrong with the name of a magic that was meant to be ours."""
        if name in self._known() or did_you_mean(name.strip().lower(), ["victor"]) is None:
            return None
        return f"%%{name} is no magic. Did you mean %%victor?"


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _call(line: str, body: str) -> str:
    """Return the call that the cell means; IPython refuses an empty body, so it gets a line break."""
    return f"get_ipython().run_cell_magic('victor', {line!r}, {body or chr(10)!r})\n"


def _in_code(lines: list[str]) -> list[str]:
    """Mend a cell of Python: a `%%victor` in the middle of it, and questions after `%victor ask`."""
    if not any("%victor" in line for line in lines):
        return lines
    mended: list[str] = []
    quotes = 0
    for line in lines:
        if quotes % 2 == 0 and line.startswith("%%victor") and _OURS.match(line):
            why = "%%victor must be the first line of its cell. Move what is above it to a cell of its own."
            return [*mended, _RAISE.format(why)]
        asked = _ASK.match(line) if quotes % 2 == 0 else None
        if asked is not None:
            line = f"{asked['before']}get_ipython().run_line_magic('victor', {asked['rest']!r}){asked['end']}"  # noqa: PLW2901
        else:
            quotes += len(_TRIPLE.findall(line))
        mended.append(line)
    return mended
