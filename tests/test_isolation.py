"""Many agents in one kernel: each asks its own endpoint, with its own words, key and parameters, and nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from servers import DIALECTS, Answer, Dialect, Server, Tokens, dialect_of
from victor_nb import Agent
from workbench import Bench, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Exchange, Request
    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures"]
ROUNDS = 200
STRAYS = {
    "MODEL": "gpt-99",
    "PROVIDER": "ollama",
    "TEMPERATURE": "1.9",
    "MAX_TOKENS": "3",
    "BASE_URL": "http://127.0.0.1:9",
    "API_KEY": "stray-key-stray-key",
    "SYSTEM_PROMPT": "You are a pirate.",
    "OPENAI_MODEL": "gpt-99",
    "ANTHROPIC_MODEL": "claude-99",
    "OLLAMA_MODEL": "llama99",
    "GEMINI_MODEL": "gemini-99",
}
STRAY_HEADERS = """X-Stray: stray
authorization: Bearer stray-key-stray-key
X-API-Key: stray-key-stray-key
Anthropic-Version: 2023-06-01
OpenAI-Organization: org-stray
User-Agent: stray
Accept: text/stray"""
OF_THE_SDKS = {
    "ANTHROPIC_AUTH_TOKEN": "stray-token-stray-token",
    "ANTHROPIC_CUSTOM_HEADERS": STRAY_HEADERS,
    "OPENAI_ADMIN_KEY": "stray-admin-stray-admin",
    "OPENAI_CUSTOM_HEADERS": STRAY_HEADERS,
    "OPENAI_ORG_ID": "org-stray",
    "OPENAI_PROJECT_ID": "proj-stray",
}


def echo(request: Request) -> Answer:
    """Answer with what was heard, and tokens that can be told from any other answer's."""
    asked = dialect_of(request).asked(request)
    heard = asked.messages[-1][1]
    return Answer(pieces=(f"{asked.model} heard ", heard), tokens=Tokens(input=len(heard), output=7))


@pytest.fixture
def servers() -> Iterator[dict[str, Server]]:
    """Serve each provider at an address of its own."""
    with contextlib.ExitStack() as stack:
        yield {dialect.name: stack.enter_context(Server()) for dialect in DIALECTS}


def spec(dialect: Dialect, server: Server, number: int) -> dict[str, object]:
    """Return a profile of which each value tells whose it is."""
    warmth = {"temperature": 0.125 * number} if dialect.takes_temperature else {}
    return {
        "provider": dialect.name,
        "model": dialect.model,
        "base_url": dialect.base_url(server.url),
        "system": f"I am {dialect.name}'s.",
        "max_tokens": 100 + number,
        "api_key_env": f"{dialect.name.upper()}_OWN_KEY",
        **warmth,
    }


def check_reply(reply: Reply, dialect: Dialect, prompt: str) -> None:
    assert reply.content == f"{dialect.model} heard {prompt}"
    assert (reply.provider, reply.model, reply.profile) == (dialect.name, dialect.model, dialect.name)
    assert reply.usage.input_tokens == len(prompt)


def check_request(request: Request, dialect: Dialect, number: int) -> None:
    asked = dialect.asked(request)
    warmth = 0.125 * number if dialect.takes_temperature else None
    expected = (dialect.model, f"I am {dialect.name}'s.", 100 + number, warmth)
    assert (asked.model, asked.system, asked.max_tokens, asked.temperature) == expected
    assert asked.key is not None
    assert asked.key.removeprefix("Bearer ") == f"key-of-{dialect.name}"
    assert len(asked.messages) == 1
    assert asked.messages[0][1].startswith(f"for {dialect.name} ")
    others = {other.name for other in DIALECTS} - {dialect.name}
    assert not any(f"for {other} " in request.text or f"key-of-{other}" in request.text for other in others)


