"""`effort=`, `tier=` and `prompt_cache=`: one word each, in each provider's own way, or refused with what is taken."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cells import Shell, write
from servers import OPENAI, Answer, Tokens, dialect_of, faults
from victor_nb import Agent, Settings, Stage, Strategy, Usage, session
from victor_nb.accounting.worst_case import worst_case
from victor_nb.calls import orchestrator
from victor_nb.errors import BadRequestError, BudgetError, ConfigError, OverloadedError, RateLimitError
from victor_nb.notebook.display import bill
from victor_nb.providers import base
from victor_nb.providers.spec import SPECS, spec_of
from victor_nb.values import ChatRequest, Message
from workbench import CANARY, Way, ask, fail, rows, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Exchange, Server
    from servers.exchange import Act

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


@pytest.fixture(autouse=True)
def keys_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a key for each provider."""
    monkeypatch.setenv("NO_PROXY", "*")
    for spec in SPECS.values():
        for name in spec.key_variables:
            monkeypatch.setenv(name, CANARY)


async def agent_of(server: Server, provider: str, model: str, **options: Any) -> Agent:
    root = "" if spec_of(provider).dialect != spec_of("openai").dialect else "/v1"
    return await Agent.create(provider=provider, model=model, base_url=f"{server.url}{root}", retries=0, **options)


# --- on the wire ---


@dataclass(frozen=True)
class Sent:
    """What an option becomes in a body; None: nothing that was not there without it."""

    provider: str
    model: str
    option: str
    word: str
    body: Any

    @property
    def given(self) -> dict[str, Any]:
        """The option of a call."""
        return {self.option: self.word}

    def __repr__(self) -> str:
        return f"{self.provider}-{self.model}-{self.option}-{self.word}"


def config(**settings: Any) -> dict[str, Any]:
    return {"generationConfig": settings}


SENT = [
    Sent("openai", "gpt-5.1", "effort", "none", {"reasoning_effort": "none"}),
    Sent("openai", "gpt-6-luna", "effort", "max", {"reasoning_effort": "max"}),
    Sent("openai", "gpt-5.5-pro", "effort", "xhigh", {"reasoning": {"effort": "xhigh"}}),
    Sent("openai", "gpt-5.5", "tier", "flex", {"service_tier": "flex"}),
    Sent("openai", "gpt-5.5", "tier", "standard", {"service_tier": "default"}),
    Sent("openai", "gpt-4o", "tier", "priority", {"service_tier": "priority"}),
    Sent("openai", "gpt-5.5-pro", "tier", "flex", {"service_tier": "flex"}),
    Sent("openai", "gpt-6-luna", "prompt_cache", "off", {"prompt_cache_options": {"mode": "explicit"}}),
    Sent("anthropic", "claude-opus-5-5", "effort", "xhigh", {"output_config": {"effort": "xhigh"}}),
    Sent("anthropic", "claude-opus-5-5", "tier", "fast", {"speed": "fast"}),
    Sent("anthropic", "claude-opus-5-5", "tier", "standard", {"service_tier": "standard_only"}),
    Sent("anthropic", "claude-haiku-5-5", "prompt_cache", "auto", {"cache_control": {"type": "ephemeral"}}),
    Sent("anthropic", "claude-haiku-5-5", "prompt_cache", "5m", {"cache_control": {"type": "ephemeral", "ttl": "5m"}}),
    Sent("anthropic", "claude-haiku-5-5", "prompt_cache", "1h", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}),
    Sent("anthropic", "claude-haiku-5-5", "prompt_cache", "off", {}),
    Sent("google", "gemini-2.5-flash", "effort", "none", config(thinkingConfig={"thinkingBudget": 0})),
    Sent("google", "gemini-2.5-pro", "effort", "high", config(thinkingConfig={"thinkingBudget": 24_576})),
    Sent("google", "gemini-3.5-flash", "effort", "minimal", config(thinkingConfig={"thinkingLevel": "minimal"})),
    Sent("google", "gemini-3.5-flash", "tier", "flex", {"service_tier": "flex"}),
    Sent("google", "gemini-3.5-flash", "prompt_cache", "auto", {}),
    Sent("ollama", "gpt-oss:20b", "effort", "high", {"think": "high"}),
    Sent("ollama", "qwen3", "effort", "none", {"think": False}),
    Sent("groq", "openai/gpt-oss-120b", "effort", "low", {"reasoning_effort": "low"}),
    Sent("groq", "llama-3.3-70b-versatile", "tier", "standard", {"service_tier": "on_demand"}),
    Sent("groq", "llama-3.3-70b-versatile", "tier", "flex", {"service_tier": "flex"}),
    Sent("openrouter", "anthropic/claude-opus-5.5", "effort", "max", {"reasoning_effort": "max"}),
    Sent("deepseek", "deepseek-v4-pro", "effort", "max", {"reasoning_effort": "max"}),
    Sent("azure", "ours", "tier", "flex", {"service_tier": "flex"}),
]


