"""Ollama's `/api/chat`, one JSON object a line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialects.base import Answered, Asked, Call, Dialect, Event, fingerprint
from victor_nb.wire.reading import Json, JsonObject, conversation, dumps, inside, shaping, strings, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

_NANOSECONDS: Final = 1_000_000_000
_VERSION: Final = "0.13.0"


class Ollama(Dialect):
    """`POST /api/chat`."""

    path = re.compile(r"/api/chat$")
    plain_type = "application/json; charset=utf-8"
    stream_type = "application/x-ndjson"

    def read(self, call: Call) -> Asked:
        """Return what is asked."""
        body, options = call.body, call.body.get("options")
        if not body.get("model"):
            raise self.refuse("model is required", call)
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            raise self.refuse("messages is required", call)
        limit, form = whole(inside(options, "num_predict")), body.get("format")
        messages, system = conversation(body["messages"], "system")
        return Asked(
            model=text_of(body["model"]),
            messages=messages,
            system=system,
            max_tokens=limit if limit and limit > 0 else None,  # -1 and -2 mean no limit
            stops=strings(inside(options, "stop")),
            schema=form if isinstance(form, dict) else None,
            wants_json=form == "json",
            counts_schema=False,  # it is made a grammar, which the model does not read
            seed=fingerprint(["ollama", shaping(body, "stream", "keep_alive", "options"), _shaping(options)]),
        )

    def streams(self, call: Call) -> bool:
        """Return whether the request asks for a stream: the default here."""
        return call.body.get("stream") is not False

    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return a whole answer."""
        del call
        return _line(answered, answered.text, answered.text_tokens) | _last(answered)

    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield a line for each token, and a last one with the counts."""
        del call
        for tokens, text in answered.chunks(1):
            yield Event(dumps(_line(answered, text, tokens) | {"done": False}) + b"\n", tokens)
        done = answered.text_tokens
        yield Event(dumps(_line(answered, "", done) | _last(answered)) + b"\n", done)

    def error(self, status: int, message: str, call: Call) -> JsonObject:
        """Return the body of an error."""
        del status, call
        return {"error": message}


def _shaping(options: Json) -> JsonObject:
    return shaping(options, "num_predict", "num_ctx") if isinstance(options, dict) else {}


def _line(answered: Answered, text: str, tokens: int) -> JsonObject:
    moment = datetime.fromtimestamp(answered.created, UTC) + timedelta(seconds=answered.pace.due(tokens))
    return {
        "model": answered.asked.model,
        "created_at": moment.isoformat().replace("+00:00", "Z"),
        "message": {"role": "assistant", "content": text},
    }


def _last(answered: Answered) -> JsonObject:
    """Return the counts, with durations in nanoseconds."""
    pace = answered.pace
    load, prompt = int(pace.ttft * 0.2 * _NANOSECONDS), int(pace.ttft * 0.8 * _NANOSECONDS)
    talk = int(answered.text_tokens / pace.rate * _NANOSECONDS)
    return {
        "done": True,
        "done_reason": "length" if answered.cut else "stop",
        "total_duration": load + prompt + talk,
        "load_duration": load,
        "prompt_eval_count": answered.input_tokens,
        "prompt_eval_duration": prompt,
        "eval_count": answered.output_tokens,
        "eval_duration": talk,
    }
