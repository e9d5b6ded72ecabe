"""Bars for long work: where somebody watches it, and nothing left of them; and many answers of one cell, in rows."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import threading
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

import pytest

from cells import PLAIN, Kernel, Shell
from ensemble import Asked, Ensemble, by_stage, said
from servers import faults
from victor_nb import Funnel, Single, compare, compare_sync, session
from victor_nb.errors import FanOutError, VictorInterrupted
from victor_nb.notebook.options import MagicCall
from victor_nb.notebook.side_by_side import LiveColumns
from widget_pages import HOSTILE, assert_inert

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.exchange import Act, Exchange

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]
VIEW = "application/vnd.jupyter.widget-view+json"
PROMPTS = [f"prompt {number}" for number in range(12)]
WORK: dict[str, Callable[..., object]] = {
    "fan_out": lambda **more: session().pool.fan_out_sync(PROMPTS, ["fast"], **more),
    "awaited fan_out": lambda **more: asyncio.run(session().pool.fan_out(PROMPTS, ["fast"], **more)),
    "funnel": lambda **more: Funnel().run_sync("x", **more),
    "awaited funnel": lambda **more: asyncio.run(Funnel().run("x", **more)),
    "compare": lambda **more: compare_sync([Funnel(), Single("fast")], "x", **more),
    "awaited compare": lambda **more: asyncio.run(compare([Funnel(), Single("fast")], "x", **more)),
}


class Terminal(io.StringIO):
    """A terminal of 100 columns, and what was ever written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if "USD" in text:
            self.wrote.set()
        return super().write(text)

    @property
    def bars(self) -> list[str]:
        """Every state of every bar."""
        return [line.strip() for line in re.split(r"[\r\n]", self.getvalue()) if "USD" in line]

    @property
    def left(self) -> str:
        """What stands on it now."""
        return self.getvalue().rsplit("\r", 1)[-1].strip()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal to sit at: `with redirect_stderr(terminal)`, since pytest sets stderr anew before each test."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")
    return Terminal()


def held(answer: Act, terminal: Terminal) -> Act:
    """Answer once there is a bar."""

    async def act(exchange: Exchange) -> None:
        while not terminal.wrote.is_set():  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.005)
        await answer(exchange)

    return act


def slow(answer: Act) -> Act:
    """Answer later than a bar would have come."""

    async def act(exchange: Exchange) -> None:
        await asyncio.sleep(1.2)
        await answer(exchange)

    return act


# --- on a terminal ---


@pytest.mark.parametrize("name", WORK)
def test_when_work_is_long_then_a_bar_says_how_far_it_is_and_goes(
    ensemble: Ensemble, terminal: Terminal, name: str
) -> None:
    ensemble.play(lambda asked: held(said(f"4, 1, 7 {by_stage(asked)}"), terminal))

    with redirect_stderr(terminal):
        WORK[name]()

    assert terminal.bars
    total = {"fan_out": 12, "funnel": 13, "compare": 2}[name.removeprefix("awaited ")]
    assert re.match(rf"{name.removeprefix('awaited ')}: 0/{total} · .*USD 0\.0000", terminal.bars[0])
    assert terminal.left == ""


def test_when_some_fail_then_the_bar_counts_them(ensemble: Ensemble, terminal: Terminal) -> None:
    def say(asked: Asked) -> Act:
        return faults.status(400) if asked.prompt in PROMPTS[:2] else held_by_failures

    async def held_by_failures(exchange: Exchange) -> None:
        while not any("2 failed" in bar for bar in terminal.bars):  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.005)
        await said("x")(exchange)

    ensemble.play(say)
    with redirect_stderr(terminal):
        WORK["fan_out"]()
    assert any(bar.startswith("fan_out: 2/12 · 2 failed · USD 0.0000") for bar in terminal.bars)
    assert terminal.left == ""


@pytest.mark.parametrize("name", ["fan_out", "awaited fan_out"])
def test_when_it_ends_in_an_error_then_the_bar_goes(ensemble: Ensemble, terminal: Terminal, name: str) -> None:
    ensemble.play(lambda asked: held(faults.status(400), terminal))
    with redirect_stderr(terminal), pytest.raises(FanOutError):
        WORK[name]()
    assert terminal.bars
    assert terminal.left == ""


@pytest.mark.parametrize("name", ["fan_out", "funnel", "compare"])
def test_when_stop_is_pressed_then_the_work_stops_and_the_bar_goes(
    ensemble: Ensemble, terminal: Terminal, name: str
) -> None:
    ensemble.play(lambda asked: faults.silence())

    def press() -> None:
        assert terminal.wrote.wait(20)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    with redirect_stderr(terminal), pytest.raises(VictorInterrupted):
        WORK[name]()
    pressing.join()
    assert terminal.left == ""
    ensemble.server.wait(lambda: all(request.hung_up for request in ensemble.server.requests))


def test_when_the_terminal_goes_away_then_the_work_goes_on(
    ensemble: Ensemble, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: str, /) -> int:
        terminal.wrote.set()
        raise OSError("gone")

    monkeypatch.setattr(terminal, "write", gone)
    ensemble.play(lambda asked: held(said("x"), terminal))
    with redirect_stderr(terminal):
        replies = session().pool.fan_out_sync(PROMPTS, ["fast"])
    assert len(replies.ok) == 12


