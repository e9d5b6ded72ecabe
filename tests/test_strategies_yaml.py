"""Strategies under `strategies:` in `profiles.yaml`: the same as in Python, with the same words for what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError
from victor_nb.workflows.strategies import Funnel, Strategy, Tiered, find_strategy

if TYPE_CHECKING:
    from ensemble import Ensemble

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]


def test_when_a_strategy_is_written_in_yaml_then_it_is_the_same_as_in_python(ensemble: Ensemble) -> None:
    stages = [
        {"name": "ideas", "profile": "local", "prompt": "Ideas for {{ task }}", "n": 3, "parse": "list"},
        {"name": "pick", "profile": "fast", "prompt": "Rank: {{ items }}", "select": "rank", "keep": 2},
        {
            "name": "write",
            "profile": "default",
            "prompt": "{{ task }}: {{ best }}",
            "max_tokens": 50,
            "needs": ["ideas"],
        },
        {"name": "check", "profile": "fast", "prompt": "{{ write }}", "adds_to": "write", "accept": "^ok"},
    ]
    ensemble.cast(strategies={"mine": stages})
    written = Strategy(
        "mine",
        [
            Stage("ideas", "local", "Ideas for {{ task }}", n=3, parse="list"),
            Stage("pick", "fast", "Rank: {{ items }}", select="rank", keep=2),
            Stage("write", "default", "{{ task }}: {{ best }}", max_tokens=50, needs=("ideas",)),
            Stage("check", "fast", "{{ write }}", adds_to="write", accept="^ok"),
        ],
    )

    found = find_strategy("mine")

    assert found == written
    assert hash(found) == hash(written)
    assert repr(found) == "Strategy('mine': ideas (3 x local), pick (fast), write (default), check (fast))"


def test_when_a_strategy_goes_by_our_name_then_it_is_found_and_yours_comes_first(ensemble: Ensemble) -> None:
    assert find_strategy("funnel") == Funnel()
    assert find_strategy("tiered") == Tiered()
    ensemble.cast(strategies={"funnel": [{"name": "a", "profile": "fast", "prompt": "{{ task }}"}]})
    assert find_strategy("funnel") == Strategy("funnel", [Stage("a", "fast", "{{ task }}")])
    with pytest.raises(ConfigError, match="Did you mean 'tiered'"):
        find_strategy("tierd")
    with pytest.raises(ConfigError, match="Known: funnel, cascade"):
        find_strategy("x")


ONE = {"name": "one", "profile": "fast", "prompt": "{{ task }}"}
FAULTY = {
    "an unknown key": ([{**ONE, "profle": "fast"}], "strategies.mine.0.profle: unknown key. Did you mean 'profile'?"),
    "an unknown profile": (
        [{**ONE, "profile": "fsat"}],
        "strategies.mine.0.profile: no profile is called 'fsat'. Did you mean 'fast'?",
    ),
    "a missing key": ([{"name": "one", "prompt": "{{ task }}"}], "strategies.mine.0.profile: is missing"),
    "no stage": ([], "strategies.mine: has no stage. Give it one at least: a name, a profile and a prompt"),
    "no list": ("funnel", "strategies.mine: should be a valid list, not 'funnel'"),
    "two of a name": ([ONE, ONE], "strategies.mine.1.name: two stages are called 'one'. Rename one"),
    "a name with a meaning": (
        [{**ONE, "name": "best"}],
        "strategies.mine.0.name: 'best' has a meaning of its own in prompts. Choose another name",
    ),
    "a name with spaces": (
        [{**ONE, "name": "a b"}],
        "strategies.mine.0.name: 'a b' cannot stand in braces. Use letters, digits, _ and -, a letter first",
    ),
    "an empty prompt": ([{**ONE, "prompt": " "}], "strategies.mine.0.prompt: is empty"),
    "no task": (
        [{**ONE, "prompt": "Hello"}],
        "strategies.mine.0.prompt: no stage's prompt holds {{ task }}, so the task would never be sent",
    ),
    "a slip": (
        [{**ONE, "prompt": "{{ tasks }}"}],
        (
            "strategies.mine.0.prompt: 'tasks' is not defined (line 1 of the prompt). Did you mean 'task'? "
            "Write \\{{ tasks }} to send it as text."
        ),
    ),
    "the old spelling": (
        [{**ONE, "prompt": "Do {task}"}],
        "strategies.mine.0.prompt: {task} is written {{ task }} now. To send it as text, write \\{task}",
    ),
    "an earlier stage in the old spelling": (
        [ONE, {**ONE, "name": "two", "prompt": '{{ task }}: {"a": {one}}'}],
        "strategies.mine.1.prompt: {one} is written {{ one }} now. To send it as text, write \\{one}",
    ),
    "a slip in a name with a hyphen": (
        [{**ONE, "name": "one-a"}, {**ONE, "name": "two", "prompt": "{{ ona-a }}"}],
        (
            "strategies.mine.1.prompt: 'ona-a' is not defined (line 1 of the prompt). Did you mean 'one-a'? "
            "Write \\{{ ona-a }} to send it as text."
        ),
    ),
    "an unknown filter": (
        [{**ONE, "prompt": "{{ task | truncat(9) }}"}],
        (
            "prompt: {{ task | truncat(9) }} (line 1 of the prompt) names an unknown filter 'truncat'. "
            "Did you mean 'truncate'?"
        ),
    ),
    "a filter that takes no text": (
        [{**ONE, "prompt": "{{ task | schema }}"}],
        "(line 1 of the prompt) is a str, which has no schema. Give a table, a dict or a pydantic model.",
    ),
    "a call": (
        [{**ONE, "prompt": "{{ task.upper() }}"}],
        "calls and arithmetic are not run. Make a variable first, or write \\{{ task.upper() }} to send it as text.",
    ),
    "a place too early": (
        [{**ONE, "prompt": "{{ task }} {{ items }}"}],
        "strategies.mine.0.prompt: {{ items }}: nothing comes before the first stage",
    ),
    "a later stage": (
        [{**ONE, "prompt": "{{ task }} {{ two }}"}, {**ONE, "name": "two"}],
        "strategies.mine.0.prompt: {{ two }} comes later. A prompt can show earlier stages only",
    ),
    "itself": ([{**ONE, "prompt": "{{ task }} {{ one }}"}], "strategies.mine.0.prompt: {{ one }} is this stage itself"),
    "needs nobody": (
        [ONE, {**ONE, "name": "two", "needs": ["on"]}],
        "strategies.mine.1.needs: no earlier stage is called 'on'. Did you mean 'one'?",
    ),
    "adds to nobody": (
        [{**ONE, "adds_to": "x"}],
        "strategies.mine.0.adds_to: no earlier stage is called 'x'. Known: none.",
    ),
    "a way of selecting": (
        [{**ONE, "select": "votes"}],
        "strategies.mine.0.select: 'votes' is unknown. Did you mean 'vote'?",
    ),
    "a way of parsing": (
        [{**ONE, "parse": "yaml"}],
        "strategies.mine.0.parse: 'yaml' is unknown. Known: text, item, list, code, json.",
    ),
    "nothing to rank": (
        [{**ONE, "select": "rank"}],
        "select: there is nothing to rank. Put {{ items }} or an earlier stage's name in braces into the prompt",
    ),
    "a count": ([{**ONE, "n": 0}], "strategies.mine.0.n: takes a whole number from 1 to 1000, not 0"),
    "a pattern": (
        [{**ONE, "accept": "("}],
        "accept: takes a regular expression, which '(' is not: missing ), unterminated subpattern at position 0",
    ),
    "an acceptance": (
        [{**ONE, "accept": True}],
        "accept: takes a regular expression, a JSON schema, a count of samples or a function, not True",
    ),
    "a schema": (
        [{**ONE, "accept": {"type": "objct"}}],
        "is not valid under any of the given schemas",
    ),
}


@pytest.mark.parametrize("mistake", FAULTY)
def test_when_a_strategy_is_wrong_in_yaml_then_one_line_says_where_and_why(ensemble: Ensemble, mistake: str) -> None:
    stages, message = FAULTY[mistake]

    with pytest.raises(ConfigError) as caught:
        ensemble.cast(strategies={"mine": stages})

    assert "profiles.yaml, line " in str(caught.value)
    assert str(caught.value).endswith(message)


def test_when_a_strategy_is_wrong_in_python_then_the_same_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^Strategy 'mine': stage 'one', prompt: 'tasks' is not defined"):
        Strategy("mine", [Stage("one", "fast", "{{ tasks }}")])
    with pytest.raises(ConfigError, match=r"^Strategy 'mine': stage 'one', prompt: \{task\} is written \{\{ task \}\}"):
        Strategy("mine", [Stage("one", "fast", "{task}")])
    with pytest.raises(ConfigError, match=r"^Strategy 'mine': has no stage"):
        Strategy("mine", [])
    with pytest.raises(ConfigError, match=r"'voet' is unknown\. Did you mean 'vote'"):
        Strategy("mine", [Stage("one", "fast", "{{ task }}", select="voet")])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^Stage 'one': keep takes a whole number of 1 or more, not 0\.$"):
        Strategy("mine", [Stage("one", "fast", "{{ task }}", keep=0)])
    with pytest.raises(ConfigError, match="n takes a whole number from 1 to 1000, not 'x'"):
        Stage("one", "fast", "{{ task }}", n="x")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError,
        match=r"accept takes .* or a function, not True",
    ):
        Stage("one", "fast", "{{ task }}", accept=True)
