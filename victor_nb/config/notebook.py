"""Which notebook or script this process runs, and which of its cells: from what the kernel itself knows."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_STARTED_IN: Final = Path.cwd()
"""A kernel starts in the folder of its notebook; a cell may leave it."""
_again: list[int] = []
_OF_VS_CODE: Final = "__vsc_ipynb_file__"
_OF_OTHERS: Final = ("-packages", "ipykernel", "<")
"""Parts of the path of a main program that is no script of the user's."""


def current_cell() -> int | None:
    """Return the number of the cell that runs, as in `In [7]`; None where there are no cells."""
    if _again:
        return _again[-1]
    # A cell is there before it runs. IPython's own counter stands at it or behind it, as its version has it.
    return len(cell_sources()) - 1 if this_shell() is not None else None


@contextmanager
def as_cell(number: int) -> Generator[None]:
    """Let what the block runs count as a cell that has run before."""
    _again.append(number)
    try:
        yield
    finally:
        _again.pop()


def cell_sources() -> list[str]:
    """Return the cells that this kernel has run, as they were typed, the first at place 1."""
    history: Any = getattr(this_shell(), "history_manager", None)
    return [str(source) for source in getattr(history, "input_hist_raw", ())]


def find_notebook(named: str | None) -> Path | None:
    """Return the path of the notebook or script that this process runs; None where it cannot be known.

    Args:
        named: What Jupyter calls it in the environment of its kernel.
    """
    main: dict[str, Any] = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    for given in (named, main.get(_OF_VS_CODE)):
        if isinstance(given, str) and given.endswith(".ipynb"):
            path = Path(given)
            beside = path if path.is_file() else _STARTED_IN / path.name
            if beside.is_file():
                return beside.absolute()
    if this_shell() is not None:
        return _by_cells()
    script = main.get("__file__")
    if isinstance(script, str) and not any(part in script for part in _OF_OTHERS):
        return Path(script).absolute()
    return None


def _by_cells() -> Path | None:
    """Return the one notebook in this kernel's folder that begins with the cells which it has run.

    What runs notebooks without a server, such as nbclient, does not tell a kernel its notebook's name.
    """
    run = [_bare(source) for source in cell_sources()[1:] if source.strip()]
    found = [path for path in sorted(_STARTED_IN.glob("*.ipynb")) if run and [*_cells(path)][: len(run)] == run]
    return found[0].absolute() if len(found) == 1 else None


def _cells(path: Path) -> Iterator[str]:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        for cell in cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))["cells"]:
            source = cell["source"]
            text = source if isinstance(source, str) else "".join(source)
            if cell["cell_type"] == "code" and text.strip():
                yield _bare(text)


def _bare(source: str) -> str:
    return source.strip()


def this_shell() -> Any:  # noqa: ANN401 - IPython is not imported here
    """Return IPython's shell, where this is a kernel or a console of it."""
    get: Any = vars(sys.modules["__main__"]).get("get_ipython") if "__main__" in sys.modules else None
    return get() if callable(get) else None
