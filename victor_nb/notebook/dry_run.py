"""`dry=true`: what would be sent, and what it would cost, sending nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final, cast

from victor_nb.accounting.rows import input_text
from victor_nb.accounting.worst_case import media_of, media_tokens, worst_case
from victor_nb.calls.request import SENT, make_chat
from victor_nb.money import EXACT, add, usd
from victor_nb.notebook.markdown import Bundle, clean, fence, frame, shorten, stack
from victor_nb.providers.params import asked_tier
from victor_nb.providers.spec import spec_of, takes_temperature
from victor_nb.values import ChatRequest, Usage
from victor_nb.workflows.fan_out import check_fan_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session
    from victor_nb.notebook.ask import Question


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the calls to one profile would cost, at list prices.

    Attributes:
        tokens: Tokens of the input of one call, by what its model's were so far.
        limit: Tokens that an answer may have; None where nothing but the model limits it.
        calls: How many calls it would be.
        least: USD for the input of all calls; None where the price is unknown.
        most: USD that a budget sets aside for all calls; None where the price of an answer is unknown.
        likely: USD for all calls if their answers are as long as the median of the model's last ones; None where it has
            given none yet, or the price is unknown.
        typical: Tokens of that median; 0 where there is none.
        seen: How many answers it is the median of.
        endless: Whether nothing limits what an answer may cost.
        tiers: The tiers that are asked for, in turn.
        cold: Whether the temperature is left out, as the model does not take it.
    """

    profile: Profile
    request: ChatRequest
    tokens: int
    limit: int | None
    calls: int
    least: Decimal | None
    most: Decimal | None
    likely: Decimal | None
    typical: int
    seen: int
    endless: bool
    tiers: str
    cold: bool

    @classmethod
    def of(cls, session: Session, name: str | None, question: Question, calls: int | None = None) -> Estimate:
        """Estimate what a question would cost of one profile, asked `calls` times (None: as often as it says).

        Raises:
            VictorError: The prompt could not be sent.
        """
        profile = session.settings.profile(name)
        request = make_chat(profile, question.prompt, question.options)
        warm = request.temperature
        tariff = session.runtime.tariff(profile, session.settings.base_url(profile))
        calls = question.call.n or 1 if calls is None else calls
        calibration, size = session.runtime.calibration, len(input_text(request))
        calibration.load(profile.model, session.mode)
        most_tokens = calibration.at_worst(request, session.mode)
        tokens = max(1, min(calibration.expected(profile.model, session.mode, size=size), most_tokens))
        short, long = Usage(input_tokens=tokens), Usage(input_tokens=tokens, output_tokens=1_000)
        tiers = str(question.options.get("tier", profile.tier)).split(",") if request.tier is not None else []
        every = [replace(request, tier=each) for each in tiers] or [request]
        named = [asked_tier(each.params, each.tier) or "standard" for each in every]
        limit, several = spec_of(profile.provider).max_output(request), spec_of(profile.provider).answers(request)
        typical, seen = _usual_length(session, profile.model, limit)
        usual = Usage(input_tokens=tokens, output_tokens=typical * several)
        least, longer, likely = (
            _bound(min, [tariff.price(use, tier=each).cost for each in named]) for use in (short, long, usual)
        )
        most = None
        if longer is not None:
            mode = session.mode
            most = _bound(max, [worst_case(each, tariff, mode=mode, calibration=calibration) for each in every])
        refused = session.runtime.refuses("temperature", profile)
        with localcontext(EXACT):
            return cls(
                profile=profile,
                request=request,
                tokens=tokens,
                limit=limit,
                calls=calls,
                least=None if least is None else least * calls,
                most=None if most is None else most * calls,
                likely=likely * calls if likely is not None and seen and not request.media else None,
                typical=typical,
                seen=seen,
                endless=limit is None and least != longer,
                tiers=", then ".join(tiers),
                cold=warm is not None and not takes_temperature(profile.provider, request.model, warm, refused=refused),
            )

    @property
    def cells(self) -> tuple[str, ...]:
        """Profile, model, calls, the input and the output of each, and the cost of all, in words."""
        several = spec_of(self.profile.provider).answers(self.request)
        output = "no limit" if self.limit is None else f"{_tokens(self.limit)} at most"
        return (
            self.profile.name,
            f"{self.profile.provider}: {self.profile.model}",
            str(self.calls),
            f"about {_tokens(self.tokens)}{self._attached}",
            f"{several} answers, {output}" if several > 1 else output,
            self._range,
        )

    @property
    def expected(self) -> list[tuple[str, str]]:
        """The likely cost of all calls and where it comes from, as a row; none where nothing is known."""
        if not self.likely:
            return []
        past = f"the median of its last {self.seen} answers" if self.seen > 1 else "as in its only answer so far"
        return [("likely", f"{usd(self.likely)}, for {_tokens(self.typical)} out: {past}")]

    @property
    def _attached(self) -> str:
        """The images and PDFs, whose tokens are known only once they are sent."""
        count = len(media_of(self.request)) if self.request.media else 0
        if not count:
            return ""
        most = media_tokens(self.request, spec_of(self.profile.provider).attachments)
        what = "1 image or PDF" if count == 1 else f"{count} images or PDFs"
        return f" of text; what {what} will count cannot be estimated, at most {_tokens(most)}"

    @property
    def _range(self) -> str:
        """The cost of all calls, from and to."""
        if self.least is None:
            return "unpriced"
        if self.least == self.most == 0:
            return "free"
        if self.most is None:
            return f"{usd(self.least)} for the input; what an answer costs is unknown"
        if self.endless:
            return f"{usd(self.least)} and more: without max_tokens a budget holds {usd(self.most)}"
        return usd(self.least) if self.least == self.most else f"{usd(self.least)} to {usd(self.most)}"

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What would be sent beside the prompt."""
        request, earlier = self.request, len(self.request.messages) - 1
        given = {name: _setting(getattr(request, name)) for name in SENT if name != "max_tokens"}
        given["history"] = f"{earlier} messages" if earlier else ""
        given["tier"] = self.tiers
        if self.cold:
            given["temperature"] += ", left out: the model does not take it"
        return [(name, text) for name, text in given.items() if text]


def _usual_length(session: Session, model: str, limit: int | None) -> tuple[int, int]:
    """Return the median of the output tokens of a model's last answers, and how many these are; 0 without any."""
    from statistics import median  # noqa: PLC0415 - few cells need it

    lengths = session.runtime.ledger.output_history(model, session.mode)
    if not lengths:
        return 0, 0
    typical = round(median(lengths))
    return typical if limit is None else min(typical, limit), len(lengths)


