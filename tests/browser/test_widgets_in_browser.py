"""The widgets as people use them: chosen, typed at, pressed, stopped, saved, and found again on another day."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from browser.hostile import ATTACKS, LONG, UNCLOSED, assert_unharmed, export
from servers import OPENAI, Answer, Server

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from browser.book import Book, OpenBook, Theme
    from browser.desk import Desk
    from browser.jupyter import App

IPYKERNEL = tuple(map(int, version("ipykernel").split(".")[:2]))
LOAD = "%load_ext victor_nb"
PICK, PANEL = "%victor pick", "%victor panel"
LEDGER = "from victor_nb import LedgerView\nLedgerView()"
BOARD = (
    "from victor_nb import Funnel, StrategyBoard\njob = Funnel(ideas=4, keep=2).start('a name for a photo app')\n"
    "StrategyBoard(job)"
)
LIVE = f"%env VICTOR_MODE=live\n%env {OPENAI.key_variable}=a-pretended-key-of-nobody\n{LOAD}"
SLOW = "%env VICTOR_SIM_SPEED=3"
WIDGET = ".victor.widget-box"
FALLBACK = ".victor-fallback"
ANSWERED = "() => [...document.querySelectorAll('.victor button')].some(e => e.textContent === 'Ask')"


def control(page: Book, cell: int, label: str) -> Locator:
    """Return an input of a cell's widget by its label."""
    return page.cell(cell).get_by_label(label, exact=True)


def choose(page: Book, cell: int, *names: str) -> None:
    """Tick these profiles of a cell's widget, and no others."""
    boxes = page.cell(cell).locator(".victor-choices .widget-checkbox")
    for box in boxes.all():
        box.locator("input").set_checked(box.inner_text().strip() in names)


def press(page: Book, cell: int, button: str) -> None:
    """Press a button of a cell's widget."""
    page.cell(cell).get_by_role("button", name=button, exact=True).click()


def figure(page: Book, cell: int, name: str) -> Locator:
    """Return a figure of what was spent, in a ledger view."""
    return page.cell(cell).locator(f"{WIDGET} .victor-figure", has_text=name)


def until_kept(page: Book, cell: int, text: str) -> None:
    """Wait until a cell's fallback, which is what is saved, holds a text."""
    script = "([cell, text]) => cell.querySelector('.victor-fallback').textContent.includes(text)"
    page.until(script, [page.cell(cell).element_handle(), text])


def ask(page: Book, cell: int, prompt: str, ends: str) -> None:
    """Type a prompt into a panel, press Ask, and wait for what the bill says in the end."""
    control(page, cell, "Prompt").fill(prompt)
    press(page, cell, "Ask")
    page.until_shown(cell, re.compile(ends))
    page.until(ANSWERED)


def test_when_a_question_goes_through_the_widgets_then_it_is_asked_billed_kept_and_found_again(book: OpenBook) -> None:
    page = book(LOAD, PICK, LEDGER, PANEL, "%%victor out=reply\nSay hello.", "print(reply.profile)")
    page.run_all()
    page.until_shown(5, re.compile(r"^\s*default\s*$"))

    fits = "cell => [...cell.querySelectorAll('.victor-wider')].every(e => e.scrollWidth <= e.clientWidth)"
    assert page.cell(1).evaluate(fits)
    control(page, 1, "fast").check()
    page.until_shown(1, "%victor set profile=fast")
    page.run(4)
    page.run(5)
    page.until_shown(5, re.compile(r"^\s*fast\s*$"))

    page.until_shown(2, "gpt-6-luna")
    assert "qwen2.5-coder" not in page.text(2)
    page.until("cell => !cell.innerText.includes('under way')", page.cell(2).element_handle())
    (spent,) = re.findall(r"USD 0\.\d+", figure(page, 2, "list price").inner_text())
    choose(page, 3, "default", "local")
    ask(page, 3, "Name three rivers.", "2 answers")
    page.until_shown(2, "qwen2.5-coder")
    figure(page, 2, "calls").filter(has_text=re.compile(r"^\s*4\s*calls")).wait_for()
    figure(page, 2, "list price").filter(has_not_text=spent).wait_for()

    until_kept(page, 2, "gpt-6-luna")
    until_kept(page, 3, "2 answers")
    page.save()
    page.reopen()
    for cell, text in ((1, "%victor set profile=fast"), (2, "gpt-6-luna"), (3, "Name three rivers.")):
        page.cell(cell).locator(FALLBACK).wait_for()
        assert page.cell(cell).locator(WIDGET).count() == 0
        assert text in page.text(cell)
        # What JupyterLab says of a widget whose kernel has ended is not seen, though it is there.
        page.cell(cell).locator(".jp-OutputArea-output", has_text="Error displaying widget").wait_for(state="attached")
        assert "Error displaying widget" not in page.text(cell)


