"""The fixture of a notebook for widgets: `pytest_plugins = ["surface_fixtures"]` brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from surfaces import current_shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cells import Shell


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """Return a notebook in which everything is simulated, at once."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    with current_shell() as found:
        yield found
