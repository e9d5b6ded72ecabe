"""What a cell shows: harmless whatever a model writes, sparing while it grows, and exact about the bill."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from cells import MARKDOWN, PLAIN, PROFILES, ROOT, write
from rendered import PIECES, Page, is_harmless, page
from victor_nb.config.profiles import Profile
from victor_nb.errors import MalformedAnswerError
from victor_nb.notebook.display import LiveAnswer, Pace, amount, bill, reply_frame, tail, weight
from victor_nb.notebook.forms import present
from victor_nb.notebook.markdown import (
    MOST_SHOWN,
    clean,
    escape,
    fence,
    frame,
    sanitise,
    shorten,
)
from victor_nb.notebook.options import MagicCall
from victor_nb.tables import Table
from victor_nb.values import Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from victor_nb.calls.stream import Stream
    from victor_nb.notebook.options import Form

# --- Markdown ---


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_when_a_model_writes_anything_then_the_page_is_harmless(text: str) -> None:
    shown = page(text)
    assert shown.harm == []
    assert [formula for formula in shown.mathematics if not is_harmless(formula)] == []


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_when_a_model_writes_any_characters_then_the_page_is_harmless(text: str) -> None:
    assert page(text).harm == []


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a < b & c > d &lt; e", "a < b & c > d &lt; e"),
        ("`<b>` and `List<String>`", "`<b>` and `List<String>`"),
        ("it costs $5 or $6.50, not $HOME", "it costs $5 or $6.50, not $HOME"),
        ("see \\[1\\] and \\[a note\\]", "see \\[1\\] and \\[a note\\]"),
        ("\x1b[31mred\x1b[0m \x1b]8;;http://e.vil\x07link\x1b]8;;\x07 \x07bell\x00", "red link bell"),
        ("user\u202egnp.exe\u2066x\u2069", "usergnp.exex"),
        ("half \ud800 a pair", "half \ufffd a pair"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("[click](javascript:alert(1)) [x](data:text/html,y) [z](file:///etc) [rel](../a)", "click x z rel"),
        ("[ref][1]\n\n[1]: javascript:alert(1)", "[ref][1]\n[1]: javascript:alert(1)"),
        ("![logo](http://t.rack/p.png)![bad](data:x)", "image: logoimage: bad"),
        ("*em* **strong** # no", "em strong # no"),
        ("~~~~\nx", "x"),
    ],
)
def test_when_markdown_is_shown_then_a_reader_sees_what_was_written(text: str, seen: str) -> None:
    shown = page(text)
    assert shown.harm == []
    assert shown.mathematics == []
    assert shown.text.replace("\u2060", "").strip() == seen


def test_when_links_are_allowed_then_they_lead_where_they_say() -> None:
    text = (
        "[a](https://x.y/p_(q)?r=1&s=2 'title') [b](mailto:me@x.y) see https://d.e/f_g?h=1&i=2. (http://j.k) www.l.m "
        "[c](HTTP://n.o) <https://p.q>!"
    )
    assert page(text).links == [
        "https://x.y/p_%28q%29?r=1&s=2",
        "mailto:me@x.y",
        "https://d.e/f_g?h=1&i=2",
        "http://j.k",
        "HTTP://n.o",
        "https://p.q",
    ]


def test_when_code_is_shown_then_it_is_shown_exactly() -> None:
    code = 'if a < b && c:\n    print("<b>$x$</b> `y` &lt;")\n```not the end\n~~~'
    for text in (f"````py\n{code}\n````", f"text\n````py\n{code}\n````\nmore", f"````py\n{code}"):
        shown = page(text)
        assert code in shown.text
        assert shown.harm == []
    assert sanitise("```py\nx") == "```py\nx\n```"


def test_when_code_stands_in_a_list_then_it_is_a_block_of_its_own() -> None:
    assert sanitise("1. Do\n   ```sh\n   ls\n     -l\n   ```\n2. Done") == "1. Do\n\n```sh\nls\n  -l\n```\n\n2. Done"


def test_when_a_block_would_be_drawn_or_run_then_it_is_shown_as_text() -> None:
    assert sanitise("```mermaid\ngraph TD\n```") == "```text\ngraph TD\n```"
    assert sanitise('```py {onclick="x"}\n1\n```') == "```py\n1\n```"


def test_when_a_line_is_a_megabyte_long_then_its_display_is_cut_and_says_so() -> None:
    short = shorten("x" * 1_000_000)
    assert len(short) < MOST_SHOWN + 200
    assert short.endswith("[The display ends here: 100,000 of 1,000,000 characters. The reply has all.]")
    assert shorten("x" * MOST_SHOWN) == "x" * MOST_SHOWN
    assert len(sanitise(short)) < MOST_SHOWN + 300


@pytest.mark.parametrize(
    "text",
    [
        "$" * 50_000,
        "\\(" * 5_000,
        "`" * 50_000,
        "x " + "`" * 50_000 + " y `",
        "\\" * 50_000,
        "x " + "\\" * 50_000 + "y",
        "[x](" * 9_000,
        "[x](" + " " * 50_000 + "y z",
        "[x](y" + " " * 50_000 + "z",
        "<b>" * 20_000,
        "$$\n" * 9_000,
        "```" + "\t " * 25_000 + "`",
        "\\begin{" + "\\end{" * 10_000,
    ],
)
def test_when_a_text_is_made_to_be_slow_then_it_is_not(text: str) -> None:
    began = time.process_time()
    assert sanitise(text)
    assert time.process_time() - began < 5


def test_when_a_line_of_ours_is_made_to_be_slow_then_it_is_not() -> None:
    began = time.process_time()
    assert escape("x " + "\\" * 50_000 + "y")
    assert time.process_time() - began < 5


def test_when_a_line_of_ours_is_shown_then_no_mark_of_it_works() -> None:
    text = "*a* _b_ ~~c~~ `d` <e> [f](http://g) max_tokens"
    assert "".join(Page(markdown2html_mistune(escape(text))).text.split("\n")) == text
    assert "max_tokens" in escape(text)


@given(st.text(max_size=60))
def test_when_a_text_is_fenced_then_it_comes_out_of_the_page_as_it_went_in(text: str) -> None:
    text = clean(text).strip() or "x"
    assert Page(markdown2html_mistune(fence(text))).text.strip("\n") == text.strip("\n")


# --- tables ---


def test_when_a_table_is_shown_then_cells_stay_cells() -> None:
    assert Table(["a", "b"], [["x|y", "z\nw"]]).markdown() == "| a | b |\n| --- | --- |\n| x\\|y | z w |"
    assert Table(["a", "bcd"], [["xyz", 1]]).plain() == "a    bcd\nxyz  1"
    shown = frame(["a"], [["<b>*x*"]], above="$5", below="end")
    assert shown[PLAIN] == "$5\n\na\n<b>*x*\n\nend"
    assert "<b>" not in shown[MARKDOWN]
    assert frame([], [], above="nothing")[MARKDOWN] == "nothing"


# --- the bill ---


def reply(content: str = "Hi.", **more: Any) -> Reply:
    """Return a reply."""
    values: dict[str, Any] = {
        "usage": Usage(1212, 340),
        "cost": Decimal("0.0002"),
        "billed": Decimal("0.0002"),
        "profile": "fast",
        "provider": "openai",
        "model": "gpt-6-luna",
        "model_served": None,
        "latency": 2.11,
        "ttft": 0.2,
        "finish_reason": "stop",
        "attempts": 1,
        "mode": "live",
        "request_id": None,
    }
    return Reply(content=content, **{**values, **more})


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({}, "USD 0.0002 · 2.1 s"),
        ({"cost": None}, "unpriced · 2.1 s"),
        ({"mode": "simulate"}, "2.1 s · simulated"),
        ({"mode": "replay"}, "2.1 s · replayed"),
        ({"status": "partial"}, "2.1 s · partial"),
        ({"status": "interrupted"}, "2.1 s · interrupted"),
        ({"finish_reason": "length"}, "2.1 s · cut at max_tokens"),
        ({"attempts": 3}, "2.1 s · 3 attempts"),
        ({"notes": ("temperature not sent",)}, "2.1 s · temperature not sent"),
    ],
)
def test_when_an_answer_is_billed_then_the_line_says_all_that_is_out_of_the_ordinary(
    more: dict[str, Any], end: str
) -> None:
    line = bill(reply(**more))
    assert line.startswith("fast · gpt-6-luna · 1,212 -> 340 tok · ")
    assert line.endswith(end)
    assert "$" not in line


def test_when_a_reply_is_shown_then_the_bill_is_a_paragraph_of_its_own() -> None:
    shown = reply_frame(reply("- a\n- b", notes=("<b>",)))
    assert shown[PLAIN] == "- a\n- b\n\nfast · gpt-6-luna · 1,212 -> 340 tok · USD 0.0002 · 2.1 s · <b>"
    assert shown[MARKDOWN].endswith("\n\nfast · gpt-6-luna · 1,212 -> 340 tok · USD 0.0002 · 2.1 s · &lt;b&gt;")


# --- forms ---


class Fruit(pydantic.BaseModel):
    """A pydantic model of a user."""

    name: str
    grams: int


@pytest.mark.parametrize(
    "text", ['{"a": [1, "é"]}', 'Here:\n```json\n{"a": [1, "é"]}\n```\nDone.', '```\n{"a":[1,"é"]}']
)
def test_when_json_is_asked_for_then_it_is_shown_neatly(text: str) -> None:
    shown = present(reply(text), "json")
    assert shown.plain == '{\n  "a": [\n    1,\n    "é"\n  ]\n}'
    assert shown.markdown == f"```json\n{shown.plain}\n```"


def test_when_code_is_asked_for_then_only_code_is_shown() -> None:
    text = "First\n```py\na = 1\n```\nthen\n~~~\nb\n~~~"
    assert present(reply(text), "code").markdown == "```py\na = 1\n\nb\n```"
    assert present(reply("no block"), "code").plain == "no block"


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1, "b": "x|y"}, {"a": null}]',
        'So:\n```json\n{"rows": [{"a": 1, "b": "x|y"}, {"b": ""}]}\n```',
        "Table:\n\n| a | b |\n|:--|--:|\n| 1 | x\\|y |\n|  | |\n\nEnd.",
        "a,b\n1,x|y\n,\n",
        "```csv\na;b\n1;x|y\n;\n```",
    ],
)
def test_when_a_table_is_asked_for_then_it_is_found_in_any_of_its_forms(text: str) -> None:
    shown = present(reply(text), "table")
    assert shown.markdown == "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n|  |  |"
    assert shown.plain.splitlines()[:2] == ["a  b", "1  x|y"]


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("json", "Sorry.", "the answer is not JSON"),
        ("json", "```json\n{broken\n```", "the answer is not JSON"),
        ("table", "Sorry, no.", "the answer holds no table"),
        ("table", "7", "the answer holds no table"),
    ],
)
def test_when_an_answer_has_not_the_form_then_it_is_an_error_that_holds_it(form: Form, text: str, told: str) -> None:
    with pytest.raises(MalformedAnswerError, match=told) as caught:
        present(reply(text), form)
    assert caught.value.reply is not None
    assert caught.value.reply.content == text


def test_when_an_answer_fits_a_schema_then_it_is_shown_as_json() -> None:
    fits = replace(reply('{"name": "fig", "grams": 3}'), data=Fruit(name="fig", grams=3))
    assert present(fits, "md") == present(fits, "json")
    assert present(fits, "text").plain == fits.content


def test_when_an_answer_broke_off_then_it_is_shown_as_it_is() -> None:
    assert present(reply('{"a": ', status="interrupted"), "json").plain == '{"a": '


# --- while it grows ---


class Screen:
    """Remembers frames and the time; time passes only when it is told to."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, dict[str, str]]] = []
        self.now = 0.0

    def publish(self, bundle: Mapping[str, str]) -> None:
        self.frames.append((self.now, dict(bundle)))

    def within(self, start: float) -> list[dict[str, str]]:
        """Return the frames of the second that begins then."""
        return [bundle for at, bundle in self.frames if start <= at < start + 1]


