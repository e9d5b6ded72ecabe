"""A stage of a strategy as data, for YAML and for Python, and the rules by which stages fit together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from victor_nb.config.request_options import (
    SAMPLES,
    TEXT,
    Kind,
    Option,
    RequestOptions,
    schema_fault,
    sentence,
    shown,
    whole,
    word,
)
from victor_nb.errors import ConfigError, PromptError, suggest
from victor_nb.templates import fill, places
from victor_nb.values import Reply

T = TypeVar("T")
BEFORE: Final = ("items", "best", "previous")
"""What stands for the stage before: all that it kept as a numbered list, the first of it, its answer word for word."""
RESERVED: Final = ("task", *BEFORE, "sample", "n", "keep")
"""Places that every prompt may have; no stage goes by such a name."""

_NAME: Final = r"[A-Za-z_][\w-]*"
_OLD: Final = re.compile(rf"(?<![{{\\]){{({_NAME})}}")  # how places were written before there was one language
_OLD_ESCAPE: Final = re.compile(rf"(?<!{{)\\({{({_NAME})}})")


class Check(Protocol):
    """A rule that an answer passes or not."""

    def passes(self, answer: str, *, task: str = "") -> bool:
        """Return whether an answer to a task passes."""
        ...


class Vote(Protocol):
    """A rule that looks at all samples of a stage."""

    @property
    def at_least(self) -> int:
        """How many samples must agree."""
        ...

    def winner(self, answers: Sequence[str]) -> int | None:
        """Return which of the answers is accepted; None for none."""
        ...


Choice: TypeAlias = str | int | Iterable[str | int]
Select: TypeAlias = Literal["rank", "vote"] | Callable[[tuple[str, ...]], Choice]
Parse: TypeAlias = Literal["text", "item", "list", "code", "json"] | Callable[[str], str | Iterable[str]]
Acceptance: TypeAlias = Callable[[Reply], object] | Mapping[str, Any] | str | re.Pattern[str] | int | Check | Vote
"""What a stage's `accept` may be."""


class _WordOrFunction(Kind):
    """One of a few words, or, in Python, a function."""

    def fault(self, value: object) -> str | None:
        if callable(value) or self.fits(value):
            return None
        return (
            f"{value!r} is unknown. {suggest(value, self.choices)}" if isinstance(value, str) else super().fault(value)
        )


class _Acceptance(Kind):
    """A rule by which an answer is accepted."""

    def fault(self, value: object) -> str | None:
        if inspect.iscoroutinefunction(value):
            return "takes a plain function: what an async one returns is always true. Leave async out"
        if isinstance(value, bool) or not self.fits(value):
            return f"takes {self.words}, not {shown(value)}"
        if isinstance(value, int) and value < 1:
            return f"takes {self.words}: at least one sample must agree, not {value}"
        return pattern_fault(value) if isinstance(value, str) else schema_fault(value)


def pattern_fault(value: str) -> str | None:
    """Return what is wrong with a regular expression; None if it is one."""
    try:
        re.compile(value)
    except re.error as error:
        return f"takes a regular expression, which {shown(value)} is not: {error}"
    return None


def _decides(value: object) -> bool:
    plain = isinstance(value, (str, int, Mapping, re.Pattern))
    return plain or callable(value) or hasattr(value, "passes") or hasattr(value, "winner")


_SELECT: Final = _WordOrFunction(**vars(word("rank", "vote")))
_PARSE: Final = _WordOrFunction(**vars(word("text", "item", "list", "code", "json")))
_ACCEPT: Final = _Acceptance("a regular expression, a JSON schema, a count of samples or a function", _decides)


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _in_one_line(made: type[T]) -> type[T]:
    """Have a pydantic dataclass refuse its arguments in one line, with an error of ours."""
    make = made.__init__

    @wraps(make)
    def __init__(self: T, *args: object, **kwargs: object) -> None:  # noqa: N807 - it stands in its place
        try:
            make(self, *args, **kwargs)
        except ValidationError as error:
            raise ConfigError(_refusal(error, kwargs.get("name", args[0] if args else None))) from None

    setattr(made, "__init__", __init__)  # noqa: B010 - pyright knows no constructor that is set
    return made


