"""The presets: each over a server that answers as its host does, and `provider:model` wherever a profile is named."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cells import Shell, write
from servers import OPENAI, Answer, Exchange, closed_port, model_list
from victor_nb import Agent, Settings, Usage, estimate_cost, session
from victor_nb.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetError,
    ConfigError,
    ConnectError,
    ContentFilterError,
    NotFoundError,
    OverloadedError,
    PartialAnswerError,
    ProfileNotFoundError,
    ProviderError,
    ProviderOpenError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from victor_nb.providers.spec import BUILT_IN, SPECS, spec_of
from workbench import CANARY, Way, ask, fail, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from servers import Server
    from servers.exchange import Act
    from victor_nb.providers.spec import Spec
    from victor_nb.values import Reply

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

PRESETS = [spec for spec in BUILT_IN if spec.client == spec_of("openai").client and spec.name != "openai"]
LOCAL = [spec for spec in PRESETS if spec.free]
PLAIN = {"prompt_tokens": 1_000, "completion_tokens": 1_000, "total_tokens": 2_000}
BYOK = {**PLAIN, "cost": 0.0009, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.018}}
SONAR = {**PLAIN, "cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.0061}}
OUTSIDE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 100,
    "total_tokens": 1_400,
    "completion_tokens_details": {"reasoning_tokens": 300},
}


@dataclass(frozen=True)
class Case:
    """What a host answers, and what is made of it.

    Attributes:
        counted: The usage that it states; None: none.
        usage: Its tokens in our terms.
        cost: USD at list prices of 2026-11, or as it is stated.
        more: What stands beside it in the answer.
    """

    preset: str
    model: str
    counted: Mapping[str, Any] | None
    usage: Usage
    cost: str | None
    source: str = "computed"
    limit: str = "max_completion_tokens"
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __repr__(self) -> str:
        return f"{self.preset}-{self.cost}"


CASES = [
    Case("openrouter", "openai/gpt-4o-mini", {**PLAIN, "cost": 0.0123}, Usage(1_000, 1_000), "0.0123", "reported"),
    Case("openrouter", "anthropic/claude-opus-5.5", BYOK, Usage(1_000, 1_000), "0.0189", "reported"),
    Case("openrouter", "openai/gpt-4o-mini", PLAIN, Usage(1_000, 1_000), "0.00075"),
    Case("xai", "grok-4", OUTSIDE, Usage(1_000, 400, reasoning_tokens=300), "0.009"),
    Case(
        "xai",
        "grok-4",
        {**OUTSIDE, "cost_in_usd_ticks": 37_756_000},
        Usage(1_000, 400, reasoning_tokens=300),
        "0.0037756",
        "reported",
    ),
    Case("groq", "llama-3.1-8b-instant", {**PLAIN, "queue_time": 0.2}, Usage(1_000, 1_000), "0.00013"),
    Case(
        "groq",
        "llama-3.1-8b-instant",
        PLAIN,
        Usage(1_000, 1_000),
        "0.00013",
        more={"service_tier": "on_demand", "x_groq": {"id": "req_1", "usage": PLAIN}},
    ),
    Case(
        "deepseek",
        "deepseek-chat",
        {**PLAIN, "prompt_cache_hit_tokens": 1_000, "prompt_cache_miss_tokens": 0},
        Usage(1_000, 1_000, cache_read_tokens=1_000),
        "list",
        limit="max_tokens",
    ),
    Case("mistral", "mistral-small-latest", PLAIN, Usage(1_000, 1_000), "0.00075", limit="max_tokens"),
    Case("together", "openai/gpt-oss-120b", PLAIN, Usage(1_000, 1_000), "0.00075", limit="max_tokens"),
    Case("fireworks", "accounts/fireworks/models/kimi-k3", PLAIN, Usage(1_000, 1_000), "0.018", limit="max_tokens"),
    Case("cerebras", "gpt-oss-120b", PLAIN, Usage(1_000, 1_000), "0.0011"),
    Case(
        "moonshot",
        "kimi-k2.6",
        {**PLAIN, "cached_tokens": 1_000},
        Usage(1_000, 1_000, cache_read_tokens=1_000),
        "list",
    ),
    Case("perplexity", "sonar", SONAR, Usage(1_000, 1_000), "0.0061", "reported", limit="max_tokens"),
    Case("azure", "our-deployment", PLAIN, Usage(1_000, 1_000), "0.0125", more={"model": "gpt-4o-2024-11-20"}),
    Case("azure", "our-deployment", PLAIN, Usage(1_000, 1_000), None, "unknown"),
    Case("bedrock", "openai.gpt-oss-120b-1:0", PLAIN, Usage(1_000, 1_000), "0.00075"),
    Case("vllm", "Qwen/Qwen3-8B", PLAIN, Usage(1_000, 1_000), "0", "local", limit="max_tokens"),
    Case("vllm", "Qwen/Qwen3-8B", None, Usage(2, 3), "0", "local", limit="max_tokens"),
    Case("lmstudio", "qwen3-8b", PLAIN, Usage(1_000, 1_000), "0", "local", limit="max_tokens"),
    Case("llamacpp", "any", PLAIN, Usage(1_000, 1_000), "0", "local", limit="max_tokens"),
    Case("localai", "any", PLAIN, Usage(1_000, 1_000), "0", "local", limit="max_tokens"),
]


def answer(way: Way, case: Case) -> Act:
    """Answer as the case's host does."""
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": case.model, **case.more}
    usage = {} if case.counted is None else {"usage": case.counted}

    async def act(exchange: Exchange) -> None:
        if way == "plain":
            message = {"role": "assistant", "content": "The Rhine."}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = json.dumps(head | {"choices": [choice]} | usage).encode()
            await exchange.whole(200, {"content-type": "application/json"}, body)
            return
        chunks = [
            {"choices": [{"index": 0, "finish_reason": None, "delta": {"content": "The Rhine."}}]},
            {"choices": [{"index": 0, "finish_reason": "stop", "delta": {}}]},
            {"choices": [], **usage},
        ]
        lines = [f"data: {json.dumps(head | chunk)}\n\n" for chunk in chunks]
        await exchange.whole(200, {"content-type": "text/event-stream"}, "".join([*lines, "data: [DONE]\n\n"]).encode())

    return act


