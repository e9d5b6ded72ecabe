"""The same prompt to many profiles at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, cast, get_args
from uuid import uuid4

from victor_nb.calls.request import CallOptions, refuse_sample, settle
from victor_nb.config.request_options import SAMPLES
from victor_nb.errors import BudgetError, ConfigError, FanOutError, TapeMissError, VictorError, VictorInterrupted
from victor_nb.loop import GRACE, Handle
from victor_nb.media import Media
from victor_nb.money import Total
from victor_nb.providers.spec import takes_temperature
from victor_nb.reports.charts import plot
from victor_nb.reports.frames import records_frame
from victor_nb.values import UNPAID, PromptLike, Quotable, Reply, Usage, listed
from victor_nb.wire.clock import simulated
from victor_nb.workflows.progress_bar import Bar, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from victor_nb.accounting.rows import Row
    from victor_nb.calls.orchestrator import AgentOrchestrator
    from victor_nb.calls.stream import Call
    from victor_nb.reports.charts import Axes, Figure
    from victor_nb.reports.frames import DataFrame
    from victor_nb.runtime import Runtime

Outcome = Reply | VictorError

REPLIES: Final = (
    "profile prompt sample status served model input_tokens cache_read_tokens output_tokens reasoning_tokens cost "
    "billed latency ttft attempts mode finish_reason content error reused"
).split()
"""One row for each entry of a fan-out. `served` is the profile that answered: a fallback may have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of a fan-out, or the error in its place.

    Attributes:
        profile: Who was asked.
        prompt: Which of the prompts, from 0.
        sample: Which of the n samples, from 0.
        rows: The attempts that it took, as the ledger has them.
    """

    profile: str
    prompt: int
    sample: int
    outcome: Outcome
    rows: tuple[Row, ...] = field(default=(), repr=False)

    @property
    def parts(self) -> tuple[Row | Reply, ...]:
        """What was paid for: its attempts, or the reply where these are not known; nothing of what is reused."""
        return self.rows or ((self.outcome,) if isinstance(self.outcome, Reply) and self.outcome.made is None else ())


class Replies(Quotable, Mapping[str, "Outcome | tuple[Outcome, ...]"]):
    """Replies by profile, in the order in which the profiles were named.

    `replies["fast"]` is a `Reply`, or the error in its place; where several prompts or samples were asked for, it is a
    tuple of these, prompt by prompt.

    Attributes:
        entries: All of them, flat.
        wall: Seconds that the whole fan-out took.
        run_id: What its rows in the ledger share.
    """

    def __init__(self, entries: tuple[Entry, ...], *, wall: float, run_id: str, single: bool) -> None:
        self.entries = entries
        self.wall = wall
        self.run_id = run_id
        self._single = single
        self._by_profile: dict[str, list[Outcome]] = {}
        for entry in entries:
            self._by_profile.setdefault(entry.profile, []).append(entry.outcome)

    def __getitem__(self, profile: str) -> Outcome | tuple[Outcome, ...]:
        found = self._by_profile[profile]
        return found[0] if self._single else tuple(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_profile)

    def __len__(self) -> int:
        return len(self._by_profile)

    @property
    def ok(self) -> list[Reply]:
        """The answers that came."""
        return [entry.outcome for entry in self.entries if isinstance(entry.outcome, Reply)]

    @property
    def failed(self) -> dict[str, VictorError]:
        """The first error of each profile that had one."""
        found: dict[str, VictorError] = {}
        for entry in self.entries:
            if isinstance(entry.outcome, VictorError):
                found.setdefault(entry.profile, entry.outcome)
        return found

    @property
    def fastest(self) -> Reply | None:
        """The answer with the shortest latency, of those that were asked now; None when none came."""
        return min((reply for reply in self.ok if reply.made is None), key=lambda reply: reply.latency, default=None)

    @property
    def cheapest(self) -> Reply | None:
        """The answer with the lowest known cost; None when none has one."""
        priced = [reply for reply in self.ok if reply.cost is not None]
        return min(priced, key=lambda reply: cast("Decimal", reply.cost), default=None)

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts together, as far as they are known."""
        return sum((part.usage for entry in self.entries for part in entry.parts), Usage())

    @property
    def spent(self) -> Total:
        """What all attempts cost as far as it is known, those that failed too, and how many are not priced."""
        return Total.of(part for entry in self.entries for part in entry.parts)

    @property
    def cost(self) -> Decimal | None:
        """List price of all attempts together in USD; None when that of any is unknown."""
        return self.spent.exact_cost

    @property
    def serial(self) -> float:
        """Seconds that the answers would have taken one after the other."""
        return sum(reply.latency for reply in self.ok)

    def to_frame(self) -> DataFrame:
        """Return one row for each entry: who, status, tokens, cost and billed (USD), latency, ttft (s), text, error."""
        return records_frame([_record(entry) for entry in self.entries], REPLIES)

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Chart latency and cost by profile."""
        return plot("replies", self, ax=ax)

    def quoted(self) -> str:
        """Return the answers, each under the name of its profile; of one that failed only that it did."""
        return "\n\n".join(f"[{label(entry)}]\n{_quoted(entry)}" for entry in self.entries)

    def records(self) -> list[dict[str, object]]:
        """Return a mapping for each answer: who gave it, and its text; of one that failed only that it did."""
        return [{"profile": label(entry), "answer": _quoted(entry)} for entry in self.entries]

    def __repr__(self) -> str:
        parts = [f"{name}: {_short(self[name])}" for name in self]
        return f"Replies({', '.join(parts)})"

    def __str__(self) -> str:
        """Show each answer under the name of its profile."""
        return "\n\n".join(f"[{entry.profile}]\n{entry.outcome}" for entry in self.entries)


def label(lane: Lane | Entry) -> str:
    """Return whose answer it is: the profile, and which prompt or sample where there are several."""
    more = [f"prompt {lane.prompt + 1}"] if lane.prompt else []
    more += [f"sample {lane.sample + 1}"] if lane.sample else []
    return " · ".join([lane.profile, *more])


def _quoted(entry: Entry) -> str:
    return str(entry.outcome) if isinstance(entry.outcome, Reply) else f"(no answer: {type(entry.outcome).__name__})"


def _record(entry: Entry) -> dict[str, object]:
    """Return an entry as a row of a frame; tokens and cost of an error are those of its attempts."""
    place = {"profile": entry.profile, "prompt": entry.prompt, "sample": entry.sample}
    if isinstance(entry.outcome, Reply):
        return {**_answer(entry.outcome), **place}
    error = entry.outcome
    reply: Reply | None = getattr(error, "reply", None)
    status = "refused" if isinstance(error, BudgetError) else reply.status if reply else "error"
    known = _answer(reply) if reply else {"model": getattr(error, "model", None) or None}
    if entry.rows:
        spent, mode = Total.of(entry.rows), entry.rows[-1].mode
        known |= {"cost": spent.exact_cost, "billed": spent.exact_billed, "attempts": len(entry.rows), "mode": mode}
    return {**known, **place, "status": status, "error": f"{type(error).__name__}: {error}"}


def _answer(reply: Reply) -> dict[str, object]:
    alike = "status model cost billed latency ttft attempts mode finish_reason content".split()
    counts = "input_tokens cache_read_tokens output_tokens reasoning_tokens".split()
    own = {name: getattr(reply, name) for name in alike}
    counted = {name: getattr(reply.usage, name) for name in counts}
    return {**own, **counted, "served": reply.profile, "reused": reply.made is not None}


def _short(value: Outcome | tuple[Outcome, ...]) -> str:
    if isinstance(value, tuple):
        return f"{sum(isinstance(each, Reply) for each in value)} of {len(value)} ok"
    if isinstance(value, Reply):
        return f"{value.status}, {Total.of([value])}"
    return type(value).__name__


ALIKE: Final = "temperature 0: samples of one prompt cannot differ"


def cannot_differ(orchestrator: AgentOrchestrator, options: CallOptions) -> bool:
    """Return whether all samples of a prompt are the same: they are sent with temperature 0."""
    profile = orchestrator.profile
    sent = settle(profile, options)
    heat = sent["params"].get("temperature", sent["temperature"])
    refused = orchestrator.runtime.refuses("temperature", profile)
    return heat == 0 and takes_temperature(profile.provider, profile.model, heat, refused=refused)


OnError = Literal["keep", "raise"]


@dataclass(slots=True)
class Lane:
    """One call of a fan-out, as it goes; readable from any thread.

    Attributes:
        outcome: The reply or the error, once there is one.
        note: What is to be known of the reply.
    """

    profile: str
    prompt: int
    sample: int
    outcome: Outcome | None = None
    call: Call | None = None
    note: str | None = None
    _pieces: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces) or (self.call.text if self.call else "")

    @property
    def spent(self) -> Total:
        """What those of its attempts cost that have ended."""
        return Total.of(row for row in self.call.rows if row.status != "running") if self.call else Total()

    def take(self, call: Call) -> Lane:
        """Set the lane's call, and keep its text as it comes."""
        self.call, call.on_text = call, self._pieces.append
        return self

    async def run(self) -> None:
        """Ask, and keep the reply or the error; a failure does not affect the other calls."""
        if self.call is None:
            return
        try:
            reply = await self.call.run()
            self.outcome = replace(reply, notes=(*reply.notes, self.note)) if self.note else reply
        except VictorError as error:
            self.outcome = error

    def entry(self) -> Entry:
        """Return the lane as a value; what was stopped is a partial reply."""
        outcome = self.outcome
        if outcome is None:
            outcome = self.call.reply("interrupted") if self.call else VictorError(f"{self.profile}: not asked.")
        return Entry(self.profile, self.prompt, self.sample, outcome, self.call.rows if self.call else ())


