"""Ollama's chat API: github.com/ollama/ollama/blob/main/docs/api.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from servers.dialects.base import THOUGHT, Asked, Dialect, Event, Told, dump, only, turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.answers import Answer, Tokens
    from servers.exchange import Request


class Ollama(Dialect):
    """POST /api/chat; GET /api/tags."""

    name = "ollama"
    model = "qwen2.5-coder:7b"
    stream_type = "application/x-ndjson"
    words: ClassVar = {"stop": "stop", "length": "length", "other": "unload"}
    key_variable = ""
    url_variable = "OLLAMA_HOST"
    free = True
    params: ClassVar = ({"seed": 7, "keep_alive": "5m"}, {"options": {"seed": 7}, "keep_alive": "5m"})
    too_long = "the input length exceeds the context length"

    def question(self, prompt: str, *, stream: bool = False, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        body = {"model": self.model, "messages": turns(prompt), "stream": stream}
        return "/api/chat", body | ({"options": {"num_predict": limit}} if limit else {})

    def told(self, events: list[dict[str, Any]]) -> Told:
        text = "".join(event["message"]["content"] for event in events)
        assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
        return Told(text, events[-1]["prompt_eval_count"], events[-1]["eval_count"], events[-1]["done_reason"])

    def speaks(self, path: str) -> bool:
        return path == "/api/chat"

    def streamed(self, request: Request) -> bool:
        return request.json.get("stream", True) is True

    def known(self, tokens: Tokens) -> Tokens:
        return only(tokens, "input", "output")

    def asked(self, request: Request) -> Asked:
        body = request.json
        said = [(turn["role"], turn["content"]) for turn in body["messages"]]
        system = [text for role, text in said if role == "system"]
        messages = [turn for turn in said if turn[0] != "system"]
        options = body.get("options", {})
        limit, warmth = options.get("num_predict"), options.get("temperature")
        key, seed = request.headers.get("authorization"), options.get("seed")
        return Asked(body["model"], "\n".join(system) or None, messages, limit, warmth, key, seed)

    def plain(self, answer: Answer, request: Request) -> bytes:
        thought = {"thinking": THOUGHT} if "thinks" in answer.quirks else {}
        return dump(self._line(answer, request, answer.text, **thought) | self._done(answer))

    def events(self, answer: Answer, request: Request) -> Iterator[Event]:
        if "thinks" in answer.quirks:
            yield Event(dump(self._line(answer, request, "", thinking=THOUGHT)) + b"\n")
        for piece in answer.pieces:
            yield Event(dump(self._line(answer, request, piece)) + b"\n", is_text=True)
        yield Event(dump(self._line(answer, request, "") | self._done(answer)) + b"\n")

    def error(self, status: int, message: str) -> bytes:
        return dump({"error": message})

    def error_event(self, message: str) -> bytes:
        return dump({"error": message}) + b"\n"

    def tags(self, *models: str) -> bytes:
        """Return what GET /api/tags says of the models that were pulled."""
        return dump({"models": [{"name": model, "model": model, "size": 4_700_000_000} for model in models]})

    def _line(self, answer: Answer, request: Request, text: str, **more: str) -> dict[str, Any]:
        model = answer.model or request.json["model"]
        message = {"role": "assistant", "content": text, **more}
        return {"model": model, "created_at": "2026-11-22T10:00:00.000000Z", "message": message, "done": False}

    def _done(self, answer: Answer) -> dict[str, Any]:
        told = answer.tokens
        counts = {"prompt_eval_count": told.input, "eval_count": told.output}
        times = {"total_duration": 9_000_000, "load_duration": 1_000_000}
        times |= {"prompt_eval_duration": 2_000_000, "eval_duration": 6_000_000}
        word = self.finish_word(answer)
        return {"done": True, "done_reason": word, **times, **({} if "no_usage" in answer.quirks else counts)}
