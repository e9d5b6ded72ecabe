"""The values that pass between the layers: frozen, equal by content, additive where adding makes sense."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field, fields
from math import inf
from operator import add, attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from victor_nb.media import Media

Role = Literal["user", "assistant"]
Mode = Literal["live", "simulate", "record", "replay"]
Book = Literal["live", "simulated"]
"""Which spending a budget counts: what is not paid for has a book of its own."""
UNPAID: Final = {"simulate": "simulated", "replay": "replayed"}
"""The modes that ask no provider and cost nothing, and what an answer is then called."""
TAPED: Final = ("record", "replay")
"""The modes of tapes. A cell streams in both: what is recorded where it is watched is replayed where it is not."""
BOOKS: Final[Mapping[Mode, Book]] = {
    "live": "live",
    "record": "live",
    "simulate": "simulated",
    "replay": "simulated",
}
"""The book that the calls of a mode are counted in."""
PAID: Final = "paid"
"""What an answer is called in all others."""
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
ReplyStatus = Literal["ok", "partial", "interrupted", "invalid"]
Status = Literal["running", "ok", "error", "interrupted", "partial", "invalid", "refused"]
UsageSource = Literal["reported", "partial", "estimated"]
Structured = Literal["schema", "json", "prompt"]
"""How an answer is held to a JSON schema: by the schema itself, by a mode for any JSON, by the prompt alone."""
CostSource = Literal["computed", "reported", "local", "override", "unknown"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        content: Its text, with a stand-in for each image and PDF.
        media: The images and PDFs that its stand-ins name.
    """

    role: Role
    content: str
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON schema that an answer is to fit, as a provider is sent it.

    Attributes:
        name: What it is called: letters, digits, `_` and `-`.
        schema: The schema, of an object.
        kind: Whether it is sent as it is; else it stands in the system prompt, beside a mode for any JSON or alone.
        read: Returns the value that an answer's text is, and whether it was repaired, or raises ValueError with what
            does not fit; None where no answer is refused. Not on an event loop.
    """

    name: str
    schema: Mapping[str, object]
    kind: Structured
    read: Callable[[str], tuple[object, bool]] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name if self.kind == "schema" else f"{self.name}, in the system prompt"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request, independent of providers. Nothing that is None is sent.

    Attributes:
        media: Whether any of its messages holds images or PDFs.
        learned: What the host has refused of this model before, by name, and what it is sent instead; None: nothing.
    """

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    schema: AnswerSchema | None = None
    params: Mapping[str, object] = field(default_factory=dict[str, object])
    effort: str | None = None
    tier: str | None = None
    prompt_cache: str | None = None
    learned: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    media: bool = False


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a refusal teaches about a host and a model.

    Attributes:
        feature: Its name, in `ChatRequest.learned` from then on.
        instead: What is sent instead; None: nothing.
        note: What a reader of the answer should know.
    """

    feature: str
    instead: str | None
    note: str


@dataclass(frozen=True, slots=True)
class SimulatedQuestion:
    """One attempt of a call, as answers of one's own are chosen by it.

    Attributes:
        stage: The stage of a strategy that asks; None outside of one.
        sample: Which of the samples of one prompt, from 0.
        prompt: The last message.
        system: The system prompt, or "".
        attempt: Which attempt of the call, from 1.
    """

    profile: str
    stage: str | None
    sample: int
    prompt: str
    system: str
    model: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """An answer of one's own, or a failure, which the simulator gives in the provider's protocol.

    Attributes:
        text: The answer; None: what the simulator writes.
        status: The HTTP status (400 to 599) of a refusal, which has no text.
        message: What the refusal says.
        retry_after: Seconds that the refusal asks to wait.
        cut: Characters of text after which the connection is lost. A plain answer is lost as a whole; an answer that is
            not longer is not cut.
        delay: Seconds before the first token, times `VICTOR_SIM_SPEED`.
        input_tokens: What the answer reports to have read; None: what the simulator counts.
        output_tokens: What it reports to have written, thinking included; None: what the simulator counts.

    Raises:
        ConfigError: A field is out of its range, or does not go with another.
    """

    text: str | None = None
    _: KW_ONLY
    status: int | None = None
    message: str | None = None
    retry_after: float | None = None
    cut: int | None = None
    delay: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        fault = next(self._faults(), None)
        if fault is not None:
            raise ConfigError(fault)

    def _faults(self) -> Iterator[str]:
        """Yield what is wrong, each beginning with the name of a field."""
        yield from self._wrong_types()
        if self.status is not None and not 400 <= self.status <= 599:  # noqa: PLR2004 - the errors of HTTP
            yield f"status takes a number from 400 to 599, not {self.status}"
        for name in ("retry_after", "cut", "delay", "input_tokens", "output_tokens"):
            value: float | None = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                yield f"{name} takes a number of 0 or more, not {value}"
        for name in ("text", "cut", "input_tokens", "output_tokens"):
            if self.status is not None and getattr(self, name) is not None:
                yield f"{name} does not go with status: a refusal has no answer"
        for name in ("message", "retry_after"):
            if self.status is None and getattr(self, name) is not None:
                yield f"{name} goes with status only, such as status: 429"

    def _wrong_types(self) -> Iterator[str]:
        for names, kinds, words in _TYPES:
            for name in names:
                given: object = getattr(self, name)
                fits = isinstance(given, kinds) and not isinstance(given, bool)
                if not fits and (given is not None or name == "delay"):
                    yield f"{name} takes {words}, not a value of type {type(given).__name__}"


_TYPES: Final = (
    (("text", "message"), str, "text"),
    (("status", "cut", "input_tokens", "output_tokens"), int, "a whole number"),
    (("retry_after", "delay"), (int, float), "a number"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Which call of the user's an HTTP exchange belongs to.

    Attributes:
        sample: Which of the samples of one prompt, from 0.
        answer: The answer of the user's own that the simulator is to give.
        call: The call's id; empty where no call sends it.
        profile: Who asks.
        stage: The stage of a strategy that asks; None outside of one.
        began: When the attempt began, by `time.perf_counter`.
    """

    sample: int = 0
    answer: SimulatedAnswer | None = None
    call: str = ""
    profile: str = ""
    stage: str | None = None
    began: float = 0.0


