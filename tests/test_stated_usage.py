"""What an answer states of its tokens, tier, searches and cost, over HTTP, and what the ledger makes of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from victor_nb import Agent
from victor_nb.accounting.pricing import PriceBook
from victor_nb.values import Usage
from workbench import Way, ask, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers import Server
    from servers.exchange import Act, Exchange
    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures"]

COUNTED = {"prompt_tokens": 1_000, "completion_tokens": 1_000, "total_tokens": 2_000}
PRICES = {"input": 1, "output": 10, "cache_read": 0.5}


def completion(way: Way, usage: object, *, headers: Mapping[str, str] | None = None, **more: Any) -> Act:
    """Answer as OpenAI does; `more` is beside the choices, `annotations` in the message."""
    noted = {"annotations": more.pop("annotations")} if "annotations" in more else {}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-5-2025-08-07", **more}

    def choice(finish: str | None, **content: object) -> list[dict[str, object]]:
        return [{"index": 0, "finish_reason": finish, **content}]

    async def act(exchange: Exchange) -> None:
        if way == "plain":
            message = {"role": "assistant", "content": "The Rhine.", **noted}
            body = json.dumps(head | {"choices": choice("stop", message=message), "usage": usage}).encode()
            await exchange.whole(200, {"content-type": "application/json", **(headers or {})}, body)
            return
        chunks = [
            {"choices": choice(None, delta={"content": "The Rhine.", **noted})},
            {"choices": choice("stop", delta={})},
            *({"choices": [], "usage": each} for each in (usage if isinstance(usage, list) else [usage])),
        ]
        lines = [f"data: {json.dumps(head | chunk)}\n\n" for chunk in chunks]
        body = "".join([*lines, "data: [DONE]\n\n"]).encode()
        await exchange.whole(200, {"content-type": "text/event-stream"}, body)

    return act


def message(way: Way, usage: Mapping[str, object]) -> Act:
    """Answer as Anthropic does."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "stop_sequence": None}
    text = {"type": "text", "text": "The Rhine."}

    async def act(exchange: Exchange) -> None:
        if way == "plain":
            body = json.dumps(head | {"content": [text], "stop_reason": "end_turn", "usage": usage}).encode()
            await exchange.whole(200, {"content-type": "application/json"}, body)
            return
        start = head | {"content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        counts = {name: count for name, count in usage.items() if isinstance(count, (int, dict))}
        events = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": text},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": counts},
            {"type": "message_stop"},
        ]
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        await exchange.whole(200, {"content-type": "text/event-stream"}, "".join(lines).encode())

    return act


def generated(way: Way, tier: str | None = None, queries: int = 0, model: str = "gemini-2.5-pro") -> Act:
    """Answer as Google does."""
    found = {"groundingMetadata": {"webSearchQueries": ["rivers"] * queries}} if queries else {}
    candidate = {"content": {"role": "model", "parts": [{"text": "The Rhine."}]}, "finishReason": "STOP", **found}
    counts = {"promptTokenCount": 1_000, "candidatesTokenCount": 100, "totalTokenCount": 1_100}
    answer = json.dumps({"candidates": [candidate], "usageMetadata": counts, "modelVersion": model})
    headers = {"x-gemini-service-tier": tier} if tier else {}

    async def act(exchange: Exchange) -> None:
        kind, body = (
            ("application/json", answer) if way == "plain" else ("text/event-stream", f"data: {answer}\r\n\r\n")
        )
        await exchange.whole(200, {"content-type": kind, **headers}, body.encode())

    return act


async def asked(url: str, way: Way, act: Act | None = None, *, server: Server, **options: Any) -> Reply:
    """Ask once for what the server is to answer."""
    if act is not None:
        server.play(act)
    given: dict[str, Any] = {"provider": "openai", "model": "gpt-5", "retries": 0, **options}
    agent = await Agent.create(base_url=url, **given)
    try:
        return await ask(agent, "A river?", way)
    finally:
        await agent.close()


@pytest.fixture
def openai(server: Server, keys: str) -> str:
    """Return the address of an OpenAI-compatible server on this machine."""
    assert keys
    return f"{server.url}/v1"


