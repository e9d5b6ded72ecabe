"""The fixtures of budget trials: `pytest_plugins = ["workbench_fixtures", "trials_fixtures"]` brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trials import Book, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def book() -> Book:
    """Keep the server's book."""
    return Book()


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """Count trials, and put what came out in the test's report."""
    counted = Tally()
    yield counted
    for name, value in counted.properties():
        record_property(name, value)
