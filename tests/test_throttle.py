"""The throttle of all widgets: the newest of each, in turn, and no more messages a second than a front end takes."""

from __future__ import annotations

import threading
import time

import pytest
from ipywidgets import HTML

from victor_nb.notebook.widgets.throttle import BURST, PER_SECOND, Throttle


def test_when_a_trait_is_sent_then_the_widget_has_it() -> None:
    throttle, page = Throttle(), HTML()
    throttle.send(page, value="hello")
    assert throttle.wait_idle()
    assert page.value == "hello"


def test_when_much_is_sent_then_only_the_newest_arrives() -> None:
    throttle, page, heard = Throttle(), HTML(), []
    page.observe(lambda change: heard.append(change["new"]), names="value")
    for number in range(10_000):
        throttle.send(page, value=str(number))
    assert throttle.wait_idle()
    assert heard[-1] == "9999"
    assert len(heard) < 100


def test_when_many_widgets_change_without_pause_then_messages_keep_to_the_limit() -> None:
    throttle, pages, sent = Throttle(per_second=100, burst=5), [HTML() for _ in range(50)], []
    for page in pages:
        page.observe(lambda _: sent.append(time.monotonic()), names="value")
    number = 0
    while len(sent) < 60:
        for page in pages:
            number += 1
            throttle.send(page, value=str(number))
    # What goes out in a time is what fills up in it, and what was there: give or take what a timer is off by.
    assert sent[59] - sent[0] >= (59 - 6) / 100 * 0.9
    assert PER_SECOND + BURST < 20


def test_when_many_widgets_wait_then_each_has_its_turn() -> None:
    throttle, pages, sent = Throttle(per_second=1_000), [HTML() for _ in range(5)], []
    for place, page in enumerate(pages):
        page.observe(lambda _, place=place: sent.append(place), names="value")
    turn = 0
    while len(sent) < 50:
        turn += 1
        for page in pages:
            throttle.send(page, value=str(turn))
    assert throttle.wait_idle()
    assert min(map(sent.count, range(5))) >= 6


def test_when_traits_are_sent_apart_then_they_arrive_in_one_message() -> None:
    throttle, page, together = Throttle(), HTML(), []
    page.observe(lambda _: together.append((page.value, page.placeholder)), names="value")
    blocker = threading.Event()
    throttle.put("first", blocker.wait)
    throttle.send(page, placeholder="b")
    throttle.send(page, value="a")
    blocker.set()
    assert throttle.wait_idle()
    assert together == [("a", "b")]


def test_when_nothing_changes_then_nothing_is_sent() -> None:
    throttle, page, heard = Throttle(), HTML("same"), []
    page.observe(heard.append, names="value")
    throttle.send(page, value="same")
    assert throttle.wait_idle()
    assert heard == []


def test_when_a_look_is_ended_then_it_looks_no_more_and_the_thread_ends() -> None:
    throttle, looks, enough = Throttle(), [], threading.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            enough.set()

    end = throttle.poll(look, every=0.001)
    assert enough.wait(10)
    end()
    thread = throttle._thread
    if thread is not None:
        thread.join(10)
        assert not thread.is_alive()
    assert len(looks) < 100_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_one_look_fails_then_it_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))
    throttle, page, went_on = Throttle(), HTML(), threading.Event()
    end_bad = throttle.poll(lambda: 1 / 0, every=0.001)
    times: list[int] = []

    def look() -> None:
        times.append(1)
        if len(times) == 5:
            went_on.set()

    end_good = throttle.poll(look, every=0.001)
    throttle.send(page, value="sent")
    assert went_on.wait(10)
    assert throttle.wait_idle()
    end_bad()
    end_good()
    assert page.value == "sent"
    assert [type(error) for error in reported] == [ZeroDivisionError]
