"""Strategies against a server: what is asked of whom, what goes on, what the answer is, and what is in the ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ensemble import Asked, Ensemble, said
from servers import Answer, faults
from victor_nb import OrchestratorPool, Settings, VictorError
from victor_nb.errors import ConfigError, MalformedAnswerError, PartialAnswerError, PromptError, ServerError
from victor_nb.session import session
from victor_nb.workflows.stages import Stage
from victor_nb.workflows.strategies import Funnel, Single, Specialized, Strategy, Tiered, find_strategy

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server
    from servers.exchange import Act, Exchange

pytest_plugins = ["workbench_fixtures"]
BRACES = 'A CLI that prints {"n": 1} for {items}, {best} and {{ task }} in \\{braces}'


@pytest.fixture
def ensemble(tmp_path: Path, server: Server, keys: str) -> Ensemble:
    assert keys
    cast = Ensemble(tmp_path, server)
    cast.cast()
    return cast


def by_stage(asked: Asked) -> str:
    """Play the funnel: ten ideas, a ranking, an implementation, a review."""
    return {
        "qwen2.5-coder:7b": f"1. Idea number {'abcdefghijklmnop'[asked.turn]}",
        "gpt-4o-mini": "4, 1, 7\n\n4 is the boldest.",
        "gpt-4o": "```python\nprint(1)\n```",
        "claude-sonnet-4-5": "The 1 is wrong: print 2.",
    }[asked.model]


def test_when_a_funnel_runs_then_ideas_are_explored_ranked_implemented_and_reviewed(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    run = Funnel().run_sync("Print a number")

    assert [stage.name for stage in run.stages] == ["explore", "select", "implement", "review"]
    assert run.path == ("local", "fast", "default", "premium")
    assert len(run["explore"].kept) == len(run["explore"].replies) == 10
    fourth, first, seventh = (run["explore"].kept[place] for place in (3, 0, 6))
    assert run["select"].kept == (fourth, first, seventh)
    assert len(run["select"].dropped) == 7
    implementing = next(prompt for prompt, model in zip(ensemble.prompts, ensemble.models, strict=True) if model == "gpt-4o")
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
    ensemble.play(lambda asked: "1, 2, {task} {implement}")

    Funnel(ideas=2).run_sync(BRACES)

    assert len(ensemble.prompts) == 5
    assert all(prompt.count(BRACES) == 1 for prompt in ensemble.prompts)
    assert "1, 2, {task} {implement}" in ensemble.prompts[-1]


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
        Stage("code", "fast", "Code {task}"),
        Stage("tests", "fast", "Test {code}", adds_to="code"),
        Stage("review", "default", "Review {code}", adds_to="code"),
    ]

    run = Strategy("twins", stages).run_sync("x")

    assert run.content == "code\n\n## Tests\n\nok\n\n## Review\n\nok"
    assert run["review"].began < run["tests"].ended


def test_when_a_stage_names_another_then_it_waits_for_it_only(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: asked.prompt[:1])
    stages = [Stage("a", "fast", "A {task}"), Stage("b", "fast", "B {task}"), Stage("c", "fast", "C {a} then {items}")]

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
    assert [stage.cost for stage in first.stages] == [first[name].cost for name in ("explore", "select", "implement", "review")]


def test_when_a_run_has_ended_then_its_frame_has_a_row_for_each_call(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    frame = Funnel(ideas=3).run_sync("x").to_frame()

    assert list(frame["stage"]) == ["explore"] * 3 + ["select", "implement", "review"]
    assert list(frame["sample"])[:3] == [0, 1, 2]
    assert (frame["latency"] > 0).all()


# --- what goes wrong ---


def test_when_one_sample_fails_then_the_others_go_on(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500) if "idea 2 of 3" in asked.prompt else by_stage(asked))

    run = Funnel(ideas=3).run_sync("x")

    assert len(run["explore"].kept) == 2
    assert "1 of 3 samples failed" in run["explore"].notes[0]
    assert run.complete
    assert run.calls == 6


def test_when_a_stage_fails_then_the_error_has_what_had_come(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500, "down") if asked.model == "gpt-4o" else by_stage(asked))

    with pytest.raises(ServerError) as caught:
        Funnel(ideas=3).run_sync("x")

    run = getattr(caught.value, "run")  # noqa: B009 - it is put there
    assert not run.complete
    assert run.stopped.startswith("implement: default: ")
    assert run["implement"].state == "failed"
    assert run.content == run["select"].content == run["explore"].kept[0]
    assert [row.status for row in run.rows] == ["ok"] * 4 + ["error"]


async def test_when_an_awaited_stage_fails_then_the_error_has_what_had_come(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500) if asked.model == "gpt-4o" else by_stage(asked))

    with pytest.raises(ServerError) as caught:
        await Funnel(ideas=2).run("x")

    assert len(getattr(caught.value, "run")["explore"].kept) == 2  # noqa: B009 - it is put there


def test_when_an_answer_breaks_off_then_its_text_is_in_the_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.cut(said("half of it"), 1, "fin"))

    with pytest.raises(PartialAnswerError) as caught:
        Single("fast").start("x").result()

    assert getattr(caught.value, "run").content == "half "  # noqa: B009 - it is put there


def test_when_no_sample_says_anything_then_it_is_an_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: Answer(pieces=(), finish="length"))

    with pytest.raises(MalformedAnswerError, match="Raise max_tokens"):
        Single("fast").run_sync("x")


def test_when_a_key_is_missing_then_nothing_is_asked(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    ensemble.play(by_stage)

    with pytest.raises(VictorError, match="ANTHROPIC_API_KEY"):
        Funnel().run_sync("x")

    assert not ensemble.server.requests


def test_when_the_task_is_empty_then_nothing_is_asked(ensemble: Ensemble) -> None:
    with pytest.raises(PromptError, match="task is empty"):
        Single("fast").run_sync(" \n")


def test_when_the_ranking_cannot_be_read_then_the_first_ideas_are_kept_and_it_is_noted(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "All are lovely." if asked.model == "gpt-4o-mini" else by_stage(asked))

    run = Funnel(ideas=4, keep=2).run_sync("x")

    assert run["select"].kept == run["explore"].kept[:2]
    assert "could not be read" in run["select"].notes[0]


def test_when_users_code_raises_then_it_is_theirs_and_has_the_run(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    def broken(_items: tuple[str, ...]) -> str:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError) as caught:
        Strategy("mine", [Stage("a", "fast", "{task}", select=broken)]).run_sync("x")

    assert getattr(caught.value, "run").calls == 1  # noqa: B009 - it is put there


# --- stopping ---


def test_when_a_job_is_cancelled_then_what_had_come_is_kept(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(
        lambda asked: faults.cut(said("half of it"), 1, "silence") if asked.model == "gpt-4o" else by_stage(asked)
    )

    job = Funnel(ideas=3).start("x")
    server.wait(lambda: "gpt-4o" in ensemble.models)
    while not job.progress.text:
        job.wait(0.01)
    progress = job.progress
    job.cancel()
    run = job.result()

    assert (progress.text, progress.done, progress.total) == ("half ", 4, 6)
    assert progress.current is not None
    assert progress.current.name == "implement"
    assert str(progress).startswith("funnel · implement (default) · 4 of 6 calls")
    assert not run.complete
    assert run.stopped == "stopped by the user"
    assert run.content == "half "
    assert run["implement"].state == "stopped"
    assert run["select"].kept == run["explore"].kept[:1]
    assert [row.status for row in run.rows] == ["ok"] * 4 + ["interrupted"]
    server.wait(lambda: server.requests[-1].hung_up)
    assert job.progress.ended


def test_when_stop_is_pressed_then_the_error_has_what_had_come(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence() if asked.model == "gpt-4o-mini" else by_stage(asked))

    job = Funnel(ideas=3).start("x")
    server.wait(lambda: "gpt-4o-mini" in ensemble.models)
    error = job.interrupted()

    assert len(getattr(error, "run")["explore"].kept) == 3  # noqa: B009 - it is put there
    assert str(error).startswith("stopped funnel after 4 calls")
    assert job.done()


async def test_when_an_awaited_run_is_cancelled_then_its_calls_end(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence())

    task = asyncio.create_task(Funnel(ideas=4).run("x"))
    await asyncio.to_thread(server.wait, lambda: len(server.requests) == 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [row.status for row in session().ledger.rows()] == ["interrupted"] * 4
    await asyncio.to_thread(server.wait, lambda: all(request.hung_up for request in server.requests))


async def test_when_runs_are_awaited_together_then_they_share_nothing_but_the_loop(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: f"{asked.model}: {asked.prompt}")

    runs = await asyncio.gather(*(Single("fast").run(f"task {number}") for number in range(8)))

    assert [run.content for run in runs] == [f"gpt-4o-mini: task {number}" for number in range(8)]
    assert all(run.calls == 1 for run in runs)


# --- selection ---


def test_when_samples_vote_then_the_commonest_answer_is_kept(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: ["42", "**42.**", "41"][asked.turn % 3])

    run = Strategy("votes", [Stage("answer", "fast", "{task}", n=3, select="vote")]).run_sync("6 x 7?")

    assert run["answer"].notes == ("2 of 3 agree",)
    assert run.content in {"42", "**42.**"}
    assert run["answer"].dropped == ("41",)


def test_when_a_function_selects_then_it_decides(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "1. a\n2. bbb\n3. cc")
    chosen = {"text": lambda items: max(items, key=len), "positions": lambda items: [2, 0], "one": lambda items: 1}

    kept = {
        name: Strategy(name, [Stage("list", "fast", "{task}", parse="list", select=select, keep=2)])
        .run_sync("x")["list"]
        .kept
        for name, select in chosen.items()
    }

    assert kept == {"text": ("bbb",), "positions": ("cc", "a"), "one": ("bbb",)}


def test_when_a_function_selects_nonsense_then_it_is_an_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "a")

    with pytest.raises(ConfigError, match="positions from 0 to 0"):
        Strategy("mine", [Stage("a", "fast", "{task}", select=lambda items: [7])]).run_sync("x")


def test_when_more_items_come_than_are_kept_then_it_is_noted(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "1. a\n2. b\n3. a\n4. c")

    run = Strategy("list", [Stage("list", "fast", "{task}", parse="list", keep=2)]).run_sync("x")

    assert run["list"].items == ("a", "b", "c")
    assert run["list"].kept == ("a", "b")
    assert run["list"].dropped == ("c",)
    assert run["list"].notes == ("1 said twice, counted once", "3 items where 2 were asked for; the first 2 are kept")


# --- as data ---


def test_when_settings_are_given_then_calls_are_sent_with_them(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: "x")
    stages = [Stage("a", "fast", "{task}", system="Be {brief}.", max_tokens=7), Stage("b", "fast", "{a}", temperature=0.5)]

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


def test_when_a_strategy_is_written_in_yaml_then_it_is_the_same_as_in_python(ensemble: Ensemble) -> None:
    stages = [
        {"name": "ideas", "profile": "local", "prompt": "Ideas for {task}", "n": 3, "parse": "list"},
        {"name": "pick", "profile": "fast", "prompt": "Rank: {items}", "select": "rank", "keep": 2},
        {"name": "write", "profile": "default", "prompt": "{task}: {best}", "max_tokens": 50, "needs": ["ideas"]},
        {"name": "check", "profile": "fast", "prompt": "{write}", "adds_to": "write", "accept": "^ok"},
    ]
    ensemble.cast(strategies={"mine": stages})
    written = Strategy(
        "mine",
        [
            Stage("ideas", "local", "Ideas for {task}", n=3, parse="list"),
            Stage("pick", "fast", "Rank: {items}", select="rank", keep=2),
            Stage("write", "default", "{task}: {best}", max_tokens=50, needs=("ideas",)),
            Stage("check", "fast", "{write}", adds_to="write", accept="^ok"),
        ],
    )

    found = find_strategy("mine")

    assert found == written
    assert hash(found) == hash(written)
    assert repr(found) == "Strategy('mine': ideas (3 x local), pick (fast), write (default), check (fast))"


def test_when_a_strategy_goes_by_our_name_then_it_is_found_and_yours_comes_first(ensemble: Ensemble) -> None:
    assert find_strategy("funnel") == Funnel()
    assert find_strategy("tiered") == Tiered()
    ensemble.cast(strategies={"funnel": [{"name": "a", "profile": "fast", "prompt": "{task}"}]})
    assert find_strategy("funnel") == Strategy("funnel", [Stage("a", "fast", "{task}")])
    with pytest.raises(ConfigError, match="Did you mean 'tiered'"):
        find_strategy("tierd")
    with pytest.raises(ConfigError, match="Known: funnel, cascade"):
        find_strategy("x")


ONE = {"name": "one", "profile": "fast", "prompt": "{task}"}
FAULTY = {
    "an unknown key": ([{**ONE, "profle": "fast"}], "strategies.mine.0.profle: unknown key. Did you mean 'profile'?"),
    "an unknown profile": ([{**ONE, "profile": "fsat"}], "strategies.mine.0.profile: no profile is called 'fsat'. Did you mean 'fast'?"),
    "a missing key": ([{"name": "one", "prompt": "{task}"}], "strategies.mine.0.profile: is missing"),
    "no stage": ([], "strategies.mine: has no stage. Give it one at least: a name, a profile and a prompt"),
    "no list": ("funnel", "strategies.mine: should be a valid list, not 'funnel'"),
    "two of a name": ([ONE, ONE], "strategies.mine.1.name: two stages are called 'one'. Rename one"),
    "a name with a meaning": ([{**ONE, "name": "best"}], "strategies.mine.0.name: 'best' has a meaning of its own in prompts. Choose another name"),
    "a name with spaces": ([{**ONE, "name": "a b"}], "strategies.mine.0.name: 'a b' cannot stand in braces. Use letters, digits, _ and -, a letter first"),
    "an empty prompt": ([{**ONE, "prompt": " "}], "strategies.mine.0.prompt: is empty"),
    "no task": ([{**ONE, "prompt": "Hello"}], "strategies.mine.0.prompt: no stage's prompt holds {task}, so the task would never be sent"),
    "a slip": ([{**ONE, "prompt": "{tasks}"}], "strategies.mine.0.prompt: {tasks} is no place. Did you mean {task}? As plain text it is \\{tasks}"),
    "double braces": ([{**ONE, "prompt": "{{ task }}"}], "strategies.mine.0.prompt: {{ task }} is a cell's way of writing. Here it is {task}"),
    "a place too early": ([{**ONE, "prompt": "{task} {items}"}], "strategies.mine.0.prompt: {items}: nothing comes before the first stage"),
    "a later stage": ([{**ONE, "prompt": "{task} {two}"}, {**ONE, "name": "two"}], "strategies.mine.0.prompt: {two} comes later. A prompt can show earlier stages only"),
    "itself": ([{**ONE, "prompt": "{task} {one}"}], "strategies.mine.0.prompt: {one} is this stage itself"),
    "needs nobody": ([ONE, {**ONE, "name": "two", "needs": ["on"]}], "strategies.mine.1.needs: no earlier stage is called 'on'. Did you mean 'one'?"),
    "adds to nobody": ([{**ONE, "adds_to": "x"}], "strategies.mine.0.adds_to: no earlier stage is called 'x'. Known: none."),
    "a way of selecting": ([{**ONE, "select": "votes"}], "strategies.mine.0.select: 'votes' is unknown. Did you mean 'vote'?"),
    "a way of parsing": ([{**ONE, "parse": "yaml"}], "strategies.mine.0.parse: 'yaml' is unknown. Known: text, item, list, code, json."),
    "nothing to rank": ([{**ONE, "select": "rank"}], "strategies.mine.0.select: there is nothing to rank. Put {items} or an earlier stage's name in braces into the prompt"),
    "a count": ([{**ONE, "n": 0}], "strategies.mine.0.n: should be greater than or equal to 1, not 0"),
    "a pattern": ([{**ONE, "accept": "("}], "strategies.mine.0.accept: must be a regular expression (missing ), unterminated subpattern at position 0), not '('"),
    "an acceptance": ([{**ONE, "accept": True}], "strategies.mine.0.accept: must be a regular expression, a JSON schema, or how many samples must agree, not True"),
}


@pytest.mark.parametrize("mistake", FAULTY)
def test_when_a_strategy_is_wrong_in_yaml_then_one_line_says_where_and_why(ensemble: Ensemble, mistake: str) -> None:
    stages, message = FAULTY[mistake]

    with pytest.raises(ConfigError) as caught:
        ensemble.cast(strategies={"mine": stages})

    assert "profiles.yaml, line " in str(caught.value)
    assert str(caught.value).endswith(message)


def test_when_a_strategy_is_wrong_in_python_then_the_same_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^Strategy 'mine': stage 'one', prompt: \{tasks\} is no place"):
        Strategy("mine", [Stage("one", "fast", "{tasks}")])
    with pytest.raises(ConfigError, match=r"^Strategy 'mine': has no stage"):
        Strategy("mine", [])
    with pytest.raises(ConfigError, match="'voet' is unknown. Did you mean 'vote'"):
        Strategy("mine", [Stage("one", "fast", "{task}", select="voet")])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="keep: 0 is not a number of 1 or more"):
        Strategy("mine", [Stage("one", "fast", "{task}", keep=0)])
    with pytest.raises(ConfigError, match="n is a whole number, not 'x'"):
        Stage("one", "fast", "{task}", n="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="accept=True decides nothing"):
        Stage("one", "fast", "{task}", accept=True)


def test_when_a_place_is_escaped_then_it_is_text(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    Strategy("mine", [Stage("a", "fast", r"{task} \{task} {other} {0} {} {a b}")]).run_sync("T")

    assert ensemble.prompts == ["T {task} {other} {0} {} {a b}"]


def test_when_a_stage_asks_for_its_numbers_then_they_are_there(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    Strategy("mine", [Stage("a", "fast", "{task} {sample}/{n}, {keep}", n=2, keep=1)]).run_sync("T")

    assert sorted(ensemble.prompts) == ["T 1/2, 1", "T 2/2, 1"]


def test_when_previous_is_asked_for_then_it_is_the_answer_word_for_word(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "2, 1. Because." if asked.prompt.startswith("Rank") else "1. a\n2. b")
    stages = [
        Stage("list", "fast", "{task}", parse="list"),
        Stage("rank", "fast", "Rank {items}", select="rank", keep=1),
        Stage("end", "fast", "{rank} / {best} / {previous} / {list}"),
    ]

    Strategy("mine", stages).run_sync("x")

    assert ensemble.prompts[-1] == "b / b / 2, 1. Because. / 1. a\n2. b"
