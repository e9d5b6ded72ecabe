"""What every test starts from: no keys, no settings, no session, an empty folder, and a home of its own."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from surroundings import is_foreign

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# The same examples on every machine: a run that fails here fails everywhere. Time is no verdict on a shared machine.
hypothesis.settings.register_profile("victor_nb", database=None, deadline=None, derandomize=True)
hypothesis.settings.load_profile("victor_nb")
# A shell that starts us in the background has interrupts ignored; the tests that press Stop need them.
signal.signal(signal.SIGINT, signal.default_int_handler)
set_hypothesis_home_dir(Path(__file__).parent.parent / "build" / ".hypothesis")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from the half a million objects that collection makes: all of them stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop that notebooks have."""
    return "asyncio"


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for caches that are dear to build, shared by all tests: matplotlib's list of fonts."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tests' own folders."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def tmp_path(folders: Path, request: pytest.FixtureRequest) -> Path:
    """Return an empty folder. Pytest's own fixture looks at those of all tests before for a number: milliseconds."""
    return Path(mkdtemp(prefix=f"{re.sub(r'[^0-9a-z]+', '_', request.node.name.lower())[:16]}_", dir=folders))


@pytest.fixture(autouse=True)
def _alone(caches: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test an environment that says nothing, a home that holds nothing, and `tmp_path` to work in."""
    for name in list(os.environ):
        if is_foreign(name):
            monkeypatch.delenv(name)
    home = Path(mkdtemp(prefix="h_", dir=folders))
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(home / name.lower()))
    monkeypatch.setenv("MPLCONFIGDIR", str(caches))
    monkeypatch.setenv("VICTOR_LEDGER", "memory")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_left(_alone: None) -> Iterator[None]:
    """Close the process's session and its shells after the test, if the test has opened any."""
    yield
    for module in map(sys.modules.get, ("victor_nb.kernel", "victor_nb.runtime")):  # charts have a runtime, no session
        if module is not None:
            module.reset()
    cells = sys.modules.get("cells")
    if cells is not None:
        cells.close_shells()
