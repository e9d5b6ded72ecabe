r"""What a prompt may take from the notebook: `{{ name }}`, and nothing else.

Replaced are `{{ name }}`, `{{ name.attr }}`, `{{ name['key'] }}`, `{{ name[0] }}` and any of them with one filter,
`{{ name | filter }}`. All else, single braces included, is sent as typed: this is a recogniser, not a template engine.
What is inserted is never read again. A backslash in front, `\{{ name }}`, sends as text what would be replaced
or refused without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.calls.record import estimate_tokens
from victor_nb.errors import PromptError, SecretError, did_you_mean
from victor_nb.notebook.filters import insert, is_mapping
from victor_nb.notebook.grammar import own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST_TOKENS: Final = 20_000
"""What all insertions of a prompt may take together: more is most often a whole table by accident."""

_NAME: Final = r"[^\W\d]\w*"
_CANDIDATE: Final = re.compile(r"(?P<escape>\\?)(?P<open>\{{2,})(?P<inner>[^{}\n]*)\}\}")
_EXPRESSION: Final = re.compile(
    rf"""[ \t]*(?P<name>{_NAME})
    (?P<path>(?:\.{_NAME}|\[[ \t]*(?:-?\d+|'[^']*'|"[^"]*")[ \t]*\])*)
    [ \t]*(?:\|[ \t]*(?P<filter>{_NAME})[ \t]*(?:\([ \t]*(?P<number>\d{{0,9}})[ \t]*\))?)?[ \t]*""",
    re.VERBOSE,
)
_STEP: Final = re.compile(rf"\.(?P<attr>{_NAME})|\[[ \t]*(?:(?P<index>-?\d+)|(?P<key>'[^']*'|\"[^\"]*\"))[ \t]*\]")
_NEAR_MISS: Final = re.compile(rf"[ \t]*(?P<name>{_NAME})[ \t]*(?P<rest>[-(\[.|+*/%].*)?")
_ROUTINES: Final = (FunctionType, BuiltinFunctionType, MethodType)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as it will be sent, and what was inserted: the expression, and its length in characters."""

    text: str
    inserted: tuple[tuple[str, int], ...] = ()


def render(prompt: str, names: Mapping[str, object], *, leaks: Callable[[str], bool] = lambda _: False) -> Rendered:
    """Replace what a prompt takes from the notebook.

    Args:
        prompt: The text as typed.
        names: What may be inserted, by name.
        leaks: Tells whether a text holds a configured key.

    Raises:
        PromptError: A name is not defined, or its value cannot be inserted; the message says in which line.
        SecretError: A value holds a configured key.
    """
    inserted: list[tuple[str, int]] = []
    pieces: list[str] = []
    end = tokens = 0
    for match in _CANDIDATE.finditer(prompt):
        place = _Place(match, names)
        if not place.meant:
            continue
        pieces.append(prompt[end : match.start()])
        end = match.end()
        if match["escape"]:
            pieces.append(match[0][1:])
            continue
        text = place.text(leaks)
        tokens += estimate_tokens(text.encode("utf-8", "replace").decode())
        if tokens > MOST_TOKENS:
            raise place.error(
                f"inserts too much: about {tokens:,} tokens so far, and {MOST_TOKENS:,} are the most. "
                "Use | head(20), | sample(20) or | truncate(4000)."
            )
        inserted.append((place.shown, len(text)))
        pieces.append(text)
    return Rendered("".join((*pieces, prompt[end:])), tuple(inserted))


class _Place:
    """One `{{ ... }}` of a prompt."""

    def __init__(self, match: re.Match[str], names: Mapping[str, object]) -> None:
        self._match, self._names = match, names
        self._parts = _EXPRESSION.fullmatch(match["inner"]) if match["open"] == "{{" else None
        self.shown = match["open"] + match["inner"] + "}}"

    @property
    def meant(self) -> bool:
        """Whether it is one of ours: a form that is replaced, or one that looks it and starts with a known name."""
        if self._parts is not None:
            return True
        near = _NEAR_MISS.fullmatch(self._match["inner"])
        return near is not None and near["name"] in self._names and bool(near["rest"] or self._match["open"] != "{{")

    def text(self, leaks: Callable[[str], bool]) -> str:
        """Return what is inserted."""
        if self._parts is None:
            raise self.error(
                "cannot be inserted: only {{ name }}, .attr, ['key'], [0] and one | filter are; calls and arithmetic "
                f"are not run. Make a variable first, or write \\{self.shown} to send it as text."
            )
        value = self._value(self._parts["name"], self._parts["path"])
        try:
            text = insert(value, self._parts["filter"], self._parts["number"])
        except PromptError as error:
            raise self.error(str(error)) from None
        if leaks(text):
            raise SecretError(
                f"{self._shown_briefly} (line {self._line}) holds a configured key. Nothing was sent. Leave it out."
            )
        return text

    def _value(self, name: str, path: str) -> object:
        if name not in self._names:
            raise self._undefined(name)
        value = self._names[name]
        for step in _STEP.finditer(path):
            self._check(value)
            value = self._attribute(value, step["attr"]) if step["attr"] else self._entry(value, step)
        self._check(value)
        if isinstance(value, type) and self._parts is not None and self._parts["filter"] == "schema":
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
        if name.startswith("_"):
            raise self.error("reaches for what starts with an underscore, which is private. Use a public name.")
        try:
            return getattr(value, name)
        except AttributeError:
            hint = f" Write ['{name}'] for an entry." if is_mapping(value) else _suggest(name, dir(value))
            raise self.error(f"fails: a {type(value).__name__} has no {name!r}.{hint}") from None

    def _entry(self, value: object, step: re.Match[str]) -> object:
        key = int(step["index"]) if step["index"] is not None else step["key"][1:-1]
        try:
            return cast("Any", value)[key]
        except (LookupError, TypeError, ValueError):
            known = [name for name in cast("Any", value) if isinstance(name, str)] if is_mapping(value) else []
            raise self.error(
                f"fails: this {type(value).__name__} has no [{key!r}].{_suggest(str(key), known)}"
            ) from None

    def _undefined(self, name: str) -> PromptError:
        hint = _suggest(name, self._names)
        return PromptError(
            f"{name!r} is not defined (line {self._line} of the prompt).{hint} "
            f"Write \\{self._shown_briefly} or --raw to send it as text."
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


def _suggest(name: str, known: Iterable[str]) -> str:
    close = did_you_mean(name, own(known))
    return f" Did you mean {close!r}?" if close else ""
