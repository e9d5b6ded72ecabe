"""The agent: a client of one model in plain Python, without a pool and without a memory it was not given."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from victor_nb.calls.orchestrator import AgentOrchestrator
from victor_nb.calls.request import user_turn
from victor_nb.config.request_options import RequestKeywords
from victor_nb.errors import ConfigError
from victor_nb.runtime import Owner, Runtime, runtime_of
from victor_nb.values import Message, PromptLike, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.calls.request import CallOptions
    from victor_nb.calls.stream import Stream
    from victor_nb.config.profiles import Profile


class AgentOptions(RequestKeywords, total=False):
    """What a profile may say, in Python; see `profiles.yaml`."""

    base_url: str
    api: str
    api_key_env: str
    timeout: float | Mapping[str, float]
    retries: int
    concurrency: int
    prices: Mapping[str, object]
    priced_as: Mapping[str, str]
    cache: str


class Agent:
    """One model, ready to be asked. Stateless: what one call says, the next does not know; `chat()` remembers."""

    def __init__(self, orchestrator: AgentOrchestrator) -> None:
        self._orchestrator = orchestrator

    @classmethod
    async def create(
        cls,
        profile: str | None = None,
        *,
        provider: str | None = None,
        model: str | None = None,
        container: Owner | Runtime | None = None,
        **options: Unpack[AgentOptions],
    ) -> Agent:
        """Make an agent from a profile, or from a provider and a model.

        Args:
            profile: A name from `profiles.yaml`; the default profile when neither it nor a provider is given.
            provider: The word for it in a profile, such as `openai`.
            model: The provider's name of the model.
            container: A session to share; else the kernel's.
            **options: What a profile may say; it replaces what the profile says.

        Raises:
            ValueError: There is no such profile or provider, or an option is wrong.
            RuntimeError: The client cannot be made; most often a key is missing.
        """
        # The first client of a provider imports its SDK: a second that must not stop the caller's loop.
        return await asyncio.to_thread(
            cls.create_sync, profile, provider=provider, model=model, container=container, **options
        )

    @classmethod
    def create_sync(
        cls,
        profile: str | None = None,
        *,
        provider: str | None = None,
        model: str | None = None,
        container: Owner | Runtime | None = None,
        **options: Unpack[AgentOptions],
    ) -> Agent:
        """Make an agent, blocking; see `create`."""
        runtime = runtime_of(container)
        made = _profile(runtime, profile, provider, model, dict(options))
        return cls(AgentOrchestrator(made, settings=runtime.settings, runtime=runtime))

    @property
    def profile(self) -> Profile:
        """What this agent asks, and how."""
        return self._orchestrator.profile

    async def run(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Reply:
        """Ask, and wait for the whole answer.

        Raises:
            VictorError: The prompt cannot be sent, or no answer came.
        """
        return await self._orchestrator.run(prompt, **options)

    def run_sync(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Reply:
        """Ask, and block until the whole answer is there."""
        return self._orchestrator.run_sync(prompt, **options)

    def stream(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Stream:
        """Ask, and get the text as it arrives; afterwards `.reply`."""
        return self._orchestrator.stream(prompt, **options)

    def chat(self) -> Chat:
        """Return a conversation with this model that starts empty."""
        return Chat(self._orchestrator)

    async def close(self) -> None:
        """Close the connections. Twice is fine."""
        await self._orchestrator.aclose()

    def close_sync(self) -> None:
        """Close the connections, blocking."""
        self._orchestrator.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    def __repr__(self) -> str:
        return f"Agent({self.profile.provider}:{self.profile.model})"


class Chat:
    """A conversation: every answer becomes part of what the next prompt is sent with.

    Attributes:
        history: The turns so far, oldest first. A call that fails or is stopped leaves none.
    """

    def __init__(self, orchestrator: AgentOrchestrator) -> None:
        self._orchestrator = orchestrator
        self.history: list[Message] = []

    async def run(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Reply:
        """Ask with the conversation so far, and remember the answer."""
        reply = await self._orchestrator.run(prompt, **self._with_history(options))
        return self.remember(prompt, reply)

    def run_sync(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Reply:
        """Ask with the conversation so far, blocking, and remember the answer."""
        return self.remember(prompt, self._orchestrator.run_sync(prompt, **self._with_history(options)))

    def stream(self, prompt: PromptLike, **options: Unpack[CallOptions]) -> Stream:
        """Ask with the conversation so far, get the text as it arrives, and remember the answer if it is complete."""
        keep = partial(self.remember, prompt)
        return self._orchestrator.stream(prompt, on_reply=keep, **self._with_history(options))

    def remember(self, prompt: PromptLike, reply: Reply) -> Reply:
        """Add a turn to what is remembered, but no empty answer, which no server takes; return the reply.

        One that was stopped is not remembered.
        """
        if reply.status == "interrupted":
            return reply
        self.history.append(user_turn(prompt))
        if reply.content.strip():
            self.history.append(Message("assistant", reply.content))
        return reply

    def clear(self) -> None:
        """Forget everything."""
        self.history.clear()

    def _with_history(self, options: CallOptions) -> CallOptions:
        return {**options, "history": tuple(self.history)}


def _profile(
    runtime: Runtime, name: str | None, provider: str | None, model: str | None, options: dict[str, Any]
) -> Profile:
    """Return the profile that the words mean."""
    if name is not None and provider is not None:
        raise ConfigError("Give either profile= or provider= and model=, not both.")
    if provider is not None or model is not None:
        if provider is None or model is None:
            missing = "provider" if provider is None else "model"
            raise ConfigError(f"An agent without a profile needs provider= and model=; {missing}= is missing.")
        from victor_nb.config.profiles import make_profile  # noqa: PLC0415 - pydantic is slow to import

        return make_profile(f"{provider}:{model}", {"provider": provider, "model": model, **options})
    found = runtime.settings.profile(name)
    if not options:
        return found
    from victor_nb.config.profiles import make_profile  # noqa: PLC0415 - as above

    given = found.model_dump(exclude_unset=True) | options
    return make_profile(given.pop("name"), given)
