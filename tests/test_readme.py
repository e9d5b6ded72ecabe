"""The README is true today: every block of it runs."""

from __future__ import annotations

import asyncio
import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from victor_nb import session
from victor_nb.config.settings import Settings
from victor_nb.notebook.commands import known
from victor_nb.notebook.options import KEYS, LINE_HELP, describe_keys
from victor_nb.providers.weights import CALLED, INSTALL, SHIPPED
from victor_nb.workflows.strategies import find_strategy

PASTE = "paste: python -c 'from victor_nb.notebook.options import describe_keys; print(describe_keys())'"
ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def test_when_the_readme_is_read_then_every_block_has_a_test() -> None:
    assert [name for name, _ in BLOCKS] == [
        "sh",
        "",
        "",
        "yaml",
        "text",
        "",
        "python",
        "python",
        "python",
        "yaml",
        "yaml",
        "python",
    ]


def test_when_the_example_of_a_profile_is_copied_then_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    settings = Settings()
    assert list(settings.profiles) == ["fast", "local", "house"]
    assert settings.profile("house").prices is not None
    assert repr(find_strategy("polish", settings)) == "Strategy('polish': draft (local), improve (fast))"


@pytest.mark.usefixtures("simulated")
def test_when_the_python_is_run_then_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[0], "README.md", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out
    assert "premium" in said
    assert said.count(" ok ") == 13
    assert "the same calls at premium's prices" in said
    assert "one call to premium" in said


@pytest.mark.usefixtures("simulated")
def test_when_a_table_is_asked_about_as_the_readme_does_then_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {"__name__": "readme"}
    exec(compile(blocks("python")[1], "README.md", "exec"), space)
    assert [*space["labels"]["label.fast_status"]] == ["ok", "ok", "skipped"]
    said = capsys.readouterr().out
    assert "label.fast and label.local agree in " in said
    assert re.search(r"label: \d of 2 answers changed", said)
    assert session().last is space["longer"]


