"""The grammar of a magic line, read without IPython, and the defaults for what a line leaves out.

    line := item*        item := pair | flag | bare
    pair := KEY=value    flag := --KEY[=value] | --KEY value | -o NAME       bare := the profile; at most one, and first

Words are split as a shell does (`shlex`, no comments). A value that is `$name` as a whole is the Python object of that
name; a dot reaches its attribute, or the entry of a mapping.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from types import ModuleType
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from victor_nb.config.request_options import SO_LARGE, shown
from victor_nb.errors import STOPS, MagicError, did_you_mean, failed_at, suggest, user_line
from victor_nb.notebook.options import FIELDS, FLAGS, KEYS, MagicCall
from victor_nb.templates import own
from victor_nb.values import plain

_REFERENCE: Final = re.compile(r"\$([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_SECRETS: Final = re.compile(
    r"(?i)(?:.*[_-])?(?:api[_-]?)?key|(?:.*[_-])?(?:secret|password)|(?:(?:auth|access|api|bearer)[_-]?)?token"
)
_INSTEAD: Final = {
    "model": "model= is part of a profile. Write a profile's name, such as %%victor fast, or PROVIDER:{0}, "
    "such as %%victor openai:gpt-4o-mini.",
    "models": "models= is no key: profiles are asked. Write profiles=fast,local; PROVIDER:MODEL stands for one.",
    "provider": "provider= is part of a profile. Write a profile's name, or {0}:MODEL, "
    "such as %%victor openai:gpt-4o-mini.",
    "prompt": "prompt= is no key. Write the prompt in the lines below %%victor, or after -- in %victor ask.",
    "stream": "stream= is no key: an answer streams wherever it can be watched. Leave it out.",
}
"""What is written for keys of other tools; `{0}` is the value that was given."""
_SPACES: Final = "There are spaces around '='. Write key=value without them, such as profile=fast."
_BRACES: Final = re.compile(r"\{\{?\s*([^\W\d]\w*)\s*\}?\}")
_FOR_ONE: Final = ("chat", "as")
_EXCLUSIVE: Final = (
    ("profile", "profiles"),
    ("strategy", "profile"),
    ("strategy", "profiles"),
    ("strategy", "n"),
    ("strategy", "dry"),
    *((several, alone) for several in ("strategy", "profiles", "n", "over") for alone in _FOR_ONE),
    *(("over", other) for other in ("vars", "raw", "on_error")),
)
"""Keys that mean nothing together: a strategy names its own profiles, and a memory or a form is for one answer."""
_OF_ROWS: Final = ("rows", "concurrency", "rpm", "tpm")
"""Keys that go with `over=` only."""
_ONE_OR_MANY: Final = ("profile", "profiles")
_DASHES: Final = "-\u2013\u2014 "
"""What is typed, or made by a word processor, instead of the two signs before a prompt."""
_LONGEST: Final = 40  # characters of a word that is quoted, or of a default that is listed
_NO_VALUE: Final = "true"  # what a flag without a value means


def parse(line: str, names: Mapping[str, object], *, defaults: MagicCall | None = None) -> MagicCall:
    """Read the first line of a `%%victor` cell.

    Args:
        line: What stands after `%%victor`.
        names: Where `$name` is looked up.
        defaults: What holds for everything that the line does not say.

    Raises:
        MagicError: The line cannot be understood; one line says why, and what to type.
    """
    given = read(line, names)
    wanted = given.copy()
    for key in FLAGS & given.keys():
        if given[key] is False:
            del wanted[key]
    for one, other in _EXCLUSIVE:
        if one in wanted and other in wanted:
            raise exclusive(one, other)
    if "over" in wanted:
        if "out" not in wanted:
            raise MagicError("over= needs out=NAME: the column of the answers, and the variable of the new frame.")
    elif (lone := next(filter(wanted.__contains__, _OF_ROWS), None)) is not None:
        raise MagicError(f"{lone}= goes with over=, which asks for every row of a frame: over=$df out=label.")
    call = apply(given, defaults or MagicCall())
    for key in _FOR_ONE:
        if call.profiles and key in wanted:
            several = ",".join(call.profiles)
            raise MagicError(f"{key}= is for one answer, and profiles={several} is set. Say which: add profile=NAME.")
    return call


def apply(given: Mapping[str, object], defaults: MagicCall) -> MagicCall:
    """Return the call that a line's values make of the defaults; a profile or a strategy replaces several profiles."""
    if not given.keys().isdisjoint(("profile", "strategy")):
        defaults = replace(defaults, profiles=())
    values: dict[str, Any] = dict(given)
    for key, name in FIELDS.items():
        if key in values:
            values[name] = values.pop(key)
    return replace(defaults, **values)


