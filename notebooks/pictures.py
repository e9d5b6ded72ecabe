"""Make the pictures in `images/`: `make pictures`, after a change to notebooks 01, 02 or 08 (needs Chromium).

The two at the top of README are of the saved outputs of 01 and 02, those of the forms of one run of 08 in JupyterLab.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from render import ENVIRONMENT, HERE, write

from browser.book import Book
from browser.desk import Desk, chromium
from browser.jupyter import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Locator

Picture = tuple[str, bytes]

IMAGES: Final = HERE / "images"
CHART: Final = "02_profiles_and_pool", "decision.plot()"
CELL: Final = "01_quickstart", "%%victor profiles=local,fast,premium"
FORMS: Final = "08_widgets"
PICKER, PANEL, BOARD, LEDGER = SHOWN = "ProfilePicker(", "Playground(", "StrategyBoard(", "LedgerView("
START: Final = ".start(TASK"
PACE: Final = {START: 1, "again = ": 0}
"""Cells of 08 from which on a simulated second takes that many real ones: the board is seen while it runs."""
SECONDS: Final = 12  # that the review thinks when the board's picture is taken; Stop comes at 20
PATIENCE: Final = 120_000  # milliseconds for a part of the run
PAGE: Final = 1000, 1200  # pixels of a page
LAB: Final = 1240, 1600  # of JupyterLab, in which a form is 848 wide
SCALE: Final = 2  # pixels of the picture for each


def chart() -> Picture:
    """Return the chart that the saved notebook holds, as PNG."""
    stem, source = CHART
    notebook = nbformat.read(HERE / f"{stem}.ipynb", as_version=4)
    cell = next(each for each in notebook.cells if each.cell_type == "code" and source in each.source)
    return "costs", base64.b64decode(cell.outputs[0].data["image/png"])


def shown_cell(browser: BrowserContext, folder: Path) -> Picture:
    """Return a cell of a notebook's page with its answers, as PNG."""
    stem, source = CELL
    _, page = write(nbformat.read(HERE / f"{stem}.ipynb", as_version=4), stem, folder)
    view = browser.new_page()
    view.set_viewport_size({"width": PAGE[0], "height": PAGE[1]})
    view.goto(page.resolve().as_uri())
    return "side_by_side", view.locator(".jp-Cell", has_text=source).first.screenshot()


def forms(browser: BrowserContext, site: Site) -> Iterator[Picture]:
    """Run 08 in JupyterLab, and yield its forms as PNG, the board while it runs."""
    shutil.copytree(HERE, site.work / HERE.name, ignore=shutil.ignore_patterns("tapes", "__pycache__", ".*"))
    shutil.copy(HERE.parent / "profiles.yaml", site.work)
    path = site.work / HERE.name / f"{FORMS}.ipynb"
    places = paced(path)
    book = Book(Desk(lambda _: site, browser), "lab", path)
    book.page.set_viewport_size({"width": LAB[0], "height": LAB[1]})
    book.page.set_default_timeout(PATIENCE)

    def form(source: str) -> Locator:
        return book.cell(places[source]).locator(".jp-OutputArea-output .victor").first

    book.start_all()
    board = form(BOARD)
    times = board.locator("tr", has_text="review").locator("td", has_text=re.compile(f"^{SECONDS} s$"))
    times.wait_for()
    board.get_by_text("implement: what it gave").click()
    yield "stop", board.screenshot()
    book.done()
    yield "pick", form(PICKER).screenshot()
    yield "panel", form(PANEL).screenshot()
    yield "ledger", form(LEDGER).screenshot()
    book.close().result()


def paced(path: Path) -> dict[str, int]:
    """Put the pace of the simulator into a notebook; return which code cell has each form, by how it is made."""
    notebook = nbformat.read(path, as_version=4)
    watched = {name: value for name, value in ENVIRONMENT.items() if name != "VICTOR_PROGRESS"}
    cells: list[Any] = [new_code_cell("\n".join(f"%env {name}={value}" for name, value in watched.items()))]
    for cell in notebook.cells:
        source = cell.source if cell.cell_type == "code" else ""
        cells += [new_code_cell(f"%env VICTOR_SIM_SPEED={pace}") for part, pace in PACE.items() if part in source]
        if PANEL in source:
            cells.append(new_code_cell(source.partition("\n")[0].partition(" = ")[2]))  # as it is before Ask
        cells.append(cell)
        if START in source:
            cells.append(new_code_cell(f"{BOARD}job)"))  # while it runs
    notebook.cells = cells
    nbformat.write(notebook, path)
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    return {each: next(at for at, source in enumerate(sources) if each in source) for each in SHOWN}


def main() -> int:
    """Write all pictures."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            with chromium(folder / "browser", scale=SCALE) as browser, Site(folder / "lab") as site:
                made = [chart(), shown_cell(browser, folder), *forms(browser, site)]
        except pytest.skip.Exception as lacking:
            sys.exit(str(lacking))
    for name, png in made:
        (IMAGES / f"{name}.png").write_bytes(png)
        print(f"Written: {IMAGES / name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