def test_when_a_long_answer_is_asked_for_then_it_arrives_in_pieces_and_stop_stops_it(book: OpenBook) -> None:
    page = book(LOAD, SLOW, PANEL, LEDGER)
    page.run_all()
    choose(page, 2, "default", "premium")
    control(page, 2, "Prompt").fill("Explain in 400 words how tides work.")
    answers = page.cell(2).locator(".victor-answers")
    press(page, 2, "Ask")
    lengths: list[int] = []
    while len([1 for one, two in pairwise(lengths) if two > one]) < 3:
        answers.filter(has_text="arriving").wait_for()
        lengths.append(len(answers.inner_text()))
    stop = page.cell(2).get_by_role("button", name="Stop", exact=True)
    # Through page, server, kernel and back; that the call itself ends at once is held in tests/test_stop.py.
    assert page.seconds(stop.click, ANSWERED) < 1.0
    page.until_shown(2, "interrupted")
    page.until_shown(3, "interrupted")


@pytest.mark.skipif(IPYKERNEL < (7, 1), reason="this kernel takes clicks only when no cell runs")
def test_when_a_cell_is_running_then_the_panel_answers_and_its_text_becomes_a_cell(book: OpenBook) -> None:
    wait = (
        "import time\nend = time.time() + 60\nwhile panel.result is None and time.time() < end:\n    time.sleep(0.05)"
    )
    made = "from victor_nb import Playground\npanel = Playground(profiles='fast')\npanel"
    page = book(LOAD, made, f"{wait}\nprint('cell')", "%victor panel code")
    page.run(0)
    page.run(1)
    page.start(2)
    ask(page, 1, "Name three rivers.", r"gpt-6-luna · \d+ -> \d+ tok")
    page.done()
    page.until_shown(2, "cell")

    choose(page, 1, "local")
    page.until_shown(1, "%%victor profile=local")
    page.run(3)
    page.cell(3).locator(".cm-content", has_text="%%victor profile=local").wait_for()
    page.run(3)
    page.until_shown(3, "qwen2.5-coder")


def test_when_a_strategy_runs_then_its_board_shows_the_stages_and_in_the_end_the_charts(book: OpenBook) -> None:
    page = book(LOAD, BOARD, "job.result();")
    page.run_all()
    page.until_shown(1, "the same calls at premium's prices")
    charts = page.cell(1).locator(f"{WIDGET} img")
    charts.first.wait_for()
    page.until("count => document.querySelectorAll('.victor.widget-box img').length === count", 3)
    assert all(image.get_attribute("alt") for image in charts.all())
    page.until("() => document.querySelectorAll('.victor-fallback img').length === 3")
    page.save()
    page.reopen()
    assert page.cell(1).locator(f"{FALLBACK} img").count() == 3


FOCUSED = """() => {
    const e = document.activeElement;
    if (!e.closest(".victor")) return "";
    const {outlineStyle, outlineWidth} = getComputedStyle(e);
    if (outlineStyle === "none" || outlineWidth === "0px") return "";
    return (e.labels?.[0]?.innerText || e.innerText || e.tagName).trim();
}"""
NAMES = "all => all.map(e => (e.labels?.[0]?.innerText || e.innerText || e.tagName).trim())"


def tab_to(page: Book, name: str) -> None:
    """Press Tab until the focus is seen on a control of this name."""
    for _ in range(60):
        page.page.keyboard.press("Tab")
        if page.page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_when_only_a_keyboard_is_at_hand_then_every_control_is_reached_seen_and_works(book: OpenBook, app: App) -> None:
    theme: Theme = "light" if app == "lab" else "dark"
    page = book(LOAD, PICK, LEDGER, PANEL, BOARD, "job.result();", theme=theme)
    page.run_all()
    page.page.locator(f"{WIDGET} img").first.wait_for()
    for cell in (1, 2, 3, 4):
        assert page.violations(cell) == []
        wanted = page.cell(cell).locator(f"{WIDGET} :is(input, textarea, select, button):enabled")
        names = set(wanted.evaluate_all(NAMES))
        assert all(names)
        wanted.first.focus()
        reached = {page.page.evaluate(FOCUSED)}
        while not names <= reached and len(reached) < 60:
            page.page.keyboard.press("Tab")
            reached.add(page.page.evaluate(FOCUSED) or f"elsewhere {len(reached)}")
        assert names <= reached, cell

    control(page, 1, "Filter").focus()
    tab_to(page, "fast")
    page.page.keyboard.press("Space")
    page.until_shown(1, "%victor set profile=fast")
    control(page, 3, "Prompt").focus()
    page.page.keyboard.type("Name three rivers.")
    tab_to(page, "local")
    page.page.keyboard.press("Space")
    tab_to(page, "Ask")
    page.page.keyboard.press("Space")
    page.until_shown(3, "2 answers")