@pytest.mark.parametrize("case", SENT, ids=repr)
async def test_when_a_word_is_given_then_it_is_sent_as_the_provider_says_it(
    case: Sent, way: Way, server: Server
) -> None:
    server.play(Answer(), Answer())
    agent = await agent_of(server, case.provider, case.model)
    await ask(agent, "How many?", way)
    await ask(agent, "How many?", way, **case.given)
    await agent.close()
    without, body = (request.json for request in server.requests)
    assert body == without | case.body


async def test_when_openai_is_to_cache_then_equal_beginnings_share_a_key_that_tells_nothing(server: Server) -> None:
    server.play(*[Answer()] * 4)
    agent = await agent_of(server, "openai", "gpt-6-luna", prompt_cache="auto")
    for system in ("Be brief.", "Be brief.", "Be long.", None):
        await agent.run(f"Question {len(server.requests)}?", system=system)
    await agent.close()
    keys = [request.json["prompt_cache_key"] for request in server.requests]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert all(len(key) <= 64 and key.isalnum() for key in keys)


async def test_when_an_answer_is_held_to_a_schema_then_an_effort_is_sent_beside_it(server: Server) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for provider, model in (
        ("anthropic", "claude-opus-5-5"),
        ("openai", "gpt-5.5-pro"),
        ("google", "gemini-3.5-flash"),
    ):
        server.play(Answer(pieces=('{"n": 7}',)))
        agent = await agent_of(server, provider, model, effort="high")
        reply = await agent.run("How many?", schema=schema)
        await agent.close()
        assert reply.data == {"n": 7}
        body = server.requests[-1].json
        sent = body.get("output_config") or body.get("reasoning") or body["generationConfig"]["thinkingConfig"]
        assert "high" in sent.values()
        assert "integer" in str(body)


async def test_when_a_profile_has_words_then_a_call_s_own_beat_them_and_params_beat_both(server: Server) -> None:
    server.play(*[Answer()] * 4)
    agent = await agent_of(server, "openai", "gpt-5.5", effort="low", tier="flex")
    await agent.run("Hi.")
    await agent.run("Hi.", effort="high", tier="priority")
    await agent.run("Hi.", effort=None, tier=None)
    await agent.run("Hi.", params={"service_tier": "auto"})
    await agent.close()
    sent = [(request.json.get("reasoning_effort"), request.json.get("service_tier")) for request in server.requests]
    assert sent == [("low", "flex"), ("high", "priority"), (None, None), ("low", "auto")]


# --- refused before anything is sent ---


