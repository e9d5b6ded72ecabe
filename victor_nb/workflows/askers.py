"""Who answers the rows of a map: a profile, or a strategy that runs once for each row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from victor_nb.calls.request import CallOptions, settle
from victor_nb.calls.reuse import Reuse, key_of, reused
from victor_nb.errors import VictorError
from victor_nb.money import Total
from victor_nb.providers.spec import spec_of
from victor_nb.values import BYTES_PER_TOKEN, PromptLike
from victor_nb.workflows.outcomes import Cell, shortened

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from victor_nb.accounting.cache import AnswerCache, StoredAnswer
    from victor_nb.calls.orchestrator import AgentOrchestrator
    from victor_nb.calls.quota import Share
    from victor_nb.calls.stream import Call
    from victor_nb.config.settings import Settings
    from victor_nb.runtime import Runtime

_WARM: Final = 1024 * BYTES_PER_TOKEN
"""Characters of the constant start of prompts from which on providers keep it in their caches."""


class ProfileAsker:
    """Asks a profile about each row.

    Args:
        orchestrator: That of the profile.
        options: What every call is sent with.
        share: What the map's calls have in common at their hosts.
        start: The text that all prompts begin with.
    """

    def __init__(self, orchestrator: AgentOrchestrator, options: CallOptions, share: Share, start: str) -> None:
        self.profile, self.options = orchestrator.profile, options
        self.name, self._orchestrator, self._share = orchestrator.profile.name, orchestrator, share
        self._store = _Store()
        sent, profile = settle(orchestrator.profile, options), orchestrator.profile
        spec = spec_of(profile.provider)
        words = spec.words_for("prompt_cache", profile.model)
        asked = sent["prompt_cache"] or ("off" if spec.caches_on_request else "auto")
        long = len(start) + len(sent["system"] or "") >= _WARM
        self.warms = long and "auto" in words and asked != "off" and orchestrator.mode == "live"

    def prepare(self, prompt: str, sample: int) -> ProfileQuestion:
        """Return a row that is ready to be asked."""
        options: CallOptions = {**self.options, "sample": sample}
        call = self._orchestrator.call(prompt, options, stream=False, quota=self._share)
        return ProfileQuestion(call, self._store)


class _Store:
    """The wait of many rows for what they have put into a store of answers: those of a moment wait for one thing."""

    def __init__(self) -> None:
        self._mark: Future[None] | None = None
        self._here: asyncio.Future[None] | None = None

    async def wait(self, cache: AnswerCache) -> None:
        """Wait until all that was put is in the file."""
        mark = cache.written()
        if mark is not self._mark or self._here is None:
            self._mark, self._here = mark, asyncio.wrap_future(mark)
        await asyncio.shield(self._here)  # the end of one row is none of the others


class ProfileQuestion:
    """One row at one profile."""

    def __init__(self, call: Call, store: _Store) -> None:
        self.call, self._store = call, store
        self.key: bytes | None = key_of(call.request)

    async def reuse(self, stored: StoredAnswer, cell: Cell) -> bool:
        """Put a stored answer into the cell; return whether it serves."""
        request = self.call.request
        reply = await reused(request, stored) if stored.serves(request.chat.max_tokens) else None
        if reply is None:
            return False
        cell.take(reply)
        cell.status, cell.reused_price = "reused", stored.cost
        return True

    async def ask(self, cell: Cell) -> None:
        """Ask, and put what comes into the cell, also when it is stopped; then wait until the store has it."""
        call = self.call
        try:
            cell.take(await call.run())
            cell.status = "ok"
        except VictorError as error:
            cell.fail(error)
            raise
        except asyncio.CancelledError:
            cell.take(call.reply("interrupted"))
            cell.status = "interrupted"
            raise
        finally:
            cell.cost = Total.of(call.rows).exact_cost
        reuse = call.request.cache
        if isinstance(reuse, Reuse) and reuse.kept is not None and reuse.kept.path is not None:
            await self._store.wait(reuse.kept)


class Pool(Protocol):
    """Whose profiles are asked: an `OrchestratorPool`, whose module imports that of maps."""

    settings: Settings
    runtime: Runtime

    def get_orchestrator(self, profile: str | None = None) -> AgentOrchestrator:
        """Return the orchestrator of a profile."""
        ...


class Runnable(Protocol):
    """A strategy."""

    name: str

    # An OrchestratorPool is given, by which a strategy's own parameter is typed.
    def prepare(self, task: PromptLike, *, pool: Any, stream: bool, options: CallOptions) -> Run:  # noqa: ANN401
        """Return a run that is ready to go."""
        ...


class Run(Protocol):
    """A run of a strategy."""

    async def run(self) -> None:
        """Run all stages."""
        ...

    def so_far(self) -> Any:  # noqa: ANN401 - a StrategyRun, whose module imports this one
        """Return what has come of it."""
        ...


class StrategyAsker:
    """Runs a strategy for each row.

    Args:
        strategy: The strategy.
        pool: Whose profiles it asks.
        options: What every call is sent with.
    """

    warms = False

    def __init__(self, strategy: Runnable, pool: Pool, options: CallOptions) -> None:
        self.name, self._strategy, self._pool = strategy.name, strategy, pool
        tags = {**(options.get("tags") or {}), "map": options.get("run_id") or ""}
        kept = {name: value for name, value in options.items() if name not in {"run_id", "sample"}}
        self._options = cast("CallOptions", {**kept, "tags": tags})
        strategy.prepare("a row", pool=pool, stream=False, options=self._options)

    def prepare(self, prompt: str, sample: int) -> StrategyQuestion:
        """Return a row that is ready to be asked."""
        del sample  # a run numbers its own
        return StrategyQuestion(
            lambda: self._strategy.prepare(prompt, pool=self._pool, stream=False, options=self._options)
        )


class StrategyQuestion:
    """One row at a strategy."""

    key: bytes | None = None

    def __init__(self, prepare: Callable[[], Run]) -> None:
        self._prepare = prepare

    async def reuse(self, stored: StoredAnswer, cell: Cell) -> bool:
        """Return False: the store has calls, not runs."""
        del stored, cell
        return False

    async def ask(self, cell: Cell) -> None:
        """Run the strategy, and put what comes into the cell, also when it is stopped."""
        engine = await asyncio.to_thread(self._prepare)
        failure: VictorError | None = None
        try:
            await engine.run()
        except VictorError as error:
            failure = error
        except asyncio.CancelledError:
            self._take(cell, engine.so_far())
            cell.status = "interrupted"
            raise
        run = await asyncio.to_thread(engine.so_far)
        self._take(cell, run)
        if failure is not None:
            cell.fail(failure)
            raise failure
        replies = [reply for stage in run.stages for reply in stage.replies]
        stored = bool(replies) and not any(reply.attempts for reply in replies)
        cell.status = "partial" if not run.complete else "reused" if stored else "ok"
        cell.error = None if run.complete else shortened(run.stopped or "it is not complete")

    def _take(self, cell: Cell, run: Any) -> None:  # noqa: ANN401 - a StrategyRun
        """Take the answer of a run, and what all of its calls cost."""
        cell.text, cell.data, cell.cost, cell.latency = run.content or None, run.data, run.cost, run.wall
        cell.input_tokens, cell.output_tokens = run.usage.input_tokens, run.usage.output_tokens
        final = next((stage.replies for stage in run.stages if stage.name == run.final), ())
        if final:
            cell.model, cell.finish_reason = final[-1].model_served or final[-1].model, final[-1].finish_reason
