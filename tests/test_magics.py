"""`%%victor` and `%victor` as a user meets them, in a shell of this process and in a real kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml
from IPython.core.completer import provisionalcompleter

from cells import MARKDOWN, PLAIN, Kernel, Message, Shell, ran
from servers import OLLAMA, OPENAI, Answer, Server, closed_port, faults
from victor_nb.errors import (
    ConfigError,
    MalformedAnswerError,
    PartialAnswerError,
    ProfileNotFoundError,
    PromptError,
    SecretError,
    VictorInterrupted,
)
from victor_nb.notebook.transform import Transform
from victor_nb.session import session
from victor_nb.values import Reply
from workbench import CANARY, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.exchange import Act, Exchange

PROFILES = {
    "fast": {"provider": "openai", "model": "gpt-4o-mini"},
    "local": {"provider": "ollama", "model": "qwen2.5-coder:7b"},
}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Open a notebook in simulate mode."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write(tmp_path, PROFILES)
    return Shell()


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve for one test."""
    with Server() as running:
        yield running


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Shell:
    """Open a notebook whose profile `fast` is a server of ours, with a canary for a key."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("NO_PROXY", "*")
    write(tmp_path, served(server))
    return Shell()


def served(server: Server) -> dict[str, dict[str, Any]]:
    """Return profiles of which `fast` is a server of ours."""
    fast = {"provider": "openai", "model": OPENAI.model, "base_url": OPENAI.base_url(server.url), "retries": 0}
    return {"fast": fast, "other": {**fast, "system": "Be other."}}


def write(folder: Path, profiles: dict[str, Any]) -> None:
    """Write profiles.yaml."""
    text = yaml.safe_dump({"default": "fast", "profiles": profiles}, sort_keys=False)
    (folder / "profiles.yaml").write_text(text, encoding="utf-8")


def sent(server: Server) -> dict[str, Any]:
    """Return the JSON of the last request."""
    return server.requests[-1].json


def prompt(server: Server) -> str:
    """Return the last message of the last request."""
    return sent(server)["messages"][-1]["content"]


# --- asking ---


def test_when_a_cell_asks_then_the_answer_is_shown_with_its_bill(shell: Shell) -> None:
    ran = shell.run("%%victor fast\nSay hello.")
    assert ran.error is None
    assert ran.value is None
    assert len(ran.frames) == 1
    last = session().last
    assert isinstance(last, Reply)
    assert ran.plain.startswith(last.content)
    assert re.search(r"fast · gpt-4o-mini · \d+ -> \d+ tok · USD [\d.]+ · [\d.]+ s · simulated$", ran.plain)
    assert ran.shown.endswith(ran.plain.rsplit("\n", 1)[1])


def test_when_out_is_given_then_it_is_the_reply(shell: Shell) -> None:
    shell.run("%%victor out=answer tags=team:search show=none\nSay hello.")
    assert isinstance(shell.names["answer"], Reply)
    assert rows()[-1]["tags"] == {"team": "search"}


def test_when_a_call_fails_then_out_keeps_its_old_value(live: Shell, server: Server) -> None:
    live.run("answer = 'old'")
    server.play(faults.status(500))
    live.fail("%%victor out=answer\nHi.")
    server.play(Answer())
    assert isinstance(live.fail("%%victor out=answer as=json\nHi."), MalformedAnswerError)
    assert live.names["answer"] == "old"


def test_when_an_answer_breaks_off_then_what_came_is_shown_and_kept(live: Shell, server: Server) -> None:
    cast("Any", live.ip).kernel = object()  # as if somebody watched
    server.play(faults.cut(Answer(), 2, "fin"))
    ran = live.run("%%victor\nHi.")
    assert isinstance(ran.error, PartialAnswerError)
    assert ran.plain.startswith("Tokens are")
    assert "partial" in ran.plain
    assert session().last is ran.error.reply


def test_when_options_are_given_then_they_and_nothing_else_are_sent(live: Shell, server: Server) -> None:
    server.play(Answer(), Answer())
    assert live.run("%%victor\nHi.").error is None
    assert sent(server) == {"model": OPENAI.model, "messages": [{"role": "user", "content": "Hi."}]}
    live.run("extra = {'seed': 7}; who = 'Be brief.'")
    assert live.run("%%victor system=$who max_tokens=9 temperature=0.5 params=$extra timeout=5\nHi.").error is None
    body = sent(server)
    assert body["messages"][0]["content"] == "Be brief."
    assert {body[key] for key in ("max_completion_tokens", "temperature", "seed")} == {9, 0.5, 7}


@pytest.mark.parametrize(
    "text",
    [
        ">>> f(1)\n2\n   \n  indented\n\ttab  ",
        "In [3]: x\n   ...: y",
        '{"a": {"b": 1}}\n\\frac{a}{b}\n{% if x %}{{ .V }}\n{{- end }}',
        "no line break",
        "one line break\n",
        "two\n\n",
        "\n\nleading",
        "!ls\n%time x\n%%victor\nx?",
        "'quotes\" and \\n escapes \\",
        "a\x0cb\u2028c\u00a0\U0001f600",
    ],
)
def test_when_a_prompt_is_typed_then_it_is_sent_byte_for_byte(live: Shell, server: Server, text: str) -> None:
    server.play(Answer())
    assert live.run(f"%%victor\n{text}").error is None
    assert prompt(server) == text


def test_when_a_cell_runs_inside_another_magic_then_its_prompt_is_the_same(live: Shell, server: Server) -> None:
    server.play(Answer(), Answer(), Answer())
    for above in ("%%time\n%%victor show=none\n", "%%capture\n%%victor\n", "# why\n\n  # so\n%%victor\tshow=none\n"):
        assert live.run(f"{above}Hi  \n there").error is None
        assert prompt(server) == "Hi  \n there"


def test_when_names_are_inserted_then_they_come_from_the_notebook_or_from_vars(live: Shell, server: Server) -> None:
    server.play(Answer(), Answer(), Answer())
    live.run("x = 'X'; row = {'x': 'R'}")
    live.run("%%victor\n{{ x }} \\{{ x }}")
    assert prompt(server) == "X {{ x }}"
    live.run("%%victor vars=$row\n{{ x }}")
    assert prompt(server) == "R"
    live.run("%%victor --raw\n{{ x }} \\{{ x }}")
    assert prompt(server) == "{{ x }} \\{{ x }}"
    assert "'row' is not defined" in str(live.fail("%%victor vars=$row\n{{ row }}"))


def test_when_a_key_is_about_to_leave_then_nothing_is_sent(live: Shell, server: Server) -> None:
    live.names["x"] = f"my {CANARY}"
    live.names["d"] = {"user": CANARY}
    cells = ["%%victor\n{{ x }}", f"%%victor --raw\n{CANARY}", "%%victor system=$x\nHi.", "%%victor params=$d\nHi."]
    for cell in cells:
        error = live.fail(cell)
        assert isinstance(error, SecretError)
        assert CANARY not in str(error)
    assert server.requests == []


def test_when_a_prompt_holds_half_a_character_then_it_is_refused(shell: Shell) -> None:
    shell.names["x"] = "\ud800"
    assert "half a character" in str(shell.fail("%%victor\n{{ x }}"))
    assert isinstance(shell.fail("%%victor dry=true\n{{ x }}"), PromptError)


def test_when_a_chat_is_named_then_it_is_remembered_across_profiles(live: Shell, server: Server) -> None:
    server.play(*[Answer(pieces=(text,)) for text in ("one", "two", "three")], faults.status(500))
    live.run("%%victor chat=demo\nFirst.")
    live.run("%%victor other chat=demo\nSecond.")
    said = [message["content"] for message in sent(server)["messages"]]
    assert said == ["Be other.", "First.", "one", "Second."]
    live.run("%%victor\nStateless.")
    assert len(sent(server)["messages"]) == 1
    live.fail("%%victor chat=demo\nThird.")
    assert "demo  2" in live.run("%victor chats").plain
    assert "| history | 4 messages |" in live.run("%%victor chat=demo --dry\nHi.").shown
    live.run("%victor chats clear demo")
    assert "No chats" in live.run("%victor chats").plain


def test_when_a_run_is_dry_then_nothing_is_sent_and_the_cost_is_a_range(live: Shell, server: Server) -> None:
    live.run("x = 'X' * 4000")
    shown = live.run("%%victor --dry max_tokens=1000\nRead {{ x }}").shown
    assert server.requests == []
    assert "about 1,002 tokens" in shown
    assert re.search(r"USD 0\.0002 to USD 0\.000\d", shown)
    assert "| inserted | {{ x }}, 4,000 characters |" in shown
    assert "\n```text\nRead XXX" in shown
    assert "max_tokens is not set" in live.run("%%victor --dry\nHi.").shown
    assert rows() == []


def test_when_forms_are_asked_for_then_they_are_shown_or_it_fails_with_the_answer_kept(shell: Shell) -> None:
    shown = shell.run("%%victor as=json\nGive me a JSON list of three fruits.").plain
    assert isinstance(json.loads(shown.rsplit("\n\n", 1)[0]), list)
    assert isinstance(shell.fail("%%victor as=json\nSay hello."), MalformedAnswerError)
    assert MARKDOWN not in shell.run("%%victor as=text\nSay hello.").frames[0]


def test_when_help_is_asked_for_then_examples_come_first_and_nothing_is_sent(shell: Shell) -> None:
    for cell in ("%%victor --help", "%%victor -h\nHi.", "%victor help", "%victor --help", "%victor ask -h"):
        assert "%victor" in shell.run(cell).plain.split("\n")[2]
    assert rows() == []
    assert len(shell.run("%victor help").plain.splitlines()) < 24


# --- %victor ---


def test_when_ask_is_assigned_then_it_is_the_reply_and_nothing_is_shown(live: Shell, server: Server) -> None:
    server.play(Answer(), Answer(), Answer())
    live.run("name = 'Bo'")
    ran = live.run("x = %victor ask fast -- who's {{ name }}, \"really?")
    assert ran.frames == []
    assert isinstance(live.names["x"], Reply)
    assert prompt(server) == "who's Bo, \"really?"
    live.run("def f(name):\n    return get_ipython().run_line_magic('victor', 'ask -- {{ name }}')\nf('local')")
    assert prompt(server) == "local"
    assert isinstance(live.run("%victor ask -- is it?").value, Reply)


def test_when_a_reply_is_the_value_of_a_cell_then_it_is_shown_as_an_answer(shell: Shell) -> None:
    shell.run("%%victor out=r show=none\nSay hello.")
    data, _ = cast("Any", shell.ip).display_formatter.format(shell.names["r"])
    assert data[PLAIN].endswith("simulated")
    assert data[MARKDOWN].endswith("simulated")


def test_when_the_state_is_asked_for_then_it_is_told(shell: Shell) -> None:
    assert shell.run("%victor").plain == shell.run("%victor status").plain
    status = shell.run("%victor").plain
    assert "simulate (VICTOR_MODE fixes it)" in status
    assert "fast, local (default: fast)" in status
    assert "USD 0, 0 calls" in status


def test_when_profiles_are_listed_then_prices_and_keys_are_told_but_no_key(live: Shell) -> None:
    shown = live.run("%victor profiles").plain
    assert "fast (default)  openai    gpt-4o-mini  set" in shown
    assert "0.15" in shown
    assert "Be other." in live.run("%victor profiles other").plain
    assert CANARY not in shown + live.run("%victor profiles other").plain
    assert isinstance(live.fail("%victor profiles fst"), ProfileNotFoundError)


def test_when_costs_are_asked_for_then_groups_add_up_to_the_total(live: Shell, server: Server) -> None:
    assert "Nothing has been asked yet" in live.run("%victor cost").plain
    assert "Nothing has been asked yet" in live.run("%victor ledger").plain
    server.play(Answer(), Answer(), faults.status(401))
    live.run("%%victor\nHi.")
    live.run("%%victor other\nHi.")
    live.fail("%%victor\nHi.")
    table = live.run("%victor cost").plain
    assert re.search(r"^fast +2 +2 +120 +34 +USD 0\.000038$", table, re.MULTILINE)
    assert re.search(r"^total +3 +3 +240 +68 +USD 0\.000077$", table, re.MULTILINE)
    assert "Paid: USD 0.000077; list price: USD 0.000077." in table
    assert re.search(r"^error +1", live.run("%victor cost by=status").plain, re.MULTILINE)
    ledger = live.run("%victor ledger 2").plain
    assert "AuthenticationError" in ledger
    assert "2 of 3 attempts" in ledger


def test_when_the_last_reply_is_asked_for_then_it_is_shown_again(shell: Shell) -> None:
    assert "Nothing has been asked yet" in shell.run("%victor last").plain
    first = shell.run("%%victor\nSay hello.").plain
    assert shell.run("%victor last").plain == first


def test_when_an_error_is_looked_at_then_its_traceback_is_whole_and_no_key_is_in_it(
    live: Shell, server: Server
) -> None:
    assert "There are 0 errors" in live.run("%victor errors").plain
    server.play(faults.echo_key())
    error = live.fail("%%victor\nHi.")
    live.fail("%%victor nope=1\nHi.")
    assert session().errors[-2] is error
    full = live.run("%victor errors 2").plain
    assert full.startswith("Traceback")
    assert "AuthenticationError" in full
    assert CANARY not in full + str(error)
    assert "MagicError" in live.run("%victor errors").plain


def test_when_the_mode_is_set_then_it_holds_unless_the_environment_fixes_it(live: Shell) -> None:
    assert "mode: live." in live.run("%victor mode").plain
    assert "mode: simulate." in live.run("%victor mode simulate").plain
    assert "simulated" in live.run("%%victor\nSay hello.").plain
    assert "Did you mean 'simulate'?" in str(live.fail("%victor mode simulte"))


def test_when_the_environment_fixes_the_mode_then_another_is_refused(shell: Shell) -> None:
    error = shell.fail("%victor mode live")
    assert isinstance(error, ConfigError)
    assert "VICTOR_MODE=simulate" in str(error)


def test_when_defaults_are_set_then_they_hold_until_they_are_reset(live: Shell, server: Server) -> None:
    server.play(Answer(), Answer(), Answer())
    assert (
        "set: profile=other cost=off max_tokens=7" in live.run("%victor set profile=other cost=off max_tokens=7").plain
    )
    assert live.run("%%victor\nHi.").plain == Answer().text
    assert sent(server)["max_completion_tokens"] == 7
    assert sent(server)["messages"][0]["content"] == "Be other."
    assert live.run("%%victor fast max_tokens=8\nHi.").error is None
    assert sent(server)["max_completion_tokens"] == 8
    assert "max_tokens=7" in live.run("%victor").plain
    assert "set: nothing" in live.run("%victor set reset").plain
    assert "tok" in live.run("%%victor\nHi.").plain
    for line in ("profile=nope", "out=x", "timeout=soon", "as=json", "nope"):
        assert isinstance(live.fail(f"%victor set {line}"), ConfigError)
    assert "set: nothing" in live.run("%victor set").plain


def test_when_settings_change_then_the_next_cell_knows(shell: Shell, tmp_path: Path) -> None:
    shell.run("%victor profiles")
    write(tmp_path, {**PROFILES, "fresh": PROFILES["fast"]})
    assert shell.run("%%victor fresh\nSay hello.").error is None
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    for cell in ("%%victor\nHi.", "%victor profiles", "%victor"):
        assert "profiles.yaml" in str(shell.fail(cell))


def test_when_calls_run_in_the_background_then_cancel_ends_them(live: Shell, server: Server) -> None:
    assert "Nothing was running" in live.run("%victor cancel").plain
    server.play(faults.silence(), Answer())
    live.run("stream = __import__('victor_nb').session().pool.get_orchestrator('fast').stream('Hi.')")
    server.wait(lambda: server.requests)
    assert "Stopped 1 call." in live.run("%victor cancel").plain
    server.wait(lambda: server.requests[0].hung_up)
    assert live.run("%%victor\nHi.").error is None


def test_when_settings_are_broken_from_the_start_then_the_error_can_still_be_read(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    shell = Shell()
    assert isinstance(shell.fail("%%victor\nHi."), ConfigError)
    assert "profiles.yaml" in shell.run("%victor errors").plain


# --- Stop, where nobody watches ---


@contextmanager
def stopped_when(condition: Callable[[], object]) -> Iterator[None]:
    """Press Stop once the condition holds."""

    def press() -> None:
        until = time.monotonic() + 10
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    try:
        yield
    finally:
        presser.join()


@pytest.mark.parametrize("cell", ["%%victor out=never\nHi.", "never = %victor ask -- Hi."])
def test_when_stop_is_pressed_where_nobody_watches_then_it_is_one_line_and_the_call_ends(
    live: Shell, server: Server, cell: str
) -> None:
    server.play(faults.silence())
    with stopped_when(lambda: server.requests):
        stop = live.fail(cell)
    assert isinstance(stop, VictorInterrupted)
    assert session().errors[-1] is stop
    server.wait(lambda: server.requests[0].hung_up)
    assert "never" not in live.names
    assert [row["status"] for row in rows()] == ["interrupted"]


def test_when_stop_is_pressed_during_the_doctor_then_it_is_one_line(live: Shell, server: Server) -> None:
    server.play(faults.silence(), faults.silence())
    with stopped_when(lambda: server.requests):
        stop = live.fail("%victor doctor")
    assert isinstance(stop, VictorInterrupted)
    assert session().errors[-1] is stop


# --- %victor doctor ---


def model_list(*names: str) -> Act:
    """Return an act: ollama's list of its models."""

    async def act(exchange: Exchange) -> None:
        body = json.dumps({"models": [{"name": name} for name in names]}).encode()
        await exchange.whole(200, {"content-type": "application/json"}, body)

    return act