@pytest.mark.usefixtures("simulated")
def test_when_a_plan_is_searched_as_the_readme_does_then_it_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    session().simulate_with(lambda question: str(sum(map(int, re.findall(r"\d+", question.prompt)))))
    exec(compile(blocks("python")[2], "README.md", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out
    assert "local keeps 95 % of the quality of premium" in said
    assert said.splitlines()[-1] == "7"


@pytest.mark.usefixtures("simulated")
async def test_when_the_answers_of_ones_own_are_copied_then_they_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(Path("answers.yaml").write_text, blocks("yaml")[2], encoding="utf-8")
    monkeypatch.setenv("VICTOR_ANSWERS", "answers.yaml")
    fast = session().pool.get_orchestrator("fast")
    summary = await fast.run("Summarise the year")
    assert (summary.content[:5], summary.usage.total_tokens) == ("Sales", 1500)
    assert (await fast.run("x", stage="review")).content == "APPROVED"
    exec(compile(blocks("python")[3], "README.md", "exec"), {"__name__": "readme"})
    reply = await fast.run("the quota, please", sample=2)
    assert (reply.content, reply.attempts) == ("Answer 2 of fast.", 2)
    assert (await fast.run("x", stage="review")).content == "APPROVED"
    assert session().runtime.answers.unused(session().settings.answer_files)


def test_when_the_first_two_cells_are_pasted_then_three_models_answer_as_in_the_picture(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    load, cell = (block.strip() for block in blocks("")[:2])
    shell = InteractiveShell()
    assert shell.run_cell(load).success
    assert shell.run_cell(cell).success
    assert list(shell.user_ns["replies"]) == ["local", "fast", "premium"]
    shown = capsys.readouterr().out
    for words in ("free", "USD 0.000060", "USD 0.0024"):
        assert words in shown
    assert "simulated" in shown
    assert all("Mean temperature:** 24.6 °C" in shell.user_ns["replies"][name].content for name in ("local", "fast"))
    assert ["12.0 °C" in reply.content for reply in shell.user_ns["replies"].values()] == [False, False, True]


def test_when_readme_opens_with_figures_then_they_are_what_the_notebooks_show() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    one, two = (
        {cell.id: cell for cell in nbformat.read(ROOT / "notebooks" / name, as_version=4).cells if "outputs" in cell}
        for name in ("01_quickstart.ipynb", "02_profiles_and_pool.ipynb")
    )
    costs = dict(line.split() for line in one["cell-08"].outputs[0].text.splitlines()[1:])
    assert f"cost USD {costs['fast']} with `fast`, and USD {costs['premium']} with `premium`" in text
    shown = two["cell-11"].outputs[0].data["text/html"]
    lines = re.findall(r"<tr.*?</tr>", shown, re.DOTALL)
    head, *cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    said = re.findall(r"<b>(.*?)</b>", shown)
    assert [f"> **{each}**" for each in said] == re.findall(r"^> .*$", text, re.MULTILINE)
    found = [[each.strip() for each in line.split("|")[1:-1]] for line in re.findall(r"^\| .*$", text, re.MULTILINE)]
    at = found.index(head)
    assert [[line[0].strip("*"), *line[1:]] for line in found[at + 1 : at + 4]] == cells
    words = " ".join(text.split())
    assert "saves three dollars of calls, and its mistakes cost USD 667 more" in words
    assert "costs less than USD 0.0015, or 0.0045 at most: that is 0.9 seconds of the person" in words
    chart = two["cell-17"].outputs[0].data
    assert base64.b64decode(chart["image/png"]) == (ROOT / "notebooks" / "images" / "costs.png").read_bytes()
    assert "clerk below USD 0.0006 a mistake, clerk+expert below USD 0.0042" in chart["text/plain"]
    pictures = (ROOT / "notebooks" / "pictures.py").read_text(encoding="utf-8")
    assert f'CHART: Final = "02_profiles_and_pool", "{two["cell-17"].source}"\n' in pictures
    spans = "clerk or clerk+expert: USD 0.0003 to USD 0.0032; clerk+expert or expert: USD 0.0016 to no limit"
    assert spans in chart["text/plain"]
    assert "They overlap: the tasks leave open whether clerk+expert is ever the cheapest" in chart["text/plain"]
    assert "only two of the 36 messages separate them, both for `expert`" in words
    assert "clerk is the cheapest below USD 0.0006, clerk+expert up to USD 0.0042, expert above" in words


def test_when_the_installation_is_copied_then_the_extra_brings_jupyter() -> None:
    extra = re.findall(r'pip install "\.\[(\w+)\]"', blocks("sh")[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(each.startswith("jupyterlab") for each in project["optional-dependencies"][extra[0]])
    assert "Python 3.11 or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert project["requires-python"] == ">=3.11"


@pytest.mark.usefixtures("simulated")
def test_when_a_model_of_ones_own_machine_is_read_about_then_the_lines_are_true(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines, cell = blocks("text")[0].strip().split("\n\n", maxsplit=1)
    asked = [line.split("  ")[0] for line in lines.splitlines()]
    assert asked == [INSTALL, "%victor local", "%victor local yes"]
    shell = InteractiveShell()
    assert shell.run_cell("%load_ext victor_nb").success
    assert shell.run_cell(asked[1]).success
    said = capsys.readouterr().out
    assert all(part in said for part in ("127 MB", CALLED, asked[2])), said
    assert shell.run_cell(cell).success
    assert SHIPPED.name in capsys.readouterr().out


@pytest.mark.usefixtures("simulated")
def test_when_the_grammar_names_a_key_or_a_command_then_it_is_one() -> None:
    screen = blocks("")[2]
    assert [line for line in describe_keys().splitlines() if line not in screen.splitlines()] == [], PASTE
    assert f"\n\n{describe_keys()}\n\n" in screen, PASTE
    assert set(re.findall(r"(?m)^([a-z_]+)=", screen)) == KEYS.keys()
    commands = screen.rsplit("%victor ", maxsplit=1)[1].split()
    assert sorted(commands) == list(known())
    assert {word for word in commands if f"%victor {word}" not in LINE_HELP} == {"status", "help"}


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
