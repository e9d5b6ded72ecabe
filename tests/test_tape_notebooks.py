"""A notebook that is run without Jupyter finds its tape by its cells, and is red where a line of it is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cells import Kernel, Ran, served, write
from servers import Answer, Server
from victor_nb.config.secret import has_key
from victor_nb.wire.tape import TapeFile, streamed_texts, tape_path
from workbench import CANARY

pytest_plugins = ["workbench_fixtures"]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELLS = ("%load_ext victor_nb", "%%victor fast out=one\nOne?", "%%victor fast out=two\nTwo?", "one.content, one.mode")


def run(folder: Path, **environment: str) -> list[Ran]:
    """Run the cells in a kernel that is told no name, as nbclient does."""
    with Kernel(folder, NO_PROXY="*", CI="", **environment) as kernel:
        return [kernel.run(cell) for cell in CELLS]


def test_when_a_notebook_is_recorded_then_it_replays_by_itself_and_a_lost_line_is_seen(
    tmp_path: Path, server: Server
) -> None:
    server.play(Answer())
    write(tmp_path, served(server))
    for name, sources in (("report", CELLS), ("other", CELLS[:1])):
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
        text = json.dumps({"cells": [{"cell_type": "markdown", "source": ["# A report"]}, *cells]})
        (tmp_path / f"{name}.ipynb").write_text(text, encoding="utf-8")
    assert [ran.error for ran in run(tmp_path, VICTOR_MODE="record", OPENAI_API_KEY=CANARY)] == [None] * 4
    tape = tape_path(tmp_path / "report.ipynb")
    assert [each.cell for each in TapeFile(tape).read()] == [2, 3]

    tape.write_text("".join(line for line in tape.read_text().splitlines(keepends=True) if "Two?" not in line))
    replayed = run(tmp_path, VICTOR_MODE="replay", OPENAI_API_KEY="")
    assert [bool(ran.error) for ran in replayed] == [False, False, True, False]
    assert "does not hold this request" in str(replayed[2].error)
    assert replayed[3].plain == f"({Answer().text!r}, 'replay')"
    assert len(server.requests) == 2


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("tapes/*.jsonl")), ids=lambda path: path.stem)
def test_when_tapes_are_committed_then_they_are_of_notebooks_and_hold_no_key(path: Path) -> None:
    assert tape_path(NOTEBOOKS / f"{path.stem}.ipynb") == path
    assert (NOTEBOOKS / f"{path.stem}.ipynb").is_file()
    exchanges = TapeFile(path).read()
    assert len({(each.asked.key, each.occurrence, each.attempt) for each in exchanges}) == len(exchanges) > 0
    assert not [each.place for each in exchanges for text in (each.line(), *streamed_texts(each.body)) if has_key(text)]
