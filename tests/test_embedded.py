"""A model in a file: llama.cpp's server as a child of this process, from the first call to the last client's end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest

from cells import Kernel, Shell, write
from servers.llama import MISSING, SAID, WORDS, prompt_tokens, write_model
from victor_nb import session
from victor_nb.errors import ConnectError, ProviderOpenError
from victor_nb.providers import llama_server
from workbench import Way, ask, fail, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from victor_nb.calls.orchestrator import AgentOrchestrator

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
SLOW = """
import time
class Any:
    def __getattr__(self, name):
        made = Any()
        setattr(self, name, made)
        return made
CommonParams = Any
def Server(params):
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the model once for all tests of this file."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_model(path)
    return path


@pytest.fixture
def model(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have it beside a profiles.yaml that names it in two profiles, and trust it."""
    monkeypatch.setenv("VICTOR_TRUST", "tiny.gguf")
    path = tmp_path / "tiny.gguf"
    os.link(made, path)
    local = {"provider": "embedded", "model": "./tiny.gguf"}
    write(tmp_path, {"fast": local, "other": {**local, "system": "Be other.", "max_tokens": 5}})
    return path


def served(of: int | None = None) -> list[psutil.Process]:
    """Return the servers that a process has started."""
    return [child for child in psutil.Process(of).children() if any("llama_server" in part for part in line(child))]


def line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def fast() -> AgentOrchestrator:
    return session().pool.get_orchestrator("fast")


# --- asking ---


async def test_when_a_file_is_asked_then_its_tokens_are_counted_and_free(model: Path, way: Way) -> None:
    assert served() == []
    reply = await ask(fast(), "Hé?", way)
    assert (reply.content, reply.finish_reason, reply.cost) == (SAID, "stop", 0)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (prompt_tokens("Hé?"), len(WORDS) + 1)
    [row] = rows()
    assert (row["provider"], row["model"], row["usage_source"]) == ("embedded", "./tiny.gguf", "reported")
    assert (row["cost"], row["billed"], row["cost_source"]) == (0, 0, "local")


def test_when_another_file_lies_under_the_same_name_then_stored_answers_are_not_its(model: Path) -> None:
    asked = [fast().run_sync("Hi", cache="on").attempts for _ in range(2)]
    model.unlink()
    write_model(model)
    os.utime(model, (1, 1))
    assert [*asked, fast().run_sync("Hi", cache="on").attempts] == [1, 0, 1]


async def test_when_a_budget_and_a_schema_are_set_then_they_hold(model: Path, way: Way) -> None:
    with session().budget.limit("0.0001"):
        data: Any = (await ask(fast(), "Hi", way, schema=SCHEMA, max_tokens=400)).data
    assert data["colour"] in {"red", "green"}


def test_when_many_ask_one_file_then_it_is_served_once_until_the_last_client_is_closed(model: Path) -> None:
    replies = session().pool.fan_out_sync("Hi", ["fast", "other"], n=6)
    assert {reply.content for reply in replies.ok} == {SAID, "".join(WORDS[:5])}
    assert len(replies.ok) == 12
    [child] = served()
    session().pool.clear_cache("other")
    (model.parent / ".env").write_text("OPENAI_API_KEY=sk-another-one\n", encoding="utf-8")
    assert fast().run_sync("Hi").content == SAID
    assert served() == [child]
    session().pool.shutdown()
    assert gone(child)
    assert not llama_server._servers


def test_when_another_user_of_the_machine_asks_then_the_server_wants_a_key(model: Path) -> None:
    fast().run_sync("Hi")
    [server] = llama_server._servers.values()
    url = f"{asyncio.run(server.url())}/v1/chat/completions"
    question = {"messages": [{"role": "user", "content": "Hi"}]}
    with httpx2.Client(trust_env=False) as client:
        assert client.post(url, json=question).status_code == 401
        assert client.post(url, json=question, headers={"authorization": f"Bearer {server.key}"}).status_code == 200
    [child] = served()
    assert not any(server.key in part for part in (*child.cmdline(), *child.environ().values()))


def test_when_a_proxy_is_set_then_the_server_is_asked_directly(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert fast().run_sync("Hi").content == SAID


def test_when_the_server_was_killed_then_the_next_call_starts_it_anew(model: Path) -> None:
    fast().run_sync("Hi")
    [child] = served()
    child.kill()
    wait(lambda: gone(child))
    assert fast().run_sync("Hi").content == SAID
    [another] = served()
    assert another.pid != child.pid


def test_when_simulated_then_nothing_is_started_and_no_file_is_needed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    model.unlink()
    reply = fast().run_sync("Name a river.")
    assert (reply.mode, reply.cost) == ("simulate", 0)
    assert served() == []


# --- what cannot be served ---


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("./none.gguf", "there is no file .*none.gguf. Correct model in the profile"),
        ("llama3", "embedded has no model 'llama3'. Write model: smollm2-135m, or the path of a GGUF file"),
        ("smollm2-135m", r"smollm2-135m is not here yet. %victor local yes fetches it, 93 MB, once"),
        ("~/text.gguf", "text.gguf is no GGUF file: it does not begin with GGUF. Download it again"),
    ],
)
def test_when_there_is_no_model_then_one_line_says_so(named: str, words: str, tmp_path: Path) -> None:
    home = os.environ["HOME"]
    with open(f"{home}/text.gguf", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("no model")
    write(tmp_path, {"fast": {"provider": "embedded", "model": named}})
    with pytest.raises(ProviderOpenError, match=words) as caught:
        fast()
    assert "\n" not in str(caught.value)
    assert served() == []
    shown = Shell().run("%victor doctor fast").plain
    assert str(caught.value).rpartition("profile 'fast': ")[2].rstrip(".").split(". ")[0] in " ".join(shown.split())


def test_when_a_file_of_the_project_names_a_model_then_it_is_started_once_the_user_trusts_what_is_in_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VICTOR_TRUST")
    (model.parent / ".env").write_text("VICTOR_TRUST=tiny.gguf\n", encoding="utf-8")
    said = "model ./tiny.gguf is named by profiles.yaml and not trusted: %victor trust ./tiny.gguf"
    with pytest.raises(ProviderOpenError, match=said) as caught:
        fast()
    assert "\n" not in str(caught.value)
    shell = Shell()
    assert said in " ".join(shell.run("%victor doctor fast").plain.split())
    assert shell.complete("%victor trust ") == {"./tiny.gguf", "forget"}
    assert served() == []
    assert session().pool.get_orchestrator("embedded:./tiny.gguf").run_sync("Hi").content == SAID  # a cell's word
    assert "tiny.gguf (SHA-256 " in shell.run("%victor trust ./tiny.gguf").plain
    assert str(model) in shell.run("%victor trust").plain
    client = fast()
    assert client.run_sync("Hi").content == SAID
    model.rename(model.with_name("moved.gguf"))
    model.write_bytes(model.with_name("moved.gguf").read_bytes())
    assert client.run_sync("Hi").content == SAID  # the same bytes
    with model.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with pytest.raises(ProviderOpenError, match=said):
        client.run_sync("Hi")
    assert "is not trusted" in shell.run("%victor trust forget ./tiny.gguf").plain
    assert "is named by" in str(shell.fail("%%victor fast\nHi"))
    assert "are trusted" in shell.run("%victor trust .").plain
    assert shell.run("%%victor fast\nHi").error is None


def test_when_a_file_is_cut_short_then_the_error_names_it_and_is_not_retried(model: Path, way: Way) -> None:
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data[: len(data) // 2])
    error = asyncio.run(fail(ask(fast(), "Hi", way)))
    assert isinstance(error, ConnectError)
    assert "tiny.gguf does not start: llama.cpp cannot load it: it is cut short" in str(error)
    [row] = rows()
    assert (row["status"], row["attempt"]) == ("error", 1)
    assert served() == []
    model.write_bytes(data)
    assert asyncio.run(ask(fast(), "Hi", way)).content == SAID


def test_when_an_address_is_given_then_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"fast": {"provider": "embedded", "model": "x.gguf", "base_url": "http://127.0.0.1:1/v1"}})
    with pytest.raises(ProviderOpenError, match=r"embedded starts its own server\. Leave base_url out"):
        fast()


# --- its end ---


async def test_when_stop_is_pressed_during_the_start_then_the_start_is_given_up(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "xllamacpp.py").write_text(SLOW, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "slow"))
    stream = fast().stream("Hi")
    await asyncio.to_thread(wait, served)
    [child] = served()
    stream.cancel()
    assert stream.wait(10)
    assert gone(child)
    assert [row["status"] for row in rows()] == ["interrupted"]
    monkeypatch.delenv("PYTHONPATH")
    assert (await fast().run("Hi")).content == SAID


FORK = """
import json, os, sys, warnings
warnings.simplefilter("ignore")  # of a fork while there are threads
from victor_nb import session
ask = lambda: session().pool.get_orchestrator("fast").run_sync("Hi").content
def main():
    assert ask()
    mine, theirs = os.pipe()
    if not (child := os.fork()):
        from victor_nb.providers import llama_server
        os.write(theirs, json.dumps([len(llama_server._servers), ask(), len(llama_server._servers)]).encode())
        session().close()
        os._exit(0)
    os.close(theirs)
    there = json.loads(open(mine, "rb").read())
    os.waitpid(child, 0)
    print(json.dumps([there, ask()]))
main()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_when_a_process_forks_then_parent_and_child_each_have_a_server(model: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == f'[[0, "{SAID}", 1], "{SAID}"]'


def test_when_a_kernel_is_killed_or_shut_down_then_its_server_goes_too(model: Path, tmp_path: Path) -> None:
    with Kernel(tmp_path) as kernel:
        kernel.run("%load_ext victor_nb")
        assert SAID.strip() in kernel.run("%%victor\nHi").plain
        pid = int(kernel.run("import os; print(os.getpid())").said)
        [child] = served(pid)
        kernel.interrupt()  # goes to the whole group of the kernel
        assert SAID.strip() in kernel.run("%%victor\nHi").plain
        assert served(pid) == [child]
        os.kill(pid, signal.SIGKILL)
        wait(lambda: gone(child), 5)


def test_when_a_program_ends_then_its_server_does(model: Path) -> None:
    code = """
import psutil
from victor_nb import session
print(session().pool.get_orchestrator("fast").run_sync("Hi"))
print(*(child.pid for child in psutil.Process().children()))
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    said, child = ran.stdout.strip().splitlines()
    assert said == SAID.strip()
    assert not psutil.pid_exists(int(child))
