"""Run a notebook in a kernel of its own, from its tape or to record it, and judge what became of it.

What is red: a cell that raises and is not tagged `raises-exception`; a line that is no magic, which IPython only
prints; an error that a cell shows and goes on; a cell that did not run; a request that the tape does not hold, even
where the cell hides it; a connection to another machine; an output that is not the one that was saved, or holds a key.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import copymode
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from victor_nb.ci import TIMEOUT
from victor_nb.ci.guard import enclose
from victor_nb.ci.outputs import IGNORED, compare
from victor_nb.config.environment import environment
from victor_nb.config.secret import SHORTEST_SECRET, Redactor, has_key, holds_key, read_dotenv
from victor_nb.errors import ConfigError
from victor_nb.wire.tape import tape_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence

    from nbclient import NotebookClient

    from victor_nb.ci.outputs import Output

NEEDED: Final = "nbclient and nbformat run notebooks, and are not installed here: pip install nbmake"
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_SHUT: Final = '__import__("victor_nb.ci.guard", fromlist=["shut"]).shut()'
_ACCOUNT: Final = '__import__("victor_nb.ci.guard", fromlist=["account"]).account()'
_PATIENCE: Final = 60.0  # seconds that the account may take
_NO_KEY: Final = "sk-no-key-in-a-replay"
"""What variables of keys hold in a replay, which sends nothing: a cell that looks whether one is set goes on."""
_FILES: Final = re.compile(r"[A-Za-z0-9+/]{256,}={0,2}")
"""Pictures in outputs, whose letters may happen to look like a key."""
_LINES: Final = 3
_LONGEST: Final = 300


class Finding(NamedTuple):
    """Why a notebook is red.

    Attributes:
        cell: The number of the cell, as in `In [7]`; None where it is no cell's.
        text: One to a few lines.
    """

    cell: int | None
    text: str

    def __str__(self) -> str:
        """Write it with its cell before it."""
        return self.text if self.cell is None else f"In [{self.cell}]: {self.text}"


def _findings() -> list[Finding]:
    return []


@dataclass
class Verdict:
    """What became of a notebook.

    Attributes:
        notebook: Its path.
        mode: How it was run.
        red: What is wrong with it; nothing: it is green.
        cells: How many cells ran.
        outputs: How many cells have outputs that are `identical` with those that were saved, `normalised`, `different`.
        rules: How many cells each rule of the normaliser made alike.
        tapes: What was replayed: name, date of the recording, exchanges, and how many of them no call asked for.
        models: Calls, tokens and list prices by model.
        seconds: How long it took.
    """

    notebook: str
    mode: str
    red: list[Finding] = field(default_factory=_findings)
    cells: int = 0
    outputs: dict[str, int] = field(default_factory=dict[str, int])
    rules: dict[str, int] = field(default_factory=dict[str, int])
    tapes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    models: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"red": [{"cell": each.cell, "text": each.text} for each in self.red]}

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> Verdict:
        """Return what `as_json` gave."""
        fields: dict[str, Any] = {**given, "red": [Finding(each["cell"], each["text"]) for each in given["red"]]}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Ran:
    """A notebook that was run, and the verdict on it."""

    verdict: Verdict
    notebook: Any
    """As nbformat has it, with its new outputs; None where it could not be read."""


async def run(
    path: Path,
    *,
    mode: Literal["record", "replay"] = "replay",
    timeout: int = TIMEOUT,  # noqa: ASYNC109 - of each cell
    saved: Sequence[Sequence[Output]] | None = None,
) -> Ran:
    """Run a notebook to its end, and judge it; nothing is written.

    Args:
        path: The notebook.
        mode: Answer from the tape without a network, or ask and record.
        timeout: Seconds that a cell may take, unless the notebook says otherwise.
        saved: The outputs to compare with, cell by cell; default: those in the file. What is recorded is not compared.

    Raises:
        ConfigError: What runs notebooks is not installed.
    """
    verdict, began = Verdict(str(path), mode), time.perf_counter()
    try:
        notebook = _read(path)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        verdict.red.append(Finding(None, f"It cannot be read: {_short(str(error))}"))
        return Ran(verdict, None)
    language = notebook.metadata.get("kernelspec", {}).get("language", "python")
    if language != "python":
        verdict.red.append(Finding(None, f"It is a notebook of {language}, and only those of Python can be run."))
        return Ran(verdict, None)
    before = outputs_of(notebook) if saved is None else saved
    runner = _Runner(notebook, path, mode=mode, timeout=timeout)
    await runner.run()
    verdict.red += runner.red
    verdict.cells = runner.cells
    _settle(verdict, runner.account)
    secrets = _secrets(path)
    _hide_keys(verdict, notebook, before, secrets)
    if mode == "replay":
        _compare(verdict, notebook, before)
    redactor = Redactor(secrets)
    verdict.red = _folded(Finding(each.cell, redactor.clean(each.text)) for each in verdict.red)
    verdict.seconds = round(time.perf_counter() - began, 2)
    return Ran(verdict, notebook)


def _folded(found: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of their cells; those that say the same, as all do of a broken tape, as one."""
    cells: dict[str, list[int | None]] = {}
    for each in sorted(found, key=lambda finding: (finding.cell is None, finding.cell or 0)):
        cells.setdefault(each.text, []).append(each.cell)
    return [
        Finding(first, f"{text}\nThe same in {len(more):,} more cell{'s'[: len(more) > 1]}." if more else text)
        for text, (first, *more) in cells.items()
    ]