@pytest.mark.parametrize(
    ("provider", "model", "options", "said"),
    [
        ("openai", "gpt-4o-mini", {"effort": "low"}, "gpt-4o-mini takes no effort. Leave effort= out"),
        (
            "openai",
            "gpt-5.1",
            {"effort": "minimal"},
            "gpt-5.1 takes effort=none or low or medium or high, not minimal.",
        ),
        ("openai", "gpt-5", {"effort": "none"}, "gpt-5 takes effort=minimal or low or medium or high, not none."),
        ("openai", "gpt-6.1-sol", {"effort": "none"}, "takes effort=low or medium or high or xhigh or max, not none."),
        ("openai", "gpt-4o", {"tier": "flex"}, "gpt-4o takes tier=standard or priority, not flex."),
        ("openai", "gpt-5.5", {"tier": "fast"}, "gpt-5.5 takes tier=standard or flex or priority, not fast."),
        ("openai", "gpt-5.5", {"tier": "flex,fast"}, "takes tier=standard or flex or priority, not fast."),
        ("openai", "gpt-4o", {"prompt_cache": "1h"}, "gpt-4o takes prompt_cache=auto, not 1h."),
        ("openai", "gpt-4o", {"prompt_cache": False}, "gpt-4o takes prompt_cache=auto, not off."),
        ("anthropic", "claude-sonnet-4-5", {"effort": "low"}, "claude-sonnet-4-5 takes no effort."),
        ("anthropic", "claude-opus-4-5", {"effort": "max"}, "takes effort=low or medium or high, not max."),
        ("anthropic", "claude-opus-5", {"tier": "fast"}, "claude-opus-5 takes tier=standard, not fast."),
        ("google", "gemini-2.5-pro", {"effort": "none"}, "takes effort=low or medium or high, not none."),
        ("google", "gemini-2.0-flash", {"effort": "low"}, "gemini-2.0-flash takes no effort."),
        ("google", "gemini-2.0-flash", {"tier": "flex"}, "gemini-2.0-flash takes tier=standard, not flex."),
        ("ollama", "qwen3", {"tier": "flex"}, "ollama takes no tier. Leave tier= out, or ask another profile."),
        ("ollama", "gpt-oss:20b", {"effort": "none"}, "takes effort=low or medium or high, not none."),
        ("groq", "llama-3.3-70b-versatile", {"effort": "low"}, "llama-3.3-70b-versatile takes no effort."),
        ("groq", "qwen/qwen3-32b", {"tier": "priority"}, "takes tier=standard or flex, not priority."),
        ("lmstudio", "any", {"effort": "low"}, "lmstudio takes no effort."),
        ("together", "any", {"prompt_cache": "auto"}, "together takes no prompt_cache."),
    ],
)
async def test_when_a_model_does_not_take_a_word_then_the_words_that_it_takes_are_listed(
    provider: str, model: str, options: dict[str, Any], said: str, server: Server
) -> None:
    agent = await agent_of(server, provider, model)
    error = await fail(agent.run("Hi.", **options))
    await agent.close()
    assert isinstance(error, BadRequestError)
    assert said in str(error)
    assert server.requests == rows() == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("effort", "much", "takes none, minimal, low, medium, high, xhigh or max, not 'much'"),
        (
            "tier",
            "flexx",
            "takes standard, flex, priority, fast, or several in turn, such as flex,standard, not 'flexx'",
        ),
        ("tier", "flex,flex", "not 'flex,flex'"),
        ("tier", "", "not ''"),
        ("prompt_cache", "2h", "takes auto, 5m, 1h or off, not '2h'"),
        ("prompt_cache", True, "takes auto, 5m, 1h or off, not True"),
    ],
)
def test_when_a_word_is_none_of_ours_then_it_is_refused_everywhere(
    name: str, value: object, said: str, tmp_path: Path
) -> None:
    desk = {"provider": "openai", "model": "gpt-5.5"}
    write_profiles(tmp_path, desk=desk)
    given: dict[str, Any] = {name: value}
    for surface in (
        lambda: Agent.create_sync("desk", **given),
        lambda: session().pool.get_orchestrator("desk").run_sync("Hi.", **given),
        lambda: Stage("one", "desk", "{{ task }}", **given),
        lambda: write_profiles(tmp_path, desk={**desk, **given}),
    ):
        with pytest.raises(ConfigError) as caught:
            surface()
        assert said in str(caught.value)
    assert rows() == []


def test_when_a_model_has_a_tier_then_the_list_of_prices_knows_it_and_the_other_way_round() -> None:
    prices, spec = session().runtime.prices, spec_of("openai")
    for model in ("gpt-4o", "gpt-4.1-mini", "gpt-5", "gpt-5-nano", "gpt-5.4-pro", "gpt-5.5", "gpt-6-luna", "o3", "o1"):
        known = {
            tier
            for tier in ("flex", "priority")
            if prices.price(Usage(10, 10), provider="openai", model=model, tier=tier).cost is not None
        }
        assert {*spec.words_for("tier", model)} == {"standard", *known}, model


