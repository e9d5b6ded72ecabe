r"""The template language of prompts, in cells, strategies and rows of tables: `{{ name }}`, and nothing else.

Replaced are `{{ name }}`, `{{ name.attr }}`, `{{ name['key'] }}`, `{{ name[0] }}` and any of them with one filter,
`{{ name | filter }}`. All else, single braces included, is sent as typed: this is a recogniser, not a template engine.
What is inserted is never scanned again. A backslash in front, `\{{ name }}`, sends as text what would be replaced
or refused without it. A name with a hyphen, as stages may have, is one only where it is known.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, is_dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.errors import STOPS, PromptError, SecretError, did_you_mean, failed_at, user_line
from victor_nb.filters import insert, is_mapping
from victor_nb.media import Media, Prompt, media_of
from victor_nb.values import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MOST_TOKENS: Final = 20_000
"""What all insertions of a prompt may take together: more is most often a whole table by accident."""

_NAME: Final = r"[^\W\d]\w*"
_PYTHONS: Final = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
"""Names that IPython puts beside the user's."""
_CANDIDATE: Final = re.compile(r"(?P<escape>\\?)(?P<open>\{{2,})(?P<inner>[^{}\n]*)\}\}")
_EXPRESSION: Final = re.compile(
    rf"""[ \t]*(?P<name>{_NAME}(?:-[\w-]*)?)
    (?P<path>(?:\.{_NAME}|\[[ \t]*(?:-?\d+|'[^']*'|"[^"]*")[ \t]*\])*)
    [ \t]*(?:\|[ \t]*(?P<filter>{_NAME})[ \t]*(?:\([ \t]*(?P<number>\d{{0,9}})[ \t]*\))?)?[ \t]*""",
    re.VERBOSE,
)
_STEP: Final = re.compile(rf"\.(?P<attr>{_NAME})|\[[ \t]*(?:(?P<index>-?\d+)|(?P<key>'[^']*'|\"[^\"]*\"))[ \t]*\]")
_NEAR_MISS: Final = re.compile(rf"[ \t]*(?P<name>{_NAME})[ \t]*(?P<rest>[-(\[.|+*/%].*)?")
_DATA: Final = frozenset(
    """argparse.Namespace array collections datetime decimal enum fractions http ipaddress numbers pathlib re sqlite3
    statistics time types.SimpleNamespace urllib uuid xml zoneinfo builtins.NoneType builtins.bool builtins.bytearray
    builtins.bytes builtins.complex builtins.dict builtins.float builtins.frozenset builtins.int builtins.list
    builtins.memoryview builtins.range builtins.set builtins.slice builtins.str builtins.tuple""".split()
)
"""Those of Python's own types whose attributes are data, by package or alone; all others lead to code and frames."""
_MACHINES: Final = frozenset({"IPython", "ipykernel", "traitlets", "jinja2", "cffi", "pytest"})
"""Packages whose objects hold a whole program's names."""
_ROUTINES: Final = (FunctionType, BuiltinFunctionType, MethodType)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as it will be sent, with its images, and what was inserted: the expression, its length in characters."""

    text: str
    inserted: tuple[tuple[str, int], ...] = ()


def own(names: Iterable[str]) -> list[str]:
    """Return the names that a user gave, without those that Python and IPython keep among them."""
    return [name for name in names if not name.startswith("_") and name not in _PYTHONS]


def places(prompt: str, names: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names that a prompt has places for, known or not, in order, each once."""
    found = (_Place(match, names) for match in _CANDIDATE.finditer(prompt) if not match["escape"])
    return tuple(dict.fromkeys(place.name for place in found if place.name))


def fill(prompt: str, names: Mapping[str, object]) -> str:
    """Return a prompt with values in its places, as long as they are.

    Raises:
        PromptError: A name is not defined, or its value cannot be inserted; the message says in which line.
    """
    return render(prompt, names, most=None, raw=False).text


def render(
    prompt: str,
    names: Mapping[str, object],
    *,
    leaks: Callable[[str], bool] = lambda _: False,
    most: int | None = MOST_TOKENS,
    raw: bool = True,
) -> Rendered:
    """Replace the places of a prompt by values, in a single pass.

    Args:
        prompt: The text as typed.
        names: What may be inserted, by name.
        leaks: Tells whether a text holds a configured key.
        most: Tokens that all insertions may take together.
        raw: Whether `--raw` would send the prompt as it is, which an error then mentions.

    Raises:
        PromptError: A name is not defined, or its value cannot be inserted; the message says in which line.
        SecretError: A value holds a configured key.
    """
    return Template(prompt, names, raw=raw).render(names, leaks=leaks, most=most)


