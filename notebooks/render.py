"""Run notebooks in simulate mode, and write what they became and how it looks as a page.

    python notebooks/render.py notebooks/01_quickstart.ipynb   one, its cost table printed: `make demo`
    python notebooks/render.py --write                         all, with their outputs in their files: `make notebooks`
    python notebooks/render.py --check build/notebooks         compares copies that were run with the files here

The table is what the cell tagged `cost-table` shows; without such a cell, the last output that speaks of cost. Cells
tagged `hidden` check what the text says; no page shows them. `--write` leaves the outputs of a cell tagged `varies` as
they are where its source is the same: clear them to have those of this run.
"""

from __future__ import annotations

import argparse
import base64
import copy
import difflib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbformat import NotebookNode

HERE: Final = Path(__file__).parent
CELL_TIMEOUT: Final = 120  # seconds
AT_ONCE: Final = 2  # kernels
MINOR: Final = (3, 11)
"""The Python whose outputs are committed."""
ENVIRONMENT: Final = {
    "VICTOR_MODE": "simulate",
    "VICTOR_LEDGER": "memory",
    "VICTOR_PROGRESS": "off",
    "VICTOR_SIM_START": "2026-01-05T09:00+00:00",
    "TZ": "UTC",
}
"""What a kernel runs with, here and in the Makefile: no provider is asked, no ledger left, and dates stand still."""
ADDRESS: Final = re.compile(r" at 0x[0-9a-f]{6,}")
FALLBACK: Final = re.compile(r"victor-fallback-[0-9a-f]{12}")
INLINE: Final = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
SHOWN: Final = {"display_data", "execute_result"}
WIDGET: Final = "application/vnd.jupyter.widget-view+json"
TAG: Final = "cost-table"
VARIES: Final = "varies"
"""The tag of a cell that shows something else in each run: real seconds, or where a process is killed."""
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
# The page must be readable without a network: no MathJax, no mermaid, no widget scripts from elsewhere.
TEMPLATE: Final = """{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_css %}{{ super() }}
<style>
.jp-RenderedMarkdown pre { font-family: monospace; line-height: 1.3; }
.jp-RenderedHTMLCommon .highlight { margin-bottom: 1em; }
.jp-OutputArea-output pre { word-break: normal; overflow-wrap: anywhere; }
.jp-RenderedHTMLCommon table { margin-left: 0; }
</style>
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
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, record_timing=False)
    environment = {"VICTOR_SIM_SPEED": "0", **os.environ, **ENVIRONMENT}
    client.execute(cwd=str(folder), env=environment, stderr=subprocess.DEVNULL)  # the kernel's own chatter


def _failing(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Find the cells that ended in an error that they were not to show, numbered from 1 as a reader counts them."""
    for number, cell in enumerate(notebook.cells, start=1):
        meant = "raises-exception" in cell.metadata.get("tags", ())
        if not meant and any(output.output_type == "error" for output in cell.get("outputs", ())):
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
    resources: dict[str, Any] = {"metadata": {"name": stem, "path": str(HERE)}}
    exporter = HTMLExporter(raw_template=TEMPLATE, embed_images=True)
    exporter.register_preprocessor(TagRemovePreprocessor(remove_cell_tags={"hidden"}), enabled=True)
    html, _ = exporter.from_notebook_node(notebook, resources)
    page.write_text(html, encoding="utf-8")
    return executed, page


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Take away what differs from run to run: times, ids of widgets, addresses, the version of Python."""
    fallbacks: dict[str, str] = {}

    def same(text: str) -> str:
        number = lambda found: fallbacks.setdefault(found[0], f"victor-fallback-{len(fallbacks) + 1}")  # noqa: E731
        return FALLBACK.sub(number, ADDRESS.sub("", text))

    notebook.metadata = {key: value for key, value in notebook.metadata.items() if key == "kernelspec"}
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # knows `%%victor`
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in {"tags", "jupyter"}}
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)
            for key, value in output.get("data", {}).items():
                if isinstance(value, str) and key.startswith("text/"):
                    output["data"][key] = same(value)
            if "text" in output:
                output["text"] = same(output["text"])
        cell.outputs = [each for each in cell.outputs if each.output_type not in SHOWN or each["data"]]
        for before, output in reversed([*pairwise(cell.outputs)]):  # what is printed comes in pieces of any length
            if before.output_type == output.output_type == "stream" and before.name == output.name:
                before["text"] += output["text"]
                output["text"] = ""
        cell.outputs = [each for each in cell.outputs if each.get("text") != ""]
    return notebook


def differences(committed: NotebookNode, executed: NotebookNode) -> Iterator[str]:
    """Yield what is otherwise in a notebook that was run again, cell by cell; pictures are compared by their pixels.

    Of a cell tagged `varies` only the source is compared.
    """
    pairs = list(zip(committed.cells, executed.cells, strict=True))
    for number, (old, new) in enumerate(pairs, start=1):
        if old.source == new.source and VARIES in old.metadata.get("tags", ()):
            continue
        before, after = _lines(old), _lines(new)
        if before != after:
            changed = list(difflib.unified_diff(before, after, "committed", "now", n=0, lineterm=""))
            yield "\n".join([f"cell {number}:", *(line[:300] for line in changed[:20])])


def keep_varying(committed: NotebookNode, executed: NotebookNode) -> None:
    """Take the committed outputs of each cell tagged `varies` whose source is the same, if it has some."""
    known = {cell.source: cell.outputs for cell in committed.cells if VARIES in cell.metadata.get("tags", ())}
    for cell in executed.cells:
        if VARIES in cell.metadata.get("tags", ()):
            cell.outputs = known.get(cell.source) or cell.outputs


def _lines(cell: NotebookNode) -> list[str]:
    """Return source, count and outputs of a cell as lines of JSON, with a picture as its pixels."""
    outputs = json.loads(json.dumps(cell.get("outputs", [])))
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = _pixels(data["image/png"])
        if isinstance(html := data.get("text/html"), str):
            data["text/html"] = INLINE.sub(lambda found: _pixels(found[1]), html)
    shown = {"source": cell.source, "count": cell.get("execution_count"), "outputs": outputs}
    return json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False).replace("\\n", "\n").splitlines()


def _pixels(png: str) -> str:
    from PIL import Image  # noqa: PLC0415 - only to compare

    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return f"{image.size} {hashlib.sha256(image.convert('RGBA').tobytes()).hexdigest()}"


def other_world() -> str | None:
    """Return why outputs may differ from those that are committed: another Python, or another version of a package."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - only to compare

    if sys.version_info[:2] != MINOR:
        return f"Python {sys.version_info[0]}.{sys.version_info[1]}, and the outputs are those of {MINOR[0]}.{MINOR[1]}"
    for line in (HERE.parent / "constraints.txt").read_text(encoding="utf-8").splitlines():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        with suppress(PackageNotFoundError):
            if not wanted.specifier.contains(found := version(wanted.name), prereleases=True):
                return f"{wanted.name} {found}, and the outputs are those of constraints.txt"
    return None


