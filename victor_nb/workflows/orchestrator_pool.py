"""The pool: a kernel's orchestrators, one for each profile that was asked for."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self, Unpack

from victor_nb.calls.orchestrator import AgentOrchestrator
from victor_nb.errors import ClosedError
from victor_nb.runtime import Owner, Runtime, current, runtime_of
from victor_nb.workflows.fan_out import FanOut, OnError, Replies, check_on_error, judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.calls.request import CallOptions
    from victor_nb.config.settings import Settings
    from victor_nb.reports.frames import DataFrame
    from victor_nb.values import PromptLike
    from victor_nb.workflows.intake import Plan
    from victor_nb.workflows.map import Map, MapOptions


class OrchestratorPool:
    """The orchestrators of a kernel: each is made when its profile is first asked for, and returned from then on.

    Args:
        settings: Where the profiles are.
        container: A session to share, with its ledger, budget and loop; else the kernel's.

    Attributes:
        runtime: What it shares with all calls of the kernel, or of its container.
    """

    def __init__(self, settings: Settings, container: Owner | Runtime | None = None) -> None:
        self.settings = settings
        self.runtime = runtime_of(container)
        self.runtime.adopt(settings)
        self._lock = threading.RLock()
        self._cache: dict[str, AgentOrchestrator] = {}
        self.closed = False

    def __reduce__(self) -> tuple[object, ...]:
        """Let the pool go to another process, without its clients."""
        return OrchestratorPool, (self.settings, self.runtime)

    def get_orchestrator(self, profile: str | None = None) -> AgentOrchestrator:
        """Return the orchestrator of a profile; None is the default one.

        Eight threads that ask for one profile get one object.

        Raises:
            ValueError: No profile goes by that name.
            RuntimeError: Its client cannot be made, or the pool is closed.
        """
        mode = self.runtime.mode
        found = self._cache.get(self.settings.default if profile is None else profile)
        if found is not None and mode in found.clients:
            return found
        with self._lock:
            if self.closed:
                raise ClosedError("This pool is shut down. Make a new OrchestratorPool(settings).")
            wanted = self.settings.profile(profile)
            if wanted.name not in self._cache:
                made = AgentOrchestrator(
                    wanted, settings=self.settings, runtime=self.runtime, find=self.get_orchestrator
                )
                self._cache[wanted.name] = made
            self._cache[wanted.name].open(mode)
            return self._cache[wanted.name]

    def get_default_orchestrator(self) -> AgentOrchestrator:
        """Return the default profile's orchestrator; see `get_orchestrator`."""
        return self.get_orchestrator()

    async def fan_out(
        self,
        prompt: PromptLike | Sequence[PromptLike],
        profiles: Sequence[str],
        *,
        n: int = 1,
        on_error: OnError = "keep",
        progress: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> Replies:
        """Ask several profiles at once.

        Args:
            prompt: What to ask; or several prompts, each of which every profile is asked.
            profiles: Their names.
            n: Samples of each.
            on_error: `keep` puts a failure in the place of its answer; `raise` raises when there is any.
            progress: Whether to show a bar: None for ten calls or more that take over a second, where a user can watch
                (a notebook or a terminal; not with CI=true or VICTOR_PROGRESS=off); True at once, for few as well.
            **options: See `CallOptions`.

        Raises:
            FanOutError: All failed; or any did, where `on_error` is `raise`. It holds the rest.
            ValueError: No profile goes by one of the names.
        """
        # The first client of a provider imports its SDK: a second that must not stop the caller's loop.
        check_on_error(on_error)
        with self.runtime.budget.pinned():
            fan = await asyncio.to_thread(
                FanOut, self.runtime, self.get_orchestrator, prompt, profiles, n=n, stream=False, options=options
            )
        async with fan.bar(progress):
            replies = await self.runtime.loop.call(fan.run)
        return judged(replies, on_error)

    def fan_out_sync(
        self,
        prompt: PromptLike | Sequence[PromptLike],
        profiles: Sequence[str],
        *,
        n: int = 1,
        on_error: OnError = "keep",
        progress: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> Replies:
        """Ask several profiles at once, and block until all have answered; see `fan_out`."""
        check_on_error(on_error)
        fan = FanOut(self.runtime, self.get_orchestrator, prompt, profiles, n=n, stream=False, options=options)
        return fan.start().result(on_error=on_error, progress=progress)

    def start_fan_out(
        self,
        prompt: PromptLike | Sequence[PromptLike],
        profiles: Sequence[str],
        *,
        n: int = 1,
        **options: Unpack[CallOptions],
    ) -> FanOut:
        """Ask several profiles at once, streaming, without waiting: the handle shows what has come so far."""
        return FanOut(self.runtime, self.get_orchestrator, prompt, profiles, n=n, stream=True, options=options).start()

    async def map(
        self,
        data: object,
        template: str,
        *,
        profile: object = None,
        out: str = "answer",
        progress: bool | None = None,
        **options: Unpack[MapOptions],
    ) -> DataFrame:
        """Ask about each row of a table, and return the table with the answers beside it.

        Args:
            data: A DataFrame, a Series, a list (also of mappings), an iterator or an async iterator.
            template: What to ask: `{{ column }}` stands for a row's value, `{{ row['a name'] }}` for one of any name,
                `{{ value }}` for that of a Series or a list.
            profile: Who is asked; None is the default one.
            out: What the new columns are called: `label`, `label_status`, `label_error`, `label_cost` (USD), ...
            progress: Whether to show a bar; see `fan_out`.
            **options: See `MapOptions`.

        Returns:
            A new frame with the index, the order and the columns of the table. `_status` says what came of each row:
            ok, reused, skipped, invalid, failed, refused, partial, interrupted, pending. Of an iterator, it has the
            answers alone.

        Raises:
            MapError: All rows failed for one reason, which is known after ten; `partial` is the frame.
            ConfigError: The template, the table or an option cannot be used; nothing was sent.
        """
        # The first client of a provider imports its SDK: a second that must not stop the caller's loop.
        with self.runtime.budget.pinned():
            made = await asyncio.to_thread(self._map, data, template, profile=profile, out=out, options=options)
        async with made.bar(progress):
            return await made.run()

    def map_sync(
        self,
        data: object,
        template: str,
        *,
        profile: object = None,
        out: str = "answer",
        progress: bool | None = None,
        **options: Unpack[MapOptions],
    ) -> DataFrame:
        """Ask about each row of a table, and block until all have been; see `map`.

        Raises:
            VictorInterrupted: Stop was pressed; `partial` is the frame so far, and so is `session().last`.
        """
        made = self._map(data, template, profile=profile, out=out, options=options)
        return made.start().result(progress=progress)

    def start_map(
        self, data: object, template: str, *, profile: object = None, out: str = "answer", **options: Unpack[MapOptions]
    ) -> Map:
        """Ask about each row of a table without waiting: the handle has the frame so far; see `map`."""
        return self._map(data, template, profile=profile, out=out, options=options).start()

    def plan_map(
        self, data: object, template: str, *, profile: object = None, out: str = "answer", **options: Unpack[MapOptions]
    ) -> Plan:
        """Return what a map would ask, of its rows alone: how many prompts differ, and how many rows are skipped."""
        return self._map(data, template, profile=profile, out=out, options=options).plan()

    def _map(self, data: object, template: str, *, profile: object, out: str, options: MapOptions) -> Map:
        from victor_nb.workflows.map import Map  # noqa: PLC0415 - few calls are of tables

        return Map(self, data, template, profile=profile, out=out, options=options)

    def get_cached_profiles(self) -> list[str]:
        """Return the profiles that have an orchestrator, in the order in which they got it."""
        with self._lock:
            return list(self._cache)

    def clear_cache(self, profile: str | None = None) -> None:
        """Forget one profile's orchestrator, or all of them (None), and close their clients and sockets."""
        with self._lock:
            names = list(self._cache) if profile is None else [profile]
            gone = [self._cache.pop(name) for name in names if name in self._cache]
        self.runtime.close_clients(gone)

    def renew(self) -> None:
        """Begin anew in a forked child, with a lock of its own; its orchestrators do so themselves."""
        self._lock = threading.RLock()

    def shutdown(self) -> None:
        """Close everything, from any thread, also inside a running loop. Twice is fine; use after it is an error."""
        with self._lock:
            self.closed = True
        self.clear_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"cached={self.get_cached_profiles()}"
        return f"OrchestratorPool({state})"


def kernel_pool(runtime: Runtime | None = None) -> OrchestratorPool:
    """Return the pool of a runtime, else of the kernel's; it is made where there is none, or where it was shut down.

    Raises:
        ClosedError: The runtime is closed.
    """
    runtime = runtime or current()
    with runtime.lock:
        if runtime.closed:
            raise ClosedError("This session is closed. Call victor_nb.session() for a new one.")
        settings, pool = runtime.settings, runtime.pool  # to be asked for is to be the kernel's: see `warming`
        if not isinstance(pool, OrchestratorPool) or pool.closed:
            pool = runtime.pool = OrchestratorPool(settings, runtime)
        return pool
