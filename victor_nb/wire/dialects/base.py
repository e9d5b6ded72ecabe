"""The base class of the protocols, and questions and answers independent of them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Final

from victor_nb.values import Message, SimulatedAnswer, estimate_tokens
from victor_nb.wire.pace import Chance, Pace, pace_of, split_tokens

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping

    from victor_nb.wire.reading import Json, JsonObject

# Seconds since 1970 at the start of 2026, and the seconds of the 300 days over which answers are spread.
_EPOCH: Final = 1_767_225_600
_SPREAD: Final = 300 * 24 * 3600
_PER_ATTACHMENT: Final = 800  # tokens; about what an image of 1,000 by 600 pixels counts
_NOTHING_GIVEN: Final = SimulatedAnswer()


class RefusedError(Exception):
    """The simulated provider refuses the request; `body` is its error, in its dialect."""

    def __init__(self, status: int, body: JsonObject) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Call:
    """One HTTP request, read.

    Attributes:
        sample: Which of the samples of one prompt it asks for, from 0. It is not part of the request.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: JsonObject
    sample: int = 0

    @cached_property
    def chance(self) -> Chance:
        """Where the ids of the exchange come from."""
        return Chance(fingerprint([self.path, self.body, *([self.sample] if self.sample else [])]))


@dataclass(frozen=True)
class Asked:
    """A question, independent of protocols.

    Attributes:
        model: The model that is asked.
        messages: The conversation, the question last.
        system: The system prompt, or "".
        max_tokens: Tokens that the answer may take, thinking included; None for no limit.
        stops: Texts before which the answer ends.
        schema: The JSON schema that the answer must satisfy.
        wants_json: Whether the answer must be JSON.
        thinks: Whether this model counts thinking tokens beside its text.
        attachments: How many images and files are in the question.
        counts_schema: Whether the schema counts as input, as it does where the provider puts it before the model.
        seed: A hash of all that may shape the answer. Streaming and the limit on tokens may not.
    """

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    schema: JsonObject | None = None
    wants_json: bool = False
    thinks: bool = False
    attachments: int = 0
    counts_schema: bool = True
    seed: str = ""

    @cached_property
    def input_tokens(self) -> int:
        """What the question counts."""
        schema = json.dumps(self.schema) if self.schema is not None and self.counts_schema else ""
        texts = (self.system, *(turn.content for turn in self.messages), schema)
        return max(1, sum(map(estimate_tokens, texts)) + _PER_ATTACHMENT * self.attachments)


@dataclass(frozen=True)
class Answered:
    """An answer, independent of protocols, cut to the allowed tokens.

    Attributes:
        asked: What it answers.
        pieces: Its text, one piece for each token.
        thinking_tokens: Tokens that were spent before the text and are not in it.
        cut: Whether it ends because it may not be longer.
        stopped_at: The stop text before which it ends.
        given: What the user has it report and how it breaks off.
        breaks_at: The tokens of text after which the connection is lost; None if it is not.
    """

    asked: Asked
    pieces: tuple[str, ...]
    thinking_tokens: int = 0
    cut: bool = False
    stopped_at: str | None = None
    chance: Chance = field(default_factory=lambda: Chance(""))
    given: SimulatedAnswer = _NOTHING_GIVEN
    breaks_at: int | None = None

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def input_tokens(self) -> int:
        """What the question counts."""
        given = self.given.input_tokens
        return self.asked.input_tokens if given is None else given

    @property
    def text_tokens(self) -> int:
        """What the text counts."""
        return len(self.pieces)

    @property
    def output_tokens(self) -> int:
        """What text and thinking count together."""
        given = self.given.output_tokens
        return self.text_tokens + self.thinking_tokens if given is None else given

    @cached_property
    def pace(self) -> Pace:
        """When its tokens come."""
        pace = pace_of(self.asked.model, self.chance)
        return replace(pace, ttft=pace.ttft + self.given.delay) if self.given.delay else pace

    @cached_property
    def created(self) -> int:
        """Seconds since 1970: a moment that is as much a part of the answer as its text."""
        return _EPOCH + self.chance.number("created") % _SPREAD

    def chunks(self, tokens: int, *, first: int | None = None) -> Iterator[tuple[int, str]]:
        """Yield the text in chunks of `tokens` tokens, each with the number of tokens that are out with it.

        Args:
            tokens: How many tokens go into a chunk.
            first: How many go into the first one, where that differs.
        """
        start, end = 0, tokens if first is None else first
        while start < len(self.pieces):
            if self.breaks_at is not None and start < self.breaks_at < end:
                end = self.breaks_at
            yield min(end, len(self.pieces)), "".join(self.pieces[start:end])
            start, end = end, end + tokens


@dataclass(frozen=True, slots=True)
class Event:
    """Bytes of a stream, and how many tokens of text are out when they are sent."""

    data: bytes
    tokens: int = 0


class Dialect(ABC):
    """One provider's protocol: reads its requests, and writes its answers and errors.

    Attributes:
        path: Where questions go; whatever stands before is a base URL's business.
    """

    path: ClassVar[re.Pattern[str]]
    stream_type = "text/event-stream; charset=utf-8"
    plain_type = "application/json"

    @abstractmethod
    def read(self, call: Call) -> Asked:
        """Return what is asked.

        Raises:
            RefusedError: This provider would not take the request.
        """

    @abstractmethod
    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return the body of a plain answer."""

    @abstractmethod
    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield a streamed answer."""

    def streams(self, call: Call) -> bool:
        """Return whether the request asks for a stream."""
        return call.body.get("stream") is True

    @abstractmethod
    def error(self, status: int, message: str, call: Call) -> JsonObject:
        """Return the body of an error."""

    def headers(self, call: Call) -> dict[str, str]:
        """Return the response headers that name the exchange."""
        del call
        return {}

    def refuse(self, message: str, call: Call, *, status: int = 400) -> RefusedError:
        """Return a refusal, to be raised."""
        return RefusedError(status, self.error(status, message, call))


def answer(asked: Asked, text: str, given: SimulatedAnswer = _NOTHING_GIVEN) -> Answered:
    """Answer with a text, held to the stops and the limit that the request set, and to what the user has given."""
    chance = Chance(asked.seed)
    text, stopped_at = _stop(text, asked.stops)
    kept = split_tokens(text[: given.cut])
    pieces = kept if given.cut is None else kept + split_tokens(text[given.cut :])
    thinking = _thinking(asked, chance) if given.output_tokens is None else 0
    room = len(pieces) if asked.max_tokens is None else max(0, asked.max_tokens - thinking)
    cut = room < len(pieces)
    return Answered(
        asked=asked,
        pieces=pieces[:room],
        thinking_tokens=thinking,
        cut=cut,
        stopped_at=None if cut else stopped_at,
        chance=chance,
        given=given,
        breaks_at=None if given.cut is None or len(kept) >= min(room, len(pieces)) else len(kept),
    )


def _stop(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """Return the text up to the first of the stops, and which that was."""
    found = min(((text.find(stop), stop) for stop in stops if stop and stop in text), default=None)
    return (text[: found[0]], found[1]) if found else (text, None)


def _thinking(asked: Asked, chance: Chance) -> int:
    """Return thinking tokens: they come in blocks of 64, and leave most of the allowed tokens to the text."""
    if not asked.thinks:
        return 0
    blocks = chance.pick((1, 1, 2, 3), "thinking")
    return 64 * (blocks if asked.max_tokens is None else min(blocks, asked.max_tokens // 256))


def fingerprint(value: Json) -> str:
    """Return a hash of a JSON value that does not depend on the order of its keys."""
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
