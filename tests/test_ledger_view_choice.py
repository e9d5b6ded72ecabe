"""The ledger as a widget: the row that is chosen, told in full while others arrive."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ledger_rows import NOON, row, running
from ledger_views import click, lines, profiles, until, write
from surfaces import seen
from victor_nb.kernel import session
from victor_nb.notebook.widgets.ledger_view import Listbox
from victor_nb.notebook.widgets.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.notebook.widgets.ledger_view import LedgerView


pytest_plugins = ["ledger_view_fixtures"]
KEY = "sk-live-0123456789abcdef"


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