def test_when_the_doctor_looks_then_each_profile_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("NO_PROXY", "*")
    gone = f"http://127.0.0.1:{closed_port()}"
    write(
        tmp_path,
        {
            "fast": {"provider": "ollama", "model": "qwen3", "base_url": OLLAMA.base_url(server.url)},
            "keyed": {"provider": "openai", "model": "gpt-4o-mini", "base_url": gone},
            "odd": {"provider": "openai", "model": "house-model", "base_url": gone},
            "old": {"provider": "google", "model": "gemini-2.0-flash", "base_url": gone},
        },
    )
    shell = Shell()
    server.play(model_list("qwen3:latest"), model_list("other"))
    lines = shell.run("%victor doctor").plain.splitlines()
    found = {line.split()[0]: line for line in lines[1:]}
    assert found["fast"].split()[-1] == "ok"
    assert "none needed" in found["fast"]
    assert "set  " in found["keyed"]
    assert "no: " in found["keyed"]
    assert "price is unknown" in found["odd"]
    assert "not set: GOOGLE_API_KEY or GEMINI_API_KEY" in found["old"]
    assert "model is deprecated: choose a newer one; set GOOGLE_API_KEY" in found["old"]
    assert CANARY not in "".join(lines)
    assert server.requests[0].path == "/api/tags"
    assert CANARY not in server.requests[0].text
    assert "ollama pull qwen3" in shell.run("%victor doctor").plain
    assert rows() == []


