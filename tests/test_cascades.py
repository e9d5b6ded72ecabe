"""Cascades: the cheap profile first, the next one where its answer will not do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ensemble import run_of
from servers import Answer, faults
from victor_nb import session
from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError, ServerError, VictorWarning
from victor_nb.workflows.checks import Agreement, Exact, JsonSchema, Regex
from victor_nb.workflows.strategies import Cascade, Strategy, find_strategy

if TYPE_CHECKING:
    from ensemble import Ensemble
    from servers import Server
    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
ANSWERS = {
    "qwen2.5-coder:7b": "It is about 42, I think.",
    "gpt-4o-mini": '```json\n{"n": 42}\n```',
    "claude-sonnet-4-5": '{"n": 43}',
}


@pytest.fixture
def ensemble(ensemble: Ensemble) -> Ensemble:
    """Have each model give its one answer."""
    ensemble.play(lambda asked: ANSWERS[asked.model])
    return ensemble


def is_json(reply: Reply) -> bool:
    try:
        return isinstance(json.loads(reply.content.strip("`json\n")), dict)
    except ValueError:
        return False


@pytest.mark.parametrize(
    "accept",
    [SCHEMA, r'"n":\s*42', is_json, JsonSchema(SCHEMA), Regex("42}")],
    ids=["dict", "pattern", "function", "JsonSchema", "Regex"],
)
def test_when_the_cheap_answer_will_not_do_then_the_next_profile_is_asked(ensemble: Ensemble, accept: Any) -> None:  # noqa: ANN401
    run = Cascade(["local", "fast", "premium"], accept=accept).run_sync("How many?")

    assert run.path == ("local", "fast")
    assert run.content == ANSWERS["gpt-4o-mini"]
    assert run.complete
    assert run["local"].accepted is False
    assert run["local"].notes == ("not accepted",)
    assert run["fast"].accepted is True
    assert "claude-sonnet-4-5" not in ensemble.models


@pytest.mark.parametrize(("accept", "noted"), [(2, True), (Agreement(2), False), ("42", False)])
def test_when_a_cascade_has_no_check_but_agreement_then_it_says_what_that_can_accept(
    ensemble: Ensemble,
    accept: Any,  # noqa: ANN401
    noted: bool,  # noqa: FBT001
) -> None:
    assert ensemble
    run = Cascade(["local", "premium"], accept=accept).run_sync("How many?")

    assert ("no check but agreement" in " ".join(run["local"].notes)) is noted


def test_when_the_first_answer_will_do_then_nobody_else_is_asked(ensemble: Ensemble) -> None:
    run = Cascade(["local", "premium"], accept="42").run_sync("How many?")

    assert run.path == ("local",)
    assert run.calls == 1
    assert run.content == ANSWERS["qwen2.5-coder:7b"]


def test_when_nobody_will_do_then_the_last_answer_stands(ensemble: Ensemble) -> None:
    run = Cascade(["local", "fast", "premium"], accept="never").run_sync("How many?")

    assert run.path == ("local", "fast", "premium")
    assert run.content == ANSWERS["claude-sonnet-4-5"]
    assert run.complete
    assert run["premium"].accepted is None


def test_when_a_profile_fails_then_the_next_one_is_asked(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500) if asked.model.startswith("qwen") else ANSWERS[asked.model])

    run = Cascade(["local", "fast"], accept="42").run_sync("How many?")

    assert run.path == ("local", "fast")
    assert run["local"].state == "failed"
    assert run.content == ANSWERS["gpt-4o-mini"]
    assert run.complete


def test_when_the_last_profile_fails_then_it_is_an_error_that_has_the_rest(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: ANSWERS[asked.model] if asked.model.startswith("qwen") else faults.status(500))

    with pytest.raises(ServerError) as caught:
        Cascade(["local", "fast"], accept="never").run_sync("How many?")

    assert run_of(caught.value).content == ANSWERS["qwen2.5-coder:7b"]


@pytest.mark.parametrize(
    ("answers", "path", "content"),
    [
        (["42", "**42**", "41"], ("local",), {"42", "**42**"}),
        (["40", "42.", "42"], ("local",), {"42", "42."}),
        (["40", "41", "42"], ("local", "premium"), {"43"}),
    ],
)
def test_when_samples_agree_then_theirs_is_the_answer(
    ensemble: Ensemble, answers: list[str], path: tuple[str, ...], content: set[str]
) -> None:
    ensemble.play(lambda asked: "43" if asked.model.startswith("claude") else answers[asked.turn])

    run = Cascade(["local", "premium"], accept=2, n=3).run_sync("How many?")

    assert run.path == path
    assert run.content in content
    assert [len(stage.replies) for stage in run.stages] == [3, 1][: len(path)]


def test_when_samples_agree_on_a_part_then_a_pattern_or_a_function_finds_it(ensemble: Ensemble) -> None:
    answers = ["So it is 42 apples.", "I count: it is 42", "it is 7"]
    ensemble.play(lambda asked: answers[asked.turn % 3])

    by_pattern = Cascade(["local", "fast"], accept=Agreement(2, of=r"it is (\d+)"), n=3).run_sync("How many?")
    by_function = Cascade(["local", "fast"], accept=Agreement(2, of=lambda text: text.count("4")), n=3).run_sync("x")

    assert by_pattern.path == by_function.path == ("local",)
    assert by_pattern.content in answers[:2]


def test_when_a_cascade_is_written_in_yaml_then_it_is_one(ensemble: Ensemble) -> None:
    stages = [
        {"name": "cheap", "profile": "local", "prompt": "{{ task }}", "accept": SCHEMA},
        {"name": "dear", "profile": "fast", "prompt": "{{ task }}", "needs": ["cheap"]},
    ]
    ensemble.cast(strategies={"steps": stages})

    run = find_strategy("steps").run_sync("How many?")

    assert run.path == ("local", "fast")
    assert run.content == ANSWERS["gpt-4o-mini"]


def test_when_an_escalation_sees_the_first_answer_then_it_can_mend_it(ensemble: Ensemble) -> None:
    stages = [Stage("try", "local", "{{ task }}", accept="never"), Stage("mend", "fast", "Mend {{ previous }}")]

    Strategy("mend", stages).run_sync("How many?")

    assert ensemble.prompts[-1] == f"Mend {ANSWERS['qwen2.5-coder:7b']}"


def test_when_an_answer_is_accepted_then_what_else_is_under_way_is_stopped(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence() if asked.model == "gpt-4o" else ANSWERS[asked.model])
    stages = [
        Stage("aside", "default", "{{ task }}"),
        Stage("try", "local", "{{ task }}", accept="42"),
        Stage("end", "fast", "{{ try }} {{ aside }}"),
    ]

    run = Strategy("both", stages).run_sync("How many?")

    assert run.complete
    assert run.content == ANSWERS["qwen2.5-coder:7b"]
    assert run["aside"].state == "stopped"
    server.wait(lambda: all(request.finished or request.hung_up for request in server.requests))


def test_when_a_cascade_cannot_be_then_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="list of names"):
        Cascade("local")
    with pytest.raises(ConfigError, match="5 samples cannot agree where n=3"):
        Cascade(["local", "fast"], accept=5, n=3)
    with pytest.raises(ConfigError, match=r"accept takes a regular expression, which '\(' is not"):
        Cascade(["local", "fast"], accept="(")
    with pytest.raises(
        ConfigError, match="accept takes a JSON schema, which this mapping is not: 'objct' is not valid"
    ):
        Cascade(["local", "fast"], accept={"type": "objct"})


@pytest.mark.parametrize(
    ("answer", "passes"),
    [("42", True), (" **42.** ", True), ("42.0", True), ("The answer is 42", False), ("<think>41</think>42", True)],
)
def test_when_an_exact_answer_is_expected_then_only_dress_may_differ(answer: str, passes: bool) -> None:  # noqa: FBT001
    assert Exact("42").passes(answer) is passes
    assert Exact({"6 x 7": "42"}).passes(answer, task="6 x 7") is passes


def test_when_no_answer_is_known_for_a_task_then_it_is_said() -> None:
    with pytest.raises(ConfigError, match="no answer is given for the task 'b'"):
        Exact({"a": "1"}).passes("1", task="b")


def test_when_json_is_checked_then_it_may_stand_anywhere() -> None:
    check = JsonSchema({"type": "array", "items": {"type": "integer"}})

    assert check.passes("[1, 2]")
    assert check.passes("Here: ```json\n[1]\n``` as asked")
    assert not check.passes('["a"]')
    assert JsonSchema({"type": "number"}).passes("42")


NAMES = {
    "type": "object",
    "properties": {"names": {"type": "array", "items": {"type": "string"}}},
    "required": ["names"],
}


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        ('{"names": ["Ada", "Gra', False),
        ('{"names": ["Ada"], "x": ', False),
        ('Sure! {"names": ["Ada", "Bob"', False),
        ('```json\n{"names": ["Ada"],\n```', False),
        ('{"names": ["Ada see {x}]}', False),
        ('{"people": [{"names": []}, {"na', False),
        ('{"names": ["Ada" "Bob"]}', True),
        ("Sure! {'names': ['Ada', 'Bob',]} as asked", True),
        ('{"names": ["Ada", "Bob"}', True),
    ],
)
def test_when_json_breaks_off_then_it_does_not_pass(answer: str, passes: bool) -> None:  # noqa: FBT001
    assert JsonSchema(NAMES).passes(answer) is passes


def test_when_broken_json_is_expected_exactly_then_what_breaks_off_is_another() -> None:
    assert Exact('{"a": 1}').passes('{"a": 1,}')
    assert not Exact('{"a": 1}').passes('{"a": 1')


def test_when_an_answer_is_cut_off_then_its_json_is_not_repaired(ensemble: Ensemble) -> None:
    broken = '{"names": ["Ada" "Bob"]}'
    ensemble.play(lambda asked: Answer(pieces=(broken,), finish="length" if asked.model == "gpt-4o-mini" else "stop"))

    assert Cascade(["fast", "premium"], accept=NAMES).run_sync("Who?").path == ("fast", "premium")
    assert Cascade(["local", "premium"], accept=NAMES).run_sync("Who?").path == ("local",)


def test_when_an_answer_takes_long_to_read_then_other_calls_go_on(ensemble: Ensemble) -> None:
    loop = session().runtime.loop
    ensemble.play(lambda _: "{}")

    def slow(reply: Reply) -> bool:
        return bool(reply.content) and not loop.running_here

    assert Cascade(["local", "premium"], accept=slow).run_sync("Go").path == ("local",)


@pytest.mark.parametrize("slip", ["exits", "stumbles", "raises what none expects"])
def test_when_the_user_s_function_fails_then_the_answer_is_not_accepted_and_a_warning_says_why(
    ensemble: Ensemble, slip: str
) -> None:
    def accept(reply: Reply) -> bool:
        if slip == "exits":
            sys.exit(3)
        if slip == "stumbles":
            return len(reply) > 3  # type: ignore[arg-type]
        raise EOFError("nothing to read")

    with pytest.warns(VictorWarning, match=r"accept= failed \((SystemExit|TypeError|EOFError): .*not accepted"):
        run = Cascade(["local", "fast"], accept=accept).run_sync("How many?")

    assert run.path == ("local", "fast")
    assert session().pool.get_orchestrator("fast").run_sync("Still there?").content


def test_when_the_user_s_function_asks_a_model_itself_then_it_is_answered(ensemble: Ensemble) -> None:
    def accept(reply: Reply) -> bool:
        return "42" in session().pool.get_orchestrator("fast").run_sync(f"Judge: {reply}").content

    assert Cascade(["local", "premium"], accept=accept).run_sync("How many?").path == ("local",)


def test_when_a_profile_is_asked_several_times_then_the_store_gives_each_try_an_answer_of_its_own(
    ensemble: Ensemble,
) -> None:
    ensemble.play(lambda asked: f"{asked.model} {len(ensemble.prompts)}")
    cascade = Cascade(["fast", "fast", "fast", "premium"], accept="never")

    first, second = (cascade.run_sync("How many?", cache="on") for _ in range(2))

    assert [stage.content for stage in first.stages] == [stage.content for stage in second.stages]
    assert len({stage.content for stage in first.stages}) == 4
    assert len(ensemble.prompts) == 4


def test_when_three_samples_refuse_in_the_same_words_then_they_do_not_agree(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "I'm sorry, but I can't help with that." if asked.model == "gpt-4o-mini" else "42")

    run = Cascade(["fast", "premium"], accept=2, n=3).run_sync("How many?")

    assert run.path == ("fast", "premium")
