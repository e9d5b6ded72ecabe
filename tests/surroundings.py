"""The environment variables of a user's machine that tests must not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from victor_nb.providers.spec import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator


def _prefixes() -> Iterator[str]:
    """Yield how the variables of the built-in providers begin: OPENAI_ of OPENAI_API_KEY."""
    for spec in BUILT_IN:
        for name in (spec.base_url_variable, *spec.key_variables):
            if name:
                yield f"{name.partition('_')[0]}_"


_PREFIXES: Final = (*_prefixes(), "AZURE_", "VICTOR_", "XDG_")
_SUFFIXES: Final = ("_API_KEY", "_PROXY")


def is_foreign(name: str) -> bool:
    """Return whether a variable may change what a test sees."""
    return name == "CI" or name.upper().startswith(_PREFIXES) or name.upper().endswith(_SUFFIXES)
