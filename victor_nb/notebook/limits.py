"""What one cell may spend."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from victor_nb.notebook.grammar import MagicCall
    from victor_nb.session import Session


@contextmanager
def limited(home: Session, call: MagicCall) -> Generator[None]:
    """Hold the calls that are made in the block to `budget=`, and to the cell's limit in profiles.yaml."""
    with ExitStack() as limits:
        if home.settings.budget.cell is not None:
            limits.enter_context(home.budget.limit(home.settings.budget.cell, name="a cell"))
        if call.budget is not None:
            limits.enter_context(home.budget.limit(call.budget, name="this cell"))
        yield
