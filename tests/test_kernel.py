"""`%%victor` in a real kernel: quick to load, at once to stop, sparing with messages, silent about keys."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from cells import PLAIN, Kernel, Message, ran, served, write
from servers import Answer, Server, faults, model_list
from workbench import CANARY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Server]]:
    """Start one kernel for all of them, whose profile `fast` is a server of ours."""
    folder = tmp_path_factory.mktemp("notebook")
    home = {name: str(folder) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME")}
    quiet = {"CI": "", "VICTOR_MODE": "", "NO_PROXY": "*", "OPENAI_API_KEY": CANARY, **home}
    with Server() as server:
        write(folder, served(server))
        with Kernel(folder, **quiet) as running:
            yield running, server


def load(kernel: Kernel) -> None:
    """Load the extension, and wait until what it imports in the background is there."""
    kernel.run("%load_ext victor_nb")
    kernel.run(
        "import sys, time\nuntil = time.monotonic() + 60\n"
        "while 'openai' not in sys.modules and time.monotonic() < until: time.sleep(0.05)"
    )
    kernel.run("%victor status")


LOADING = """
import resource, sys, time, threading, psutil
before = time.process_time(), set(sys.modules), len(psutil.Process().net_connections())
get_ipython().run_line_magic('load_ext', 'victor_nb')
cpu = time.process_time() - before[0]
sockets = len(psutil.Process().net_connections()) - before[2]
heavy = {'anthropic', 'openai', 'pandas', 'pydantic', 'yaml', 'httpx2'} & (set(sys.modules) - before[1])
print(cpu < 0.15, sockets, sorted(heavy))
"""


def test_when_the_extension_is_loaded_then_it_is_quick_and_quiet(tmp_path: Path) -> None:
    with Kernel(tmp_path, VICTOR_MODE="simulate", VICTOR_SIM_SPEED="0") as fresh:
        loaded = fresh.run(LOADING)
        assert loaded.said == "True 0 []\n"
        assert loaded.frames == []
        assert loaded.error is None
        load(fresh)
        answer = fresh.run("%%victor\nSay hello.")
        assert answer.plain.endswith("simulated")
        client = cast("Any", fresh.client)
        text = client.inspect("%%victor", 8, reply=True, timeout=60)["content"]["data"][PLAIN]
        assert text.index("x = %victor ask") < text.index("%%victor fast out=reply") < text.index("profile=fast  ")
        asked = client.execute("%%victor?", reply=True, timeout=60)["content"]["payload"][0]["data"][PLAIN]
        assert asked.index("%%victor fast out=reply") < asked.index("profile=fast  ")
        assert "%victor doctor" not in asked
        offered = client.complete("%%victor prof", 13, reply=True, timeout=60)["content"]["matches"]
        assert offered == ["profile=", "profiles="]


@pytest.mark.parametrize("how", ["hangs", "hangs midway", "streams"])
def test_when_stop_is_pressed_then_the_kernel_is_idle_at_once_and_the_text_is_kept(
    kernel: tuple[Kernel, Server], how: str
) -> None:
    notebook, server = kernel
    load(notebook)
    long = Answer(pieces=("word ",) * 2000, delay=0.01)
    acts = {"hangs": faults.silence(), "hangs midway": faults.cut(Answer(), 2, "silence"), "streams": long}
    server.play(acts[how])
    first = long.pieces[0].strip() if how == "streams" else Answer().pieces[0].strip()
    pressed: list[float] = []

    def stop(heard: list[Message]) -> None:
        data = [str(message.content.get("data")) for message in heard if message.kind.endswith("display_data")]
        arrived = any(first in each for each in data) or how == "hangs"  # and not the line only that says who is asked
        if not pressed and len(server.requests) > number and arrived:
            pressed.append(time.monotonic())
            notebook.interrupt()

    for _ in range(5):  # another try: the machine may do something else as well
        number = len(server.requests)
        pressed.clear()
        stopped = ran(notebook.messages("%%victor out=never\nCount.", meanwhile=stop))
        if (taken := time.monotonic() - pressed[0]) < 0.3:
            break
    assert taken < 0.3
    assert len(stopped.error) <= 3
    assert stopped.error[0].startswith("VictorInterrupted: stopped fast; ")
    server.wait(lambda: server.requests[number].hung_up)
    kept = notebook.run(
        "from victor_nb import session\nlast = session().last\n"
        "print(last.status, bool(last.content), session().ledger.rows()[-1].status, 'never' in globals())"
    )
    assert kept.said.split() == ["interrupted", str(how != "hangs"), "interrupted", "False"]
    if how != "hangs":
        assert "· interrupted" in stopped.plain


def test_when_a_long_answer_streams_into_a_kernel_then_it_grows_all_the_time(kernel: tuple[Kernel, Server]) -> None:
    notebook, server = kernel
    load(notebook)
    answer = Answer(pieces=tuple(f"w{number:04} " for number in range(1500)), delay=0.002)
    server.play(answer)
    messages = notebook.messages("%%victor\nCount.")
    frames = [message for message in messages if message.kind in {"display_data", "update_display_data"}]
    assert [message for message in messages if message.kind == "error"] == []
    for first in frames:
        second = [frame for frame in frames if first.at <= frame.at < first.at + 1]
        assert len(second) <= 9  # one more than were sent: they are counted where they arrive
        assert sum(len(json.dumps(frame.content)) for frame in second) < 200_000
    assert len(frames) > 3 * frames[-1].at
    assert len({frame.content["transient"]["display_id"] for frame in frames}) == 1
    assert frames[-1].content["data"][PLAIN].startswith(answer.text.rstrip())


WIDGET = """
import ipywidgets
from IPython.display import display
out = ipywidgets.Output()
button = ipywidgets.Button()
def ask(*_):
    with out:
        get_ipython().run_cell_magic("victor", "fast", "Count.")