# --- keys ---


def _secrets(notebook: Path) -> set[str]:
    """Return the keys of the environment, and of the .env files in a notebook's folder and those above."""
    variables = [*environment().items()]
    for above in notebook.absolute().parents:
        with suppress(ConfigError):  # there is none, or no key of it was used
            variables += [(name, key.reveal()) for name, key in read_dotenv(above / ".env").items()]
    found = {value.strip() for name, value in variables if holds_key(name)}
    return {each for each in found if len(each) >= SHORTEST_SECRET} - {_NO_KEY}


def _hide_keys(
    verdict: Verdict,
    notebook: Any,  # noqa: ANN401 - nbformat has no types
    saved: Sequence[Sequence[Output]],
    secrets: Collection[str],
) -> None:
    """Take keys out of new outputs, and call a cell red whose output holds one, or whose saved output does."""

    def holds(text: str) -> bool:
        return any(secret in text for secret in secrets) or has_key(_FILES.sub("", text))

    redactor = Redactor(secrets)
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if holds(json.dumps(cell.outputs, ensure_ascii=False)):
            cell.outputs = [_cleaned(output, redactor) for output in cell.outputs]
            fact = "its output holds a key, which is not saved. Take the key out of what the cell shows."
            verdict.red.append(Finding(cell.execution_count, fact))
        elif place < len(saved) and holds(json.dumps(saved[place], ensure_ascii=False)):
            fact = "the saved output holds a key. Revoke that key, and run and save the cell without showing it."
            verdict.red.append(Finding(cell.execution_count, fact))
    if holds(json.dumps(notebook.metadata.get("widgets", {}), ensure_ascii=False)):
        del notebook.metadata["widgets"]


def _cleaned(value: Any, redactor: Redactor) -> Any:  # noqa: ANN401 - an output of nbformat's, or a part of one
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return type(fields)({name: _cleaned(each, redactor) for name, each in fields.items()})
    if isinstance(value, list):
        return [_cleaned(each, redactor) for each in cast("list[Any]", value)]
    return redactor.clean(value) if isinstance(value, str) else value


def outputs_of(notebook: Any) -> list[list[Output]]:  # noqa: ANN401 - nbformat has no types
    """Return a copy of the outputs of each cell; nothing where the notebook holds none at all."""
    found = [deepcopy([*cell.get("outputs", ())]) for cell in notebook.cells]
    return found if any(found) or any(cell.get("execution_count") for cell in notebook.cells) else []