def check(folder: Path, notebooks: Sequence[Path]) -> int:
    """Compare copies of notebooks that were run in a folder with the files here; return the exit code."""
    if (why := other_world()) is not None:
        print(f"Outputs are not compared: {why}.")
        return 0
    code = 0
    for path in notebooks:
        executed = normalise(nbformat.read(folder / path.name, as_version=4))
        for difference in differences(nbformat.read(path, as_version=4), executed):
            print(f"{path.name}, {difference}\n", file=sys.stderr)
            code = 1
    said = "differ from what is committed: look at them, then `make notebooks`" if code else "are what is committed"
    print(f"The outputs of {len(notebooks)} notebooks {said}.", file=sys.stderr if code else sys.stdout)
    return code


def run(path: Path, out: Path, *, in_place: bool) -> tuple[NotebookNode, str, str | None]:
    """Run a notebook and write it; return it, where it is, and what failed."""
    notebook, failure = nbformat.read(path, as_version=4), None
    committed = copy.deepcopy(notebook)
    try:
        execute(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = f"{path} failed: {explain(error, notebook)}"
    normalise(notebook)
    if in_place and not failure:
        keep_varying(committed, notebook)
    executed, page = write(notebook, path.stem, out)
    if failure:
        return notebook, "", f"{failure}\nAs far as it came: {executed}"
    if in_place:
        nbformat.write(notebook, path)
    return notebook, f"The executed notebook: {path if in_place else executed}\nThe same as a page:    {page}", None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what this file's first lines say; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", type=Path, nargs="*", help="default: all of the folder")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder to write to (default: build)")
    parser.add_argument("--write", action="store_true", help="write the outputs into the notebooks themselves")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare copies that were run there")
    asked = parser.parse_args(arguments)
    notebooks: list[Path] = asked.notebooks or sorted(HERE.glob("*.ipynb"))
    for path in notebooks:
        if not path.is_file():
            parser.error(f"there is no {path}")
    if asked.check is not None:
        return check(asked.check, notebooks)
    with ThreadPoolExecutor(AT_ONCE) as kernels:
        done = list(kernels.map(lambda path: run(path, asked.out, in_place=asked.write), notebooks))
    if len(done) == 1 and done[0][2] is None:
        print(cost_table(done[0][0]) or "The notebook shows no cost table.", end="\n\n")
    for _, said, failure in done:
        print(failure or said, file=sys.stderr if failure else sys.stdout)
    return int(any(failure for _, _, failure in done))


if __name__ == "__main__":
    sys.exit(main())