button.on_click(ask)
print(button.comm.comm_id)
"""
ELSEWHERE = ["console", "capture", "Output", "click", "interact"]


@pytest.mark.parametrize("front", ELSEWHERE)
def test_when_a_front_end_takes_no_updates_then_the_whole_answer_comes_once(
    kernel: tuple[Kernel, Server], front: str
) -> None:
    notebook, server = kernel
    load(notebook)
    answer = Answer(pieces=tuple(f"w{number} " for number in range(20)), delay=0.03)
    server.play(answer)
    if front == "console":
        messages = notebook.messages("%%victor fast\nCount.", console=True)
    elif front == "capture":
        messages = notebook.messages("%%capture got\n%%victor fast\nCount.")
        messages += notebook.messages("got.show()")
    else:
        button = notebook.run(WIDGET).said.strip()
        line = {"Output": "ask()", "interact": "ipywidgets.interact(lambda x: ask(), x=1);", "click": "1"}[front]
        messages = notebook.messages(line) if front != "click" else notebook.click(button)
    frames = [message for message in messages if message.kind in {"display_data", "update_display_data"}]
    (answered,) = [message for message in frames if "fast · " in message.content["data"].get(PLAIN, "")]
    assert answered.kind == "display_data"
    assert answered.content["data"][PLAIN].startswith(answer.text)
    theirs = {"clear_output"} if front == "interact" else set[str]()  # interact empties its own widget
    assert not {message.kind for message in messages} & ({"update_display_data", "clear_output", "error"} - theirs)


@pytest.mark.parametrize("word", ["on", "text", "off"])
def test_when_the_user_says_how_an_answer_grows_then_it_does(kernel: tuple[Kernel, Server], word: str) -> None:
    notebook, server = kernel
    load(notebook)
    answer = Answer(pieces=tuple(f"w{number} " for number in range(20)), delay=0.03)
    server.play(answer)
    notebook.run(f"%env VICTOR_PROGRESS={word}")
    messages = notebook.messages("%%victor fast\nCount.", console=word != "off")
    notebook.run("%env VICTOR_PROGRESS=")
    kinds = [message.kind for message in messages if message.kind in {"display_data", "update_display_data", "stream"}]
    if word == "on":
        assert set(kinds[1:]) == {"update_display_data"}
    elif word == "off":
        assert kinds == ["display_data"]
    else:
        assert len(kinds) > 2
        assert set(kinds) == {"stream"}
        assert re.fullmatch(re.escape(answer.text) + r"\n\nfast · .* s\n", ran(messages).said)


def test_when_nothing_comes_then_no_word_of_waiting_is_left(kernel: tuple[Kernel, Server]) -> None:
    notebook, server = kernel
    load(notebook)
    server.play(faults.silence())
    failed = notebook.run("%%victor fast timeout=0.5 retries=0\nCount.")
    assert "RequestTimeoutError" in failed.error[0]
    assert "asking · 0 s" in failed.frames[0]["text/markdown"]
    assert failed.frames[-1] == {PLAIN: ""}
    assert notebook.run("%%victor fast show=none timeout=0.5 retries=0\nCount.").frames == []


def test_when_the_first_cell_asks_at_once_then_it_says_that_it_loads(tmp_path: Path) -> None:
    with Server(Answer(delay=0.3)) as server:
        write(tmp_path, served(server))
        with Kernel(tmp_path, CI="", VICTOR_MODE="", NO_PROXY="*", OPENAI_API_KEY=CANARY) as fresh:
            fresh.run("%load_ext victor_nb")
            first = fresh.messages("%%victor fast\nCount.")
            frames = [message for message in first if message.kind in {"display_data", "update_display_data"}]
            said = [message.content["data"].get("text/markdown", "") for message in frames]
            assert "loading victor_nb · 0 s" in said[0]
            assert any("fast · loading openai · " in each for each in said)
            assert [message.kind for message in frames].count("display_data") == 1
            assert len({message.content["transient"]["display_id"] for message in frames}) == 1
            assert said[-1].startswith(Answer().text)
            fresh.run("%reload_ext victor_nb")
            assert [*fresh.run("%%victor fast nothing=1\nHi.").frames, {PLAIN: ""}][-1] == {PLAIN: ""}


def test_when_a_kernel_has_said_all_this_then_no_key_is_in_it(kernel: tuple[Kernel, Server]) -> None:
    notebook, server = kernel
    load(notebook)
    server.play(faults.echo_key(), model_list(), model_list())
    said = repr(notebook.messages("%%victor\nHi."))
    for command in ("", " profiles", " ledger", " errors", " doctor"):
        said += repr(notebook.messages(f"%victor{command}"))
    assert "AuthenticationError" in said
    assert CANARY not in said