FAST = Profile(name="fast", provider="openai", model="gpt-6-luna")


def stream(screen: Screen, pieces: list[str], seconds: float, call: MagicCall, *, watched: bool = True) -> str:
    """Play an answer, its pieces at even distances, as a magic does, which looks at it when it is worth a look."""
    live = LiveAnswer(screen.publish, call, watched=watched)
    if live._pace is not None:
        live._pace = Pace(lambda: screen.now)
    work = SimpleNamespace(text="", profile=FAST, thinking=False)
    while screen.now < seconds:
        screen.now += live.wait
        work.text = "".join(pieces[: int(len(pieces) * min(1, screen.now / seconds))])
        live.grow(cast("Stream", work))
    live.end(reply(work.text))
    return work.text


WORDS = [f"w{number:06}" + (" " if number % 40 else "\n") for number in range(2_000)]


@pytest.mark.parametrize("kind", ["prose", "markup", "Chinese"])
@pytest.mark.parametrize("size", [500, 16_000, 60_000])
def test_when_an_answer_streams_then_it_grows_four_to_eight_times_in_every_second(size: int, kind: str) -> None:
    screen = Screen()
    words = {
        "prose": WORDS,
        "markup": ["<b>&lt; "] * 2_000,
        "Chinese": ["\u6f6e\u6c50\u662f\u6d77\u6c34\u7684\u6da8 "] * 2_000,
    }[kind]
    text = stream(screen, (words * 4)[: size // 8], 10, MagicCall())
    *growing, last = screen.frames
    for second in range(1, 9):
        frames = screen.within(second)
        assert 4 <= len({bundle[MARKDOWN] for bundle in frames}) == len(frames) <= 8
        assert sum(map(weight, frames)) < 200_000
    assert last[1][PLAIN].startswith(text.rstrip())
    assert [set(bundle) for _, bundle in growing] == [{MARKDOWN}] * len(growing)


def test_when_an_answer_grows_then_all_of_it_is_seen_up_to_16_000_characters_and_then_its_end() -> None:
    screen = Screen()
    words = WORDS * 2
    stream(screen, words, 20, MagicCall())
    for at, bundle in screen.frames[:-1]:
        come = "".join(words[: int(len(words) * min(1, at / 20))])
        shown, _, line = bundle[MARKDOWN].rpartition("\n\n")
        count = f"{len(come.split()):,} words" if come else "asking"
        assert re.fullmatch(rf"<small .*>fast · gpt-6-luna · {count} · {int(at)} s</small>", line)
        if len(come) < 15_900:
            assert shown.strip() == come.strip()
        elif len(come) > 16_100:
            assert shown.startswith("… w")
            assert 7_600 < len(shown) < 8_100
            assert shown.strip().endswith(come[-100:].strip())


def test_when_an_answer_is_waited_for_then_a_line_says_so_from_a_tenth_of_a_second_on() -> None:
    screen = Screen()
    live = LiveAnswer(screen.publish, MagicCall(), watched=True)
    live._pace = Pace(lambda: screen.now)
    work = SimpleNamespace(text="", profile=FAST, thinking=False)
    while screen.now < 4:
        live.grow(cast("Stream", work))
        work.thinking = screen.now > 2
        screen.now += 0.01
    said = [re.sub("<.*?>", "", bundle[MARKDOWN]) for _, bundle in screen.frames]
    thinking = ["fast · gpt-6-luna · thinking · 2 s", "fast · gpt-6-luna · thinking · 3 s"]
    assert said == [*(f"fast · gpt-6-luna · asking · {second} s" for second in (0, 1, 2)), *thinking]
    assert 0.1 <= screen.frames[0][0] < 0.12


def test_when_a_word_is_no_word_then_characters_are_counted() -> None:
    assert [amount(text) for text in ("a", "a b", "\u6f6e\u6c50" * 20)] == ["1 word", "2 words", "40 characters"]


def test_when_nobody_watches_then_there_is_one_frame() -> None:
    screen = Screen()
    stream(screen, ["word "] * 60, 3, MagicCall(), watched=False)
    assert len(screen.frames) == 1


@pytest.mark.parametrize(
    ("call", "plain"),
    [
        (MagicCall(cost=False), "Hi."),
        (MagicCall(show="quiet"), bill(reply())),
        (MagicCall(show="quiet", cost=False), None),
        (MagicCall(show="none"), None),
        (MagicCall(form="text"), f"Hi.\n\n{bill(reply())}"),
    ],
)
def test_when_less_is_to_be_shown_then_only_that_is(call: MagicCall, plain: str | None) -> None:
    screen = Screen()
    stream(screen, ["Hi."], 1, call, watched=False)
    assert [bundle[PLAIN] for _, bundle in screen.frames] == ([] if plain is None else [plain])
    if call.form == "text":
        assert MARKDOWN not in screen.frames[0][1]


def test_when_the_form_is_wrong_then_the_answer_is_shown_before_the_error() -> None:
    screen = Screen()
    with pytest.raises(MalformedAnswerError):
        stream(screen, ["Sorry."], 1, MagicCall(form="json"))
    assert screen.frames[-1][1][PLAIN].startswith("Sorry.\n\nfast")


def test_when_only_the_end_is_shown_then_code_is_shown_as_code() -> None:
    text = "intro\n\n```py\n" + "line = 1\n" * 50
    shown = tail(text, 60)
    assert shown.startswith("…\n\n```\nline = 1\n")
    assert tail(text + "```\n" + "prose " * 50, 60).startswith("… ")
    assert tail("short", 60) == "short"


def test_when_ipython_runs_on_a_terminal_then_an_answer_is_printed_while_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, PROFILES)
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0.3")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    told = "%load_ext victor_nb\n%%victor fast\nExplain tides in 60 words.\n\n\nprint(len(session().last.content))\n"
    command = [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"]
    told = told.replace("session()", "__import__('victor_nb').session()")
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=True, timeout=120)
    answer, _, rest = done.stdout.partition("Simulated placeholder")[2].partition("\n\nfast · gpt-4o-mini · ")
    assert re.match(r"\d+ -> \d+ tok .* simulated\n", rest)
    assert f": {len('Simulated placeholder' + answer)}\n" in rest
