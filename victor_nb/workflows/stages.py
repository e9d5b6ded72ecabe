"""A stage of a strategy, as data: which profile does what, how many times, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from victor_nb.errors import ConfigError
from victor_nb.workflows.checks import check_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Literal

    from victor_nb.config.strategies import StageSpec
    from victor_nb.workflows.checks import Acceptance

Choice: TypeAlias = "str | int | Iterable[str | int]"
Select: TypeAlias = "Literal['rank', 'vote'] | Callable[[tuple[str, ...]], Choice]"
Parse: TypeAlias = "Literal['text', 'item', 'list', 'code', 'json'] | Callable[[str], str | Iterable[str]]"


def _nothing() -> dict[str, object]:
    return {}


@dataclass(frozen=True)
class Stage:
    r"""One step of a strategy.

    A prompt is a template, as in cells: `{{ task }}`; the name of an earlier stage, such as `{{ draft }}`, for what it
    kept (one item as it is, several as a numbered list); and for the stage just before, `{{ items }}` (what it kept, as
    a numbered list), `{{ best }}` (the first of that) and `{{ previous }}` (its answer, word for word). `{{ sample }}`,
    `{{ n }}` and `{{ keep }}` are this stage's numbers. All take filters: `{{ draft | truncate(4000) }}`.

    A stage starts when the stages that its prompt has places for have ended, so stages that do not need each other run
    at once.

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
        parse: What an item is: `text` a whole answer, `item` the same without the number or bullet that it may begin
            with, `list` an entry of the list that an answer is, `code` what stands in its code fences, `json` its JSON
            value; or a function of the text that returns one item or several.
        needs: Stages to wait for beyond those in the prompt.
        adds_to: The stage whose text this one's is about (a review, tests): the final answer is that text, then this
            one under a heading; unless this one begins with the word APPROVED, which adds nothing.
        accept: Ends the strategy here when it says yes: a function of the best reply, a regular expression that its
            text must contain, a JSON schema that it must match, or how many samples must agree. A stage with `accept`
            that fails hands on to the next.
        system: The system prompt, sent as it is: it has no places. None: the profile's.
        max_tokens: The longest answer. None: the profile's.
        temperature: None: the profile's.
        params: Anything else that the provider takes.
    """

    name: str
    profile: str
    prompt: str
    n: int = 1
    keep: int | None = None
    select: Select | None = None
    parse: Parse = "text"
    needs: tuple[str, ...] = ()
    adds_to: str | None = None
    accept: Acceptance | None = None
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    params: Mapping[str, object] = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        """Refuse what no strategy could use.

        Raises:
            ConfigError: A field is not of its kind.
        """
        for name in ("name", "profile", "prompt"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"Stage: {name} is text, not {getattr(self, name)!r}.")
        for name in ("n", "keep"):
            number = getattr(self, name)
            if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
                raise ConfigError(f"Stage {self.name!r}: {name} is a whole number, not {number!r}.")
        check_rule(self.accept)
        needs = (self.needs,) if isinstance(self.needs, str) else tuple(self.needs)
        object.__setattr__(self, "needs", needs)

    @classmethod
    def from_spec(cls, spec: StageSpec) -> Stage:
        """Return the stage that an entry of `profiles.yaml` describes."""
        said: dict[str, Any] = {item.name: getattr(spec, item.name) for item in fields(cls)}
        return cls(**said)

    @property
    def wanted(self) -> int | None:
        """How many items go on at the most; None: all."""
        return 1 if self.keep is None and self.select is not None else self.keep