def test_when_keys_are_pressed_in_a_widget_then_they_move_in_it_and_not_in_the_notebook(book: OpenBook) -> None:
    panel = f"{SLOW}\n{PANEL}"
    page = book(LOAD, PICK, "%%victor fast\nSay one.", "%%victor local\nSay two.", LEDGER, panel)
    page.run_all()
    assert page.cell(5).count() == 1
    keys, focused = page.page.keyboard, "e => e === document.activeElement"
    listing = page.cell(4).locator(".victor-calls select")
    page.until("e => e.options.length === 2", listing.element_handle())
    listing.focus()
    for key, profile in (("ArrowDown", "local"), ("ArrowDown", "fast"), ("ArrowUp", "local")):
        keys.press(key)
        page.until("([e, text]) => e.selectedOptions[0]?.text.includes(text)", [listing.element_handle(), profile])
    keys.press("d")
    keys.press("d")  # JupyterLab: delete the cell
    assert listing.evaluate(focused)
    page.cell(4).locator("xpath=self::*[contains(@class, 'jp-mod-active')]").wait_for()

    sort = control(page, 4, "Sort")
    before = sort.input_value()
    sort.focus()
    keys.press("ArrowDown")
    page.until("([e, value]) => e.value !== value", [sort.element_handle(), before])
    page.until_shown(4, 'LedgerView(sort="')
    assert sort.evaluate(focused)

    control(page, 1, "default").focus()
    keys.press("ArrowDown")
    assert control(page, 1, "fast").evaluate(focused)
    keys.press("Space")
    page.until_shown(1, "%victor set profile=fast")

    prompt = control(page, 5, "Prompt")
    prompt.focus()
    keys.type("Name three rivers")
    keys.press("Control+Enter")
    page.until("() => document.querySelector('.victor-ask').disabled")
    keys.press("Control+Enter")  # JupyterLab: run the cell, which would show an empty panel
    page.until_shown(5, "tok")
    assert prompt.input_value() == "Name three rivers"
    assert prompt.evaluate(focused)
    assert page.cell(6).count() == 0
    page.cell(5).locator("xpath=self::*[contains(@class, 'jp-mod-active')]").wait_for()


def test_when_an_answer_is_hostile_then_the_widgets_are_unharmed_live_saved_and_exported(
    book: OpenBook, desk: Desk
) -> None:
    with Server(Answer((*ATTACKS, *LONG)), Answer((*ATTACKS, UNCLOSED))) as server:
        profile = {"provider": "openai", "model": OPENAI.model, "base_url": OPENAI.base_url(server.url)}
        files = {"profiles.yaml": json.dumps({"default": "evil", "profiles": {"evil": profile, "worse": profile}})}
        page = book(LIVE, PANEL, LEDGER, files=files)
        page.run_all()
        choose(page, 1, "evil", "worse")
        ask(page, 1, "hello <script>window.pwned=9</script> $x$", "2 answers")
        assert "window.pwned=1" in page.text(1)
        assert_unharmed(page.page)
    until_kept(page, 1, "2 answers")
    page.save()
    page.reopen()
    assert "window.pwned=1" in page.text(1)
    assert_unharmed(page.page)
    with desk.offline(export(page.path)) as exported:
        assert "window.pwned=1" in exported.locator("body").inner_text()
        assert_unharmed(exported)


FLOOD = """
import threading, time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4
from victor_nb import session
pool, ledger = session().pool, session().ledger
pool.get_orchestrator("fast").run_sync("Name a river.")
(row,) = ledger.rows(last=1)
rate = []
def ask():
    pool.fan_out_sync(["Name a river."] * 100, ["fast"], progress=False)
def flood():
    start, done = time.monotonic(), 0
    while done < 1_000:
        time.sleep(0.02)
        due = min(1_000, int(250 * (time.monotonic() - start)))
        for _ in range(due - done):
            one = replace(row, call_id=uuid4().hex, ts=datetime.now(UTC))
            ledger.start(one)
            ledger.finish(one)
        done = due
    rate.append(done / (time.monotonic() - start))
threads = [threading.Thread(target=work) for work in (ask, flood)]
for thread in threads:
    thread.start()
"""


@pytest.mark.parametrize("app", ["lab"])  # what is counted is what the kernel sends
def test_when_200_calls_a_second_finish_then_the_page_stays_responsive_and_messages_are_few(book: OpenBook) -> None:
    page = book("%env VICTOR_SIM_SPEED=0", LOAD, PICK, LEDGER, PANEL, LEDGER, FLOOD, "print(*rate)")
    for cell in range(6):
        page.run(cell)
    page.run(6)
    page.traffic.clear()
    filtering = control(page, 2, "Filter")
    for _ in range(4):
        filtering.fill("ollama")
        page.until("cell => !cell.innerText.includes('gpt-6-luna')", page.cell(2).element_handle())
        filtering.fill("")
        page.until("cell => cell.innerText.includes('gpt-6-luna')", page.cell(2).element_handle())
    page.until_shown(3, "1,101")
    page.run(7)
    page.until_shown(7, re.compile(r"\d"))
    assert float(page.text(7)) >= 200
    assert 0 < page.traffic.busiest_second() <= 20
