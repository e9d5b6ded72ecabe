"""A Jupyter server of the tests' own, for JupyterLab or Notebook 7."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

from surroundings import is_foreign

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

App = Literal["lab", "notebook"]

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60  # seconds that a server may take to start on a busy machine
SERVER: Final[Mapping[str, Any]] = {
    "ServerApp": {
        "allow_root": True,  # as containers do
        "ip": "127.0.0.1",
        "open_browser": False,
        "port": 0,  # a free one
        "terminals_enabled": False,
    },
    # `window.jupyterapp`: how a page tells that its kernel is connected.
    "LabApp": {"expose_app_in_browser": True},
    "JupyterNotebookApp": {"expose_app_in_browser": True},
}
# No news, no notes, every cell and output in the page, and the theme that the page asks for.
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "apputils-extension/themes": {"adaptive-theme": True},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none", "maxNumberOutputs": 1000},
}


class Site:
    """A server in a process of its own, with a home, settings and a working folder below `folder`.

    It asks no provider and keeps no ledger, unless a cell says otherwise with `%env`.

    Attributes:
        work: Where notebooks live and kernels run.
        url: Its address, with a slash at the end.
        token: What opens it.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self._folder = folder
        self._log = folder / "server.log"
        self.url = self.token = ""
        self._ending = ThreadPoolExecutor(1, "ending")

    def __enter__(self) -> Self:
        self.work.mkdir(parents=True)
        write_settings(self._folder / "config")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", Path(__file__).with_name("leash.py")],
                cwd=self.work,
                env=environment(self._folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.shutdown()
        self._stop()

    def address(self, app: App, name: str) -> str:
        """Return where an app shows a notebook, and nothing that was open before."""
        place = "notebooks/{}?" if app == "notebook" else "lab/tree/{}?reset&"
        return f"{self.url}{place.format(quote(name))}token={self.token}"

    def start_kernel(self, name: str) -> None:
        """Start the kernel of a notebook, for a page that is about to open it."""
        wanted = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        self._ask("POST", "api/sessions", wanted)

    def end_kernel(self, name: str) -> Future[None]:
        """Shut down the kernel of a notebook; nobody needs to wait for it."""
        return self._ending.submit(self._end_kernel, name)

    def _end_kernel(self, name: str) -> None:
        for session in self._ask("GET", "api/sessions"):
            if session["path"] == name:
                self._ask("DELETE", f"api/sessions/{session['id']}")

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        headers = {"Authorization": f"token {self.token}"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                said = answer.read()
        except OSError:
            assert self._process.poll() is None, f"the server has ended:\n{self.log()}"
            raise
        return json.loads(said) if said else None

    def _await(self) -> None:
        """Wait for the file in which a server says where it is, and for its first answer."""
        runtime = self._folder / "runtime" / f"jpserver-{self._process.pid}.json"
        end = time.monotonic() + PATIENCE
        while not self._answers(runtime):
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server did not start:\n{self.log()}")
            time.sleep(0.02)

    def _answers(self, runtime: Path) -> bool:
        try:
            said = json.loads(runtime.read_text(encoding="utf-8"))
            self.url, self.token = said["url"], said["token"]
            self._ask("GET", "api/status")
        except (OSError, ValueError):  # not there, half written, not yet listening
            return False
        return True

    def log(self) -> str:
        """Return the last that the server and its kernels wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _stop(self) -> None:
        """Let go of the leash; kill the group if it does not come to an end."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def write_settings(folder: Path) -> None:
    """Write what the server and its front ends read in a user's folder of settings."""
    files: dict[str, Mapping[str, Any]] = {"jupyter_server_config.json": SERVER}
    for plugin, chosen in SETTINGS.items():
        files[f"lab/user-settings/@jupyterlab/{plugin}.jupyterlab-settings"] = chosen
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    """Return what the server and its kernels see: nothing of the user's, somebody watches, and models are quick."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (is_foreign(name) or name.upper().startswith("JUPYTER"))
    }
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {
        **kept,
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "PYTHONPATH": path,
        "VICTOR_LEDGER": "memory",
        "VICTOR_MODE": "simulate",
        "VICTOR_SIM_SPEED": "0.2",
    }
