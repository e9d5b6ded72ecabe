"""The schema of `strategies:` in `profiles.yaml`: a list of stages for each name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Protocol, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from victor_nb.errors import PromptError, did_you_mean
from victor_nb.templates import fill, places

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

BEFORE: Final = ("items", "best", "previous")
"""What stands for the stage before: all that it kept as a numbered list, the first of it, its answer word for word."""
RESERVED: Final = ("task", *BEFORE, "sample", "n", "keep")
"""Places that every prompt may have; no stage goes by such a name."""

_NAME: Final = r"[A-Za-z_][\w-]*"
_OLD: Final = re.compile(rf"(?<![{{\\]){{({_NAME})}}")  # how places were written before there was one language
_OLD_ESCAPE: Final = re.compile(rf"(?<!{{)\\({{({_NAME})}})")


def _acceptance(value: object) -> object:
    """Let through what decides whether an answer will do: a regular expression, a JSON schema, a count of votes."""
    match value:
        case str():
            return _pattern(value)
        case None | dict():
            return cast("object", value)
        case int() if not isinstance(value, bool) and value >= 1:
            return value
        case _:
            msg = "must be a regular expression, a JSON schema, or how many samples must agree"
            raise ValueError(msg)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        msg = f"must be a regular expression ({error})"
        raise ValueError(msg) from None
    return value


class StageSpec(BaseModel):
    """One stage: which profile does what, how many times, and what is kept. See `victor_nb.workflows.stages.Stage`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    profile: str
    prompt: str
    n: Annotated[int, Field(ge=1, le=1000)] = 1
    keep: Annotated[int, Field(ge=1)] | None = None
    select: Literal["rank", "vote"] | None = None
    parse: Literal["text", "item", "list", "code", "json"] = "text"
    needs: list[str] = Field(default_factory=list[str])
    adds_to: str | None = None
    accept: Annotated[Any, AfterValidator(_acceptance)] = None
    system: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    params: dict[str, Any] = Field(default_factory=dict[str, Any])


SELECTIONS: Final = ("rank", "vote")
PARSERS: Final = ("text", "item", "list", "code", "json")


class Blueprint(Protocol):
    """A stage, as far as it is to be checked."""

    @property
    def name(self) -> str: ...  # noqa: D102 - what they are is said in `workflows.stages.Stage`
    @property
    def prompt(self) -> str: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def keep(self) -> int | None: ...  # noqa: D102
    @property
    def select(self) -> object: ...  # noqa: D102
    @property
    def parse(self) -> object: ...  # noqa: D102
    @property
    def needs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def adds_to(self) -> str | None: ...  # noqa: D102


class Fault(NamedTuple):
    """What is wrong, and where: the number of the stage (None: the whole list) and the field."""

    stage: int | None
    field: str
    fact: str


def fault(stages: Sequence[Blueprint]) -> Fault | None:
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


def needed(stage: Blueprint, earlier: Sequence[str]) -> tuple[str, ...]:
    """Return the earlier stages that a stage waits for: those that its prompt has places for, and those it names."""
    named = _places(stage, earlier)
    last = earlier[-1:] if any(name in BEFORE for name in named) else ()
    listed = (*(name for name in named if name not in BEFORE), *stage.needs, *filter(None, [stage.adds_to]))
    return tuple(name for name in earlier if name in last or name in listed)


def ranked(stage: Blueprint, earlier: Sequence[str]) -> str | None:
    """Return the stage whose items a stage ranks: the one that its prompt shows."""
    named = next((name for name in _places(stage, earlier) if name in (*BEFORE, *earlier)), None)
    return earlier[-1] if named in BEFORE and earlier else named


def plain(prompt: str, known: Collection[str]) -> str:
    r"""Return a prompt without the backslashes of `\{name}`, which sends as text what was once a place."""
    return _OLD_ESCAPE.sub(lambda found: found[1] if found[2] in known else found[0], prompt)


def _places(stage: Blueprint, earlier: Sequence[str]) -> tuple[str, ...]:
    return places(stage.prompt, dict.fromkeys((*RESERVED, *earlier)))


def _faults(stage: Blueprint, earlier: Sequence[str], stages: Sequence[Blueprint]) -> Iterator[tuple[str, str]]:
    yield from (("name", fact) for fact in _about_name(stage.name, earlier))
    yield from (("prompt", fact) for fact in _about_prompt(stage, earlier, [each.name for each in stages]))
    named = [("needs", name) for name in stage.needs] + ([("adds_to", stage.adds_to)] if stage.adds_to else [])
    for field, name in named:
        if name not in earlier:
            yield field, f"no earlier stage is called {name!r}. {_hint(name, earlier)}"
    for field, number in (("n", stage.n), ("keep", stage.keep)):
        if number is not None and number < 1:
            yield field, f"{number} is not a number of 1 or more"
    for field, word, known in (("select", stage.select, SELECTIONS), ("parse", stage.parse, PARSERS)):
        if isinstance(word, str) and word not in known:
            yield field, f"{word!r} is unknown. {_hint(word, known)}"
    if stage.select == "rank" and ranked(stage, earlier) is None:
        yield "select", "there is nothing to rank. Put {{ items }} or an earlier stage's name in braces into the prompt"


def _about_name(name: str, earlier: Sequence[str]) -> Iterator[str]:
    if not re.fullmatch(_NAME, name):
        yield f"{name!r} cannot stand in braces. Use letters, digits, _ and -, a letter first"
    if name in RESERVED:
        yield f"{name!r} has a meaning of its own in prompts. Choose another name"
    if name in earlier:
        yield f"two stages are called {name!r}. Rename one"


def _about_prompt(stage: Blueprint, earlier: Sequence[str], names: Sequence[str]) -> Iterator[str]:
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


def _hint(word: str, known: Sequence[str]) -> str:
    close = did_you_mean(word, known)
    return f"Did you mean {close!r}?" if close else f"Known: {', '.join(known) or 'none'}."