def _refusal(error: ValidationError, name: object) -> str:
    detail = error.errors(include_url=False)[0]
    what, of = str(detail["loc"][-1]), f"Stage {name!r}" if isinstance(name, str) else "Stage"
    match detail["type"]:
        case "missing_argument":
            return f"{of}: {what} is missing."
        case "unexpected_keyword_argument":
            return f"{of} takes no {what}=. {suggest(what, [each.name for each in fields(Stage)])}"
        case "option":
            return sentence(f"{of}: {what} {detail['msg']}")
        case _:
            return f"{of}: {what} takes names of stages, not {shown(cast('object', detail['input']))}."


@_in_one_line
@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Stage(RequestOptions):
    r"""One stage of a strategy: which profile does what, how many times, and what is kept.

    A prompt is a template, as in cells: `{{ task }}`; the name of an earlier stage, such as `{{ draft }}`, for what it
    kept (one item as it is, several as a numbered list); and for the stage just before, `{{ items }}` (what it kept, as
    a numbered list), `{{ best }}` (the first of that) and `{{ previous }}` (its answer, word for word). `{{ sample }}`,
    `{{ n }}` and `{{ keep }}` are this stage's numbers. All take filters: `{{ draft | truncate(4000) }}`.

    A stage starts when the stages that its prompt has places for have ended, so stages that do not need each other run
    at once. The fields of `RequestOptions` are sent with its calls; what is None is the profile's.

    `rank` and `list` are asked for as JSON: a sentence below the prompt says so, unless the prompt speaks of JSON. An
    answer in free text is read as far as it is clear, and noted. What is to be ranked is shown in random order
    (the same for the same items), with numbers of its own, for its stage's name, `items` or `previous`.

    Attributes:
        name: What it is called in prompts, in the ledger and in charts.
        profile: Who is asked.
        prompt: What is asked.
        n: How many times; samples of one stage run at once.
        keep: How many items go on, at the most. None: one where something selects, else all.
        select: `rank` reads this stage's answer as a ranking of the items that its prompt shows, and keeps the best of
            these (several samples: by Borda count). `vote` keeps the answers that most samples gave. A function gets
            this stage's items and returns those to keep, as texts or as positions from 0, best first. None keeps the
            first.
        parse: What an item is: `text` a whole answer, `item` the same without the number, bullet or heading that it may
            begin with, `list` an entry of the list that an answer is, `code` what stands in its code fences, `json` its
            last JSON value; or a function of the text that returns one item or several. Of `item` and `list`, refusals
            and echoes of the prompt are left out.
        needs: Stages to wait for beyond those in the prompt.
        adds_to: The stage whose text this one's is about (a review, tests): the final answer is that text, then this
            one under a heading; unless this one begins with the word APPROVED, which adds nothing.
        unless: A stage whose answer is looked at first: where it begins with APPROVED, this one is left out, and what
            that one is about stands in its place.
        accept: Ends the strategy here when it is met: a function of the best reply, a regular expression that its
            text must contain, a JSON schema that it must match, or how many samples must agree. A stage with `accept`
            that fails hands on to the next. With a `schema`, `{}` is met by every answer that fits it.
        schema: The type, or the JSON schema, that its answers must fit, each asked for again once if it does not.

    Raises:
        ConfigError: A field is not of its kind; one line names it.
    """

    name: Annotated[str, Option(TEXT, "what it is called in prompts, in the ledger and in charts")]
    profile: Annotated[str, Option(TEXT, "who is asked")]
    prompt: Annotated[str, Option(TEXT, "what is asked: a template with {{ task }} and the names of earlier stages")]
    n: Annotated[int, Option(SAMPLES, "samples, all at once")] = 1
    keep: Annotated[int | None, Option(whole(1), "items that go on, at the most")] = None
    select: Annotated[Select | None, Option(_SELECT, "how the items that go on are chosen")] = None
    parse: Annotated[Parse, Option(_PARSE, "what an item of an answer is")] = "text"
    needs: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    adds_to: Annotated[str | None, Option(TEXT, "the stage whose answer this one's is added to")] = None
    unless: Annotated[str | None, Option(TEXT, "the stage whose APPROVED makes this one needless")] = None
    accept: Annotated[Acceptance | None, Option(_ACCEPT, "ends the strategy here if an answer satisfies it")] = None

    @property
    def wanted(self) -> int | None:
        """How many items go on at the most; None: all."""
        return 1 if self.keep is None and self.select is not None else self.keep


