"""Answers of one's own for simulate mode: which entry answers, what it does in all four protocols, and wrong files."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cells import Shell
from servers import DIALECTS
from victor_nb import Reply, Settings, SimulatedAnswer, Stage, Strategy, session
from victor_nb.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ConnectError,
    NotFoundError,
    OverloadedError,
    PartialAnswerError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    VictorError,
)
from workbench import Way, ask, fail, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.values import SimulatedQuestion

NAMES = [dialect.name for dialect in DIALECTS]
PROFILES = {one.name: {"provider": one.name, "model": one.model, "retries": 0} for one in DIALECTS}
pytest_plugins = ["cells_fixtures"]


@pytest.fixture(autouse=True)
def _simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write_profiles(tmp_path, **PROFILES)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["plain", "stream"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def answers(*entries: Mapping[str, object], path: Path | str = "answers.yaml", use: bool = True) -> None:
    Path(path).write_text(yaml.safe_dump({"answers": [dict(entry) for entry in entries]}), encoding="utf-8")
    if use:
        session().simulate_with(path)


def written(text: str, path: str = "answers.yaml", mode: str = "w") -> None:
    with Path(path).open(mode, encoding="utf-8") as file:
        file.write(text)


def ran() -> bool:
    return Path("ran").exists()


async def say(prompt: str = "How many stars?", profile: str = "openai", way: Way = "plain", **options: Any) -> Reply:
    return await ask(session().pool.get_orchestrator(profile), prompt, way, **options)


# --- what an entry gives, in all four protocols, plain and streamed ---


async def test_when_an_entry_gives_text_then_that_is_the_answer_and_it_is_shown_as_simulated(
    name: str, way: Way
) -> None:
    answers({"prompt": "stars", "text": "Forty-two “stars”,\n```python\nno less\n```"})
    reply = await say(profile=name, way=way)
    assert reply.content == "Forty-two “stars”,\n```python\nno less\n```"
    assert (reply.mode, reply.billed, reply.finish_reason) == ("simulate", Decimal(0), "stop")
    assert [(row["mode"], row["status"]) for row in rows()] == [("simulate", "ok")]
    assert (await say("Something else", name, way)).content.startswith("Simulated placeholder")


async def test_when_no_entry_answers_then_the_question_is_kept_as_missed() -> None:
    answers(
        {"prompt": "stars", "text": "Forty-two."}, {"prompt": "moons", "tokens": 12}, {"prompt": "suns", "status": 400}
    )
    for prompt in ("How many stars?", "How many moons?", "How many dogs?"):
        await say(prompt)
    await fail(say("How many suns?"))
    assert list(session().runtime.answers.missed) == [
        "openai, sample 0: 'How many moons?'",
        "openai, sample 0: 'How many dogs?'",
    ]


async def test_when_tokens_are_given_then_usage_and_cost_are_those(name: str, way: Way) -> None:
    answers({"text": "A lot.", "tokens": {"input": 1_000, "output": 2_000}}, use=False)
    placeholder = await say(profile=name, way=way)
    session().simulate_with("answers.yaml")
    reply = await say(profile=name, way=way)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (1_000, 2_000)
    assert rows()[-1]["output_tokens"] == 2_000
    assert reply.cost is not None
    assert placeholder.cost is not None
    assert reply.cost > placeholder.cost or name == "ollama"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (404, NotFoundError),
        (429, RateLimitError),
        (500, ServerError),
        (503, OverloadedError),
        (529, OverloadedError),
    ],
)
async def test_when_a_status_is_given_then_the_error_is_the_providers(
    name: str, way: Way, status: int, kind: type[ProviderError]
) -> None:
    answers({"status": status, "message": "Out of stars."})
    error = await fail(say(profile=name, way=way))
    assert type(error) is kind
    assert isinstance(error, ProviderError)
    assert (error.http_status, error.profile, error.provider) == (status, name, name)
    assert "Out of stars." in str(error)
    assert [(row["http_status"], row["status"], row["mode"]) for row in rows()] == [(status, "error", "simulate")]


async def test_when_a_429_says_how_long_to_wait_then_the_retry_waits_and_the_next_entry_answers(
    name: str, way: Way
) -> None:
    answers({"status": 429, "retry_after": 0.4, "times": 1}, {"text": "Here."})
    reply = await say(profile=name, way=way, retries=2)
    assert reply.latency >= 0.4
    assert (reply.content, reply.attempts) == ("Here.", 2)
    assert [row["http_status"] for row in rows()] == [429, 200]


async def test_when_an_answer_is_cut_then_what_came_is_kept(name: str, way: Way) -> None:
    answers({"text": "The first forty-one characters of an answer.", "cut": 11})
    error = await fail(say(profile=name, way=way, retries=2))
    if way == "plain":  # of a plain answer that breaks off nothing can be read, and it is asked again
        assert isinstance(error, ConnectError)
        assert [row["status"] for row in rows()] == ["error"] * 3
        return
    assert isinstance(error, PartialAnswerError)
    assert error.reply is not None
    assert (error.reply.content, error.reply.status) == ("The first f", "partial")
    [row] = rows()
    assert (row["status"], row["mode"]) == ("partial", "simulate")
    assert row["output_tokens"] > 0


@pytest.mark.parametrize("way", ["stream"])
async def test_when_an_answer_is_cut_before_its_first_character_or_behind_its_last_then_it_is_as_on_a_wire(
    name: str, way: Way
) -> None:
    answers({"prompt": "none", "text": "Lost.", "cut": 0}, {"text": "Whole.", "cut": 6})
    assert isinstance(await fail(say("none", name, way)), ConnectError)
    assert (await say("all", name, way)).content == "Whole."


async def test_when_an_answer_is_delayed_then_it_comes_later_and_a_short_timeout_ends_it(
    name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0.01")
    never = {"delay": 100_000}  # a quarter of an hour at this speed
    answers({"prompt": "slow", "text": "Late.", "delay": 40}, {"prompt": "lost", **never}, {"status": 500, **never})
    for prompt in ("lost", "no"):
        assert isinstance(await fail(say(prompt, name, way, timeout=0.1)), RequestTimeoutError)
    start = time.monotonic()
    assert (await say("slow", name, way)).content == "Late."
    assert time.monotonic() - start >= 0.4


async def test_when_only_a_failure_is_given_then_the_text_is_a_placeholder(name: str) -> None:
    answers({"tokens": 77})
    reply = await say(profile=name)
    assert reply.content.startswith("Simulated placeholder")
    assert reply.usage.output_tokens == 77


async def test_when_max_tokens_is_lower_than_the_text_then_it_is_cut_as_any_answer_is(name: str, way: Way) -> None:
    answers({"text": "one two three four five six seven eight nine ten"})
    reply = await say(profile=name, way=way, max_tokens=256)
    assert reply.finish_reason == "stop"
    short = await say(profile="ollama", way=way, max_tokens=3)
    assert (short.content, short.finish_reason) == ("one two three", "length")


# --- which entry answers ---


async def test_when_several_entries_match_then_the_first_answers() -> None:
    answers(
        {"prompt": "a b", "text": "both"},
        {"prompt": "a", "text": "part"},
        {"pattern": "(?i)^MUCH .* stone\\?$", "text": "pattern"},
        {"profile": "google", "text": "google"},
        {"sample": 1, "text": "second"},
        {"stage": "polish", "text": "polished"},
        {"text": "rest"},
    )
    assert (await say("a b c")).content == "both"
    assert (await say("an a")).content == "part"
    assert (await say("much cold stone?")).content == "pattern"
    assert (await say("Hi", "google")).content == "google"
    replies = await session().pool.fan_out("Hi", ["openai"], n=3)
    assert [str(entry.outcome) for entry in replies.entries] == ["rest", "second", "rest"]
    run = await Strategy("two", [Stage("draft", "openai", "{{ task }}"), Stage("polish", "openai", "Go")]).run("Hi")
    assert [stage.replies[0].content for stage in run.stages] == ["rest", "polished"]


async def test_when_all_parts_of_an_entry_must_match_then_one_that_does_not_is_enough_to_pass_it_over() -> None:
    answers({"profile": "openai", "prompt": "x", "sample": 0, "text": "all"})
    assert (await say("x")).content == "all"
    assert (await say("y")).content != "all"
    assert (await say("x", "ollama")).content != "all"
    assert (await say("x", sample=1)).content != "all"


async def test_when_several_sources_are_named_then_they_are_asked_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    write_profiles(tmp_path / "deep", **PROFILES)
    written("simulate: own.yaml\n", "deep/profiles.yaml", "a")
    for number, path in enumerate(("deep/own.yaml", "env.yaml", "given.yaml")):
        entries = [{"prompt": word, "text": path} for word in "abc"[: 3 - number]]
        answers(*entries, path=path, use=False)
    monkeypatch.setenv("VICTOR_ANSWERS", "env.yaml")
    session().runtime.use(Settings(tmp_path / "deep" / "profiles.yaml"))
    session().simulate_with("given.yaml")
    assert [(await say(word)).content for word in "abc"] == ["given.yaml", "env.yaml", "deep/own.yaml"]
    session().simulate_with(None)
    assert (await say("a")).content == "env.yaml"
    monkeypatch.delenv("VICTOR_ANSWERS")
    assert (await say("a")).content == "deep/own.yaml"


async def test_when_a_file_is_edited_then_the_next_call_gets_the_new_answer() -> None:
    answers({"text": "old"})
    assert (await say()).content == "old"
    answers({"text": "new and longer"}, use=False)
    assert (await say()).content == "new and longer"
    os.utime("answers.yaml", ns=(0, 0))
    written("answers:\n- txt: x\n")
    error = await fail(say())
    assert isinstance(error, ConfigError)
    assert str(error).startswith("answers.yaml, line 2: answers.0.txt: unknown key. Did you mean 'text'?")
    answers({"text": "mended"}, use=False)
    assert (await say()).content == "mended"


async def test_when_the_mode_is_live_then_no_answers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "live")
    monkeypatch.setenv("VICTOR_ANSWERS", "nowhere.yaml")
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    session().simulate_with(lambda question: "never")
    assert isinstance(await fail(say(profile="ollama")), ConnectError)


# --- functions ---


async def test_when_a_function_is_given_then_it_gets_the_question_and_may_pass() -> None:
    seen: list[SimulatedQuestion] = []

    def reply(question: SimulatedQuestion) -> str | SimulatedAnswer | None:
        seen.append(question)
        if "fail" in question.prompt:
            return SimulatedAnswer(status=429, retry_after=0.01) if question.attempt == 1 else "Recovered."
        return f"{question.profile}/{question.sample}" if "who" in question.prompt else None

    answers({"prompt": "else", "text": "from the file"}, use=False)
    session().simulate_with(reply)
    assert (await say("who?", "google", sample=2, system="Be brief.")).content == "google/2"
    assert (await say("please fail", retries=1)).content == "Recovered."
    assert (await say("something else")).content.startswith("Simulated placeholder")
    first = seen[0]
    assert (first.stage, first.prompt, first.system, first.attempt) == (None, "who?", "Be brief.", 1)
    assert first.model == next(one.model for one in DIALECTS if one.name == "google")
    with pytest.raises(AttributeError):
        first.prompt = "other"  # pyright: ignore[reportAttributeAccessIssue]


async def test_when_a_function_fails_then_the_error_names_its_line_and_nothing_was_sent(name: str, way: Way) -> None:
    def broken(question: SimulatedQuestion) -> str:
        numbers = json.loads("[1]")
        return numbers[question.sample + 1]

    session().simulate_with(broken)
    error = await fail(say(profile=name, way=way))
    line = broken.__code__.co_firstlineno + 2
    assert type(error) is ConfigError
    where = f"test_answers.py, line {line}, in broken(): return numbers[question.sample + 1]"
    assert f"broken() failed: IndexError: list index out of range; {where}. Mend it" in str(error)
    assert isinstance(error.__cause__, IndexError)
    assert rows() == []


class Own(Exception):  # noqa: N818 - a user may call it so
    """An exception of the user's own."""