def test_when_the_doctor_looks_in_simulate_mode_then_the_network_is_left_alone(shell: Shell) -> None:
    shown = shell.run("%victor doctor").plain
    assert shown.count("not asked: simulate") == 2
    assert "no network was used" in shown


# --- the extension ---


def test_when_the_extension_is_unloaded_then_nothing_of_it_is_left() -> None:
    shell = Shell()
    shell.run("%load_ext victor_nb")
    shell.run("import victor_nb; victor_nb.load_ipython_extension(get_ipython())")
    ip = shell.ip
    assert len([item for item in ip.input_transformers_cleanup if isinstance(item, Transform)]) == 1
    assert len(ip.Completer.custom_matchers) == 1
    shell.run("%unload_ext victor_nb")
    victor_free = (ip.magics_manager.magics["cell"], ip.magics_manager.magics["line"])
    assert all("victor" not in magics for magics in victor_free)
    assert not any(isinstance(item, Transform) for item in ip.input_transformers_cleanup)
    assert ip.Completer.custom_matchers == []
    names = {callback.__qualname__ for event in ip.events.callbacks.values() for callback in event}
    assert not any("Extension" in name for name in names)
    shell.run("import victor_nb; victor_nb.unload_ipython_extension(get_ipython())")
    shell.run("%load_ext victor_nb")
    assert "victor" in ip.magics_manager.magics["cell"]


