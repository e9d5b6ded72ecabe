"""OpenAI's Responses API: which models are asked there, and how its answers end."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from servers import OPENAI, RESPONSES, Answer, Tokens, faults
from simulated import chat, run
from victor_nb import session
from victor_nb.errors import (
    BadRequestError,
    ConfigError,
    ContentFilterError,
    MalformedAnswerError,
    PartialAnswerError,
    RateLimitError,
    ServerError,
)
from victor_nb.providers.spec import spec_of
from victor_nb.values import Usage
from workbench import Bench, fail, rows, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from servers.exchange import Act, Exchange

pytest_plugins = ["workbench_fixtures"]
pytestmark = pytest.mark.parametrize("dialect", [RESPONSES], ids=repr)

COUNTED = {"input_tokens": 1_000, "output_tokens": 1_000, "total_tokens": 2_000}
ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}


def part(text: str, kind: str = "output_text") -> dict[str, Any]:
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def response(*parts: dict[str, Any], **more: Any) -> Act:
    """Answer with a response of one message; by a stream, its parts come as deltas before it."""

    async def act(exchange: Exchange) -> None:
        body = {"id": "resp_1", "object": "response", "status": "completed", "error": None, "model": "gpt-5-pro"}
        body |= {"output": [{**ITEM, "content": list(parts)}], "usage": COUNTED, **more}
        if exchange.request.json.get("stream") is not True:
            await exchange.whole(200, {"content-type": "application/json"}, json.dumps(body).encode())
            return
        events: list[dict[str, Any]] = [
            {"type": f"response.{each['type']}.delta", "delta": each.get("text") or each.get("refusal")}
            for each in parts
        ]
        events.append({"type": f"response.{body['status']}", "response": body})
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        await exchange.whole(200, {"content-type": "text/event-stream"}, "".join(lines).encode())

    return act


ONLY_RESPONSES = """o1-pro o1-pro-2025-03-19 o3-pro o3-pro-2025-06-10 gpt-5-pro gpt-5-pro-2025-10-06 gpt-5.2-pro
gpt-5.5-pro gpt-5.5-pro-2026-04-23 o3-deep-research o4-mini-deep-research-2025-06-26 computer-use-preview gpt-5-codex
gpt-5.1-codex-max gpt-5.3-codex codex-mini-latest gpt-6-cyber gpt-daybreak-blue-latest gpt-rosalind-research
gpt-6-rosalind gpt-6.2-astra-law""".split()
BOTH = """gpt-5 gpt-5-mini gpt-5.1 gpt-5.5-2026-04-23 gpt-4o gpt-4o-mini o1 o3 o3-mini o4-mini gpt-6-astra
gpt-5-chat-latest openai/o1-pro deepseek-pro llama-3.1-pro house-model""".split()


def test_when_a_model_has_one_api_only_then_it_is_asked_there(dialect: object) -> None:
    assert dialect
    spec = spec_of("openai")
    assert {spec.api_of(model, None) for model in ONLY_RESPONSES} == {"responses"}
    assert {spec.api_of(model, None) for model in BOTH} == {"chat"}


def test_when_the_sdk_knows_models_without_chat_then_they_are_all_asked_by_responses(dialect: object) -> None:
    assert dialect
    from typing import get_args

    from openai.types.shared import ChatModel, ResponsesModel

    listed = {name for each in get_args(ResponsesModel) for name in get_args(each)} - set(get_args(ChatModel))
    spec = spec_of("openai")
    assert len(listed) > 20
    assert [name for name in listed if spec.api_of(name, None) != "responses"] == []


async def test_when_a_profile_names_an_api_then_it_is_that(bench: Bench) -> None:
    bench.play(Answer())
    for api, model in (("responses", "gpt-4.1-nano"), ("chat", "gpt-5-pro"), (None, "gpt-4.1-nano")):
        assert (await bench.ask(await bench.agent(api=api, model=model))).content == Answer().text
    paths = [request.path for request in bench.server.requests]
    assert paths == ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]


@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_provider_has_no_such_api_then_that_is_said_before_anything_is_sent(bench: Bench) -> None:
    error = await fail(bench.agent(api="responses", provider="anthropic", model="claude-haiku-4-5"))
    assert isinstance(error, ConfigError)
    assert "anthropic has no API called 'responses'. Leave api out" in str(error)
    assert "api: takes chat or responses, not 'answers'" in str(await fail(bench.agent(api="answers")))


@pytest.mark.parametrize("status", [400, 404])
async def test_when_a_model_turns_out_to_have_the_other_api_only_then_the_error_names_it(
    bench: Bench, status: int
) -> None:
    words = "This model is only supported in v1/responses and not in v1/chat/completions."
    bench.play(faults.status(status, words))
    error = await bench.fail(await bench.agent(model="gpt-7-nova"))
    assert str(error).endswith(f"{words} Write api: responses in its profile.")
    bench.play(faults.status(404, "Not Found"))
    error = await bench.fail(await bench.agent())
    assert str(error).endswith("if this server has no Responses API, write api: chat in the profile.")


async def test_when_params_ask_otherwise_then_openai_keeps_the_exchange(bench: Bench) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    await bench.ask(await bench.agent(params={"store": True, "reasoning": {"effort": "high"}}))
    assert [request.json["store"] for request in bench.server.requests] == [False, True]
    assert bench.body["reasoning"] == {"effort": "high"}
    refused = await bench.fail(await bench.agent(params={"input": "another"}))
    assert "params cannot set 'input'" in str(refused)


async def test_when_a_chat_model_is_asked_by_responses_then_a_seed_is_refused(bench: Bench) -> None:
    error = await bench.fail(await bench.agent(api="responses", model="gpt-4.1-nano"), seed=7)
    assert isinstance(error, BadRequestError)
    assert "takes no seed" in str(error)
    assert bench.server.requests == []


async def test_when_usage_tells_all_parts_then_they_are_in_the_reply_and_its_price(bench: Bench) -> None:
    tokens = Tokens(input=10_000, output=2_000, cache_read=4_000, reasoning=1_500)
    bench.play(Answer(tokens=tokens))
    reply = await bench.ask(await bench.agent(model="gpt-5-codex", api="responses", prices={"input": 1, "output": 10}))
    assert reply.usage == Usage(10_000, 2_000, cache_read_tokens=4_000, reasoning_tokens=1_500)
    assert reply.cost == Decimal("0.03")


@pytest.mark.parametrize(
    ("more", "searches"),
    [
        ({"tool_usage": {"web_search": {"num_requests": 3}}}, 3),
        ({"tool_usage": {"web_search": {"num_requests": 0}}}, 0),
        ({}, 1),
    ],
)
async def test_when_it_searched_the_web_then_each_search_is_counted(
    bench: Bench, more: dict[str, Any], searches: int
) -> None:
    found = {"type": "web_search_call", "action": {"type": "search", "query": "rivers"}}
    opened = {"type": "web_search_call", "action": {"type": "open_page", "url": "https://rivers.example"}}
    output = [found, opened, {**ITEM, "content": [part("The Rhine.")]}]
    bench.play(response(part("The Rhine."), output=output, **more))
    reply = await bench.ask(await bench.agent())
    assert (reply.content, reply.usage.web_searches) == ("The Rhine.", searches)


async def test_when_a_host_states_the_cost_then_it_beats_the_list(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", bench.server.url)
    monkeypatch.setenv("VICTOR_TRUST", "openrouter.ai")  # the host without TLS is a host like others
    bench.play(response(part("Yes."), usage={**COUNTED, "cost": 0.018}))
    reply = await bench.ask(await bench.agent(base_url="http://openrouter.ai/api/v1", api_key_env="OPENAI_API_KEY"))
    assert (reply.cost, rows()[0]["cost_source"]) == (Decimal("0.018"), "reported")
    reply = await bench.ask(await bench.agent())
    assert rows()[1]["cost_source"] == "computed"
    assert reply.cost != Decimal("0.018")


@pytest.mark.parametrize("way", ["stream"])
async def test_when_only_the_end_of_a_stream_states_the_text_then_it_is_the_answer(bench: Bench) -> None:
    output = [{**ITEM, "content": [part("All at once.")]}]
    bench.play(response(output=output))
    reply = await bench.ask(await bench.agent())
    assert (reply.content, reply.status, reply.finish_reason) == ("All at once.", "ok", "stop")


async def test_when_a_tier_served_then_it_is_in_the_row(bench: Bench) -> None:
    bench.play(response(part("Yes."), service_tier="flex"))
    await bench.ask(await bench.agent(params={"service_tier": "flex"}))
    assert rows()[0]["service_tier"] == "flex"


async def test_when_a_model_refuses_then_its_words_are_the_reply_and_the_reason_says_so(bench: Bench) -> None:
    bench.play(response(part("I will not.", "refusal")))
    reply = await bench.ask(await bench.agent())
    assert (reply.content, reply.finish_reason, reply.status) == ("I will not.", "content_filter", "ok")


async def test_when_thinking_takes_all_tokens_then_the_reply_says_so(bench: Bench) -> None:
    bench.play(response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}, output=[]))
    reply = await bench.ask(await bench.agent(max_tokens=16))
    assert (reply.content, reply.finish_reason) == ("", "length")
    assert any("max_tokens was used up" in note for note in reply.notes)
    bench.play(response(status="incomplete", incomplete_details={"reason": "content_filter"}, output=[]))
    assert isinstance(await bench.fail(await bench.agent()), ContentFilterError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("server_error", ServerError), ("rate_limit_exceeded", RateLimitError), ("invalid_prompt", BadRequestError)],
)
async def test_when_a_response_failed_then_it_is_the_error_that_it_names(
    bench: Bench, code: str, kind: type[Exception]
) -> None:
    bench.play(response(status="failed", error={"code": code, "message": "Out of stars."}, output=[], usage=None))
    error = await bench.fail(await bench.agent())
    assert type(error) is kind
    assert "Out of stars" in str(error)
    assert [row["status"] for row in rows()] == ["error"]


ERRORS: list[tuple[object, type[Exception], str]] = [
    ("CUDA out of memory", ServerError, "CUDA out of memory"),
    ({"type": "rate_limit_error", "message": "Slow down."}, RateLimitError, "Slow down"),
    ({"type": "invalid_request_error", "message": "No such model."}, BadRequestError, "No such model"),
    ({"code": 429, "message": "Slow down."}, RateLimitError, "Slow down"),
]


@pytest.mark.parametrize(("stated", "kind", "words"), ERRORS)
async def test_when_a_server_states_an_error_in_another_form_then_it_is_that_error(
    bench: Bench, stated: object, kind: type[Exception], words: str
) -> None:
    data = json.dumps({"error": stated}).encode()
    error = await bench.failure(faults.body(b"data: " + data + b"\n\n" if bench.way == "stream" else data))
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize("way", ["stream"])
async def test_when_only_the_end_of_a_part_states_its_text_then_it_is_read_once(bench: Bench) -> None:
    events = [
        {"type": "response.output_text.delta", "delta": "The "},
        {"type": "response.output_text.delta", "delta": "Rhine. "},
        {"type": "response.output_text.done", "text": "The Rhine. "},
        {"type": "response.output_text.done", "text": "The Elbe."},
        {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": COUNTED}},
    ]
    bench.play(faults.body("".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()))
    assert (await bench.ask(await bench.agent())).content == "The Rhine. The Elbe."


@pytest.mark.parametrize("way", ["stream"])
async def test_when_a_response_fails_after_text_then_what_came_is_kept(bench: Bench) -> None:
    failure = {"code": "server_error", "message": "Out of stars."}
    bench.play(response(part("The "), status="failed", error=failure, output=[], usage=None))
    error = await bench.fail(await bench.agent())
    assert isinstance(error, PartialAnswerError)
    assert error.reply is not None
    assert error.reply.content == "The "


@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_response_is_not_ready_then_it_is_no_answer(bench: Bench) -> None:
    bench.play(response(status="queued", output=[], usage=None))
    error = await bench.fail(await bench.agent(params={"background": True}))
    assert isinstance(error, MalformedAnswerError)
    assert "the response is queued. Leave background out of params" in str(error)


async def test_when_simulated_then_it_is_asked_in_the_same_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: object
) -> None:
    assert dialect
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    write_profiles(tmp_path, pro={"provider": "openai", "model": "o3-pro", "max_tokens": 500})
    reply = await session().pool.get_orchestrator("pro").run("Name 3 rivers.")
    assert reply.usage.reasoning_tokens > 0
    assert (reply.mode, reply.billed) == ("simulate", 0)
    assert reply.cost


def test_when_the_sdk_asks_the_simulator_then_it_reads_its_responses(dialect: object) -> None:
    assert dialect

    async def work() -> None:
        async with chat() as client:
            asked: Any = {"model": "gpt-5-pro", "input": "Name 3 rivers.", "instructions": "Be brief."}
            plain = await client.responses.create(**asked)
            async with client.responses.stream(**asked) as stream:
                pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
                final = await stream.get_final_response()
            with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'seed'"):
                await client.responses.create(**asked, extra_body={"seed": 7})
        assert plain.output_text == final.output_text == "".join(pieces)
        assert plain.usage == final.usage
        assert plain.status == "completed"

    run(work())


@pytest.mark.parametrize("way", ["plain"])
async def test_when_the_same_profile_speaks_chat_then_its_limit_has_the_other_name(bench: Bench) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent(max_tokens=99))
    assert bench.body["max_output_tokens"] == 99
    await bench.ask(await bench.agent(max_tokens=99, api="chat", model=OPENAI.model))
    assert bench.body["max_completion_tokens"] == 99
