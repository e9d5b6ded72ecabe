"""What a question would cost of one profile, before it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import localcontext
from typing import TYPE_CHECKING

from victor_nb.accounting.money import EXACT
from victor_nb.ceiling import worst_case
from victor_nb.notebook.bill import price
from victor_nb.plan import make_request
from victor_nb.providers.output import answers, max_output
from victor_nb.providers.temperature import takes_temperature
from victor_nb.record import input_bytes
from victor_nb.values import Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from victor_nb.config.profiles import Profile
    from victor_nb.notebook.asking import Question
    from victor_nb.session import Session
    from victor_nb.values import ChatRequest


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the calls to one profile would cost, at list prices.

    Attributes:
        tokens: Tokens of the input of one call, by what its model's were so far.
        limit: Tokens that an answer may have; None where nothing but the model limits it.
        calls: How many calls it would be.
        least: USD for the input of all calls; None where the price is unknown.
        most: USD that a budget sets aside for all calls; None where the price of an answer is unknown.
        free_output: Whether an answer costs nothing, however long.
        cold: Whether the temperature is left out, as the model does not take it.
    """

    profile: Profile
    request: ChatRequest
    tokens: int
    limit: int | None
    calls: int
    least: Decimal | None
    most: Decimal | None
    free_output: bool
    cold: bool

    @classmethod
    def of(cls, home: Session, name: str | None, question: Question) -> Estimate:
        """Estimate what a question would cost of one profile.

        Raises:
            VictorError: The prompt could not be sent.
        """
        profile = home.settings.profile(name)
        request = make_request(profile, question.prompt, question.options)
        warm = request.temperature
        base_url, calls = home.settings.base_url(profile), question.call.n or 1
        home.calibration.load(profile.model, home.mode)
        tokens = max(1, home.calibration.expected(profile.model, home.mode, size=input_bytes(request)))

        def cost(usage: Usage) -> Decimal | None:
            provider, model = profile.provider, profile.model
            found = home.prices.price(usage, provider=provider, model=model, base_url=base_url, override=profile.prices)
            return found.cost

        least, longer = cost(Usage(input_tokens=tokens)), cost(Usage(input_tokens=tokens, output_tokens=1_000))
        most = None if longer is None else worst_case(home, profile, request, mode=home.mode, base_url=base_url)
        with localcontext(EXACT):
            return cls(
                profile=profile,
                request=request,
                tokens=tokens,
                limit=max_output(profile.provider, request),
                calls=calls,
                least=None if least is None else least * calls,
                most=None if most is None else most * calls,
                free_output=least == longer,
                cold=warm is not None
                and not takes_temperature(profile.provider, request.model, warm, refused=home.unheated),
            )

    @property
    def model(self) -> str:
        """Who would answer."""
        return f"{self.profile.provider}: {self.profile.model}"

    @property
    def input(self) -> str:
        """How long the input is."""
        return f"about {_tokens(self.tokens)}"

    @property
    def output(self) -> str:
        """How long an answer may become."""
        several = answers(self.profile.provider, self.request)
        at_most = "no limit" if self.limit is None else f"{_tokens(self.limit)} at most"
        return f"{several} answers, {at_most}" if several > 1 else at_most

    @property
    def endless(self) -> bool:
        """Whether nothing limits what an answer may cost."""
        return self.limit is None and not self.free_output

    @property
    def range(self) -> str:
        """The cost of all calls, from and to."""
        if self.least is None:
            return "unpriced"
        if self.most is None:
            return f"{price(self.least)} for the input; what an answer costs is unknown"
        if self.endless:
            return f"{price(self.least)} and more: without max_tokens a budget holds {price(self.most)}"
        return price(self.least) if self.least == self.most else f"{price(self.least)} to {price(self.most)}"

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What would be sent beside the prompt."""
        request = self.request
        temperature = None if request.temperature is None else f"{request.temperature:g}"
        given: list[tuple[str, object]] = [
            ("system", request.system),
            ("history", f"{len(request.messages) - 1} messages" if len(request.messages) > 1 else None),
            ("temperature", f"{temperature}, left out: the model does not take it" if self.cold else temperature),
            ("params", ", ".join(f"{name}={value!r}" for name, value in request.params.items()) or None),
        ]
        return [(name, str(value)) for name, value in given if value is not None]


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"
