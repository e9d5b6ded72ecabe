"""The ledger as a widget: the last calls as they come, as they are wanted, and the chosen one in full."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ledger_rows import NOON, row, running
from victor_nb.accounting.rows import Row
from victor_nb.errors import ConfigError
from victor_nb.kernel import session
from victor_nb.notebook.widgets.ledger_view import LedgerView, Listbox
from victor_nb.notebook.widgets.throttle import throttle
from widget_pages import click, lines, profiles, seen, until, write

if TYPE_CHECKING:
    from collections.abc import Callable


pytest_plugins = ["widget_fixtures"]
KEY = "sk-live-0123456789abcdef"
BARE = Row(ts=NOON, call_id="bare", profile="fast", provider="openai", model="gpt-4o-mini")


# --- rows ---


def test_when_nothing_was_asked_then_it_says_so(view: Callable[..., LedgerView]) -> None:
    assert lines(empty := view()) == []
    assert "Nothing has been asked yet." in seen(empty)
    assert "Nothing has been asked yet." in empty.fallback().plain


def test_when_there_are_calls_then_the_newest_comes_first_with_what_it_took(view: Callable[..., LedgerView]) -> None:
    write(row("a", latency=2.25), row("b", profile="premium", cost=Decimal("0.0125"), input_tokens=1_212, latency=71.0))
    first, second = lines(view())
    local = (NOON + timedelta(seconds=1)).astimezone()
    assert first == f"● ok {local:%H:%M:%S} premium 0.0125 1 min 11 s 1,212 20 gpt-4o-mini"
    assert second.endswith("fast 0.000027 2.2 s 100 20 gpt-4o-mini")


def test_when_columns_are_of_different_width_then_each_begins_where_its_name_does(
    view: Callable[..., LedgerView],
) -> None:
    write(row("a", profile="日本", model="m"), row("b", profile="premium", model="claude"), row("c", stage="review"))
    page = view()
    assert throttle().wait_idle()
    head = re.findall(r"calls-head[^>]*>(.*?)</pre>", page._head.value)[0]
    columns = [head.index(name) for name in ("status", "time", "profile", "model", "stage")]
    plain = [line.replace("日本", "日本__") for line in page._list.lines]  # two places each
    assert [line[columns[3] :].split()[0] for line in plain] == ["gpt-4o-mini", "claude", "m"]
    assert all(line[column - 1] == " " for line in plain for column in columns if column < len(line))


def test_when_calls_go_on_then_they_say_running_and_how_long_and_then_how_they_ended(
    view: Callable[..., LedgerView],
) -> None:
    started = replace(running("a"), ts=datetime.now(UTC) - timedelta(seconds=65))
    write(started)
    page = view()
    assert re.search(r"^○ running .* fast 1 min \d\d s gpt-4o-mini$", lines(page)[0])
    session().ledger.finish(replace(row("a"), ts=started.ts, latency=66.0))
    until(lambda: lines(page)[0].startswith("● ok"))
    assert len(lines(page)) == 1


def test_when_a_call_is_under_way_then_its_time_goes_on_although_the_ledger_does_not_change(
    view: Callable[..., LedgerView],
) -> None:
    write(replace(running("a"), ts=datetime.now(UTC)))
    page = view()
    before = lines(page)
    until(lambda: lines(page) != before)


def test_when_there_are_more_rows_than_wanted_then_the_last_are_shown(view: Callable[..., LedgerView]) -> None:
    write(*(row(str(number), profile=f"p{number}") for number in range(9)))
    page = view(n=3)
    assert profiles(page) == ["p8", "p7", "p6"]
    assert "The last 3 attempts, newest first" in seen(page)


def test_when_a_call_was_retried_then_each_attempt_is_a_row_that_says_so(view: Callable[..., LedgerView]) -> None:
    failed = row("a", status="error", error_type="RateLimitError", cost=Decimal(0), input_tokens=None)
    write(failed, row("a", attempt=2), row("b"))
    notes = [line.split("gpt-4o-mini")[1].strip() for line in lines(view())]
    assert notes == ["", "attempt 2/2", "RateLimitError · attempt 1/2"]


def test_when_nothing_is_known_of_an_attempt_then_it_is_a_row_all_the_same(view: Callable[..., LedgerView]) -> None:
    write(replace(BARE, status="interrupted"))
    page = view()
    (line,) = lines(page)
    assert line.endswith("fast unpriced gpt-4o-mini")
    for sort in ("cost", "slowest", "tokens", "failed", "newest"):
        page.sort = sort
        assert len(lines(page)) == 1
    click(page, 0)
    assert "call_id bare" in seen(page)


# --- filter and sort ---


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("PREMIUM", ["a"]),
        ("luna", ["b"]),
        ("error", ["c"]),
        ("ratelimit", ["c"]),
        ("review", ["d"]),
        ("funnel", ["d"]),
        ("ok fast", ["d", "b"]),
        ("no such thing", []),
        ("  ", ["d", "c", "b", "a"]),
    ],
)
def test_when_a_filter_is_typed_then_only_rows_with_all_its_words_are_shown(
    view: Callable[..., LedgerView], words: str, expected: list[str]
) -> None:
    write(
        row("a", profile="premium"),
        row("b", model="gpt-6-luna"),
        row("c", profile="local", status="error", error_type="RateLimitError"),
        row("d", strategy="funnel", stage="review"),
    )
    page = view()
    page._filter.value = words
    assert [found.call_id for found in page._shown] == expected
    assert len(lines(page)) == len(expected)
    if words.strip():
        assert f"{len(expected)} of the last 4 attempts match '{words}'" in seen(page)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("newest", "abcd"),
        ("cost", "bdca"),
        ("slowest", "cbda"),
        ("tokens", "dbca"),
        ("failed", "cabd"),
    ],
)
def test_when_it_is_sorted_then_what_is_asked_for_comes_first(
    view: Callable[..., LedgerView], sort: str, expected: str
) -> None:
    write(
        row("d", profile="d", cost=Decimal("0.2"), latency=1.0, input_tokens=5_000),
        row("c", profile="c", cost=Decimal("0.1"), latency=9.0, status="error"),
        row("b", profile="b", cost=Decimal("0.3"), latency=2.0, input_tokens=1_000),
        row("a", profile="a", cost=None, latency=None, input_tokens=None, output_tokens=None, status="interrupted"),
    )
    page = view(sort=sort)
    assert "".join(profiles(page)) == expected


def test_when_rows_are_chosen_by_code_then_the_page_shows_that_and_the_line_repeats_it(
    view: Callable[..., LedgerView],
) -> None:
    write(row("a", profile="local"), row("b"))
    page = view()
    assert page.code == "LedgerView()"
    page.filter, page.sort = "fast", "cost"
    assert (page._filter.value, page._sort.value) == ("fast", "cost")
    assert profiles(page) == ["fast"]
    assert page.code == 'LedgerView(sort="cost", filter="fast")'
    assert f"{page.code} session().ledger.to_frame()" in seen(page)
    again = eval(page.code, {"LedgerView": view})
    assert lines(again) == lines(page)
    assert view(n=7, filter='a "b" \\').code == r'LedgerView(n=7, filter="a \"b\" \\")'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sort": "costs"}, "Did you mean sort='cost'?"),
        ({"sort": "qqq"}, "Known: newest, cost, slowest, tokens, failed."),
        ({"sort": None}, "cannot be sorted by 'None'"),
        ({"sort": ["newest"]}, "cannot be sorted by"),
        ({"n": 0}, "from 1 to 2,000, not 0"),
        ({"n": 2_001}, "from 1 to 2,000"),
        ({"n": "20"}, "not '20'"),
        ({"n": True}, "not True"),
        ({"filter": 7}, "filter='error fast', not 7"),
    ],
)
def test_when_an_argument_cannot_be_used_then_the_error_says_what_can(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        LedgerView(**options)


def test_when_it_is_set_to_what_it_cannot_show_then_it_stays_as_it_was(view: Callable[..., LedgerView]) -> None:
    page = view(sort="cost")
    with pytest.raises(ConfigError, match="Did you mean sort='newest'"):
        page.sort = "newist"
    assert (page.sort, page._sort.value) == ("cost", "cost")


# --- the chosen row ---


def test_when_a_row_is_clicked_then_all_that_is_known_of_it_is_told(view: Callable[..., LedgerView]) -> None:
    write(
        row("a", queue=0.25, tags={"task": "Grüße"}, http_status=200, model_served="gpt-4o-mini-2024", run_id="r1"),
        row("b"),
    )
    page = view()
    assert "Choose a row to see all of it." in seen(page)
    click(page, 1)
    text = seen(page)
    for fact in ("call_id a", "queue 0.250 s", "tags task=Grüße", "model_served gpt-4o-mini-2024", "cost USD 0.000027"):
        assert fact in text
    assert "request_id" not in text
    click(page, None)
    assert "Choose a row to see all of it." in seen(page)


def test_when_a_failed_call_is_clicked_then_its_error_is_whole_and_without_a_key(
    view: Callable[..., LedgerView], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", secret := "a-key-of-no-usual-form")
    error = f"fast: refused {KEY} and {secret}. " + "Long, " * 500 + "the end."
    write(row("a", status="error", error_type="AuthenticationError", error=error, tags={"by": KEY}))
    page = view()
    click(page, 0)
    text, still = seen(page), page.fallback()
    assert "AuthenticationError: fast: refused [redacted] and [redacted]. Long," in text
    assert "the end." in text
    assert "the end." in still.html
    assert "AuthenticationError" in still.plain
    for shown in (text, still.html, still.plain):
        assert KEY not in shown
        assert secret not in shown


def test_when_one_of_several_attempts_is_clicked_then_all_of_its_call_are_told(view: Callable[..., LedgerView]) -> None:
    write(row("a", status="error", error_type="ServerError", http_status=503), row("b"), row("a", attempt=2))
    page = view()
    click(page, 0)
    assert "ServerError 503" in seen(page)
    click(page, 1)
    assert "ServerError 503" not in seen(page)


def test_when_the_ledger_holds_texts_then_the_chosen_row_has_them_and_the_fallback_has_not(
    view: Callable[..., LedgerView],
) -> None:
    write(row("a", prompt="Why is it so?", answer="Because."), row("b"))
    page = view()
    click(page, 1)
    assert "Why is it so?" in seen(page)
    assert "Because." in seen(page)
    assert "Why is it so?" not in page.fallback().html + page.fallback().plain
    click(page, 0)
    assert "Why" not in seen(page)


def test_when_rows_arrive_then_the_chosen_one_stays_chosen(view: Callable[..., LedgerView]) -> None:
    write(row("old"), row("mine", profile="premium"), row("new"))
    page = view()
    click(page, 1)
    write(*(row(f"more {number}", ts=NOON + timedelta(minutes=1)) for number in range(5)))
    until(lambda: len(lines(page)) == 8)
    assert page._list.index == 6
    assert profiles(page)[6] == "premium"
    assert "call_id mine" in seen(page)
    page.filter = "fast"
    assert lines(page)
    assert page._list.index is None
    page.filter = ""
    assert lines(page)
    assert page._list.index == 6


def test_when_the_chosen_row_is_no_longer_among_the_last_then_it_is_still_told(view: Callable[..., LedgerView]) -> None:
    write(row("mine"))
    page = view(n=1)
    click(page, 0)
    write(row("next", profile="local", ts=NOON + timedelta(minutes=1)))
    until(lambda: profiles(page) == ["local"])
    assert "call_id mine" in seen(page)


def test_when_a_call_under_way_is_chosen_then_its_end_is_told(view: Callable[..., LedgerView]) -> None:
    write(started := replace(running("a"), ts=datetime.now(UTC)))
    page = view()
    click(page, 0)
    assert "○ running" in seen(page)
    session().ledger.finish(replace(row("a"), ts=started.ts))
    until(lambda: "output_tokens 20" in seen(page))


def test_when_next_and_previous_are_pressed_then_the_row_beside_is_chosen(view: Callable[..., LedgerView]) -> None:
    write(row("c"), row("b"), row("a"))
    page = view()
    assert throttle().wait_idle()
    pressed: list[str] = []
    for button in (page._down, page._down, page._down, page._down, page._up, page._up, page._up):
        button.click()
        pressed += re.findall(r"call_id (\w)", seen(page))
    assert "".join(pressed) == "abccbaa"


class Clock:
    """A clock that goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_when_a_click_comes_just_after_new_rows_then_it_means_the_row_that_was_seen() -> None:
    clock = Clock()
    box = Listbox("Calls", clock=clock)
    box.show(["b", "a"], "ba", most=9, requested=False)
    clock.now = 10
    box.show(["d", "c", "b", "a"], "dcba", most=9, requested=False)
    clock.now = 10.2
    box.set_state({"index": 1})  # aimed at "a", as the page was
    assert (box.chosen, box.index) == ("a", 3)
    box.set_state({"index": 3})  # there was no fourth line before
    assert box.chosen == "a"
    clock.now = 10.5
    box.set_state({"index": 1})
    assert (box.chosen, box.index) == ("c", 1)