def read(line: str, names: Mapping[str, object], *, known: Sequence[str] = tuple(KEYS)) -> dict[str, object]:
    """Return what a line gives, by key, each value checked and of its type.

    Raises:
        MagicError: The line cannot be understood.
    """
    given: dict[str, object] = {}
    words = split(line)
    if ", " in line or " ," in line:
        _check_commas(words)
    for place, (key, text) in enumerate(_items(words)):
        if key is None:
            if place or "," in text.strip(",") or not text or text.rstrip(":") in known:
                raise _misplaced(text, place, words, known)
            key = "profile"  # noqa: PLW2901 - the first word
        elif key == "profile" and "," in text.strip(","):
            raise _misplaced(text, 0, [text], known)
        if key not in known and key != "help":
            raise _unknown(key, known, text)
        if key in given:
            raise MagicError(f"{key}= is given twice. Keep one.")
        given[key] = _value(key, text, names)
    return given


def split(line: str) -> list[str]:
    """Split a line into words as a shell does.

    Raises:
        MagicError: A quote is not closed, or a backslash ends the line.
    """
    try:
        return shlex.split(line, comments=False, posix=True)
    except ValueError:
        raise MagicError(
            "A quote or a backslash at the end is left open. Close it; the prompt itself goes below, not on this line."
        ) from None


def split_prompt(line: str) -> tuple[str, str | None]:
    """Split a line at the first ` -- ` that is not inside quotes: the words, and the prompt after it, or None."""
    for mark in re.finditer(r"(?:^|(?<=\s))--(?=\s|$)", line):
        head = line[: mark.start()]
        try:
            shlex.split(head, comments=False, posix=True)
        except ValueError:
            continue
        return head, line[mark.end() :].strip()
    return line, None


def without_prompt(line: str, profiles: Iterable[str]) -> MagicError:
    """Return the error of a line that has no ` -- `, written with it in the likeliest place.

    Args:
        line: What stands after `%victor ask`.
        profiles: The names of all profiles.
    """
    words = line.split()
    words[:1] = [word.rstrip(":,") for word in words[:1]]
    keys = [word.partition("=")[0] for word in words]
    if (key := next(filter(_SECRETS.fullmatch, keys), None)) is not None:
        return _unknown(key, (), "")
    asked = bool(words) and (":" in words[0] or did_you_mean(words[0], profiles) is not None)
    place = _begin_of_prompt(words, asked=asked)
    prompt = " ".join(words[place:]).lstrip(_DASHES) or "What is a kernel?"
    head = " ".join(words[:place]) if place else "" if words else "fast"
    line = " ".join(filter(None, ("%victor ask", head, "--", _short(prompt))))
    return MagicError(f"%victor ask needs the prompt after --, such as {line}")


def _begin_of_prompt(words: Sequence[str], *, asked: bool) -> int:
    """Return how many words come before the prompt: the profile (where the first word is one), and options."""
    place = int(asked)
    while place < len(words):
        name, equals, _ = words[place].lstrip("-").partition("=")
        key = name.replace("-", "_")
        if key not in KEYS and words[place] != "-o":
            break
        if not equals and not words[place].startswith("-"):
            break
        place += 1 if equals or key in FLAGS else 2
    return min(place, len(words))


def _items(words: list[str]) -> Iterator[tuple[str | None, str]]:
    """Join the words into pairs of key and value: `--key value` is one; a bare word has no key."""
    rest = iter(words)
    for word in rest:
        if word == "-o":
            yield "out", _next(rest, "-o", "reply")
        elif word in {"-h", "--help"}:
            yield "help", _NO_VALUE
        elif word.startswith("--"):
            yield _flag(word, rest)
        elif word.startswith("-") and not word[1:2].isdigit():
            longer = ", ".join(f"--{key}" for key in KEYS if word[1:2] and key.startswith(word[1:2]))
            hint = f"Write {longer}" if longer else "Options are key=value or --key"
            raise MagicError(f"{_short(word)!r} is unknown. {hint}; only -o NAME is short, for out=.")
        elif "=" not in word:
            yield None, word
        else:
            key, _, value = word.partition("=")
            if not key:
                raise MagicError(_SPACES)
            yield key, value


