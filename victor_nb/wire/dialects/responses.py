"""OpenAI's Responses API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialects.base import Answered, Asked, Call, Event, RefusedError, fingerprint
from victor_nb.wire.dialects.openai import NO_THINKING, REFUSED, THINKS, OpenAI, heat_problems
from victor_nb.wire.pace import HEX
from victor_nb.wire.reading import JsonObject, conversation, dumps, inside, shaping, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from victor_nb.wire.reading import Json

_LEAST: Final = 16  # tokens; the API takes no lower max_output_tokens
_UNSHAPING: Final = ("stream", "store", "user", "metadata", "max_output_tokens")


class Responses(OpenAI):
    """`POST .../responses`; headers and errors are those of chat completions."""

    path = re.compile(r"/responses$")

    def read(self, call: Call) -> Asked:
        """Return what is asked."""
        body = call.body
        for param, code, message in _problems(body):
            raise RefusedError(400, {"error": {"message": message, "type": REFUSED, "param": param, "code": code}})
        said = body.get("input")
        turns: Json = said if isinstance(said, list) else [{"role": "user", "content": said}]
        messages, system = conversation(turns, "system", "developer")
        model, form = text_of(body.get("model")), inside(body, "text", "format")
        schema = inside(form, "schema")
        return Asked(
            model=model,
            messages=messages,
            system="\n".join(filter(None, (text_of(body.get("instructions")), system))),
            max_tokens=whole(body.get("max_output_tokens")),
            schema=schema if isinstance(schema, dict) else None,
            wants_json=inside(form, "type") in ("json_object", "json_schema"),
            thinks=bool(THINKS.search(model)) and inside(body, "reasoning", "effort") not in NO_THINKING,
            seed=fingerprint(["responses", shaping(body, *_UNSHAPING)]),
        )

    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return a whole response."""
        return _response(answered, call, ended=True)

    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield the events of a response: its frame, a message, a token each, and the whole response at the end."""
        number, done = 0, answered.text_tokens

        def event(kind: str, tokens: int, **fields: Json) -> Event:
            nonlocal number
            body: JsonObject = {"type": kind, **fields, "sequence_number": number}
            number += 1
            return Event(b"event: %s\ndata: %s\n\n" % (kind.encode(), dumps(body)), tokens)

        message, begun = _message(answered, call), _response(answered, call, ended=False)
        place: JsonObject = {"item_id": message["id"], "output_index": 0, "content_index": 0}
        part: JsonObject = {"type": "output_text", "text": answered.text, "annotations": [], "logprobs": []}
        yield event("response.created", 0, response=begun)
        yield event("response.in_progress", 0, response=begun)
        yield event(
            "response.output_item.added", 0, output_index=0, item={**message, "status": "in_progress", "content": []}
        )
        yield event("response.content_part.added", 0, **place, part={**part, "text": ""})
        for tokens, text in answered.chunks(1):
            yield event("response.output_text.delta", tokens, **place, delta=text, logprobs=[])
        yield event("response.output_text.done", done, **place, text=answered.text, logprobs=[])
        yield event("response.content_part.done", done, **place, part=part)
        yield event("response.output_item.done", done, output_index=0, item=message)
        kind = "response.incomplete" if answered.cut else "response.completed"
        yield event(kind, done, response=_response(answered, call, ended=True))


def _problems(body: JsonObject) -> Iterator[tuple[str | None, str | None, str]]:
    """Yield the errors that the provider finds in a request, in its order: parameter, code, message."""
    for name in ("model", "input"):
        if not body.get(name):
            yield name, "missing_required_parameter", f"Missing required parameter: '{name}'."
    limit = body.get("max_output_tokens")
    if limit is not None and (whole(limit) or 0) < _LEAST:
        message = f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {_LEAST}."
        yield "max_output_tokens", "integer_below_min_value", message
    for name in ("max_tokens", "max_completion_tokens", "messages", "seed", "response_format"):
        if name in body:
            yield name, "unknown_parameter", f"Unknown parameter: '{name}'."
    yield from heat_problems(body)


def _message(answered: Answered, call: Call) -> JsonObject:
    return {
        "id": "msg_" + call.chance.letters(48, "message", alphabet=HEX),
        "type": "message",
        "status": "incomplete" if answered.cut else "completed",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": answered.text}],
        "role": "assistant",
    }


def _response(answered: Answered, call: Call, *, ended: bool) -> JsonObject:
    """Return a response as it is when it begins, or when it has ended."""
    body, cut = call.body, answered.cut
    asked = text_of(body.get("service_tier")) or "auto"
    reasoning: list[Json] = []
    if answered.thinking_tokens:
        reasoning = [
            {"id": "rs_" + call.chance.letters(48, "thought", alphabet=HEX), "type": "reasoning", "summary": []}
        ]
    return {
        "id": "resp_" + call.chance.letters(48, "id", alphabet=HEX),
        "object": "response",
        "created_at": answered.created,
        "status": ("incomplete" if cut else "completed") if ended else "in_progress",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if ended and cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": answered.asked.model,
        "output": [*reasoning, _message(answered, call)] if ended else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": asked if not ended else "default" if asked == "auto" else asked,
        "store": body.get("store", True),
        "text": body.get("text", {"format": {"type": "text"}}),
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "truncation": "disabled",
        "usage": _usage(answered) if ended else None,
    }


def _usage(answered: Answered) -> JsonObject:
    return {
        "input_tokens": answered.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": answered.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answered.thinking_tokens},
        "total_tokens": answered.input_tokens + answered.output_tokens,
    }