ORIGIN: Final[ContextVar[Origin]] = ContextVar("victor_nb_origin", default=Origin())  # noqa: B039 - frozen
"""What a transport reads, as no request carries it. Set before each attempt, in the task that makes it."""


class Stoppable(Protocol):
    """The work that a call is a part of."""

    @property
    def stopped(self) -> str:
        """How the user stopped it: `interrupted` with its cell, or `cancelled`; empty: not."""
        ...

    def cancel(self) -> None:
        """Stop it."""
        ...


JOB: Final[ContextVar[Stoppable | None]] = ContextVar("victor_nb_job", default=None)
"""The job on the background loop that the running task, or a thread that it waits for, belongs to."""


class Quotable:
    """A result that may stand in a prompt, as `{{ run }}` and `{{ replies | json }}`."""

    __slots__ = ()

    def quoted(self) -> object:
        """Return what a prompt holds of it without a filter: text, or a value with a text of its own."""
        return str(self)

    def records(self) -> object:
        """Return what a filter takes of it: text, or a mapping for each answer."""
        return str(self)


def plain(value: object) -> object:
    """Return the Python value that a scalar of numpy is, as it is written: 0.1 of a `float32`; all else as it is."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != ():
        return value
    scalar = cast("Any", value)
    return float(str(scalar)) if scalar.dtype.kind == "f" else scalar.item()


Item = TypeVar("Item")


def listed(values: Sequence[Item]) -> Sequence[Item]:
    """Return an array, an index or a column of a table as a list of Python values; all else as it is."""
    return cast("Any", values).tolist() if hasattr(values, "tolist") else values


_AGES: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def aged(seconds: float) -> str:
    """Return an age in its largest whole unit: `3 d`, `5 h`, `12 min`, `40 s`."""
    return next((f"{seconds // size:,.0f} {unit}" for size, unit in _AGES if seconds >= size), f"{seconds:.0f} s")


BYTES_PER_TOKEN: Final = 4
"""What a token of English prose and of code takes on average, in bytes of UTF-8."""


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text from its bytes."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls, as the provider counted them.

    `input_tokens` is the total: cache reads and writes are inside it. `reasoning_tokens` are inside
    `output_tokens`, and `cache_write_1h_tokens` (which live an hour, and cost more) inside `cache_write_tokens`.
    `web_searches`, which the provider made itself, are charged beside the tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_searches: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together; the parts are inside them."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, _counts(self), _counts(other)))

    def __radd__(self, other: int) -> Usage:
        """Let `sum(usages)` start at its 0."""
        return self if other == 0 else NotImplemented

    def updated(self, later: Usage) -> Usage:
        """Return the counts that hold once a stream has stated others: a later zero replaces nothing."""
        return Usage(*(new or old for old, new in zip(_counts(self), _counts(later), strict=True)))


_counts: Final = attrgetter(*(count.name for count in fields(Usage)))


@dataclass(frozen=True, slots=True)
class Delta:
    """The content of one event of an answer.

    A field but `text` replaces its earlier value, unless it is None; a count in `usage`, unless it is 0. A usage
    without any count says nothing. `finish_word` is the provider's own word for a reason to stop that is `other`, and
    `note` becomes one of the reply's. `thinking` says that the event is of what the model thinks, which is not kept.
    """

    text: str = ""
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    model_served: str | None = None
    request_id: str | None = None
    reported_cost: Decimal | None = None
    service_tier: str | None = None
    finish_word: str | None = None
    note: str | None = None
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """The list price of a usage, and where it comes from. `cost` is None when the price is unknown, never 0."""

    cost: Decimal | None
    source: CostSource
    version: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reply:
    """An answer, with its usage, cost, times and notes.

    Attributes:
        content: The text. `str(reply)` and `f"{reply}"` give it too.
        usage: Tokens of all attempts of the call together.
        cost: List price of the usage in USD; None when the price of any part is unknown, never 0.
        billed: What was really paid in USD: 0 when simulated or replayed, None when unknown.
        latency: Seconds from the first byte sent to the last received, waits between attempts included.
        ttft: Seconds to the first text; None where the answer was not streamed.
        finish_reason: `stop`, `length`, `content_filter`, `tool_calls` or `other`; None if none was given.
        status: `ok`; `partial` when the answer ended without a finish reason; `interrupted` when it was stopped;
            `invalid` when it does not fit its schema, as an error's `reply`.
        attempts: HTTP exchanges that the call took.
        notes: What a reader of the answer should know, such as a temperature that was not sent.
        service_tier: The tier that served, as the provider names it; None where it names none.
        data: The answer as a value: an instance of the type that `schema=` gives; None where none was asked for.
        made: When it was asked, of an answer out of the store (`cache=on`): nothing was sent, `attempts` and `billed`
            are 0, and usage and cost are those of that time. None: it was asked now.
        age: Seconds that such an answer was old.
    """

    content: str
    usage: Usage
    cost: Decimal | None
    billed: Decimal | None
    profile: str
    provider: str
    model: str
    model_served: str | None
    latency: float
    ttft: float | None
    finish_reason: FinishReason | None
    attempts: int
    mode: Mode
    request_id: str | None
    status: ReplyStatus = "ok"
    call_id: str = ""
    notes: tuple[str, ...] = ()
    service_tier: str | None = None
    data: Any = field(default=None, compare=False)
    made: datetime | None = None
    age: float | None = None

    @property
    def reused(self) -> str:
        """`reused, 3 d old` of an answer that comes out of the store; else empty."""
        return "" if self.age is None else f"reused, {aged(self.age)} old"

    @property
    def free(self) -> bool:
        """Whether it was answered, at a price of 0."""
        return self.cost == 0 and self.usage.output_tokens > 0

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        """Show the whole answer, and nothing that the clock decides: a list of replies may go into a next prompt."""
        mark = "" if self.made is None else ", reused"
        tokens = f"{self.usage.input_tokens}->{self.usage.output_tokens}, cost={self.cost}"
        return f"Reply({self.content!r}, profile={self.profile!r}, model={self.model!r}, tokens={tokens}{mark})"

    def __format__(self, spec: str) -> str:
        return format(self.content, spec)


PromptLike: TypeAlias = "str | Reply | Media | Sequence[str | Reply | Media]"
"""What may be asked: a text, a reply's text, or a list of texts, images and PDFs."""
