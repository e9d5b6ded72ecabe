"""Cells as people meet them: in JupyterLab and in Notebook 7, in a real browser."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from browser.hostile import ATTACKS, LONG, UNCLOSED, assert_unharmed, export
from servers import OPENAI, Answer, Server

if TYPE_CHECKING:
    from browser.book import Book, OpenBook
    from browser.desk import Desk

LOAD = "%load_ext victor_nb"
USUAL, SLOW = "%env VICTOR_SIM_SPEED=1", "%env VICTOR_SIM_SPEED=3"
LIVE = f"%env VICTOR_MODE=live\n%env {OPENAI.key_variable}=a-pretended-key-of-nobody\n{LOAD}"
ESSAY = "%%victor fast\nExplain in 300 words how tides work."
FAN_OUT = "%%victor profiles=fast,local\nWrite a haiku about rivers."
BILL = re.compile(r"gpt-6-luna · \d+ -> \d+ tok( \(\d+ reasoning\))? · USD 0\.\d+ · \d+\.\d s · simulated")


def test_when_cells_are_run_then_text_arrives_in_pieces_and_the_bill_is_there(book: OpenBook) -> None:
    page = book(LOAD, USUAL, ESSAY, FAN_OUT)
    page.watch(2)
    page.run_all()
    lengths = [len(text) for text in page.seen()]
    assert sum(later > earlier for earlier, later in pairwise(lengths)) >= 3
    page.until_shown(2, BILL)
    page.until_shown(3, re.compile(r"qwen2\.5-coder.*2 answers", re.DOTALL))
    assert page.traffic.busiest_second() <= 20
    assert page.violations(2) == page.violations(3) == []


def test_when_stop_is_pressed_while_text_arrives_then_it_stops_at_once(book: OpenBook) -> None:
    page = book(LOAD, SLOW, ESSAY, "'not reached'")
    page.start_all()
    page.until_shown(2, "Tides")
    assert page.seconds(page.interrupt) < 0.5
    page.until_shown(2, "VictorInterrupted")
    *_, answer, error = page.outputs(2).all()
    assert answer.inner_text().startswith("Simulated placeholder")
    assert re.fullmatch(r"VictorInterrupted: [^\n]{1,120}", error.inner_text().strip())
    assert page.text(3) == ""
    page.run(3)
    page.until_shown(3, "'not reached'")


def test_when_an_answer_is_hostile_then_it_is_inert_wherever_it_is_shown(book: OpenBook, desk: Desk) -> None:
    with Server(Answer((*ATTACKS, *LONG)), Answer((*ATTACKS, UNCLOSED))) as server:
        profile = {"provider": "openai", "model": OPENAI.model, "base_url": OPENAI.base_url(server.url)}
        files = {"profiles.yaml": json.dumps({"profiles": {"evil": profile, "worse": profile}})}
        page = book(LIVE, "%%victor evil\nhello", "%%victor profiles=evil,worse\nhello", files=files)
        page.run_all()
    assert_drawn(page)
    page.save()
    page.reload()
    assert_drawn(page)
    with desk.offline(export(page.path)) as exported:
        assert "window.pwned=1" in exported.locator("body").inner_text()
        assert_unharmed(exported)


def assert_drawn(page: Book) -> None:
    page.until_shown(1, re.compile(r"window\.pwned=1.*The display ends here", re.DOTALL))
    page.until_shown(2, re.compile(r"window\.pwned=14.*2 answers", re.DOTALL))
    assert_unharmed(page.page)