@pytest.fixture(autouse=True)
def locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a key for each preset."""
    monkeypatch.setenv("NO_PROXY", "*")
    for spec in PRESETS:
        for name in spec.key_variables:
            monkeypatch.setenv(name, f"{CANARY}-{spec.name}")


# --- what is sent, and what it costs ---


@pytest.mark.parametrize("case", CASES, ids=repr)
async def test_when_a_preset_is_asked_then_its_key_its_names_and_its_bill_are_right(
    case: Case, way: Way, server: Server
) -> None:
    server.play(answer(way, case))
    agent = await Agent.create(
        provider=case.preset, model=case.model, base_url=f"{server.url}/v1", max_tokens=50, retries=0
    )
    try:
        reply = await ask(agent, "A river?", way)
    finally:
        await agent.close()
    sent, spec = server.requests[-1], spec_of(case.preset)
    assert sent.path == "/v1/chat/completions"
    assert {name for name in sent.json if name.startswith("max_")} == {case.limit}
    assert sent.json[case.limit] == 50
    key = f"{CANARY}-{case.preset}" if spec.key_variables else "none"
    assert sent.headers["authorization"] == f"Bearer {key}"
    assert reply.content == "The Rhine."
    assert reply.usage == case.usage
    row = rows()[-1]
    assert (row["provider"], row["cost_source"]) == (case.preset, case.source)
    listed = session().runtime.prices.price(case.usage, provider=case.preset, model=case.model).cost
    assert reply.cost == (listed if case.cost == "list" else case.cost and Decimal(case.cost))


@pytest.mark.parametrize("spec", PRESETS, ids=lambda spec: spec.name)
def test_when_a_preset_is_a_row_then_it_goes_to_its_own_host_with_its_own_key(spec: Spec, tmp_path: Path) -> None:
    write_profiles(tmp_path, desk={"provider": spec.name, "model": "m"})
    settings = session().settings
    profile = settings.profile("desk")
    key = settings.api_key(profile)
    assert settings.base_url(profile) == spec.base_url
    assert (key.reveal() if key else "") == (f"{CANARY}-{spec.name}" if spec.key_variables else "")
    assert spec.free is spec.base_url.startswith("http://127.0.0.1:")
    assert (spec.outputs, [*spec.refuses], spec.retires) == ({}, ["seed"], {}), "these are of OpenAI's own models"


@pytest.mark.parametrize(
    ("preset", "variable", "value", "address"),
    [
        ("azure", "AZURE_OPENAI_ENDPOINT", "https://ours.openai.azure.com/", "https://ours.openai.azure.com/openai/v1"),
        ("azure", "AZURE_OPENAI_ENDPOINT", "https://gate.example/llm", "https://gate.example/llm"),
        ("azure", "AZURE_OPENAI_ENDPOINT", "ours", "https://ours.openai.azure.com/openai/v1"),
        ("azure", "AZURE_OPENAI_ENDPOINT", "ours.openai.azure.com/", "https://ours.openai.azure.com/openai/v1"),
        ("bedrock", "AWS_REGION", "eu-central-1", "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1"),
    ],
)
def test_when_an_address_has_a_part_of_the_users_then_the_environment_fills_it_in(
    preset: str, variable: str, value: str, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, value)
    write_profiles(tmp_path, desk={"provider": preset, "model": "m"})
    assert session().settings.base_url(session().settings.profile("desk")) == address


@pytest.mark.parametrize(("preset", "region"), [("azure", ""), ("bedrock", ""), ("bedrock", "elsewhere.example/")])
async def test_when_the_address_is_not_filled_in_then_nothing_is_asked(
    preset: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(ProviderOpenError, match=r"Put yours for (RESOURCE|REGION) in base_url: https://.*, or set A"):
        await Agent.create(provider=preset, model="m")
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    async with await Agent.create(provider=preset, model="m") as agent:
        assert (await agent.run("Hi.")).content


async def test_when_the_address_is_filled_in_after_an_error_then_the_next_call_goes_there(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profiles(tmp_path, desk={"provider": "azure", "model": "m"})
    pool = session().pool
    with pytest.raises(ProviderOpenError, match="Put yours for RESOURCE"):
        pool.get_orchestrator("desk")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{server.url}/v1")
    server.play(Answer())
    await pool.get_orchestrator("desk").run("Hi.")
    assert [row["host"] for row in rows()] == [server.url.removeprefix("http://")]


# --- what else its answers hold ---


async def asked(preset: str, act: Act, way: Way, server: Server) -> Reply:
    """Ask a preset once for what the server is to answer."""
    server.play(act)
    async with await Agent.create(provider=preset, model="m", base_url=f"{server.url}/v1", retries=0) as agent:
        return await ask(agent, "A river?", way)


REFUSALS: list[tuple[str, int, object, type[ProviderError], str]] = [
    (
        "openrouter",
        402,
        {"error": {"code": 402, "message": "Insufficient credits"}},
        QuotaError,
        "Insufficient credits",
    ),
    (
        "openrouter",
        200,
        {"error": {"code": 402, "message": "Insufficient credits"}},
        QuotaError,
        "Insufficient credits",
    ),
    ("openrouter", 200, {"error": {"code": 429, "message": "Rate limited upstream"}}, RateLimitError, "upstream"),
    ("openrouter", 200, {"error": {"code": 502, "message": "Provider returned error"}}, ServerError, "returned error"),
    (
        "deepseek",
        402,
        {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}},
        QuotaError,
        "Bal",
    ),
    ("mistral", 422, {"object": "error", "message": {"detail": [{"msg": "Extra inputs"}]}}, BadRequestError, "Extra"),
    ("moonshot", 429, {"error": {"type": "exceeded_current_quota_error", "message": "No."}}, QuotaError, "No."),
    ("groq", 498, {"error": {"message": "Flex tier capacity exceeded."}}, OverloadedError, "Flex tier"),
    ("xai", 498, {"error": {"message": "What is that?"}}, BadRequestError, "What is that?"),
    ("azure", 400, {"error": {"code": "content_filter", "message": "Filtered."}}, ContentFilterError, "Filtered"),
    (
        "bedrock",
        403,
        {"message": "The bearer token has expired."},
        AuthenticationError,
        ": %env AWS_BEARER_TOKEN_BEDROCK=",
    ),
    ("perplexity", 401, {"error": {"message": "Invalid key."}}, AuthenticationError, ": %env PERPLEXITY_API_KEY="),
    (
        "vllm",
        404,
        {"object": "error", "message": "No such model.", "code": 404},
        NotFoundError,
        "Serve the model: vllm serve m",
    ),
    ("lmstudio", 200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, ProviderError, "endpoint"),
]


@pytest.mark.parametrize(("preset", "status", "body", "kind", "said"), REFUSALS)
async def test_when_a_host_refuses_in_its_own_way_then_the_error_is_of_its_class_and_a_refusal_costs_nothing(
    preset: str, status: int, body: object, kind: type[ProviderError], said: str, server: Server, way: Way
) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.whole(status, {"content-type": "application/json"}, json.dumps(body).encode())

    error = await fail(asked(preset, act, way, server))
    assert isinstance(error, kind)
    assert type(error) is kind or kind in {ProviderError, ServerError}
    assert said in str(error)
    assert [row["cost"] for row in rows()] == [None if kind is ServerError else 0], "what failed may be charged"


def streamed(*lines: str) -> Act:
    """Answer with these lines of a stream."""

    async def act(exchange: Exchange) -> None:
        body = "".join(f"{line}\n\n" for line in lines).encode()
        await exchange.whole(200, {"content-type": "text/event-stream"}, body)

    return act


def chunk(finish: str | None = None, *, said: object = None, **more: object) -> str:
    delta = {} if said is None else {"content": said}
    choices = [{"index": 0, "finish_reason": finish, "delta": delta}]
    return f"data: {json.dumps({'id': '1', 'object': 'chat.completion.chunk', 'choices': choices, **more})}"


async def test_when_groq_states_usage_in_a_place_of_its_own_then_it_is_found(server: Server) -> None:
    x_groq = {"id": "req_1", "usage": {**PLAIN, "queue_time": 0.3}}
    act = streamed(chunk(said="The Rhine."), chunk("stop", x_groq=x_groq), "data: [DONE]")
    assert (await asked("groq", act, "stream", server)).usage == Usage(1_000, 1_000)


async def test_when_openrouter_keeps_a_stream_alive_then_comments_are_no_text(server: Server) -> None:
    alive = ": OPENROUTER PROCESSING"
    usage = {**PLAIN, "cost": 0.0123, "is_byok": False}
    act = streamed(alive, chunk(said="The "), alive, chunk(said="Rhine."), chunk("stop", usage=usage), "data: [DONE]")
    reply = await asked("openrouter", act, "stream", server)
    assert (reply.content, reply.cost) == ("The Rhine.", Decimal("0.0123"))


async def test_when_mistral_thinks_in_blocks_then_only_the_text_is_the_answer(server: Server) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Rivers?"}]}
    text = [thinking, {"type": "text", "text": "The Rhine."}]
    act = streamed(chunk(said=text), chunk("stop", usage=PLAIN), "data: [DONE]")
    assert (await asked("mistral", act, "stream", server)).content == "The Rhine."


async def test_when_deepseek_breaks_off_for_want_of_resources_then_the_answer_is_not_whole(server: Server) -> None:
    act = streamed(chunk(said="The Rh"), chunk("insufficient_system_resource", usage=PLAIN), "data: [DONE]")
    error = await fail(asked("deepseek", act, "stream", server))
    assert isinstance(error, PartialAnswerError)
    assert rows()[-1]["status"] == "partial"


# --- servers of one's own ---


@pytest.mark.parametrize("spec", LOCAL, ids=lambda spec: spec.name)
async def test_when_a_server_of_ones_own_is_not_there_then_the_error_says_how_to_start_it(spec: Spec) -> None:
    gone = f"http://127.0.0.1:{closed_port()}/v1"
    async with await Agent.create(provider=spec.name, model="qwen3", base_url=gone, retries=0) as agent:
        error = await fail(agent.run("Hi."))
    assert isinstance(error, ConnectError)
    assert f"Is it running? {spec.unreachable.removeprefix('start it: ').format(model='qwen3')}" in str(error)


@pytest.mark.parametrize(("provider", "most"), [("vllm", 4), ("lmstudio", 4), ("openai", 8)])
def test_when_eight_are_asked_at_once_then_a_server_of_ones_own_gets_four(
    provider: str, most: int, server: Server, tmp_path: Path
) -> None:
    lock, here, peak = threading.Lock(), set[int](), [0]

    async def act(exchange: Exchange) -> None:
        with lock:
            here.add(id(exchange))
            peak[0] = max(peak[0], len(here))
        await Answer(delay=0.15)(exchange)
        with lock:
            here.discard(id(exchange))

    server.play(*[act] * 8)
    base_url = OPENAI.base_url(server.url)
    write_profiles(tmp_path, desk={"provider": provider, "model": "m", "base_url": base_url, "retries": 0})
    session().pool.fan_out_sync("Hi.", ["desk"], n=8)
    assert peak == [most]


async def test_when_openai_is_on_this_machine_then_it_is_priced_as_anywhere(server: Server) -> None:
    for model, cost in (("gpt-4o-mini", Decimal("0.0000384")), ("house", None)):
        server.play(Answer())
        url = OPENAI.base_url(server.url)
        async with await Agent.create(provider="openai", model=model, base_url=url, retries=0) as agent:
            assert (await agent.run("Hi.")).cost == cost


# --- priced_as ---


@pytest.mark.parametrize(
    ("profile", "cost", "source"),
    [
        ({"provider": "azure", "model": "ours", "priced_as": {"model": "gpt-4o-mini"}}, "0.00075", "computed"),
        (
            {"provider": "openai", "priced_as": {"provider": "groq", "model": "llama-3.1-8b-instant"}},
            "0.00013",
            "computed",
        ),
        (
            {"provider": "vllm", "priced_as": {"provider": "together", "model": "openai/gpt-oss-120b"}},
            "0.00075",
            "computed",
        ),
        (
            {"provider": "openai", "priced_as": {"model": "gpt-4o"}, "prices": {"input": 1, "output": 1}},
            "0.002",
            "override",
        ),
        ({"provider": "openai", "priced_as": {"model": "nobodys"}}, None, "unknown"),
    ],
)
async def test_when_a_profile_is_priced_as_another_model_then_that_is_what_its_tokens_cost(
    profile: dict[str, Any], cost: str | None, source: str, server: Server, tmp_path: Path, way: Way
) -> None:
    """Whatever model the answer names as the one that served."""
    case = Case("", "gpt-4o", PLAIN, Usage(1_000, 1_000), cost)
    server.play(answer(way, case))
    write_profiles(tmp_path, desk={"model": "ft:ours", "base_url": f"{server.url}/v1", "retries": 0, **profile})
    async with await Agent.create(profile="desk") as agent:
        reply = await ask(agent, "A river?", way)
    assert reply.cost == (cost and Decimal(cost))
    assert rows()[-1]["cost_source"] == source
    assert estimate_cost("desk", Usage(1_000, 1_000)) == reply.cost


async def test_when_an_agent_is_priced_as_another_model_then_it_pays_for_that(server: Server) -> None:
    server.play(answer("plain", Case("", "gpt-4o", PLAIN, Usage(1_000, 1_000), None)))
    other = {"provider": "groq", "model": "llama-3.1-8b-instant"}
    url = f"{server.url}/v1"
    async with await Agent.create(provider="azure", model="ours", base_url=url, priced_as=other) as agent:
        assert (await agent.run("A river?")).cost == Decimal("0.00013")


def test_when_a_profile_is_priced_as_another_model_then_a_budget_holds_at_its_price(tmp_path: Path) -> None:
    priced = {"provider": "anthropic", "model": "claude-opus-5-5"}
    write_profiles(
        tmp_path,
        desk={"provider": "vllm", "model": "m", "max_tokens": 1_000, "priced_as": priced},
        free={"provider": "vllm", "model": "m", "max_tokens": 1_000},
    )
    session().set_budget("0.0001")
    with pytest.raises(BudgetError):
        session().pool.get_orchestrator("desk").run_sync("Hi.")
    with pytest.raises(ConnectError):
        session().pool.get_orchestrator("free").run_sync("Hi.", retries=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"provider": "opnai", "model": "m"}, "priced_as.provider: unknown provider 'opnai'. Did you mean 'openai'?"),
        ({"provider": "openai"}, "priced_as.model: is missing"),
        ({"modle": "m"}, "priced_as.modle: unknown key. Did you mean 'model'?"),
    ],
)
def test_when_priced_as_is_wrong_then_the_line_is_named(wrong: object, said: str, tmp_path: Path) -> None:
    write(tmp_path, {"fast": {"provider": "openai", "model": "m", "priced_as": wrong}})
    with pytest.raises(ConfigError) as caught:
        Settings()
    assert said in str(caught.value)


# --- provider:model ---


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """Open a notebook in simulate mode, with a profile whose name has a colon."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    fast = {"provider": "openai", "model": "gpt-4o-mini"}
    write(tmp_path, {"fast": fast, "groq:mine": {"provider": "anthropic", "model": "claude-opus-5-5"}})
    return Shell()


