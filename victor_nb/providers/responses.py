"""OpenAI's Responses API, which its largest models have instead of Chat Completions, through the same SDK."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Final, cast

import httpx2
from openai import AsyncStream

from victor_nb.media import split
from victor_nb.providers.http import events, fails, finish, given, items, no_answer, number, parse, read, text
from victor_nb.providers.openai import LITELLM_COST, OpenAI, stated_cost, worded
from victor_nb.providers.refusals import StatusError, words_of
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from victor_nb.values import ChatRequest, Message

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_DONE: Final = {"response.output_text.done": "text", "response.refusal.done": "refusal"}
_MAY_PASS: Final = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})
"""Codes of failures that another attempt may not meet; all others are of the request."""
_PENDING: Final = frozenset({"queued", "in_progress", "cancelled"})


class Responses(OpenAI):
    """The Responses API; OpenAI keeps nothing of what is asked and answered unless `params` say `store: true`."""

    path: ClassVar[bytes] = b"responses"

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        raw = await self._sdk.post(self._url, cast_to=httpx2.Response, body=self._body(request), options=self._plain)
        response = parse(raw.content)
        if not isinstance(response.get("output"), list) and not response.get("error"):
            raise no_answer(response, raw.headers, "output")
        return self._ending(response, raw, said=_said(response))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""
        # The SDK sees to authentication and refusals; the events are read here, as it has no end of types for them.
        asking = self._sdk.post(
            self._url,
            cast_to=httpx2.Response,
            body={**self._body(request), "stream": True},
            options={"timeout": self.read_timeout},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        raw, refused, begun, heard = cast("httpx2.Response", await asking), False, False, False
        async with aclosing(events(raw, sse=True, check=False)) as found:
            async for event in found:
                kind = event.get("type")
                refused = refused or kind in {"response.refusal.delta", "response.refusal.done"}
                if kind in {"response.output_text.delta", "response.refusal.delta"}:
                    begun = heard = True
                    yield Delta(text(event.get("delta")) or "")
                elif isinstance(kind, str) and kind in _DONE:  # of a part; some servers state its text here only
                    said, heard = "" if heard else text(event.get(_DONE[kind])) or "", False
                    begun = begun or bool(said)
                    yield Delta(said)
                elif kind in _ENDS:
                    response = event.get("response")  # some servers state the text in it only
                    yield self._ending(response, raw, said="" if begun else _said(response), refused=refused)
                elif read(event, "item", "type") == "reasoning" or str(kind).startswith("response.reasoning"):
                    yield Delta(thinking=kind != "response.output_item.done")
                elif kind == "error" or event.get("error"):
                    raise StatusError(raw.status_code, raw.headers, _failure(event.get("error") or event))

    def _body(self, request: ChatRequest) -> dict[str, object]:
        turns = [_turn(turn) for turn in request.messages]
        options = given(
            instructions=request.system, max_output_tokens=request.max_tokens, temperature=request.temperature
        )
        if request.effort:
            options["reasoning"] = {"effort": request.effort}
        if request.tier or request.prompt_cache:
            options |= worded(request, self.endpoint.spec)
        body = {"model": request.model, "input": turns, "store": False, **options, **request.params}
        if (schema := request.schema) is not None and schema.kind != "prompt":
            form: dict[str, object] = {
                "type": "json_schema",
                "name": schema.name,
                "schema": schema.schema,
                "strict": True,
            }
            own = cast("dict[str, object]", request.params.get("text") or {})
            form = form if schema.kind == "schema" else {"type": "json_object"}
            return body | {"text": {"format": form, **own}}
        return body

    def _ending(self, response: object, raw: httpx2.Response, *, said: str, refused: bool = False) -> Delta:
        """Read a response that has ended, as `said` has its text.

        Raises:
            StatusError: It has failed.
            ValueError: It has not ended.
        """
        status, output = read(response, "status"), items(response, "output")
        if status == "failed" or fails(read(response, "error")):
            raise StatusError(raw.status_code, raw.headers, {"error": _failure(read(response, "error"))})
        if status in _PENDING:
            raise ValueError(f"the response is {status}. Leave background out of params")
        reason, word = "stop" if status == "completed" else None, read(response, "incomplete_details", "reason")
        if status == "incomplete":
            reason = finish(word) or "other"
        elif refused or any(read(part, "type") == "refusal" for item in output for part in items(item, "content")):
            reason = "content_filter"
        elif reason and any(read(item, "type") in {"function_call", "custom_tool_call"} for item in output):
            reason = "tool_calls"
        return Delta(
            text=said,
            usage=_usage(response),
            finish_reason=reason,
            model_served=text(read(response, "model")),
            request_id=raw.headers.get("x-request-id"),
            reported_cost=stated_cost(read(response, "usage"), self._stating, by_proxy=raw.headers.get(LITELLM_COST)),
            service_tier=text(read(response, "service_tier")),
            finish_word=text(word),
        )


def _turn(turn: Message) -> dict[str, object]:
    """Return a turn; an answer is marked as one by its parts, as llama.cpp's server demands."""
    if turn.role == "assistant":
        return {"type": "message", "role": turn.role, "content": [{"type": "output_text", "text": turn.content}]}
    return {"role": turn.role, "content": _parts(turn) if turn.media else turn.content}


def _parts(turn: Message) -> list[dict[str, object]]:
    """Return the parts of a turn with images or PDFs."""
    parts: list[dict[str, object]] = []
    for part in split(turn.content, turn.media):
        if isinstance(part, str):
            parts.append({"type": "input_text", "text": part})
        elif part.kind == "pdf":
            parts.append({"type": "input_file", "filename": "document.pdf", "file_data": part.url})
        else:
            parts.append({"type": "input_image", "image_url": part.url, "detail": "auto"})
    return parts


def _said(response: object) -> str:
    """Return the text of a response's messages, a refusal's too; reasoning and calls of tools have none."""
    parts = [part for item in items(response, "output") for part in items(item, "content")]
    texts = {"output_text": "text", "refusal": "refusal"}
    return "".join(text(read(part, texts.get(str(read(part, "type")), ""))) or "" for part in parts)


def _failure(error: object) -> dict[str, object]:
    """Return an error as other protocols state it: a code that is not known to pass is of the request."""
    code, kind = read(error, "code"), text(read(error, "type"))
    if code is not None:
        kind = code if code in _MAY_PASS else "invalid_request_error"
    message = words_of(error) or str(code or "no reason given")
    return {"type": kind if kind not in {None, "error"} else "api_error", "code": code, "message": message}


def _usage(response: object) -> Usage | None:
    """Read usage, whose parts are inside the totals; searches of the web are counted beside it, or among the output."""
    raw = read(response, "usage")
    if raw is None:
        return None
    calls = [item for item in items(response, "output") if read(item, "type") == "web_search_call"]
    searches = sum(read(call, "action", "type") in {None, "search"} for call in calls)
    if read(response, "tool_usage", "web_search") is not None:  # what is charged: some searches are not
        searches = number(response, "tool_usage", "web_search", "num_requests")
    prompt, cached = number(raw, "input_tokens"), number(raw, "input_tokens_details", "cached_tokens")
    written = number(raw, "input_tokens_details", "cache_write_tokens")
    return Usage(
        input_tokens=prompt if cached + written <= prompt else prompt + cached + written,
        output_tokens=number(raw, "output_tokens"),
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=number(raw, "output_tokens_details", "reasoning_tokens"),
        web_searches=searches,
    )
