"""Commands that belong to a later release. When one comes, its line here goes."""

from __future__ import annotations

from typing import Final

from victor_nb.errors import MagicError

COMMANDS: Final = {
    "pick": "See %victor profiles.",
    "panel": "See %victor status.",
}


def refuse_command(word: str) -> None:
    """Refuse a `%victor` command that does nothing yet.

    Raises:
        MagicError: It is one.
    """
    if word in COMMANDS:
        raise MagicError(f"%victor {word} is not available yet. {COMMANDS[word]}")