def _bound(choose: Callable[[Iterable[Decimal]], Decimal], amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Return the least or the most of amounts; None where one of them is unknown."""
    known = [each for each in amounts if each is not None]
    return choose(known) if len(known) == len(amounts) else None


def _setting(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:g}"
        case Mapping():
            return ", ".join(f"{name}={each!r}" for name, each in cast("Mapping[str, object]", value).items())
        case _:
            return str(value)


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"


_LONGEST: Final = 40  # characters of a setting in a table of several


def rehearse(session: Session, question: Question, *, calls: int | None = None, shown: str | None = None) -> Bundle:
    """Return a frame with the rendered prompt, an estimate of its tokens, and the range of its cost.

    The least is the price of the input alone; the most is what a budget would set aside. Nothing is sent.

    Args:
        session: The kernel's session.
        question: What would be sent.
        calls: How often each profile would be asked; None: as often as the question says.
        shown: The prompt that is shown, where that is another than the one whose price is estimated.

    Raises:
        VictorError: The question could not be asked.
    """
    call = question.call
    if call.profiles:
        check_fan_out([question.prompt], call.profiles, call.n or 1)
    estimates = [Estimate.of(session, name, question, calls) for name in call.profiles or (call.profile,)]
    table = _one(session, estimates[0], question) if len(estimates) == 1 else _several(session, estimates, question)
    prompt = clean(shorten(question.prompt if shown is None else shown))
    return stack(table, {"text/markdown": fence(prompt, "text"), "text/plain": prompt})


def _one(session: Session, estimate: Estimate, question: Question) -> Bundle:
    profile, model, calls, *rest = estimate.cells
    rows = [
        ("profile", profile),
        ("model", model),
        ("mode", session.mode),
        *([("calls", calls)] if estimate.calls > 1 else []),
        *zip(("input", "output"), rest[:2], strict=True),
        *estimate.expected,
        ("cost", rest[2]),
        *estimate.settings,
        *_stored(session, [estimate], question),
        *_beside(session, [estimate], question),
    ]
    return frame(["dry run", "nothing was sent"], rows)


def _several(session: Session, estimates: Sequence[Estimate], question: Question) -> Bundle:
    """Return a row for each profile, the sum, and what else is to know."""
    columns = ["profile", "model", "calls", "input of each", "output of each", "cost of all", "with"]
    rows = [(*each.cells, _settings(each)) for each in estimates]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    calls = sum(each.calls for each in estimates)
    above = f"Dry run, nothing was sent: {calls} calls, {_sum(estimates)} ({session.mode})."
    beside = [*_stored(session, estimates, question), *_beside(session, estimates, question)]
    below = " · ".join(f"{name}: {text}" for name, text in beside)
    return frame(columns, rows, above=above, below=below)


def _settings(estimate: Estimate) -> str:
    return " · ".join(
        f"{name} {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}" for name, text in estimate.settings
    )


def _sum(estimates: Sequence[Estimate]) -> str:
    """Return what all calls would cost; a part that is not known is named, never counted as 0."""
    priced = [each for each in estimates if each.least is not None]
    unknown = [each.profile.name for each in estimates if each.least is None or each.most is None]
    endless = [each.profile.name for each in priced if each.endless and each.most is not None]
    (least, _), (most, _) = add(each.least for each in priced), add(each.most for each in priced)
    text = [f"{usd(least)} to {usd(most)}" if not endless else f"{usd(least)} and more"] if priced else []
    likely, _ = add(each.likely for each in priced)
    text += [f"likely {usd(likely)}"] if likely and all(each.likely is not None for each in estimates) else []
    text += [f"no limit for {', '.join(endless)} as max_tokens is not set"] if endless else []
    text += [f"what {', '.join(unknown)} costs is unknown"] if unknown else []
    return ", ".join(text)


def _stored(session: Session, estimates: Sequence[Estimate], question: Question) -> list[tuple[str, str]]:
    """Return how many of the answers the store has, which are asked for where `cache=on` and cost nothing."""
    from victor_nb.accounting.cache import answer_key  # noqa: PLC0415 - few cells need the store

    cache, settings = session.runtime.cache_for(session.mode), session.settings
    found = count = 0
    for each in estimates:
        profile, limit = each.profile, each.request.max_tokens
        if question.options.get("cache", profile.cache) not in {"on", True} or question.call.over is not None:
            continue
        url = settings.base_url(profile)
        keys = [
            answer_key(each.request, provider=profile.provider, base_url=url, api=profile.api, sample=sample)
            for sample in range(each.calls)
        ]
        answers = {} if cache is None or cache.unused else cache.find(keys).result()
        count, found = count + len(keys), found + sum(answer.serves(limit) for answer in answers.values())
    return [("cache", f"{found} of {count} in the store, at no cost: the cost is that of asking all")] if count else []


def _beside(session: Session, estimates: Sequence[Estimate], question: Question) -> list[tuple[str, str]]:
    """Return what else is to know: what was inserted, who may answer instead, and whether the money would do."""
    inserted = [("inserted", f"{expression}, {size:,} characters") for expression, size in question.inserted]
    others = [
        ("fallback", f"{', '.join(each.profile.fallback)} if {each.profile.name} cannot, at prices not counted here")
        for each in estimates
        if each.profile.fallback
    ]
    return inserted + others + _budgets(session, estimates, question)


def _budgets(session: Session, estimates: Sequence[Estimate], question: Question) -> list[tuple[str, str]]:
    """Return the limits that the question might not fit; one that it fits at worst needs no word."""
    left = list(question.limits)
    left += [(limit.name, limit.left) for limit in session.budget.states()]
    worst, _ = add(each.most for each in estimates)
    return [
        (
            "budget",
            f"{usd(max(amount, Decimal(0)))} left for {name}, too little at worst: what does not fit is not sent",
        )
        for name, amount in left
        if worst > amount
    ]