def test_when_the_user_has_asked_for_other_rows_then_a_click_means_those() -> None:
    box = Listbox("Calls", clock=Clock())
    box.show(["b", "a"], "ba", most=9, requested=False)
    box.show(["a", "b"], "ab", most=9, requested=True)
    box.set_state({"index": 0})
    assert box.chosen == "a"


@pytest.mark.parametrize("place", [-1, 7, None, "x"])
def test_when_a_page_chooses_a_line_that_there_is_not_then_none_is_chosen(place: object) -> None:
    box = Listbox("Calls", clock=Clock())
    box.show(["b", "a"], "ba", most=9, requested=False)
    box.set_state({"index": 1})
    box.set_state({"index": place})
    assert (box.chosen, box.index) == (None, None)


def test_when_lines_change_then_lines_and_choice_are_one_message() -> None:
    box = Listbox("Calls", clock=Clock())
    box.show(["b", "a"], "ba", most=9, requested=True)
    box.set_state({"index": 1})
    sent: list[Any] = []
    box.send_state = lambda key=None: sent.append(set(key or ()))  # type: ignore[method-assign]
    box.show(["b", "a"], "ba", most=9, requested=False)
    box.show(["c", "b", "a"], "cba", most=9, requested=False)
    assert [keys for keys in sent if keys] == [{"_options_labels", "index", "rows"}]
    assert box.index == 2
