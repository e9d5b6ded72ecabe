"""llama.cpp's own server in a child process, for one model file: started, shared, and ended with this process.

The kernel imports this file as a module; the child runs it as a program, and so it needs nothing but the standard
library and, there, xllamacpp. The child takes its order as a line of JSON on standard input and answers with another;
the key is in that order, since the command line of a process is no secret. It ends when its standard input does, or
when its parent is another one than at its start: a forked process may hold the other end of a killed kernel's pipe.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

SLOTS: Final = 4
"""Calls that a server works on at once."""
CONTEXT: Final = 4_096  # tokens of one slot: a prompt and its answer
_LOOK: Final = 0.5  # seconds between two looks at who the parent is
_END: Final = 5.0  # seconds that a killed process may take to be gone


class StartError(Exception):
    """The server did not start, or was stopped while it did; the text is the reason."""


class Server:
    """A child that serves one file, under a key that only this process knows.

    Attributes:
        key: What it wants to be asked with.
        users: The clients that use it, by number; it ends with the last of them.
    """

    def __init__(self, model: Path) -> None:
        from victor_nb.config.environment import environment_without_keys  # noqa: PLC0415 - the child imports nothing of us

        self.key = secrets.token_hex(16)
        self.users: set[int] = set()
        self._waiting = 0
        self._url: Future[str] = Future()
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_without_keys(),  # a model file may be a stranger's
            bufsize=0,  # a buffer has a lock, which a fork may copy while it is held
            start_new_session=True,  # an interrupt of the kernel is sent to its whole group
        )
        order = {"model": str(model), "key": self.key, "slots": SLOTS, "context": CONTEXT, "parent": os.getpid()}
        with suppress(OSError):  # it has ended already: its answer says so
            self._pipe("stdin").write(json.dumps(order).encode() + b"\n")
        threading.Thread(target=self._listen, name="victor_nb llama.cpp", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it serves, or is about to."""
        failed = self._url.done() and self._url.exception() is not None
        return not failed and self._process.poll() is None

    async def url(self) -> str:
        """Wait until it serves, and return its address. Where nothing waits for it any more, its start is given up.

        Raises:
            StartError: It does not serve.
        """
        self._waiting += 1
        waiting = asyncio.wrap_future(self._url)
        waiting.add_done_callback(_look_at)
        try:
            return await asyncio.shield(waiting)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._url.done():
                self.end()

    def end(self) -> None:
        """End the process, and wait until it is gone."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        self._pipe("stdin").close()

    def forget(self) -> None:
        """Leave the process to the parent, in a forked child: what it holds of the pipes would keep it alive."""
        self._process.returncode = 0  # it is no child of this process, which cannot wait for it
        for name in ("stdin", "stdout"):
            self._pipe(name).close()

    def _pipe(self, name: str) -> Any:  # noqa: ANN401 - a FileIO, which Popen does not say
        return getattr(self._process, name)

    def _listen(self) -> None:
        """Read the child's one line."""
        out = self._pipe("stdout")
        said: dict[str, str] = {}
        with suppress(ValueError):
            said = json.loads(out.readline() or "{}")
        out.close()
        if "url" in said:
            self._url.set_result(said["url"])
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        self._url.set_exception(StartError(said.get("fault") or _why(self._process.returncode)))


def _look_at(waiting: asyncio.Future[str]) -> None:
    """Mark a failure as seen, also where what has waited for it was cancelled: else asyncio writes it to the log."""
    if not waiting.cancelled():
        waiting.exception()


def _why(code: int | None) -> str:
    """Return why a child ended that has not said it."""
    if code is not None and code < 0:
        memory = "; is there enough memory?" if code == -signal.SIGKILL else ""
        return f"it was ended by signal {-code} while it started{memory}"
    return f"it ended with status {code} while it started"


# --- the servers of this process ---

_servers: dict[tuple[Path, int, int], Server] = {}
_lock = threading.Lock()
_numbers: Final = itertools.count()
_gone: Final = deque[int]()
"""Clients that were collected as garbage, which may be at any point: they are looked after later."""


def hire(model: Path, user: int) -> Server:
    """Return the server of a file, for a client to use until it lets go of it; the first one starts it.

    Raises:
        OSError: The file, or this Python, is not there.
    """
    status = model.stat()
    place = (model, status.st_mtime_ns, status.st_size)
    with _lock:
        _let_go()
        found = _servers.get(place)
        if found is None or not found.alive:
            users = set[int]()
            if found is not None:
                found.end()
                users = found.users
            found = _servers[place] = Server(model)
            found.users = users
        found.users.add(user)
        return found


def dismiss(user: int) -> None:
    """Let go of the servers that a client uses, and end those that no other uses."""
    _gone.append(user)
    with _lock:
        _let_go()


def _let_go() -> None:
    while _gone:
        user = _gone.popleft()
        for place, server in list(_servers.items()):
            server.users.discard(user)
            if not server.users:
                del _servers[place]
                server.end()


def watch(client: object) -> int:
    """Return a number for a client, by which servers know it; its end as garbage is noticed at the next call of any."""
    user = next(_numbers)
    weakref.finalize(client, _gone.append, user).atexit = False
    return user


def renew() -> None:
    """Begin anew in a forked child, whose parent has the servers."""
    global _lock  # noqa: PLW0603 - it may have been held in the parent
    _lock = threading.Lock()
    for server in _servers.values():
        server.forget()
    _servers.clear()


# --- the child ---


def main() -> None:
    """Serve as ordered, until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        server = _serve(order)
        said = {"url": server.listening_address}
    except (ImportError, RuntimeError, OSError) as error:
        server, said = None, {"fault": _fault(error)}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    while server is not None and os.getppid() == order["parent"]:
        time.sleep(_LOOK)
    os._exit(0)  # llama.cpp's threads need not be waited for


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _fault(error: Exception) -> str:
    """Return what an error at the start means; llama.cpp says no more of a file than that it failed."""
    if isinstance(error, ImportError):
        return f"xllamacpp cannot be imported: {error}"
    return "llama.cpp cannot load it: it is cut short, damaged, or of a kind that it does not know"


def _serve(order: dict[str, Any]) -> Any:  # noqa: ANN401 - xllamacpp has no types
    """Return a running server of llama.cpp's, on a free port of this machine."""
    xllamacpp: Any = import_module("xllamacpp")
    params: Any = xllamacpp.CommonParams()
    params.model.path, params.model_alias = order["model"], {Path(order["model"]).stem}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [order["key"]]
    params.n_parallel, params.n_ctx = order["slots"], order["slots"] * order["context"]
    # Half of the cores: with all of them it slows down to a fifth as soon as anything else wants one.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, _cores() // 2)
    params.cache_ram_mib = 0  # else it keeps up to 8 GB of what was asked
    params.offline, params.ui, params.verbosity = True, False, 0
    return xllamacpp.Server(params)


def _cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


if __name__ == "__main__":
    main()
