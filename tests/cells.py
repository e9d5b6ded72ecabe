"""A notebook without a front end: cells run in an IPython shell of this process, or in a real kernel."""

from __future__ import annotations

import atexit
import os
import queue
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml
from IPython.core.completer import provisionalcompleter
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import KernelManager
from traitlets.config import Config

from servers import OPENAI

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from servers import Server

ROOT = Path(__file__).parents[1]
MARKDOWN, PLAIN = "text/markdown", "text/plain"
PROFILES = {
    "fast": {"provider": "openai", "model": "gpt-4o-mini"},
    "local": {"provider": "ollama", "model": "qwen2.5-coder:7b"},
}
OPENED: list[Shell] = []  # shells of the running test, which conftest closes after it


@dataclass
class Ran:
    """What running a cell brought.

    Attributes:
        frames: The bundles that were shown, in order; several of one display are several frames.
        value: The cell's last expression, in process only.
        error: The exception (in process), or its rendered lines (from a kernel).
        said: What was printed.
    """

    frames: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    value: Any = None
    error: Any = None
    said: str = ""

    @property
    def shown(self) -> str:
        """The Markdown of the only display, as it is saved."""
        return self.frames[-1][MARKDOWN]

    @property
    def plain(self) -> str:
        """Its plain text."""
        return self.frames[-1][PLAIN]


class Shell:
    """An IPython shell with the extension loaded; nobody watches it.

    Attributes:
        numbers: Whether its cells are numbered and kept, as a notebook's are.
    """

    def __init__(self) -> None:
        self.numbers = False
        config = Config()
        config.HistoryManager.enabled = False
        self.ip = InteractiveShell(config=config)
        OPENED.append(self)
        self.ip.display_pub = self._screen = CapturingDisplayPublisher()
        self.run("%load_ext victor_nb")

    def run(self, cell: str) -> Ran:
        """Run a cell."""
        self._screen.outputs.clear()
        result = self.ip.run_cell(cell, silent=False, store_history=self.numbers)
        error = result.error_before_exec or result.error_in_exec
        return Ran([output["data"] for output in self._screen.outputs], result.result, error)

    def complete(self, text: str) -> set[str]:
        """Return what Tab offers at the end of a text."""
        with provisionalcompleter():
            return {item.text for item in self.ip.Completer.completions(text, len(text))}

    def fail(self, cell: str) -> BaseException:
        """Run a cell that must fail, and hold that its error is short."""
        error = self.run(cell).error
        assert error is not None, "the cell did not fail"
        lines = error._render_traceback_()
        assert 1 <= len(lines) <= 3
        assert all("\n" not in line for line in lines)
        return error

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's variables."""
        return self.ip.user_ns

    def close(self) -> None:
        """Give the process its `__main__` back, and let go of the shell.

        IPython would keep each one to the end of the process, and empty one after the other then: a minute in all.
        """
        scripts: Any = self.ip.magics_manager.registry["ScriptMagics"]
        atexit.unregister(scripts.kill_bg_processes)
        atexit.unregister(self.ip.atexit_operations)
        self.ip.restore_sys_module_state()


def close_shells() -> None:
    """Close what the test has opened, the last one first, as each remembers the `__main__` it found."""
    while OPENED:
        OPENED.pop().close()


@dataclass
class Message:
    """One message of a kernel about a cell, and the seconds since the cell was sent."""

    kind: str
    content: dict[str, Any]
    at: float


def on_pipes(folder: str) -> dict[str, str]:
    """Return what has a kernel manager talk through files of a folder, whose path must be short.

    A free port that it had chosen may be another test's by the time the kernel opens it.
    """
    return {"transport": "ipc", "connection_file": f"{folder}/{uuid4().hex[:8]}.json"}


class Kernel:
    """A real kernel, as Jupyter starts one.

    Args:
        folder: Where it runs.
        **variables: The environment beyond the test's own.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self._pipes = TemporaryDirectory(prefix="k-")
        self._manager = KernelManager(kernel_name="python3", **on_pipes(self._pipes.name))
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "VICTOR_LEDGER": "memory", **variables}
        self._manager.start_kernel(env=environment, cwd=str(folder), stderr=-3)
        self.client = self._manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel()
        self._manager.cleanup_resources()
        self._pipes.cleanup()

    def interrupt(self) -> None:
        """Press Stop."""
        self._manager.interrupt_kernel()

    def messages(
        self, cell: str, *, meanwhile: Callable[[list[Message]], None] = lambda _: None, console: bool = False
    ) -> list[Message]:
        """Run a cell, as JupyterLab does or as a console, and return what the kernel said until it was idle again."""
        asked = self.client.execute(cell) if console else self._execute_as_a_notebook(cell)
        return self._hear(asked, meanwhile)

    def click(self, comm: str) -> list[Message]:
        """Click a button, and return what the kernel said until it was idle again."""
        data = {"method": "custom", "content": {"event": "click"}, "buffers": []}
        return self._hear(self._send("comm_msg", {"comm_id": comm, "data": data}, {}), lambda _: None)

    def _hear(self, asked: str, meanwhile: Callable[[list[Message]], None]) -> list[Message]:
        start = time.monotonic()
        heard: list[Message] = []
        while time.monotonic() < start + 60:
            meanwhile(heard)
            try:
                message = self.client.get_iopub_msg(timeout=0.02)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            heard.append(Message(message["msg_type"], message["content"], time.monotonic() - start))
            if heard[-1].kind == "status" and heard[-1].content["execution_state"] == "idle":
                return heard
        raise AssertionError(f"not idle after 60 s: {heard}")

    def _execute_as_a_notebook(self, cell: str) -> str:
        content = {"code": cell, "silent": False, "store_history": True, "user_expressions": {}, "stop_on_error": True}
        metadata = {"cellId": str(uuid4()), "deletedCells": [], "recordTiming": False}
        return self._send("execute_request", content | {"allow_stdin": False}, metadata)

    def _send(self, kind: str, content: dict[str, Any], metadata: dict[str, Any]) -> str:
        message = self.client.session.msg(kind, content, metadata=metadata)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(self, cell: str, *, console: bool = False) -> Ran:
        """Run a cell, and return what it showed."""
        return ran(self.messages(cell, console=console))


def ran(messages: list[Message]) -> Ran:
    """Sum up what a kernel said about a cell."""
    result = Ran()
    for message in messages:
        content = message.content
        if message.kind in {"display_data", "update_display_data", "execute_result"}:
            result.frames.append(content["data"])
        elif message.kind == "error":
            result.error = content["traceback"]
        elif message.kind == "stream":
            result.said += content["text"]
    return result


def served(server: Server) -> dict[str, dict[str, Any]]:
    """Return profiles of which `fast` is a server of ours."""
    fast = {"provider": "openai", "model": OPENAI.model, "base_url": OPENAI.base_url(server.url), "retries": 0}
    return {"fast": fast, "other": {**fast, "system": "Be other."}}


def write(folder: Path, profiles: dict[str, Any]) -> None:
    """Write profiles.yaml."""
    text = yaml.safe_dump({"default": "fast", "profiles": profiles}, sort_keys=False)
    (folder / "profiles.yaml").write_text(text, encoding="utf-8")


def sent(server: Server) -> dict[str, Any]:
    """Return the JSON of the last request."""
    return server.requests[-1].json


def prompt(server: Server) -> str:
    """Return the last message of the last request."""
    return sent(server)["messages"][-1]["content"]
