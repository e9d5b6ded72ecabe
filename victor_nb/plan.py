"""What a call is to do, fixed before it starts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from victor_nb.errors import ConfigError, PromptError
from victor_nb.values import ChatRequest, Message, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from victor_nb.accounting.budget import Limit
    from victor_nb.call import Call
    from victor_nb.config.profiles import Profile
    from victor_nb.providers.base import Provider
    from victor_nb.session import Session
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One question to one profile, and what it may take."""

    session: Session
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
    running: set[Call]
    owner: object
    """Whose client it is: not closed as garbage while its calls go on."""


def make_request(profile: Profile, prompt: str | Reply, options: CallOptions) -> ChatRequest:
    """Return the request that a prompt makes of a profile.

    Raises:
        PromptError: The prompt cannot be sent.
        ConfigError: An option cannot be sent.
    """
    text = prompt.content if isinstance(prompt, Reply) else prompt
    system = options.get("system", profile.system)
    for name, part in (("prompt", text), ("system prompt", system)):
        if part is not None:
            _check_text(name, part)
    if not text.strip():
        raise PromptError("The prompt is empty. Write what you want to ask.")
    params = {**profile.params, **options.get("params", {})}
    _check_params(params)
    return ChatRequest(
        model=profile.model,
        messages=(*options.get("history", ()), Message("user", text)),
        system=system,
        max_tokens=options.get("max_tokens", profile.max_tokens),
        temperature=options.get("temperature", profile.temperature),
        params=params,
    )


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
