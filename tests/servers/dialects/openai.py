"""OpenAI's Chat Completions API: platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from servers.dialects.base import THOUGHT, Asked, Dialect, Event, Told, blocks, dump, only, sse, turns, without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.answers import Answer, Tokens
    from servers.exchange import Request


class OpenAI(Dialect):
    """POST /v1/chat/completions."""

    name = "openai"
    model = "gpt-4o-mini"
    stream_type = "text/event-stream"
    words: ClassVar = {
        "stop": "stop",
        "length": "length",
        "content_filter": "content_filter",
        "tool_calls": "tool_calls",
        "other": "insufficient_stars",
    }
    key_variable = "OPENAI_API_KEY"
    url_variable = "OPENAI_BASE_URL"
    params: ClassVar = ({"seed": 7, "house_rule": "x"}, {"seed": 7, "house_rule": "x"})
    too_long = "This model's maximum context length is 128000 tokens. However, your messages resulted in 210000 tokens."

    def base_url(self, origin: str) -> str:
        return f"{origin}/v1"

    def question(self, prompt: str, *, stream: bool = False, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        body = {"model": self.model, "messages": turns(prompt), **more}
        return "/v1/chat/completions", body | ({"max_completion_tokens": limit} if limit else {})

    def told(self, events: list[dict[str, Any]]) -> Told:
        choices = [choice for event in events for choice in event["choices"]]
        said = [choice.get("message") or choice["delta"] for choice in choices]
        text, usage = "".join(each.get("content", "") for each in said), events[-1]["usage"]
        return Told(text, usage["prompt_tokens"], usage["completion_tokens"], choices[-1]["finish_reason"])

    def speaks(self, path: str) -> bool:
        return path == "/v1/chat/completions"

    def streamed(self, request: Request) -> bool:
        return request.json.get("stream") is True

    def id_header(self, answer: Answer) -> dict[str, str]:
        return {"x-request-id": answer.id}

    def known(self, tokens: Tokens) -> Tokens:
        return only(tokens, "input", "output", "cache_read", "cache_write", "reasoning")

    def asked(self, request: Request) -> Asked:
        body = request.json
        said = [(turn["role"], blocks(turn["content"])) for turn in body["messages"]]
        system = [text for role, text in said if role in {"system", "developer"}]
        messages = [turn for turn in said if turn[0] in {"user", "assistant"}]
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        warmth, seed = body.get("temperature"), body.get("seed")
        return Asked(body["model"], "\n".join(system) or None, messages, limit, warmth, key, seed)

    def plain(self, answer: Answer, request: Request) -> bytes:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_word(answer)}
        usage = {} if "no_usage" in answer.quirks else {"usage": self._usage(answer)}
        return dump({**self._frame(answer, request, "chat.completion"), "choices": [choice], **usage})

    def events(self, answer: Answer, request: Request) -> Iterator[Event]:
        pieces = answer.pieces
        if "text_first" in answer.quirks:
            yield self._chunk(answer, request, {"role": "assistant", "content": pieces[0]})._replace(is_text=True)
            pieces = pieces[1:]
        else:
            yield self._chunk(answer, request, {"role": "assistant", "content": ""})
        if "pings" in answer.quirks:
            yield Event(b": keep-alive\n\n")
        if "thinks" in answer.quirks:
            yield self._chunk(answer, request, {"content": None, "reasoning_content": THOUGHT})
        for piece in pieces:
            yield self._chunk(answer, request, {"content": piece})._replace(is_text=True)
        yield from self._closing(answer, request)

    def _closing(self, answer: Answer, request: Request) -> Iterator[Event]:
        wanted = (request.json.get("stream_options") or {}).get("include_usage") is True
        wanted = wanted and "no_usage" not in answer.quirks
        on_finish = wanted and "usage_on_finish" in answer.quirks
        usage = {"usage": self._usage(answer)}
        yield self._chunk(answer, request, {}, self.finish_word(answer), **(usage if on_finish else {}))
        if wanted and not on_finish:
            empty = [{"index": 0, "delta": {}}] if "usage_in_choice" in answer.quirks else []
            yield Event(sse({**self._frame(answer, request, "chat.completion.chunk"), "choices": empty, **usage}))
        if "no_done" not in answer.quirks:
            yield Event(b"data: [DONE]\n\n")

    def error(self, status: int, message: str) -> bytes:
        return dump({"error": self._error(status, message)})

    def error_event(self, message: str) -> bytes:
        return sse({"error": self._error(500, message)})

    def _error(self, status: int, message: str) -> dict[str, Any]:
        kind = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}.get(status)
        return {
            "message": message,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "param": None,
            "code": "context_length_exceeded" if "context length" in message else kind,
        }

    def _chunk(
        self, answer: Answer, request: Request, delta: dict[str, Any], finish: str | None = None, **usage: object
    ) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return Event(sse({**self._frame(answer, request, "chat.completion.chunk"), "choices": [choice], **usage}))

    def _frame(self, answer: Answer, request: Request, kind: str) -> dict[str, Any]:
        model = answer.model or request.json["model"]
        return {"id": "chatcmpl-1", "object": kind, "created": 1790000000, "model": model}

    def _usage(self, answer: Answer) -> dict[str, Any]:
        told = answer.tokens
        return {
            "prompt_tokens": told.input,
            "completion_tokens": told.output,
            "total_tokens": told.input + told.output,
            "prompt_tokens_details": without(
                {"cached_tokens": told.cache_read, "cache_write_tokens": told.cache_write}, cache_write_tokens=0
            ),
            "completion_tokens_details": {"reasoning_tokens": told.reasoning},
        }
