"""Programs as a reader of the guide to multi-provider workflows writes them: pool, profiles, agents, costs, errors.

All of them run against the simulator, and none holds a key.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from victor_nb import Agent, estimate_cost
from victor_nb.config.settings import Settings
from victor_nb.errors import VictorWarning
from victor_nb.kernel import session
from victor_nb.workflows.orchestrator_pool import OrchestratorPool

if TYPE_CHECKING:
    from victor_nb.values import Reply

PROFILES = """\
profiles:
  default:
    provider: anthropic
    model: claude-sonnet-4-5

  fast:
    provider: openai
    model: gpt-4o-mini
    temperature: 0.5

  local:
    provider: ollama
    model: qwen2.5-coder:7b
    temperature: 0.8

  premium:
    provider: anthropic
    model: claude-opus-4-5
"""
CHOSEN = """\
profiles:
  research:
    provider: anthropic
    model: claude-sonnet-4-5
  coding:
    provider: openai
    model: gpt-4o
  testing:
    provider: openai
    model: gpt-4o-mini
"""


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the guide's profiles.yaml into the working folder, and simulate without waiting."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    path = tmp_path / "profiles.yaml"
    path.write_text(PROFILES, encoding="utf-8")
    return path


def settle(*replies: Reply) -> None:
    """Hold that replies are simulated ones with text and tokens."""
    for reply in replies:
        assert reply.content
        assert (reply.mode, reply.billed, reply.status) == ("simulate", 0, "ok")
        assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens > 0


def test_when_a_pool_is_made_then_it_gives_orchestrators_by_name() -> None:
    settings = Settings()
    pool = OrchestratorPool(settings)
    orchestrator = pool.get_orchestrator("fast")
    default = pool.get_default_orchestrator()
    settle(asyncio.run(orchestrator.run("Say hello")), asyncio.run(default.run("Say hello")))
    assert default.profile.model == "claude-sonnet-4-5"
    pool.shutdown()


def test_when_a_container_is_given_then_it_may_be_nothing_or_a_session() -> None:
    with OrchestratorPool(Settings(), container=None) as pool:
        settle(pool.get_orchestrator("local").run_sync("Say hello"))
    with OrchestratorPool(Settings(), container=session()) as pool:
        settle(pool.get_orchestrator("local").run_sync("Say hello"))
    assert len(session().ledger.to_frame()) == 2


def test_when_the_guides_temperatures_are_kept_then_a_model_that_takes_none_is_asked_without(profiles: Path) -> None:
    profiles.write_text(PROFILES.replace("claude-sonnet-4-5", "claude-sonnet-4-5\n    temperature: 0.7"))
    with OrchestratorPool(Settings()) as pool:
        reply = pool.get_default_orchestrator().run_sync("Say hello")
    settle(reply)
    assert any("temperature" in note for note in reply.notes)


def test_when_costs_matter_then_a_free_model_thinks_a_cheap_one_works_and_a_good_one_reviews() -> None:
    async def workflow() -> list[Reply]:
        thinker = await Agent.create(provider="ollama", model="qwen2.5-coder:7b")
        ideas = await thinker.run("Brainstorm 5 feature ideas")
        worker = await Agent.create(provider="openai", model="gpt-4o-mini")
        work = await worker.run(f"Implement this idea: {ideas.content[0]}")
        reviewer = await Agent.create(provider="anthropic", model="claude-sonnet-4-5")
        return [ideas, work, await reviewer.run(f"Review this code: {work.content}")]

    ideas, work, review = asyncio.run(workflow())
    settle(ideas, work, review)
    assert isinstance(ideas.content, str)
    assert ideas.cost == 0
    assert work.cost is not None
    assert review.cost is not None
    assert 0 < work.cost < review.cost


def test_when_quality_matters_then_each_task_has_its_model() -> None:
    async def workflow() -> tuple[Reply, Reply, Reply]:
        researcher = await Agent.create(provider="anthropic", model="claude-sonnet-4-5")
        coder = await Agent.create(provider="openai", model="gpt-4o")
        tester = await Agent.create(provider="openai", model="gpt-4o-mini")
        research = await researcher.run("Research best practices for API design")
        code = await coder.run(f"Implement API based on: {research.content}")
        return research, code, await tester.run(f"Generate tests for: {code.content}")

    replies = asyncio.run(workflow())
    settle(*replies)
    assert [reply.model for reply in replies] == ["claude-sonnet-4-5", "gpt-4o", "gpt-4o-mini"]


def test_when_speed_matters_then_options_come_at_once_and_a_list_of_replies_reads_as_text() -> None:
    async def workflow() -> tuple[list[Reply], Reply]:
        quick = await Agent.create(provider="openai", model="gpt-4o-mini")
        options = await asyncio.gather(*(quick.run(f"Generate approach {n} for solving X") for n in range(5)))
        judge = await Agent.create(provider="anthropic", model="claude-sonnet-4-5")
        return options, await judge.run(f"Evaluate these approaches and pick the best: {options}")

    options, best = asyncio.run(workflow())
    settle(*options, best)
    assert best.usage.input_tokens > sum(option.usage.output_tokens for option in options) / 2


def test_when_the_cache_is_used_then_it_is_listed_and_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    pool = OrchestratorPool(Settings(), container=None)
    first = pool.get_orchestrator(profile="fast")
    assert pool.get_orchestrator(profile="fast") is first
    pool.get_orchestrator(profile="local")
    cached = pool.get_cached_profiles()
    print(f"Cached profiles: {cached}")  # noqa: T201 - as the guide has it
    assert capsys.readouterr().out == "Cached profiles: ['fast', 'local']\n"
    pool.clear_cache(profile="fast")
    assert pool.get_cached_profiles() == ["local"]
    pool.clear_cache()
    assert pool.get_cached_profiles() == []
    pool.shutdown()


def test_when_settings_are_elsewhere_then_they_can_be_named_and_a_class_can_hold_the_pool(tmp_path: Path) -> None:
    (tmp_path / "custom_profiles.yaml").write_text(CHOSEN, encoding="utf-8")
    pool = OrchestratorPool(Settings(config_file=Path("custom_profiles.yaml")))

    class Workflow:
        def __init__(self, pool: OrchestratorPool) -> None:
            self.pool = pool

        async def execute(self, task: str) -> Reply:
            researcher = self.pool.get_orchestrator("research")
            coder = self.pool.get_orchestrator("coding")
            tester = self.pool.get_orchestrator("testing")
            research = await researcher.run(task)
            code = await coder.run(f"Implement: {research}")
            assert research.content in f"Implement: {research}"
            return await tester.run(f"Test: {code}")

    settle(asyncio.run(Workflow(pool).execute("A web form for feedback")))
    assert pool.get_cached_profiles() == ["research", "coding", "testing"]
    pool.shutdown()


def test_when_a_workflow_cleans_up_then_its_result_is_kept() -> None:
    settings = Settings()

    async def workflow() -> Reply:
        pool = OrchestratorPool(settings)
        try:
            return await pool.get_orchestrator("premium").run("Do something")
        finally:
            pool.shutdown()

    settle(asyncio.run(workflow()))
    settle(asyncio.run(workflow()))


def test_when_costs_are_tracked_then_tokens_and_prices_are_at_hand() -> None:
    async def workflow() -> dict[str, dict[str, Any]]:
        agents = {
            "brainstorm": await Agent.create(provider="ollama", model="qwen2.5"),
            "implement": await Agent.create(provider="openai", model="gpt-4o-mini"),
            "review": await Agent.create(provider="anthropic", model="claude-sonnet-4-5"),
        }
        results: dict[str, dict[str, Any]] = {}
        for stage, agent in agents.items():
            result = await agent.run(f"Execute {stage}")
            with pytest.warns(VictorWarning, match=stage):
                nothing = estimate_cost(stage, result.usage)
            results[stage] = {"result": result, "tokens": result.usage.total_tokens, "cost": nothing}
        return results

    results = asyncio.run(workflow())
    assert all(row["tokens"] == row["result"].usage.total_tokens > 0 for row in results.values())
    assert all(row["cost"] is None for row in results.values())
    for stage in ["implement", "review"]:
        result = results[stage]["result"]
        assert estimate_cost(result.model, result.usage) == result.cost > 0
    assert estimate_cost("fast", results["implement"]["result"].usage) == results["implement"]["result"].cost
    assert estimate_cost("local", results["brainstorm"]["result"].usage) == 0 == results["brainstorm"]["result"].cost


def test_when_a_profile_fails_then_the_next_one_serves(capsys: pytest.CaptureFixture[str]) -> None:
    async def workflow() -> Reply:
        for profile in ["no-such", "neither", "local"]:
            try:
                agent = await Agent.create(profile=profile)
                return await agent.run("Do something")
            except Exception as error:  # noqa: BLE001 - as the guide has it
                print(f"{profile} failed: {error}")  # noqa: T201 - as the guide has it
        raise RuntimeError("All providers failed")

    settle(asyncio.run(workflow()))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" failed: ")[0] for line in lines] == ["no-such", "neither"]
    assert all("Profile '" in line and "not found" in line for line in lines)


def test_when_tasks_run_across_providers_then_each_has_its_answer() -> None:
    async def workflow() -> list[Reply]:
        tasks = {
            "anthropic": ("claude-sonnet-4-5", "Review for security"),
            "openai": ("gpt-4o", "Review for performance"),
            "google": ("gemini-pro", "Review for accessibility"),
        }
        agents = [await Agent.create(provider=provider, model=model) for provider, (model, _) in tasks.items()]
        running = [agent.run(task) for agent, (_, task) in zip(agents, tasks.values(), strict=True)]
        return await asyncio.gather(*running)

    replies = asyncio.run(workflow())
    settle(*replies)
    assert [reply.provider for reply in replies] == ["anthropic", "openai", "google"]


def test_when_an_orchestrator_is_cached_then_it_comes_at_once() -> None:
    pool = OrchestratorPool(Settings())
    start = time.perf_counter()
    pool.get_orchestrator("premium")
    cold = time.perf_counter() - start
    cached: list[float] = []
    for _ in range(20):  # the machine may do something else in one of them
        start = time.perf_counter()
        pool.get_orchestrator("premium")
        cached.append(time.perf_counter() - start)
    assert min(cached) < min(cold, 0.001)
    pool.shutdown()


def test_when_memory_is_watched_then_the_cache_can_be_emptied() -> None:
    process = psutil.Process()
    sizes = [process.memory_info().rss]
    pool = OrchestratorPool(Settings())
    for profile in ["fast", "local", "premium"]:
        pool.get_orchestrator(profile)
        sizes.append(process.memory_info().rss)
    pool.clear_cache()
    assert pool.get_cached_profiles() == []
    assert all(size > 0 for size in sizes)
    pool.shutdown()


def test_when_a_profile_is_not_there_then_the_guides_words_are_said() -> None:
    with (
        OrchestratorPool(Settings()) as pool,
        pytest.raises(ValueError, match=r"^Profile 'my-profile' not found"),
    ):
        pool.get_orchestrator("my-profile")


def test_when_a_key_is_missing_then_the_guides_words_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "live")
    with (
        OrchestratorPool(Settings()) as pool,
        pytest.raises(RuntimeError, match=r"^Failed to create provider for profile 'fast'.*OPENAI_API_KEY"),
    ):
        pool.get_orchestrator("fast")


def test_when_a_model_is_about_to_retire_then_asking_it_raises_no_warning_of_its_sdk() -> None:
    settle(Agent.create_sync(provider="anthropic", model="claude-sonnet-4-5").run_sync("Say hello"))
