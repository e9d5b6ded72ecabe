"""Record the tapes of example notebooks, and replay them: `make tapes`.

What providers would answer comes from a server on this machine: it speaks their protocols, and takes its answers from
`answers/NAME.yaml`. Notebook, kernel, clients and sockets are real; then the notebook is replayed without the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from victor_nb import Settings
from victor_nb.config.answers import Answers
from victor_nb.providers.spec import BUILT_IN
from victor_nb.values import ORIGIN, Origin, SimulatedQuestion
from victor_nb.wire.dialects.base import Call
from victor_nb.wire.simulator import Simulator
from victor_nb.wire.tape import TapeFile, tape_path

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
RECORDED: Final = ("01_quickstart",)
KEYS: Final = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
COMMON: Final = {"VICTOR_LEDGER": "memory", "VICTOR_PROGRESS": "off", "TZ": "UTC", "NO_PROXY": "*", "CI": ""}


class Provider:
    """All providers in one: the simulator's protocols, with the answers of a notebook."""

    def __init__(self, name: str) -> None:
        self._simulator = Simulator(*BUILT_IN)
        self._dialects = [kind() for spec in BUILT_IN for kind in spec.load_dialects()]
        self._answers, self._asked, self._lock = Answers(), Counter[bytes](), threading.Lock()
        self._answers.use(HERE / "answers" / f"{name}.yaml")
        profiles = Settings(HERE.parent / "profiles.yaml").profiles
        self._profiles = {profile.model: profile.name for profile in profiles.values()}

    async def ask(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to a request; what is asked twice is asked for another sample."""
        body = await request.aread()
        call = Call(request.method, request.url.path, dict(request.url.params), request.headers, json.loads(body))
        dialect = next(dialect for dialect in self._dialects if dialect.path.search(call.path))
        asked = dialect.read(call)
        with self._lock:
            sample = self._asked[request.url.raw_path + body]
            self._asked[request.url.raw_path + body] += 1
            question = SimulatedQuestion(
                profile=self._profiles[asked.model],
                stage=None,
                sample=sample,
                prompt=asked.messages[-1].content,
                system=asked.system,
                model=asked.model,
            )
            answer = self._answers.find(question)
        ORIGIN.set(replace(Origin(sample), answer=answer))
        return await self._simulator.handle_async_request(request)


@contextmanager
def serving(name: str) -> Iterator[str]:
    """Serve the answers of a notebook; yield the address."""
    provider = Provider(name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            address = f"http://{self.headers['host']}{self.path}"
            asyncio.run(self.answer(httpx2.Request("POST", address, headers=dict(self.headers), content=content)))

        async def answer(self, request: httpx2.Request) -> None:
            response = await provider.ask(request)
            self.send_response(response.status_code)
            for key, value in response.headers.items():
                if key not in {"content-length", "transfer-encoding"}:
                    self.send_header(key, value)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            async for piece in response.aiter_raw():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def run(name: str, environment: dict[str, str], *, allow_errors: bool = False) -> None:
    """Run a notebook in a fresh kernel.

    Raises:
        CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120, allow_errors=allow_errors)
    outside = {key: value for key, value in os.environ.items() if not key.startswith("VICTOR_")}
    client.execute(cwd=str(HERE), env={**outside, **COMMON, **environment}, stderr=subprocess.DEVNULL)


def record(name: str) -> None:
    """Record a notebook. What its hidden cells hold of simulated answers is no matter here."""
    tape_path(HERE / f"{name}.ipynb").unlink(missing_ok=True)
    with serving(name) as url:
        keys = dict.fromkeys(KEYS, "no-key-of-anyone")
        places = {
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
            "GOOGLE_GEMINI_BASE_URL": url,
            "OLLAMA_HOST": url,
        }
        run(name, {"VICTOR_MODE": "record", "VICTOR_RECORD_IN_CI": "1", **keys, **places}, allow_errors=True)


def main() -> int:
    """Record and replay each; return the exit code."""
    failed = 0
    for name in RECORDED:
        record(name)
        tape = TapeFile(tape_path(HERE / f"{name}.ipynb"))
        print(f"{tape.name}: {len(tape.read())} exchanges, {tape.path.stat().st_size / 1e3:.0f} kB", end="")
        try:
            run(name, {"VICTOR_MODE": "replay"})
        except CellExecutionError as error:
            print(f"; it does not replay: {error}")
            failed += 1
        else:
            print("; it replays")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