async def test_when_four_agents_run_in_any_order_and_at_once_then_each_asks_its_own(
    tmp_path: Path, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    for server in servers.values():
        server.answer = echo
    for name in servers:
        monkeypatch.setenv(f"{name.upper()}_OWN_KEY", f"key-of-{name}")
    write_profiles(tmp_path, **{d.name: spec(d, servers[d.name], n) for n, d in enumerate(DIALECTS, 1)})
    agents = {dialect: await Agent.create(profile=dialect.name) for dialect in DIALECTS}
    order = random.Random(20261122)

    async def ask(dialect: Dialect, number: int) -> None:
        prompt = f"for {dialect.name} " + "x" * number
        check_reply(await agents[dialect].run(prompt), dialect, prompt)

    for number in range(ROUNDS):
        turn = order.sample(DIALECTS, len(DIALECTS))
        if number % 2:
            await asyncio.gather(*(ask(dialect, number) for dialect in turn))
        else:
            await ask(turn[0], number)
    everything = [ask(dialect, number) for number in range(50) for dialect in order.sample(DIALECTS, len(DIALECTS))]
    await asyncio.gather(*everything)

    for number, dialect in enumerate(DIALECTS, 1):
        requests = servers[dialect.name].requests
        assert len(requests) >= ROUNDS // 2 + 50
        for request in requests:
            check_request(request, dialect, number)
    assert sum(len(server.requests) for server in servers.values()) == len(rows())


async def test_when_two_profiles_share_a_provider_then_neither_gets_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("ONE_KEY", "key-of-one")
    monkeypatch.setenv("TWO_KEY", "key-of-two")
    with Server() as one, Server() as two:
        one.answer = two.answer = echo
        base = {"provider": "openai"}
        write_profiles(
            tmp_path,
            one={
                **base,
                "model": "model-1",
                "base_url": f"{one.url}/v1",
                "api_key_env": "ONE_KEY",
                "params": {"seed": 1},
            },
            two={**base, "model": "model-2", "base_url": f"{two.url}/v1", "api_key_env": "TWO_KEY", "temperature": 0.5},
        )
        first, second = await Agent.create(profile="one"), await Agent.create(profile="two")
        replies = await asyncio.gather(*(agent.run("hi") for agent in [first, second] * 20))
    assert [reply.content for reply in replies] == ["model-1 heard hi", "model-2 heard hi"] * 20
    for server, key, extra in [(one, "key-of-one", {"seed": 1}), (two, "key-of-two", {"temperature": 0.5})]:
        assert len(server.requests) == 20
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {key}"}
        assert all(request.json.keys() - {"stream"} == {"model", "messages", *extra} for request in server.requests)


def told(request: Request) -> set[tuple[str, str]]:
    """Return all of a request that should be the same every time."""
    return {*request.headers.items(), ("path", request.path), ("body", request.body.decode())}


@pytest.mark.parametrize("strays", [STRAYS, OF_THE_SDKS], ids=["plain names", "names that SDKs read"])
async def test_when_stray_variables_are_set_then_nothing_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, strays: dict[str, str]
) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    for name, value in strays.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    reply = await bench.ask(await bench.agent())
    before, after = bench.server.requests
    assert told(after) == told(before)
    assert (reply.model, reply.provider) == (bench.dialect.model, bench.dialect.name)


async def test_when_agents_are_made_in_python_then_each_keeps_its_own(
    tmp_path: Path, servers: dict[str, Server], keys: str
) -> None:
    for server in servers.values():
        server.answer = echo
    agents = [
        await Agent.create(
            provider=dialect.name,
            model=dialect.model,
            base_url=dialect.base_url(servers[dialect.name].url),
            system=f"I am {dialect.name}'s.",
        )
        for dialect in DIALECTS
    ]
    replies = await asyncio.gather(*(agent.run("hi") for agent in reversed(agents)))
    assert [reply.content for reply in replies] == [f"{dialect.model} heard hi" for dialect in reversed(DIALECTS)]
    for dialect in DIALECTS:
        [request] = servers[dialect.name].requests
        assert dialect.asked(request).system == f"I am {dialect.name}'s."
        assert dialect.asked(request).key == (keys if dialect.key_variable else None)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of nothing


async def test_when_asked_then_no_file_is_left_in_the_working_folder(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()
    await bench.ask(agent)
    await agent.chat().run("How many?")
    await agent.close()
    assert [path.name for path in bench.folder.iterdir()] == ["profiles.yaml"]


async def test_when_hundreds_are_asked_at_once_then_all_are_answered(bench: Bench) -> None:
    bench.server.answer = echo
    agent = await bench.agent(concurrency=300)
    prompts = [f"number {number}" for number in range(150)]
    replies = await asyncio.gather(*(bench.ask(agent, prompt) for prompt in prompts))
    assert [reply.content for reply in replies] == [f"{bench.dialect.model} heard {prompt}" for prompt in prompts]
    assert len(rows()) == len(prompts)


async def test_when_a_profile_limits_its_concurrency_then_no_more_are_asked_at_once(bench: Bench) -> None:
    under_way, seen = 0, [0]

    async def act(exchange: Exchange) -> None:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        await Answer()(exchange)

    bench.play(act)
    agent = await bench.agent(concurrency=2)
    await asyncio.gather(*(bench.ask(agent) for _ in range(8)))
    assert max(seen) == 2