def _flag(word: str, rest: Iterator[str]) -> tuple[str, str]:
    name, equals, value = word[2:].partition("=")
    key = name.replace("-", "_")
    if not key:
        raise MagicError("A lone -- has no meaning here. The prompt goes in the lines below.")
    if equals:
        return key, value
    if key in FLAGS:
        return key, _NO_VALUE
    # An unknown key is refused for its name, not for a missing value.
    return key, next(rest, "") if key not in KEYS else _next(rest, word, KEYS[key].example)


def _next(rest: Iterator[str], flag: str, example: str) -> str:
    value = next(rest, None)
    if value is None or value.startswith("--"):
        raise MagicError(f"{flag} needs a value, such as {flag} {example}.")
    return value


def _check_commas(words: Sequence[str]) -> None:
    """Refuse a list of names with spaces in it, which the shell's rules take for several words."""
    for place, word in enumerate(words):
        names, rest = [word], list(words[place + 1 :])
        while rest and (names[-1].endswith(",") or rest[0].startswith(",")) and "=" not in rest[0]:
            names.append(rest.pop(0))
        prose = "=" not in word and (place or (rest and "=" not in rest[0] and not rest[0].startswith("--")))
        if len(names) > 1 and not prose:
            key, _, first = word.rpartition("=")
            whole = re.sub(r"[\[\](),]+", ",", ",".join((first, *names[1:]))).strip(",")
            key = "profiles" if key in {"", "profile"} else key
            raise MagicError(f"The space beside the comma ends the list. Write {key}={_short(whole)}")


def _misplaced(word: str, place: int, words: Sequence[str], known: Sequence[str]) -> MagicError:
    """Return the error of a bare word that is not the profile: most often the prompt, on the wrong line.

    Args:
        word: It.
        place: Where it stands among the pairs, from 0.
        words: All words of the line.
        known: The keys that are taken.
    """
    if word.startswith("#"):
        return MagicError(f"{_short(word)!r} starts no comment here. Write the comment on a line above this one.")
    if word in FLAGS:
        return MagicError(f"{word!r} alone reads as a profile. Write --{word}, or profile={word} if you have one.")
    if (key := word.rstrip(":")) in known:
        value = next(iter(words[words.index(word) + 1 :]), KEYS[key].example)
        if value.startswith("="):
            return MagicError(_SPACES)
        return MagicError(f"{_short(word)!r} lacks its value. Write {key}={_short(value)}, with = and no spaces.")
    if words[0] in _INSTEAD:
        return MagicError(_INSTEAD[words[0]].format(_short(word)))
    if place:
        return MagicError(
            f"{_short(word)!r} is not key=value. Quote text with spaces; the prompt goes below this line."
        )
    if not word:
        return MagicError("The profile is empty. Write its name, such as profile=fast.")
    return MagicError(f"{_short(word)!r} names several profiles. Write profiles={_short(word.strip(','))}")


def _unknown(key: str, known: Sequence[str], text: str) -> MagicError:
    """Return the error of a key that is not taken, with what to write instead of it."""
    if key in _INSTEAD:
        return MagicError(_INSTEAD[key].format(_short(text) or "MODEL"))
    if _SECRETS.fullmatch(key):
        return MagicError(
            "A key does not belong in a notebook. Put it in the environment or in a .env file beside profiles.yaml, "
            "such as OPENAI_API_KEY=...; it holds from the next cell on."
        )
    listed = f"Known: {', '.join(sorted({*known} - {*_OF_ROWS}))}."
    if key in KEYS:
        return MagicError(f"{key}= is for one question, not for all of them. {listed}")
    word = key.lower().replace("-", "_")
    longer = [each for each in known if len(word) > 1 and each.startswith(word)]
    hint = f"Did you mean {longer[0]}=?" if longer else suggest(word, known, shape="{}=", otherwise=listed)
    return MagicError(f"Unknown key {_short(key)!r}. {hint}")