# --- counts ---


@pytest.mark.parametrize("usage", [{}, None, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}])
async def test_when_a_usage_holds_no_count_then_it_is_unknown_and_not_free(
    openai: str, server: Server, way: Way, usage: object
) -> None:
    reply = await asked(openai, way, completion(way, usage), server=server)
    [row] = rows()
    assert (reply.cost, row["cost"], row["usage_source"]) == (None, None, "estimated")
    assert row["output_tokens"] > 0


@pytest.mark.parametrize("usage", [{"prompt_tokens": 1_000}, {"completion_tokens": 1_000}])
async def test_when_one_side_was_not_counted_then_the_other_is_not_the_price(
    openai: str, server: Server, way: Way, usage: object
) -> None:
    assert (await asked(openai, way, completion(way, usage), server=server)).cost is None
    assert rows()[0]["usage_source"] == "partial"


async def test_when_counts_are_written_as_texts_or_floats_then_they_count(
    openai: str, server: Server, way: Way
) -> None:
    for usage in ({"prompt_tokens": "1000", "completion_tokens": "1000"}, dict.fromkeys(COUNTED, 1000.0)):
        reply = await asked(openai, way, completion(way, usage), server=server)
        assert (reply.usage, reply.cost) == (Usage(1_000, 1_000), Decimal("0.01125"))


async def test_when_a_later_usage_is_of_zeros_then_the_counts_stay(openai: str, server: Server) -> None:
    usages = [COUNTED, dict.fromkeys(COUNTED, 0), {"prompt_tokens": 1_000, "completion_tokens": 0}]
    reply = await asked(openai, "stream", completion("stream", usages), server=server)
    assert (reply.usage, reply.cost) == (Usage(1_000, 1_000), Decimal("0.01125"))


@pytest.mark.parametrize(
    ("details", "reasoning"), [({"completion_tokens_details": {"reasoning_tokens": 94}}, 94), ({}, 94)]
)
async def test_when_reasoning_is_counted_in_the_total_only_then_it_is_output(
    openai: str, server: Server, way: Way, details: Mapping[str, object], reasoning: int
) -> None:
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, **details}
    reply = await asked(openai, way, completion(way, usage), server=server, prices=PRICES)
    assert (reply.usage, reply.cost) == (Usage(32, 103, reasoning_tokens=reasoning), Decimal("0.001062"))
    inside = {**usage, "completion_tokens": 103}
    assert (await asked(openai, way, completion(way, inside), server=server)).usage.output_tokens == 103


@pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"])
async def test_when_cache_hits_have_another_name_then_they_are_cheap_all_the_same(
    openai: str, server: Server, way: Way, name: str
) -> None:
    reply = await asked(openai, way, completion(way, {**COUNTED, name: 800}), server=server, prices=PRICES)
    assert (reply.usage.cache_read_tokens, reply.cost) == (800, Decimal("0.0106"))


# --- tiers ---


@pytest.mark.parametrize(
    ("asking", "served", "cost"),
    [
        ("flex", "flex", "0.005625"),
        ("priority", "priority", "0.0225"),
        ("priority", "default", "0.01125"),
        ("auto", "default", "0.01125"),
        (None, "priority", "0.0225"),
        (None, None, "0.01125"),
        ("flex", None, None),  # it may have been served at any tier
        ("auto", None, "0.01125"),
        (None, "scale", None),  # the list does not know it
    ],
)
async def test_when_a_tier_served_then_it_is_the_price_and_in_the_row(
    openai: str, server: Server, way: Way, asking: str | None, served: str | None, cost: str | None
) -> None:
    params = {"params": {"service_tier": asking}} if asking else {}
    reply = await asked(openai, way, completion(way, COUNTED, service_tier=served), server=server, **params)
    [row] = rows()
    assert (reply.cost, row["service_tier"]) == (cost and Decimal(cost), served)


