"""The fixtures of widgets: `pytest_plugins = ["widget_fixtures"]` brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from victor_nb.notebook.widgets.ledger_view import LedgerView
from widget_pages import current_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cells import Shell


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """Return a notebook in which everything is simulated, at once."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    with current_shell() as found:
        yield found


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