def _value(key: str, text: str, names: Mapping[str, object]) -> object:
    if key == "help":
        return True
    row = KEYS[key]
    if not text:
        raise MagicError(f"{key}= needs a value right after the '=', such as {key}={row.example}.")
    if text.startswith("{") and (inner := _BRACES.fullmatch(text)) and inner[1] in names:
        raise MagicError(f"{key}={text} is no variable. Write {key}=${inner[1]} for the value of {inner[1]}.")
    kind = row.kind
    given = plain(look_up(key, text, names)) if text.startswith("$") else text
    value = given if kind.read is None else kind.read(given)
    if kind.fits(value):
        return value if kind.convert is None else kind.convert(value)
    example = (
        f"${text}" if text in names and kind.fits(names[text]) else row.example
    )  # a variable's name without its sign
    hint = suggest(text, kind.choices, shape=f"{key}={{}}", otherwise=f"Write {key}={example}.")
    wrong = shown(given)
    if isinstance(value, (int, float, Decimal)):  # as it was typed, without quotes
        wrong = SO_LARGE if shown(value) == SO_LARGE else str(given)
    raise MagicError(f"{key}= takes {kind.words}, not {wrong}. {hint}")


def look_up(key: str, text: str, names: Mapping[str, object]) -> object:
    """Return the object that `$name` or `$name.part` means."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        if len(text) == 1 or text[1].isdigit() or text[1] == "{":
            raise MagicError(f"{key}={text} is no reference. $ stands before a Python name only, such as {key}=$value.")
        return text
    first, *parts = match[1].split(".")
    if first not in names:
        hint = suggest(first, own(names), shape="${}", otherwise="Run the cell that defines it first.")
        raise MagicError(f"{key}=${match[1]}: {first!r} is not defined. {hint}")
    value = names[first]
    for part in parts:
        value = _part(value, part, f"{key}=${match[1]}")
    return value


def _part(value: object, part: str, shown: str) -> object:
    if part.startswith("_") or isinstance(value, ModuleType):
        raise MagicError(f"{shown}: what starts with _ or belongs to a module cannot be reached. Give it a name first.")
    found: Any = value
    try:
        return found[part] if isinstance(value, Mapping) and part in found else getattr(found, part)
    except BaseException as error:
        if isinstance(error, STOPS):
            raise
        if not isinstance(error, AttributeError) or user_line(error):  # of the user's own property
            raise MagicError(f"{shown} fails: {failed_at(error)}") from error
        raise MagicError(f"{shown}: a {type(found).__name__} has no {part!r}. Check the name.") from None


def exclusive(one: str, other: str) -> MagicError:
    """Return the error of a line that gives two keys which mean nothing together."""
    return MagicError(f"{one}= and {other}= exclude each other. Keep one.")


def _short(word: str) -> str:
    return word if len(word) <= _LONGEST else f"{word[: _LONGEST - 1]}…"


# --- the defaults of a notebook ---


class Defaults:
    """The defaults of one notebook.

    Attributes:
        given: Each by its key, in the order in which they came.
        call: The same as the call that a bare `%%victor` is.
        watchers: Called after every change.
    """

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        self.call = MagicCall()
        self.watchers: list[Callable[[], object]] = []

    def set(self, given: Mapping[str, object]) -> None:
        """Take further defaults; one profile takes the place of several, and the other way round."""
        for key, other in (_ONE_OR_MANY, _ONE_OR_MANY[::-1]):
            if key in given:
                self.given.pop(other, None)
        self.given.update(given)
        self._changed()

    def reset(self) -> None:
        """Forget all defaults."""
        self.given.clear()
        self._changed()

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles that a bare `%%victor` asks; empty for the default of the settings."""
        one = self.call.profile
        return self.call.profiles or ((one,) if one else ())

    def _changed(self) -> None:
        self.call = apply(self.given, MagicCall())
        for watcher in list(self.watchers):
            watcher()

    def __str__(self) -> str:
        """Return the defaults as `%victor set` takes them."""
        return " ".join(f"{key}={_word(value)}" for key, value in self.given.items())


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in cast("tuple[object, ...]", value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return shlex.quote(_short(text))


_defaults: Final[WeakKeyDictionary[Any, Defaults]] = WeakKeyDictionary()
_without_shell: Final = Defaults()


def defaults_of(shell: object | None) -> Defaults:
    """Return the defaults of a notebook's shell; without a shell, those of the process."""
    return _without_shell if shell is None else _defaults.setdefault(shell, Defaults())