@pytest.mark.parametrize("fault", [Own("x"), StopIteration("x"), EOFError("x"), UserWarning("x"), SystemExit("x")])
async def test_when_a_function_fails_in_any_way_then_it_is_one_failed_entry_and_the_next_call_works(
    fault: BaseException,
) -> None:
    def broken(question: SimulatedQuestion) -> str:
        if question.sample:
            raise fault
        return "none"

    session().simulate_with(broken)
    replies = await session().pool.fan_out("Hi", ["openai"], n=2)
    assert str(replies.entries[0].outcome) == "none"
    where = f"line {broken.__code__.co_firstlineno + 2}, in broken(): raise fault"
    told = str(replies.entries[1].outcome)
    assert f"failed: {type(fault).__name__}: x; test_answers.py, {where}. Mend it" in told
    assert (await say("Hi")).content == "none"


async def test_when_a_function_fails_for_one_sample_then_the_others_have_answers() -> None:
    session().simulate_with(lambda question: ["none", "one"][question.sample])
    replies = await session().pool.fan_out("Hi", ["openai"], n=3)
    assert [str(entry.outcome) for entry in replies.entries][:2] == ["none", "one"]
    assert isinstance(replies.entries[2].outcome, ConfigError)


async def test_when_a_function_gives_something_else_then_the_error_says_what() -> None:
    session().simulate_with(lambda question: 42)  # pyright: ignore[reportArgumentType]
    assert "gave a value of type int. Return text, a SimulatedAnswer, or None." in str(await fail(say()))


