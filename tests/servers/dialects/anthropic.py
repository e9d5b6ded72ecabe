"""Anthropic's Messages API: docs.anthropic.com/en/api/messages and /messages-streaming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from servers.dialects.base import THOUGHT, Asked, Dialect, Event, Told, blocks, dump, sse, turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.answers import Answer, Tokens
    from servers.exchange import Request


class Anthropic(Dialect):
    """POST /v1/messages."""

    name = "anthropic"
    model = "claude-haiku-4-5"
    stream_type = "text/event-stream; charset=utf-8"
    takes_temperature = False
    takes_seed = False
    params: ClassVar = ({"stop_sequences": ["END"], "top_k": 5}, {"stop_sequences": ["END"], "top_k": 5})
    too_long = "prompt is too long: 210000 tokens > 200000 maximum"
    words: ClassVar = {
        "stop": "end_turn",
        "length": "max_tokens",
        "content_filter": "refusal",
        "tool_calls": "tool_use",
        "other": "pause_turn",
    }
    key_variable = "ANTHROPIC_API_KEY"
    url_variable = "ANTHROPIC_BASE_URL"

    def question(self, prompt: str, *, stream: bool = False, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        body = {"model": self.model, "messages": turns(prompt), "max_tokens": limit or 8192}
        return "/v1/messages", body | ({"stream": True} if stream else {})

    def told(self, events: list[dict[str, Any]]) -> Told:
        if events[0]["type"] == "message":
            [event] = events
            usage = event["usage"]
            return Told(
                event["content"][0]["text"], usage["input_tokens"], usage["output_tokens"], event["stop_reason"]
            )
        text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
        [end] = [event for event in events if event["type"] == "message_delta"]
        start = events[0]["message"]["usage"]
        return Told(text, start["input_tokens"], end["usage"]["output_tokens"], end["delta"]["stop_reason"])

    def speaks(self, path: str) -> bool:
        return path.partition("?")[0] == "/v1/messages"

    def streamed(self, request: Request) -> bool:
        return request.json.get("stream") is True

    def id_header(self, answer: Answer) -> dict[str, str]:
        return {"request-id": answer.id}

    def known(self, tokens: Tokens) -> Tokens:
        return tokens

    def asked(self, request: Request) -> Asked:
        body = request.json
        messages = [(turn["role"], blocks(turn["content"])) for turn in body["messages"]]
        system = blocks(body["system"]) if "system" in body else None
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        return Asked(body["model"], system, messages, body["max_tokens"], body.get("temperature"), key)

    def plain(self, answer: Answer, request: Request) -> bytes:
        thought = [{"type": "thinking", "thinking": THOUGHT, "signature": "c2ln"}] if "thinks" in answer.quirks else []
        content = [*thought, {"type": "text", "text": answer.text}]
        return dump(self._message(answer, request, content, self.finish_word(answer), self._usage(answer)))

    def events(self, answer: Answer, request: Request) -> Iterator[Event]:
        first, last = self._usages(answer)
        yield self._event("message_start", message=self._message(answer, request, [], None, first))
        blocks = [("text", answer.pieces)]
        if "thinks" in answer.quirks:
            blocks.insert(0, ("thinking", (THOUGHT,)))
        for index, (kind, pieces) in enumerate(blocks):
            yield from self._block(index, kind, pieces, pings="pings" in answer.quirks)
        delta = {"stop_reason": self.finish_word(answer), "stop_sequence": None}
        yield self._event("message_delta", delta=delta, usage=last)
        yield self._event("message_stop")

    def error(self, status: int, message: str) -> bytes:
        return dump(self._error(status, message))

    def error_event(self, message: str) -> bytes:
        return sse(self._error(529, message), "error")

    def _error(self, status: int, message: str) -> dict[str, Any]:
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
        kind = "overloaded_error" if status == 529 else kind
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_err"}

    def _block(self, index: int, kind: str, pieces: tuple[str, ...], *, pings: bool) -> Iterator[Event]:
        yield self._event("content_block_start", index=index, content_block={"type": kind, kind: ""})
        for piece in pieces:
            if pings:
                yield self._event("ping")
            event = self._event("content_block_delta", index=index, delta={"type": f"{kind}_delta", kind: piece})
            yield event._replace(is_text=kind == "text")
        if kind == "thinking":
            signature = {"type": "signature_delta", "signature": "c2ln"}
            yield self._event("content_block_delta", index=index, delta=signature)
        yield self._event("content_block_stop", index=index)

    def _event(self, kind: str, **rest: object) -> Event:
        return Event(sse({"type": kind, **rest}, kind))

    def _message(
        self, answer: Answer, request: Request, content: list[Any], stop: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        model = answer.model or request.json["model"]
        message = {"id": "msg_01", "type": "message", "role": "assistant", "model": model, "content": content}
        return {**message, "stop_reason": stop, "stop_sequence": None, "usage": usage}

    def _usages(self, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the counts of message_start and of message_delta."""
        usage = self._usage(answer)
        parts = {"cache_creation", "output_tokens_details"}
        flat = {name: count for name, count in usage.items() if name not in parts}
        details = {name: usage[name] for name in ["output_tokens_details"] if name in usage}
        if "zeros_first" in answer.quirks:
            return dict.fromkeys(flat, 0), {**flat, **details}
        spans = {name: usage[name] for name in ["cache_creation"] if name in usage}
        return {**flat, **spans, "output_tokens": 1}, {"output_tokens": flat["output_tokens"], **details}

    def _usage(self, answer: Answer) -> dict[str, Any]:
        told = answer.tokens
        usage: dict[str, Any] = {
            "input_tokens": told.input - told.cache_read - told.cache_write,
            "cache_creation_input_tokens": told.cache_write,
            "cache_read_input_tokens": told.cache_read,
            "output_tokens": told.output,
        }
        if told.reasoning:
            usage["output_tokens_details"] = {"thinking_tokens": told.reasoning}
        if told.cache_write_1h:
            five = told.cache_write - told.cache_write_1h
            spans = {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": told.cache_write_1h}
            usage["cache_creation"] = spans
        return usage
