"""OpenAI's Responses API: platform.openai.com/docs/api-reference/responses and /responses-streaming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from servers.dialects.base import THOUGHT, Asked, Event, Told, blocks, dump, sse, turns, without
from servers.dialects.openai import OpenAI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.answers import Answer
    from servers.exchange import Request

ITEM = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


class Responses(OpenAI):
    """POST /v1/responses, which some of OpenAI's models have instead of chat completions."""

    model = "gpt-5-pro"
    words: ClassVar = {
        "stop": "completed",
        "length": "max_output_tokens",
        "content_filter": "content_filter",
        "tool_calls": "function_call",
        "other": "max_messages",
    }
    takes_temperature = False
    takes_seed = False
    params: ClassVar = ({"truncation": "auto", "house_rule": "x"}, {"truncation": "auto", "house_rule": "x"})
    too_long = "Your input exceeds the context window of this model. Please adjust your input and try again."

    def __repr__(self) -> str:
        return "responses"

    def question(self, prompt: str, *, stream: bool = False, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        body = {"model": self.model, "input": turns(prompt), "store": False, **({"stream": True} if stream else {})}
        return "/v1/responses", body | ({"max_output_tokens": limit} if limit else {})

    def told(self, events: list[dict[str, Any]]) -> Told:
        last = events[-1]["response"] if "response" in events[-1] else events[-1]
        usage, [message] = last["usage"], [item for item in last["output"] if item["type"] == "message"]
        text = message["content"][0]["text"]
        if len(events) > 1:
            assert text == "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta")
        why = (last["incomplete_details"] or {}).get("reason", last["status"])
        return Told(text, usage["input_tokens"], usage["output_tokens"], why)

    def speaks(self, path: str) -> bool:
        return path == "/v1/responses"

    def asked(self, request: Request) -> Asked:
        body = request.json
        messages = [(turn["role"], blocks(turn["content"])) for turn in body["input"]]
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        limit, warmth = body.get("max_output_tokens"), body.get("temperature")
        return Asked(body["model"], body.get("instructions"), messages, limit, warmth, key, body.get("seed"))

    def plain(self, answer: Answer, request: Request) -> bytes:
        return dump(self._response(answer, request, ended=True))

    def events(self, answer: Answer, request: Request) -> Iterator[Event]:
        begun = self._response(answer, request, ended=False)
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        if "pings" in answer.quirks:
            yield Event(b": keep-alive\n\n")
        if "thinks" in answer.quirks:
            yield self._event("response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, delta=THOUGHT)
        for piece in answer.pieces:
            yield self._event("response.output_text.delta", **ITEM, delta=piece, logprobs=[])._replace(is_text=True)
        yield self._event("response.output_text.done", **ITEM, text=answer.text, logprobs=[])
        ended = self._response(answer, request, ended=True)
        yield self._event(f"response.{ended['status']}", response=ended)
        if "done" in answer.quirks:
            yield Event(b"data: [DONE]\n\n")

    def error_event(self, message: str) -> bytes:
        return self._event("error", code="server_error", message=message, param=None).data

    def _event(self, kind: str, **rest: object) -> Event:
        return Event(sse({"type": kind, "sequence_number": 0, **rest}, kind))

    def _response(self, answer: Answer, request: Request, *, ended: bool) -> dict[str, Any]:
        word = self.finish_word(answer)
        whole = word in {"completed", "function_call"}
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        output: list[dict[str, Any]] = [said] if answer.text else []
        if "thinks" in answer.quirks:
            output.insert(
                0, {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]}
            )
        if word == "function_call":
            output.append({"id": "fc_1", "type": "function_call", "call_id": "c", "name": "count", "arguments": "{}"})
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1790000000,
            "status": ("completed" if whole else "incomplete") if ended else "in_progress",
            "error": None,
            "incomplete_details": None if whole or not ended else {"reason": word},
            "model": answer.model or request.json["model"],
            "output": output if ended else [],
            "usage": self._usage(answer) if ended and "no_usage" not in answer.quirks else None,
        }

    def _usage(self, answer: Answer) -> dict[str, Any]:
        told = answer.tokens
        inside = {"cached_tokens": told.cache_read, "cache_write_tokens": told.cache_write}
        return {
            "input_tokens": told.input,
            "input_tokens_details": without(inside, cache_write_tokens=0),
            "output_tokens": told.output,
            "output_tokens_details": {"reasoning_tokens": told.reasoning},
            "total_tokens": told.input + told.output,
        }
