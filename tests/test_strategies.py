"""Strategies against a server: what is asked of whom, what goes on, what the answer is, and what is in the ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ensemble import Asked, Ensemble, by_stage, said
from victor_nb import OrchestratorPool, Settings
from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError
from victor_nb.kernel import session
from victor_nb.workflows.lists import FREE
from victor_nb.workflows.strategies import Funnel, Single, Specialized, Strategy, Tiered

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server
    from servers.exchange import Act, Exchange

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]
BRACES = 'A CLI that prints {"n": 1} for {items}, {best} and {{ task }} in \\{braces}'


def test_when_a_funnel_runs_then_ideas_are_explored_ranked_implemented_and_reviewed(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    run = Funnel().run_sync("Print a number")

    assert [stage.name for stage in run.stages] == ["explore", "select", "implement", "review"]
    assert run.path == ("local", "fast", "default", "premium")
    assert len(run["explore"].kept) == len(run["explore"].replies) == 10
    fourth, first, seventh = (run["explore"].kept[place] for place in (3, 0, 6))
    assert run["select"].kept == (fourth, first, seventh)
    assert len(run["select"].dropped) == 7
    implementing = next(
        prompt for prompt, model in zip(ensemble.prompts, ensemble.models, strict=True) if model == "gpt-4o"
    )
    assert f"1. {fourth}\n2. {first}\n3. {seventh}" in implementing
    assert run.content == "```python\nprint(1)\n```\n\n## Review\n\nThe 1 is wrong: print 2."
    assert run.answer == run["implement"].content == "```python\nprint(1)\n```"
    assert (str(run), f"{run}") == (run.content, run.content)
    assert run.complete
    assert run.stopped is None
    assert run.calls == 13


@pytest.mark.parametrize("verdict", ["APPROVED", "**Approved.**", "Approved: nothing to add", "## APPROVED"])
def test_when_the_review_approves_then_the_answer_is_the_implementation(ensemble: Ensemble, verdict: str) -> None:
    ensemble.play(lambda asked: verdict if asked.model.startswith("claude") else by_stage(asked))

    run = Funnel(ideas=2).run_sync("Print a number")

    assert run.content == run["implement"].content


def test_when_a_funnel_revises_then_the_revision_is_the_answer(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "print(2)" if "Revise the result" in asked.prompt else by_stage(asked))

    run = Funnel(ideas=2, revise="fast").run_sync("Print a number")

    assert run.content == run.answer == "print(2)"
    assert run["implement"].content.startswith("```python")
    assert "The 1 is wrong" in ensemble.prompts[-1]


def test_when_a_strategy_is_tiered_then_each_stage_gets_what_the_one_before_wrote(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: f"version of {asked.model}")

    run = Tiered().run_sync("A poem")

    assert ensemble.models == ["gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5"]
    assert "version of gpt-4o-mini" in ensemble.prompts[1]
    assert "version of gpt-4o\n" in ensemble.prompts[2] + "\n"
    assert run.content == "version of claude-sonnet-4-5"


def test_when_a_strategy_is_specialized_then_the_answer_is_the_code_and_its_tests(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: f"{asked.model} says")

    run = Specialized().run_sync("A parser")

    assert run.content == "claude-sonnet-4-5 says\n\n## Test\n\ngpt-4o-mini says"
    assert run.answer == "claude-sonnet-4-5 says"


def test_when_a_task_has_braces_then_every_prompt_has_it_as_it_is(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "1, 2, {{ task }} {{ implement }}")

    Funnel(ideas=2).run_sync(BRACES)

    assert len(ensemble.prompts) == 5
    assert all(prompt.count(BRACES) == 1 for prompt in ensemble.prompts)
    assert "1, 2, {{ task }} {{ implement }}" in ensemble.prompts[-1]


def test_when_it_is_single_then_the_task_is_the_prompt(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "yes")

    assert str(Single("fast").run_sync(BRACES)) == "yes"
    assert ensemble.prompts == [BRACES]


def test_when_stages_do_not_need_each_other_then_they_run_at_once(ensemble: Ensemble, server: Server) -> None:
    async def together(exchange: Exchange) -> None:
        while len(server.requests) < 3:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.002)
        await said("ok")(exchange)

    def play(asked: Asked) -> Act | str:
        return "code" if asked.prompt.startswith("Code") else together

    ensemble.play(play)
    stages = [
        Stage("code", "fast", "Code {{ task }}"),
        Stage("tests", "fast", "Test {{ code }}", adds_to="code"),
        Stage("review", "default", "Review {{ code }}", adds_to="code"),
    ]

    run = Strategy("twins", stages).run_sync("x")

    assert run.content == "code\n\n## Tests\n\nok\n\n## Review\n\nok"
    assert run["review"].began < run["tests"].ended


def test_when_a_stage_names_another_then_it_waits_for_it_only(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: asked.prompt[:1])
    stages = [
        Stage("a", "fast", "A {{ task }}"),
        Stage("b", "fast", "B {{ task }}"),
        Stage("c", "fast", "C {{ a }} then {{ items }}"),
    ]

    Strategy("named", stages).run_sync("x")

    assert ensemble.prompts[-1] == "C A then 1. B"


def test_when_rows_are_written_then_they_say_run_strategy_and_stage(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said(by_stage(asked), 200, 50))

    first, second = Funnel(ideas=2).run_sync("x"), Single("fast").run_sync("x")

    assert {row.run_id for row in first.rows} == {first.run_id} != {second.run_id}
    assert {row.strategy for row in first.rows} == {"funnel"}
    assert [row.stage for row in first.rows] == ["explore", "explore", "select", "implement", "review"]
    assert len(session().ledger.rows()) == 6
    assert first.usage.input_tokens == 1000
    assert first.cost == sum(row.cost or 0 for row in first.rows) == first.billed
    assert first["explore"].cost == 0
    assert [stage.cost for stage in first.stages] == [
        first[name].cost for name in ("explore", "select", "implement", "review")
    ]


def test_when_a_run_has_ended_then_its_frame_has_a_row_for_each_call(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    frame = Funnel(ideas=3).run_sync("x").to_frame()

    assert list(frame["stage"]) == ["explore"] * 3 + ["select", "implement", "review"]
    assert list(frame["sample"])[:3] == [0, 1, 2]
    assert (frame["latency"] > 0).all()


# --- selection ---


def test_when_samples_vote_then_the_commonest_answer_is_kept(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: ["42", "**42.**", "41"][asked.turn % 3])

    run = Strategy("votes", [Stage("answer", "fast", "{{ task }}", n=3, select="vote")]).run_sync("6 x 7?")

    assert run["answer"].notes == ("2 of 3 agree",)
    assert run.content in {"42", "**42.**"}
    assert run["answer"].dropped == ("41",)


def test_when_a_function_selects_then_it_decides(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "1. a\n2. bbb\n3. cc")
    chosen = {"text": lambda items: max(items, key=len), "positions": lambda items: [2, 0], "one": lambda items: 1}

    kept = {
        name: Strategy(name, [Stage("list", "fast", "{{ task }}", parse="list", select=select, keep=2)])
        .run_sync("x")["list"]
        .kept
        for name, select in chosen.items()
    }

    assert kept == {"text": ("bbb",), "positions": ("cc", "a"), "one": ("bbb",)}


def test_when_a_function_selects_nonsense_then_it_is_an_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "a")

    with pytest.raises(ConfigError, match="positions from 0 to 0"):
        Strategy("mine", [Stage("a", "fast", "{{ task }}", select=lambda items: [7])]).run_sync("x")


def test_when_more_items_come_than_are_kept_then_it_is_noted(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "1. a\n2. b\n3. a\n4. c")

    run = Strategy("list", [Stage("list", "fast", "{{ task }}", parse="list", keep=2)]).run_sync("x")

    assert run["list"].items == ("a", "b", "c")
    assert run["list"].kept == ("a", "b")
    assert run["list"].dropped == ("c",)
    assert run["list"].notes == (
        FREE,
        "1 given twice, counted once",
        "3 items where 2 were asked for; the first 2 are kept",
    )


def test_when_settings_are_given_then_calls_are_sent_with_them(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda _: said("x", tokens_out=5))
    stages = [
        Stage("a", "fast", "{{ task }}", system="Be {brief}.", max_tokens=7),
        Stage("b", "fast", "{{ a }}", temperature=0.5),
    ]

    Strategy("set", stages).run_sync("x", max_tokens=9)

    first, second = (request.json for request in server.requests)
    assert (first["max_completion_tokens"], second["max_completion_tokens"]) == (7, 9)
    assert first["messages"][0]["content"] == "Be {brief}."
    assert second["temperature"] == 0.5


def test_when_a_pool_is_given_then_its_profiles_are_asked(ensemble: Ensemble, tmp_path: Path) -> None:
    ensemble.play(lambda asked: asked.model)
    other = tmp_path / "other.yaml"
    url = f"{ensemble.server.url}/v1"
    other.write_text(f"profiles: {{fast: {{provider: openai, model: gpt-4.1, base_url: '{url}'}}}}")

    with OrchestratorPool(Settings(other)) as pool:
        assert str(Single("fast").run_sync("x", pool=pool)) == "gpt-4.1"


def test_when_a_place_is_escaped_then_it_is_text(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    typed = r"{{ task }} \{task} \{{ task }} \{{ x }} {other} {0} {} {a b} {{\{n}} {{ .V }} ${x}"
    Strategy("mine", [Stage("a", "fast", typed)]).run_sync("T")

    assert ensemble.prompts == [r"T {task} {{ task }} {{ x }} {other} {0} {} {a b} {{\{n}} {{ .V }} ${x}"]


def test_when_a_place_has_a_filter_then_it_shapes_the_text_as_in_a_cell(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "1. a\n2. b\n3. c")
    stages = [
        Stage("the-list", "fast", "{{ task | truncate(3) }}", parse="list"),
        Stage("end", "fast", "{{ items | head(2) }} / {{ the-list | json }} / {{the-list}}"),
    ]

    Strategy("mine", stages).run_sync("abcd")

    asked = 'Reply with JSON only, an object with the key "items" (a list of texts).'
    assert ensemble.prompts[0] == f"abc… [cut: 3 of 4 characters]\n\n{asked}"
    assert ensemble.prompts[1] == '1. a\n2. b / "1. a\\n2. b\\n3. c" / 1. a\n2. b\n3. c'


def test_when_a_stage_asks_for_its_numbers_then_they_are_there(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    Strategy("mine", [Stage("a", "fast", "{{ task }} {{ sample }}/{{ n }}, {{ keep }}", n=2, keep=1)]).run_sync("T")

    assert sorted(ensemble.prompts) == ["T 1/2, 1", "T 2/2, 1"]


def test_when_previous_is_asked_for_then_it_is_the_answer_word_for_word(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "2, 1. Because." if asked.prompt.startswith("Rank") else "1. a\n2. b")
    stages = [
        Stage("list", "fast", "{{ task }}", parse="list"),
        Stage("rank", "fast", "Rank {{ items }}", select="rank", keep=1),
        Stage("end", "fast", "{{ rank }} / {{ best }} / {{ previous }} / {{ list }}"),
    ]

    Strategy("mine", stages).run_sync("x")

    assert ensemble.prompts[-1] == "b / b / 2, 1. Because. / 1. a\n2. b"