class Fault(NamedTuple):
    """What is wrong, and where: the number of the stage (None: the whole list) and the field."""

    stage: int | None
    field: str
    fact: str


def fault(stages: Sequence[Stage]) -> Fault | None:
    """Return the first thing that is wrong with a list of stages, or None."""
    if not stages:
        return Fault(None, "", "has no stage. Give it one at least: a name, a profile and a prompt")
    found = (
        Fault(number, field, fact)
        for number, stage in enumerate(stages)
        for field, fact in _faults(stage, [earlier.name for earlier in stages[:number]], stages)
    )
    first = next(found, None)
    if first is None and not any("task" in _places(stage, []) for stage in stages):
        return Fault(0, "prompt", "no stage's prompt holds {{ task }}, so the task would never be sent")
    return first


def needed(stage: Stage, earlier: Sequence[str]) -> tuple[str, ...]:
    """Return the earlier stages that a stage waits for: those that its prompt has places for, and those it names."""
    named = _places(stage, earlier)
    last = earlier[-1:] if any(name in BEFORE for name in named) else ()
    listed = (
        *(name for name in named if name not in BEFORE),
        *stage.needs,
        *filter(None, [stage.adds_to, stage.unless]),
    )
    return tuple(name for name in earlier if name in last or name in listed)


def ranked(stage: Stage, earlier: Sequence[str]) -> str | None:
    """Return the stage whose items a stage ranks: the one that its prompt shows."""
    named = next((name for name in _places(stage, earlier) if name in (*BEFORE, *earlier)), None)
    return earlier[-1] if named in BEFORE and earlier else named


def plain(prompt: str, known: Collection[str]) -> str:
    r"""Return a prompt without the backslashes of `\{name}`, which sends as text what was once a place."""
    return _OLD_ESCAPE.sub(lambda found: found[1] if found[2] in known else found[0], prompt)


def _places(stage: Stage, earlier: Sequence[str]) -> tuple[str, ...]:
    return places(stage.prompt, dict.fromkeys((*RESERVED, *earlier)))


def _faults(stage: Stage, earlier: Sequence[str], stages: Sequence[Stage]) -> Iterator[tuple[str, str]]:
    yield from (("name", fact) for fact in _about_name(stage.name, earlier))
    yield from (("prompt", fact) for fact in _about_prompt(stage, earlier, [each.name for each in stages]))
    named = [("needs", name) for name in stage.needs] + [("adds_to", stage.adds_to), ("unless", stage.unless)]
    for where, name in named:
        if name is not None and name not in earlier:
            yield where, f"no earlier stage is called {name!r}. {suggest(name, earlier)}"
    if stage.select == "rank" and ranked(stage, earlier) is None:
        yield "select", "there is nothing to rank. Put {{ items }} or an earlier stage's name in braces into the prompt"


def _about_name(name: str, earlier: Sequence[str]) -> Iterator[str]:
    if not re.fullmatch(_NAME, name):
        yield f"{name!r} cannot stand in braces. Use letters, digits, _ and -, a letter first"
    if name in RESERVED:
        yield f"{name!r} has a meaning of its own in prompts. Choose another name"
    if name in earlier:
        yield f"two stages are called {name!r}. Rename one"


def _about_prompt(stage: Stage, earlier: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    if not stage.prompt.strip():
        yield "is empty"
    known = dict.fromkeys((*RESERVED, *names), "")
    old = next((name for name in _OLD.findall(stage.prompt) if name in known), None)
    if old is not None:
        yield f"{{{old}}} is written {{{{ {old} }}}} now. To send it as text, write \\{{{old}}}"
    for name in _places(stage, names):
        if name in BEFORE and not earlier:
            yield f"{{{{ {name} }}}}: nothing comes before the first stage"
        elif name == stage.name:
            yield f"{{{{ {name} }}}} is this stage itself"
        elif name in names and name not in earlier:
            yield f"{{{{ {name} }}}} comes later. A prompt can show earlier stages only"
    try:
        fill(stage.prompt, known)
    except PromptError as error:
        yield str(error)