def test_when_another_extension_had_the_name_then_unloading_gives_it_back() -> None:
    shell = Shell()
    shell.run("%unload_ext victor_nb")
    cast("Any", shell.ip).register_magic_function(lambda line: f"mine {line}", "line", "victor")
    shell.run("%load_ext victor_nb")
    shell.run("%unload_ext victor_nb")
    assert shell.run("%victor x").value == "mine x"


TRANSFORM = Transform(lambda: {"time", "vector"})
UNTOUCHED = [
    "x = 1\n",
    "# only a comment\n\n",
    "%%time\nx\n",
    "%%victor?\n",
    "%%vector\nx\n",
    "%%bash\n%%victor\n",
    's = """\n%%victor fast\nx\n"""\n',
    "s = '''\n%victor ask -- a?\n'''\n",
    "%victor ask -- a\n",
    "%%victory\nx\n",
    "x %% y\n",
    "%%\n",
]


@pytest.mark.parametrize("cell", UNTOUCHED)
def test_when_a_cell_is_none_of_ours_then_it_is_left_alone(cell: str) -> None:
    lines = cell.splitlines(keepends=True)
    if cell == "%%victory\nx\n":
        known = Transform(lambda: {"victory"})
        assert known(lines) == lines
    else:
        assert TRANSFORM(lines) == lines


