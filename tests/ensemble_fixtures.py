"""The fixture of a cast of models: `pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]` brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ensemble import Ensemble

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server


@pytest.fixture
def ensemble(tmp_path: Path, server: Server, keys: str) -> Ensemble:
    """Cast the seed's four profiles on a server."""
    assert keys
    cast = Ensemble(tmp_path, server)
    cast.cast()
    return cast
