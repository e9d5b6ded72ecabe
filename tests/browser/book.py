"""A notebook in the browser, and what a user does with it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, Literal, Protocol

import nbformat

from browser import axe
from browser.desk import PATIENCE
from browser.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from nbformat import NotebookNode
    from playwright.sync_api import ConsoleMessage, Error, Locator

    from browser.desk import Desk
    from browser.jupyter import App

Theme = Literal["light", "dark"]


class OpenBook(Protocol):
    """Opens a notebook of these cells in a folder of its own, with these files beside it: the fixture `book`."""

    def __call__(self, *cells: str, theme: Theme = "light", files: Mapping[str, str] | None = None) -> Book: ...


PANEL: Final = ".jp-NotebookPanel:not(.lm-mod-hidden)"
CELL: Final = f"{PANEL} .jp-Notebook .jp-CodeCell"
# What the front ends themselves complain of; everything else fails the test.
KNOWN: Final = (
    re.compile(r"reading 'schema'|'filebrowser:open-path' not registered"),  # Notebook 7.6 at its start
    re.compile(r"widget model not found"),  # a widget of a kernel that has ended
)
READY: Final = """([path, light]) => {
    if (document.body.dataset.jpThemeLight !== light) return false;
    const shown = window.jupyterapp?.shell.currentWidget;
    const session = shown?.context?.path === path && shown.sessionContext.isReady && shown.sessionContext.session;
    return session && session.kernel?.connectionStatus === "connected" && session.kernel.status === "idle";
}"""
OPEN: Final = "path => { window.jupyterapp.commands.execute('docmanager:open', {path}); }"
IDLE: Final = f"() => ![...document.querySelectorAll('{CELL} .jp-InputPrompt')].some(e => e.textContent.includes('*'))"
# Keeps what parts of a cell's output show while its prompt has a star, each state of one once, and when it was so: in
# seconds since the last key was pressed, which is how a cell is run.
WATCH: Final = """(cell, part) => {
    const seen = window.victorSeen = [], last = [], prompt = cell.querySelector(".jp-InputPrompt");
    let pressed = performance.now();
    addEventListener("keydown", () => { pressed = performance.now(); }, {capture: true});
    const look = () => {
        if (!prompt.textContent.includes("*")) return;
        cell.querySelectorAll(part).forEach((each, place) => {
            const text = each.textContent;
            if (text === (last[place] ?? "")) return;
            last[place] = text;
            seen.push([(performance.now() - pressed) / 1000, place, text]);
        });
    };
    new MutationObserver(look).observe(cell, {childList: true, subtree: true, characterData: true});
}"""
CLOCK: Final = """condition => {
    const holds = new Function("return (" + condition + ")()");
    window.victorSeconds = null;
    addEventListener("click", () => {
        const start = performance.now();
        const timer = setInterval(() => {
            if (!holds()) return;
            clearInterval(timer);
            window.victorSeconds = (performance.now() - start) / 1000;
        }, 5);
    }, {capture: true, once: true});
}"""


class Book:
    """A notebook file of its own folder, open in one of the apps.

    Attributes:
        page: Playwright's page, for what has no word here. JupyterLab's is shared by all tests.
        traffic: What the page and the kernel say since it was opened.
        complaints: Errors of the page and of its console, but for those that are known.
    """

    def __init__(self, desk: Desk, app: App, path: Path, theme: Theme = "light") -> None:
        self.path = path
        self.complaints: list[str] = []
        self._app: App = app
        self._desk = desk
        self._theme: Theme = theme
        self._site = desk.site(app)
        self._name = path.relative_to(self._site.work).as_posix()
        self._open()

    def _open(self) -> None:
        self.page = self._desk.page(self._app)
        self.page.emulate_media(color_scheme=self._theme)
        self.page.on("pageerror", self._on_error)
        self.page.on("console", self._on_console)
        self.traffic = Traffic(self.page)
        self._site.start_kernel(self._name)  # while the page loads
        if self.page.url.startswith(self._site.url):
            self.page.evaluate(OPEN, self._name)
        else:
            self.page.goto(self._site.address(self._app, self._name))
        self.ready()

    def close(self) -> Future[None]:
        """Close the notebook, and end its kernel; nobody needs to wait for that."""
        self.traffic.stop()
        self.page.remove_listener("pageerror", self._on_error)
        self.page.remove_listener("console", self._on_console)
        self._desk.give_back(self.page)
        return self._site.end_kernel(self._name)

    # --- waiting: for a condition, with a limit ---

    def ready(self) -> None:
        """Wait until the notebook is shown, in its theme, and its kernel idle."""
        self.until(READY, [self._name, str(self._theme == "light").lower()])
        self.page.locator(CELL).first.wait_for()

    def until(self, condition: str, argument: object = None) -> None:
        """Wait until a JavaScript function, called with the argument, returns what is true."""
        self.page.wait_for_function(condition, arg=argument)

    def until_shown(self, number: int, text: str | re.Pattern[str]) -> None:
        """Wait until a cell shows a text: what a kernel has sent is drawn a little after the cell has ended."""
        self.cell(number).locator(".jp-Cell-outputArea", has_text=text).wait_for()

    def until_heard(self, condition: Callable[[], object]) -> None:
        """Wait until the traffic makes a condition true."""
        end = time.monotonic() + PATIENCE / 1000
        while not condition():
            assert time.monotonic() < end, "not heard"
            self.page.wait_for_timeout(10)  # lets Playwright hand over what came

    def done(self) -> None:
        """Wait until no cell has a star: where a kernel has subshells, its status says less."""
        self.until(IDLE)

    # --- running ---

    def run_all(self) -> None:
        """Run all cells, and wait for them."""
        self.start_all()
        self.done()

    def start_all(self) -> None:
        """Choose Run All Cells, and return when the kernel has been asked to."""
        cells = sum(bool(cell.source.strip()) for cell in self.read().cells if cell.cell_type == "code")
        self._send(lambda: self.menu("Run", "Run All Cells"), cells)

    def run(self, number: int) -> None:
        """Run a cell, and wait for it and all others that run."""
        self.start(number)
        self.done()

    def start(self, number: int) -> None:
        """Run a cell by the keyboard, and return when the kernel has been asked to."""
        self.cell(number).locator(".jp-InputPrompt").click()
        self._send(lambda: self.page.keyboard.press("Control+Enter"), 1)

    def _send(self, act: Callable[[], object], cells: int) -> None:
        due = self.traffic.requests() + cells
        act()
        self.until_heard(lambda: self.traffic.requests() >= due)

    def interrupt(self) -> None:
        """Press Stop in the toolbar."""
        self.page.locator(f'{PANEL} [data-jp-item-name="interrupt"] jp-button').click()

    def restart(self) -> None:
        """Restart the kernel."""
        self.traffic.clear()
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.until_heard(lambda: any(said.kind == "kernel_info_request" for said in self.traffic.said))
        self.ready()

    def menu(self, bar: str, item: str) -> None:
        """Choose from a menu."""
        self.page.locator(".lm-MenuBar-item", has_text=re.compile(rf"^{re.escape(bar)}$")).click()
        entries = self.page.locator(".lm-Menu-item:not(.lm-mod-disabled)")
        entries.filter(
            has=self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(rf"^{re.escape(item)}$"))
        ).click()

    # --- looking ---

    def cell(self, number: int) -> Locator:
        """Return a code cell, from 0."""
        return self.page.locator(CELL).nth(number)

    def outputs(self, number: int) -> Locator:
        """Return the outputs of a cell."""
        return self.cell(number).locator(".jp-OutputArea-output")

    def text(self, number: int) -> str:
        """Return what a reader sees under a cell now; `until_shown` waits for what is due."""
        return "\n".join(output.inner_text() for output in self.outputs(number).all() if output.is_visible())

    def watch(self, number: int, part: str = ".jp-Cell-outputArea") -> None:
        """Keep what a cell, or each part of its output, shows from now on while it runs."""
        self.cell(number).evaluate(WATCH, part)

    def seen(self, place: int = 0) -> list[str]:
        """Return what the watched cell, or one of its parts, has shown while it ran, each state of it once."""
        return [text for _, text in self.seen_at(place)]

    def seen_at(self, place: int = 0) -> list[tuple[float, str]]:
        """Return the same, and when it was so: in seconds since a key was last pressed."""
        seen: list[tuple[float, int, str]] = self.page.evaluate("() => window.victorSeen")
        return [(at, text) for at, part, text in seen if part == place]

    def seconds(self, click: Callable[[], object], until: str = IDLE) -> float:
        """Return the seconds, by the page's clock, from a click until a JavaScript function returns what is true."""
        self.page.evaluate(CLOCK, until)
        click()
        self.until("() => window.victorSeconds !== null")
        return self.page.evaluate("() => window.victorSeconds")

    def picture(self, path: Path, number: int | None = None) -> None:
        """Take a picture of the window, or of what a cell shows."""
        part = self.page if number is None else self.cell(number).locator(".jp-Cell-outputArea")
        part.screenshot(path=path)

    def violations(self, number: int) -> list[str]:
        """Return what axe-core has against the output of a cell, as far as it is serious."""
        return axe.violations(self.page, self.cell(number).locator(".jp-Cell-outputArea"))

    # --- the file ---

    def read(self) -> NotebookNode:
        """Return the notebook as it was saved last."""
        return nbformat.read(self.path, as_version=4)

    def save(self) -> NotebookNode:
        """Save, and return what is in the file then."""
        with self.page.expect_response(lambda answer: answer.request.method == "PUT" and "/contents/" in answer.url):
            self.menu("File", "Save Notebook")
        return self.read()

    def reload(self) -> None:
        """Load the page anew; the kernel lives on."""
        self.page.goto(self._site.address(self._app, self._name))
        self.ready()

    def reopen(self) -> None:
        """Close the notebook, end its kernel, and open it again, as on another day."""
        self.close().result()
        self._open()

    # --- complaints ---

    def _on_error(self, error: Error) -> None:
        self._note(f"{error.name}: {error.message}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location})")

    def _note(self, complaint: str) -> None:
        if not any(known.search(complaint) for known in KNOWN):
            self.complaints.append(complaint)