@pytest.mark.parametrize("given", [42, ["a"], b"x"])
def test_when_simulate_with_gets_something_else_then_it_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=f"a path, a function or None, not a {type(given).__name__}"):
        session().simulate_with(given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("fields", "fact"),
    [
        ({"status": 200}, "status takes a number from 400 to 599, not 200"),
        ({"cut": -1}, "cut takes a number of 0 or more, not -1"),
        ({"delay": float("inf")}, "delay takes a number of 0 or more"),
        ({"status": 429, "text": "x"}, "text does not go with status"),
        ({"text": "x", "retry_after": 1}, "retry_after goes with status only"),
        ({"text": 5}, "text takes text, not a value of type int"),
        ({"status": 429, "message": b"x"}, "message takes text, not a value of type bytes"),
        ({"status": 400.5}, "status takes a whole number, not a value of type float"),
        ({"cut": 1.5}, "cut takes a whole number, not a value of type float"),
        ({"output_tokens": True}, "output_tokens takes a whole number, not a value of type bool"),
        ({"delay": "x"}, "delay takes a number, not a value of type str"),
        ({"delay": None}, "delay takes a number, not a value of type NoneType"),
        ({"status": 429, "retry_after": "1"}, "retry_after takes a number, not a value of type str"),
    ],
)
def test_when_an_answer_value_makes_no_sense_then_it_is_refused(fields: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        SimulatedAnswer(fields.pop("text", None), **fields)


# --- files that cannot be used ---


def test_when_a_path_cannot_be_one_then_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no path"):
        session().simulate_with("a\0b")


@pytest.mark.parametrize("text", ["answers: &a [*a]\n", "answers:\n- &a {tokens: *a}\n"])
def test_when_a_value_holds_itself_then_it_is_refused_in_one_line(text: str) -> None:
    Path("answers.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"answers\.yaml, line"):
        session().simulate_with("answers.yaml")


HEAD = "answers:\n- prompt: a\n  text: b\n"
WRONG = {
    "empty": ("", "is empty. Start it with 'answers:'."),
    "a list on top": ("- text: a\n", "answers.yaml: expected a mapping that starts with 'answers:'"),
    "not YAML": ("answers: [a", "answers.yaml, line 1: not YAML"),
    "a tab": ("answers:\n\t- text: a\n", "line 2: a tab"),
    "a Python object": (
        "answers:\n- text: !!python/object/apply:os.system ['touch ran']\n",
        "answers.yaml, line 2: not YAML: could not determine a constructor for the tag",
    ),
    "another Python object": ("answers: !!python/name:os.system\n", "line 1: not YAML"),
    "a misspelt top": ("answer: []\n", "line 1: answer: unknown key. Did you mean 'answers'?"),
    "a misspelt key": (f"{HEAD}  staus: 429\n", "line 4: answers.0.staus: unknown key. Did you mean 'status'?"),
    "a misspelt token": (
        f"{HEAD}  tokens: {{out: 3}}\n",
        "line 4: answers.0.tokens.out: unknown key. Did you mean 'output'?",
    ),
    "a key twice": (f"{HEAD}  text: c\n", "line 4: answers.0.text: given twice, first in line 3. Remove one."),
    "a number for a text": (
        "answers:\n- text: 42\n",
        'line 2: answers.0.text: 42 is not text; write it in quotes: "42"',
    ),
    "a text for a number": (f"{HEAD}  cut: few\n", "line 4: answers.0.cut: should be a valid integer, not 'few'"),
    "an entry that is none": ("answers:\n- hello\n", "line 2: answers.0: expected a mapping (key: value), not 'hello'"),
    "no list": ("answers: {prompt: a}\n", "line 1: answers: should be a valid list, not a mapping"),
    "no answer": ("answers:\n- prompt: a\n- prompt: b\n  text: c\n", "line 2: answers.0: answers nothing. Give text"),
    "no such status": (
        "answers:\n- status: 200\n",
        "line 2: answers.0.status: takes a number from 400 to 599, not 200",
    ),
    "text and status": (f"{HEAD}  status: 429\n", "line 3: answers.0.text: does not go with status"),
    "a wait without status": (f"{HEAD}  retry_after: 2\n", "line 4: answers.0.retry_after: goes with status only"),
    "a negative cut": (f"{HEAD}  cut: -1\n", "line 4: answers.0.cut: should be greater than or equal to 0, not -1"),
    "an endless delay": (f"{HEAD}  delay: .inf\n", "line 4: answers.0.delay: should be a finite number"),
    "no pattern": (
        f"{HEAD}- pattern: '('\n  text: c\n",
        "line 4: answers.1.pattern: is no regular expression: missing )",
    ),
    "a truth for a key": ("answers:\n- on: a\n", 'line 2: key on is not text; write it in quotes: "on"'),
}


@pytest.mark.parametrize("mistake", WRONG)
async def test_when_a_file_is_wrong_then_one_line_names_file_line_and_key(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, fact = WRONG[mistake]
    written(text)
    with pytest.raises(ConfigError) as caught:
        session().simulate_with("answers.yaml")
    assert fact in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("VICTOR_ANSWERS", "answers.yaml")
    assert str(await fail(say())) == str(caught.value)
    assert rows() == []
    assert not ran()


async def test_when_a_file_is_not_there_then_the_error_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VICTOR_ANSWERS", "nowhere.yaml")
    error: VictorError = await fail(say())
    assert f"{Path.cwd() / 'nowhere.yaml'} cannot be read: No such file" in str(error)


# --- the doctor, the cell ---


def test_when_an_entry_is_never_used_then_the_doctor_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers({"prompt": "stars", "text": "Many."}, {"stage": "polish", "sample": 2, "cut": 3}, use=False)
    monkeypatch.setenv("VICTOR_ANSWERS", "answers.yaml")
    shell = Shell()
    shell.run("%%victor openai\nHow many stars?")
    found = shell.run("%victor doctor").plain
    assert "answers.yaml, line 4: answers.1: not used yet (stage: polish, sample: 2)" in found
    assert "answers.0" not in found
    Path("answers.yaml").write_text("answers: [", encoding="utf-8")
    assert "answers.yaml, line 1: not YAML" in shell.run("%victor doctor").plain


def test_when_a_cell_gets_an_answer_of_ones_own_then_its_footer_says_simulated() -> None:
    answers({"prompt": "stars", "text": "Many."})
    shown = Shell().run("%%victor openai\nHow many stars?").plain
    assert shown.startswith("Many.")
    assert "simulated" in shown
