"""Words of the grammar that belong to a later release. When one comes, its line here goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from victor_nb.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS: Final = {
    "profiles": "Ask one profile: profile=fast.",
    "strategy": "Ask one profile: profile=fast.",
    "bg": "Leave it out: the cell waits, and Stop works.",
    "n": "Leave it out: one prompt gets one answer.",
    "budget": "Set budget: in profiles.yaml.",
}
COMMANDS: Final = {
    "pick": "See %victor profiles.",
    "panel": "See %victor status.",
    "plot": "See %victor cost.",
    "budget": "Set budget: in profiles.yaml.",
    "strategy": "Ask one profile: %%victor profile=fast.",
}


def refuse_keys(keys: Iterable[str]) -> None:
    """Refuse the first key that means nothing yet.

    Raises:
        MagicError: There is one.
    """
    for key in keys:
        if key in KEYS:
            raise MagicError(f"{key}= is not available yet. {KEYS[key]}")


def refuse_command(word: str) -> None:
    """Refuse a `%victor` command that does nothing yet.

    Raises:
        MagicError: It is one.
    """
    if word in COMMANDS:
        raise MagicError(f"%victor {word} is not available yet. {COMMANDS[word]}")
