"""What all widgets share: the live view, its fallback, and what a kernel says for them."""

from __future__ import annotations

import gc
import re
import sys
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import pytest
from ipywidgets import HTML
from ipywidgets.widgets import widget as registry

from cells import Kernel, ran
from victor_nb import LedgerView, Playground, ProfilePicker, StrategyBoard, session
from victor_nb.errors import PromptError, VictorError
from victor_nb.notebook.widgets.base import VIEW, VictorWidget, descendants
from victor_nb.notebook.widgets.html import Content
from victor_nb.notebook.widgets.throttle import BURST, PER_SECOND, throttle
from widget_pages import Tags, seen, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cells import Message, Shell

pytest_plugins = ["widget_fixtures"]
FALLBACK = "victor-fallback"


class Note(VictorWidget):
    """The least that a widget can be."""

    title = "note"

    def __init__(self) -> None:
        super().__init__()
        self.page = HTML()
        self.looks = 0
        self.add_controls(self.page)

    def fallback(self) -> Content:
        return Content.line(self.page.value or "empty")


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """Start a notebook that somebody watches."""
    with Kernel(tmp_path, VICTOR_MODE="simulate", VICTOR_SIM_SPEED="0") as found:
        found.run("%load_ext victor_nb")
        yield found


def widget_messages(messages: list[Message]) -> list[Message]:
    """Return those that go to widgets or change what was displayed."""
    return [each for each in messages if each.kind in {"comm_msg", "update_display_data"}]


# --- in process ---


