"""Placeholders: each shape of prompt gets its shape of answer, the same each time, and says what it is."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from statistics import mean
from typing import Any

import httpx2
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_nb.values import Message
from victor_nb.wire.dialects.base import Asked, fingerprint
from victor_nb.wire.pace import split_tokens
from victor_nb.wire.shapes import write
from victor_nb.wire.simulator import Simulator
from victor_nb.workflows.lists import list_items, numbered
from victor_nb.workflows.ranking import rank

SMALL, MEDIUM, LARGE = "gpt-4o-mini", "claude-sonnet-5-5", "claude-opus-5-5"
MODELS = (SMALL, MEDIUM, LARGE)


def say(prompt: str, model: str = MEDIUM, *, system: str = "", sample: int = 0, **options: Any) -> str:
    seed = fingerprint([model, system, prompt, sample])
    return write(Asked(model=model, messages=(Message("user", prompt),), system=system, seed=seed, **options))


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("Brainstorm 5 feature ideas", 5),
        ("Give me ten ideas to reduce cloud cost.", 10),
        ("You are a planner.\n\nList 7 risks of a data migration.\n\nBe brief.", 7),
        ("Suggest 4 names for a coffee shop", 4),
        ("Generate 60 ideas for a notebook tool", 60),
        ("List 3 fruits", 3),
        ("I have one free weekend in March. List 3 things to do first.", 3),
        ("Suggest 1 idea for this task: a name for 3 photo apps\n\nThis is idea 2 of 10.", 1),
    ],
)
def test_when_a_list_is_asked_then_it_has_that_many_different_items(prompt: str, count: int, model: str) -> None:
    answer = say(prompt, model)
    found = re.findall(r"^(\d+)\. (.+)$", answer, re.MULTILINE)
    assert [int(place) for place, _ in found] == list(range(1, count + 1))
    assert len({text for _, text in found}) == count
    assert all("Placeholder" in text for _, text in found)
    assert count == 1 or len(list_items(answer).items) == count


@pytest.mark.parametrize("model", MODELS)
def test_when_the_best_are_to_be_picked_then_they_come_from_the_prompts_list(model: str) -> None:
    ideas = [f"Idea about {word}" for word in ("maps", "bees", "clocks", "bread", "rivers")]
    prompt = "Pick the best 3 of these ideas:\n" + "\n".join(f"{n}. {idea}" for n, idea in enumerate(ideas, 1))
    found = re.findall(r"^\d\. \((\d)\) (Idea about \w+)", say(prompt, model), re.MULTILINE)
    assert len(found) == len(set(found)) == 3
    assert all(ideas[int(mark) - 1] == text for mark, text in found)
    assert rank(say(prompt, model), ideas) == tuple(int(mark) - 1 for mark, _ in found)
    numbers = say(f"{prompt}\nAnswer with the numbers only.", model)
    assert re.fullmatch(r"\d, \d, \d", numbers)


def test_when_numbers_are_wanted_first_then_the_ranking_can_be_read() -> None:
    prompt = "Choose the best 2: a task\n\nTheir numbers only, then a reason for each.\n\n1. ash\n2. oak\n3. elm"
    answer = say(prompt)
    assert re.match(r"\d, \d$", answer, re.MULTILINE)
    assert len(rank(answer, ["ash", "oak", "elm"])) == 2


def test_when_candidates_are_lists_themselves_then_they_are_told_by_their_headings() -> None:
    items = numbered(["1. a\n2. b", "1. c\n2. d", "7. e\n9. f"])
    answers = {say(f"Choose the best answer, its number only.\n\n{items}", sample=sample) for sample in range(20)}
    assert answers <= {"1", "2", "3"}
    assert len(answers) > 1


def test_when_samples_rank_then_they_differ_and_mostly_agree() -> None:
    shares: list[float] = []
    for wood in ("ash", "oak", "elm", "fir", "yew", "box", "sal", "lime"):
        prompt = "Pick the best of these:\n" + "\n".join(f"{n}. {wood} number {n}" for n in range(1, 6))
        firsts = [say(prompt, sample=sample) for sample in range(20)]
        shares.append(max(map(firsts.count, firsts)) / len(firsts))
    assert min(shares) < 1
    assert mean(shares) > 0.6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", ["Write a Python {}", "Implement {} in Python", "a Python {}"])
@pytest.mark.parametrize("thing", ["palindrome check function", "function", "class", "script"])
def test_when_python_is_asked_for_then_the_block_compiles(thing: str, task: str, model: str) -> None:
    [(language, code)] = blocks(say(task.format(thing), model))
    assert language == "python"
    assert "Simulated placeholder" in code
    compile(code, "answer", "exec")


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("Write a TypeScript function that debounces calls", "typescript"),
        ("Write a SQL query for the top customers", "sql"),
        ("Implement a worker pool in Go", "go"),
        ("Refactor this code:\n```rust\nfn main() {}\n```", "rust"),
    ],
)
def test_when_a_language_is_named_then_the_block_is_in_it(prompt: str, language: str) -> None:
    assert blocks(say(prompt))[0][0] == language


def test_when_tests_are_asked_for_then_they_run() -> None:
    [(_, tests)] = blocks(say("Generate tests for:\n```python\ndef f(): ...\n```"))
    space: dict[str, Any] = {}
    exec(compile(tests, "tests", "exec"), space)
    ran = [space[name]() for name in space if name.startswith("test_")]
    assert ran


def test_when_only_code_is_wanted_then_nothing_else_is_said() -> None:
    assert re.fullmatch(r"```python\n.*\n```", say("Write a Python function that sorts names. Only code."), re.DOTALL)


@pytest.mark.parametrize("model", MODELS)
def test_when_code_is_reviewed_then_there_are_findings_and_a_verdict(model: str) -> None:
    review = say("Review this code:\n```python\neval(x)\n```", model)
    grades = re.findall(r"^\d\. \*\*\[(High|Medium|Low)\]", review, re.MULTILINE)
    assert len(grades) >= 2
    assert grades == sorted(grades, key=["High", "Medium", "Low"].index)
    assert "Verdict: a simulated placeholder" in review


def test_when_a_review_may_approve_then_some_do() -> None:
    told = "Review this code. If nothing serious is wrong, reply with APPROVED.\n```python\n{}\n```"
    replies = {say(told.format(f"def f{n}(): pass")).partition("\n")[0] for n in range(30)}
    assert "APPROVED" in replies
    assert any(reply.startswith("1. ") for reply in replies)


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("Classify: the food was awful and the waiter rude", ("positive", "negative", "neutral")),
        ("Classify as positive or negative: I love it", ("positive", "negative")),
        (
            "Classify the review below as positive, negative or neutral. One word.\n\nNot good.",
            ("positive", "negative", "neutral"),
        ),
        ("Categorize into billing, technical or shipping: My invoice is wrong", ("billing", "technical", "shipping")),
        ("Classify (bug/feature/question): how do I export a chart?", ("bug", "feature", "question")),
        ('Label the message. Labels: ["spam", "ham"]\n\nYou won a prize, click here', ("spam", "ham")),
        ("Label it. The categories are: red flag, blue flag.\n\nthe sea", ("red flag", "blue flag")),
    ],
)
def test_when_something_is_classified_then_the_answer_is_one_of_the_labels(
    prompt: str, labels: tuple[str, ...]
) -> None:
    said = [say(prompt, model, sample=sample) for model in MODELS for sample in range(5)]
    assert set(said) <= set(labels)
    assert max(map(said.count, said)) > len(said) / 2


def test_when_many_are_classified_then_each_gets_a_label_and_not_all_the_same() -> None:
    prompt = "Classify each as good or bad:\n" + "\n".join(f"{n}. text {n}" for n in range(1, 13))
    found = re.findall(r"^(\d+)\. (good|bad)$", say(prompt), re.MULTILINE)
    assert [mark for mark, _ in found] == [str(n) for n in range(1, 13)]
    assert {label for _, label in found} == {"good", "bad"}


def test_when_the_system_prompt_gives_the_task_then_it_is_followed() -> None:
    system = "Classify what you are given as urgent or calm. Reply with one word."
    assert say("The server is down, come now", system=system) in ("urgent", "calm")
    answer = json.loads(say("The hotel in Vienna was dirty.", system='Reply in JSON with keys "city" and "sentiment".'))
    assert list(answer) == ["city", "sentiment"]


@pytest.mark.parametrize(
    "prompt",
    [
        "Rate this answer from 1 to 5: it is great",
        "On a scale from 1 to 5, how good is tea?",
        "Tea, from 1 to 5: the number alone.",
    ],
)
def test_when_a_score_is_asked_then_it_is_on_the_scale(prompt: str) -> None:
    said = {say(prompt, model, sample=sample) for model in MODELS for sample in range(10)}
    assert {"1", "2", "3", "4", "5"} >= said
    assert len(said) > 2


def test_when_several_answers_are_scored_then_each_gets_its_own_by_its_text() -> None:
    told = 'Score each from 0 to 10.\n\n<answer id="A">\n{}\n</answer>\n\n<answer id="B">\n{}\n</answer>'
    first, second = json.loads(say(told.format("tea", "milk"))), json.loads(say(told.format("milk", "tea"), LARGE))
    assert (first["A"], first["B"]) == (second["B"], second["A"])
    assert first["A"] != first["B"]
    assert all(0 <= mark <= 10 for mark in first.values())
    assert (
        json.loads(say(told.format("tea", "milk").replace("10.", '10. Reply with JSON only, such as {"A": 7}.')))
        == first
    )


@pytest.mark.parametrize("model", MODELS)
def test_when_nothing_special_is_asked_then_the_answer_says_that_it_stands_for_one(model: str) -> None:
    text = say("Explain how the printing press changed Europe.", model)
    assert text.startswith("Simulated placeholder for “Explain how the printing press changed Europe”.")
    assert 2 <= len(text.split("\n\n")) <= 3
    assert say("", model).startswith("Simulated placeholder.")
    for prompt in ("Explain quantum computing in two sentences.", "Explain the first one in two sentences."):
        assert len(re.findall(r"[.!?](?:\s|$)", say(prompt, model))) == 2


@pytest.mark.parametrize(
    ("prompt", "low", "high"),
    [
        ("Explain how tides work.", (80, 120, 180), (120, 180, 260)),
        ("Give me 10 ideas for a shop.", (80, 150, 150), (140, 220, 220)),
        ("Write a Python function that counts words.", (70, 90, 110), (120, 150, 180)),
        ("Review this code:\n```\nx = 1\n```", (40, 55, 70), (70, 110, 140)),
    ],
)
def test_when_models_differ_in_size_then_answers_differ_in_length(
    prompt: str, low: tuple[int, ...], high: tuple[int, ...]
) -> None:
    sizes = [mean(len(split_tokens(say(prompt, model, sample=n))) for n in range(8)) for model in MODELS]
    assert all(least <= size <= most for least, size, most in zip(low, sizes, high, strict=True)), sizes


def test_when_asked_again_then_the_words_are_the_same_in_every_process_and_another_sample_differs() -> None:
    prompts = ["Explain tides.", "List 3 fruits", "Write a Python function", "Return JSON with keys a and b"]
    here = [say(prompt, sample=sample) for prompt in prompts for sample in (0, 1)]
    assert len(set(here)) == len(here)
    code = (
        "from victor_nb.values import Message\nfrom victor_nb.wire.dialects.base import Asked, fingerprint\n"
        f"from victor_nb.wire.shapes import write\nmodel = {MEDIUM!r}\n"
        f"print([write(Asked(model=model, messages=(Message('user', p),), seed=fingerprint([model, '', p, n])))"
        f" for p in {prompts!r} for n in (0, 1)])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == f"{here!r}\n"


@given(
    task=st.sampled_from(
        ["Rank:", "Review:", "Classify:", "Summarize:", "Return JSON:", "Write a Python function", "List", "Rate:"]
    ),
    text=st.text(max_size=200),
    model=st.sampled_from(MODELS),
)
@settings(max_examples=300, deadline=None)
def test_when_the_material_is_any_text_then_the_shape_holds(task: str, text: str, model: str) -> None:
    answer = say(f"{task} {text}", model)
    assert answer.strip()
    if task == "Return JSON:":
        json.loads(answer)
    for language, code in blocks(answer):
        if language == "python" and task.startswith("Write"):
            ast.parse(code)


@pytest.mark.parametrize(
    ("prompt", "keys"),
    [
        ("Return JSON with keys name, city and age for a person", ["name", "city", "age"]),
        ("Return JSON with the keys first name, date of birth and tags", ["first name", "date of birth", "tags"]),
        ('Return JSON with the fields "home-town", "größe (cm)" and `a.b`', ["home-town", "größe (cm)", "a.b"]),
        ('Answer as JSON like {"score": 7, "tags": ["a"], "is ok": true}: a good plan', ["score", "tags", "is ok"]),
    ],
)
def test_when_json_is_asked_in_words_then_it_has_the_named_keys_whole(prompt: str, keys: list[str]) -> None:
    assert list(json.loads(say(prompt))) == keys


def test_when_a_prompt_says_what_a_key_holds_then_the_value_is_of_that_type() -> None:
    told = "Return JSON with the keys city (text), rain_mm (number), days (integer), wet (boolean) and streets (list)"
    values = json.loads(say(told)).values()
    assert [type(value) for value in values] == [str, float, int, bool, list]
    shown = json.loads(say('Rate it. Answer as JSON like {"score": 7, "tags": ["a"], "ok": true}: a good plan'))
    assert [type(value) for value in shown.values()] == [int, list, bool]


def test_when_an_array_is_asked_then_it_has_that_many_objects() -> None:
    rows = json.loads(say("Give me a JSON array of 4 objects with fields title and effort"))
    assert [list(row) for row in rows] == [["title", "effort"]] * 4
    assert len({row["title"] for row in rows}) == 4


TRICKY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "score", "steps", "tree", "code", "when", "pair"],
    "properties": {
        "label": {"enum": ["positive", "negative"]},
        "score": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        "even": {"type": "integer", "minimum": 10, "maximum": 11},
        "steps": {"type": "array", "minItems": 4, "items": {"$ref": "#/$defs/step"}},
        "tree": {"$ref": "#/$defs/node"},
        "code": {"type": "string", "maxLength": 5},
        "when": {"type": "string", "format": "date-time"},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 4},
        "note": {"type": ["string", "null"], "minLength": 80, "maxLength": 90},
    },
    "$defs": {
        "step": {"allOf": [{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}]},
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["name", "next"],
        },
    },
}
PLAIN = st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")])
SCHEMAS = st.recursive(
    PLAIN
    | st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, st.integers(), st.integers(0)
    ),
    lambda inner: (
        st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, st.integers(0, 4))
        | st.builds(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": [*fields],
                "additionalProperties": False,
            },
            st.dictionaries(st.text(max_size=12), inner, max_size=4),
        )
        | st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner)
    ),
    max_leaves=8,
)


def test_when_a_schema_is_given_then_the_answer_satisfies_it() -> None:
    jsonschema.validate(json.loads(say("I love it", schema=TRICKY)), TRICKY)
    google = {"type": "OBJECT", "properties": {"names": {"type": "ARRAY", "items": {"type": "STRING"}}}}
    names = json.loads(say("Give me 4 names for a shop", schema=google))["names"]
    assert len(set(names)) == 4


@given(schema=SCHEMAS, prompt=st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_when_the_schema_is_any_then_the_answer_satisfies_it(schema: dict[str, object], prompt: str) -> None:
    jsonschema.validate(json.loads(say(prompt, schema=schema)), schema)


PLAN: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "steps": {"type": "array", "items": {"type": "string"}}},
    "required": ["title", "steps"],
    "additionalProperties": False,
}


def _requests(schema: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    turns = [{"role": "user", "content": "Plan a picnic."}]
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    return {
        "anthropic": (
            "/v1/messages",
            {
                "model": "claude-sonnet-5-5",
                "max_tokens": 900,
                "messages": turns,
                "output_config": {"format": {"type": "json_schema", "schema": schema}},
            },
        ),
        "openai": (
            "/v1/chat/completions",
            {
                "model": "gpt-4o",
                "messages": turns,
                "response_format": {"type": "json_schema", "json_schema": {"name": "plan", "schema": schema}},
            },
        ),
        "google": (
            "/v1beta/models/gemini-3.8-flash:generateContent",
            {"contents": [{"parts": [{"text": "Plan a picnic."}]}], "generationConfig": config},
        ),
        "ollama": ("/api/chat", {"model": "llama3.2", "messages": turns, "stream": False, "format": schema}),
    }


def _text(body: dict[str, Any]) -> str:
    """Return the text of a plain answer of any of the four."""
    if "choices" in body:
        return body["choices"][0]["message"]["content"]
    if "candidates" in body:
        return body["candidates"][0]["content"]["parts"][0]["text"]
    return body["message"]["content"] if "message" in body else body["content"][0]["text"]


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "ollama"])
def test_when_a_request_carries_a_schema_then_the_answer_satisfies_it_and_it_is_counted(provider: str) -> None:
    async def work() -> dict[str, Any]:
        path, body = _requests(PLAN)[provider]
        async with httpx2.AsyncClient(transport=Simulator(speed=0), base_url="http://sim.test") as client:
            return (await client.post(path, json=body)).json()

    body = asyncio.run(work())
    jsonschema.validate(json.loads(_text(body)), PLAN)
    usage = body.get("usage") or body.get("usageMetadata") or body
    names = ("input_tokens", "prompt_tokens", "promptTokenCount", "prompt_eval_count")
    (counted,) = [usage[name] for name in names if name in usage]
    # Ollama makes it a grammar, which is no input.
    size = 0 if provider == "ollama" else len(json.dumps(PLAN))
    assert counted == -(-len("Plan a picnic.") // 4) + -(-size // 4)


def test_when_a_schema_requires_itself_then_the_answer_comes_to_an_end() -> None:
    tree: dict[str, Any] = {"type": "object", "required": ["left", "right"]}
    tree["properties"] = {"left": {"$ref": "#"}, "right": {"$ref": "#"}}
    assert json.loads(say("A tree", schema=tree))["left"]["right"]
    assert json.loads(say("Odd", schema={"type": "string", "pattern": "("}))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
        {"type": "number", "minimum": 1.1, "maximum": 1.1},
        {"type": "number", "exclusiveMaximum": -3},
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "integer", "maximum": -3},
        {"const": "x"},
        {"type": "integer", "description": 'as in {"a": 1, ...}'},
        {"enum": [1, "a", None]},
        {"type": ["integer", "null"], "minimum": 5},
        {
            "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
            "$defs": {"a": {"required": ["x"]}, "b": {"required": ["y"]}},
        },
        {"oneOf": [{"type": "null"}, {"type": "string", "minLength": 200}]},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 50},
        {"properties": {"a/b": {"type": "string"}, "c d": {"$ref": "#/properties/a~1b"}}, "required": ["c d"]},
    ],
)
def test_when_a_schema_has_one_odd_part_then_the_answer_satisfies_it(schema: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(say("Anything", schema=schema)), schema)


def test_when_json_mode_is_on_then_the_answer_is_json_whatever_the_prompt() -> None:
    for prompt in ("Write a poem", "", "Review this code: x = 1", "Give me 3 names"):
        assert isinstance(json.loads(say(prompt, wants_json=True)), dict)
