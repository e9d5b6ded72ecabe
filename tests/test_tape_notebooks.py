"""A notebook that is run without Jupyter finds its tape by its cells, and is red where a line of it is missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

from cells import served, write
from servers import Answer, Server
from victor_nb.wire.tape import TapeFile, tape_path
from workbench import CANARY

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]

CELLS = ("%load_ext victor_nb", "%%victor fast out=one\nOne?", "%%victor fast out=two\nTwo?", "one.content, one.mode")


def run(path: Path, mode: str, **environment: str) -> list[Any]:
    """Run a notebook as nbmake and nbconvert do, through errors; return its cells."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=60, allow_errors=True)
    client.execute(cwd=str(path.parent), env={**os.environ, "NO_PROXY": "*", "VICTOR_MODE": mode, **environment})
    return notebook.cells


def errors(cells: list[Any]) -> list[int]:
    return [
        number
        for number, cell in enumerate(cells)
        if any(each.output_type == "error" for each in cell.get("outputs", ()))
    ]


def test_when_a_notebook_is_recorded_then_it_replays_by_itself_and_a_lost_line_is_seen(
    tmp_path: Path, server: Server
) -> None:
    server.play(Answer())
    write(tmp_path, served(server))
    path = tmp_path / "report.ipynb"
    new: Any = nbformat.v4
    cells = [new.new_markdown_cell("# A report"), *(new.new_code_cell(source) for source in CELLS)]
    nbformat.write(new.new_notebook(cells=cells), path)
    nbformat.write(new.new_notebook(cells=cells[:2]), tmp_path / "other.ipynb")
    assert errors(run(path, "record", OPENAI_API_KEY=CANARY)) == []
    tape = tape_path(path)
    assert [each.cell for each in TapeFile(tape).read()] == [2, 3]

    tape.write_text("".join(line for line in tape.read_text().splitlines(keepends=True) if "Two?" not in line))
    replayed = run(path, "replay", OPENAI_API_KEY="")
    assert errors(replayed) == [3]
    assert "TapeMissError" in replayed[3].outputs[0].traceback[0]
    assert replayed[4].outputs[0].data["text/plain"] == f"({Answer().text!r}, 'replay')"
    assert len(server.requests) == 2