# --- every surface takes them ---


def test_when_words_stand_in_a_file_a_stage_a_line_or_a_default_then_all_send_them(
    tmp_path: Path, server: Server
) -> None:
    text = f"""
default: fast
profiles:
  fast: {{provider: openai, model: gpt-6-luna, base_url: "{server.url}/v1", prompt_cache: off, tier: "flex,standard"}}
strategies:
  think: [{{name: one, profile: fast, prompt: "{{{{ task }}}}", effort: high}}]
"""
    (tmp_path / "profiles.yaml").write_text(text, encoding="utf-8")
    assert Settings().profile("fast").prompt_cache == "off"
    shell = Shell()
    server.play(*[Answer()] * 4)
    shell.run("%%victor fast effort=low\nHi.")
    shell.run("%victor set effort=medium tier=priority prompt_cache=auto")
    shell.run("%%victor\nHi.")
    shell.run("%victor set reset")
    shell.run("%%victor strategy=think\nHi.")
    Strategy("mine", [Stage("one", "fast", "{{ task }}", effort="max")]).run_sync("Hi.")
    sent = [(each.json["reasoning_effort"], each.json["service_tier"]) for each in server.requests]
    assert sent == [("low", "flex"), ("medium", "priority"), ("high", "flex"), ("max", "flex")]
    assert [name for name in server.requests[0].json if "cache" in name] == ["prompt_cache_options"]
    assert [name for name in server.requests[1].json if "cache" in name] == ["prompt_cache_key"]
    assert {"effort=", "tier=", "prompt_cache="} <= shell.complete("%%victor fast ")
    assert {"xhigh", "max"} <= shell.complete("%%victor fast effort=")


# --- tiers: waits, refusals, fallbacks, prices ---

UNAVAILABLE = b'{"error": {"message": "Resource Unavailable", "type": "resource_unavailable", "code": null}}'


async def served(exchange: Exchange) -> None:
    """Answer at the tier that was asked for."""
    body = exchange.request.json
    tier = body.get("service_tier", "default")
    answer = Answer(tokens=Tokens(1_000, 1_000, reasoning=600))
    plain = dialect_of(exchange.request).plain(answer, exchange.request)
    await exchange.whole(
        200, {"content-type": "application/json"}, plain[:-1] + f', "service_tier": "{tier}"}}'.encode()
    )


async def test_when_flex_has_no_capacity_then_it_costs_nothing_and_is_an_error(server: Server) -> None:
    server.play(faults.status(429, body=UNAVAILABLE))
    agent = await agent_of(server, "openai", "gpt-5.5", tier="flex")
    error = await fail(agent.run("Hi."))
    await agent.close()
    assert isinstance(error, RateLimitError)
    assert "Resource Unavailable. The tier has no capacity: wait, or name another after it" in str(error)
    assert len(server.requests) == 1
    assert [row["cost"] for row in rows()] == [0]


@pytest.mark.parametrize(
    ("provider", "model", "refusal", "fallback", "cost"),
    [
        ("openai", "gpt-5.5", faults.status(429, body=UNAVAILABLE), "default", "0.035"),
        ("groq", "openai/gpt-oss-120b", faults.status(498, "capacity_exceeded"), "on_demand", "0.00075"),
    ],
)
async def test_when_a_fallback_of_the_tier_is_asked_for_then_it_is_tried_at_once(
    provider: str, model: str, refusal: Act, fallback: str, cost: str, server: Server
) -> None:
    server.play(refusal, served)
    agent = await agent_of(server, provider, model, tier="flex,standard")
    reply = await agent.run("Hi.")
    await agent.close()
    assert [request.json["service_tier"] for request in server.requests] == ["flex", fallback]
    assert reply.cost == Decimal(cost)
    assert reply.notes == ("tier flex had no capacity: standard was asked for",)
    assert [(row["status"], row["cost"]) for row in rows()] == [("error", 0), ("ok", float(cost))]


