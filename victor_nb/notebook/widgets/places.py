"""Where widgets are: a cell that runs again shows a new one, and what it showed before need not look any more."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class Resident(Protocol):
    """What is shown in cells."""

    def rest(self) -> None:
        """Stop what goes on: it is in no cell any more."""
        ...


_residents: Final[defaultdict[str, dict[int, list[Resident]]]] = defaultdict(dict)


def leave_other_runs(shell: InteractiveShell, newcomer: Resident) -> None:
    """Note that a widget is shown in the cell that runs now, and let those rest that only earlier runs of it showed."""
    cell = _cell(shell)
    if cell is None:
        return
    run = int(cast("Any", shell).execution_count)
    before = {count: residents for count, residents in _residents[cell].items() if count != run}
    _residents[cell] = {run: [*_residents[cell].get(run, []), newcomer]}
    elsewhere = {id(resident) for runs in _residents.values() for residents in runs.values() for resident in residents}
    for residents in before.values():
        for resident in residents:
            if id(resident) not in elsewhere:
                resident.rest()


def _cell(shell: InteractiveShell) -> str | None:
    """Return the front end's own name of the cell that runs now, where it gives one."""
    parent = cast("dict[str, dict[str, str]]", cast("Any", shell).kernel.get_parent("shell") or {})
    return parent.get("metadata", {}).get("cellId")