def check_tape(lanes: Iterable[Lane]) -> None:
    """Raise if a call found no recording to replay: that is no failure of a provider, which others may make good.

    Raises:
        TapeMissError: One did.
    """
    for lane in lanes:
        if isinstance(lane.outcome, TapeMissError):
            raise lane.outcome


class FanOut(Handle[Replies]):
    """A fan-out; it is a handle once it has started. Made by `pool.start_fan_out`; `pool.fan_out` waits for it.

    Attributes:
        lanes: One for each call, in the order of the entries.
    """

    def __init__(
        self,
        runtime: Runtime,
        find: Callable[[str], AgentOrchestrator],
        prompt: PromptLike | Sequence[PromptLike],
        profiles: Sequence[str],
        *,
        n: int,
        stream: bool,
        options: CallOptions,
    ) -> None:
        single = is_one(prompt)
        prompts = cast("Sequence[PromptLike]", [prompt] if single else list(cast("Sequence[object]", prompt)))
        profiles = listed(profiles)
        check_fan_out(prompts, profiles, n)
        refuse_sample(options)
        self.run_id = options.get("run_id") or uuid4().hex
        self._single = n == 1 and single
        self._now: Callable[[], float] = time.perf_counter
        self._began = self._ended = self._now()
        self.runtime = runtime
        self._simulated = runtime.mode in UNPAID
        self.lanes = [
            Lane(profile, number, sample)
            for profile in profiles
            for number in range(len(prompts))
            for sample in range(n)
        ]
        settled: CallOptions = {**options, "run_id": self.run_id}
        for lane in self.lanes:
            try:
                orchestrator = find(lane.profile)
                options = {**settled, "sample": lane.sample}
                lane.take(orchestrator.call(prompts[lane.prompt], options, stream=stream))
                lane.note = ALIKE if n > 1 and cannot_differ(orchestrator, options) else None
            except ConfigError:
                raise  # a misspelt name is a mistake of the whole line
            except VictorError as error:
                lane.outcome = error

    def start(self) -> FanOut:
        """Start every call, without waiting."""
        self._job = self.runtime.loop.start(self.run)
        return self

    async def run(self) -> Replies:
        """Ask all profiles at once, on the background loop."""
        with simulated(self.runtime.timeline, alone=True) if self._simulated else nullcontext() as clock:
            self._now = clock or self._now
            self._began = self._now()
            try:
                await asyncio.gather(*(lane.run() for lane in self.lanes))
                check_tape(self.lanes)
            finally:
                self._ended = self._now()
                self.runtime.last = replies = self.replies
        return replies

    @property
    def replies(self) -> Replies:
        """What has come so far; what has not come yet is a partial reply."""
        entries = tuple(lane.entry() for lane in self.lanes)
        return Replies(entries, wall=self._ended - self._began, run_id=self.run_id, single=self._single)

    def bar(self, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
        """Return the bar to wait with."""
        size = len(self.lanes)

        def look() -> Tally:
            return Tally.of(self.lanes, total=size)

        return Bar("fan_out", look, calls=size, progress=progress, runtime=self.runtime)

    def result(self, *, on_error: OnError = "keep", progress: bool | None = False) -> Replies:
        """Wait for all, with a bar as `progress` has it (see `Bar`). Stop cancels all.

        Raises:
            FanOutError: All failed; or any did, where `on_error` is `raise`.
            VictorInterrupted: Stop was pressed; what had come is `session().last`.
        """
        try:
            with self.bar(progress) as bar:
                replies = bar.result(self._job)
        except KeyboardInterrupt:
            raise self.interrupted() from None
        except asyncio.CancelledError:
            replies = self.replies
        return judged(replies, on_error)

    def interrupted(self) -> VictorInterrupted:
        """Stop everything, keep what came as `session().last`, and return the error to raise."""
        self.cancel()
        self.wait(GRACE)
        self._ended = self._now()
        self.runtime.last = replies = self.replies
        kept = sum(bool(reply.content) for reply in replies.ok)
        text = f"stopped; {kept} of {len(self.lanes)} answers, whole or partial, are in session().last."
        return VictorInterrupted(text, replies)


def judged(replies: Replies, on_error: OnError) -> Replies:
    """Return the replies, unless too many of them are errors."""
    check_on_error(on_error)
    failed = [entry for entry in replies.entries if isinstance(entry.outcome, VictorError)]
    if failed and (on_error == "raise" or len(failed) == len(replies.entries)):
        raise FanOutError(replies, [(entry.profile, entry.outcome) for entry in failed], len(replies.entries))
    return replies


def check_on_error(word: str) -> None:
    """Raise if `on_error` is no known word.

    Raises:
        ConfigError: It is neither of the two.
    """
    if word not in get_args(OnError):
        raise ConfigError(f"on_error={word!r} is unknown. Known: {', '.join(get_args(OnError))}.")


def is_one(prompt: PromptLike | Sequence[PromptLike]) -> bool:
    """Return whether this is one prompt: a list that holds an image or a PDF is, a list of prompts is not."""
    if isinstance(prompt, (str, Reply, Media)):
        return True
    return any(isinstance(part, Media) for part in prompt)


def check_fan_out(prompts: Sequence[object], profiles: Sequence[str], n: int) -> None:
    """Raise if a fan-out asks nothing, or a profile twice.

    Raises:
        ConfigError: There is no profile or no prompt, a profile is named twice, or `n` is out of range.
    """
    if isinstance(profiles, str):
        raise ConfigError(f"profiles is a list of names, such as {profiles.split(',')!r}.")
    if not profiles or not prompts:
        raise ConfigError(f"A fan-out needs at least one {'prompt' if profiles else 'profile'}.")
    twice = next((name for index, name in enumerate(profiles) if name in profiles[:index]), None)
    if twice is not None:
        raise ConfigError(f"{twice!r} is named twice. For several samples of it, use n=2.")
    fault = SAMPLES.fault(n)
    if fault is not None:
        raise ConfigError(f"n= {fault}.")