async def test_when_all_tiers_are_full_then_the_last_refusal_is_the_error(server: Server) -> None:
    server.play(faults.status(429, body=UNAVAILABLE), faults.status(503, "Busy."))
    agent = await agent_of(server, "openai", "gpt-5.5")
    error = await fail(agent.run("Hi.", tier="flex,standard"))
    await agent.close()
    assert isinstance(error, OverloadedError)
    assert len(server.requests) == 2


async def test_when_an_answer_is_of_a_tier_then_its_price_and_the_bill_say_so(server: Server) -> None:
    costs = {None: "0.035", "standard": "0.035", "flex": "0.0175", "priority": "0.0875"}
    server.play(*[served] * len(costs))
    agent = await agent_of(server, "openai", "gpt-5.5")
    for tier, cost in costs.items():
        reply = await agent.run("Hi.", tier=tier)
        assert reply.cost == Decimal(cost)
        assert ("tier " in bill(reply)) is (tier in {"flex", "priority"})
        assert "1,000 -> 1,000 tok (600 reasoning)" in bill(reply)
        assert (reply.service_tier, rows()[-1]["service_tier"]) == ((sent := tier_of(tier)), sent)
    await agent.close()


def tier_of(word: str | None) -> str:
    """Return what OpenAI calls a tier."""
    return "default" if word is None or word == "standard" else word


async def test_when_another_tier_served_than_was_asked_for_then_it_is_said_and_priced(server: Server) -> None:
    async def standard(exchange: Exchange) -> None:
        plain = dialect_of(exchange.request).plain(Answer(tokens=Tokens(1_000, 1_000)), exchange.request)
        await exchange.whole(200, {"content-type": "application/json"}, plain[:-1] + b', "service_tier": "default"}')

    server.play(standard, Answer())
    agent = await agent_of(server, "openai", "gpt-5.5", tier="priority")
    reply, silent = await agent.run("Hi."), await agent.run("Hi.")
    await agent.close()
    assert (reply.cost, reply.notes) == (Decimal("0.035"), ("served at the standard tier, not at priority",))
    assert silent.cost is None, "which tier served is not stated"


@pytest.mark.parametrize("tier", ["flex", "flex,standard", "standard"])
async def test_when_a_call_is_of_the_flex_tier_then_it_may_take_longer(
    tier: str, monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path
) -> None:
    assert orchestrator.FLEX_SECONDS == 900
    write_profiles(tmp_path, desk={"provider": "openai", "model": "gpt-5.5", "base_url": f"{server.url}/v1"})
    profile = session().settings.profile("desk")
    assert profile.timeout.total < 900
    calls = session().pool.get_orchestrator("desk")
    server.play(faults.silence())
    monkeypatch.setattr(orchestrator, "FLEX_SECONDS", 0.2)
    if tier == "standard":
        error = await fail(calls.run("Hi.", tier=tier, timeout=0.1, retries=0))
        assert "within 0.1 s" in str(error)
        return
    error = await fail(calls.run("Hi.", tier=tier, retries=0))
    assert "within 0.2 s" in str(error)
    error = await fail(calls.run("Hi.", tier=tier, timeout=0.1, retries=0))
    assert "within 0.1 s" in str(error)


async def test_when_a_stream_of_the_flex_tier_is_silent_then_it_is_waited_for_as_long(
    monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path
) -> None:
    assert base.FLEX_SECONDS == 900
    monkeypatch.setattr(base, "FLEX_SECONDS", 0.1)
    desk = {"provider": "openai", "model": "gpt-5.5", "base_url": f"{server.url}/v1", "retries": 0}
    write_profiles(tmp_path, desk=desk, hasty={**desk, "timeout": {"read": 0.05}})
    server.play(faults.silence(), faults.silence())
    for name, tier in (("desk", "flex"), ("hasty", "standard")):
        error = await fail(ask(session().pool.get_orchestrator(name), "Hi.", "stream", tier=tier))
        assert "sent nothing" in str(error), "the read timeout, long before that of the whole call"


# --- what a budget holds ---


def request(model: str, **options: Any) -> ChatRequest:
    return ChatRequest(model=model, messages=(Message("user", "x" * 100_000),), max_tokens=1_000, **options)