class Template:
    """A prompt that is parsed once, and filled with other values for each row of a table.

    Args:
        prompt: The text as typed.
        names: The names that may be in it; of their values nothing is kept.
        raw: Whether `--raw` would send the prompt as it is, which an error then mentions.
    """

    def __init__(self, prompt: str, names: Mapping[str, object], *, raw: bool = False) -> None:
        self._pieces: list[str | _Place] = []
        end = 0
        for match in _CANDIDATE.finditer(prompt):
            place = _Place(match, names, raw=raw)
            if place.meant:
                self._pieces += [prompt[end : match.start()], match[0][1:] if match["escape"] else place]
                end = match.end()
        self._pieces.append(prompt[end:])

    @property
    def start(self) -> str:
        """The text before its first place."""
        first = next((at for at, piece in enumerate(self._pieces) if isinstance(piece, _Place)), len(self._pieces))
        return "".join(map(str, self._pieces[:first]))

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it has places for, in order, each once."""
        return tuple(dict.fromkeys(piece.name for piece in self._pieces if isinstance(piece, _Place) and piece.name))

    def values(self, names: Mapping[str, object]) -> Iterator[object]:
        """Yield what its places take of some names, before any filter."""
        return (piece.value(names) for piece in self._pieces if isinstance(piece, _Place))

    def render(
        self, names: Mapping[str, object], *, leaks: Callable[[str], bool] = lambda _: False, most: int | None = None
    ) -> Rendered:
        """Return the prompt with values in its places; see `render`."""
        inserted: list[tuple[str, int]] = []
        pieces: list[str] = []
        media: list[Media] = []
        tokens = 0
        for piece in self._pieces:
            if isinstance(piece, str):
                pieces.append(piece)
                continue
            text = piece.text(names, leaks)
            if most is not None:
                tokens += estimate_tokens(text.encode("utf-8", "replace").decode())
                if tokens > most:
                    raise piece.error(
                        f"inserts too much: about {tokens:,} tokens so far, and {most:,} are the most. "
                        "Use | head(20), | sample(20) or | truncate(4000)."
                    )
            inserted.append((piece.shown, len(text)))
            pieces.append(text)
            media += media_of(text)
        text = "".join(pieces)
        return Rendered(Prompt(text, media) if media else text, tuple(inserted))


class _Place:
    """One `{{ ... }}` of a prompt."""

    def __init__(self, match: re.Match[str], names: Mapping[str, object], *, raw: bool = False) -> None:
        self._match, self._names, self._raw = match, names, raw
        self._parts = _EXPRESSION.fullmatch(match["inner"]) if match["open"] == "{{" else None
        if self._parts is not None and "-" in self._parts["name"] and not self._known(self._parts["name"]):
            self._parts = None  # a subtraction, or another language's
        self.shown = match["open"] + match["inner"] + "}}"

    def _known(self, name: str) -> bool:
        """Return whether a name with a hyphen is defined, or so near to one that is that a slip is likelier."""
        return name in self._names or did_you_mean(name, (each for each in self._names if "-" in each)) is not None

    @property
    def name(self) -> str:
        """The name that is asked for; empty where the form is none of ours."""
        return "" if self._parts is None else self._parts["name"]

    @property
    def meant(self) -> bool:
        """Whether it is one of ours: a form that is replaced, or one that looks it and starts with a known name."""
        if self._parts is not None:
            return True
        near = _NEAR_MISS.fullmatch(self._match["inner"])
        return near is not None and near["name"] in self._names and bool(near["rest"] or self._match["open"] != "{{")

    def text(self, names: Mapping[str, object], leaks: Callable[[str], bool]) -> str:
        """Return what is inserted of some names."""
        value = self.value(names)
        parts = cast("re.Match[str]", self._parts)
        try:
            text = insert(value, parts["filter"], parts["number"])
        except PromptError as error:
            raise self.error(str(error)) from None
        if leaks(text):
            raise SecretError(
                f"{self._shown_briefly} (line {self._line}) holds a configured key. Nothing was sent. Leave it out."
            )
        return text

    def value(self, names: Mapping[str, object]) -> object:
        """Return the value that it takes of some names, before its filter."""
        if self._parts is None:
            raise self.error(
                "cannot be inserted: only {{ name }}, .attr, ['key'], [0] and one | filter are; calls and arithmetic "
                f"are not run. Make a variable first, or write \\{self.shown} to send it as text."
            )
        if self._parts["name"] not in names:
            raise self._undefined(self._parts["name"], names)
        value = names[self._parts["name"]]
        for step in _STEP.finditer(self._parts["path"]):
            self._check(value)
            value = self._attribute(value, step["attr"]) if step["attr"] else self._entry(value, step)
        self._check(value)
        if isinstance(value, type) and self._parts["filter"] == "schema":
            return value
        if isinstance(value, (*_ROUTINES, type)):
            raise self.error(f"is a {type(value).__name__}, which is not run. Put what it returns into a variable.")
        return value

    def _check(self, value: object) -> None:
        """Refuse what leads out of the notebook's data."""
        if isinstance(value, ModuleType):
            raise self.error("is a module. Put what you need of it into a variable.")
        if type(value).__name__ == "_Environ":
            raise self.error("is the environment, where keys are. Put what you need of it into a variable.")

    def _attribute(self, value: object, name: str) -> object:
        self._check_data(value)
        if name.startswith("_"):
            raise self.error("reaches for what starts with an underscore, which is private. Use a public name.")
        try:
            found = getattr(value, name)
        except BaseException as error:
            if isinstance(error, STOPS):
                raise
            if not isinstance(error, AttributeError) or user_line(error):  # of the user's own property
                raise self.error(f"fails: {failed_at(error)}") from error
            hint = f" Write ['{name}'] for an entry." if is_mapping(value) else _suggest(name, dir(value))
            raise self.error(f"fails: a {type(value).__name__} has no {name!r}.{hint}") from None
        if not isinstance(found, _ROUTINES):  # those have an error of their own
            self._check_data(found)
        return found

    def _check_data(self, value: object) -> None:
        """Refuse what has no data as attributes, before and after one of them was taken."""
        self._check(value)
        if not _is_data(value):
            raise self.error(f"reaches into a {type(value).__name__}, which is no data. Make a variable first.")

    def _entry(self, value: object, step: re.Match[str]) -> object:
        key = int(step["index"]) if step["index"] is not None else step["key"][1:-1]
        try:
            return cast("Any", value)[key]
        except (LookupError, TypeError, ValueError):
            known = [name for name in cast("Any", value) if isinstance(name, str)] if is_mapping(value) else []
            raise self.error(
                f"fails: this {type(value).__name__} has no [{key!r}].{_suggest(str(key), known)}"
            ) from None
        except BaseException as error:  # of a class of the user's own
            if isinstance(error, STOPS):
                raise
            raise self.error(f"fails: {failed_at(error)}") from error

    def _undefined(self, name: str, names: Mapping[str, object]) -> PromptError:
        hint = _suggest(name, names)
        return PromptError(
            f"{name!r} is not defined (line {self._line} of the prompt).{hint} "
            f"Write \\{self._shown_briefly}{' or --raw' if self._raw else ''} to send it as text."
        )

    def error(self, fact: str) -> PromptError:
        """Return an error about this place."""
        return PromptError(f"{self._shown_briefly} (line {self._line} of the prompt) {fact}")

    @property
    def _line(self) -> int:
        return self._match.string.count("\n", 0, self._match.start()) + 1

    @property
    def _shown_briefly(self) -> str:
        return self.shown if len(self.shown) <= 60 else self.shown[:57] + "…}}"  # noqa: PLR2004 - part of one line


def _is_data(value: object) -> bool:
    """Return whether the attributes of a value are data: it is no frame, function, thread or other machinery."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package in sys.stdlib_module_names:
        return (
            bool({package, f"{package}.{kind.__name__}"} & _DATA)
            or isinstance(value, (BaseException, type))
            or is_dataclass(value)
        )
    return package not in _MACHINES and kind.__name__ != "_ctypes"  # of numpy: an address in memory


def _suggest(name: str, known: Iterable[str]) -> str:
    close = did_you_mean(name, own(known))
    return f" Did you mean {close!r}?" if close else ""