def write_outputs(ran: Ran, path: Path) -> None:
    """Write a notebook that was run, with its outputs and without what only its file knew.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    import nbformat  # noqa: PLC0415 - it has been run: it is here

    path = path.resolve()  # a link stays one
    new = path.with_name(f".{path.name}.new")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as when it was read
            cast("Any", nbformat).write(ran.notebook, new)
        copymode(path, new)
        new.replace(path)
    finally:
        with suppress(OSError):  # where nothing can be written there is none
            new.unlink(missing_ok=True)


def _read(path: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    try:
        import nbformat  # noqa: PLC0415 - it is not everywhere
    except ImportError:
        raise ConfigError(NEEDED) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells without ids: an older notebook
        return cast("Any", nbformat).read(path, as_version=4)


def _short(text: str) -> str:
    lines = [line.rstrip() for line in _COLOURS.sub("", text).strip().splitlines()[:_LINES]]
    return "\n".join(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in lines)


def _compare(
    verdict: Verdict,
    notebook: Any,  # noqa: ANN401 - nbformat has no types
    saved: Sequence[Sequence[Output]],
) -> None:
    """Compare outputs with those that were saved; a cell that is red already is not compared."""
    outcomes, rules = Counter[str](), Counter[str]()
    failed = {finding.cell for finding in verdict.red}
    for cell, old in zip(notebook.cells, saved, strict=False):
        number = cell.get("execution_count")
        if cell.cell_type != "code" or not number or number in failed or IGNORED in cell.metadata.get("tags", ()):
            continue
        found = compare(old, cell.outputs)
        outcomes[found.outcome] += 1
        rules.update(found.rules)
        if found.diff:
            lines = "\n".join(["the output is not the saved one (- saved, + now):", *found.diff])
            verdict.red.append(Finding(number, lines))
    verdict.outputs, verdict.rules = dict(outcomes), dict(rules)


def _settle(verdict: Verdict, account: Mapping[str, Any]) -> None:
    """Add what the kernel says: misses and connections that cells have hidden, what was asked and what it costs."""
    failed = {finding.cell for finding in verdict.red}
    for cell, fact in account.get("misses", ()):
        if cell not in failed:
            verdict.red.append(
                Finding(cell, _short(f"a request that the tape does not hold, though the cell goes on. {fact}"))
            )
    for cell, where in account.get("refused", ()):
        if not any(finding.cell == cell and where in finding.text for finding in verdict.red):
            verdict.red.append(Finding(cell, f"it wanted to connect to {where}, and a replay has no network."))
    verdict.tapes, verdict.models = account.get("tapes", []), account.get("rows", [])


# --- the kernel ---


class _Runner:
    """The run of a notebook."""

    def __init__(self, notebook: Any, path: Path, *, mode: str, timeout: int) -> None:  # noqa: ANN401 - as above
        self.red: list[Finding] = []
        self.cells = 0
        self.account: dict[str, Any] = {}
        self._notebook, self._path, self._replays, self._timeout = notebook, path, mode == "replay", timeout
        self._reply: dict[str, Any] = {}

    async def run(self) -> None:
        """Run all cells; an error does not keep the next one from running, as far as it can."""
        for cell in self._notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        try:
            async with self._kernel() as client:
                if await self._run_cells(client):
                    await self._ask_account(client)
        except RuntimeError as error:
            self.red.append(Finding(None, f"The kernel did not start: {_short(str(error))}"))
            return
        unrun = [cell for cell in self._notebook.cells if _is_to_run(cell) and not cell.execution_count]
        if unrun:
            first = unrun[0].source.strip().splitlines()[0][:60]
            self.red.append(Finding(None, f"{len(unrun)} cells did not run, the first is {first!r}."))

    @asynccontextmanager
    async def _kernel(self) -> AsyncGenerator[NotebookClient]:
        try:
            from jupyter_client.kernelspec import KernelSpec, KernelSpecManager  # noqa: PLC0415 - slow
            from jupyter_client.manager import AsyncKernelManager  # noqa: PLC0415 - slow
            from nbclient import NotebookClient  # noqa: PLC0415 - slow, and not everywhere
        except ImportError:
            raise ConfigError(NEEDED) from None
        guard = [f"--IPKernelApp.exec_lines={_SHUT}"] if self._replays else []
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *guard]

        class Here(KernelSpecManager):
            """Knows one kernel: the Python that runs this."""

            def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
                return KernelSpec(argv=command, display_name="Python 3", language="python", name=kernel_name)

        folder = TemporaryDirectory(prefix="victor-", ignore_cleanup_errors=True)
        # Through files, where there are such: a port that is free now may be another's when the kernel opens it.
        places = {} if os.name == "nt" else {"transport": "ipc", "connection_file": f"{folder.name}/k.json"}
        manager = AsyncKernelManager(kernel_spec_manager=Here(), **places)
        said = self._notebook.metadata.get("execution", {})
        client = NotebookClient(
            self._notebook,
            km=manager,
            timeout=said.get("timeout", self._timeout),
            allow_errors=True,
            record_timing=False,
        )
        client.reset_execution_trackers()
        client.on_cell_executed = self._note
        try:
            await cast("Any", manager).start_kernel(
                cwd=str(self._path.parent),
                env=self._environment(Path(folder.name)),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            await client.async_start_new_kernel_client()
            yield client
        finally:
            if (channels := cast("Any", getattr(client, "kc", None))) is not None:
                channels.stop_channels()
            with suppress(RuntimeError):  # it has ended by itself
                await cast("Any", manager).shutdown_kernel(now=self._replays)
            folder.cleanup()

    def _environment(self, folder: Path) -> dict[str, str]:
        path = self._path.absolute()
        # A `$` in it would be taken for a variable's: then the kernel finds the tape by its notebook.
        tape = "" if "$" in str(path) else str(tape_path(path))
        fixed = {"VICTOR_TAPE": tape, "JPY_SESSION_NAME": str(path), "VICTOR_PROGRESS": "off"}
        if not self._replays:
            return environment(**fixed, VICTOR_MODE="record")
        enclose(folder)
        made = environment(**fixed, VICTOR_MODE="replay", VICTOR_LEDGER="memory", NO_PROXY="*")
        made["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), made.get("PYTHONPATH"))))
        return {
            name: _NO_KEY if value.strip() and holds_key(name) else value
            for name, value in made.items()
            if name.lower() not in _PROXIES
        }

    async def _note(self, *, execute_reply: dict[str, Any], **_: object) -> None:
        self._reply = execute_reply["content"]

    async def _run_cells(self, client: NotebookClient) -> bool:
        """Run the cells; return whether the kernel can still be asked."""
        from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415 - slow

        for index, cell in enumerate(self._notebook.cells):
            if not _is_to_run(cell):
                continue
            number = self.cells + 1
            try:
                await client.async_execute_cell(cell, index)
            except CellTimeoutError:
                self.red.append(Finding(number, f"it did not end within {client.timeout} s."))
                return False
            except DeadKernelError:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError from None
                self.red.append(Finding(number, "the kernel died."))
                return False
            self.cells = number
            cell.execution_count = number
            self.red += self._judge(cell, number)
            await self._mock(client, cell)
        return True

    def _judge(self, cell: Any, number: int) -> list[Finding]:  # noqa: ANN401 - nbformat has no types
        expected = "raises-exception" in cell.metadata.get("tags", ()) or self._notebook.metadata.get(
            "execution", {}
        ).get("allow_errors", False)
        printed = "".join(each.text for each in cell.outputs if each.output_type == "stream" and each.name == "stderr")
        usage = next((line for line in printed.splitlines() if line.startswith("UsageError")), None)
        shown = [each for each in cell.outputs if each.output_type == "error"]
        failed = self._reply.get("status") == "error"
        if expected and (failed or shown):
            return []
        if failed and not usage:
            last = self._reply if not shown else shown[-1]
            return [Finding(number, _short(f"{last.get('ename')}: {last.get('evalue')}"))]
        if usage:
            return [Finding(number, f"{_short(usage)} Nothing was asked: IPython only prints this.")]
        return [
            Finding(number, _short(f"it shows an error, though it goes on: {each.ename}: {each.evalue}"))
            for each in shown[-1:]
        ]

    async def _mock(self, client: NotebookClient, cell: Any) -> None:  # noqa: ANN401 - nbformat has no types
        """Run what the metadata of a cell asks nbmake to run after it."""
        given = cell.metadata.get("nbmake", {})
        lines = [f"{name} = {value!r}" for name, value in given.get("mock", {}).items()]
        lines += given.get("post_cell_execute", [])
        if lines:
            reply = await cast("Any", client.kc).execute(
                "\n".join(lines), store_history=False, reply=True, timeout=self._timeout
            )
            if reply["content"]["status"] != "ok":
                words = f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}"
                self.red.append(Finding(self.cells, _short(f"what nbmake is to run after it failed: {words}")))

    async def _ask_account(self, client: NotebookClient) -> None:
        try:
            reply = await cast("Any", client.kc).execute(
                "", silent=True, user_expressions={"account": _ACCOUNT}, reply=True, timeout=_PATIENCE
            )
            said = reply["content"]["user_expressions"]["account"]
            self.account = json.loads(ast.literal_eval(said["data"]["text/plain"]))
        except (TimeoutError, KeyError, RuntimeError) as error:
            self.red.append(Finding(None, f"The kernel does not say what it has asked: {_short(repr(error))}"))


def _is_to_run(cell: Any) -> bool:  # noqa: ANN401 - nbformat has no types
    tags = cell.metadata.get("tags", ())
    return cell.cell_type == "code" and bool(cell.source.strip()) and "skip-execution" not in tags
