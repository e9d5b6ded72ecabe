"""The first call of a kernel, while a thread still imports what it needs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from servers import OPENAI, Answer, Server
from workbench import CANARY, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The warm-up stands still in the middle of the older httpx, which is then in sys.modules and half of it.
STANDING = """
import os, signal, sys, threading, time
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

reached, opened = threading.Event(), threading.Event()

class Gate(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if reached.is_set() or not name.startswith("httpx."):
            return None
        spec = PathFinder.find_spec(name, path)
        go_on = spec.loader.exec_module

        def exec_module(module):
            reached.set()
            opened.wait(60)
            go_on(module)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Gate())
from victor_nb import Agent, session
threading.Thread(target=session().warm_up, daemon=True).start()
assert reached.wait(60), "nothing imports the older httpx any more: this test is no longer needed"
assert not hasattr(sys.modules["httpx"], "Timeout")
"""
ASKED = """
threading.Timer(0.3, opened.set).start()
print(Agent.create_sync(profile="default").run_sync("How many?").content)
"""
STOPPED = """
pressed = []

def stop():
    pressed.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.3, stop).start()
try:
    Agent.create_sync(profile="default").run_sync("How many?")
except KeyboardInterrupt:
    print("stopped", time.monotonic() - pressed[0] < 1)
opened.set()
print(Agent.create_sync(profile="default").run_sync("How many?").content)
"""

# One thread pauses before it imports the validators: between its holds of two locks that the other wants, too.
CHECKED = """
import sys, threading
reached, opened, found = threading.Event(), threading.Event(), []

def pause(event, args):
    if event == "import" and args[0] == "jsonschema.validators" and threading.current_thread() is other:
        reached.set()
        opened.wait(60)

sys.addaudithook(pause)
from victor_nb.config.request_options import schema_fault
other = threading.Thread(target=lambda: found.append(schema_fault({"type": "object"})))
other.start()
assert reached.wait(60)
threading.Timer(0.5, opened.set).start()
found.append(schema_fault({"type": "object"}))
other.join()
print(*found)
"""


LOGGED = """
import threading
from victor_nb import session
from victor_nb.errors import VictorError
from victor_nb.notebook.ask import _load
from victor_nb.notebook.extension import _warm_up
from victor_nb.providers.spec import OPENAI

threading.excepthook = lambda failed: print("a thread failed", failed.exc_value)
for work in (_warm_up, lambda: _load(OPENAI, session().settings.profile("default"))):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
try:
    session().pool.get_orchestrator("default").run_sync("How many?")
except VictorError as error:
    print(error)
"""
LATER = """
import os
from victor_nb import session
session().pool.get_orchestrator("default").run_sync("How many?")
os.environ["SSLKEYLOGFILE"] = "/no/such/folder/log"
try:
    session().pool.get_orchestrator("openai:gpt-6-luna").run_sync("How many?")
except Exception as error:
    print(error)
"""


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the profile `fast`."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with Server(Answer()) as server:
        base_url = OPENAI.base_url(server.url)
        write_profiles(tmp_path, default={"provider": "openai", "model": OPENAI.model, "base_url": base_url})
        yield server


def run(code: str) -> list[str]:
    """Run code in an interpreter of its own, which has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_when_a_call_comes_while_its_imports_are_under_way_then_it_waits_for_them(live: Server) -> None:
    assert run(STANDING + ASKED) == [Answer().text]
    assert len(live.requests) == 1


def test_when_stop_is_pressed_while_a_call_waits_for_imports_then_it_answers_at_once(live: Server) -> None:
    assert run(STANDING + STOPPED) == ["stopped True", Answer().text]
    assert len(live.requests) == 1


def test_when_two_threads_check_their_first_schemas_then_neither_finds_half_of_a_package() -> None:
    assert run(CHECKED) == ["None None"]


def test_when_tls_cannot_write_its_log_of_keys_then_one_line_says_so_and_what_to_do(
    live: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fact = "TLS cannot write its log of keys to /no/such/folder/log (No such file or directory)"
    assert run(LATER) == [f"openai:gpt-6-luna: {fact}. Correct or unset SSLKEYLOGFILE."]
    monkeypatch.setenv("SSLKEYLOGFILE", "/no/such/folder/log")
    step = "Correct or unset SSLKEYLOGFILE, and restart the kernel."
    failed = "Failed to create provider for profile 'default': "
    assert run(LOGGED) == [f"{failed}{fact}. {step}"]
    assert len(live.requests) == 1
