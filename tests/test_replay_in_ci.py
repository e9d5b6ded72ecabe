"""`pytest --victor-replay` and `victor-nb`: a notebook is red where it is not what was recorded, and nowhere else."""

from __future__ import annotations

import base64
import io
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from PIL import Image

from cells import ROOT, served, write
from servers import Answer, Server, model_list
from victor_nb.ci.outputs import RULES, compare
from victor_nb.cli import main
from victor_nb.wire.tape import tape_path
from workbench import CANARY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]

GOOD = [
    "%load_ext victor_nb",
    "%%victor fast out=one\nOne?",
    "%%victor fast out=two\nTwo?",
    "print(one.content, one.mode)",
    "%victor cost",
]


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}


def notebook(
    path: Path,
    sources: list[str],
    tags: Mapping[int, str] | None = None,
    outputs: Mapping[int, list[dict[str, Any]]] | None = None,
) -> Path:
    """Write a notebook; tags and saved outputs by the place of a cell."""
    cells = [
        {
            "cell_type": "code",
            "source": source,
            "metadata": {"tags": [tags[place]]} if tags and place in tags else {},
            "outputs": outputs.get(place, []) if outputs else [],
            "execution_count": None,
            "id": f"c{place}",
        }
        for place, source in enumerate(sources)
    ]
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """Return what is printed, as a notebook has it."""
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data: str) -> dict[str, Any]:
    """Return what is shown, as a notebook has it."""
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {f"text/{kind}": text for kind, text in data.items()},
    }


def drawn(colour: str, level: int, alt: str = "") -> dict[str, Any]:
    """Return a picture as a notebook has it."""
    Image.new("RGB", (40, 30), colour).save(file := io.BytesIO(), "png", compress_level=level)
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": alt}
    return {"output_type": "display_data", "metadata": {}, "data": data}


# --- the normaliser ---

