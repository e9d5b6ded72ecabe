"""Anthropic's Messages API, version 2026-10-21 and before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialects.base import Answered, Asked, Call, Dialect, Event, fingerprint
from victor_nb.wire.reading import JsonObject, conversation, dumps, inside, shaping, strings, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# From this API version on, sampling parameters are refused, whatever their value.
_NO_SAMPLING_FROM: Final = "2026-10-21"
_TOKENS_PER_DELTA: Final = 4
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic(Dialect):
    """`POST .../v1/messages`."""

    path = re.compile(r"/v1/messages$")

    def read(self, call: Call) -> Asked:
        """Return what is asked."""
        body = call.body
        for problem in _problems(call):
            raise self.refuse(problem, call)
        answer_format = inside(body, "output_config", "format") or body.get("output_format")
        schema = inside(answer_format, "schema")
        return Asked(
            model=text_of(body["model"]),
            messages=conversation(body["messages"])[0],
            system=text_of(body.get("system")),
            max_tokens=whole(body.get("max_tokens")),
            stops=strings(body.get("stop_sequences")),
            schema=schema if isinstance(schema, dict) else None,
            seed=fingerprint(["anthropic", shaping(body, "stream", "max_tokens", "metadata")]),
        )

    def headers(self, call: Call) -> dict[str, str]:
        """Return the header that names the exchange."""
        return {"request-id": _request_id(call)}

    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return a whole message."""
        message = _message(answered, call)
        usage = _usage(answered, call) | {"output_tokens": answered.output_tokens}
        return message | {"content": [{"type": "text", "text": answered.text}], **_ending(answered), "usage": usage}

    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield the events of a message, by their names."""
        yield _event("message_start", {"message": _message(answered, call)})
        yield _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
        yield _event("ping", {})
        for tokens, text in answered.chunks(_TOKENS_PER_DELTA, first=1):
            delta: JsonObject = {"type": "text_delta", "text": text}
            yield _event("content_block_delta", {"index": 0, "delta": delta}, tokens)
        done = answered.text_tokens
        yield _event("content_block_stop", {"index": 0}, done)
        usage: JsonObject = {
            "input_tokens": answered.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": answered.output_tokens,
        }
        yield _event("message_delta", {"delta": _ending(answered), "usage": usage}, done)
        yield _event("message_stop", {}, done)

    def error(self, status: int, message: str, call: Call) -> JsonObject:
        """Return the body of an error."""
        kind = _ERROR_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": _request_id(call)}


def _problems(call: Call) -> Iterator[str]:
    """Yield the errors that the provider finds in a request, in its order."""
    body = call.body
    for field in ("model", "messages", "max_tokens"):
        if field not in body:
            yield f"{field}: Field required"
    if not text_of(body.get("model")):
        yield "model: String should have at least 1 character"
    if not isinstance(body.get("messages"), list):
        yield "messages: Input should be a valid list"
    if not body.get("messages"):
        yield "messages: at least one message is required"
    if (whole(body.get("max_tokens")) or 0) < 1:
        yield "max_tokens: Input should be greater than or equal to 1"
    if call.headers.get("anthropic-version", "") >= _NO_SAMPLING_FROM:
        for field in {"temperature", "top_p", "top_k"} & body.keys():
            yield f"{field}: Extra inputs are not permitted"


def _message(answered: Answered, call: Call) -> JsonObject:
    """Return the message as it is before its first text."""
    return {
        "model": answered.asked.model,
        "id": "msg_01" + call.chance.letters(22, "id", alphabet=_BASE58),
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": _usage(answered, call),
    }


def _usage(answered: Answered, call: Call) -> JsonObject:
    """Return the usage as it is before the first text."""
    return {
        **{name: call.body[name] for name in ("speed",) if name in call.body},
        "input_tokens": answered.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def _ending(answered: Answered) -> JsonObject:
    reason = "max_tokens" if answered.cut else "stop_sequence" if answered.stopped_at else "end_turn"
    return {"stop_reason": reason, "stop_sequence": answered.stopped_at, "stop_details": None}


def _event(name: str, fields: JsonObject, tokens: int = 0) -> Event:
    return Event(b"event: %s\ndata: %s\n\n" % (name.encode(), dumps({"type": name, **fields})), tokens)


def _request_id(call: Call) -> str:
    return "req_011C" + call.chance.letters(20, "request", alphabet=_BASE58)
