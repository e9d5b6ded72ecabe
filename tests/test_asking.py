"""`%%victor` as a user meets it: what is sent, what is shown, what is kept."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from cells import MARKDOWN, Shell, prompt, sent
from servers import OPENAI, Answer, Server, faults
from victor_nb.errors import MalformedAnswerError, PartialAnswerError, PromptError, SecretError
from victor_nb.kernel import session
from victor_nb.values import Reply
from workbench import CANARY, rows

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


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


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("About {topic}.", "Sent as typed: {topic}. Write {{ topic }} to insert the value."),
        ("$topic, ${n} and {n!r}", "Sent as typed: $topic, ${n}. Write {{ topic }}, {{ n }} to insert the value."),
        ("{{ topic }} {topic.upper}", "Sent as typed: {topic.upper}. Write {{ topic }} to insert the value."),
        ("$5, {nope}, {'n': 1}, \\frac{n}{topic}, $n$, x_{n}, {json}, `{n}`\n```\n{n}\n```", ""),
    ],
)
def test_when_braces_of_other_tools_name_a_variable_then_a_note_says_how_it_is_inserted(
    live: Shell, server: Server, typed: str, note: str
) -> None:
    server.play(Answer(), Answer(), Answer())
    live.run("import json; topic = 'tea'; n = 3")
    for line in ("show=quiet", "--dry"):
        last = live.run(f"%%victor {line}\n{typed}").frames[-1]
        assert (last["text/plain"] == note) if note else ("typed" not in last["text/plain"])
    assert prompt(server) == typed.replace("{{ topic }}", "tea")
    assert live.run(f"x = %victor ask show=none -- {typed.partition(chr(10))[0]}").frames == ([last] if note else [])
    assert "typed" not in live.run(f"%%victor --raw\n{typed}").plain


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


def test_when_forms_are_asked_for_then_they_are_shown_or_it_fails_with_the_answer_kept(shell: Shell) -> None:
    shown = shell.run("%%victor as=json\nGive me a JSON list of three fruits.").plain
    assert isinstance(json.loads(shown.rsplit("\n\n", 1)[0]), list)
    assert isinstance(shell.fail("%%victor as=json\nSay hello."), MalformedAnswerError)
    assert MARKDOWN not in shell.run("%%victor as=text\nSay hello.").frames[0]


def test_when_help_is_asked_for_then_examples_come_first_and_nothing_is_sent(shell: Shell) -> None:
    for cell in ("%%victor --help", "%%victor -h\nHi.", "%victor help", "%victor --help", "%victor ask -h"):
        assert "%victor" in shell.run(cell).plain.split("\n")[2]
    assert rows() == []
    assert len(shell.run("%victor help").plain.splitlines()) < 27  # a screen: a line a command
