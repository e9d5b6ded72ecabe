"""OpenAI's chat completions, which many other servers speak too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialects.base import Answered, Asked, Call, Dialect, Event, RefusedError, fingerprint
from victor_nb.wire.pace import HEX
from victor_nb.wire.reading import Json, JsonObject, conversation, dumps, inside, shaping, strings, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

# Models that think: their thinking counts as output. The older of them refuse `max_tokens` and any temperature but 1.
THINKS: Final = re.compile(r"\b(?:o\d|gpt-[5-9])")
_STRICT: Final = re.compile(r"\b(?:o\d|gpt-5)(?!.*chat)")
NO_THINKING: Final = ("none", "minimal")
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_SERVER_ERROR: Final = 500
REFUSED: Final = "invalid_request_error"
_ERRORS: Final = {401: (REFUSED, "invalid_api_key"), 429: ("requests", "rate_limit_exceeded")}
_PADDING: Final = 16  # characters to which a chunk's text is padded, against guessing it from the size


class OpenAI(Dialect):
    """`POST .../chat/completions`."""

    path = re.compile(r"/chat/completions$")

    def read(self, call: Call) -> Asked:
        """Return what is asked."""
        body = call.body
        for param, code, message in _problems(body):
            error = {"message": message, "type": REFUSED, "param": param, "code": code}
            raise RefusedError(400, {"error": error})
        limits = [limit for limit in (whole(body.get(name)) for name in _LIMITS) if limit is not None]
        messages, system = conversation(body["messages"], "system", "developer")
        answer_format = inside(body, "response_format", "type")
        schema = inside(body, "response_format", "json_schema", "schema")
        return Asked(
            model=_model_name(body),
            messages=messages,
            system=system,
            max_tokens=min(limits, default=None),
            stops=strings(body.get("stop")),
            schema=schema if isinstance(schema, dict) else None,
            wants_json=answer_format in ("json_object", "json_schema"),
            thinks=bool(THINKS.search(_model_name(body))) and body.get("reasoning_effort") not in NO_THINKING,
            seed=fingerprint(["openai", shaping(body, "stream", "stream_options", "user", "metadata", *_LIMITS)]),
        )

    def headers(self, call: Call) -> dict[str, str]:
        """Return the headers that name the exchange."""
        return {
            "x-request-id": "req_" + call.chance.letters(32, "request", alphabet=HEX),
            "openai-version": "2020-10-01",
        }

    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return a whole completion."""
        message: JsonObject = {"role": "assistant", "content": answered.text, "refusal": None, "annotations": []}
        choice: JsonObject = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answered)}
        head = _head(answered, call, kind="chat.completion")
        return head | {"choices": [choice], "usage": _usage(answered)} | _tail(call)

    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield the chunks of a completion: the role, a token each, the end, and the usage where it was asked for."""
        counted = inside(call.body, "stream_options", "include_usage") is True
        padded = inside(call.body, "stream_options", "include_obfuscation") is not False
        head = _head(answered, call, kind="chat.completion.chunk") | _tail(call)

        def chunk(choices: list[Json], tokens: int, *, text: str = "", usage: JsonObject | None = None) -> Event:
            body = head | {"choices": choices}
            if counted:
                body["usage"] = usage
            if padded:
                length = max(1, _PADDING - len(text)) if text else call.chance.number("padding", tokens) % _PADDING + 1
                body["obfuscation"] = call.chance.letters(length, "padding", tokens)
            return Event(b"data: %s\n\n" % dumps(body), tokens)

        yield chunk([_choice({"role": "assistant", "content": "", "refusal": None})], 0)
        for tokens, text in answered.chunks(1):
            yield chunk([_choice({"content": text})], tokens, text=text)
        done = answered.text_tokens
        yield chunk([_choice({}, _finish(answered))], done)
        if counted:
            yield chunk([], done, usage=_usage(answered))
        yield Event(b"data: [DONE]\n\n", done)

    def error(self, status: int, message: str, call: Call) -> JsonObject:
        """Return the body of an error."""
        del call
        kind, code = _ERRORS.get(status) or ("server_error" if status >= _SERVER_ERROR else REFUSED, None)
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _problems(body: JsonObject) -> Iterator[tuple[str | None, str | None, str]]:
    """Yield the errors that the provider finds in a request, in its order: parameter, code, message."""
    if not body.get("model"):
        yield None, None, "you must provide a model parameter"
    if "messages" not in body:
        yield "messages", "missing_required_parameter", "Missing required parameter: 'messages'."
    if not isinstance(body.get("messages"), list):
        yield "messages", "invalid_type", "Invalid type for 'messages': expected an array of objects."
    if not body.get("messages"):
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
        yield "messages", "empty_array", message
    for limit in _LIMITS:
        if (whole(body.get(limit, 1)) or 0) < 1 and body.get(limit) is not None:
            message = f"Invalid '{limit}': integer below minimum value. Expected a value >= 1."
            yield limit, "integer_below_min_value", message
    if _STRICT.search(_model_name(body)) and body.get("max_tokens") is not None:
        message = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        yield "max_tokens", "unsupported_parameter", f"Unsupported parameter: {message}"
    yield from heat_problems(body)


def heat_problems(body: JsonObject) -> Iterator[tuple[str | None, str | None, str]]:
    """Yield what is wrong with the temperature: reasoning models take none but 1."""
    temperature = body.get("temperature")
    if _STRICT.search(_model_name(body)) and temperature not in (None, 1):
        message = (
            f"'temperature' does not support {temperature} with this model. Only the default (1) value is supported."
        )
        yield "temperature", "unsupported_value", f"Unsupported value: {message}"


def _model_name(body: JsonObject) -> str:
    return text_of(body.get("model"))


def _head(answered: Answered, call: Call, *, kind: str) -> JsonObject:
    return {
        "id": "chatcmpl-" + call.chance.letters(29, "id"),
        "object": kind,
        "created": answered.created,
        "model": answered.asked.model,
    }


def _tail(call: Call) -> JsonObject:
    print_of = "fp_" + call.chance.letters(10, "print", alphabet=HEX)
    asked = text_of(call.body.get("service_tier"))
    return {"service_tier": "default" if asked in ("", "auto") else asked, "system_fingerprint": print_of}


def _choice(delta: JsonObject, finish: str | None = None) -> JsonObject:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _finish(answered: Answered) -> str:
    return "length" if answered.cut else "stop"


def _usage(answered: Answered) -> JsonObject:
    return {
        "prompt_tokens": answered.input_tokens,
        "completion_tokens": answered.output_tokens,
        "total_tokens": answered.input_tokens + answered.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answered.thinking_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
