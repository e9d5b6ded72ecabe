"""`%victor panel`: it asks just as the cell that stands under it would, while other cells run."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from servers import OPENAI, Server, faults
from servers.answers import Answer
from victor_nb import Reply, session
from victor_nb.errors import ConfigError, MagicError, ProfileNotFoundError, PromptError
from victor_nb.notebook.widgets.base import descendants
from victor_nb.notebook.widgets.playground import Playground
from victor_nb.notebook.widgets.throttle import throttle
from widget_pages import HOSTILE, assert_inert, seen
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cells import Shell

pytest_plugins = ["widget_fixtures"]
pytestmark = pytest.mark.usefixtures("notebook")


def ask(panel: Playground) -> Any:  # noqa: ANN401 - what it brought
    """Press Ask, and wait for the end."""
    panel._ask.click()
    assert panel.wait(60)
    assert throttle().wait_idle()
    return panel.result


def rows() -> list[tuple[str, str]]:
    """Return profile and status of every attempt."""
    return [(row.profile, row.status) for row in session().ledger.rows()]


# --- what it asks ---


def test_when_ask_is_pressed_then_the_answer_and_its_bill_are_shown() -> None:
    panel = Playground("Name three colours.", profiles="fast")
    reply = ask(panel)
    assert isinstance(reply, Reply)
    shown = seen(panel)
    assert reply.content.split()[-1] in shown
    assert "fast · gpt-6-luna" in shown
    assert "simulated" in shown
    assert session().last is reply


def test_when_several_are_chosen_then_they_answer_side_by_side() -> None:
    panel = Playground("Name three colours.", profiles=("fast", "local"))
    replies = ask(panel)
    assert list(replies) == ["fast", "local"]
    assert panel._page.value.count('class="victor-answer"') == 2
    assert "2 answers" in seen(panel)


def test_when_a_strategy_is_chosen_then_a_board_shows_it() -> None:
    panel = Playground("Plan a small party.", strategy="tiered")
    run = ask(panel)
    assert run.strategy == "tiered"
    assert run.complete
    assert panel._form.profiles.disabled
    assert any(type(each).__name__ == "StrategyBoard" for each in descendants(panel))


def test_when_the_form_is_filled_in_then_the_cell_says_all_of_it() -> None:
    panel = Playground("Hello {{ name }}", profiles=("fast", "local"))
    typed = {"system": "Be brief, it's late.", "max_tokens": " 200 ", "temperature": "0.2", "budget": "0.50"}
    for key, field in panel._form.options.items():
        field.value = typed[key]
    assert panel.code == (
        "%%victor profiles=fast,local system='Be brief, it'\"'\"'s late.' max_tokens=200 temperature=0.2 budget=0.50\n"
        "Hello {{ name }}"
    )
    assert "profiles=fast,local" in seen(panel)


def test_when_its_cell_is_run_then_it_asks_the_very_same(notebook: Shell) -> None:
    notebook.names["name"] = "Ada"
    panel = Playground("Hello {{ name }}", profiles="fast")
    panel._form.options["max_tokens"].value = "50"
    first = ask(panel)
    notebook.run(
        panel.code.replace("%%victor", "%%victor out=again", 1).replace("out=again profile=fast", "fast out=again")
    )
    assert notebook.names["again"].content == first.content
    one, two = session().ledger.rows()
    assert (one.input_tokens, one.output_tokens) == (two.input_tokens, two.output_tokens)


def test_when_nothing_is_said_then_it_asks_whom_a_bare_cell_asks(notebook: Shell) -> None:
    notebook.run("%victor set profile=local")
    ask(Playground("Hi."))
    assert rows() == [("local", "ok")]


def test_when_all_chosen_models_refuse_a_temperature_then_the_field_is_closed() -> None:
    panel = Playground("Hi.", profiles="premium")
    panel._form.options["temperature"].value = "0.3"
    assert panel._form.options["temperature"].disabled
    assert "temperature" not in panel.code
    panel._form.profiles.value = ("premium", "fast")
    assert not panel._form.options["temperature"].disabled
    assert "temperature=0.3" in panel.code
    assert panel._form.options["temperature"].placeholder == "not taken by premium"


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("prompt", "  ", "PromptError: The prompt is empty"),
        ("prompt", "{{ nobody }}", "nobody"),
        ("max_tokens", "many", "max_tokens= takes a whole number of 1 or more, not 'many'"),
        ("max_tokens", "5 --dry", "max_tokens= takes a whole number of 1 or more, not '5 --dry'"),
        ("temperature", "hot", "temperature= takes a number from 0 to 2, not 'hot'"),
        ("temperature", "9", "temperature= takes a number from 0 to 2, not 9"),
        ("budget", "-1", "budget= takes an amount in USD, not"),
    ],
)
def test_when_the_form_is_wrong_then_one_line_says_so_and_nothing_is_sent(field: str, value: str, hint: str) -> None:
    panel = Playground("Hi.", profiles="fast")
    form = panel._form
    (form.options[field] if field in form.options else getattr(form, field)).value = value
    assert ask(panel) is None
    assert hint in seen(panel)
    assert rows() == []
    assert not panel._ask.disabled
    assert panel._stop.disabled


@pytest.mark.parametrize(("features", "told"), [(["debugger"], True), (["kernel subshells"], False)])
def test_when_a_kernel_hears_nothing_while_a_cell_runs_then_the_panel_says_so_until_it_is_used(
    notebook: Shell, features: list[str], *, told: bool
) -> None:
    cast("Any", notebook.ip).kernel = SimpleNamespace(kernel_info={"supported_features": features})
    panel = Playground("Name a river.", profiles="fast")
    assert ("takes a click only when no cell runs" in seen(panel)) is told
    ask(panel)
    assert "takes a click only" not in seen(panel)


def test_when_nobody_is_chosen_then_it_says_so() -> None:
    panel = Playground("Hi.")
    panel._form.profiles.value = ()
    ask(panel)
    assert "ConfigError: No profile is chosen" in seen(panel)


def test_when_the_budget_does_not_allow_it_then_it_says_so() -> None:
    panel = Playground("Hi.", profiles="premium")
    panel._form.options["budget"].value = "0.000001"
    ask(panel)
    assert "BudgetError" in seen(panel)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"profiles": "fsat"}, ProfileNotFoundError), ({"strategy": "funel"}, ConfigError)],
)
def test_when_it_is_made_with_an_unknown_name_then_it_says_so(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"Did you mean '(fast|funnel)'"):
        Playground("Hi.", **arguments)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Make two servers of ours the profiles `one` and `two`, asked in earnest."""
    monkeypatch.delenv("VICTOR_MODE")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-77aa")
    monkeypatch.setenv("NO_PROXY", "*")
    with Server(Answer()) as one, Server(Answer()) as two:
        base = {"provider": "openai", "model": OPENAI.model, "retries": 0}
        pairs = (("one", one), ("two", two))
        write_profiles(tmp_path, **{name: {**base, "base_url": OPENAI.base_url(each.url)} for name, each in pairs})
        yield one, two