@pytest.mark.parametrize("why", ["few", "CI", "VICTOR_PROGRESS", "False"])
def test_when_nobody_wants_a_bar_then_there_is_none(
    ensemble: Ensemble, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setenv("CI", "true" if why == "CI" else "")
    monkeypatch.setenv("VICTOR_PROGRESS", "off" if why == "VICTOR_PROGRESS" else "")
    ensemble.play(lambda asked: slow(said("x")))
    prompts = PROMPTS[:9] if why == "few" else PROMPTS
    with redirect_stderr(terminal):
        session().pool.fan_out_sync(prompts, ["fast"], progress=False if why == "False" else None)
    assert terminal.getvalue() == ""


def test_when_work_is_short_then_there_is_no_bar(ensemble: Ensemble, terminal: Terminal) -> None:
    ensemble.play(lambda asked: said("x"))
    with redirect_stderr(terminal):
        WORK["fan_out"]()
    assert terminal.getvalue() == ""


def test_when_stderr_is_no_terminal_then_there_is_no_bar(ensemble: Ensemble, capfd: pytest.CaptureFixture[str]) -> None:
    ensemble.play(lambda asked: slow(said("x")))
    session().pool.fan_out_sync(PROMPTS, ["fast"], progress=True)
    assert capfd.readouterr().err == ""


def test_when_a_bar_is_asked_for_then_it_comes_at_once_for_few_as_well(
    ensemble: Ensemble, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    ensemble.play(lambda asked: held(said("x"), terminal))
    with redirect_stderr(terminal):
        Single("fast").run_sync("x", progress=True)
    assert terminal.bars[0].startswith("single fast: 0/1 · answer · USD 0.0000")
    assert terminal.left == ""


# --- in a notebook ---


def test_when_a_cell_waits_then_its_bar_leaves_nothing_in_the_notebook(tmp_path: Path) -> None:
    with Kernel(tmp_path, VICTOR_MODE="simulate", VICTOR_SIM_SPEED="0.1", CI="") as kernel:
        kernel.run("from victor_nb import *; session().warm_up()")
        for cell in ("Funnel().run_sync('a slug', progress=True)", "await Funnel().run('a slug', progress=True)"):
            heard = kernel.messages(f"print('before'); r = {cell}; print('after')")
            shown = [each for each in heard if each.kind in {"display_data", "update_display_data"}]
            assert [each.kind for each in shown] == ["display_data", "update_display_data"]
            assert VIEW in shown[0].content["data"]
            assert shown[0].content["data"][PLAIN].startswith("funnel: ")
            assert shown[1].content["data"] == {PLAIN: ""}
            opened, closed = (sum(each.kind == kind for each in heard) for kind in ("comm_open", "comm_close"))
            assert opened == closed
            assert not [each for each in heard if each.kind == "stream" and each.content["name"] == "stderr"]


def test_when_nobody_watches_the_notebook_then_there_is_no_bar(tmp_path: Path) -> None:
    with Kernel(tmp_path, VICTOR_MODE="simulate", VICTOR_SIM_SPEED="0.3", CI="true") as kernel:
        ran = kernel.run("from victor_nb import *; r = Funnel().run_sync('a slug function')")
    assert (ran.frames, ran.said, ran.error) == ([], "", None)


# --- many answers of one cell ---


def test_when_a_cell_asks_for_many_then_each_answer_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    shell = Shell()
    ran = shell.run("%%victor fast n=8 out=r\nTell the story of a boat.")
    html = ran.frames[-1]["text/html"]
    assert html.count("<th scope") == 3
    assert html.count("<tr>") == 9
    assert "8 answers · " in ran.plain
    assert "The whole texts are in r" in ran.plain
    assert max(map(len, ran.plain.splitlines())) < 400
    assert len(shell.names["r"]["fast"]) == 8
    assert shell.run("%%victor fast n=6\nHi.").frames[-1]["text/html"].count("<th scope") == 6


def test_when_many_answers_grow_then_they_are_counted_and_only_some_are_shown(ensemble: Ensemble) -> None:
    def say(asked: Asked) -> Act:
        return said("at once") if asked.turn < 3 else faults.cut(said(HOSTILE * 20), 1, "silence")

    ensemble.play(say)
    frames: list[Any] = []
    live = LiveColumns(frames.append, MagicCall(), watched=True)
    fan = session().pool.start_fan_out("x", ["fast"], n=40)
    ensemble.server.wait(lambda: len(ensemble.server.requests) == 40)
    until_said = sum(bool(lane.text) for lane in fan.lanes)
    while until_said < 40:
        assert not fan.wait(0.01)
        until_said = sum(bool(lane.text) for lane in fan.lanes)
    live.grow(fan)
    live.grow(fan)
    fan.cancel()

    (frame,) = frames
    assert re.search(r"[0-3]/40 · USD 0\.\d+ · (3[789]|40) under way", frame["text/html"])
    assert frame["text/html"].count("<tr>") == 13
    assert len(json.dumps(frame)) < 12_000
    assert_inert(frame["text/html"])
