"""The request: what a call asks of a profile, checked and fixed before it starts, and the options that shape it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, cast

from victor_nb.calls.schema import asked, hinted, schema_of
from victor_nb.config.request_options import (
    MAPPING,
    TEXT,
    CallSettings,
    Kind,
    Option,
    RequestKeywords,
    RequestOptions,
    rows,
    whole,
)
from victor_nb.errors import BadRequestError, ConfigError, PromptError, suggest
from victor_nb.media import Media, Prompt, compose, split
from victor_nb.providers.spec import SPECS, spec_of
from victor_nb.values import ChatRequest, Message, Mode, PromptLike, Reply, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from victor_nb.accounting.budget import Limit
    from victor_nb.accounting.pricing import Tariff
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.quota import Share
    from victor_nb.config.profiles import Profile
    from victor_nb.providers.base import Provider
    from victor_nb.providers.spec import Spec
    from victor_nb.runtime import Runtime

_OURS: Final = {"model", "messages", "contents", "input", "stream", "stream_options", "prompt"}
"""Params that would change what is asked, or how the answer is read."""


def _is_history(value: object) -> bool:
    turns = cast("Sequence[object]", value) if isinstance(value, Sequence) and not isinstance(value, str) else None
    return turns is not None and all(isinstance(turn, Message) for turn in turns)


_HISTORY: Final = Kind("a list of Message", _is_history)


class CallOptions(RequestKeywords, total=False):
    """What one call may set otherwise than its profile. Nothing is sent that neither of them gives.

    `RequestOptions` and `CallSettings` say what each is; those with a row here are for calls only.
    """

    timeout: float | None
    retries: int | None
    tags: Mapping[str, str] | None
    cache: str | None
    history: Annotated[Sequence[Message] | None, Option(_HISTORY, "earlier turns, oldest first")]
    run_id: Annotated[str | None, Option(TEXT, "the fan-out, strategy run or bulk job it belongs to, for the ledger")]
    strategy: Annotated[str | None, Option(TEXT, "the strategy's name, for the ledger")]
    stage: Annotated[str | None, Option(TEXT, "the stage's name, for the ledger")]
    form: Annotated[
        Mapping[str, Any] | None,
        Option(MAPPING, "the JSON schema that the prompt asks for, sent where a provider takes one; it is not checked"),
    ]
    sample: Annotated[int | None, Option(whole(0), "which sample of the prompt it is, from 0; it is not sent")]


SENT: Final = rows(RequestOptions)
"""The options of every request, by name: profiles, stages, calls and cells take them."""
WORDED: Final = frozenset(("effort", "tier", "prompt_cache"))
"""Those of which each model takes words of its own."""
SETTINGS: Final = rows(CallSettings)
"""The options of a call or a cell, by name."""
OPTIONS: Final = {**SETTINGS, **rows(CallOptions)}
"""The options of a call, by name, those among them that code sets and not the user."""


_OFFERED: Final = [name for name in OPTIONS if name not in {"sample", "form"}]


class Owner(Protocol):
    """Whose client a request uses: an orchestrator, which is not closed as garbage while its calls go on."""

    closed: bool


class Reuse(Protocol):
    """What a call does with the store of answers; see `calls.reuse`."""

    async def find(self, request: Request, on_text: Callable[[str], object] | None) -> Reply | None:
        """Return the reply that the store has for a request, if it has; its text is one piece."""
        ...

    def keep(self, request: Request, reply: Reply, row: Row, max_tokens: int | None) -> Reply:
        """Store the answer of a call, if it is whole; return its reply, with what a user is shown once."""
        ...


class Running(Protocol):
    """A call under way, as its owner ends it. On the background loop only."""

    def close(self) -> None:
        """Cancel it because its client goes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to one profile, with all that the call needs.

    Attributes:
        chat: What is sent.
        stream: Whether the answer is to come piece by piece.
        retries: Further attempts after a failure that may pass.
        timeout: Seconds for the whole call, retries and the waits between them included.
        tiers: The tiers to fall back on, in turn, where that of `chat` has no capacity.
        cache: Looks an answer up and keeps it; None: the store of answers is not used.
        limiter: Where the call waits for a place.
        limits: The budgets that count it; it must fit those with an amount.
        answer_files: Where answers of one's own are looked for in simulate mode, in this order.
        running: Where the call stands while it goes on.
        quota: The bulk work that it belongs to, whose attempts wait for turns; None: it waits for nothing but a place.
    """

    runtime: Runtime
    profile: Profile
    provider: Provider
    mode: Mode
    base_url: str
    tariff: Tariff
    chat: ChatRequest
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
    answer_files: tuple[Path, ...]
    running: set[Running]
    owner: Owner
    tiers: tuple[str, ...] = ()
    quota: Share | None = None
    cache: Reuse | None = None


def make_chat(profile: Profile, prompt: PromptLike, options: CallOptions) -> ChatRequest:
    """Return what is sent to a profile: a prompt, with the options of the call over those of the profile.

    Raises:
        PromptError: The prompt cannot be sent.
        ConfigError: An option cannot be sent.
        BadRequestError: The profile's model takes no such option.
    """
    last, earlier = user_turn(prompt), tuple(options.get("history") or ())
    attached = bool(last.media)
    for turn in earlier:
        _check_text("history", turn.content)
        attached = attached or bool(turn.media)
    if attached:
        check_attachments(profile, (*earlier, last))
    chat = ChatRequest(model=profile.model, messages=(*earlier, last), media=attached, **settle(profile, options))
    return chat if chat.schema is None else asked(chat)


def user_turn(prompt: PromptLike) -> Message:
    """Return a prompt as a turn of the user's.

    Raises:
        PromptError: It cannot be sent.
    """
    text: object = prompt.content if isinstance(prompt, Reply) else prompt
    if not isinstance(text, str):
        text = compose_prompt(text)
    _check_text("prompt", text)
    content = cast("str", text)
    if not content.strip():
        raise PromptError("The prompt is empty. Write what you want to ask.")
    return Message("user", f"{content}", content.media) if isinstance(content, Prompt) else Message("user", content)


def compose_prompt(given: object) -> Prompt:
    """Return the one prompt that an image or a PDF is, or a list of texts, images, PDFs and replies.

    Raises:
        PromptError: Something else is in it.
    """
    pieces: list[str | Media] = []
    for part in cast("Sequence[object]", given) if isinstance(given, (list, tuple)) else [given]:
        piece = part.content if isinstance(part, Reply) else part
        if not isinstance(piece, (str, Media)):
            kind, home = type(piece).__name__, type(piece).__module__.partition(".")[0]
            kind = kind if home == "builtins" else f"{home} {kind}"
            raise PromptError(f"The prompt holds a {kind}. Give text, Image(...) of a file or figure, or Pdf(...).")
        pieces.append(piece)
    return compose(pieces)


def check_attachments(profile: Profile, messages: Sequence[Message]) -> None:
    """Refuse images and PDFs that the profile's model does not take, or not so large.

    Raises:
        BadRequestError: There is one.
    """
    spec = spec_of(profile.provider)
    media = [
        part for turn in messages if turn.media for part in split(turn.content, turn.media) if isinstance(part, Media)
    ]
    limits = spec.attachments
    fault = f"{profile.model} takes no images and PDFs. Ask another profile, or say in words what they show."
    if limits is not None and limits.takes(profile.model):
        fault = next(limits.faults(spec.name, media), None)
    if fault is not None:
        raise BadRequestError(f"{profile.name}: {fault}", profile=profile.name, provider=spec.name, model=profile.model)


def settle(profile: Profile, options: CallOptions) -> dict[str, Any]:
    """Return what is sent beside the prompt: the options of a call over those of its profile.

    Raises:
        PromptError: The system prompt cannot be sent.
        ConfigError: An option cannot be sent.
        BadRequestError: The profile's model takes no such option.
    """
    check_options(options)
    sent: dict[str, Any] = {}
    for name in SENT:
        sent[name] = options.get(name, getattr(profile, name))
    sent["params"] = {**profile.params, **(options.get("params") or {})}
    if sent["system"] is not None:
        _check_text("system prompt", sent["system"])
    if sent["params"]:
        _check_params(sent["params"])
    spec = SPECS.get(profile.provider) or spec_of(profile.provider)
    for name, value in sent.items():
        if name in WORDED and value is not None:
            sent[name] = _worded(profile, spec, name, value)
        if value is None or name not in spec.refuses or name == "temperature":
            continue  # a temperature is left out instead, with a note: `ProfileCall` sees to it
        if not spec.takes(name, value, model=profile.model, api=profile.api):
            raise BadRequestError(
                f"{profile.name}: {spec.name} takes no {name}. Leave {name}= out, or ask another profile.",
                profile=profile.name,
                provider=spec.name,
                model=profile.model,
            )
    if sent["schema"] is not None:
        sent["schema"] = schema_of(sent["schema"]).as_sent(spec.structured)
    elif (form := options.get("form")) is not None:
        sent["schema"] = hinted(form, spec.structured)
    return sent


def _worded(profile: Profile, spec: Spec, name: str, value: object) -> str:
    """Return the word that is sent for an option, of several tiers the first.

    Raises:
        BadRequestError: The profile's model does not take it.
    """
    taken, given = spec.words_for(name, profile.model), str(value or "off")
    for word in given.split(","):
        if word not in taken:
            who = profile.model if name in spec.words else spec.name
            fact = f"{who} takes {name}={' or '.join(taken)}, not {word}" if taken else f"{who} takes no {name}"
            raise BadRequestError(
                f"{profile.name}: {fact}. Leave {name}= out, or ask another profile.",
                profile=profile.name,
                provider=spec.name,
                model=profile.model,
            )
    return given.partition(",")[0]


def check_options(options: CallOptions, *, also: Iterable[str] = ()) -> None:
    """Refuse an option that there is not, or whose value is not of its kind.

    Args:
        options: What is sent with each call.
        also: Names of options of the caller's, which a wrong one may be meant for.

    Raises:
        ConfigError: There is one; None counts as not given.
    """
    for name, value in cast("dict[str, object]", options).items():
        if name not in OPTIONS:
            raise ConfigError(f"A call takes no {name}=. {suggest(name, dict.fromkeys([*sorted(also), *_OFFERED]))}")
        if type(value).__module__ == "numpy":
            cast("dict[str, object]", options)[name] = plain(value)
        fault = None if value is None else OPTIONS[name].kind.fault(value)
        if fault is not None:
            raise ConfigError(f"{name}= {fault}.")


def refuse_sample(options: CallOptions) -> None:
    """Refuse a sample's number where many samples are asked, which are numbered by themselves.

    Raises:
        ConfigError: There is one.
    """
    if options.get("sample") is not None:
        raise ConfigError("sample= is for a single call: here samples are numbered. Leave it out; n= says how many.")


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
        json.dumps(params, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"params hold half a character ({error.object[error.start]!r}). Remove it.") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"params cannot be sent as JSON: {error}. Use numbers, text, lists and mappings.") from None
