"""The table of request options: one rule in one wording on every surface, and `seed` on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import yaml

from cells import PROFILES, Shell
from servers import ANTHROPIC, DIALECTS
from servers.answers import Answer
from victor_nb import Agent, Settings, Stage, Strategy, session
from victor_nb.calls.agent import AgentOptions
from victor_nb.calls.request import OPTIONS, SENT, WORDED, CallOptions
from victor_nb.config.profiles import Profile, json_schema
from victor_nb.config.request_options import CallSettings, RequestKeywords, RequestOptions, rows
from victor_nb.errors import BadRequestError, ConfigError, VictorError
from victor_nb.notebook.grammar import parse
from victor_nb.notebook.options import KEYS, SETTABLE, MagicCall
from victor_nb.notebook.widgets.playground import Playground
from victor_nb.values import ChatRequest
from workbench import rows as ledger
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Dialect
    from workbench import Bench

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

DIRECT = "{{ task }}"
Value = Any  # of whatever kind an option takes


# --- one table ---


def bare(hint: object) -> object:
    """Return a type without its row and without None."""
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kinds = [part for part in get_args(kind) if part is not type(None)]
    return kinds[0] if len(kinds) == 1 else kind


def test_when_keywords_are_typed_then_they_are_the_options_of_the_table() -> None:
    table = get_type_hints(CallSettings, include_extras=True)
    keywords, calls = get_type_hints(RequestKeywords), get_type_hints(CallOptions)
    assert keywords.keys() == rows(RequestOptions).keys()
    assert calls.keys() == OPTIONS.keys()
    for name in table:
        assert bare(calls[name]) == bare(table[name]), name


def test_when_a_row_is_in_the_table_then_every_surface_has_it() -> None:
    for name, row in SENT.items():
        assert name in Profile.model_fields
        assert name in Stage.__dataclass_fields__
        assert name in MagicCall.__dataclass_fields__
        assert name in ChatRequest.__dataclass_fields__
        assert name in AgentOptions.__annotations__ | RequestKeywords.__annotations__
        assert (KEYS[name].help, KEYS[name].kind.words) == (row.help, row.kind.words)
        assert row.settable is (name in SETTABLE)
        assert row.help
        for part in ("ProfileSpec", "Stage"):
            assert json_schema()["$defs"][part]["properties"][name]["description"] == row.help


# --- one rule ---


def of_profile(name: str, value: float, _: Shell) -> object:
    return read_file(profiles={"fast": {**PROFILES["fast"], name: value}})


def of_agent(name: str, value: Value, _: Shell) -> object:
    return Agent.create_sync(provider="openai", model="m", **{name: value})


def of_call(name: str, value: Value, _: Shell) -> object:
    return session().pool.get_orchestrator("fast").run_sync("Hi.", **{name: value})


def of_stage(name: str, value: Value, _: Shell) -> object:
    return Stage("one", "fast", DIRECT, **{name: value})


def of_yaml_stage(name: str, value: float, _: Shell) -> object:
    stage = {"name": "one", "profile": "fast", "prompt": DIRECT, name: value}
    return read_file(profiles=PROFILES, strategies={"mine": [stage]})


def of_run(name: str, value: Value, _: Shell) -> object:
    return Strategy("mine", [Stage("one", "fast", DIRECT)]).run_sync("Hi.", **{name: value})


def of_fan_out(name: str, value: Value, _: Shell) -> object:
    return session().pool.fan_out_sync("Hi.", ["fast"], **{name: value})


def of_cell(name: str, value: float, shell: Shell) -> object:
    raise shell.fail(f"%%victor fast {name}={value}\nHi.")


def of_default(name: str, value: float, shell: Shell) -> object:
    raise shell.fail(f"%victor set {name}={value}")


def of_panel(name: str, value: float, _: Shell) -> object:
    panel = Playground("Hi.", profiles="fast")
    panel._form.options[name].value = str(value)
    return parse(panel._form.line, {})


def read_file(**content: object) -> Settings:
    """Return the settings of a file beside the one that the session reads."""
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return Settings(path)


EVERYWHERE = (of_profile, of_agent, of_call, of_stage, of_yaml_stage, of_run, of_fan_out, of_cell)
RULES: list[tuple[str, float | str, str, tuple[Callable[[str, Any, Shell], object], ...]]] = [
    ("temperature", 9, "a number from 0 to 2, not 9", (*EVERYWHERE, of_default, of_panel)),
    ("temperature", -0.5, "a number from 0 to 2, not -0.5", (*EVERYWHERE, of_default, of_panel)),
    ("max_tokens", 0, "a whole number of 1 or more, not 0", (*EVERYWHERE, of_default, of_panel)),
    ("max_tokens", 1.5, "a whole number of 1 or more, not 1.5", (*EVERYWHERE, of_default, of_panel)),
    ("seed", -1, "a whole number of 0 or more, not -1", (*EVERYWHERE, of_default)),
    ("effort", "much", "none, minimal, low, medium, high, xhigh or max, not 'much'", (*EVERYWHERE, of_default)),
    ("tier", "slow", "standard, flex, priority, fast, or several in turn", (*EVERYWHERE, of_default)),
    ("prompt_cache", "2h", "auto, 5m, 1h or off, not '2h'", (*EVERYWHERE, of_default)),
    ("n", 5000, "a whole number from 1 to 1000, not 5000", (of_stage, of_yaml_stage, of_fan_out, of_cell)),
    ("n", 0, "a whole number from 1 to 1000, not 0", (of_stage, of_yaml_stage, of_fan_out, of_cell)),
    ("retries", 11, "a whole number from 0 to 10, not 11", (of_profile, of_agent, of_call, of_run, of_cell)),
    ("timeout", 0, "seconds above 0, not 0", (of_profile, of_agent, of_call, of_run, of_cell, of_default)),
]


@pytest.mark.parametrize(
    ("name", "value", "words", "surface"),
    [(*rule, surface) for *rule, surfaces in RULES for surface in surfaces],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_when_a_value_is_wrong_then_every_surface_refuses_it_in_the_same_words(
    shell: Shell, name: str, value: float, words: str, surface: Callable[[str, float, Shell], object]
) -> None:
    with pytest.raises(VictorError) as caught:
        surface(name, value, shell)

    assert f"takes {words}" in str(caught.value)
    assert name in str(caught.value).partition(" takes ")[0]
    assert isinstance(caught.value, ValueError)
    assert ledger() == []


@pytest.mark.parametrize("surface", [of_profile, of_agent, of_call, of_stage, of_yaml_stage, of_run, of_fan_out])
def test_when_params_are_none_then_every_surface_takes_that_as_not_given(
    shell: Shell, surface: Callable[[str, Any, Shell], object]
) -> None:
    surface("params", None, shell)


def test_when_an_agent_gets_an_unknown_option_then_those_of_a_profile_are_offered(shell: Shell) -> None:
    with pytest.raises(ConfigError, match=r"temprature: unknown key\. Did you mean 'temperature'"):
        Agent.create_sync("fast", temprature=1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ConfigError, match=r"xyz: unknown key. Known: .*provider.*base_url") as caught:
        Agent.create_sync("fast", xyz=1)  # pyright: ignore[reportCallIssue]
    assert "strategies" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 2), ("temperature", 0), ("max_tokens", 1), ("seed", 0), ("retries", 10)]
)
def test_when_a_value_is_at_the_edge_then_every_surface_takes_it(shell: Shell, name: str, value: float) -> None:
    for surface in EVERYWHERE[:-1] if name != "retries" else (of_profile, of_agent, of_call, of_run):
        surface(name, value, shell)
    assert shell.run(f"%%victor fast {name}={value}\nHi.").error is None


# --- seed ---


def leaves(body: object) -> list[object]:
    """Return the values in a body that are no list and no mapping."""
    if isinstance(body, dict | list):
        inner: list[Any] = list(body.values()) if isinstance(body, dict) else body
        return [leaf for each in inner for leaf in leaves(each)]
    return [body]


@pytest.mark.parametrize("name", [name for name in SENT if name not in WORDED])  # these have tests/test_words.py
async def test_when_an_option_is_given_then_it_is_sent_or_refused_before_anything_is(bench: Bench, name: str) -> None:
    kind, example = SENT[name].kind, SENT[name].example
    value: Value = {"metadata": "our own"} if name == "params" else kind.read(example) if kind.read else "our own"
    if name == "schema":
        value = {"type": "object", "properties": {"a": {"enum": ["our own"]}}, "required": ["a"]}
    bench.play(Answer(pieces=('{"a": "our own"}',)))
    agent = await bench.agent()
    await bench.ask(agent)
    before, refusal, notes = leaves(bench.body), "", ()
    try:
        notes = (await bench.ask(agent, **{name: value})).notes
    except BadRequestError as error:
        refusal = str(error)
    sent = ("our own" if isinstance(value, dict) else value) in [
        leaf for leaf in leaves(bench.body) if leaf not in before
    ]
    if refusal:
        assert f"{bench.dialect.name} takes no {name}." in refusal
        assert len(bench.server.requests) == 1
    elif name == "temperature" and notes:  # the one option that is left out instead
        assert (notes, sent) == (("temperature not sent: the model takes none",), False)
    else:
        assert sent


async def test_when_a_seed_is_given_then_it_is_sent_or_refused_before_anything_is(bench: Bench) -> None:
    bench.play(Answer(), Answer())
    agent = await bench.agent()
    if not bench.dialect.takes_seed:
        error = await bench.fail(agent, seed=7)
        assert isinstance(error, BadRequestError)
        assert str(error) == f"desk: {bench.dialect.name} takes no seed. Leave seed= out, or ask another profile."
        assert (error.profile, error.provider, error.retryable) == ("desk", bench.dialect.name, False)
        assert bench.server.requests == ledger() == []
        return
    await bench.ask(agent, seed=7)
    assert bench.dialect.asked(bench.server.requests[-1]).seed == 7
    await bench.ask(await bench.agent(seed=8), seed=None)
    assert "seed" not in str(bench.body)


async def test_when_a_profile_has_a_seed_then_a_call_s_own_beats_it(bench: Bench) -> None:
    bench.play(Answer(), Answer())
    agent = await bench.agent(seed=8)
    if not bench.dialect.takes_seed:
        assert f"{bench.dialect.name} takes no seed" in str(await bench.fail(agent))
        return
    await bench.ask(agent)
    await bench.ask(agent, seed=9)
    assert [bench.dialect.asked(request).seed for request in bench.server.requests] == [8, 9]


@pytest.mark.parametrize("provider", DIALECTS, ids=repr)
def test_when_a_cell_gives_a_seed_then_the_simulated_answer_is_that_of_the_seed(
    shell: Shell, provider: Dialect
) -> None:
    write_profiles(Path(), default={"provider": provider.name, "model": provider.model})
    if not provider.takes_seed:
        assert f"default: {provider.name} takes no seed." in str(shell.fail("%%victor seed=7\nName 3 rivers."))
        assert ledger() == []
        return
    answers: list[str] = []
    for seed in (7, 8, 7):
        assert shell.run(f"%%victor seed={seed} out=r\nName 3 rivers.").error is None
        answers.append(str(shell.names["r"]))
    assert answers[0] == answers[2] != answers[1]


def test_when_some_of_several_refuse_a_seed_then_only_they_fail(shell: Shell) -> None:
    write_profiles(Path(), **{each.name: {"provider": each.name, "model": each.model} for each in DIALECTS})
    replies = session().pool.fan_out_sync("Hi.", [each.name for each in DIALECTS], seed=7)
    assert list(replies.failed) == [each.name for each in DIALECTS if not each.takes_seed]
    assert len(replies.ok) == len(ledger()) == sum(each.takes_seed for each in DIALECTS)
    ran = shell.run("%%victor profiles=openai,anthropic seed=7 out=r\nHi.")
    assert ran.error is None
    assert "anthropic takes no seed" in ran.plain


def test_when_a_stage_s_model_refuses_a_seed_then_the_strategy_is_refused_before_it_costs(shell: Shell) -> None:
    premium = {"provider": "anthropic", "model": ANTHROPIC.model}
    write_profiles(Path(), default=PROFILES["fast"], **PROFILES, premium=premium)
    assert "premium: anthropic takes no seed" in str(shell.fail("%%victor strategy=tiered seed=7\nHi."))
    cheap, dear = Stage("a", "fast", DIRECT, seed=7), Stage("b", "premium", "{{ a }}")
    run = Strategy("mixed", [cheap, dear]).run_sync("Hi.")
    assert run.complete
    assert len(ledger()) == 2


def test_when_a_default_is_a_seed_then_a_bare_cell_asks_with_it(shell: Shell) -> None:
    shell.run("%victor set seed=7")
    shell.run("%%victor fast out=first\nName 3 rivers.")
    shell.run("%victor set reset")
    shell.run("%%victor fast seed=7 out=again\nName 3 rivers.")
    shell.run("%%victor fast out=without\nName 3 rivers.")
    names = shell.names
    assert str(names["first"]) == str(names["again"]) != str(names["without"])
    assert "seed" in shell.run("%%victor fast seed=7 --dry\nName 3 rivers.").plain