def complete(shell: Shell, text: str) -> set[str]:
    """Return what Tab offers at the end of a text."""
    with provisionalcompleter():
        return {item.text for item in shell.ip.Completer.completions(text, len(text))}


@pytest.mark.parametrize(
    ("text", "offered", "missing"),
    [
        ("%%victor ", {"fast", "local", "profile=", "profiles=", "as=", "out="}, {"abs"}),
        ("%%victor fa", {"fast"}, {"profile="}),
        ("%%victor fast pro", {"profile="}, {"fast"}),
        ("%%victor profile=", {"fast", "local"}, {"out="}),
        ("%%victor profile=lo", {"local"}, {"fast"}),
        ("%%victor fast as=", {"json", "table"}, {"fast"}),
        ("%%victor show=q", {"quiet"}, {"answer"}),
        ("%%victor --ma", {"--max_tokens"}, {"--raw"}),
        ("%%victor --as ", {"json"}, {"fast"}),
        ("%%victor --raw ", {"out="}, {"true"}),
        ("%%victor vars=", {"$fruit"}, {"$func"}),
        ("%%victor system=$fr", {"$fruit"}, {"$func"}),
        ("# note\n\n%%victor as=t", {"text", "table"}, {"json"}),
        ("%%victor\nTell {{ fr", {"fruit"}, {"frozenset"}),
        ("%%victor\nTell {{ point.", {"x"}, {"__class__", "move"}),
        ("%%victor\nTell {{ fruit | he", {"head"}, {"fruit"}),
        ("%%victor\nimport o", set(), {"os", "open", "import"}),
        ("%victor st", {"status", "strategy"}, {"stop"}),
        ("%%victor profiles=fast,l", {"fast,local"}, {"local"}),
        ("%%victor strategy=f", {"funnel"}, {"fast"}),
        ("%victor plot f", {"funnel"}, {"fast"}),
        ("%victor mode ", {"live", "simulate"}, {"status"}),
        ("%victor cost by=m", {"by=model", "by=mode"}, set()),
        ("%victor profiles ", {"fast", "local"}, set()),
        ("%victor set ti", {"timeout="}, {"tags="}),
        ("x = %victor ask f", {"fast"}, {"from", "for"}),
        ("x = %victor ask fast -- see {{ fr", {"fruit"}, {"frozenset"}),
        ("%victor status ", set(), {"fruit"}),
        ("fru", {"fruit"}, {"fast"}),
    ],
)
def test_when_tab_is_pressed_then_what_fits_is_offered(
    shell: Shell, text: str, offered: set[str], missing: set[str]
) -> None:
    shell.run("from types import SimpleNamespace\nfruit = 'fig'\nfunc = len\nimport os")
    shell.run("class Point:\n    def __init__(self): self.x = 1\n    def move(self): pass\npoint = Point()")
    found = complete(shell, text)
    assert offered <= found
    assert not missing & found


