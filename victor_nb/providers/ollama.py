"""Ollama over plain httpx2: `/api/chat`, one JSON object or one a line."""

from __future__ import annotations

from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast

from victor_nb.media import split
from victor_nb.providers.http import PlainProvider, events, finish, given, no_answer, number, read, text
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import httpx2

    from victor_nb.values import ChatRequest, Message

_TOP_LEVEL: Final = {"format", "keep_alive", "think", "tools", "template", "logprobs", "top_logprobs"}
"""Params that are sent beside `options`; all others go into it."""


class Ollama(PlainProvider):
    """An Ollama server: no key, no price."""

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """A key only where a profile names one, for a server behind a gateway."""
        return {"authorization": f"Bearer {self.endpoint.key.reveal()}"} if self.endpoint.key else {}

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        answer, headers = await self.post("/api/chat", _body(request, stream=False))
        if not isinstance(answer.get("message"), dict):
            raise no_answer(answer, headers, "message")
        return _delta({**answer, "done": True}, headers)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""
        body = _body(request, stream=True)
        async with self.open("/api/chat", body) as response, aclosing(events(response)) as found:
            async for event in found:
                yield _delta(event, response.headers)


def _body(request: ChatRequest, *, stream: bool) -> dict[str, object]:
    params = dict(request.params)
    options = cast("dict[str, object]", params.pop("options", {}))
    options = options | {name: value for name, value in params.items() if name not in _TOP_LEVEL}
    options |= given(num_predict=request.max_tokens, temperature=request.temperature, seed=request.seed)
    system = [{"role": "system", "content": request.system}] if request.system is not None else []
    turns = [_turn(turn) if turn.media else {"role": turn.role, "content": turn.content} for turn in request.messages]
    body: dict[str, object] = {"model": request.model, "messages": [*system, *turns], "stream": stream}
    if options:
        body["options"] = options
    if request.effort is not None:
        body["think"] = request.effort != "none" and request.effort
    if (schema := request.schema) is not None and schema.kind != "prompt":
        body["format"] = schema.schema if schema.kind == "schema" else "json"
    return body | {name: value for name, value in params.items() if name in _TOP_LEVEL}


def _turn(turn: Message) -> dict[str, object]:
    """Return a turn; its images go into a field of their own."""
    parts = split(turn.content, turn.media)
    text = "\n".join(part for part in parts if isinstance(part, str))
    return {"role": turn.role, "content": text, "images": [part.base64 for part in parts if not isinstance(part, str)]}


def _delta(event: Mapping[str, object], headers: httpx2.Headers) -> Delta:
    """Read one answer, or one line of a stream; counts are on the last line, the one with `done`."""
    done = event.get("done") is True
    word = event.get("done_reason")
    reason = finish(word) or "stop"
    return Delta(
        text=text(read(event, "message", "content")) or "",
        usage=_usage(event) if done else None,
        finish_reason=reason if done else None,
        model_served=text(event.get("model")),
        request_id=headers.get("x-request-id"),
        finish_word=text(word),
        thinking=bool(read(event, "message", "thinking")) and not done,
    )


def _usage(event: Mapping[str, object]) -> Usage:
    """Read the counts; `prompt_eval_count` may be absent when the prompt was still in memory."""
    return Usage(number(event, "prompt_eval_count"), number(event, "eval_count"))
