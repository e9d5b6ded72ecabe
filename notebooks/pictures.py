"""Make the two pictures at the top of README from the saved outputs of notebooks 01 and 02: `make pictures`."""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import nbformat
from render import HERE, write

IMAGES: Final = HERE / "images"
CHART: Final = "02_profiles_and_pool", "break_even"
CELL: Final = "01_quickstart", "%%victor profiles=local,fast,premium"
WIDTH, HEIGHT, SCALE = 1000, 1200, 2  # pixels of the page, and those of the picture for each


def chart() -> bytes:
    """Return the chart that the saved notebook holds, as PNG."""
    stem, source = CHART
    notebook = nbformat.read(HERE / f"{stem}.ipynb", as_version=4)
    cell = next(each for each in notebook.cells if each.cell_type == "code" and source in each.source)
    return base64.b64decode(cell.outputs[0].data["image/png"])


def shown_cell(folder: Path) -> bytes:
    """Return a cell of a notebook's page with its answers, as Chromium shows it, as PNG."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the chart needs no browser

    stem, source = CELL
    _, page = write(nbformat.read(HERE / f"{stem}.ipynb", as_version=4), stem, folder)
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("There is no Chromium. Install it: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        view.goto(page.resolve().as_uri())
        return view.locator(".jp-Cell", has_text=source).first.screenshot()


def main() -> int:
    """Write both pictures."""
    (IMAGES / "costs.png").write_bytes(chart())
    with TemporaryDirectory() as folder:
        (IMAGES / "side_by_side.png").write_bytes(shown_cell(Path(folder)))
    print(f"Written: {IMAGES / 'costs.png'}, {IMAGES / 'side_by_side.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
