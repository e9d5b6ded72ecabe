"""What `notebooks/render.py` takes into a notebook that was run again."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

from nbformat.v4 import new_code_cell, new_notebook, new_output

if TYPE_CHECKING:
    from nbformat import NotebookNode

RENDER = runpy.run_path(str(Path(__file__).parents[1] / "notebooks" / "render.py"))


def cell(source: str, text: str, *tags: str) -> NotebookNode:
    """Return a cell that has printed a text; none, where that is empty."""
    outputs = [new_output("stream", text=text)] if text else []
    return new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def test_when_a_cell_varies_then_its_outputs_stay_until_they_are_cleared_or_its_source_changes() -> None:
    committed = new_notebook(
        cells=[
            cell("time(1)", "1.0 s", "varies"),
            cell("time(2)", "", "varies"),
            cell("time(3)", "3.0 s", "varies"),
            cell("sum", "4", "hidden"),
        ]
    )
    executed = new_notebook(
        cells=[
            cell("time(1)", "1.1 s", "varies"),
            cell("time(2)", "2.1 s", "varies"),
            cell("time(30)", "30.1 s", "varies"),
            cell("sum", "5", "hidden"),
        ]
    )
    RENDER["keep_varying"](committed, executed)
    assert [each.outputs[0].text for each in executed.cells] == ["1.0 s", "2.1 s", "30.1 s", "5"]
    assert [found.splitlines()[0] for found in RENDER["differences"](committed, executed)] == ["cell 3:", "cell 4:"]
