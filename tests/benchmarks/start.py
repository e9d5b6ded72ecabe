"""What stands between a user and the first answer: imports, `%load_ext`, clients, memory, and what a cell shows.

Run by `bench.py`, each function in a process of its own, except for the fresh ones that are timed here.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.server import WORD, profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TIMED = "import time\nbegan = time.perf_counter()\n{code}\nprint(time.perf_counter() - began)"
SDK = "import openai\nopenai.AsyncOpenAI(api_key='none', base_url='http://127.0.0.1:1/v1')"
LOAD = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import time
began = time.perf_counter()
shell.run_line_magic("load_ext", "victor_nb")
took = time.perf_counter() - began
print()
print(took)
"""


def fresh(code: str) -> float:
    """Return the number that a fresh interpreter prints last."""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(out.split()[-1])


def in_turn(sides: Iterable[Callable[[], float]], rounds: int) -> list[float]:
    """Return the best of some rounds of each side, which take turns."""
    found = [[side() for side in sides] for _ in range(rounds)]
    return [min(side) for side in zip(*found, strict=True)]


def imports(rounds: int, sdk: str) -> list[float]:
    """Return the seconds of `import victor_nb`, of `%load_ext victor_nb`, and of the import of an SDK."""
    once = [TIMED.format(code="import victor_nb"), LOAD, TIMED.format(code=f"import {sdk}")]
    return in_turn([lambda code=code: fresh(code) for code in once], rounds)


def orchestrators(url: str, rounds: int, sdk: str = SDK, provider: str = "openai") -> list[float]:
    """Return the seconds of a profile's first client, of the cached one, of a first AsyncOpenAI, and of a dict's item.

    The first ones are made in fresh processes, the imports of the SDK in them.
    """
    Path("profiles.yaml").write_text(json.dumps({"profiles": {"fast": profile(provider, url)}}), encoding="utf-8")
    own = "pool.get_orchestrator('fast')"
    cold = f"import victor_nb\npool = victor_nb.session().pool\n{TIMED.format(code=own)}"
    first, theirs = in_turn([lambda: fresh(cold), lambda: fresh(TIMED.format(code=sdk))], rounds)
    from victor_nb import session

    pool, plain = session().pool, {"fast": object()}
    pool.get_orchestrator("fast")

    def per_call(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        for _ in range(10_000):
            work()
        return (time.perf_counter() - began) / 10_000

    cached, item = in_turn(
        [lambda: per_call(lambda: pool.get_orchestrator("fast")), lambda: per_call(lambda: plain["fast"])], rounds
    )
    return [first, theirs, cached, item]


def memory(url: str, profiles: int) -> list[float]:
    """Return the bytes that a profile takes after a call with it, and those of an AsyncOpenAI after the same call."""
    from openai import AsyncOpenAI

    from victor_nb import session

    own = {f"p{number}": profile("openai", url) for number in range(profiles)}
    Path("profiles.yaml").write_text(json.dumps({"profiles": own}), encoding="utf-8")
    here, clients = psutil.Process(), []
    messages: Any = [{"role": "user", "content": "Name a river."}]

    async def ask(number: int) -> None:
        client = AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
        clients.append(client)
        for _ in range(1 + 9 * (not number)):  # the first makes what all share
            await client.chat.completions.create(model="gpt-4o-mini", messages=messages)

    def grown(after: int) -> float:
        return max(0, here.memory_info().rss - after) / max(1, profiles - 1)

    async def theirs() -> float:
        await ask(0)
        before = here.memory_info().rss
        for number in range(1, profiles):
            await ask(number)
        return grown(before)

    pool = session().pool
    for _ in range(10):
        pool.get_orchestrator("p0").run_sync("Name a river.")
    before = here.memory_info().rss
    for name in list(own)[1:]:
        pool.get_orchestrator(name).run_sync("Name a river.")
    return [grown(before), asyncio.run(theirs())]


def display(url: str, chunks: int) -> list[float]:
    """Return the bytes that a streamed cell sends to a notebook, and those of an update with the text at each piece.

    The cell is one of a real kernel, asked as JupyterLab asks; a piece comes each 2 ms.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from jupyter_client.manager import start_new_kernel

    wanted = profile("openai", url, f"chunks={chunks},pause=0.002")
    Path("profiles.yaml").write_text(json.dumps({"profiles": {"fast": wanted}}), encoding="utf-8")
    manager, client = start_new_kernel(kernel_name="python3")
    sent = 0

    def count(message: dict[str, Any]) -> None:
        nonlocal sent
        if message["msg_type"] in {"display_data", "update_display_data", "stream"}:
            sent += len(json.dumps(message["content"]))

    try:
        for cell in ("%load_ext victor_nb", "%%victor fast\nCount."):
            sent = 0
            asked = client.session.msg(
                "execute_request", {"code": cell, "silent": False, "store_history": True, "allow_stdin": False}
            )
            asked["metadata"] = {"cellId": "a-cell"}  # as a notebook says that it takes updates
            client.shell_channel.send(asked)
            while True:
                message = client.get_iopub_msg(timeout=120)
                if message["parent_header"].get("msg_id") == asked["header"]["msg_id"]:
                    count(message)
                    if message["content"].get("execution_state") == "idle":
                        break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    frame = {"data": {"text/markdown": "", "text/plain": ""}, "metadata": {}, "transient": {"display_id": "a" * 32}}
    naive = sum(len(json.dumps(frame)) + 2 * len(WORD) * piece for piece in range(1, chunks + 1))
    return [sent, naive]


def hops() -> list[float]:
    """Return files and functions of ours that the second streamed cell runs through, and those of the openai SDK."""
    program = Path(__file__).with_name("hops.py")
    out = subprocess.run([sys.executable, str(program), "--sdk"], check=True, capture_output=True, text=True).stdout
    return [float(word) for word in out.split() if word.isdigit()]
