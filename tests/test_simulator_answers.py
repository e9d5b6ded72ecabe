"""What the simulator says: each shape of prompt gets its shape of answer."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_nb.values import Message
from victor_nb.wire.answers import write
from victor_nb.wire.dialects.base import Asked, fingerprint
from victor_nb.wire.writing.snippets import SNIPPETS, Snippet

SMALL, MEDIUM, LARGE = "gpt-4o-mini", "claude-sonnet-5-5", "claude-opus-5-5"
MODELS = (SMALL, MEDIUM, LARGE)


def say(prompt: str, model: str = MEDIUM, *, system: str = "", history: tuple[str, ...] = ()) -> str:
    turns = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(history)]
    seed = fingerprint([model, system, prompt, [*history]])
    return write(Asked(model=model, messages=(*turns, Message("user", prompt)), system=system, seed=seed))


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
    ],
)
def test_when_a_list_is_asked_then_it_has_that_many_different_items(prompt: str, count: int, model: str) -> None:
    items = re.findall(r"^(\d+)\. (.+)$", say(prompt, model), re.MULTILINE)
    assert [int(place) for place, _ in items] == list(range(1, count + 1))
    assert len({text for _, text in items}) == count


@pytest.mark.parametrize("model", MODELS)
def test_when_the_best_are_to_be_picked_then_they_come_from_the_prompts_list(model: str) -> None:
    ideas = [f"Idea about {word}" for word in ("maps", "bees", "clocks", "bread", "rivers")]
    prompt = "Pick the best 3 of these ideas:\n" + "\n".join(f"{n}. {idea}" for n, idea in enumerate(ideas, 1))
    found = re.findall(r"^\d\. \((\d)\) (Idea about \w+)", say(prompt, model), re.MULTILINE)
    assert len(found) == len(set(found)) == 3
    assert all(ideas[int(mark) - 1] == text for mark, text in found)
    numbers = say(f"{prompt}\nAnswer with the numbers only.", model)
    assert re.fullmatch(r"\d, \d, \d", numbers)


def test_when_candidates_are_whole_answers_then_they_are_told_by_their_headings() -> None:
    prompt = "Choose the best answer.\n\nAnswer 1:\n1. a\n2. b\n\nAnswer 2:\n1. c\n2. d\n\nReply with the number only."
    assert say(prompt) in ("1", "2")
    assert say("Rank these by impact: apples, pears and plums").count("\n") >= 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", ["Write a Python {}", "Implement {} in Python"])
@pytest.mark.parametrize("thing", ["palindrome check function", "budget tracker", "class", "fibonacci function"])
def test_when_python_is_asked_for_then_the_block_compiles(thing: str, task: str, model: str) -> None:
    [(language, code)] = blocks(say(task.format(thing), model))
    assert language == "python"
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


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.name)
def test_when_an_implementation_is_handed_on_for_tests_then_the_tests_pass(snippet: Snippet) -> None:
    [(_, tests)] = blocks(say(f"Generate tests for:\n```python\n{snippet.code}\n```"))
    space: dict[str, Any] = {}
    exec(compile(snippet.code, "solution", "exec"), space)
    exec(compile(tests.replace(f"from solution import {snippet.name}", ""), "tests", "exec"), space)
    ran = [space[name] for name in space if name.startswith("test_")]
    for test in ran:
        marks = getattr(test, "pytestmark", [])
        names, rows = marks[0].args if marks else ("", [()])
        for row in rows:
            test(*(row if isinstance(names, tuple) else (row,))) if marks else test()
    assert ran


def test_when_a_written_class_is_handed_on_for_tests_then_the_tests_name_it() -> None:
    [(_, code)] = blocks(say("Implement this idea: a budget tracker"))
    [(_, tests)] = blocks(say(f"Generate tests for: {code}"))
    assert "from solution import BudgetTracker\n" in tests


@pytest.mark.parametrize("model", MODELS)
def test_when_code_is_reviewed_then_what_is_wrong_with_it_is_found(model: str) -> None:
    code = "def load(path, cache={}):\n    try:\n        return eval(open(path).read())\n    except:\n        pass\n"
    review = say(f"Review this code:\n```python\n{code}```", model)
    assert "[High] Code from input** (line 3)" in review
    assert len(re.findall(r"^\d\. \*\*\[(?:High|Medium|Low)\]", review, re.MULTILINE)) >= 2
    assert "Verdict" in review


def test_when_a_review_may_approve_then_it_does_unless_something_is_grave() -> None:
    told = "Review this code. If nothing serious is wrong, reply with APPROVED.\n```python\n{}\n```"
    assert "[High]" in say(told.format("eval(x)"))
    replies = {say(told.format(f"def f{n}(): pass")).partition("\n")[0] for n in range(30)}
    assert "APPROVED" in replies


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        ("Classify: the food was awful and the waiter rude", "negative"),
        ("Classify as positive or negative: I love it", "positive"),
        ("Classify the review below as positive, negative or neutral. One word.\n\nNot good.", "negative"),
        ("Categorize into billing, technical or shipping: My invoice is wrong", "billing"),
        ("Classify (bug/feature/question): how do I export a chart?", "question"),
        ('Label the message. Labels: ["spam", "ham"]\n\nYou won a prize, click here', "spam"),
    ],
)
def test_when_something_is_classified_then_the_answer_is_one_of_the_labels(prompt: str, label: str) -> None:
    assert say(prompt, SMALL) == say(prompt, LARGE) == label


def test_when_the_system_prompt_gives_the_task_then_it_is_followed() -> None:
    system = "Classify what you are given as urgent or calm. Reply with one word."
    assert say("The server is down, come now", system=system) == "urgent"
    answer = json.loads(say("The hotel in Vienna was dirty.", system='Reply in JSON with keys "city" and "sentiment".'))
    assert answer == {"city": "Vienna", "sentiment": "negative"}


def test_when_a_summary_is_asked_then_it_is_made_of_the_text() -> None:
    text = "Foxes live in forests. Foxes eat mice and berries. The weather was fine. Forests are shrinking."
    summary = say(f"Summarize in two sentences:\n\n{text}")
    assert summary.count(".") == 2
    assert all(f"{sentence.strip()}." in text for sentence in summary.split(".") if sentence.strip())


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Reply with the word pong", "pong"),
        ('Say exactly "all good"', "all good"),
        ("What is 12 * 7?", "12 * 7 = 84"),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Translate to French: good morning", "[French] good morning"),
    ],
)
def test_when_the_prompt_leaves_no_choice_then_the_answer_is_exact(prompt: str, answer: str) -> None:
    assert say(prompt) == answer


def test_when_something_was_said_before_then_it_is_remembered() -> None:
    assert say("What is my name?", history=("My name is Ada.", "Nice to meet you.")) == "Your name is Ada."


def test_when_asked_who_it_is_then_it_claims_to_be_no_model() -> None:
    for prompt in ("Who are you?", "Which model are you?", "Are you Claude?"):
        assert "simulated" in say(prompt, "gpt-4o")


@pytest.mark.parametrize("model", MODELS)
def test_when_nothing_special_is_asked_then_paragraphs_are_about_the_subject(model: str) -> None:
    text = say("Explain how the printing press changed Europe.", model)
    assert 2 <= len(text.split("\n\n")) <= 3
    assert "printing press" in text


def test_when_lengths_are_asked_for_then_they_are_kept() -> None:
    assert len(re.findall(r"[.!?](?:\s|$)", say("Explain quantum computing in two sentences."))) == 2
    assert len(say("Describe bees in 30 words").split()) <= 30
    assert len(say("Write a two-paragraph introduction to bees").split("\n\n")) == 2
    assert say("Write a haiku about rain").count("\n") == 2


def test_when_models_differ_then_so_do_their_answers_and_lengths() -> None:
    texts = {model: say("Explain how tides work.", model) for model in (*MODELS, "gpt-4o", "qwen2.5-coder:7b")}
    assert len(set(texts.values())) == len(texts)
    assert len(texts[SMALL]) < len(texts[MEDIUM]) < len(texts[LARGE])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("prompt", "shape"),
    [
        ("What are the pros and cons of tea?", r"\*\*Pros\*\*\n\n(?:- .+\n)+\n\*\*Cons\*\*\n\n(?:- .+\n?)+"),
        (
            "Explain this code:\n```python\nimport os\nfor name in os.listdir():\n    print(name)\n```",
            r"(?s).*Line 1 brings in.*",
        ),
        ("Create a markdown table comparing tea and milk, coffee", r"(?s)\| Name \|.*\n\| --- \|.*\n\| coffee \|.*"),
        ("Give me a table with columns city, country and price", r"(?s)\| City \| Country \| Price \|\n.*"),
        ("Rate this answer from 1 to 5: it is great", r"[1-5](?:/5: .+)?"),
        ("Write a short story about a robot", r"(?s).*robot.*"),
        ("Write an email about the launch", r"(?s)Subject: The launch\n.*Best regards"),
        ("Write a poem about rain", r"(?s).*rain.*\n\n.*"),
        ("Suggest a slogan for a bakery", r".*bakery.*"),
        ("Tell me a joke", r".+[.?]"),
        ("Compare tea vs coffee", r"(?s)Tea and coffee .*|.*tea.*coffee.*"),
        ("Improve this draft:\n\nTea is good.", r"(?s)Tea is good\..*"),
        ("List 3 tips for tea as bullet points", r"(?:- .+\n?){3}"),
        ("Name 3 colors, comma-separated", r"\w+, \w+, \w+"),
        ("", r"There is no question yet.*"),
        ("Hello!", r"Hello!.*"),
    ],
)
def test_when_a_form_is_asked_for_then_the_answer_has_it(prompt: str, shape: str, model: str) -> None:
    assert re.fullmatch(shape, say(prompt, model))


def test_when_only_code_is_wanted_then_nothing_else_is_said() -> None:
    assert re.fullmatch(r"```python\n.*\n```", say("Write a Python function that sorts names. Only code."), re.DOTALL)


@given(
    task=st.sampled_from(
        ["Rank:", "Review:", "Classify:", "Summarize:", "Return JSON:", "Write a Python function", "List"]
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