@pytest.mark.parametrize(
    ("said", "tier", "cost"),
    [
        ({"service_tier": "standard", "speed": "standard"}, "standard", "0.024"),
        ({"service_tier": "standard", "speed": "fast"}, "fast", "0.048"),
        ({"service_tier": "priority"}, "priority", None),
        ({"service_tier": "priority", "speed": "fast"}, "priority+fast", None),
        ({"service_tier": "standard", "inference_geo": "us"}, "us", None),
        ({"service_tier": "batch"}, "batch", "0.012"),
        ({}, None, "0.024"),
    ],
)
async def test_when_anthropic_names_a_tier_then_it_is_the_price_and_in_the_row(
    server: Server, keys: str, way: Way, said: Mapping[str, str], tier: str | None, cost: str | None
) -> None:
    assert keys
    act = message(way, {"input_tokens": 1_000, "output_tokens": 1_000, **said})
    reply = await asked(server.url, way, act, server=server, provider="anthropic", model="claude-opus-5-5")
    [row] = rows()
    assert (reply.cost, row["service_tier"]) == (cost and Decimal(cost), tier)


async def test_when_google_serves_at_a_tier_without_a_list_price_then_the_row_is_unpriced(
    server: Server, keys: str, way: Way
) -> None:
    assert keys
    google: dict[str, Any] = {"provider": "google", "model": "gemini-2.5-pro"}
    costs: list[Decimal | None] = []
    for tier in ("flex", "standard", None):
        params = {"service_tier": "SERVICE_TIER_FLEX"}
        reply = await asked(server.url, way, generated(way, tier), server=server, params=params, **google)
        costs.append(reply.cost)
    assert costs == [None, Decimal("0.00225"), None]
    assert [row["service_tier"] for row in rows()] == ["flex", "standard", None]
    assert server.requests[0].json["service_tier"] == "SERVICE_TIER_FLEX"
    assert "service_tier" not in server.requests[0].json.get("generationConfig", {})


# --- flat fees ---


async def test_when_a_provider_searched_then_its_fee_is_in_the_price(server: Server, keys: str, way: Way) -> None:
    assert keys
    usage = {"input_tokens": 1_000, "output_tokens": 1_000, "server_tool_use": {"web_search_requests": 5}}
    anthropic: dict[str, Any] = {"provider": "anthropic", "model": "claude-opus-5-5"}
    reply = await asked(server.url, way, message(way, usage), server=server, **anthropic)
    assert (reply.usage.web_searches, reply.cost) == (5, Decimal("0.074"))
    own = await asked(server.url, way, message(way, usage), server=server, prices=PRICES, **anthropic)
    assert own.cost == Decimal("0.061")  # own prices are of tokens; the fee is the list's
    assert [row["web_searches"] for row in rows()] == [5, 5]


async def test_when_the_list_knows_no_fee_for_a_search_then_the_row_is_unpriced(
    openai: str, server: Server, way: Way
) -> None:
    cited = [{"type": "url_citation", "url_citation": {"url": "https://rivers.example"}}]
    searched = completion(way, COUNTED, annotations=cited)
    assert (await asked(openai, way, searched, server=server)).cost == Decimal("0.02125")
    unknown = completion(way, COUNTED, annotations=cited, model="gpt-4o-search-preview")
    assert (await asked(openai, way, unknown, server=server, model="gpt-4o-search-preview")).cost is None
    plain = completion(way, COUNTED, annotations=[{"type": "file_citation"}])
    assert (await asked(openai, way, plain, server=server)).cost == Decimal("0.01125")


async def test_when_gemini_searched_then_its_models_charge_by_the_answer_or_by_the_query(
    server: Server, keys: str, way: Way
) -> None:
    assert keys
    searches: list[int] = []
    for model in ("gemini-2.5-pro", "gemini-3.5-flash"):
        act = generated(way, queries=3, model=model)
        reply = await asked(server.url, way, act, server=server, provider="google", model=model)
        searches.append(reply.usage.web_searches)
    assert searches == [1, 3]


# --- costs that are stated ---


@pytest.fixture
def proxy(server: Server, keys: str, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Send what is asked of any http:// address to the test's own server, as a proxy."""
    assert keys
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    return server


OPENROUTER = {"cost": 0.018, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.018}}