def test_when_settings_are_broken_then_tab_still_works(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    assert "profile=" in complete(shell, "%%victor ")


# --- in a real kernel ---


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Server]]:
    """Start one kernel for all of them, whose profile `fast` is a server of ours."""
    folder = tmp_path_factory.mktemp("notebook")
    home = {name: str(folder) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME")}
    quiet = {"CI": "", "VICTOR_MODE": "", "NO_PROXY": "*", "OPENAI_API_KEY": CANARY, **home}
    with Server() as server:
        write(folder, served(server))
        with Kernel(folder, **quiet) as running:
            yield running, server


def load(kernel: Kernel) -> None:
    """Load the extension, and wait until what it imports in the background is there."""
    kernel.run("%load_ext victor_nb")
    kernel.run(
        "import sys, time\nuntil = time.monotonic() + 30\n"
        "while 'openai' not in sys.modules and time.monotonic() < until: time.sleep(0.05)"
    )
    kernel.run("%victor status")


LOADING = """
import resource, sys, time, threading, psutil
before = time.process_time(), set(sys.modules), len(psutil.Process().net_connections())
get_ipython().run_line_magic('load_ext', 'victor_nb')
cpu = time.process_time() - before[0]
sockets = len(psutil.Process().net_connections()) - before[2]
heavy = {'anthropic', 'openai', 'pandas', 'pydantic', 'yaml', 'httpx2'} & (set(sys.modules) - before[1])
print(cpu < 0.15, sockets, sorted(heavy))
"""


def test_when_the_extension_is_loaded_then_it_is_quick_and_quiet(tmp_path: Path) -> None:
    with Kernel(tmp_path, VICTOR_MODE="simulate", VICTOR_SIM_SPEED="0") as fresh:
        loaded = fresh.run(LOADING)
        assert loaded.said == "True 0 []\n"
        assert loaded.frames == []
        assert loaded.error is None
        load(fresh)
        answer = fresh.run("%%victor\nSay hello.")
        assert answer.plain.endswith("simulated")
        client = cast("Any", fresh.client)
        text = client.inspect("%%victor", 8, reply=True, timeout=20)["content"]["data"][PLAIN]
        assert text.index("x = %victor ask") < text.index("%%victor fast out=reply") < text.index("profile=NAME")
        asked = client.execute("%%victor?", reply=True, timeout=20)["content"]["payload"][0]["data"][PLAIN]
        assert asked.index("%%victor fast out=reply") < asked.index("profile=NAME")
        assert "%victor doctor" not in asked
        offered = client.complete("%%victor prof", 13, reply=True, timeout=20)["content"]["matches"]
        assert offered == ["profile=", "profiles="]


@pytest.mark.parametrize("how", ["hangs", "hangs midway", "streams"])
def test_when_stop_is_pressed_then_the_kernel_is_idle_at_once_and_the_text_is_kept(
    kernel: tuple[Kernel, Server], how: str
) -> None:
    notebook, server = kernel
    load(notebook)
    long = Answer(pieces=("word ",) * 2000, delay=0.01)
    acts = {"hangs": faults.silence(), "hangs midway": faults.cut(Answer(), 2, "silence"), "streams": long}
    number = len(server.requests)
    server.play(acts[how])
    pressed: list[float] = []

    def stop(heard: list[Message]) -> None:
        arrived = any(message.kind == "display_data" for message in heard) or how == "hangs"
        if not pressed and len(server.requests) > number and arrived:
            pressed.append(time.monotonic())
            notebook.interrupt()

    stopped = ran(notebook.messages("%%victor out=never\nCount.", meanwhile=stop))
    assert time.monotonic() - pressed[0] < 0.3
    assert len(stopped.error) <= 3
    assert stopped.error[0].startswith("VictorInterrupted: stopped fast; ")
    server.wait(lambda: server.requests[number].hung_up)
    kept = notebook.run(
        "from victor_nb import session\nlast = session().last\n"
        "print(last.status, bool(last.content), session().ledger.rows()[-1].status, 'never' in globals())"
    )
    assert kept.said.split() == ["interrupted", str(how != "hangs"), "interrupted", "False"]
    if how != "hangs":
        assert "· interrupted" in stopped.plain


def test_when_a_long_answer_streams_into_a_kernel_then_messages_are_few_and_small(
    kernel: tuple[Kernel, Server],
) -> None:
    notebook, server = kernel
    load(notebook)
    answer = Answer(pieces=tuple(f"w{number:04} " for number in range(1500)), delay=0.002)
    server.play(answer)
    messages = notebook.messages("%%victor\nCount.")
    frames = [message for message in messages if message.kind in {"display_data", "update_display_data"}]
    assert [message for message in messages if message.kind == "error"] == []
    assert max(sum(start.at <= other.at < start.at + 1 for other in frames) for start in frames) <= 12
    assert sum(len(json.dumps(frame.content)) for frame in frames) <= 3 * len(answer.text)
    assert len({frame.content["transient"]["display_id"] for frame in frames}) == 1
    assert frames[-1].content["data"][PLAIN].startswith(answer.text.rstrip())


def test_when_a_kernel_has_said_all_this_then_no_key_is_in_it(kernel: tuple[Kernel, Server]) -> None:
    notebook, server = kernel
    load(notebook)
    server.play(faults.echo_key(), model_list(), model_list())
    said = repr(notebook.messages("%%victor\nHi."))
    for command in ("", " profiles", " ledger", " errors", " doctor"):
        said += repr(notebook.messages(f"%victor{command}"))
    assert "AuthenticationError" in said
    assert CANARY not in said
