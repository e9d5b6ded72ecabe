"""The orchestrator: one profile's live client, which turns a prompt into a `Reply`."""

from __future__ import annotations

import asyncio
import threading
import warnings
import weakref
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from victor_nb.calls.request import CallOptions, Request, Running, make_chat
from victor_nb.calls.stream import Call, Stream
from victor_nb.config.trust import vet
from victor_nb.errors import ClosedError, SecretError, VictorWarning
from victor_nb.fork import keep_for_ever
from victor_nb.providers.catalog import FLEX_SECONDS, host_of
from victor_nb.providers.spec import spec_of
from victor_nb.values import UNPAID, Mode, PromptLike, Reply
from victor_nb.wire.clock import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.calls.quota import Share
    from victor_nb.calls.reuse import Reuse
    from victor_nb.config.profiles import Profile
    from victor_nb.config.settings import Settings
    from victor_nb.loop import BackgroundLoop, Job
    from victor_nb.providers.base import Provider
    from victor_nb.runtime import Runtime


class AgentOrchestrator:
    """Asks one profile: with its retries, its limits, its prices, and a ledger row for every attempt.

    Made by a pool or an agent. Any thread and any event loop may use it.

    Attributes:
        clients: A client for each mode that it was asked in; the next call takes that of the mode at its time.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        settings: Settings,
        runtime: Runtime,
        find: Callable[[str], AgentOrchestrator] | None = None,
    ) -> None:
        if runtime.closed:
            raise ClosedError("This session is closed. Call victor_nb.session() for a new one.")
        self._settle(profile, settings, runtime, find)
        self.open(runtime.mode)

    def _settle(
        self,
        profile: Profile,
        settings: Settings,
        runtime: Runtime,
        find: Callable[[str], AgentOrchestrator] | None,
    ) -> None:
        self.profile = profile
        self._find = find
        self._settings = settings
        self.runtime = runtime
        self._base_url = settings.base_url(profile)
        self._tariff = runtime.tariff(profile, self._base_url)
        self._variables = settings.made_of(profile)
        self._places = profile.concurrency or spec_of(profile.provider).concurrency
        self.closed = False
        self._begin()
        runtime.clients.add(self)

    def __getstate__(self) -> tuple[object, ...]:
        return self.profile, self._settings, self.runtime, self._find

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Begin anew in another process. The client is made at the first call: an error here would kill a worker."""
        profile, settings, runtime, find = state
        runtime.adopt(settings)
        self._settle(profile, settings, runtime, find)

    def _begin(self) -> None:
        """Take locks of this process's own, and no client yet."""
        self.clients: dict[Mode, Provider] = {}
        self._state: object = None
        self._lock = threading.Lock()
        places = self._places
        self._limiter: AbstractAsyncContextManager[object] = asyncio.Semaphore(places) if places else nullcontext()
        self._running: set[Running] = set()
        self._retired: weakref.WeakSet[Provider] = weakref.WeakSet()
        # A client that was not closed is closed when it is collected as garbage.
        weakref.finalize(self, _abandon, self.runtime.loop, self.clients).atexit = False

    def renew(self) -> None:
        """Begin anew in a forked child, where the clients and the calls under way are the parent's."""
        keep_for_ever((self.clients, self._running))
        self._begin()

    @property
    def mode(self) -> Mode:
        """How its next call is answered."""
        return self.runtime.mode

    def open(self, mode: Mode) -> Provider:
        """Return the client for a mode, made anew where a key, an address or a proxy has changed since it was made.

        Raises:
            SecretError: There is no key; the message names the variable to set.
            ConfigError: The client cannot be made.
        """
        with self._lock:
            state = self._settings.variables.state(self._variables)
            if state != self._state:
                self._retire()
                self._state = state
            if mode not in self.clients:
                self.clients[mode] = _open(self.profile, self._settings, self.runtime, mode)
                self._base_url = self._settings.base_url(self.profile)
                self._tariff = self.runtime.tariff(self.profile, self._base_url)
                if self.profile.priced_as and (fact := self.runtime.lowered(self.profile)):
                    warnings.warn(f"{self.profile.name}: {fact}.", VictorWarning, stacklevel=2)
            return self.clients[mode]

    def _retire(self) -> None:
        """Let go of the clients; each is closed when the last call that was made with it has gone."""
        for provider in self.clients.values():
            self._retired.add(provider)
            close = partial(self.runtime.loop.start_if_open, provider.endpoint.transport.aclose)
            weakref.finalize(provider, close).atexit = False
        self.clients.clear()

    async def run(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Reply:
        """Ask, and wait for the whole answer.

        Args:
            prompt: What to ask, sent as it is: a text, or a list of texts, `Image(...)` and `Pdf(...)`.
            **options: See `CallOptions`; nothing is sent that neither they nor the profile give.

        Raises:
            VictorError: The prompt cannot be sent, or no answer came. Every attempt is in the ledger.
        """
        return await self.runtime.loop.call(self.call(prompt, options, stream=False).run_outermost)

    def run_sync(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Reply:
        """Ask, and block until the whole answer is there; see `run`.

        Raises:
            VictorInterrupted: Stop was pressed; the call was cancelled.
        """
        return Stream(self.call(prompt, options, stream=False)).result()

    def stream(
        self, prompt: PromptLike, *, on_reply: Callable[[Reply], object] | None = None, **options: Unpack[CallOptions]
    ) -> Stream:
        """Ask, and get the text as it arrives; see `run`.

        Args:
            prompt: What to ask, sent as it is: a text, or a list of texts, `Image(...)` and `Pdf(...)`.
            on_reply: Called once with the whole reply, on the background loop; not when the answer breaks off.
            **options: See `CallOptions`.
        """
        return Stream(self.call(prompt, options, stream=True), on_reply=on_reply)

    def call(self, prompt: PromptLike, options: CallOptions, *, stream: bool, quota: Share | None = None) -> Call:
        """Return a call that is ready to run on the background loop, as a part of a fan-out, strategy or comparison.

        Only what a user called becomes `session().last`: the reply of its `run` does not.

        Args:
            prompt: What to ask.
            options: See `CallOptions`.
            stream: Whether the answer is to come piece by piece.
            quota: The bulk work that it is a part of: each attempt waits for a turn, and refusals are waited out.

        Raises:
            VictorError: The prompt cannot be sent, or the orchestrator is closed.
        """
        request = self._request(prompt, options, stream=stream, quota=quota)
        find, names = self._find, self.profile.fallback
        if find is None or not names:
            return Call(request)

        def fallback(name: str) -> Request:
            asked = find(name)._request(prompt, options, stream=stream, quota=quota)  # noqa: SLF001 - our own kind
            return replace(asked, limits=request.limits)

        return Call(request, [partial(fallback, name) for name in names])

    def _request(
        self, prompt: PromptLike, options: CallOptions, *, stream: bool, quota: Share | None = None
    ) -> Request:
        if self.closed:
            raise ClosedError(f"{self.profile.name}: this orchestrator is closed. Get a new one from the pool.")
        mode = self.runtime.mode
        provider = self.clients.get(mode)
        if provider is None or self._settings.variables.state(self._variables, lately=quota is not None) != self._state:
            provider = self.open(mode)
        chat = make_chat(self.profile, prompt, options)
        limits = self.runtime.budget.applying()
        for limit in limits:
            if limit.amount.is_finite():  # what must be read is read here: a call is held on the background loop
                self.runtime.calibration.load(self.profile.model, mode)
        longest = provider.longest_plain
        stream = stream or (longest is not None and (provider.endpoint.spec.max_output(chat) or 0) > longest)
        timeout, retries = options.get("timeout"), options.get("retries")
        total, tiers = self.profile.timeout.total if timeout is None else timeout, ()
        if chat.tier is not None:
            asked = options.get("tier", self.profile.tier)
            tiers = tuple((asked or "").split(",")[1:])
            if chat.tier == "flex" and timeout is None and "total" not in self.profile.timeout.model_fields_set:
                total = FLEX_SECONDS
        cache: str | bool | None = options.get("cache", self.profile.cache)
        return Request(
            runtime=self.runtime,
            profile=self.profile,
            provider=provider,
            mode=mode,
            base_url=self._base_url,
            tariff=self._tariff,
            chat=chat,
            stream=stream,
            retries=self.profile.retries if retries is None else retries,
            timeout=total,
            limiter=self._simulated_places(quota) if mode in UNPAID else self._limiter,
            limits=limits,
            tags=options.get("tags") or {},
            run_id=options.get("run_id"),
            strategy=options.get("strategy"),
            stage=options.get("stage"),
            sample=options.get("sample") or 0,
            answer_files=self._settings.answer_files if mode == "simulate" else (),
            running=self._running,
            owner=self,
            tiers=tiers,
            quota=quota,
            cache=None if cache in {None, "off", False} else _reuse(cache),
        )

    def _simulated_places(self, quota: Share | None) -> AbstractAsyncContextManager[object]:
        """Return where a simulated call waits for a place: among those of its profile, or of fewer bulk work."""
        if quota is not None and (not self._places or quota.most < self._places):
            return Place(quota, quota.most)
        return Place(self, self._places) if self._places else self._limiter

    async def aclose(self) -> None:
        """Close the connections; a call under way ends with a `ClosedError`. Twice is fine."""
        if not self.closed:
            self.closed = True
            if not self.runtime.loop.ended:
                await self.runtime.loop.call(self._end, upkeep=True)

    def close(self) -> None:
        """Close the connections from any thread, waiting at most two seconds for it. Twice is fine."""
        self.runtime.close_clients([self])

    def start_closing(self) -> Job[None] | None:
        """Take no further call and close the connections, without waiting; None: there is nothing to wait for."""
        if self.closed:
            return None
        self.closed = True
        return None if self.runtime.loop.ended else self.runtime.loop.start(self._end, upkeep=True)

    @property
    def under_way(self) -> int:
        """Calls that have begun and not ended, those that wait for their turn included; readable from any thread."""
        return len(self._running)

    async def _end(self) -> None:
        for call in list(self._running):
            call.close()
        for provider in (*self.clients.values(), *self._retired):
            await provider.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.mode
        return f"AgentOrchestrator({self.profile.name!r}, {self.profile.provider}:{self.profile.model}, {state})"


def _reuse(word: object) -> Reuse:
    from victor_nb.calls.reuse import Reuse  # noqa: PLC0415 - most calls use no store

    return Reuse(fresh=word == "refresh")


def _abandon(loop: BackgroundLoop, clients: dict[Mode, Provider]) -> None:
    for provider in clients.values():
        loop.start_if_open(provider.aclose)


def _open(profile: Profile, settings: Settings, runtime: Runtime, mode: Mode) -> Provider:
    """Return the profile's client."""
    from victor_nb.providers.base import open_provider  # noqa: PLC0415 - httpx2 is not needed to import us

    free = mode in UNPAID
    key = None if free else settings.api_key(profile)
    failed = f"Failed to create provider for profile {profile.name!r}"
    if key is None and not free and settings.needs_key(profile):
        vet(settings, profile)  # first: one line for both
        if not (named := settings.key_variables(profile)):
            spec, host = spec_of(profile.provider), host_of(settings.base_url(profile))
            fact = f"{spec.key_variables[0]} is for {host_of(spec.base_url)}, not for {host}"
            step = "Name the variable of its key in the profile, such as api_key_env"
            raise SecretError(f"{failed}: {fact}. {step}: {spec.key_variables[0]}.")
        variables = " or ".join(named)
        others = "%victor mode simulate; or %victor local: a 135M model on your CPU"
        step = f"Set {variables}: {settings.variables.mending(named)}, then run the cell again"
        ready = next((name for name, other in settings.profiles.items() if settings.api_key(other)), None)
        step += f", ask {ready}, whose key is set" if ready else ""
        step += ", set the key of another provider" if settings.suits else ""
        raise SecretError(f"{failed}: no key. {step}, or try it free: {others}.")
    return open_provider(profile, settings, runtime.wire, mode=mode, key=key)
