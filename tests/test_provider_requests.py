"""What every provider is sent: what was asked for, where it was asked for, and nothing more."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from servers import ANTHROPIC, GOOGLE, OLLAMA, OPENAI, PROTOCOLS, RESPONSES, Answer, closed_port, faults
from victor_nb import session
from victor_nb.errors import BadRequestError, ConfigError, PromptError, SecretError, VictorWarning
from victor_nb.notebook.doctor import examine, one_profile
from victor_nb.values import Message
from workbench import Bench, ask, fail, rows

pytest_plugins = ["workbench_fixtures"]


async def test_when_the_address_is_in_the_environment_then_it_is_asked_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(bench.dialect.url_variable, bench.dialect.base_url(bench.server.url))
    bench.play(Answer())
    agent = await bench.agent(base_url=None)
    assert (await bench.ask(agent)).content == Answer().text


@pytest.mark.parametrize("dialect", [OLLAMA], ids=repr)
async def test_when_ollamas_host_has_no_scheme_then_it_is_asked_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", bench.server.url.removeprefix("http://"))
    bench.play(Answer())
    assert (await bench.ask(await bench.agent(base_url=None))).content == Answer().text


@pytest.mark.parametrize("dialect", [OPENAI, OLLAMA], ids=repr)
async def test_when_the_address_holds_a_password_then_the_ledger_s_host_does_not(bench: Bench) -> None:
    bench.play(Answer())
    address = bench.dialect.base_url(bench.server.url)
    agent = await bench.agent(base_url=address.replace("http://", "http://user:hunter2@"))
    await bench.fail(agent) if bench.dialect in (ANTHROPIC, OPENAI, RESPONSES) else await bench.ask(agent)
    [row] = rows()
    assert f"http://{row['host']}" == bench.server.url


async def test_when_an_address_with_a_password_does_not_answer_then_the_error_hides_it(bench: Bench) -> None:
    agent = await bench.agent(base_url=bench.dialect.base_url(f"http://user:hunter2@127.0.0.1:{closed_port()}"))
    error = await bench.fail(agent)
    if bench.dialect is OLLAMA:  # the SDKs send no password beside their key
        assert "cannot be reached at http://[redacted]@127.0.0.1:" in str(error)
    assert "hunter2" not in "".join(traceback.format_exception(error))
    assert "hunter2" not in str(rows())


async def test_when_an_address_holds_a_password_then_no_repr_and_no_table_shows_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = bench.dialect.base_url(f"http://user:hunter2@127.0.0.1:{closed_port()}")
    bench.write(desk=bench.profile(base_url=address))
    profile, asking = session().settings.profile("desk"), session().pool.get_orchestrator("desk")
    [client] = asking.clients.values()
    shown = [repr(profile), repr(asking._request("Hi", {}, stream=False)), repr(client.endpoint)]
    shown += [str(one_profile(session(), "desk")), str(examine(session()))]
    monkeypatch.setenv(bench.dialect.url_variable, address)
    shown.append(repr(session().settings.base_url(profile.model_copy(update={"base_url": None}))))

    assert "hunter2" not in "".join(shown)
    assert "http://[redacted]@127.0.0.1" in shown[0]
    assert profile.base_url == address


async def test_when_an_address_with_a_password_is_refused_then_the_error_hides_it(bench: Bench) -> None:
    assert "hunter2" not in str(await fail(bench.agent(base_url="ftp://user:hunter2@host")))


async def test_when_an_address_holds_a_password_then_it_is_sent_unless_the_key_goes_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.play(Answer())
    address = bench.dialect.base_url(bench.server.url).replace("http://", "http://user:hunter2@")
    if bench.dialect in (ANTHROPIC, OPENAI, RESPONSES):
        error = await bench.fail(await bench.agent(base_url=address))
        assert type(error) is BadRequestError
        assert "the request cannot be written: base_url holds a user and a password" in str(error)
        assert not bench.server.requests
    if bench.dialect in (OPENAI, RESPONSES):
        monkeypatch.delenv("OPENAI_API_KEY")  # a server on this network may be asked without
    elif bench.dialect is ANTHROPIC:
        return
    await bench.ask(await bench.agent(base_url=address))
    assert bench.server.requests[0].headers["authorization"] == "Basic dXNlcjpodW50ZXIy"


async def test_when_asked_then_the_key_travels_where_the_provider_wants_it(bench: Bench, keys: str) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    [request] = bench.server.requests
    assert bench.dialect.asked(request).key == (keys if bench.dialect.key_variable else None)
    assert keys not in request.path
    assert keys not in request.body.decode()


async def test_when_a_profile_names_its_key_then_that_key_is_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "team-key-of-our-own")
    bench.play(Answer())
    await bench.ask(await bench.agent(api_key_env="TEAM_KEY"))
    key = bench.dialect.asked(bench.server.requests[0]).key
    assert key is not None
    assert key.removeprefix("Bearer ") == "team-key-of-our-own"


async def test_when_nothing_more_is_asked_then_nothing_more_is_sent(bench: Bench) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    _, body = bench.dialect.question("How many?", stream=bench.way == "stream")
    assert {"stream": False, **bench.body} == {"stream": False, **body}


async def test_when_a_profile_says_more_then_all_of_it_is_sent(bench: Bench) -> None:
    bench.play(Answer())
    warm = 0.3 if bench.dialect.takes_temperature else None
    agent = await bench.agent(system="Answer in one word.", max_tokens=321, temperature=warm)
    await bench.ask(agent)
    asked = bench.dialect.asked(bench.server.requests[0])
    assert asked[:5] == (bench.dialect.model, "Answer in one word.", [("user", "How many?")], 321, warm)


async def test_when_a_call_says_more_then_it_beats_the_profile_for_this_call(bench: Bench) -> None:
    bench.play(Answer())
    warm = bench.dialect.takes_temperature
    agent = await bench.agent(system="Answer in one word.", max_tokens=321, temperature=0.3 if warm else None)
    options: dict[str, Any] = {"temperature": 0.9} if warm else {}
    await bench.ask(agent, system="Answer at length.", max_tokens=99, **options)
    await bench.ask(agent)
    first, second = (bench.dialect.asked(request) for request in bench.server.requests)
    assert (first.system, first.max_tokens, first.temperature) == ("Answer at length.", 99, 0.9 if warm else None)
    assert (second.system, second.max_tokens) == ("Answer in one word.", 321)


async def test_when_params_are_given_then_they_pass_through(bench: Bench) -> None:
    given, sent = bench.dialect.params
    bench.play(Answer())
    await bench.ask(await bench.agent(params=given))
    assert {name: bench.body[name] for name in sent} == sent


async def test_when_a_chat_goes_on_then_it_remembers_and_the_agent_does_not(bench: Bench) -> None:
    bench.play(Answer(pieces=("one", "!")), Answer(pieces=("two", "!")), Answer(pieces=("three", "!")))
    agent = await bench.agent(system="Count.")
    chat = agent.chat()
    await ask(chat, "first", bench.way)
    await ask(chat, "second", bench.way)
    await bench.ask(agent, "alone")
    asked = [bench.dialect.asked(request) for request in bench.server.requests]
    assert [turns.system for turns in asked] == ["Count."] * 3
    assert [len(turns.messages) for turns in asked] == [1, 3, 1]
    assert asked[1].messages == [("user", "first"), ("assistant", "one!"), ("user", "second")]
    assert [turn.content for turn in chat.history] == ["first", "one!", "second", "two!"]


async def test_when_a_chats_turn_fails_then_it_is_not_remembered(bench: Bench) -> None:
    bench.play(faults.status(400), Answer())
    chat = (await bench.agent()).chat()
    with pytest.raises(BadRequestError):
        await ask(chat, "lost", bench.way)
    await ask(chat, "kept", bench.way)
    assert bench.dialect.asked(bench.server.requests[-1]).messages == [("user", "kept")]


async def test_when_a_chats_answer_is_empty_then_the_chat_goes_on(bench: Bench) -> None:
    bench.play(Answer(pieces=("",), finish="length"), Answer())
    chat = (await bench.agent(max_tokens=20)).chat()
    assert (await ask(chat, "first", bench.way)).content == ""
    assert (await ask(chat, "second", bench.way)).content == Answer().text
    asked = bench.dialect.asked(bench.server.requests[-1])
    assert asked.messages == [("user", "first"), ("user", "second")]


async def test_when_half_a_character_stands_in_history_or_params_then_nothing_is_sent(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()
    with pytest.raises(PromptError, match="The history holds half a character"):
        await bench.ask(agent, history=[Message("user", "bad \ud800 text")])
    with pytest.raises(ConfigError, match="params hold half a character"):
        await bench.ask(agent, params={"user": "bad \ud800"})
    assert not bench.server.requests


PROMPTS = ["{'a': 1}", '{"k": "{{ v }}"}', "$x^2$ \\frac{1}{2} %%", "tab\tnew\nline  ", "数えて 🎲 é \u2028 \x85 \x00"]


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
async def test_when_a_prompt_has_odd_characters_then_it_arrives_as_typed(bench: Bench, prompt: str) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent(), prompt)
    assert bench.dialect.asked(bench.server.requests[0]).messages == [("user", prompt)]


async def test_when_an_address_ends_in_a_slash_then_it_is_the_same_address(bench: Bench) -> None:
    bench.play(Answer())
    address = bench.dialect.base_url(bench.server.url)
    assert (await bench.ask(await bench.agent(base_url=f"{address}/"))).content == Answer().text


async def test_when_a_call_brings_its_history_and_tags_then_they_are_sent_and_kept(bench: Bench) -> None:
    bench.play(Answer())
    history = [Message("user", "One?"), Message("assistant", "One.")]
    await bench.ask(await bench.agent(), "Two?", history=history, tags={"round": "7"})
    expected = [("user", "One?"), ("assistant", "One."), ("user", "Two?")]
    assert bench.dialect.asked(bench.server.requests[0]).messages == expected
    assert rows()[0]["tags"] == {"round": "7"}


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, RESPONSES, GOOGLE], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_key_has_characters_that_no_key_has_then_the_error_names_its_variable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "\u201ccanary-in-curly-quotes\u201d"  # as a word processor makes them
    monkeypatch.setenv(bench.dialect.key_variable, key)
    bench.play(Answer())
    with pytest.raises(SecretError, match=bench.dialect.key_variable) as caught:
        await bench.ask(await bench.agent())
    assert "canary-in" not in "".join(traceback.format_exception(caught.value))
    assert not bench.server.requests


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_model_refuses_its_temperature_then_it_is_dropped_said_and_remembered(bench: Bench) -> None:
    bench.play(faults.status(400, faults.NO_TEMPERATURE), Answer(), Answer())
    agent = await bench.agent(temperature=0.3)
    with pytest.warns(VictorWarning, match="temperature") as caught:
        reply = await bench.ask(agent)
    assert len(caught) == 1
    await bench.ask(agent)
    warmth = [bench.dialect.asked(request).temperature for request in bench.server.requests]
    assert warmth == [0.3, None, None]
    assert (reply.content, reply.attempts) == (Answer().text, 2)
    assert any("temperature" in note for note in reply.notes)
    assert [row["status"] for row in rows()] == ["error", "ok", "ok"]


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
async def test_when_anthropic_is_given_a_temperature_then_it_is_never_sent(bench: Bench) -> None:
    bench.play(Answer())
    reply = await bench.ask(await bench.agent(temperature=0.3))
    assert any("temperature" in note for note in reply.notes)
    assert "temperature" not in bench.body
    [row] = rows()
    assert "temperature" in str(row["tags"])


@pytest.mark.parametrize("dialect", PROTOCOLS, ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_run_then_no_stream_is_asked_unless_the_sdk_demands_it(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()
    small, large = await agent.run("short", max_tokens=500), await agent.run("long", max_tokens=50_000)
    ways = [bench.dialect.streamed(request) for request in bench.server.requests]
    assert ways == [False, bench.dialect is ANTHROPIC]
    assert small.content == large.content == Answer().text