def test_when_a_cell_names_provider_and_model_then_it_needs_no_profile(simulated: Shell) -> None:
    shown = simulated.run("%%victor openai:gpt-4o-mini out=r\nHi.").plain
    reply = simulated.names["r"]
    assert (reply.profile, reply.provider, reply.model) == ("openai:gpt-4o-mini", "openai", "gpt-4o-mini")
    assert "openai:gpt-4o-mini · " in shown
    assert shown.count("gpt-4o-mini") == 1
    assert reply.cost > 0
    simulated.run("%%victor profiles=groq:llama-3.1-8b-instant,ollama:qwen2.5-coder:7b,groq:mine out=rs\nHi.")
    assert [(each.provider, each.model) for each in simulated.names["rs"].values()] == [
        ("groq", "llama-3.1-8b-instant"),
        ("ollama", "qwen2.5-coder:7b"),
        ("anthropic", "claude-opus-5-5"),  # a profile of that name wins
    ]
    simulated.run("%victor set profile=bedrock:openai.gpt-oss-120b-1:0")
    simulated.run("%%victor out=r\nHi.")
    assert simulated.names["r"].model == "openai.gpt-oss-120b-1:0"
    assert {row["profile"] for row in rows()} >= {"groq:mine", "bedrock:openai.gpt-oss-120b-1:0"}
    assert "USD per M" in simulated.run("%victor profiles groq:llama-3.1-8b-instant").plain
    assert "0.0" in simulated.run("%%victor groq:llama-3.1-8b-instant --dry\nHi.").plain


