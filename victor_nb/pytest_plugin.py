"""`pytest --victor-replay`: every notebook is a test that is run from its tape, with no network and at no cost.

It is loaded by pytest alone, through its entry point, and imports nothing else before it is asked for.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from victor_nb.ci.run import Verdict

_PROPERTY: Final = "victor_nb"
_SAID: Final = pytest.StashKey[str]()
"""What became of the report."""
_NEEDED: Final = ("nbclient", "nbformat", "jupyter_client")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("victor_nb", "notebooks from their tapes")
    group.addoption(
        "--victor-replay",
        action="store_true",
        default=False,
        help="run notebooks from the tapes beside them, without a network, and compare their outputs",
    )
    group.addoption(
        "--victor-report",
        metavar="PATH",
        default=None,
        help="write what the run would have cost to PATH.md and PATH.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take notebooks over from nbmake, so that each is run once.

    Raises:
        pytest.UsageError: What runs notebooks is not installed.
    """
    if not config.getoption("--victor-replay"):
        if config.getoption("--victor-report"):
            raise pytest.UsageError("--victor-report goes with --victor-replay: pytest --victor-replay notebooks")
        return
    if any(find_spec(name) is None for name in _NEEDED):
        from victor_nb.ci.run import NEEDED  # noqa: PLC0415 - only where it is wanted

        raise pytest.UsageError(f"--victor-replay: {NEEDED}")
    if hasattr(config.option, "nbmake"):
        config.option.nbmake = False


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a notebook."""
    if file_path.suffix != ".ipynb" or not parent.config.getoption("--victor-replay"):
        return None
    if ".ipynb_checkpoints" in file_path.parts:
        return None
    made: Any = NotebookFile
    return made.from_parent(parent, path=file_path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Let several workers begin with the notebooks of the longest tapes, so that none of them is waited for alone."""
    if config.getoption("--victor-replay") and hasattr(config, "workerinput"):
        items.sort(key=_size, reverse=True)


class NotebookFile(pytest.File):
    """A notebook as pytest collects it."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the one test."""
        made: Any = NotebookItem
        yield made.from_parent(self, name="replay")


class RedNotebookError(Exception):
    """A notebook is red."""


class NotebookItem(pytest.Item):
    """The run of a notebook from its tape."""

    def runtest(self) -> None:
        """Run it.

        Raises:
            RedNotebookError: It is red.
        """
        from victor_nb.ci import TIMEOUT  # noqa: PLC0415 - only where it is wanted
        from victor_nb.ci.run import run, write_outputs  # noqa: PLC0415 - as above

        options: Any = self.config.option
        ran = asyncio.run(run(self.path, timeout=getattr(options, "nbmake_timeout", TIMEOUT)))
        verdict = ran.verdict
        verdict.notebook = _shown(self.path, self.config)
        self.user_properties.append((_PROPERTY, verdict.as_json()))
        if getattr(options, "overwrite", False) and ran.notebook is not None:
            try:
                write_outputs(ran, self.path)
            except OSError as error:
                raise RedNotebookError(f"It cannot be written: {error.strerror or error}.") from None
        if verdict.red:
            raise RedNotebookError("\n".join(map(str, verdict.red)))

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: Any = None,  # noqa: ANN401 - the base's
    ) -> Any:  # noqa: ANN401 - the base's
        """Return what is wrong, without the traceback of what has found it."""
        if isinstance(excinfo.value, RedNotebookError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return how the test is called."""
        return self.path, None, _shown(self.path, self.config)


def _size(item: pytest.Item) -> int:
    if not isinstance(item, NotebookItem):
        return 0
    from victor_nb.wire.tape import tape_path  # noqa: PLC0415 - only where it is wanted

    tape = tape_path(item.path)
    return tape.stat().st_size if tape.is_file() else 0


def _shown(path: Path, config: pytest.Config) -> str:
    return str(path.relative_to(config.rootpath)) if path.is_relative_to(config.rootpath) else str(path)


def _verdicts(reporter: pytest.TerminalReporter) -> list[Verdict]:
    from victor_nb.ci.run import Verdict  # noqa: PLC0415 - only where it is wanted

    found = [
        Verdict.of_json(cast("dict[str, Any]", value))
        for reports in reporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == _PROPERTY and isinstance(value, dict)
    ]
    return sorted(found, key=lambda verdict: verdict.notebook)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report; where it cannot be written, the run has failed."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    path = config.getoption("--victor-report")
    if path is None or reporter is None or hasattr(config, "workerinput") or not (verdicts := _verdicts(reporter)):
        return
    from victor_nb.ci.costs import write  # noqa: PLC0415 - only where it is wanted
    from victor_nb.errors import ConfigError  # noqa: PLC0415 - as above

    try:
        written = write(verdicts, config.invocation_params.dir / path)
    except ConfigError as error:
        config.stash[_SAID] = str(error)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        config.stash[_SAID] = f"Report: {' and '.join(map(str, written))}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the notebooks would have cost, and where the report is."""
    if not config.getoption("--victor-replay") or not (verdicts := _verdicts(terminalreporter)):
        return
    from victor_nb.ci.costs import as_text  # noqa: PLC0415 - only where it is wanted

    terminalreporter.section("notebooks from their tapes")
    for line in (*as_text(verdicts), *filter(None, [config.stash.get(_SAID, "")])):
        terminalreporter.line(line)
