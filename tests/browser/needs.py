"""What the tests in a browser need, and what is said where it is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Final, NoReturn

import pytest

# Read when tests are collected: each test starts from an environment without it.
STRICT: Final = os.environ.get("CI", "").strip().lower() in {"1", "true", "yes"}
MODULES: Final = {
    "axe_playwright_python": "pip install 'victor-nb[dev]'",
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
