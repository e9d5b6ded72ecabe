"""The fixtures of a test that types cells: `pytest_plugins = ["cells_fixtures"]` in a test module brings them.

`live` needs a `server` too, which "workbench_fixtures" brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cells import PROFILES, Shell, served, write
from workbench import CANARY

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Open a notebook in simulate mode."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write(tmp_path, PROFILES)
    return Shell()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Shell:
    """Open a notebook whose profile `fast` is a server of ours, with a canary for a key."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("NO_PROXY", "*")
    write(tmp_path, served(server))
    return Shell()
