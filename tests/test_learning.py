"""What a host refuses, learnt from its refusal: sent otherwise at once, noted, remembered, and in the row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from servers import ANTHROPIC, OPENAI, Answer, Request, Server, Tokens, faults
from victor_nb import Agent, VictorWarning, errors, session
from workbench import Bench, ask, fail, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.exchange import Act

pytest_plugins = ["workbench_fixtures"]
only_openai = pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
only_streams = pytest.mark.parametrize("way", ["stream"])


def extra(*place: str) -> Act:
    """Refuse a field of the request with a 422, in Mistral's words."""
    detail = [{"type": "extra_forbidden", "loc": ["body", *place], "msg": "Extra inputs are not permitted", "input": 1}]
    refusal = {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error"}
    return faults.status(422, body=json.dumps(refusal).encode())


def without(*fields: str, act: Callable[[], Act] = Answer) -> Callable[[Request], Act]:
    """Refuse requests that hold any of these fields, and answer all others."""

    def choose(request: Request) -> Act:
        return next((extra(field) for field in fields if field in request.json), act())

    return choose


def sent(server: Server, field: str) -> list[object]:
    return [request.json.get(field) for request in server.requests]


@only_openai
@only_streams
async def test_when_stream_options_are_refused_then_the_stream_comes_without(bench: Bench) -> None:
    bench.server.answer = without("stream_options")
    agent = await bench.agent()
    first, second = await bench.ask(agent), await bench.ask(agent)
    assert (first.content, first.status, first.attempts) == (Answer().text, "ok", 2)
    assert (second.content, second.attempts) == (Answer().text, 1)
    assert sent(bench.server, "stream_options") == [{"include_usage": True}, None, None]
    host = bench.server.url.removeprefix("http://")
    assert [note for note in first.notes if "stream_options" in note and host in note]
    assert not [note for note in second.notes if "stream_options" in note], "it is said once"
    for reply in (first, second):
        assert "tokens estimated: the provider reported none" in reply.notes
        assert reply.cost is None
    assert [(row["status"], row["tags"].get("stream_options")) for row in rows()] == [
        ("error", None),
        ("ok", "not sent"),
        ("ok", "not sent"),
    ]


@only_openai
@pytest.mark.parametrize(
    ("model", "first", "second"),
    [("gpt-4o-mini", "max_completion_tokens", "max_tokens"), ("house-llama", "max_tokens", "max_completion_tokens")],
)
async def test_when_the_name_of_the_limit_is_refused_then_the_other_is_sent(
    bench: Bench, model: str, first: str, second: str
) -> None:
    bench.server.answer = without(first)
    agent = await bench.agent(max_tokens=50, model=model)
    replies = [await bench.ask(agent), await bench.ask(agent)]
    assert [reply.attempts for reply in replies] == [2, 1]
    assert sent(bench.server, first) == [50, None, None]
    assert sent(bench.server, second) == [None, 50, 50]
    assert [note for note in replies[0].notes if f"max_tokens sent as {second}" in note]
    assert replies[1].notes == ()
    assert [row["tags"].get("max_tokens") for row in rows()] == [None, f"sent as {second}", f"sent as {second}"]


@only_openai
@only_streams
async def test_when_several_things_are_refused_then_each_is_learnt_in_one_call(bench: Bench) -> None:
    bench.server.answer = without("max_completion_tokens", "stream_options")
    agent = await bench.agent(max_tokens=50)
    reply = await bench.ask(agent)
    assert (reply.content, reply.attempts) == (Answer().text, 3)
    assert (await bench.ask(agent)).attempts == 1
    host = bench.server.url.removeprefix("http://")
    learned = {("max_tokens", "max_tokens"), ("stream_options", None)}
    assert {(name, instead) for (*place, name), instead in session().runtime.learned.items()} == learned
    assert {tuple(place) for *place, _ in session().runtime.learned} == {(host, bench.dialect.model)}


@only_openai
async def test_when_a_host_has_refused_then_other_agents_know_it_and_other_hosts_are_asked_anew(bench: Bench) -> None:
    bench.server.answer = without("max_completion_tokens")
    assert (await bench.ask(await bench.agent(max_tokens=50))).attempts == 2
    with Server(Answer()) as elsewhere:
        for url, name in ((bench.server.url, "max_tokens"), (elsewhere.url, "max_completion_tokens")):
            agent = await Agent.create(provider="openai", model="gpt-4o-mini", base_url=f"{url}/v1", max_tokens=50)
            reply = await ask(agent, "How many?", bench.way)
            await agent.close()
            assert reply.attempts == 1
            server = elsewhere if url == elsewhere.url else bench.server
            assert server.requests[-1].json[name] == 50
    agent = await bench.agent(max_tokens=50, model="gpt-4o")
    assert (await bench.ask(agent)).attempts == 2, "another model may take it"


@only_openai
@pytest.mark.parametrize(
    "message",
    [
        "max_completion_tokens is too large: 50000. This model supports at most 16384 completion tokens.",
        "Invalid 'max_completion_tokens': must be at least 1.",
        "Invalid 'max_completion_tokens': integer below minimum value. Expected a value >= 16, but got 5 instead.",
        "max_completion_tokens is too small.",
        "Something else is wrong.",
    ],
)
async def test_when_the_value_is_refused_then_nothing_is_learnt(bench: Bench, message: str) -> None:
    error = await bench.failure(faults.status(400, message), max_tokens=50)
    assert isinstance(error, errors.BadRequestError)
    assert len(bench.server.requests) == 1
    assert session().runtime.learned == {}


@only_openai
async def test_when_the_other_way_is_refused_too_then_that_error_is_raised_and_nothing_is_learnt(bench: Bench) -> None:
    bench.server.answer = without("max_completion_tokens", "max_tokens")
    error = await fail(bench.ask(await bench.agent(max_tokens=50)))
    assert "body.max_tokens: Extra inputs are not permitted" in " ".join(str(error).split()).replace("max_tokens.", "")
    assert len(bench.server.requests) == 2
    assert session().runtime.learned == {}


@only_openai
async def test_when_a_limit_stands_in_params_then_none_of_ours_is_sent_beside_it(bench: Bench) -> None:
    bench.play(Answer())
    for name in ("max_tokens", "max_completion_tokens"):
        await bench.ask(await bench.agent(max_tokens=50, params={name: 7}))
        assert {key: bench.body[key] for key in bench.body if key.startswith("max_")} == {name: 7}


@only_openai
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "max_completion_tokens"),
        ("openai/gpt-5", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("gpt-oss-20b", "max_tokens"),
        ("deepseek-chat", "max_tokens"),
        ("mistral-small-latest", "max_tokens"),
        ("olmo-2", "max_tokens"),
    ],
)
async def test_when_a_server_is_asked_then_the_limit_has_the_name_that_its_models_obey(
    bench: Bench, model: str, name: str
) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent(max_tokens=50, model=model))
    assert {key: bench.body[key] for key in bench.body if key.startswith("max_")} == {name: 50}


