"""What a user sets, and where it is read from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Progress: TypeAlias = Literal["on", "text", "off", ""]

_WORDS: Final[Mapping[str, Progress]] = {
    **dict.fromkeys(("on", "1", "true", "yes"), "on"),
    **dict.fromkeys(("off", "0", "false", "no"), "off"),
    "text": "text",
}


def progress() -> Progress:
    """Return how work is seen to go on: `on` or `text` or `off` by VICTOR_PROGRESS, `off` by CI=true, "" as it suits.

    It stands here because a cell's first word of waiting must not wait for the import of the settings.
    """
    quiet = os.environ.get("CI", "").strip().lower() in {"1", "true", "yes"}
    return _WORDS.get(os.environ.get("VICTOR_PROGRESS", "").strip().lower(), "off" if quiet else "")
