"""`dry=true`: what would be sent, and what it would cost, sending nothing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from victor_nb.notebook.bill import price
from victor_nb.notebook.markdown import clean, fence, shorten
from victor_nb.notebook.tables import frame
from victor_nb.plan import make_request
from victor_nb.providers.output import longest_output
from victor_nb.providers.temperature import takes_temperature
from victor_nb.record import BYTES_PER_TOKEN, input_bytes
from victor_nb.values import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.config.profiles import Profile
    from victor_nb.notebook.asking import Question
    from victor_nb.notebook.display import Bundle
    from victor_nb.session import Session
    from victor_nb.values import ChatRequest


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the calls to one profile would cost, at list prices.

    Attributes:
        tokens: Tokens of the input, guessed from its bytes.
        limit: Tokens that an answer may have; None where nothing but the model limits it.
        calls: How many calls it would be.
        least: USD for the input alone, of all calls; None where the price is unknown.
        most: USD with all the output that `max_tokens` allows; None where the price is unknown or nothing limits it.
    """

    profile: Profile
    request: ChatRequest
    tokens: int
    limit: int | None
    calls: int
    least: Decimal | None
    most: Decimal | None

    @classmethod
    def of(cls, home: Session, name: str | None, question: Question) -> Estimate:
        """Estimate what a question would cost of one profile."""
        profile = home.settings.profile(name)
        request = make_request(profile, question.prompt, question.options)
        tokens, limit, calls = _tokens(request), longest_output(profile.provider, request), question.call.n or 1
        least = _cost(home, profile, Usage(input_tokens=tokens))
        most = None if limit is None else _cost(home, profile, Usage(input_tokens=tokens, output_tokens=limit))
        of_all = (None if one is None else one * calls for one in (least, most))
        return cls(profile, request, tokens, limit, calls, *of_all)

    @property
    def model(self) -> str:
        """Who would answer."""
        return f"{self.profile.provider}: {self.profile.model}"

    @property
    def output(self) -> str:
        """How long an answer may become."""
        return "no limit" if self.limit is None else f"{self.limit:,} tokens at most"

    @property
    def range(self) -> str:
        """The cost, from and to."""
        if self.least is None:
            return "unpriced"
        if self.most is None:
            return f"from {price(self.least)}; set max_tokens to limit it"
        return f"{price(self.least)} to {price(self.most)}"


def rehearse(home: Session, question: Question) -> Bundle:
    """Return a frame with the rendered prompt, an estimate of its tokens, and the range of its cost.

    The least is the price of the input alone; the most adds `max_tokens` of output. Nothing is sent.

    Raises:
        VictorError: The prompt could not be sent.
    """
    call = question.call
    estimates = [Estimate.of(home, name, question) for name in call.profiles or (call.profile,)]
    shown = _one(home, estimates[0], question) if len(estimates) == 1 else _several(home, estimates, question)
    prompt = clean(shorten(question.prompt))
    return {
        "text/markdown": f"{shown['text/markdown']}\n\n{fence(prompt, 'text')}",
        "text/plain": f"{shown['text/plain']}\n\n{prompt}",
    }


def _one(home: Session, estimate: Estimate, question: Question) -> Bundle:
    times = f", {estimate.calls} times" if estimate.calls > 1 else ""
    rows = [
        ["profile", estimate.profile.name],
        ["model", estimate.model],
        ["mode", home.mode],
        ["input", f"about {estimate.tokens:,} tokens{times}"],
        ["output", estimate.output],
        ["cost", estimate.range],
        *([name, value] for name, value in _settings(estimate)),
        *_inserted(question),
    ]
    return frame(["dry run", "nothing was sent"], rows)


def _several(home: Session, estimates: Sequence[Estimate], question: Question) -> Bundle:
    """Return a row for each profile, and the sum."""
    rows = [
        [each.profile.name, each.model, each.calls, f"about {each.tokens:,} tokens", each.output, each.range]
        for each in estimates
    ]
    calls = sum(each.calls for each in estimates)
    above = f"Dry run, nothing was sent: {calls} calls, {_sum(estimates)} ({home.mode})."
    below = " · ".join(f"{name} {value}" for name, value in _inserted(question))
    return frame(["profile", "model", "calls", "input", "output", "cost"], rows, above=above, below=below)


def _sum(estimates: Sequence[Estimate]) -> str:
    """Say what all of it would cost; a part that is not known is named, never taken for nothing."""
    least = sum((each.least for each in estimates if each.least is not None), Decimal(0))
    unpriced = [each.profile.name for each in estimates if each.least is None]
    endless = [each.profile.name for each in estimates if each.least is not None and each.most is None]
    if endless:
        said = f"from {price(least)}, with no limit for {', '.join(endless)} as max_tokens is not set"
    else:
        most = sum((each.most for each in estimates if each.most is not None), Decimal(0))
        said = f"{price(least)} to {price(most)}"
    return f"{said}, and what {', '.join(unpriced)} costs is unknown" if unpriced else said


def _inserted(question: Question) -> list[list[str]]:
    return [["inserted", f"{expression}, {size:,} characters"] for expression, size in question.inserted]


def _settings(estimate: Estimate) -> list[tuple[str, str]]:
    """Return what would be sent beside the prompt."""
    request = estimate.request
    given: list[tuple[str, object]] = [
        ("system", request.system),
        ("history", f"{len(request.messages) - 1} messages" if len(request.messages) > 1 else None),
        ("temperature", _temperature(estimate.profile, request.temperature)),
        ("params", ", ".join(f"{name}={value!r}" for name, value in request.params.items()) or None),
    ]
    return [(name, str(value)) for name, value in given if value is not None]


def _temperature(profile: Profile, wanted: float | None) -> str | None:
    if wanted is None or takes_temperature(profile.provider, profile.model, wanted):
        return None if wanted is None else f"{wanted:g}"
    return f"{wanted:g}, left out: the model does not take it"


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
