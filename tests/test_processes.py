"""Other processes of a kernel: forked, spawned, and workers that were there before; each answers as the kernel does.

What a process does is a script of its own, run by this Python; the servers are here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from servers import GOOGLE, OPENAI, Answer, Server, faults
from workbench import CANARY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

START = """
import json, multiprocessing, os, pickle, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
from victor_nb import *
from victor_nb import session
from worker import *

def fork(work):
    'Run work in a forked child, and return what it returns.'
    mine, theirs = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(theirs, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(mine, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return json.loads(found)

def main():
"""
WORKER = """
from victor_nb import session
from victor_nb.errors import BudgetError

def ask(prompt="x"):
    reply = session().pool.get_orchestrator("fast").run_sync(prompt)
    return [reply.mode, reply.content]

def ask_by(sent):
    by = sent.pool if hasattr(sent, "pool") else sent
    reply = (by.get_orchestrator("fast") if hasattr(by, "get_orchestrator") else by).run_sync("x")
    return [reply.mode, reply.content]

def spent_by(agent):
    made = 0
    try:
        while True:
            agent.run_sync("x", max_tokens=1000)
            made += 1
    except BudgetError:
        return made

def change(mode):
    session().set_mode(mode)
    return session().mode
"""


@pytest.fixture
def run(tmp_path: Path, server: Server, keys: str) -> Callable[..., Any]:
    """Return what runs the body of a function in a new process, in a folder with profiles on the server.

    The import of an SDK would take most of the time of a process, so only `sdk` has one.
    """
    server.play(Answer())
    assert keys == CANARY
    sdk = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(server.url), "retries": 0}
    fast = {"provider": "google", "model": "gemini-2.5-flash", "base_url": GOOGLE.base_url(server.url), "retries": 0}
    profiles = {"fast": {**fast, "prices": {"input": 0.15, "output": 0.6}}, "sdk": sdk}
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}), encoding="utf-8")
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")

    def run(body: str, **environment: str) -> Any:  # noqa: ANN401 - what the body returns
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        script = tmp_path / "script.py"
        script.write_text(
            f"{START}{lines}\nif __name__ == '__main__':\n    print(json.dumps(main()))\n", encoding="utf-8"
        )
        environment = {**os.environ, "VICTOR_SIM_SPEED": "0", "PYTHONPATH": str(tmp_path), **environment}
        ran = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=300, check=False, env=environment
        )
        assert not ran.stderr, ran.stderr
        return json.loads(ran.stdout)

    return run


def test_when_a_process_forks_then_parent_and_child_each_have_a_session_that_works(
    run: Callable[..., Any], server: Server
) -> None:
    found = run("""
kernel, answers = session().runtime.kernel, [ask()]
there = fork(lambda: [ask(), len(session().ledger.rows()), session().runtime.kernel != kernel])
return [*answers, *there, ask(), len(session().ledger.rows()), session().runtime.kernel == kernel]
""")
    answer = ["live", Answer().text]
    assert found == [answer, answer, 1, True, answer, 2, True]
    assert len(server.requests) == 3


def test_when_a_process_forks_then_what_the_parent_made_works_in_the_child(run: Callable[..., Any]) -> None:
    found = run("""
own = Session(Settings())
pool, agent, apart = session().pool, Agent.create_sync("sdk"), OrchestratorPool(Settings(), container=own)
fast, chat = pool.get_orchestrator("sdk"), agent.chat()
asking = [fast, agent, chat, apart.get_orchestrator("sdk")]
for each in asking:
    each.run_sync("x")
with pool, session().budget.limit(5):
    return fork(lambda: [
        [each.run_sync("x").content for each in asking],
        [len(session().ledger.rows()), len(own.ledger.rows())],
        pool is session().pool, pool.get_orchestrator("sdk") is fast, len(chat.history),
    ])
""")
    assert found == [[Answer().text] * 4, [3, 1], True, True, 4]


def test_when_a_simulating_process_forks_then_its_child_simulates_too_with_the_same_answers(
    run: Callable[..., Any], server: Server
) -> None:
    found = run("""
ask()
session().set_mode("simulate")
session().simulate_with(lambda question: "mine: " + question.prompt)
first = fork(lambda: [ask("a"), fork(lambda: ask("b"))])
changed = fork(lambda: [session().set_mode("live"), ask()])
with multiprocessing.get_context("fork").Pool(1) as workers:
    return [first, changed, workers.map(ask, ["c"])]
""")
    assert found == [
        [["simulate", "mine: a"], ["simulate", "mine: b"]],
        [None, ["live", Answer().text]],
        [["simulate", "mine: c"]],
    ]
    assert len(server.requests) == 2


def test_when_calls_are_under_way_at_a_fork_then_they_go_on_in_the_parent_and_are_lost_in_the_child(
    run: Callable[..., Any], server: Server
) -> None:
    server.play(faults.silence())
    found = run("""
fast = session().pool.get_orchestrator("fast")
stream = fast.stream("x")
while not session().ledger.rows():
    pass
def look():
    texts = []
    for wait in (stream.result, lambda: list(stream), lambda: stream.reply):
        try:
            wait()
        except VictorError as error:
            texts.append(type(error).__name__)
    stream.cancel()
    return texts
there = fork(look)
here = stream.done()
stream.cancel()
return [there, here, stream.reply.status]
""")
    assert found == [["ClosedError"] * 3, False, "interrupted"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_when_a_process_is_started_then_it_inherits_the_mode_and_may_change_it(
    run: Callable[..., Any], server: Server, method: str
) -> None:
    found = run(f"""
session().set_mode("simulate")
with multiprocessing.get_context("{method}").Pool(1) as workers:
    return [workers.apply(ask)[0], workers.apply(change, ["live"]), workers.apply(ask)]
""")
    assert found == ["simulate", "live", ["live", Answer().text]]
    assert len(server.requests) == 1


def test_when_a_worker_was_there_before_then_what_is_sent_to_it_brings_the_mode_along(
    run: Callable[..., Any], server: Server
) -> None:
    found = run("""
from contextlib import ExitStack
with ExitStack() as stack:
    pools = [stack.enter_context(multiprocessing.get_context("spawn").Pool(1)) for _ in range(5)]
    first = [workers.apply(ask) for workers in pools]
    session().set_mode("simulate")
    session().simulate_with(lambda question: "mine")
    fast, agent = session().pool.get_orchestrator("fast"), Agent.create_sync("fast")
    found = []
    for workers, sent in zip(pools, [session(), session().pool, fast, agent, agent.chat()]):
        there, then = workers.apply(ask_by, [sent])[0], workers.apply(ask)[0]
        changed = workers.apply(change, ["live"])
        found.append([there, then, changed, workers.apply(ask_by, [sent]), ask()])
    return [first, found]
""")
    answer = ["live", Answer().text]
    assert found == [[answer] * 5, [["simulate", "simulate", "live", answer, ["simulate", "mine"]]] * 5]
    assert len(server.requests) == 10


def test_when_a_worker_was_there_before_then_what_is_sent_to_it_spends_under_the_budget_of_the_kernel(
    run: Callable[..., Any], server: Server, tmp_path: Path
) -> None:
    found = run(
        """
with multiprocessing.get_context("spawn").Pool(1) as workers:
    workers.apply(ask)
    agent = Agent.create_sync("fast")
    session().set_budget("0.0025")
    agent.run_sync("x", max_tokens=1000)
    calls = workers.apply(spent_by, [agent]) + spent_by(agent)
    spent = sum(row.cost for row in session().ledger.rows("all"))
    return [calls, float(spent), str(spent_by(agent))]
""",
        VICTOR_LEDGER=str(tmp_path / "ledger.sqlite"),
    )
    calls, spent, further = found
    assert len(server.requests) == 2 + calls
    assert 0.0025 - 2 * 0.0007 < spent <= 0.0025 + spent / (2 + calls)  # the first call had a budget of its own
    assert further == "0"


def test_when_a_session_of_ones_own_is_sent_to_a_worker_then_one_line_says_that_it_cannot_be(
    run: Callable[..., Any],
) -> None:
    found = run("""
try:
    pickle.dumps(Session(Settings()))
except ValueError as error:
    return str(error)
""")
    assert found == (
        "A session of your own, and what belongs to it, cannot be sent to another process. Make it there, or send what "
        "session() returns."
    )


def test_when_a_script_is_started_then_it_inherits_the_mode_unless_the_environment_fixes_one(
    run: Callable[..., Any], server: Server
) -> None:
    found = run("""
import subprocess
def script(**more):
    code = "from victor_nb import Session; from worker import *; print(ask()[0], Session().mode)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **more})
    return ran.stdout.split() or ran.stderr
session().set_mode("simulate")
modes = [script(), script(VICTOR_MODE="live"), Session().mode]
session().set_mode("live")
modes.append(script())
session().set_mode("simulate")
session().close()
return [*modes, script(), session().mode]
""")
    assert found == [["simulate"] * 2, ["live"] * 2, "live", ["live"] * 2, ["live"] * 2, "live"]
    assert len(server.requests) == 3


def test_when_a_busy_process_forks_again_and_again_then_every_child_answers_and_no_row_is_lost(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    found = run(
        """
warming = threading.Thread(target=session().warm_up)
warming.start()
def look():
    return [ask()[0], len(session().ledger.rows())]
first, ending, made = fork(look), threading.Event(), []
def busy():
    while not ending.is_set():
        made.extend(session().pool.fan_out_sync("x", ["fast"], n=10).ok)
        session().ledger.total()
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as forking:
    children = list(forking.map(lambda _: fork(look), range(25)))
ending.set()
for thread in (warming, *threads):
    thread.join()
own, all_rows = session().ledger.rows(), session().ledger.rows("all")
return [first, children, len(own) == len(made), len(all_rows) - len(own), sorted({row.status for row in all_rows})]
""",
        VICTOR_MODE="simulate",
        VICTOR_LEDGER=str(tmp_path / "ledger.sqlite"),
    )
    assert found == [["simulate", 1], [["simulate", 1]] * 25, True, 26, ["ok"]]


@pytest.mark.parametrize("patience", [10, 0.1], ids=["quick", "slow"])
def test_when_another_thread_imports_at_a_fork_then_the_child_can_import_the_same(
    run: Callable[..., Any], patience: float
) -> None:
    found = run(f"""
os.mkdir("slow")
for name, text in ("__init__", "from slow.part import VALUE"), ("part", "import time; time.sleep(0.5); VALUE = 7"):
    with open(f"slow/{{name}}.py", "w") as file:
        file.write(text)
from victor_nb.fork import PATIENCE, Step
PATIENCE[Step.IMPORTS] = {patience}
importing = threading.Thread(target=lambda: __import__("slow"))
importing.start()
while "slow.part" not in sys.modules:
    pass
return fork(lambda: __import__("slow").part.VALUE)
""")
    assert found == 7


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="open files are not listed here")  # noqa: PTH110
def test_when_another_thread_opens_the_ledger_while_a_fork_waits_then_the_child_has_no_file_of_its_parent(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    found = run(
        """
os.mkdir("slow")
with open("slow/__init__.py", "w") as file:
    file.write("import time; time.sleep(2)")
def look():
    opened = [os.readlink(f"/proc/self/fd/{each}") for each in range(3, 99) if os.path.islink(f"/proc/self/fd/{each}")]
    return [[each for each in opened if "ledger" in each], ask()[0], len(session().ledger.rows())]
runtime = session().runtime
importing = threading.Thread(target=lambda: __import__("slow"))
importing.start()
while "slow" not in sys.modules:
    pass
opening = threading.Timer(0.2, lambda: session().ledger.rows())  # the fork waits for the import by then
opening.start()
there = fork(look)
opening.join()
return [there, ask()[0], len(session().ledger.rows()), len(session().ledger.rows("all"))]
""",
        VICTOR_MODE="simulate",
        VICTOR_LEDGER=str(tmp_path / "ledger.sqlite"),
    )
    assert found == [[[], "simulate", 1], "simulate", 1, 2]


def test_when_another_thread_loads_certificates_at_a_fork_then_it_waits_for_that(run: Callable[..., Any]) -> None:
    found = run("""
loading = []
def load():
    with session().runtime.wire.loading:
        loading.append("under way")
        threading.Event().wait(0.5)
        loading.append("done")
thread = threading.Thread(target=load)
thread.start()
while not loading:
    pass
return fork(lambda: loading)
""")
    assert found == ["under way", "done"]


def test_when_another_thread_waits_for_the_ledger_with_a_lock_at_a_fork_then_both_are_waited_for(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    found = run(
        """
looking = []
def look():
    with session().runtime.lock:
        looking.append("under way")
        threading.Event().wait(0.5)
        looking.append(len(session().ledger.rows()))
ask()
thread = threading.Thread(target=look)
thread.start()
while not looking:
    pass
return fork(lambda: looking)
""",
        VICTOR_LEDGER=str(tmp_path / "ledger.sqlite"),
    )
    assert found == ["under way", 1]


@pytest.mark.parametrize("name", ["ledger.sqlite", None], ids=["file", "memory"])
def test_when_a_ledger_of_ones_own_is_open_at_a_fork_then_it_works_in_both(
    run: Callable[..., Any], name: str | None
) -> None:
    found = run(f"""
from datetime import UTC, datetime
from pathlib import Path
from victor_nb.accounting.ledger import Ledger, Row
ledger = Ledger({name and f"Path({name!r})"}, kernel="own")
def write(call):
    made = Row(ts=datetime.now(UTC), call_id=call, provider="google", model="m", profile="fast", mode="live")
    ledger.finish(made)
    return sorted(row.call_id for row in ledger.rows())
here, there, again = write("before"), fork(lambda: [write("there"), fork(lambda: write("below"))]), write("after")
ledger.close()
return [here, *there, again]
""")
    if name is None:
        assert found == [["before"], ["there"], ["below"], ["after", "before"]]
    else:
        assert found == [
            ["before"],
            ["before", "there"],
            ["before", "below", "there"],
            ["after", "before", "below", "there"],
        ]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_when_a_worker_process_ends_at_once_then_its_row_is_complete(
    run: Callable[..., Any], tmp_path: Path, method: str
) -> None:
    found = run(
        f"""
workers = [multiprocessing.get_context("{method}").Process(target=ask) for _ in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
return [row.status for row in session().ledger.rows("all")]
""",
        VICTOR_LEDGER=str(tmp_path / "ledger.sqlite"),
    )
    assert found == ["ok"] * 3