@pytest.mark.parametrize(
    ("host", "said", "cost"),
    [
        ("openrouter.ai/api", {"cost": 0.018}, "0.018"),
        ("openrouter.ai/api", {"cost": 0}, "0"),
        ("eu.openrouter.ai/api", OPENROUTER, "0.018"),
        ("openrouter.ai/api", {**OPENROUTER, "is_byok": True, "cost": 0}, "0.018"),
        ("openrouter.ai/api", {**OPENROUTER, "is_byok": True, "cost": 0.0009}, "0.0189"),
        ("api.x.ai", {"cost_in_usd_ticks": 37_756_000}, "0.0037756"),
        ("api.perplexity.ai", {"cost": {"input_tokens_cost": 0.001, "total_cost": 0.006}}, "0.006"),
        # Not by a word in the address, and not another's field.
        ("gateway.example/openrouter.ai/api", {"cost": 0.018}, "0.01125"),
        ("notopenrouter.ai", OPENROUTER, "0.01125"),
        ("openrouter.ai.example", OPENROUTER, "0.01125"),
        ("openrouter.ai/api", {"cost_in_usd_ticks": 37_756_000}, "0.01125"),
        ("api.x.ai", {"cost": 0.018}, "0.01125"),
        ("openrouter.ai/api", {"cost": "much"}, "0.01125"),
        ("openrouter.ai/api", {"cost": -1}, "0.01125"),
    ],
)
async def test_when_a_host_is_known_to_state_costs_then_they_beat_the_list(
    proxy: Server, way: Way, host: str, said: Mapping[str, object], cost: str
) -> None:
    act, key = completion(way, {**COUNTED, **said}), "OPENAI_API_KEY"
    reply = await asked(f"http://{host}/v1", way, act, server=proxy, api_key_env=key)
    [row] = rows()
    assert proxy.requests[-1].path == f"http://{host}/v1/chat/completions"
    assert reply.cost == Decimal(cost)
    assert row["cost_source"] == ("computed" if cost == "0.01125" else "reported")


@pytest.mark.parametrize(
    ("said", "cost"), [({"cost": 0.5}, "0.01125"), (OPENROUTER, "0.018"), ({"cost_in_usd_ticks": 10**8}, "0.01")]
)
async def test_when_a_gateway_on_this_machine_passes_costs_on_then_they_count_where_they_are_unmistakable(
    openai: str, server: Server, way: Way, said: Mapping[str, object], cost: str
) -> None:
    reply = await asked(openai, way, completion(way, {**COUNTED, **said}), server=server)
    assert reply.cost == Decimal(cost)


@pytest.mark.parametrize(("said", "cost"), [("0.0042", "0.0042"), ("0.0", "0.01125"), ("None", "0.01125")])
async def test_when_a_litellm_proxy_states_the_cost_then_it_beats_the_list_unless_it_is_0(
    openai: str, server: Server, said: str, cost: str
) -> None:
    act = completion("plain", COUNTED, headers={"x-litellm-response-cost": said})
    assert (await asked(openai, "plain", act, server=server)).cost == Decimal(cost)


async def test_when_a_cost_is_stated_beside_a_usage_without_counts_then_the_row_stays_unpriced(
    openai: str, server: Server, way: Way
) -> None:
    nothing = {**dict.fromkeys(COUNTED, 0), "cost": 0, "is_byok": False}
    assert (await asked(openai, way, completion(way, nothing), server=server)).cost is None


def test_when_the_list_has_no_such_tier_then_every_way_to_price_says_so() -> None:
    book, usage = PriceBook(), Usage(1_000, 1_000)

    def cost(model: str, url: str, tier: str | None) -> Decimal | None:
        return book.price(usage, provider="openai", model=model, base_url=url, tier=tier).cost

    groq = ("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1")
    assert [cost(*groq, tier) for tier in (None, "on_demand", "flex")] == [Decimal("0.00138")] * 3
    assert cost(*groq, "performance") is None
    azure = ("gpt-5", "https://house.openai.azure.com")
    assert cost(*azure, "default") == Decimal("0.01125")
    assert cost(*azure, "flex") is None  # the list has no tiers for whoever resells
