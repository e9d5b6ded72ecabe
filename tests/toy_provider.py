"""A provider of somebody else's: all that a module for one must hold. Its row is in `test_toy_provider`."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING

from victor_nb.providers.http import PlainProvider, events, number, read, text
from victor_nb.values import Delta, Message, Usage
from victor_nb.wire.dialects.base import Asked as Question
from victor_nb.wire.dialects.base import Dialect, Event, RefusedError, fingerprint
from victor_nb.wire.reading import dumps, inside, shaping, text_of, whole

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from victor_nb.values import ChatRequest, Role
    from victor_nb.wire.dialects.base import Answered, Call
    from victor_nb.wire.reading import Json, JsonObject


class Toy(PlainProvider):
    """Asks `POST /say`, whose stream is one JSON object a line."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The key."""
        return {"x-toy-key": self.endpoint.key.reveal() if self.endpoint.key else ""}

    async def ask(self, request: ChatRequest) -> Delta:
        """Ask plainly."""
        answer, _ = await self.post("/say", _body(request, stream=False))
        return _delta(answer)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Ask for a stream."""
        body = _body(request, stream=True)
        async with self.open("/say", body) as response, aclosing(events(response)) as found:
            async for event in found:
                yield _delta(event)


def _body(request: ChatRequest, *, stream: bool) -> dict[str, object]:
    """Send every field of a request; what a protocol has no place for, its Spec refuses."""
    turns = [{"by": turn.role, "said": turn.content} for turn in request.messages]
    options = {
        "system": request.system,
        "length": request.max_tokens,
        "warmth": request.temperature,
        "seed": request.seed,
        "fits": request.schema.schema if request.schema and request.schema.kind == "schema" else None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"model": request.model, "turns": turns, "stream": stream, **given, **request.params}


def _delta(event: Mapping[str, object]) -> Delta:
    usage = Usage(input_tokens=number(event, "in"), output_tokens=number(event, "out")) if "out" in event else None
    return Delta(text=text(read(event, "said")) or "", usage=usage, finish_reason="stop" if usage else None)


def _role(turn: Json) -> Role:
    return "assistant" if inside(turn, "by") == "assistant" else "user"


class ToyDialect(Dialect):
    """Speaks the same protocol from the other side, for the simulator."""

    path = re.compile(r"/say$")
    stream_type = "application/x-ndjson"

    def read(self, call: Call) -> Question:
        """Return what is asked."""
        turns = call.body.get("turns")
        if not isinstance(turns, list) or not turns:
            raise RefusedError(400, self.error(400, "no turns", call))
        return Question(
            text_of(call.body.get("model")),
            tuple(Message(_role(turn), text_of(inside(turn, "said"))) for turn in turns),
            system=text_of(call.body.get("system")),
            max_tokens=whole(call.body.get("length")),
            schema=schema if isinstance(schema := call.body.get("fits"), dict) else None,
            seed=fingerprint(["toy", shaping(call.body, "stream", "length")]),
        )

    def streams(self, call: Call) -> bool:
        """Say whether the request asks for a stream."""
        return call.body.get("stream") is True

    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return a whole answer."""
        del call
        return {"said": answered.text, "in": answered.input_tokens, "out": answered.output_tokens}

    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield a line for each token, and a last one with the counts."""
        for tokens, piece in answered.chunks(1):
            yield Event(dumps({"said": piece}) + b"\n", tokens)
        yield Event(dumps({**self.plain(answered, call), "said": ""}) + b"\n", answered.text_tokens)

    def error(self, status: int, message: str, call: Call) -> JsonObject:
        """Return the body of an error."""
        del status, call
        return {"error": message}
