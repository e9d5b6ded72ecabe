"""What strategies ask for, and what becomes of answers as models give them: numbers, refusals, echoes, approvals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from ensemble import Asked, Ensemble, by_stage
from servers import faults
from victor_nb import OrchestratorPool
from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError, MalformedAnswerError
from victor_nb.kernel import session
from victor_nb.workflows.fan_out import ALIKE
from victor_nb.workflows.lists import FREE
from victor_nb.workflows.strategies import Cascade, Funnel, Strategy

if TYPE_CHECKING:
    from servers import Answer
    from servers.exchange import Act

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]
IDEAS = ("Sorter", "Finder", "Wizard", "Backup", "Undo")
TITLE = "Idea {} of 5: {}"
ASKED = 'Reply with JSON only, an object with the key "ranking" (a list: the numbers of the {} best, best first).'


def sample_of(asked: Asked) -> int:
    return int(re.findall(r"This is idea (\d+)", asked.prompt)[0])


def listed(prompt: str) -> list[tuple[int, str]]:
    """Return the items that a prompt shows, each with its number."""
    return [(int(number), text) for number, text in re.findall(r"^(\d+)\. (.+)$", prompt, re.MULTILINE)]


def funnel(asked: Asked) -> str | Answer | Act:
    """Play a funnel whose explorers title their ideas, and whose ranking asks for Backup, then Sorter."""
    if "Suggest 1 idea" in asked.prompt:
        number = sample_of(asked)
        return TITLE.format(number, IDEAS[number - 1])
    if "Rank the ideas" in asked.prompt:
        numbers = {text.strip("*"): number for number, text in listed(asked.prompt)}
        return json.dumps({"ranking": [numbers["Backup"], numbers["Sorter"]]})
    return by_stage(asked)


def ranking(ensemble: Ensemble) -> str:
    return next(prompt for prompt in ensemble.prompts if "Rank the ideas" in prompt)


def test_when_a_funnel_ranks_then_it_asks_for_json_of_the_numbers_that_the_ideas_carry(ensemble: Ensemble) -> None:
    ensemble.play(funnel)

    run = Funnel(ideas=5, keep=2).run_sync("Print a number")

    assert ranking(ensemble).endswith(f"\n\n{ASKED.format(2)}")
    assert sorted(listed(ranking(ensemble))) == list(enumerate(IDEAS, 1))
    assert run["explore"].items == IDEAS
    assert run["select"].kept == ("Backup", "Sorter")
    assert [note for stage in run.stages for note in stage.notes] == []


def test_when_a_sample_fails_then_the_others_keep_their_numbers(ensemble: Ensemble) -> None:
    def play(asked: Asked) -> str | Answer | Act:
        if "Suggest 1 idea" in asked.prompt and sample_of(asked) == 2:
            return faults.status(400)
        return "Idea 4, then idea 1." if "Rank the ideas" in asked.prompt else funnel(asked)

    ensemble.play(play)

    run = Funnel(ideas=5, keep=2).run_sync("Print a number")

    assert sorted(listed(ranking(ensemble))) == [(1, "Sorter"), (3, "Wizard"), (4, "Backup"), (5, "Undo")]
    assert run["select"].kept == ("Backup", "Sorter")
    assert run["select"].notes == (FREE,)


def test_when_items_are_ranked_then_each_sample_sees_another_first_and_a_second_run_the_same(
    ensemble: Ensemble,
) -> None:
    ensemble.play(lambda asked: "1, 2, 3" if asked.prompt.startswith("Rank") else "1. a\n2. b\n3. c\n4. d")
    stages = [
        Stage("list", "fast", "{{ task }}", parse="list"),
        Stage("pick", "fast", "Rank:\n{{ list }}", n=4, select="rank", keep=2),
    ]

    run = Strategy("mine", stages).run_sync("x")
    first, ensemble.server.requests[:] = sorted(ensemble.prompts[1:]), []
    Strategy("mine", stages).run_sync("x")

    shown = [listed(prompt) for prompt in first]
    assert {items[0][1] for items in shown} == set("abcd")
    assert all(sorted(items) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")] for items in shown)
    assert sorted(ensemble.prompts[1:]) == first
    assert run["pick"].kept == ("a", "b")


def test_when_a_model_always_takes_what_it_sees_first_then_no_idea_gains_by_its_number(ensemble: Ensemble) -> None:
    def play(asked: Asked) -> str:
        if not asked.prompt.startswith("Rank"):
            return json.dumps({"items": [f"{asked.prompt.split()[1]} {letter}" for letter in "abcd"]})
        return json.dumps({"ranking": [listed(asked.prompt)[0][0]]})

    ensemble.play(play)
    stages = [
        Stage("list", "fast", "{{ task }}", parse="list"),
        Stage("pick", "fast", "Rank:\n{{ items }}", select="rank"),
    ]

    kept = [Strategy("mine", stages).run_sync(f"task {task}")["pick"].kept[0][-1] for task in range(24)]

    assert max(map(kept.count, "abcd")) <= 12  # 24 of 24 where all are shown in their own order


def test_when_a_prompt_speaks_of_json_itself_then_it_is_sent_as_it_is(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: '["a", "b"]')

    run = Strategy("mine", [Stage("list", "fast", "{{ task }} Answer in JSON.", parse="list")]).run_sync("x")

    assert ensemble.prompts == ["x Answer in JSON."]
    assert (run["list"].items, run["list"].notes) == (("a", "b"), ())


@pytest.mark.parametrize(
    "nothing",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I have no ideas.",
        "In a few sentences: what it is, how it works, why it serves. Do not do the task yet.",
        "Suggest 1 idea for this task: Print a number",
    ],
)
def test_when_an_answer_refuses_or_repeats_the_prompt_then_it_is_no_idea(ensemble: Ensemble, nothing: str) -> None:
    def play(asked: Asked) -> str | Answer | Act:
        if "Suggest 1 idea" in asked.prompt and sample_of(asked) in {2, 5}:
            return nothing
        if "Suggest 1 idea" in asked.prompt and sample_of(asked) == 3:
            return f"{asked.prompt}\n\n## Idea 3: **Backup**"
        return funnel(asked)

    ensemble.play(play)

    run = Funnel(ideas=5, keep=2).run_sync("Print a number")

    assert run["explore"].items == ("Sorter", "**Backup**")
    assert run["explore"].notes == (
        f"2 refusals or echoes of the prompt are left out, such as {nothing[:60]!r}",
        "1 given twice, counted once",
    )


def test_when_all_refuse_then_the_strategy_ends_before_it_pays_for_more(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "I can't help with that.")

    with pytest.raises(MalformedAnswerError, match="explore: local gave nothing but a refusal"):
        Funnel(ideas=3).run_sync("Print a number")

    assert len(ensemble.prompts) == 3


def test_when_the_task_is_quoted_then_it_is_no_echo(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: '{"items": ["the wheel is round and red", "the sea"]}')
    stages = [Stage("list", "fast", "List the claims in this text: {{ task }}", parse="list")]

    run = Strategy("mine", stages).run_sync("the wheel is round and red, and the sea is blue")

    assert run["list"].items == ("the wheel is round and red", "the sea")


def test_when_the_review_approves_then_no_revision_is_paid_for(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "**APPROVED**" if "Review the result" in asked.prompt else funnel(asked))

    run = Funnel(ideas=5, revise="premium").run_sync("Print a number")

    assert run.calls == len(ensemble.prompts) == 8
    assert run.complete
    assert [stage.name for stage in run.stages] == ["explore", "select", "implement", "review"]
    assert run.content == run["implement"].content
    assert run["review"].notes == ("approved: revise is left out",)


def test_when_a_stage_is_left_out_then_what_was_approved_stands_in_its_place(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "Approved." if asked.prompt.startswith("Review") else f"{asked.prompt} done")
    stages = [
        Stage("draft", "fast", "{{ task }}"),
        Stage("review", "fast", "Review {{ draft }}", adds_to="draft"),
        Stage("revise", "fast", "{{ draft }} {{ review }}", unless="review"),
        Stage("shout", "fast", "Shout {{ revise }}"),
    ]

    run = Strategy("mine", stages).run_sync("x")

    assert ensemble.prompts == ["x", "Review x done", "Shout x done"]
    assert run.content == "Shout x done done"


def test_when_unless_names_no_earlier_stage_then_it_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'a', unless: no earlier stage is called 'b'"):
        Strategy("mine", [Stage("a", "fast", "{{ task }}", unless="b")])


@pytest.mark.parametrize("accept", [2, None])
def test_when_samples_cannot_differ_then_they_are_no_agreement(ensemble: Ensemble, accept: int | None) -> None:
    ensemble.play(lambda asked: "4")
    voted = Strategy("votes", [Stage("answer", "fast", "{{ task }}", n=3, select="vote")])
    strategy = Cascade(["fast", "premium"], accept=accept) if accept else voted

    with pytest.raises(ConfigError, match="3 samples of fast at temperature 0 cannot differ"):
        strategy.run_sync("2 + 2", temperature=0)

    assert ensemble.prompts == []
    assert strategy.run_sync("2 + 2", temperature=0.5).content == "4"


def test_when_samples_of_a_stage_cannot_differ_then_it_is_noted(ensemble: Ensemble) -> None:
    ensemble.play(funnel)
    plain = Stage("answer", "fast", "{{ task }}", n=2, temperature=0)

    assert Strategy("mine", [plain]).run_sync("x")["answer"].notes[0] == ALIKE
    again = Cascade(["fast", "fast"], accept="never").run_sync("x", temperature=0)
    assert [ALIKE in stage.notes for stage in again.stages] == [False, True]
    assert ALIKE not in Funnel(ideas=5).run_sync("x", temperature=0)["explore"].notes  # each is asked by its number


def test_when_samples_of_a_fan_out_cannot_differ_then_the_replies_say_so(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "4")
    with OrchestratorPool(session().settings) as pool:
        fixed = pool.fan_out_sync("2 + 2", ["fast", "premium"], n=2, temperature=0)
        single = pool.fan_out_sync("2 + 2", ["fast"], temperature=0)
        free = pool.fan_out_sync("2 + 2", ["fast"], n=2)

    assert [ALIKE in reply.notes for reply in fixed.ok] == [True, True, False, False]  # Anthropic is sent none
    assert not any(ALIKE in reply.notes for reply in (*single.ok, *free.ok))


@pytest.mark.usefixtures("ensemble")
def test_when_a_funnel_is_simulated_then_it_is_answered_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    session().set_mode("simulate")

    run = Funnel(ideas=5, keep=2).run_sync("A name for a photo app")

    assert len(json.loads(run["select"].replies[0].content)["ranking"]) == 2
    assert len(run["select"].kept) == 2
    assert run["select"].notes == ()


def test_when_the_answer_before_is_to_be_ranked_then_its_items_are_shown_with_their_numbers(
    ensemble: Ensemble,
) -> None:
    ensemble.play(lambda asked: '{"ranking": [2]}' if "Rank" in asked.prompt else '{"items": ["a", "b"]}')
    stages = [
        Stage("list", "fast", "{{ task }}", parse="list"),
        Stage("pick", "fast", "Rank:\n{{ previous }}", select="rank"),
    ]

    run = Strategy("mine", stages).run_sync("x")

    assert sorted(listed(ensemble.prompts[1])) == [(1, "a"), (2, "b")]
    assert run["pick"].kept == ("b",)