def test_when_one_model_is_down_then_its_error_stands_in_its_place(servers: tuple[Server, Server]) -> None:
    servers[1].play(faults.echo_key())
    panel = Playground("Hi.", profiles=("one", "two"))
    replies = ask(panel)
    shown = seen(panel)
    assert Answer().text in shown
    assert "AuthenticationError" in shown
    assert list(replies.failed) == ["two"]
    assert "canary" not in shown + panel.fallback().plain


def test_when_all_models_are_down_then_each_error_is_shown(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.play(faults.status(503))
    panel = Playground("Hi.", profiles=("one", "two"))
    ask(panel)
    assert seen(panel).count("OverloadedError:") == 2
    assert type(session().errors[-1]).__name__ == "FanOutError"


def test_when_the_only_model_is_down_then_one_line_says_so(servers: tuple[Server, Server]) -> None:
    servers[0].play(faults.status(401))
    panel = Playground("Hi.", profiles="one")
    assert ask(panel) is None
    assert "AuthenticationError" in seen(panel)
    assert len(session().errors) == 1


def test_when_an_answer_breaks_off_then_what_came_is_shown(servers: tuple[Server, Server]) -> None:
    servers[0].play(faults.cut(Answer(), 2, "reset"))
    panel = Playground("Hi.", profiles="one")
    reply = ask(panel)
    assert reply.status == "partial"
    assert reply.content in seen(panel)
    assert "PartialAnswerError" in seen(panel)


# --- Stop, and asking twice ---


def test_when_stop_is_pressed_then_what_came_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "1")
    panel = Playground("Write a long essay about rivers.", profiles="premium")
    panel._ask.click()
    came = threading.Event()
    panel._page.observe(lambda change: came.set() if "arriving" in change["new"] else None, names="value")
    assert came.wait(60)
    panel._stop.click()
    assert panel.wait(60)
    assert isinstance(panel.result, Reply)
    assert panel.result.status == "interrupted"
    assert "interrupted" in seen(panel)
    assert rows() == [("premium", "interrupted")]
    assert not panel._ask.disabled


def test_when_stop_is_pressed_at_once_then_nothing_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "1")
    panel = Playground("Write a long essay about rivers.", profiles=("premium", "default"))
    panel._ask.click()
    panel._stop.click()
    assert panel.wait(60)
    assert all(status == "interrupted" for _, status in rows())


def test_when_ask_is_pressed_twice_then_one_question_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "1")
    panel = Playground("Write a long essay about rivers.", profiles="premium")
    panel._ask.click()
    panel._ask.click()
    while not rows():
        pass
    with pytest.raises(PromptError, match="still arriving"):
        panel.ask()
    panel.stop()
    assert panel.wait(60)
    assert len(rows()) == 1


