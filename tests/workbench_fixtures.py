"""The fixtures of a test at the workbench: `pytest_plugins = ["workbench_fixtures"]` in a test module brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from servers import DIALECTS, PROTOCOLS, Dialect, Server
from workbench import CANARY, Bench, Way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve for one test."""
    with Server() as running:
        yield running


@pytest.fixture(params=PROTOCOLS, ids=repr)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Be each of the providers in turn, and each protocol that some of its models have."""
    return request.param


@pytest.fixture(params=get_args(Way))
def way(request: pytest.FixtureRequest) -> Way:
    """Ask plainly, then by a stream."""
    return request.param


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set a key for every provider that takes one, and return it."""
    for dialect in DIALECTS:
        if dialect.key_variable:
            monkeypatch.setenv(dialect.key_variable, CANARY)
    monkeypatch.setenv("NO_PROXY", "*")
    return CANARY


@pytest.fixture
def bench(tmp_path: Path, server: Server, dialect: Dialect, way: Way, keys: str) -> Iterator[Bench]:
    """Set the desk for one test, a key in every drawer."""
    assert keys
    desk = Bench(tmp_path, server, dialect, way)
    yield desk
    desk.clear()
