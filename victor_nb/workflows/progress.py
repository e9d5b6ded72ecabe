"""The progress of a strategy: its stages on the background loop, and snapshots of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from victor_nb.calls.structured import spoken
from victor_nb.errors import InvalidAnswerError, PartialAnswerError
from victor_nb.money import Total
from victor_nb.values import Reply
from victor_nb.workflows.lists import numbered

if TYPE_CHECKING:
    from decimal import Decimal

    from victor_nb.config.strategies import Stage
    from victor_nb.workflows.fan_out import Lane

StageState: TypeAlias = Literal["waiting", "running", "done", "failed", "refused", "stopped", "skipped"]


@dataclass(slots=True)
class Work:
    """One stage as it goes. Written on the background loop only; readable from any thread.

    Attributes:
        lanes: One for each sample.
        prompts: What each sample was asked.
        items: What the answers were read as; of a ranking, what was ranked.
        numbers: The numbers that items carry when they are shown to be ranked: that of the sample, or from 1.
        accepted: Whether the stage's `accept` was met; None where it has none.
        began: Seconds from the run's start; None while it waits.
    """

    stage: Stage
    state: StageState = "waiting"
    lanes: list[Lane] = field(default_factory=list["Lane"])
    prompts: dict[int, str] = field(default_factory=dict[int, str])
    items: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list[str])
    accepted: bool | None = None
    began: float | None = None
    ended: float | None = None

    @property
    def replies(self) -> tuple[Reply, ...]:
        """The answers, and what had come of those that broke off or were stopped."""
        found = (_reply(lane, stopped=self.state not in {"waiting", "running"}) for lane in list(self.lanes))
        return tuple(reply for reply in found if reply is not None)

    @property
    def carried(self) -> tuple[int, ...]:
        """The numbers that the kept items carry."""
        own = dict(zip(self.items, self.numbers, strict=True)) if self.numbers else {}
        found = tuple(own.get(item, 0) for item in self.kept)
        return found if all(found) else tuple(range(1, len(found) + 1))

    @property
    def previous(self) -> str:
        """The answer, word for word; several as a numbered list."""
        said = [spoken(reply.content) for reply in self.replies]
        return said[0] if len(said) == 1 else numbered([each for each in said if each])

    @property
    def text(self) -> str:
        """The output of the stage: what it kept, or else what has come."""
        return in_place(self.kept) if self.kept else self.previous


def in_place(items: tuple[str, ...]) -> str:
    """Return items as a prompt shows them: one as it is, several as a numbered list."""
    return items[0] if len(items) == 1 else numbered(items)


def _reply(lane: Lane, *, stopped: bool) -> Reply | None:
    outcome = lane.outcome
    if isinstance(outcome, Reply):
        return outcome
    if isinstance(outcome, (PartialAnswerError, InvalidAnswerError)):
        return outcome.reply if isinstance(outcome.reply, Reply) else None
    # A call that was stopped before it was sent has no reply at all.
    return lane.call.reply("interrupted") if outcome is None and stopped and lane.call is not None else None


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One stage, at one moment.

    Attributes:
        done: Calls that have ended.
        total: Calls that the stage takes.
        texts: The text of each of them so far.
        kept: How many items go on.
        spent: What its attempts that have ended cost as far as it is known, and how many are not priced.
    """

    name: str
    profile: str
    state: StageState
    done: int
    total: int
    texts: tuple[str, ...]
    kept: int
    spent: Total

    @property
    def cost(self) -> Decimal | None:
        """List price in USD of the attempts that have ended; None when that of any is unknown."""
        return self.spent.exact_cost

    @classmethod
    def of(cls, work: Work) -> StageProgress:
        """Return the progress of a stage."""
        lanes, stage = list(work.lanes), work.stage
        return cls(
            name=stage.name,
            profile=stage.profile,
            state=work.state,
            done=sum(lane.outcome is not None for lane in lanes),
            total=stage.n,
            texts=tuple(_text(lane) for lane in lanes),
            kept=len(work.kept),
            spent=sum((lane.spent for lane in lanes), Total()),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """A strategy under way, at one moment.

    Attributes:
        wall: Seconds since it started.
        ended: Whether no further call will be made.
    """

    strategy: str
    task: str
    run_id: str
    stages: tuple[StageProgress, ...]
    wall: float
    ended: bool

    @property
    def done(self) -> int:
        """Calls that have ended."""
        return sum(stage.done for stage in self.stages)

    @property
    def total(self) -> int:
        """Calls that the run takes, at the most: a cascade may end earlier."""
        return sum(stage.total for stage in self.stages if stage.state != "skipped")

    @property
    def current(self) -> StageProgress | None:
        """The stage that is running: the first of several; None between two and at the end."""
        return next((stage for stage in self.stages if stage.state == "running"), None)

    @property
    def text(self) -> str:
        """The text of the current stage so far: that of the first sample that has any."""
        stage = self.current
        return next((text for text in stage.texts if text), "") if stage else ""

    @property
    def spent(self) -> Total:
        """What the attempts that have ended cost as far as it is known, and how many are not priced."""
        return sum((stage.spent for stage in self.stages), Total())

    @property
    def cost(self) -> Decimal | None:
        """List price in USD of the attempts that have ended; None when that of any is unknown."""
        return self.spent.exact_cost

    def __str__(self) -> str:
        """Return it on one line: `funnel · select (fast) · 11 of 13 calls · 4.2 s`."""
        stage = self.current
        where = f"{stage.name} ({stage.profile})" if stage else "ended" if self.ended else "starting"
        return f"{self.strategy} · {where} · {self.done} of {self.total} calls · {self.wall:.1f} s"


def _text(lane: Lane) -> str:
    return lane.outcome.content if isinstance(lane.outcome, Reply) else lane.text
