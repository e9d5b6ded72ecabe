"""One Chromium for all tests, and where in it a notebook is shown."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from browser.needs import need_chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page, ViewportSize

    from browser.jupyter import App, Site

PATIENCE: Final = 30_000  # milliseconds, the limit of every wait
SIZE: Final[ViewportSize] = {"width": 1280, "height": 900}
BUSY: Final = ".jp-NotebookPanel, .jp-Dialog"
CLOSE: Final = """() => {
    const shown = window.jupyterapp.shell.currentWidget;
    shown.context.model.dirty = false;  // or it asks whether to save
    shown.close();
}"""


class Desk:
    """A browser, and a server for each app. JupyterLab is loaded once, and shows books in tabs; Notebook 7 needs pages.

    One server for both apps would do, but Jupyter Server 2.21 remembers by its name alone where a static file is: one
    that both apps have, such as a font of MathJax, is then 403 for the app that comes second.
    """

    def __init__(self, start: Callable[[App], Site], context: BrowserContext) -> None:
        self.context = context
        self._lab: Page | None = None
        self._start = start
        self._sites: dict[App, Site] = {}

    def site(self, app: App) -> Site:
        """Return the server of an app, which starts when it is first wanted."""
        if app not in self._sites:
            self._sites[app] = self._start(app)
        return self._sites[app]

    def page(self, app: App) -> Page:
        """Return a page for a notebook: a new one, or the one in which JupyterLab shows none."""
        if app == "lab" and self._lab is not None and not self._lab.locator(BUSY).count():
            return self._lab
        page = self.new_page()
        self._lab = page if app == "lab" else self._lab
        return page

    def give_back(self, page: Page) -> None:
        """Close a notebook, or the whole page unless another may use it."""
        if page is self._lab:
            page.evaluate(CLOSE)
        else:
            page.close()

    def new_page(self) -> Page:
        """Return a blank page."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        return page

    @contextmanager
    def offline(self, file: Path) -> Iterator[Page]:
        """Show a file in a page that has no network."""
        page = self.new_page()
        page.route(re.compile("^https?:"), lambda route: route.abort())
        page.goto(file.as_uri())
        yield page
        page.close()


@contextmanager
def chromium(folder: Path, *, scale: float = 1) -> Iterator[BrowserContext]:
    """Run Chromium with a profile in a folder: its caches spare a second of every page that is loaded.

    Args:
        folder: Where the profile is.
        scale: Pixels of a picture for each pixel of a page.
    """
    from playwright.sync_api import sync_playwright

    program = need_chromium()
    # Root has no sandbox, and a container little shared memory.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        launch = playwright.chromium.launch_persistent_context
        home: dict[str, str | float | bool] = {**os.environ, "HOME": str(folder)}
        context = launch(
            folder / "profile",
            executable_path=program,
            args=arguments,
            viewport=SIZE,
            device_scale_factor=scale,
            env=home,
        )
        yield context
        context.close()