REFUSED: dict[str, Callable[[], object]] = {
    "a profile of nobody": lambda: Playground(profiles="nobody"),
    "a profile that is no name": lambda: Playground(profiles=cast("Any", [1])),
    "a prompt that is no text": lambda: Playground(cast("Any", 3)),
    "a strategy of nobody": lambda: Playground(strategy="nobody"),
    "a choice of nobody": lambda: ProfilePicker("nobody"),
    "an order of nobody": lambda: LedgerView(sort="nobody"),
    "a board of nothing": lambda: StrategyBoard(cast("Any", None)),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_when_arguments_are_refused_then_nothing_is_made_and_nothing_complains(
    notebook: Shell, monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    session()
    before = len(vars(registry)["_instances"])
    with pytest.raises(VictorError):
        make()
    gc.collect()
    assert len(vars(registry)["_instances"]) == before
    assert complaints == []


def test_when_nobody_can_see_a_widget_then_its_fallback_alone_is_shown(notebook: Shell) -> None:
    notebook.names["note"] = Note()
    (frame,) = notebook.run("note").frames
    assert VIEW not in frame
    assert text_of(frame["text/html"]) == "empty"
    assert frame["text/plain"] == "empty"


def test_when_a_widget_changes_in_a_terminal_then_nothing_is_written_over_the_prompt(notebook: Shell) -> None:
    note = notebook.names["note"] = Note()
    notebook.run("note")
    note.post(note.page, value="full")
    note.refresh_fallback()
    assert throttle().wait_idle()
    assert [text_of(each["data"]["text/html"]) for each in notebook._screen.outputs] == ["empty"]


def test_when_work_fails_then_one_line_says_so_and_the_session_keeps_it(notebook: Shell) -> None:
    note = Note()

    def fail() -> None:
        raise PromptError("The prompt is empty <b>. sk-0123456789abcdefghijklmnop")

    assert not note.attempt(fail)
    assert "PromptError: The prompt is empty <b>." in seen(note)
    assert "sk-0123" not in seen(note)
    assert [type(error) for error in note.session.errors] == [PromptError]
    note.show_message(None)
    assert "PromptError" not in seen(note)


def test_when_it_is_suspended_then_it_polls_no_more_until_it_is_shown_again(notebook: Shell) -> None:
    note, looked = Note(), threading.Event()
    note.poll(looked.set, every=0.001)
    assert looked.wait(10)
    note.suspend()
    assert throttle().wait_idle()
    looked.clear()
    note.resume()
    assert looked.wait(10)
    note.close()


@pytest.mark.parametrize(("make", "most"), [(ProfilePicker, 4_200), (LedgerView, 5_000), (Playground, 5_000)])
def test_when_a_fallback_is_saved_then_it_holds_no_rules_that_it_does_not_need(
    notebook: Shell, make: Callable[[], VictorWidget], most: int
) -> None:
    notebook.names["widget"] = make()
    (frame,) = notebook.run("widget").frames
    html = frame["text/html"]
    assert len(html) < most
    style = html[html.index("<style>") : html.index("</style>")]
    assert ".victor-fallback" in style
    assert not re.search(r"widget-|victor-(?!fallback)(choices|stages|answer|figure)", style)


def test_when_a_page_is_made_then_every_input_in_it_has_a_label(notebook: Shell) -> None:
    for each in descendants(ProfilePicker()):
        if hasattr(each, "description") and not isinstance(each, HTML):
            assert cast("Any", each).description


# --- in a kernel ---


def test_when_a_widget_is_shown_then_the_live_view_comes_first_and_the_fallback_after_it(kernel: Kernel) -> None:
    live, fallback = ran(kernel.messages("%victor pick")).frames
    assert "model_id" in live[VIEW]
    assert text_of(live["text/html"].replace("<!-- live -->", "")) == ""
    assert live["text/plain"] == "ProfilePicker('default')"
    assert FALLBACK in fallback["text/html"]
    assert "%victor set profile=default" in fallback["text/plain"]
    assert Tags(fallback["text/html"]).harm == []


def test_when_a_widget_is_the_value_of_a_cell_then_it_is_shown_the_same(kernel: Kernel) -> None:
    frames = ran(kernel.messages("from victor_nb import ProfilePicker\npicker = ProfilePicker()\npicker")).frames
    assert [VIEW in frame for frame in frames] == [True, False]


def test_when_a_choice_is_made_then_the_saved_fallback_says_so(kernel: Kernel) -> None:
    kernel.run("from victor_nb import ProfilePicker\npicker = ProfilePicker()\npicker")
    messages = kernel.messages(
        "from victor_nb.notebook.widgets.throttle import throttle\n"
        "picker.value = 'premium'\nassert throttle().wait_idle()"
    )
    updates = [each.content["data"] for each in messages if each.kind == "update_display_data"]
    assert "%victor set profile=premium" in updates[-1]["text/plain"]


def test_when_widgets_change_all_the_time_then_few_messages_are_sent(kernel: Kernel) -> None:
    kernel.run(
        "import time\nfrom victor_nb import Playground, ProfilePicker\n"
        "from victor_nb.notebook.widgets.throttle import throttle\nwidgets = [ProfilePicker(), Playground()]"
    )
    messages = kernel.messages(
        "assert throttle().wait_idle()\nend = time.monotonic() + 2\nnumber = 0\n"
        "while time.monotonic() < end:\n"
        "    number += 1\n"
        "    for widget in widgets:\n"
        "        widget.show_message(str(number))\n"
        "        widget.refresh_fallback()\n"
        "    time.sleep(0.001)\n"
        "print(number)"
    )
    sent = widget_messages(messages)
    assert int(ran(messages).said) > 200
    assert 0 < len(sent) <= 2.2 * PER_SECOND + BURST + 1


def run_as(kernel: Kernel, cell: str, code: str) -> None:
    """Run code as a front end does that tells which cell it is."""
    client: Any = kernel.client
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = client.session.msg("execute_request", content, metadata={"cellId": cell})
    client.shell_channel.send(message)
    reply = client.get_shell_msg(timeout=60)
    while reply["parent_header"]["msg_id"] != message["header"]["msg_id"]:
        reply = client.get_shell_msg(timeout=60)
    assert reply["content"]["status"] == "ok", reply["content"]


def test_when_a_cell_runs_again_then_what_it_showed_before_is_suspended(kernel: Kernel) -> None:
    kernel.run(
        "from victor_nb.notebook.widgets.base import VictorWidget\n"
        "from victor_nb.notebook.widgets.html import Content\n"
        "class Clock(VictorWidget):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.poll(lambda: None, every=0.1)\n"
        "    def fallback(self):\n"
        "        return Content('', '')"
    )
    run_as(kernel, "a", "first = Clock()\nfirst")
    run_as(kernel, "b", "first")
    run_as(kernel, "a", "second = Clock()\nsecond")
    assert ran(kernel.messages("print(len(first._stops), len(second._stops))")).said == "1 1\n"
    run_as(kernel, "b", "third = Clock()\nthird")
    assert ran(kernel.messages("print(len(first._stops), len(second._stops))")).said == "0 1\n"
    run_as(kernel, "b", "first")
    assert ran(kernel.messages("print(len(first._stops), len(third._stops))")).said == "1 0\n"


def test_when_a_kernel_has_subshells_then_clicks_arrive_while_a_cell_runs(kernel: Kernel) -> None:
    kernel.run("from victor_nb.notebook.widgets.base import receives_while_busy")
    listed = "'kernel subshells' in get_ipython().kernel.kernel_info.get('supported_features', ())"
    said = ran(kernel.messages(f"print({listed}, receives_while_busy())")).said.split()
    newer = tuple(map(int, version("ipykernel").split(".")[:2])) >= (7, 1)
    assert said == [str(newer)] * 2


def test_when_nobody_watches_then_no_widget_is_sent(tmp_path: Path) -> None:
    with Kernel(tmp_path, VICTOR_MODE="simulate", CI="true") as kernel:
        kernel.run("%load_ext victor_nb")
        frames = ran(kernel.messages("%victor pick")).frames
        board = "from victor_nb import Funnel, StrategyBoard\nStrategyBoard(Funnel(ideas=2, keep=1).start('a name'))"
        boards = ran(kernel.messages(board)).frames
    assert [VIEW in frame for frame in [*frames, *boards]] == [False, False]
    assert "done · 5 of 5 calls" in boards[0]["text/plain"]


def test_when_the_panel_is_to_be_a_cell_then_the_front_end_gets_its_text(kernel: Kernel) -> None:
    kernel.run("%victor panel")
    asked = kernel.client.execute("%victor panel code")
    reply = kernel.client.get_shell_msg(timeout=60)
    while reply["parent_header"]["msg_id"] != asked:
        reply = kernel.client.get_shell_msg(timeout=60)
    (payload,) = reply["content"]["payload"]
    assert payload == {"source": "set_next_input", "text": "%%victor profile=default\n", "replace": True}


def test_when_a_key_is_set_after_a_picker_was_shown_then_what_is_saved_of_it_says_so(kernel: Kernel) -> None:
    kernel.run("from victor_nb import ProfilePicker\nimport os")
    (_, before) = ran(kernel.messages("ProfilePicker('premium', sets_default=False)")).frames
    assert "not set: ANTHROPIC_API_KEY" in before["text/plain"]
    after = ran(kernel.messages("os.environ['ANTHROPIC_API_KEY'] = 'sk-canary-77'")).frames[-1]
    assert "not set" not in after["text/plain"]
    assert "canary" not in after["text/html"]
    back = ran(kernel.messages("del os.environ['ANTHROPIC_API_KEY']")).frames[-1]
    assert back["text/plain"] == before["text/plain"]


def test_when_a_widget_is_in_a_layout_then_its_fallback_is_saved_too(kernel: Kernel) -> None:
    seen_in = "from ipywidgets import HTML, HBox, interact\nfrom victor_nb import ProfilePicker\n"
    frames = ran(kernel.messages(f"{seen_in}interact(lambda name: None, name=ProfilePicker('fast'));")).frames
    assert [VIEW in frame for frame in frames] == [True, False]
    assert frames[0]["text/plain"].startswith("interactive(")
    assert "%victor set profile=fast" in frames[1]["text/plain"]
    alone = "HBox([HTML('left'), *(ProfilePicker(name, sets_default=False) for name in ('local', 'fast'))])"
    frames = ran(kernel.messages(alone)).frames
    assert [FALLBACK in frame.get("text/html", "") for frame in frames] == [False, True, True]
    (plain,) = ran(kernel.messages("HBox([HTML('nothing of ours')])")).frames
    assert VIEW in plain


def test_when_a_cell_ends_then_the_saved_ledger_says_what_has_ended_by_then(kernel: Kernel) -> None:
    kernel.run("from victor_nb import LedgerView\nLedgerView()")
    asking = "%%victor profiles=fast,local show=none\nName a bridge."
    updates = [each for each in kernel.messages(asking) if each.kind == "update_display_data"]
    saved = updates[-1].content["data"]["text/plain"]
    assert saved.count(" ok ") == 2
    assert "running" not in saved