@pytest.mark.parametrize(
    ("provider", "model", "options", "factor"),
    [
        ("openai", "gpt-5.5", {"tier": "priority"}, "2.5"),
        ("openai", "gpt-5.5", {"tier": "flex"}, "1"),  # it may be served as standard
        ("anthropic", "claude-opus-5-5", {"tier": "fast"}, "2"),
        ("anthropic", "claude-opus-5-5", {"prompt_cache": "off"}, "1"),
    ],
)
def test_when_a_budget_holds_then_it_is_the_price_of_the_tier_that_is_asked_for(
    provider: str, model: str, options: dict[str, str], factor: str, tmp_path: Path
) -> None:
    write_profiles(tmp_path, desk={"provider": provider, "model": model})
    runtime, profile = session().runtime, session().settings.profile("desk")
    tariff = runtime.tariff(profile, session().settings.base_url(profile))

    def worst(**given: Any) -> Decimal:
        held = worst_case(request(model, **given), tariff, mode="live", calibration=runtime.calibration)
        assert held is not None
        return held

    assert worst(**options) == worst() * Decimal(factor)


def test_when_what_is_cached_is_dearer_then_a_budget_holds_that(tmp_path: Path) -> None:
    """An Opus writes to its cache at 1.25 times the price of input, and at twice that price to keep it for an hour."""
    write_profiles(tmp_path, desk={"provider": "anthropic", "model": "claude-opus-5-5"})
    runtime, profile = session().runtime, session().settings.profile("desk")
    tariff = runtime.tariff(profile, "https://api.anthropic.com")
    rates = tariff.rates()
    assert rates is not None
    held = [
        worst_case(request(profile.model, prompt_cache=word), tariff, mode="live", calibration=runtime.calibration)
        for word in (None, "off", "auto", "5m", "1h")
    ]
    inputs = [(each or 0) - rates.output * 1_000 / 1_000_000 for each in held]
    assert [each / inputs[0] for each in inputs] == [1, 1, Decimal("1.25"), Decimal("1.25"), 2]


def test_when_the_price_of_a_tier_is_unknown_then_a_budget_refuses_it(tmp_path: Path) -> None:
    write_profiles(tmp_path, desk={"provider": "google", "model": "gemini-2.5-flash", "max_tokens": 10})
    session().set_budget("1")
    with pytest.raises(BudgetError, match="no price is known"):
        session().pool.get_orchestrator("desk").run_sync("Hi.", tier="flex")


# --- simulated ---


def test_when_a_tier_is_simulated_then_the_bill_is_that_of_the_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write(tmp_path, {"fast": {"provider": "openai", "model": OPENAI.model}})
    shell = Shell()
    shown = shell.run("%%victor openai:gpt-5.5 tier=flex out=flex\nName 3 rivers.").plain
    shell.run("%%victor openai:gpt-5.5 tier=priority out=dear\nName 3 rivers.")
    flex, dear = shell.names["flex"], shell.names["dear"]
    assert flex.content == dear.content, "a tier is no part of the question"
    assert " · tier flex · " in shown
    rate = session().runtime.find_tariff("openai:gpt-5.5", session().settings)
    assert rate is not None
    assert flex.cost == rate.price(flex.usage, tier="flex").cost
    assert dear.cost == rate.price(dear.usage, tier="priority").cost
    assert "tier" in shell.run("%%victor google:gemini-2.5-flash tier=flex\nHi.").plain
    plain, fast = (
        shell.run(f"%%victor anthropic:claude-opus-5-5 {words} out=r\nName 3 rivers.") and shell.names["r"]
        for words in ("", "tier=fast")
    )
    assert fast.service_tier == "fast"
    assert fast.usage == plain.usage
    assert fast.cost == 2 * plain.cost
    assert "takes tier  " in (known := shell.run("%victor profiles openai:gpt-5.5").plain)
    assert "none low medium high xhigh" in known
    cheap, usual = (
        shell.run(f"%%victor openai:gpt-5.5 {words} max_tokens=100 --dry\nHi.").plain for words in ("tier=flex", "")
    )
    assert cheap != usual
    assert "flex" in cheap
