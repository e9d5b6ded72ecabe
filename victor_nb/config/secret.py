"""Keys: masked in every repr, and removed from texts before they are printed."""

from __future__ import annotations

import codecs
import logging
import re
from io import StringIO
from typing import TYPE_CHECKING, Final

from victor_nb.errors import ConfigError
from victor_nb.providers.spec import SPECS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

MASK: Final = "[redacted]"

# Keys as the providers write them, also half masked by themselves (`sk-proj-...EUgA`): a tail is a leak too. Then the
# user and the password of an address.
_KEY_LIKE: Final = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai)-[\w.*\-]{6,}|\bAIza[\w\-]{20,}|(?i:\bbearer\s+)(?!token\b|auth\b|key\b)[\w.~+/=\-]{8,}"
    r"|(?<=://)[^\s/@]+(?=@)"
)
_KEY: Final = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai)-(?=[\w\-]{0,60}\d)[\w\-]{20,}|\bAIza[\w\-]{30,}|\bgh[pousr]_\w{30,}|\bAKIA[0-9A-Z]{16}\b"
)
"""What is a key, and no example of one such as `sk-your-key-here`, which models write into their answers."""
_LOGGERS: Final = ("httpx2", "httpcore2", "aiohttp")
"""What logs below every client; the loggers of an SDK are in its provider's spec."""
_WIDE: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""How a text is written that begins so; the mark of UTF-32 begins as that of UTF-16 does."""
_OF_SHELLS: Final = re.compile(r"(?im)^[ \t]*(?:set[ \t]+|\$env:)(?=\w+[ \t]*=)")
"""What cmd and PowerShell write before NAME=value, as other shells do `export`."""
_SHORTEST_PART: Final = 4  # characters of a key, at the end of a text that was cut
SHORTEST_SECRET: Final = 8  # characters; a shorter value may be a plain word
_LONG_ENOUGH: Final = 12  # the same, of a variable that is not known to hold a key
_SECRET_NAME: Final = re.compile(r"(API_?KEY|_KEY|_TOKEN|_SECRET|_PASSWORD)$")


def masked(text: str) -> str:
    """Return a text without what looks like a key or the password of an address."""
    return _KEY_LIKE.sub(MASK, text)


def has_key(text: str) -> bool:
    """Return whether a text holds what is a key by its shape."""
    return _KEY.search(text) is not None


class Address(str):
    """A URL whose repr hides the user and the password in it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(str(self)))


class Secret:
    """A key that no repr, format or str shows; only `reveal()` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key itself, for a request header and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        """Refuse to be pickled: a pickle is a file."""
        msg = "a Secret cannot be pickled"
        raise TypeError(msg)


def read_dotenv(path: Path) -> dict[str, Secret]:
    """Return the variables of a .env file, in UTF-8 or, as PowerShell writes it, in UTF-16 or UTF-32.

    Raises:
        ConfigError: It cannot be read, or is no text.
    """
    from dotenv import dotenv_values  # noqa: PLC0415 - rarely needed

    text = _OF_SHELLS.sub("", _text(path))
    return {name: Secret(value) for name, value in dotenv_values(stream=StringIO(text)).items() if value}


def line_naming(path: Path, name: str) -> int | None:
    """Return the first line of a .env file, from 1, that names a variable, in letters of any case; None if none does.

    Raises:
        ConfigError: It cannot be read, or is no text.
    """
    named = re.compile(rf"(?i)(?<!\w){re.escape(name)}(?!\w)")
    lines = enumerate(_text(path).splitlines(), 1)
    return next((number for number, line in lines if named.search(line) and not line.lstrip().startswith("#")), None)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        wide = next((codec for mark, codec in _WIDE.items() if data.startswith(mark)), None)
        unmarked = {b"\0": "utf-16-be"}.get(data[:1]) or ("utf-16-le" if data[1:2] == b"\0" else "utf-8-sig")
        return data.decode(wide or unmarked)
    except IsADirectoryError:  # a virtual environment
        return ""
    except OSError as error:
        fact = f"{path.absolute()} cannot be read: {error.strerror or error}"
        raise ConfigError(f"{fact}. Mend its permissions, or remove it.") from None
    except UnicodeError:
        raise ConfigError(f"{path.absolute()} is not UTF-8 text. Save it as UTF-8, one NAME=value a line.") from None


def holds_key(variable: str) -> bool:
    """Return whether a variable holds a key or another secret, by its name."""
    return _SECRET_NAME.search(variable) is not None or any(
        variable in spec.key_variables for spec in list(SPECS.values())
    )


def find_secrets(variables: Iterable[tuple[str, str]], named: Container[str]) -> list[str]:
    """Return the values of variables that are keys.

    Args:
        variables: Their names and values.
        named: Those that hold a key whatever they are called.
    """
    found: list[str] = []
    for name, value in variables:
        value = value.strip()  # noqa: PLW2901 - as it is used
        named_so = name in named and len(value) >= SHORTEST_SECRET
        if named_so or (len(value) >= _LONG_ENOUGH and _SECRET_NAME.search(name)):
            found.append(value)
    return found


class Redactor:
    """Masks known keys, and what looks like a key, in texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one key may be the beginning of another.
        known = sorted(set(secrets), key=len, reverse=True)
        while known and len(known[-1]) < SHORTEST_SECRET:
            known.pop()
        self._known = tuple(known)

    def clean(self, text: str, *, cut: str = "") -> str:
        """Return the text with every known key and key-like string masked.

        Args:
            text: What may hold keys.
            cut: What stands where it was cut, perhaps inside of a key.
        """
        for secret in self._known:
            text = text.replace(secret, MASK)
            if cut and (place := text.find(cut)) > 0:
                lengths = range(min(len(secret) - 1, place), _SHORTEST_PART - 1, -1)
                if found := next((size for size in lengths if text.startswith(secret[:size], place - size)), 0):
                    text = text[: place - found] + MASK + text[place:]
        return masked(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Redactor) and other._known == self._known

    def __hash__(self) -> int:
        return hash(self._known)

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} secrets)"


class _Guard(logging.Filter):
    """A logging filter that removes keys from every record, and drops none."""

    def __init__(self) -> None:
        super().__init__()
        self.redactors: set[Redactor] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = original = record.getMessage()
        for redactor in self.redactors:
            text = redactor.clean(text)
        if text != original:
            record.msg, record.args = text, ()
        return True


_guard: Final = _Guard()


def guard_logs(redactor: Redactor, loggers: Iterable[str]) -> None:
    """Clean what these loggers and those of the connections log from now on, their children's records included."""
    _guard.redactors.add(redactor)
    names = {*_LOGGERS, *loggers}
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in names:  # a filter is not inherited, so each logger gets it
            logging.getLogger(name).addFilter(_guard)