ALIKE = {
    "streams": ([stream("one "), stream("two\n")], [stream("one two\n")]),
    "stderr": ([stream("a warning", "stderr")], []),
    "tracebacks": (
        [{"output_type": "error", "ename": "E", "evalue": "no", "traceback": ["line 1"]}],
        [{"output_type": "error", "ename": "E", "evalue": "no", "traceback": ["line 2"]}],
    ),
    "widgets": (
        [{"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}}}],
        [],
    ),
    "pictures": ([drawn("red", 1)], [drawn("red", 9)]),
    "labels": ([drawn("red", 1, "<Chart: simulated>")], [drawn("blue", 1, "<Chart: simulated>")]),
    "mode": (
        [shown(plain="fast · 3 -> 4 tok · USD 0.0001 · simulated")],
        [shown(plain="fast · 3 -> 4 tok · USD 0.0001 · replayed")],
    ),
    "seconds": ([stream("took 1.2 s, then 40 ms")], [stream("took 11.3 s, then 4 ms")]),
    "fastest": ([stream("**fast** · cheapest · fastest")], [stream("**fast** · cheapest")]),
    "dates": ([stream("on 2026-11-26 at 14:03")], [stream("on 2027-01-02 at 15:04")]),
    "addresses": ([stream("<object at 0x7f12ab34cd>")], [stream("<object at 0x7f99999999>")]),
    "ids": ([shown(html='<p id="T_0a1b2">T_0a1b2')], [shown(html='<p id="T_9f8e7">T_9f8e7')]),
    "folders": ([stream("wrote /srv/work/page.html")], [stream("wrote /tmp/page.html")]),
    "padding": ([stream("name    cost\nfast    1")], [stream("name  cost\nfast  1")]),
}


@pytest.mark.parametrize("rule", ALIKE)
def test_when_outputs_differ_by_what_a_rule_names_then_they_are_normalised_by_it(rule: str) -> None:
    before, after = ALIKE[rule]
    found = compare(before, after)
    assert (found.outcome, found.rules, found.diff) == ("normalised", (rule,), ())
    assert compare(before, before).outcome == "identical"


def test_when_rules_are_listed_then_each_has_a_reason_and_an_example() -> None:
    assert {rule.name for rule in RULES} == set(ALIKE)
    assert all(rule.why.endswith(".") for rule in RULES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (stream("USD 0.0041"), stream("USD 0.0042")),
        (stream("81 -> 140 tok"), stream("81 -> 141 tok")),
        (stream("model gpt-5-2026-01-02"), stream("model gpt-5-2026-03-04")),
        (shown(plain="yes"), shown(plain="no")),
        (stream("a.txt in /tmp/x/a.txt"), stream("a.txt in /tmp/x/b.txt")),
        (drawn("red", 1), drawn("blue", 1)),
        (shown(html="T_0a1b2 T_0a1b2"), shown(html="T_0a1b2 T_9f8e7")),
    ],
)
def test_when_what_is_said_differs_then_no_rule_hides_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = compare([before], [after])
    assert found.outcome == "different"
    assert [line[0] for line in found.diff] == ["-", "+"]


# --- the plugin ---


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + 100
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `victor-nb`, as its entry point does."""
    script = "import sys; from victor_nb.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def plugin(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run pytest in a folder, with few plugins; return how it ended, and the report by notebook."""
    plugins = [f"-p{name}" for name in ("victor_nb.pytest_plugin", "nbmake.pytest_plugin", "xdist.plugin")]
    options = ["--victor-replay", "--victor-report", "report", *arguments]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", *plugins, *options],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return ended, {each["notebook"]: each for each in report["notebooks"]}


OWN = """import socket
mine = socket.create_server(("127.0.0.1", 0))
with socket.create_connection(mine.getsockname()) as end:
    print("connected")"""
CAUGHT = """try:
    get_ipython().run_cell_magic("victor", "fast", "Never recorded?")
except Exception:
    print("caught")"""
NAMED = """import urllib.request
try:
    urllib.request.urlopen("http://models.example.com/x", timeout=5)
except OSError:
    print("offline")"""
HIDDEN = """try:
    {}
except OSError:
    pass"""
CHILDREN = """import os, subprocess, sys
if not (child := os.fork()):
    try:
        socket.create_connection(("192.0.2.4", 80), timeout=5)
    finally:
        os._exit(0)
os.waitpid(child, 0)
code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"
away = subprocess.run([sys.executable, "-c", code, "192.0.2.5", "80"], stderr=subprocess.PIPE, text=True)
assert "a replay has no network" in away.stderr
subprocess.run([sys.executable, "-c", code, *map(str, mine.getsockname())], check=True)
assert os.environ["OPENAI_API_KEY"].startswith("sk-")
print("own")"""
DOLLAR = "what [1] in $HOME costs.ipynb"
OLDER = "urllib.request.urlopen({url!r}, timeout=5)"


def test_when_notebooks_are_recorded_then_they_replay_and_are_red_just_where_they_are_not_what_was_recorded(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.play(Answer())
    write(tmp_path, served(server))
    for name, value in {"NO_PROXY": "*", "OPENAI_API_KEY": CANARY}.items():
        monkeypatch.setenv(name, value)
    good = notebook(tmp_path / DOLLAR, GOOD)
    good.chmod(0o600)
    untouched = good.read_bytes()
    refused = command(tmp_path, "record", DOLLAR, CI="true")
    assert (refused.returncode, good.read_bytes()) == (2, untouched)
    assert "VICTOR_RECORD_IN_CI" in refused.stderr

    recorded = command(tmp_path, "record", DOLLAR, CI="true", VICTOR_RECORD_IN_CI="1")
    assert recorded.returncode == 0, recorded.stderr
    assert f"{DOLLAR}: 5 cells, 2 calls recorded, paid USD 0.0" in recorded.stdout
    asked = len(server.requests)
    assert CANARY not in good.read_text() + tape_path(good).read_text()
    assert good.stat().st_mode & 0o777 == 0o600

    bad = tmp_path / "bad.ipynb"
    of_good = tape_path(good).read_text().splitlines(keepends=True)
    tape_path(bad).write_text("".join(line for line in of_good if "Two?" not in line))
    tests = {
        1: ("%%victor fast\nToo early?", "UsageError"),
        2: (GOOD[0], ""),
        3: (GOOD[1], ""),
        4: (GOOD[2], "does not hold this request"),
        5: ("%%viktor fast\nMisspelt?", "%%victor?"),
        6: (CAUGHT, "though the cell goes on"),
        7: ("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)", "192.0.2.1:80"),
        8: (NAMED, "models.example.com"),
        9: (OWN, ""),
        10: (OLDER.format(url=server.url), "127.0.0.1" if sys.platform == "linux" else ""),
        11: ("print('as saved')", "+ as saved"),
        12: ("raise ValueError('wanted')", ""),
        13: ("one.latency", ""),
        14: (HIDDEN.format("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.2', 53))"), "192.0.2.2:53"),
        15: (HIDDEN.format("socket.gethostbyaddr('192.0.2.3')"), "192.0.2.3"),
        16: ("import os; raise ValueError(os.environ['OPENAI_API_KEY'])", "ValueError: [redacted]"),
        17: (CHILDREN, ""),
        18: ("1", "the saved output holds a key"),
    }
    tags = {2: "nbval-ignore-output", 11: "raises-exception", 12: "nbval-ignore-output"}
    saved = {10: [stream("otherwise")], 8: [stream("connected\n")], 11: [{**ERROR, "evalue": "wanted"}]}
    saved |= {16: [stream("own\n")], 17: [stream(f"{CANARY}\n")]}
    notebook(bad, [source for source, _ in tests.values()], tags, saved)

    torn = notebook(tmp_path / "torn.ipynb", GOOD)
    tape_path(torn).write_text(f"{of_good[0]}<<<<<<< HEAD\n{of_good[1]}")

    ended, found = plugin(tmp_path, "-n", "2", "--nbmake")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert CANARY not in ended.stdout + (tmp_path / "report.md").read_text(encoding="utf-8")
    of_torn = [each["text"] for each in found["torn.ipynb"]["red"] if "tapes/torn.jsonl" in each["text"]]
    assert len(of_torn) == 1
    assert "line 2: it is a mark of a merge" in of_torn[0]
    assert "The same in 1 more cell." in of_torn[0]
    assert (found[DOLLAR]["red"], found[DOLLAR]["outputs"]) == ([], {"identical": 5})
    red = {each["cell"]: each["text"] for each in found["bad.ipynb"]["red"] if each["cell"] is not None}
    (forked, started) = (each["text"] for each in found["bad.ipynb"]["red"] if each["cell"] is None)
    assert ("192.0.2.4:80" in forked, "192.0.2.5:80" in started) == (True, True)
    assert [*red] == [number for number, (_, text) in tests.items() if text], red
    assert {number: red[number] for number, (_, text) in tests.items() if text not in red.get(number, "")} == {}
    assert len(server.requests) == asked
    assert "2 failed, 1 passed" in ended.stdout
    assert "would have cost" in ended.stdout
    assert [(each["calls"], each["billed"]) for each in found[DOLLAR]["models"]] == [(2, "0")]


def test_when_a_report_cannot_be_written_then_the_run_has_failed_in_a_line(tmp_path: Path) -> None:
    notebook(tmp_path / "plain.ipynb", [])
    (tape := tape_path(notebook(tmp_path / "with_a_tape.ipynb", []))).parent.mkdir()
    tape.write_text("not asked for, but long\n", encoding="utf-8")
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    (tmp_path / "report.json").write_text('{"notebooks": []}', encoding="utf-8")
    ended, _ = plugin(tmp_path, "--victor-report", "file/report", "-n", "1", "-v")
    assert (ended.returncode, "2 passed" in ended.stdout) == (1, True), ended.stdout
    ran = re.findall(r"PASSED (\w+)\.ipynb", ended.stdout)
    assert ran == ["with_a_tape", "plain"]  # where there are workers, the longest tape is the first
    assert len([line for line in ended.stdout.splitlines() if "The report cannot be written" in line]) == 1


def test_when_an_output_shows_a_key_then_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, from .env, and what only looks like one: the notebook stays as it is."""
    (tmp_path / ".env").write_text("HOUSE_KEY=another-0123456789\n", encoding="utf-8")
    shows = [
        "import os, pathlib",
        "os.environ['OPENAI_API_KEY']",
        "pathlib.Path('.env').read_text()",
        "'sk-' + 'a1' * 12",
    ]
    path = notebook(tmp_path / "shows.ipynb", [*shows, "print('sk-your-key-here')"])
    before = path.read_bytes()
    recorded = command(tmp_path, "record", "shows.ipynb", OPENAI_API_KEY=CANARY, CI="")
    assert (recorded.returncode, path.read_bytes()) == (1, before)
    *red, last = recorded.stderr.splitlines()
    assert "In [2]: its output holds a key" in red[0], red
    assert red[1:] == ["The same in 2 more cells."]
    assert "is as it was" in last


# --- the command ---


def test_when_a_workflow_is_copied_then_its_steps_run(tmp_path: Path) -> None:
    """README's and the project's: pinned majors, no secrets, and lines that a shell runs."""
    (tmp_path / "notebooks").mkdir()
    notebook(tmp_path / "notebooks" / "plain.ipynb", ["print(1)"], outputs={0: [stream("1\n")]})
    (shim := tmp_path / "bin").mkdir()
    (shim / "victor-nb").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m victor_nb.cli "$@"\n', encoding="utf-8")
    (shim / "victor-nb").chmod(0o700)
    readme = re.findall(
        r"^```yaml\n(name: .*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    kept = (ROOT / ".github" / "workflows" / "notebooks.yml").read_text(encoding="utf-8")
    lines: dict[str, None] = {}
    for text in (*readme, kept):
        assert "secrets." not in text
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"}
        (job,) = workflow["jobs"].values()
        assert job["timeout-minutes"]
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert used
        assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", each) for each in used)
        lines.update(dict.fromkeys(step["run"] for step in job["steps"] if "run" in step))
    assert len(readme) == 1
    script = "\n".join(line for line in lines if not line.startswith("pip "))
    summary = tmp_path / "summary.md"
    ended = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{shim}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "| notebooks/plain.ipynb | green | 1 | 0 |" in summary.read_text(encoding="utf-8")


def ended(*arguments: str) -> int:
    """Return how the command ends in this process."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_when_the_command_is_used_wrongly_then_it_says_so_in_a_line_or_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.ipynb").write_text("{", encoding="utf-8")
    wrong = [(), ("chekc",), ("check",), ("check", "none.ipynb"), ("check", "empty"), ("doctor", "nosuch")]
    for arguments in (*wrong, ("report", "--since", "never")):
        assert ended(*arguments) == 2, arguments
        said = capsys.readouterr()
        assert 1 <= len(said.err.splitlines()) <= 3, said.err
        assert said.out == ""
    assert ended("check", "broken.ipynb") == 1
    assert "cannot be read" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert ended("check", "broken.ipynb") == 2
    assert "pip install nbmake" in capsys.readouterr().err


def test_when_no_notebook_is_at_hand_then_the_command_shows_what_a_cell_would(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = served(server)["fast"]
    write(tmp_path, {"fast": {**profile, "api_key_env": "HOUSE_KEY"}})
    server.answer = lambda _: model_list(profile["model"])
    monkeypatch.setenv("NO_PROXY", "*")
    assert ended("doctor") == 1
    assert "HOUSE_KEY" in capsys.readouterr().out
    ready = command(tmp_path, "doctor", HOUSE_KEY=CANARY)
    assert (ready.returncode, "1 of 1 ready" in ready.stdout) == (0, True), ready.stdout
    page = command(tmp_path, "report", "--since", "7d", "--out", "page.html")
    assert (page.returncode, (tmp_path / "page.html").exists()) == (0, True), page.stderr
    (tmp_path / "profiles.yaml").unlink()
    demo = command(tmp_path, "demo", OPENAI_API_KEY="")
    assert demo.returncode == 0, demo.stderr
    assert re.search(r"^premium +claude\S+ .* USD 0\.\d+ +USD \d+\.\d\d$", demo.stdout, re.MULTILINE)
    assert CANARY not in ready.stdout + demo.stdout


SLOW = """import os, pathlib, time
pathlib.Path("kernel").write_text(str(os.getpid()))
time.sleep(600)"""


def test_when_ctrl_c_is_pressed_then_a_check_ends_with_its_kernel(tmp_path: Path) -> None:
    notebook(tmp_path / "slow.ipynb", [SLOW])
    with subprocess.Popen(
        [sys.executable, "-m", "victor_nb.cli", "check", "slow.ipynb"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as check:
        until(lambda: (tmp_path / "kernel").is_file() and (tmp_path / "kernel").read_text() != "", "the kernel runs")
        kernel = int((tmp_path / "kernel").read_text())
        check.send_signal(signal.SIGINT)
        assert check.communicate(timeout=120)[1] == "Stopped.\n"
    assert check.returncode == 130
    until(lambda: not psutil.pid_exists(kernel), "the kernel has ended")


def test_when_the_package_is_installed_then_pytest_finds_the_plugin_and_a_shell_the_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pkgutil.resolve_name(project["scripts"]["victor-nb"]) is main
    assert pkgutil.resolve_name(project["entry-points"]["pytest11"]["victor_nb"]).pytest_addoption


def test_when_the_package_is_imported_then_neither_pytest_nor_what_runs_notebooks_is(tmp_path: Path) -> None:
    code = "import sys, victor_nb.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pytest", "nbclient", "nbformat", "jupyter_client", "httpx2", "pydantic", "IPython"} & set(loaded)