@only_openai
async def test_when_a_server_ignores_the_limit_then_that_is_said_and_its_other_name_is_sent(bench: Bench) -> None:
    def obey(request: Request) -> Act:
        return Answer(tokens=Tokens(input=10, output=min(900, request.json.get("max_tokens") or 900)))

    bench.server.answer = obey
    agent = await bench.agent(max_tokens=50)
    first, second = await bench.ask(agent), await bench.ask(agent)
    assert first.notes == ("the server ignores the limit: 900 tokens came, 50 were allowed",)
    assert (first.attempts, second.attempts, second.notes, second.usage.output_tokens) == (1, 1, (), 50)
    assert sent(bench.server, "max_tokens") == [None, 50]


@pytest.mark.parametrize("tokens", [Tokens(input=10, output=50), Tokens(input=10, output=90, reasoning=40)])
async def test_when_the_limit_is_kept_then_nothing_is_said(bench: Bench, tokens: Tokens) -> None:
    bench.play(Answer(tokens=bench.dialect.known(tokens)))
    if bench.dialect.known(tokens) == tokens or tokens.reasoning == 0:
        assert (await bench.ask(await bench.agent(max_tokens=50))).notes == ()
        assert session().runtime.learned == {}


@only_openai
async def test_when_a_refusal_is_learnt_from_then_no_retry_is_used_up(bench: Bench) -> None:
    calls = iter([extra("max_completion_tokens"), faults.status(503, retry_after="0"), Answer(), Answer()])
    bench.server.answer = lambda _: next(calls)
    agent = await bench.agent(max_tokens=50, retries=1)
    assert (await bench.ask(agent)).attempts == 3
    assert sent(bench.server, "max_tokens") == [None, 50, 50]
    await bench.ask(agent)
    assert sent(bench.server, "max_tokens")[-1] == 50


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
async def test_when_a_protocol_has_one_way_only_then_its_refusal_is_the_error(bench: Bench) -> None:
    error = await bench.failure(extra("max_tokens"))
    bench.check(error, errors.BadRequestError, 422)
    assert len(bench.server.requests) == 1


@only_openai
async def test_when_what_was_learnt_is_refused_then_it_is_unlearnt(bench: Bench) -> None:
    def floor(request: Request) -> Act:
        if "max_tokens" in request.json:
            return faults.status(400, "'max_tokens' is not supported with this model. Use 'max_completion_tokens'.")
        return Answer(tokens=Tokens(input=10, output=max(16, request.json["max_completion_tokens"])))

    bench.server.answer = floor
    agent = await bench.agent(max_tokens=5)
    attempts = [(await bench.ask(agent)).attempts for _ in range(3)]
    assert attempts == [1, 2, 1]


RANGES = [
    "temperature must be between 0 and 1",
    "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
    "temperature: range: 0..1",
]


@only_openai
@pytest.mark.parametrize("words", RANGES)
async def test_when_a_temperature_is_only_too_high_then_it_is_refused_and_lower_ones_are_sent(
    bench: Bench, words: str
) -> None:
    hot = faults.status(400, words)
    bench.server.answer = lambda request: hot if request.json["temperature"] > 1 else Answer()
    error = await fail(bench.ask(agent := await bench.agent(temperature=0.3), temperature=1.5))
    assert words.rstrip(".") in str(error)
    assert (await bench.ask(agent)).attempts == 1
    assert sent(bench.server, "temperature") == [1.5, 0.3]


@only_openai
async def test_when_a_refusal_lists_what_is_taken_then_only_what_it_refuses_is_learnt(bench: Bench) -> None:
    listing = faults.status(400, "Unknown field: temperature. Allowed: max_completion_tokens, stream_options, stream")
    bench.server.answer = lambda request: listing if "temperature" in request.json else Answer()
    agent = await bench.agent(max_tokens=50, temperature=0.3)
    with pytest.warns(VictorWarning, match="refuses temperature=0.3"):
        assert (await bench.ask(agent)).attempts == 2
    assert [feature for *_, feature in session().runtime.learned] == ["temperature"]


@only_openai
async def test_when_a_refusal_mentions_a_name_by_chance_then_nothing_is_claimed(bench: Bench) -> None:
    echo = faults.status(400, "Invalid content: 'What is the temperature of the sun?'")
    await bench.failure(echo, echo, temperature=0.3)
    assert session().runtime.learned == {}