def test_when_code_names_provider_and_model_then_pool_agent_and_prices_know_it(simulated: Shell) -> None:
    assert simulated
    pool = session().pool
    first = pool.get_orchestrator("groq:llama-3.1-8b-instant")
    assert first is pool.get_orchestrator("groq:llama-3.1-8b-instant")
    assert (first.profile.provider, first.profile.model) == ("groq", "llama-3.1-8b-instant")
    agent = Agent.create_sync(profile="cerebras:gpt-oss-120b", temperature=0.5)
    assert (agent.profile.model, agent.profile.temperature) == ("gpt-oss-120b", 0.5)
    agent.close_sync()
    assert estimate_cost("groq:llama-3.1-8b-instant", Usage(1_000, 1_000)) == Decimal("0.00013")
    assert estimate_cost("azure:gpt-4o", Usage(1_000, 1_000)) == Decimal("0.0125")
    assert estimate_cost("gpt-4o", Usage(1_000, 1_000)) == Decimal("0.0125")


def test_when_a_file_names_provider_and_model_then_default_fallback_and_stage_take_it(tmp_path: Path) -> None:
    text = """
default: groq:llama-3.1-8b-instant
profiles:
  fast: {provider: openai, model: gpt-4o-mini, fallback: ["mistral:mistral-small-latest"]}
strategies:
  polish: [{name: draft, profile: "vllm:qwen3", prompt: "{{ task }}"}]
"""
    (tmp_path / "profiles.yaml").write_text(text, encoding="utf-8")
    assert Settings().profile().model == "llama-3.1-8b-instant"
    (tmp_path / "profiles.yaml").write_text(text.replace("mistral:m", "mistrl:m"), encoding="utf-8")
    with pytest.raises(ConfigError, match="no profile is called 'mistrl:mistral-small-latest'"):
        Settings()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("opnai:gpt-4o-mini", "Profile 'opnai:gpt-4o-mini' not found. Did you mean 'openai:gpt-4o-mini'?"),
        ("groq", "Profile 'groq' not found. To ask a model of groq without a profile, write groq:MODEL."),
        ("groq:", "Profile 'groq:' not found. To ask a model of groq without a profile, write groq:MODEL."),
        ("groq:mien", "took it"),
        ("zzz:m", "Profile 'zzz:m' not found. Known: fast, groq:mine; or add it to "),
        ("fats", "Profile 'fats' not found. Did you mean 'fast'?"),
    ],
)
def test_when_the_words_are_wrong_then_the_nearest_right_ones_are_named(word: str, said: str, simulated: Shell) -> None:
    if said == "took it":
        assert simulated.run(f"%%victor {word}\nHi.").error is None  # any model may be one of tomorrow's
        return
    error = simulated.fail(f"%%victor {word}\nHi.")
    assert isinstance(error, ProfileNotFoundError)
    assert str(error).startswith(said)