def test_when_it_is_asked_again_then_the_new_answer_takes_the_place() -> None:
    panel = Playground("Name three colours.", profiles="fast")
    first = ask(panel)
    panel._form.prompt.value = "Name three rivers of the north."
    panel._form.strategy.value = "single"
    second = ask(panel)
    panel._form.strategy.value = ""
    third = ask(panel)
    assert first is not second
    assert isinstance(third, Reply)
    assert not any(type(each).__name__ == "StrategyBoard" for each in descendants(panel))


def test_when_it_is_closed_then_nothing_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "1")
    panel = Playground("Write a long essay about rivers.", profiles="premium")
    panel.ask()
    while not rows():
        pass
    panel.close()
    while any(status == "running" for _, status in rows()):
        pass
    assert rows() == [("premium", "interrupted")]


# --- hostile answers, and the fallback ---


def test_when_an_answer_is_hostile_then_it_is_text(servers: tuple[Server, Server]) -> None:
    servers[0].play(Answer(pieces=(HOSTILE, "x" * 1_000_000)))
    panel = Playground("Hi.", profiles=("one", "two"))
    ask(panel)
    assert_inert(panel._page.value)
    assert_inert(panel.fallback().html)
    assert "window.pwned=1" in seen(panel)
    assert "characters more are in the reply" in seen(panel)
    assert len(panel._page.value) < 100_000


def test_when_it_has_answered_then_the_fallback_says_what_was_asked_and_what_came() -> None:
    panel = Playground("Name three colours.", profiles=("fast", "local"))
    replies = ask(panel)
    plain = panel.fallback().plain
    assert panel.code in plain
    assert replies["fast"].content in plain
    assert "2 answers" in plain


# --- as a cell ---


def test_when_the_command_asks_for_code_then_the_cell_becomes_the_question(notebook: Shell) -> None:
    Playground._latest.clear()
    with pytest.raises(MagicError, match="%victor panel shows one"):
        Playground.latest_code()
    notebook.run("%victor panel")
    Playground._latest[0]._form.prompt.value = "Why?"
    notebook.run("%victor panel code")
    assert notebook.ip.rl_next_input == "%%victor profile=default\nWhy?"


def test_when_insert_is_pressed_then_the_next_cell_brings_the_code(notebook: Shell) -> None:
    panel = Playground("Why?", profiles="fast")
    panel._insert.click()
    assert notebook.ip.rl_next_input == "%%victor profile=fast\nWhy?"
    assert "%victor panel code" in seen(panel)


# --- what may go wrong around it ---


def test_when_a_users_own_property_fails_then_it_can_be_asked_again(
    notebook: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))
    notebook.run("class Odd:\n    @property\n    def part(self):\n        raise OSError('a bug')\nodd = Odd()")
    panel = Playground("{{ odd.part }}", profiles="fast")
    ask(panel)
    assert "PromptError: {{ odd.part }} (line 1 of the prompt) fails: OSError: a bug" in seen(panel)
    assert failures == []
    panel._form.prompt.value = "Hi."
    assert isinstance(ask(panel), Reply)


def test_when_the_result_is_observed_then_the_next_question_may_follow_at_once() -> None:
    panel, replies = Playground("Name a river.", profiles="fast"), []

    def go_on(change: dict[str, Any]) -> None:
        replies.append(change["new"])
        if len(replies) == 1:
            panel._form.prompt.value = "Name a bridge."
            panel.ask()

    panel.observe(go_on, names="result")
    panel._ask.click()
    assert panel.wait(60)
    assert len(replies) == 2
    assert throttle().wait_idle()
    assert (panel._ask.disabled, panel._stop.disabled) == (False, True)


def test_when_a_key_is_typed_then_it_is_not_shown_nor_kept() -> None:
    panel = Playground("my key is sk-proj-abcdefghijkl0123456789 ok", profiles="fast")
    assert "sk-proj" not in seen(panel) + panel.fallback().html + panel.fallback().plain + repr(panel)
    assert "sk-proj" in panel.code


def test_when_a_chosen_profile_is_gone_then_the_form_says_so_when_asked(notebook: Shell, tmp_path: Path) -> None:
    write_profiles(tmp_path, one={"provider": "ollama", "model": "m"}, two={"provider": "ollama", "model": "m"})
    panel = Playground("Hi.", profiles=("one", "two"))
    write_profiles(tmp_path, one={"provider": "ollama", "model": "m"}, three={"provider": "ollama", "model": "m"})
    ask(panel)
    assert "Profile 'two' not found" in seen(panel)
    panel._form.profiles.value = ("one", "three")
    assert list(ask(panel)) == ["one", "three"]
    assert panel._form.profiles.shown == ("one", "three")


def test_when_it_is_closed_then_none_of_its_parts_stays_in_the_front_end() -> None:
    from ipywidgets.widgets.widget import _instances

    Playground("Hi.").close()
    before = len(_instances)
    Playground("Hi.", strategy="single").close()
    assert len(_instances) == before
