"""The fixtures of the tests in a browser: `book(...)` opens a notebook, in each app in turn."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook

from browser.book import Book, OpenBook, Theme
from browser.desk import Desk, chromium
from browser.jupyter import App, Site
from browser.needs import need_chromium, need_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

THREAD = pytest.StashKey[Executor]()
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Run each test of this folder in the browser's thread."""
    thread = pyfuncitem.config.stash.get(THREAD, None)
    if thread is not None:
        pyfuncitem.obj = partial(_call, thread, pyfuncitem.obj)


def _call(thread: Executor, test: Callable[..., None], **fixtures: Any) -> None:
    thread.submit(test, **fixtures).result()


@pytest.fixture(scope="session")
def thread(pytestconfig: pytest.Config) -> Iterator[Executor]:
    """Return the browser's thread: where Playwright starts, an event loop runs on, and async tests would find it."""
    with ThreadPoolExecutor(1, "browser") as executor:
        pytestconfig.stash[THREAD] = executor
        yield executor


@pytest.fixture(scope="session")
def desk(thread: Executor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Start a browser, and a server for each app that is tested, which serve all tests."""
    need_modules()
    need_chromium()
    browsers = ExitStack()
    with ExitStack() as mine:
        mine.callback(lambda: thread.submit(browsers.close).result())
        opening = thread.submit(lambda: browsers.enter_context(chromium(tmp_path_factory.mktemp("browser"))))
        yield Desk(lambda app: mine.enter_context(Site(tmp_path_factory.mktemp(app))), opening.result())


@pytest.fixture(params=["lab", "notebook"])
def app(request: pytest.FixtureRequest) -> App:
    """Be each of the two apps in turn."""
    return request.param


@pytest.fixture
def book(desk: Desk, app: App, thread: Executor) -> Iterator[OpenBook]:
    """Open notebooks for one test, which must leave no complaint in the browser."""
    opened: list[Book] = []

    def make(*cells: str, theme: Theme = "light", files: Mapping[str, str] | None = None) -> Book:
        folder = Path(mkdtemp(prefix="book-", dir=desk.site(app).work))
        for name, text in (files or {}).items():
            folder.joinpath(name).write_text(text, encoding="utf-8")
        opened.append(Book(desk, app, write_notebook(folder / "book.ipynb", *cells), theme))
        return opened[-1]

    yield make
    for each in opened:
        thread.submit(each.close).result()
    assert not [complaint for each in opened for complaint in each.complaints]


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of these cells."""
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata={"kernelspec": KERNEL})
    write(notebook, path)
    return path
