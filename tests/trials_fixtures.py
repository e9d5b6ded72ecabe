"""The fixtures of budget trials: `pytest_plugins = ["workbench_fixtures", "trials_fixtures"]` brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from trials import Book, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def book(request: pytest.FixtureRequest) -> Book:
    """Keep the server's book; each test has chances of its own, the same in every run."""
    return Book(crc32(request.node.name.encode()))


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """Count trials, and put what came out in the test's report."""
    counted = Tally()
    yield counted
    for name, value in counted.properties():
        record_property(name, value)
