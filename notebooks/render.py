"""Run a notebook in simulate mode, print its cost table, and write what it became. The program behind `make demo`.

    python notebooks/render.py notebooks/01_quickstart.ipynb

The table is what the cell tagged `cost-table` shows; without such a cell, the last output that speaks of cost.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbformat import NotebookNode

CELL_TIMEOUT: Final = 120  # seconds
TAG: Final = "cost-table"
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
# The page must be readable without a network: no MathJax, no mermaid, no widget scripts from elsewhere.
TEMPLATE: Final = """{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_css %}{{ super() }}
<style>.jp-RenderedMarkdown pre { font-family: monospace; line-height: 1.3; }</style>
{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""


class _Rows(HTMLParser):
    """The cells of the HTML tables that it is fed, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base's name
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data.strip()


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as text: the first column to the left, the others to the right."""
    columns = max(map(len, rows))
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[column]) for row in full) for column in range(columns)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in full
    )


def as_text(output: NotebookNode) -> str:
    """Return an output as text; a table that its own text form folds or leaves out is read from the HTML."""
    if output.output_type == "stream":
        return output.text
    data: dict[str, str] = output.get("data", {})
    plain, html = data.get("text/plain", ""), data.get("text/html", "")
    if "<table" not in html or (plain and not plain.startswith("<") and "\\\n" not in plain):
        return plain
    reader = _Rows()
    reader.feed(html)
    return aligned(reader.rows)


def cost_table(notebook: NotebookNode) -> str | None:
    """Return the notebook's final cost table as text, or None when no cell shows one."""
    shown = [
        (TAG in cell.metadata.get("tags", ()), "\n".join(map(as_text, cell.outputs)).strip("\n"))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    tagged = [text for is_tagged, text in shown if is_tagged and text]
    speaking = [text for _, text in shown if "cost" in text.lower()]
    return next(iter(reversed(tagged or speaking)), None)


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run every cell in a fresh kernel that works in `folder`, asks no provider and leaves no ledger behind."""
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, record_timing=False, store_widget_state=False)
    environment = {**os.environ, "VICTOR_MODE": "simulate", "VICTOR_LEDGER": "memory"}
    client.execute(cwd=str(folder), env=environment, stderr=subprocess.DEVNULL)  # the kernel's own chatter


def _failing(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Find the cells that ended in an error, numbered from 1 as a reader counts them."""
    for number, cell in enumerate(notebook.cells, start=1):
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            yield number, cell


def explain(error: Exception, notebook: NotebookNode) -> str:
    """Say in a few lines which cell failed, and how."""
    if not isinstance(error, CellExecutionError):
        return ANSI.sub("", str(error)).strip().splitlines()[0]
    number, cell = next(_failing(notebook))
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.startswith("#")]
    source = next(iter(lines), "")
    said = ANSI.sub("", f"{error.ename}: {error.evalue}").strip().splitlines()
    return "\n".join([f"cell {number}, {source!r}", *said[:3]])


def write(notebook: NotebookNode, stem: str, folder: Path) -> tuple[Path, Path]:
    """Write the notebook and its page; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    executed, page = folder / f"{stem}.ipynb", folder / f"{stem}.html"
    nbformat.write(notebook, executed)
    resources: dict[str, Any] = {"metadata": {"name": stem}}
    html, _ = HTMLExporter(raw_template=TEMPLATE).from_notebook_node(notebook, resources)
    page.write_text(html, encoding="utf-8")
    return executed, page


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what this file's first line says; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to (default: build)")
    asked = parser.parse_args(arguments)
    if not asked.notebook.is_file():
        parser.error(f"there is no {asked.notebook}")
    notebook = nbformat.read(asked.notebook, as_version=4)
    failure = None
    try:
        execute(notebook, asked.notebook.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = explain(error, notebook)
    executed, page = write(notebook, asked.notebook.stem, asked.out)
    if failure:
        print(f"{asked.notebook} failed: {failure}\nAs far as it came: {executed}", file=sys.stderr)
        return 1
    print(cost_table(notebook) or "The notebook shows no cost table.")
    print(f"\nThe executed notebook: {executed}\nThe same as a page:    {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
