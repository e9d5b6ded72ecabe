"""The fixture of ledger views: `pytest_plugins = ["ledger_view_fixtures"]` brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from victor_nb.notebook.widgets.ledger_view import LedgerView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def view() -> Iterator[Callable[..., LedgerView]]:
    """Return what makes a view, which ends with the test."""
    made: list[LedgerView] = []

    def make(*args: Any, **options: Any) -> LedgerView:
        made.append(LedgerView(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
