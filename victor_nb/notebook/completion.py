"""Tab completion for both magics: keys and values on the line, names of the notebook inside `{{`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import GenericAlias, ModuleType, UnionType
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from victor_nb.config.request_options import MAPPING, PARAMS
from victor_nb.config.trust import place_of, untrusted
from victor_nb.errors import VictorError
from victor_nb.filters import FILTERS
from victor_nb.kernel import session
from victor_nb.notebook.commands import known
from victor_nb.notebook.costs import CACHE_WORDS, plot_kinds
from victor_nb.notebook.costs import KEYS as COST_KEYS
from victor_nb.notebook.options import FLAGS, KEYS, SETTABLE, TABLE
from victor_nb.notebook.tapes import TAPE_WORDS
from victor_nb.providers.spec import all_specs, spec_of
from victor_nb.templates import own
from victor_nb.values import Mode
from victor_nb.workflows.strategies import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from IPython.core.completer import CompletionContext

_CELL: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*%%victor(?=[ \t\n]|$)")
_LINE: Final = re.compile(r"[ \t]*(?:[\w.\[\]'\", ]+=[ \t]*)?%victor[ \t]+(?P<typed>.*)$")
_WORD: Final = re.compile(r"(?:^|[ \t])(?P<word>[^\s]*)$")
_INSERT: Final = re.compile(
    r"(?<!\\)\{\{[ \t]*(?:(?P<owner>[^\W\d][\w.]*)\.)?(?P<name>\w*)(?P<bar>[ \t]*\|[ \t]*)?(?P<filter>\w*)$"
)

_OVER: Final = re.compile(r"(?:^|[ \t])(?:over=|--over[ =])\$(?P<name>[^\W\d]\w*)(?=[ \t]|$)")


@dataclass(frozen=True, slots=True)
class Offer:
    """Words that could stand where the cursor is.

    Attributes:
        fragment: What is typed of the word, and is replaced.
        words: The candidates.
        kind: What they are, for the list that a notebook shows.
    """

    fragment: str
    words: tuple[str, ...]
    kind: str = "keyword"


def complete(context: CompletionContext, names: Mapping[str, object]) -> Offer | None:
    """Return what could stand at the cursor; None where the text is none of ours."""
    before = context.full_text.split("\n")[: context.cursor_line]
    typed = context.text_until_cursor
    head = _CELL.match("\n".join((*before, typed)))
    if head is not None:
        line, below, _ = head.string[head.end() :].partition("\n")
        return _body(typed, {**names, **_columns(line, names)}) if below else _keys(line, names)
    line = _LINE.match(typed)
    return None if line is None else _command(line["typed"], names)


def _keys(typed: str, names: Mapping[str, object], keys: Iterable[str] = tuple(KEYS)) -> Offer:
    """Complete a line of `key=value`."""
    word = _last(typed)
    done = typed[: len(typed) - len(word)].split()
    key, equals, value = word.lstrip("-").partition("=")
    if equals:
        return _values(key.replace("-", "_"), value, names)
    asked = done[-1][2:].replace("-", "_") if done and done[-1].startswith("--") and "=" not in done[-1] else ""
    if asked and asked not in FLAGS:
        return _values(asked, word, names)
    if word.startswith("--"):
        return _match(word, (f"--{name}" for name in keys))
    return _match(word, (*(() if done else _named(word)), *(f"{name}=" for name in keys)))


def _values(key: str, typed: str, names: Mapping[str, object]) -> Offer:
    head = typed[: typed.rfind(",") + 1]
    named: Mapping[str, Callable[[], Iterable[str]]] = {
        "profile": lambda: _named(typed),
        "profiles": lambda: (f"{head}{name}" for name in _named(typed.rpartition(",")[2])),
        "tier": lambda: (f"{head}{name}" for name in KEYS["tier"].kind.choices if name not in head.split(",")),
        "strategy": _strategies,
        "chat": lambda: session().chats,
    }
    if key == "schema":
        return _match(typed, (f"${name}" for name in _types(names)), "class")
    if key == "over":
        return _match(typed, (f"${name}" for name in _public(names) if TABLE.fits(names[name])), "instance")
    if typed.startswith("$") or (key in KEYS and KEYS[key].kind in (MAPPING, PARAMS)):
        return _match(typed, (f"${name}" for name in _public(names)), "instance")
    if key in named:
        return _match(typed, named[key](), "instance")
    return _match(typed, KEYS[key].kind.choices if key in KEYS else (), "instance")


def _body(typed: str, names: Mapping[str, object]) -> Offer:
    """Complete a name inside `{{`; elsewhere a prompt is text, and Python offers nothing."""
    place = _INSERT.search(typed)
    if place is None:
        # IPython lets us silence Python only if we have something to offer: what is there already.
        word = _last(typed)
        return Offer(word, (word,))
    if place["bar"] is not None:
        return _match(place["filter"], FILTERS, "function")
    if place["owner"] is None:
        return _match(place["name"], _public(names), "instance")
    return _match(place["name"], _attributes(place["owner"], names), "instance")


def _columns(line: str, names: Mapping[str, object]) -> dict[str, object]:
    """Return the columns of the frame that `over=` asks about, as far as a prompt can name them."""
    over = _OVER.search(line)
    value: Any = names.get(over["name"]) if over else None
    if value is None:
        return {}
    if type(value) is list:
        first: object = cast("list[object]", value)[0] if value else None
        columns = cast("Iterable[object]", first) if isinstance(first, Mapping) else ("value",)
    else:
        columns = getattr(value, "columns", (getattr(value, "name", None), "value"))
    return {name: "" for name in columns if isinstance(name, str) and name.isidentifier()}


def _command(typed: str, names: Mapping[str, object]) -> Offer:
    """Complete a command of `%victor`, and what follows it."""
    word, space, rest = typed.partition(" ")
    if not space:
        return _match(word, known())
    takes: Mapping[str, Callable[[], Iterable[str]]] = {
        "mode": lambda: get_args(Mode),
        "profiles": lambda: (*_profiles(), *all_specs(), "new"),
        "doctor": lambda: _named(_last(rest)),
        "cost": lambda: _of_costs(rest, ("by", "scope", "since")),
        "report": lambda: _of_costs(rest, ("scope", "since")),
        "chats": lambda: ("clear", *session().chats),
        "plot": lambda: _of_costs(rest, ("by", "scope", "since")) if " " in rest else plot_kinds(),
        "strategy": _strategies,
        "budget": lambda: ("off",),
        "panel": lambda: ("code",),
        "local": lambda: ("yes",),
        "cache": lambda: _of_cache(rest),
        "trust": _untrusted,
        "tape": lambda: _of_tape(rest),
    }
    if word == "ask":
        return _body(typed, names) if re.search(r"(?:^|\s)--\s", rest) else _keys(rest, names)
    if word == "search":
        return _of_search(_last(rest), names)
    if word == "set":
        return _keys(f" {rest}", names, SETTABLE)
    return _match(_last(rest), takes[word]() if word in takes else ())


def _of_costs(typed: str, keys: Sequence[str]) -> Iterable[str]:
    """Return the keys of a command on costs, and once one is typed its words."""
    key, equals, _ = _last(typed).partition("=")
    return (f"{key}={word}" for word in COST_KEYS.get(key, ())) if equals else (f"{name}=" for name in keys)


def _of_search(typed: str, names: Mapping[str, object]) -> Offer:
    """Complete a key of `%victor search`, or its value."""
    from victor_nb.notebook.searching import KEYS as SEARCH_KEYS  # noqa: PLC0415 - few kernels search

    key, equals, value = typed.partition("=")
    if not equals:
        return _match(typed, (f"{name}=" for name in SEARCH_KEYS))
    if value.startswith("$"):
        return _match(value, (f"${name}" for name in _public(names)), "instance")
    head = value[: value.rfind(",") + 1]
    profiles = {"reference": "", "judge": "", "candidates": head}
    return _match(value, (f"{profiles[key]}{name}" for name in _profiles()) if key in profiles else (), "instance")


def _untrusted() -> Iterable[str]:
    """Return the hosts and models of the profiles that could be trusted, and the word that takes one away."""
    try:
        settings = session().settings
        those = [each for each in settings.profiles.values() if untrusted(settings, each)]
        names = (
            each.model if spec_of(each.provider).starts_itself else place_of(settings.base_url(each)) for each in those
        )
        return ("forget", *dict.fromkeys(names))
    except VictorError:
        return ("forget",)  # what cannot be read is an error of the cell


def _of_tape(typed: str) -> Iterable[str]:
    """Return the words of `%victor tape`, and what follows them."""
    word, blank, _ = typed.lstrip().partition(" ")
    dry = ("--dry",)
    return (
        {"prune": dry, "rekey": dry, "rerecord": ("--cell", "--missing", "--dry")}.get(word, ())
        if blank
        else TAPE_WORDS
    )


def _of_cache(typed: str) -> Iterable[str]:
    """Return the words of `%victor cache`, and what follows them."""
    word, blank, _ = typed.partition(" ")
    return {"prune": ("older=", "model="), "clear": ("yes",)}.get(word, ()) if blank else CACHE_WORDS


def _last(typed: str) -> str:
    word = _WORD.search(typed)
    return word["word"] if word else ""


def _match(typed: str, words: Iterable[str], kind: str = "keyword") -> Offer:
    return Offer(typed, tuple(word for word in words if word.startswith(typed)), kind)


def _profiles() -> tuple[str, ...]:
    try:
        return tuple(session().settings.profiles)
    except VictorError:
        return ()  # a profiles.yaml that cannot be read is an error of the cell, when it runs


def _named(typed: str) -> tuple[str, ...]:
    """Return the profiles, and once a word has begun the providers too, of which a model may be asked without one."""
    return (*_profiles(), *(f"{name}:" for name in all_specs() if typed))


def _strategies() -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys((*session().settings.strategies, *BUILT_IN)))
    except VictorError:
        return ()


def _public(names: Mapping[str, object]) -> list[str]:
    """Return the user's own names, as far as they are data."""
    return sorted(name for name in own(names) if not isinstance(names[name], ModuleType) and not callable(names[name]))


def _types(names: Mapping[str, object]) -> list[str]:
    """Return the user's own names of types and of mappings, which may be JSON schemas."""
    kinds = (type, Mapping, GenericAlias, UnionType)
    return sorted(name for name in own(names) if isinstance(names[name], kinds))


def _attributes(owner: str, names: Mapping[str, object]) -> list[str]:
    """Return the attributes that could be inserted; nothing is run to find them, so properties are only named."""
    first, *rest = owner.split(".")
    value = names.get(first)
    for part in rest:
        value = cast("dict[str, Any]", getattr(value, "__dict__", {})).get(part)
    if value is None:
        return []
    methods = {name for kind in type(value).__mro__ for name, item in vars(kind).items() if callable(item)}
    return [name for name in dir(value) if not name.startswith("_") and name not in methods]
