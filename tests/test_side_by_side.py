"""Several answers in one cell: rendered in equal columns, the best ones marked, harmless, and all of their text."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from cells import MARKDOWN, PLAIN, Shell
from rendered import PIECES, Page
from victor_nb import Funnel, Replies, Usage
from victor_nb.errors import ConnectError
from victor_nb.money import Total
from victor_nb.notebook import side_by_side
from victor_nb.notebook.display import Pace, weight
from victor_nb.notebook.options import MagicCall
from victor_nb.notebook.side_by_side import LiveColumns, replies_frame, replies_summary, shares, stage_frame
from victor_nb.values import Reply
from victor_nb.workflows.fan_out import Entry
from victor_nb.workflows.runs import StageResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.workflows.fan_out import FanOut

HTML = "text/html"
ANSWER = """# Sorting

Use **`sorted`**, see [docs](https://docs.python.org/3/):

1. Read
2. Sort

```python
rows = sorted(rows)
```

| name | grams |
|---|--:|
| fig | 3 |
"""


def entry(profile: str, content: str = "Hi.", cost: str | None = "0.001", seconds: float = 1.0, **more: Any) -> Entry:
    """Return an answer of a profile."""
    paid = None if cost is None else Decimal(cost)
    values: dict[str, Any] = {
        "usage": Usage(10, 20),
        "cost": paid,
        "billed": paid,
        "profile": profile,
        "provider": "openai",
        "model": f"model-{profile}",
        "model_served": None,
        "latency": seconds,
        "ttft": 0.2,
        "finish_reason": "stop",
        "attempts": 1,
        "mode": "live",
        "request_id": None,
    }
    values |= {name: more.pop(name) for name in list(more) if name not in {"prompt", "sample"}}
    return Entry(profile, more.get("prompt", 0), more.get("sample", 0), Reply(content=content, **values))


def failed(profile: str, text: str = "The host is down.") -> Entry:
    """Return an error in the place of an answer."""
    return Entry(profile, 0, 0, ConnectError(text))


def replies(*entries: Entry) -> Replies:
    """Return what came of a fan-out."""
    return Replies(entries, wall=2.0, run_id="run", single=True)


def heads(html: str) -> list[str]:
    """Return what stands over the columns of the outermost table."""
    top = html.partition("</thead>")[0]
    return [" · ".join(re.sub(r"<[^>]+>", "|", head).strip("|").split("||")) for head in re.findall("<th.*?</th>", top)]


# --- as they are kept ---


def test_when_answers_are_shown_then_they_are_rendered_in_equal_columns() -> None:
    html = replies_frame(replies(entry("fast", ANSWER), entry("local", "*Short.*"), entry("big", "x")))[HTML]
    assert heads(html) == ["fast", "local", "big"]
    assert re.findall(r'<th scope="col" width="(\d+)%"', html) == ["33", "33", "33"]
    for part in (
        "Sorting</h4>",
        "<code>sorted</code></strong>",
        "<li>Sort</li>",
        '<td style="text-align:right;overflow-wrap:break-word">3</td>',
    ):
        assert part in html
    assert '<a href="https://docs.python.org/3/">docs</a>' in html
    assert "<em>Short.</em>" in html
    assert html.count("model-fast · 10 -&gt; 20 tok · USD 0.0010 · 1.0 s") == 1


def test_when_styles_scripts_and_classes_are_dropped_then_the_columns_stay_columns() -> None:
    html = replies_frame(replies(entry("fast", ANSWER), entry("local")))[HTML]
    bare = re.sub(r' (?:style|class)="[^"]*"', "", html)
    assert "<style" not in html
    assert "<script" not in html
    assert bare.count('align="left" valign="top"') == 6
    assert bare.count('width="50%"') == 2


def test_when_a_notebook_becomes_markdown_then_code_with_empty_lines_stays_in_its_column() -> None:
    html = replies_frame(replies(entry("fast", "```py\na = 1\n\n  \n\nb = 2\n```\n\nmore"), entry("local")))[HTML]
    assert not re.search(r"\n[ \t]*\n", html)
    assert "a = 1\n\n  \n\nb = 2" in Page(html).text


def test_when_a_page_or_a_terminal_shows_no_html_then_every_answer_and_bill_is_there() -> None:
    frame = replies_frame(replies(entry("fast", ANSWER), entry("local", "Short."), failed("gone")))
    for form in (frame[PLAIN], frame[MARKDOWN]):
        for part in ("rows = sorted(rows)", "Short.", "model-fast · 10 -> 20 tok", "The host is down.", "2 answers · "):
            assert form.count(part) == 1
    shown = Page(markdown2html_mistune(frame[MARKDOWN]))
    assert shown.harm == []
    assert "fast" in shown.text


@pytest.mark.parametrize(
    ("entries", "seen"),
    [
        ([entry("a", cost="0.1"), entry("b", cost="0.2", seconds=3)], ["a · cheapest · fastest", "b"]),
        ([entry("a", seconds=2), entry("b", cost="0.0001", seconds=3)], ["a · fastest", "b · cheapest"]),
        ([entry("a"), entry("b")], ["a", "b"]),
        ([entry("a", seconds=1.012), entry("b", seconds=1.04)], ["a", "b"]),
        ([entry("a"), entry("b"), entry("c", seconds=2)], ["a", "b", "c"]),
        ([entry("a", seconds=2), entry("b"), entry("c", cost="1")], ["a", "b", "c"]),
        ([entry("a", cost=None), entry("b", cost="1"), entry("c", cost="2")], ["a", "b · cheapest known", "c"]),
        ([entry("a", cost="0.1", status="interrupted", seconds=0.1), entry("b")], ["a", "b"]),
        ([entry("a", cost="0.1")], ["a"]),
        ([entry("a", cost="0.1"), entry("a", prompt=1)], ["a", "a · prompt 2"]),
    ],
)
def test_when_one_answer_is_the_best_then_it_is_marked_and_only_then(entries: list[Entry], seen: list[str]) -> None:
    assert heads(replies_frame(replies(*entries))[HTML]) == seen


@pytest.mark.parametrize(
    ("code", "asked", "abreast"),
    [("x = 1", 4, 4), ("x = " + "1" * 40, 4, 2), ("x = " + "1" * 40, 3, 2), ("x = " + "1" * 90, 2, 2), ("", 6, 6)],
)
def test_when_code_is_too_wide_for_many_columns_then_two_stand_side_by_side(
    code: str, asked: int, abreast: int
) -> None:
    texts = ["Hi.", f"So:\n\n```python\n{code}\n```\n" if code else "x" * 300, *["Hi."] * (asked - 2)]
    html = replies_frame(replies(*(entry(f"p{place}", text) for place, text in enumerate(texts))))[HTML]
    tables = html.split("</table>")[:-1]
    assert [table.count("<th ") for table in tables] == [abreast] * (asked // abreast) + [asked % abreast][
        : asked % abreast
    ]
    assert [name for table in tables for name in heads(table)] == [f"p{place}" for place in range(asked)]


def test_when_some_fail_then_they_are_notes_under_the_answers_and_no_columns() -> None:
    stopped = entry("late", "", status="interrupted")
    frame = replies_frame(replies(failed("gone", "<b>down</b> $x$"), entry("fast"), stopped))
    assert heads(frame[HTML]) == ["fast"]
    table, _, below = frame[HTML].partition("</table>")
    assert "gone" not in table
    assert "gone failed: ConnectError: &lt;b&gt;down" in below
    assert "late: stopped before any text had come" in below
    assert "2 answers" in below
    assert Page(below).mathematics == []


def test_when_there_is_one_answer_then_the_summary_counts_one() -> None:
    assert replies_summary(replies(entry("fast"))).startswith("1 answer · ")
    assert replies_summary(replies(entry("fast"), entry("local"))).startswith("2 answers · ")


def test_when_answers_are_many_then_each_is_a_row_that_opens_to_all_of_it() -> None:
    many = [
        entry("fast", f"# Number {number}\n\n" + "word " * 100 + f"end{number}", sample=number) for number in range(8)
    ]
    frame = replies_frame(replies(*many), "r")
    assert heads(frame[HTML]) == ["answer", "text", "bill"]
    assert frame[HTML].count("<details>") == 8
    assert all(f"end{number}" in frame[HTML] for number in range(8))
    assert "<summary>Number 3 word word" in frame[HTML]
    assert "The whole texts are in r; r.to_frame() has them" in frame[PLAIN]


def test_when_answers_are_too_long_to_keep_then_it_is_said_where_all_of_them_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = replies_frame(replies(entry("fast", "word " * 10_000), entry("local")), "r")
    for form in (HTML, MARKDOWN, PLAIN):
        assert "ends here: 20,000 of 50,000 characters; r has all." in re.sub("&#9[13];", "", frame[form])
    monkeypatch.setattr(side_by_side, "_MOST_HTML", 1_000)
    frame = replies_frame(replies(*(entry("fast", "word " * 200, sample=number) for number in range(8))))
    assert frame[HTML].count("<details>") == 1
    assert "The whole texts are in its .entries" in frame[HTML]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_when_a_model_writes_anything_then_no_column_acts_or_breaks_out(text: str) -> None:
    html = replies_frame(replies(entry("fast", text), entry("local", f"{text}\n\nlast"), failed("gone", text)))[HTML]
    shown = Page(html)
    assert shown.harm == []
    for tag in ("table", "tbody", "tr", "td", "div", "pre", "code", "p"):
        assert len(re.findall(f"<{tag}[ >]", html)) == html.count(f"</{tag}>")
    assert html.index("last") < html.index("model-local") < html.index("gone failed")
    assert html.endswith("</small></p></div>")


# --- while they grow ---


@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=6))
def test_when_texts_share_a_place_then_short_ones_are_whole_and_long_ones_get_the_same(sizes: list[int]) -> None:
    shown = shares(sizes, 16_000)
    assert sum(shown) <= 16_000
    assert all(part <= size for part, size in zip(shown, sizes, strict=True))
    cut = [part for part, size in zip(shown, sizes, strict=True) if part < size]
    assert max(cut, default=0) - min(cut, default=0) <= len(sizes)
    assert not cut or max(shown) - min(cut) <= len(sizes)
    assert shown == sizes or sum(shown) > 16_000 - len(sizes)


class Growing:
    """Plays answers as a magic looks at them, against a clock that moves when it is told to."""

    def __init__(self, *profiles: str) -> None:
        self.now = 100.0
        self.frames: list[tuple[float, dict[str, str]]] = []
        self.lanes = [
            SimpleNamespace(profile=name, prompt=0, sample=0, outcome=None, text="", call=None) for name in profiles
        ]
        self._live = LiveColumns(self._show, MagicCall(), watched=True)
        self._live._pace = Pace(lambda: self.now)

    def _show(self, bundle: Mapping[str, str]) -> None:
        self.frames.append((self.now, dict(bundle)))

    def look(self, seconds: float) -> str:
        """Look at it some seconds later; return what is shown now."""
        self.now += seconds
        self._live.grow(cast("FanOut", SimpleNamespace(lanes=self.lanes)))
        return self.frames[-1][1][HTML]


@pytest.mark.parametrize("word", ["is", "**is** `so` 語"])
def test_when_answers_grow_then_each_is_whole_up_to_its_share_and_none_ever_freezes(word: str) -> None:
    page = Growing("a", "b", "c", "d")
    assert page.look(0.1).count("asking · 0 s") == 4
    for step in range(120):
        for lane in page.lanes:
            lane.text += f"{lane.profile}{step:03} {word} just another of all those words. " + "More of them. " * 6
        last = page.look(0.06)
    seconds = page.now - 100
    for lane in page.lanes:
        newest = [max(re.findall(rf"\b{lane.profile}\d\d\d\b", shown[HTML]), default="") for _, shown in page.frames]
        assert sum(later > earlier for earlier, later in pairwise(newest)) / seconds >= 3
    for start, _ in page.frames:
        second = [shown for at, shown in page.frames if start <= at < start + 1]
        assert len(second) <= 9
        assert sum(map(weight, second)) < 200_000
    whole = next(shown[HTML] for _, shown in page.frames if "b030" in shown[HTML])
    assert "b000" in whole
    assert "b000" not in last
    assert re.search(r"\d{3} words · \d+ s · its end", last)


def test_when_nothing_comes_then_the_seconds_go_on_and_frames_are_few() -> None:
    page = Growing("a", "b")
    for _ in range(80):
        page.look(0.125)
    assert len(page.frames) == 11
    assert page.look(0).count("asking · 10 s") == 2


def test_when_one_has_ended_then_its_bill_stands_under_it_while_others_grow() -> None:
    page = Growing("a", "b", "c", "d")
    page.lanes[0].outcome = entry("a", "**done**").outcome
    page.lanes[1].text = "still *at* it"
    page.lanes[2].outcome = failed("c").outcome
    page.lanes[2].entry = lambda: failed("c")
    page.lanes[3].call = SimpleNamespace(thinking=True)
    html = page.look(0.125)
    assert heads(html) == ["a", "b", "d"]
    assert "<strong>done</strong>" in html
    assert "model-a · 10 -&gt; 20 tok" in html
    assert "3 words · 0 s" in html
    assert "thinking · 0 s" in html
    assert "c failed: ConnectError: The host is down." in html


# --- as the value of a cell ---


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Open a notebook in simulate mode, with the profiles that come with us."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    return Shell()


def test_when_replies_are_the_value_of_a_cell_then_they_stand_side_by_side_as_in_their_own(shell: Shell) -> None:
    (own,) = shell.run("%%victor profiles=fast,local out=r\nName a boat.").frames
    formatter: Any = shell.ip.display_formatter
    value, nested = (formatter.format(each)[0] for each in (shell.names["r"], [shell.names["r"]]))
    assert value == own
    assert nested[PLAIN].startswith("[Replies(fast: ")
    shell.run("%unload_ext victor_nb")
    assert formatter.format(shell.names["r"])[0][PLAIN].startswith("Replies(fast: ")


def test_when_a_run_is_the_value_of_a_cell_then_answer_stages_bill_and_chart_are_shown(shell: Shell) -> None:
    own = shell.run("%%victor strategy=tiered out=run\nName a boat.").frames
    assert shell.run("run").frames == own
    assert shell.names["run"].content in own[0][PLAIN]
    assert "USD" in own[1][PLAIN]


def test_when_a_stage_is_the_value_of_a_cell_then_what_it_kept_and_dropped_and_its_bill_are_shown(shell: Shell) -> None:
    stage = Funnel(ideas=3, keep=1).run_sync("a boat's name")["select"]
    formatter: Any = shell.ip.display_formatter
    page = formatter.format(stage)[0][PLAIN]
    kept, _, dropped = page.partition("\n\nDropped:\n\n")
    assert kept.startswith(f"1. {stage.kept[0]}".partition("\n")[0])
    assert re.findall("^- (.*)", dropped, re.MULTILINE) == [text.partition("\n")[0] for text in stage.dropped]
    assert f"select · fast · kept 1 of 3 · {stage.spent} · " in page.split("\n\n")[-1]
    shell.run("%unload_ext victor_nb")
    assert formatter.format(stage)[0][PLAIN].startswith("StageResult(")


def staged(kept: tuple[str, ...], dropped: tuple[str, ...] = (), **look: Any) -> StageResult:
    fields: dict[str, Any] = {"notes": (), "began": 0.0, "ended": 1.5, "spent": Total(), **look}
    return StageResult("s", "fast", (), (*kept, *dropped), kept, dropped, **fields)


def test_when_a_stage_has_one_item_then_it_is_shown_as_the_answer_that_it_is() -> None:
    shown = stage_frame(staged(("# Title\n\n<b>bold</b> *it*",)))
    assert shown[PLAIN].startswith("# Title\n\n<b>bold</b> *it*\n\ns · fast · ")
    assert shown[PLAIN].endswith(" · 1.5 s")
    assert "<b>" not in shown[MARKDOWN]


def test_when_items_have_several_lines_or_code_then_each_stays_one_entry_of_the_list() -> None:
    shown = stage_frame(staged(("first\n\nmore", "```python\nx = 1\n```"), ("out\nof it",)))
    html = markdown2html_mistune(shown[MARKDOWN])
    kept, dropped = html.split("Dropped:")
    assert (kept.count("<li>"), dropped.count("<li>")) == (2, 1)
    assert "x = 1" in re.sub("<[^>]*>", "", kept)
    assert "more" in kept[: kept.index("</li>")]


def test_when_a_stage_failed_then_its_notes_and_state_are_shown_beside_what_had_come() -> None:
    shown = stage_frame(staged((), state="failed", notes=("The host is down.",)))[PLAIN]
    assert "The host is down." in shown
    assert shown.endswith("1.5 s · failed")
