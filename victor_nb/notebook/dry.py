"""`dry=true`: what would be sent, and what it would cost, sending nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_nb.notebook.bill import price
from victor_nb.notebook.markdown import clean, fence, shorten
from victor_nb.notebook.tables import frame
from victor_nb.plan import make_request
from victor_nb.record import BYTES_PER_TOKEN, input_bytes
from victor_nb.values import Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from victor_nb.config.profiles import Profile
    from victor_nb.notebook.asking import Question
    from victor_nb.notebook.display import Bundle
    from victor_nb.session import Session
    from victor_nb.values import ChatRequest


def rehearse(home: Session, question: Question) -> Bundle:
    """Return a frame with the rendered prompt, an estimate of its tokens, and the range of its cost.

    The least is the price of the input alone; the most adds `max_tokens` of output. Nothing is sent.

    Raises:
        VictorError: The prompt could not be sent.
    """
    profile = home.settings.profile(question.call.profile)
    request = make_request(profile, question.prompt, question.options)
    rows = [
        ["profile", profile.name],
        ["model", f"{profile.provider}: {profile.model}"],
        ["mode", home.mode],
        ["input", f"about {_tokens(request):,} tokens"],
        ["cost", _range(home, profile, request)],
        *([name, value] for name, value in _settings(request)),
        *(["inserted", f"{expression}, {size:,} characters"] for expression, size in question.inserted),
    ]
    shown = frame(["dry run", "nothing was sent"], rows)
    prompt = clean(shorten(question.prompt))
    return {
        "text/markdown": f"{shown['text/markdown']}\n\n{fence(prompt, 'text')}",
        "text/plain": f"{shown['text/plain']}\n\n{prompt}",
    }


def _settings(request: ChatRequest) -> list[tuple[str, str]]:
    """Return what would be sent beside the prompt."""
    given: list[tuple[str, object]] = [
        ("system", request.system),
        ("history", f"{len(request.messages) - 1} messages" if len(request.messages) > 1 else None),
        ("max_tokens", request.max_tokens),
        ("temperature", request.temperature),
        ("params", ", ".join(f"{name}={value!r}" for name, value in request.params.items()) or None),
    ]
    return [(name, str(value)) for name, value in given if value is not None]


def _range(home: Session, profile: Profile, request: ChatRequest) -> str:
    tokens = _tokens(request)
    least = _cost(home, profile, Usage(input_tokens=tokens))
    if least is None:
        return "unpriced"
    if request.max_tokens is None:
        return f"{price(least)} for the input; the output has no limit, as max_tokens is not set"
    most = _cost(home, profile, Usage(input_tokens=tokens, output_tokens=request.max_tokens))
    return f"{price(least)} to {price(most)}"


def _cost(home: Session, profile: Profile, usage: Usage) -> Decimal | None:
    return home.prices.price(
        usage,
        provider=profile.provider,
        model=profile.model,
        base_url=home.settings.base_url(profile),
        override=profile.prices,
    ).cost


def _tokens(request: ChatRequest) -> int:
    """Guess the input's tokens from its bytes."""
    return -(-input_bytes(request) // BYTES_PER_TOKEN)
