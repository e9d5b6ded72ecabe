"""The keys of a magic line, and how the value of each is read: from text, or from a Python object given as `$name`."""

from __future__ import annotations

import builtins
import keyword
import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from victor_nb.errors import MagicError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Form: TypeAlias = Literal["text", "md", "json", "code", "table"]
Show: TypeAlias = Literal["answer", "quiet", "none"]
OnError: TypeAlias = Literal["keep", "raise"]

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}
_SHELLS: Final = frozenset({"In", "Out", "get_ipython", "exit", "quit", "_", "__", "___"})


def word(key: str, value: object) -> str:
    """Return a name, such as that of a profile."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(key, value, "a name")
    return value.strip()


def text(key: str, value: object) -> str:
    """Return a text; a `Reply` and other objects that are not text are refused rather than guessed at."""
    if not isinstance(value, str):
        raise _wrong(key, value, "text")
    return value


def names(key: str, value: object) -> tuple[str, ...]:
    """Return names that commas separate, or those of a list."""
    parts: Iterable[object]
    if isinstance(value, str):
        parts = value.split(",")
    elif isinstance(value, (list, tuple)):
        parts = cast("Iterable[object]", value)
    else:
        raise _wrong(key, value, "names")
    return tuple(word(key, part) for part in parts)


def variable(key: str, value: object) -> str:
    """Return the name of a variable that a reply may be bound to."""
    if not isinstance(value, str) or not value.isidentifier() or keyword.iskeyword(value):
        raise _wrong(key, value, "a variable name")
    if value in _SHELLS or hasattr(builtins, value):
        raise MagicError(f"{key}={value} would hide Python's or IPython's own {value!r}. Choose another name.")
    return value


def boolean(key: str, value: object) -> bool:
    """Return yes or no."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _BOOLEANS:
        raise _wrong(key, value, "true or false")
    return _BOOLEANS[value.lower()]


def number(key: str, value: object) -> float:
    """Return a finite number of 0 or more."""
    # float() would also take nan, infinity and 1_000.
    plain = isinstance(value, str) and value.isascii() and "_" not in value
    exact = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        found = float(cast("float | str", value)) if plain or exact else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or found < 0:
        raise _wrong(key, value, "a number of 0 or more")
    return found


def seconds(key: str, value: object) -> float:
    """Return a time in seconds, above 0."""
    try:
        found = number(key, value)
    except MagicError:
        found = 0.0
    if not found:
        raise _wrong(key, value, "seconds above 0")
    return found


def count(least: int, most: int) -> Callable[[str, object], int]:
    """Return a reader of whole numbers in a range."""

    def read(key: str, value: object) -> int:
        given = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
            limits = f"from {least} to {most}" if most < _MANY else f"of {least} or more"
            raise _wrong(key, value, f"a whole number {limits}")
        return given

    return read


_MANY: Final = 1 << 53


def dollars(key: str, value: object) -> Decimal:
    """Return an amount in USD."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise _wrong(key, value, "an amount in USD")
    return amount


def mapping(key: str, value: object) -> Mapping[str, object]:
    """Return a dict, which only `$name` can give."""
    found = cast("Mapping[Any, object]", value) if isinstance(value, Mapping) else None
    if found is None or not all(isinstance(name, str) for name in found):
        raise _wrong(key, cast("object", value), "a dict with text as keys; make one in Python")
    return found


def anything(key: str, value: object) -> object:
    """Return an object, which only `$name` can give."""
    if isinstance(value, str):
        raise _wrong(key, value, "a pydantic model or a type; name one in Python")
    return value


def tags(key: str, value: object) -> Mapping[str, str]:
    """Return words for the ledger: `name:value`, separated by commas, or a dict."""
    if isinstance(value, Mapping):
        return {str(name): str(said) for name, said in cast("Mapping[object, object]", value).items()}
    parts = [part.partition(":") for part in value.split(",")] if isinstance(value, str) else []
    if not parts or not all(name.strip() and colon and said.strip() for name, colon, said in parts):
        raise _wrong(key, value, "name:value")
    return {name.strip(): said.strip() for name, _, said in parts}


def form(key: str, value: object) -> Form:
    """Return a way to show an answer."""
    return cast("Form", _choice(key, value, get_args(Form)))


def show(key: str, value: object) -> Show:
    """Return how much to show."""
    return cast("Show", _choice(key, "answer" if value == "all" else value, get_args(Show)))


def on_error(key: str, value: object) -> OnError:
    """Return what a failure among several calls does."""
    return cast("OnError", _choice(key, value, get_args(OnError)))


def _cost(key: str, value: object) -> bool:
    return True if value == "footer" else boolean(key, value)


def _choice(key: str, value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        close = did_you_mean(str(value), choices)
        hint = f"Did you mean {key}={close}?" if close else f"Known: {' '.join(choices)}."
        raise MagicError(f"{key}={_shown(value)} is unknown. {hint}")
    return value


def _wrong(key: str, value: object, wanted: str) -> MagicError:
    return MagicError(f"{key}={_shown(value)} is not right: it takes {wanted}, such as {key}={EXAMPLES[key]}.")


def _shown(value: object) -> str:
    """Say a value briefly; an object only by its type, for it may hold anything."""
    if not isinstance(value, (str, int, float)):
        return f"<{type(value).__name__}>"
    shown = str(value)
    return shown if len(shown) <= 40 else shown[:39] + "…"  # noqa: PLR2004 - what fits into a line with the hint


KEYS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "profile": word,
    "profiles": names,
    "strategy": word,
    "out": variable,
    "system": text,
    "chat": word,
    "as": form,
    "schema": anything,
    "vars": mapping,
    "raw": boolean,
    "budget": dollars,
    "timeout": seconds,
    "retries": count(0, 10),
    "max_tokens": count(1, _MANY),
    "temperature": number,
    "params": mapping,
    "n": count(1, 100),
    "on_error": on_error,
    "show": show,
    "cost": _cost,
    "bg": boolean,
    "dry": boolean,
    "tags": tags,
}
FLAGS: Final = frozenset({"raw", "bg", "dry"})
EXAMPLES: Final = {
    "profile": "fast",
    "profiles": "fast,local",
    "strategy": "funnel",
    "out": "reply",
    "system": "$instructions",
    "chat": "demo",
    "as": "json",
    "schema": "$Model",
    "vars": "$row",
    "raw": "true",
    "budget": "0.50",
    "timeout": "60",
    "retries": "2",
    "max_tokens": "500",
    "temperature": "0.2",
    "params": "$settings",
    "n": "3",
    "on_error": "raise",
    "show": "quiet",
    "cost": "off",
    "bg": "true",
    "dry": "true",
    "tags": "team:search",
}
VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "as": get_args(Form),
    "show": get_args(Show),
    "on_error": get_args(OnError),
    "cost": ("off", "on"),
    **dict.fromkeys(("raw", "bg", "dry"), ("true", "false")),
}
"""What completion offers for a key."""
