"""A warm process that has opened nothing, from which kernels are forked: each lives as if it had been started anew.

Run as a program, it reads orders as lines of JSON and writes the ids of the kernels that it starts, then, when all of
them have ended, how each did. Imported, it gives the other end: `with Nursery() as nursery: nursery.start(...)`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

WARM: Final = (
    "httpcore2",
    "h11",
    "anyio._backends._asyncio",
    "truststore",
    "tenacity",
    "httpx_aiohttp",
    "openai.resources.chat",
)
"""What a first call imports beside what our modules do."""


class Nursery:
    """The warm process, as a test has it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, kernels: int, *, folder: str, env: Mapping[str, str], calls: int, at_once: int) -> list[int]:
        """Start kernels in a folder that ask `calls` times each, or until a budget refuses; return their ids."""
        self._write({"kernels": kernels, "folder": folder, "env": dict(env), "calls": calls, "at_once": at_once})
        return self._read()

    def wait(self) -> list[int]:
        """Wait until all have ended, and return how: 0, or minus the signal that killed it."""
        return self._read()

    def _write(self, order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _read(self) -> list[int]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def live(order: Mapping[str, Any]) -> None:
    """Be a kernel: ask several at once, again and again, until a budget refuses."""
    import asyncio

    from victor_nb import kernel
    from victor_nb.errors import BudgetError

    os.chdir(order["folder"])
    os.environ.update(order["env"])
    session = kernel.session()

    async def ask() -> None:
        for _ in range(order["calls"] // order["at_once"]):
            await session.pool.get_orchestrator("paid").run("How many?")

    async def ask_all() -> None:
        outcomes = await asyncio.gather(*(ask() for _ in range(order["at_once"])), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, BudgetError):
                raise outcome

    asyncio.run(ask_all())
    kernel.reset()


def serve() -> None:
    """Fork kernels as ordered."""
    import victor_nb

    for name in (*WARM, *(module.name for module in pkgutil.walk_packages(victor_nb.__path__, "victor_nb."))):
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        order, kernels = json.loads(line), list[int]()
        for _ in range(order["kernels"]):
            if not (kernel := os.fork()):
                try:
                    live(order)
                    os._exit(0)
                finally:  # a child must not go on as the nursery
                    traceback.print_exc()
                    os._exit(1)
            kernels.append(kernel)
        say(kernels)
        say([os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1]) for kernel in kernels])


def say(numbers: list[int]) -> None:
    """Write a line to the test."""
    sys.stdout.write(json.dumps(numbers) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
