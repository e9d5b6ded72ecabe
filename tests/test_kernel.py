"""`%%victor` in a real kernel: quick to load, at once to stop, sparing with messages, silent about keys."""

from __future__ import annotations

import json
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
        "import sys, time\nuntil = time.monotonic() + 30\n"
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
        text = client.inspect("%%victor", 8, reply=True, timeout=20)["content"]["data"][PLAIN]
        assert text.index("x = %victor ask") < text.index("%%victor fast out=reply") < text.index("profile=fast  ")
        asked = client.execute("%%victor?", reply=True, timeout=20)["content"]["payload"][0]["data"][PLAIN]
        assert asked.index("%%victor fast out=reply") < asked.index("profile=fast  ")
        assert "%victor doctor" not in asked
        offered = client.complete("%%victor prof", 13, reply=True, timeout=20)["content"]["matches"]
        assert offered == ["profile=", "profiles="]


@pytest.mark.parametrize("how", ["hangs", "hangs midway", "streams"])
def test_when_stop_is_pressed_then_the_kernel_is_idle_at_once_and_the_text_is_kept(
    kernel: tuple[Kernel, Server], how: str
) -> None:
    notebook, server = kernel
    load(notebook)
    long = Answer(pieces=("word ",) * 2000, delay=0.01)
    acts = {"hangs": faults.silence(), "hangs midway": faults.cut(Answer(), 2, "silence"), "streams": long}
    number = len(server.requests)
    server.play(acts[how])
    pressed: list[float] = []

    def stop(heard: list[Message]) -> None:
        arrived = any(message.kind == "display_data" for message in heard) or how == "hangs"
        if not pressed and len(server.requests) > number and arrived:
            pressed.append(time.monotonic())
            notebook.interrupt()

    stopped = ran(notebook.messages("%%victor out=never\nCount.", meanwhile=stop))
    assert time.monotonic() - pressed[0] < 0.3
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


def test_when_a_kernel_has_said_all_this_then_no_key_is_in_it(kernel: tuple[Kernel, Server]) -> None:
    notebook, server = kernel
    load(notebook)
    server.play(faults.echo_key(), model_list(), model_list())
    said = repr(notebook.messages("%%victor\nHi."))
    for command in ("", " profiles", " ledger", " errors", " doctor"):
        said += repr(notebook.messages(f"%victor{command}"))
    assert "AuthenticationError" in said
    assert CANARY not in said
