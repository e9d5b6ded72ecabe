"""What a call is to do, fixed before it starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, Protocol, TypedDict, cast

from victor_nb.errors import ConfigError, PromptError, did_you_mean
from victor_nb.values import ChatRequest, Message, Reply

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from victor_nb.accounting.budget import Limit
    from victor_nb.calls.call import Call
    from victor_nb.config.profiles import Profile
    from victor_nb.providers.base import Provider
    from victor_nb.runtime import Runtime
    from victor_nb.values import Mode


_OURS: Final = {"model", "messages", "contents", "stream", "stream_options", "prompt"}
"""Params that would change what is asked, or how the answer is read."""


class CallOptions(TypedDict, total=False):
    """What one call may set otherwise than its profile. Nothing is sent that neither of them gives.

    Attributes:
        system: The system prompt.
        history: Earlier turns, oldest first.
        max_tokens: The longest answer, in tokens.
        temperature: A request: it is not sent to a model that refuses one.
        timeout: Seconds for the whole call, retries included.
        retries: Further attempts after a failure that may pass.
        params: Anything else that the provider takes.
        tags: Words of one's own for the ledger.
        run_id: The fan-out, strategy run or bulk job that the call belongs to, for the ledger.
        strategy: The strategy's name, for the ledger.
        stage: The stage's name, for the ledger.
        sample: Which of the samples of one prompt this is, from 0: simulated samples differ by it. It is not sent.
    """

    system: str | None
    history: Sequence[Message]
    max_tokens: int | None
    temperature: float | None
    timeout: float | None
    retries: int | None
    params: Mapping[str, object]
    tags: Mapping[str, str]
    run_id: str | None
    strategy: str | None
    stage: str | None
    sample: int | None


class Owner(Protocol):
    """Who has the client."""

    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One question to one profile, and what it may take."""

    runtime: Runtime
    profile: Profile
    provider: Provider
    mode: Mode
    base_url: str
    request: ChatRequest
    stream: bool
    retries: int
    timeout: float
    limiter: AbstractAsyncContextManager[object]
    limits: tuple[Limit, ...]
    tags: Mapping[str, str]
    run_id: str | None
    strategy: str | None
    stage: str | None
    sample: int
    running: set[Call]
    owner: Owner
    """Whose client it is: not closed as garbage while its calls go on."""


def make_request(profile: Profile, prompt: str | Reply, options: CallOptions) -> ChatRequest:
    """Return the request that a prompt makes of a profile.

    Raises:
        PromptError: The prompt cannot be sent.
        ConfigError: An option cannot be sent.
    """
    check_options(options)
    text = prompt.content if isinstance(prompt, Reply) else prompt
    system = options.get("system", profile.system)
    _check_text("prompt", text)
    if system is not None:
        _check_text("system prompt", system)
    if not text.strip():
        raise PromptError("The prompt is empty. Write what you want to ask.")
    params = {**profile.params, **(options.get("params") or {})}
    _check_params(params)
    return ChatRequest(
        model=profile.model,
        messages=(*(options.get("history") or ()), Message("user", text)),
        system=system,
        max_tokens=options.get("max_tokens", profile.max_tokens),
        temperature=options.get("temperature", profile.temperature),
        params=params,
    )


def check_options(options: CallOptions) -> None:
    """Refuse an option that nobody knows, or whose value means nothing.

    Raises:
        ConfigError: There is one; None counts as not given.
    """
    for name, value in cast("dict[str, object]", options).items():
        if name not in _CHECKS:
            close = did_you_mean(name, _CHECKS)
            hint = f"Did you mean {close}=?" if close else f"Known: {', '.join(_CHECKS)}."
            raise ConfigError(f"A call takes no {name}=. {hint}")
        fits, wanted = _CHECKS[name]
        if value is not None and not fits(value):
            shown = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
            raise ConfigError(f"{name}= takes {wanted}, not {shown}.")


def _is_number(value: object, *, least: float, most: float = inf) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most and value < inf


def _is_whole(value: object, *, least: int, most: float = inf) -> bool:
    return isinstance(value, int) and _is_number(value, least=least, most=most)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_history(value: object) -> bool:
    turns = cast("Sequence[object]", value) if isinstance(value, Sequence) and not isinstance(value, str) else None
    return turns is not None and all(isinstance(turn, Message) for turn in turns)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


_CHECKS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "system": (_is_text, "text"),
    "history": (_is_history, "a list of Message"),
    "max_tokens": (partial(_is_whole, least=1), "a whole number of 1 or more"),
    "temperature": (partial(_is_number, least=0, most=2), "a number from 0 to 2"),
    "timeout": (partial(_is_number, least=1e-9), "seconds above 0"),
    "retries": (partial(_is_whole, least=0, most=10), "a whole number from 0 to 10"),
    "params": (_is_mapping, "a mapping"),
    "tags": (_is_mapping, "a mapping"),
    "run_id": (_is_text, "text"),
    "strategy": (_is_text, "text"),
    "stage": (_is_text, "text"),
    "sample": (partial(_is_whole, least=0), "a whole number of 0 or more"),
}


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise PromptError(f"The {name} is a {type(text).__name__}, not text. Pass a str, or str(...) of it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        where = f"{text[error.start]!r} at character {error.start}"
        raise PromptError(f"The {name} holds half a character ({where}), which no server takes. Remove it.") from None


def _check_params(params: Mapping[str, object]) -> None:
    taken = sorted(_OURS & params.keys())
    if taken:
        raise ConfigError(f"params cannot set {taken[0]!r}: it is what the profile and the prompt say. Leave it out.")
    try:
        json.dumps(params, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"params cannot be sent as JSON: {error}. Use numbers, text, lists and mappings.") from None