def test_when_tab_is_pressed_then_providers_are_offered_too(simulated: Shell) -> None:
    assert {"groq:", "groq:mine"} <= simulated.complete("%%victor gro")
    assert "profiles=fast,groq:" in {f"profiles={text}" for text in simulated.complete("%%victor profiles=fast,gro")}
    assert "openrouter" in simulated.complete("%victor profiles openr")


# --- the doctor ---


def test_when_the_doctor_looks_at_presets_then_key_host_model_and_price_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    models = {case.preset: case.model for case in CASES}
    write(
        tmp_path,
        {"fast": {"provider": "openai", "model": "gpt-4o-mini"}}
        | {f"my-{name}": {"provider": name, "model": model} for name, model in models.items()},
    )
    assert models.keys() == {spec.name for spec in PRESETS}
    found = {line.split()[0]: line for line in Shell().run("%victor doctor").plain.splitlines()[1:] if line}
    for spec in PRESETS:
        line = found[f"my-{spec.name}"]
        assert spec.base_url.split("/")[2] in line
        assert models[spec.name] in line
        assert ("none needed" in line) is spec.free
        assert (" free " in line) is spec.free
        assert ("price is unknown" in line) is (spec.name == "azure")
    assert rows() == []


def test_when_the_doctor_is_given_words_then_it_asks_that_host_alone_and_spends_nothing(
    tmp_path: Path, server: Server
) -> None:
    desk = {"provider": "vllm", "model": "Qwen/Qwen3-8B", "base_url": f"{server.url}/v1"}
    write(tmp_path, {"fast": {"provider": "openai", "model": "gpt-4o-mini"}, "desk": desk})
    server.play(model_list("any"))
    shell = Shell()
    lines = shell.run("%victor doctor desk azure:prod").plain.partition("\n\n")[0].splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["desk", "azure:prod"]
    assert f"127.0.0.1:{server.url.rpartition(':')[2]}" in lines[0]
    assert "Put yours for RESOURCE in base_url" in lines[1]
    assert [request.path for request in server.requests] == ["/v1/models"]
    assert rows() == []
    assert "Did you mean 'desk'?" in str(shell.fail("%victor doctor deks"))


def test_when_profiles_are_listed_then_providers_without_a_profile_are_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROQ_API_KEY")
    write(tmp_path, {"fast": {"provider": "openai", "model": "gpt-4o-mini"}})
    shell = Shell()
    below = shell.run("%victor profiles").plain.splitlines()[-1]
    ready, _, missing = below.partition("No key is set for")
    keyed, _, keyless = ready.partition("No key is needed for")
    assert "mistral" in keyed.partition("A key is set for")[2]
    assert "vllm" in keyless
    assert "groq" in missing
    shown = shell.run("%victor profiles deepseek").plain
    for part in (
        "https://api.deepseek.com",
        "genai-prices: deepseek",
        "max_tokens",
        "JSON by",
        "%%victor deepseek:",
    ):
        assert part in shown
    assert CANARY not in shown
    assert "not set: GROQ_API_KEY" in shell.run("%victor profiles groq").plain
    assert set(SPECS) >= {spec.name for spec in PRESETS}
