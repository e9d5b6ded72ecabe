"""Record the tapes of example notebooks: `make tapes`.

What providers would answer comes from a server on this machine: it speaks their protocols, and answers as the simulator
does in the same place of the notebook. Notebook, kernel, clients and sockets are real. The server answers at once; then
each answer on the tape gets the seconds that it would have taken by the pace of its model, so that tapes that are
recorded twice are alike.

In the kernel that records, this file is an extension of IPython: it serves the answers, and tells the server which call
a request belongs to, which no provider knows. That is in a header below the place where a tape is recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from victor_nb.errors import TapeError
from victor_nb.kernel import session
from victor_nb.providers import embedded
from victor_nb.providers.spec import BUILT_IN
from victor_nb.values import ORIGIN, Origin, SimulatedQuestion
from victor_nb.wire import transport
from victor_nb.wire.clock import CLOCK, Clock
from victor_nb.wire.dialects.base import Call
from victor_nb.wire.simulator import Simulator
from victor_nb.wire.tape import STOPS, Exchange, TapeFile, tape_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbformat import NotebookNode

HERE: Final = Path(__file__).parent
TIMES: Final = "TIMES_OF_ANSWERS"  # names the file where the server writes them
NUMBER: Final = "x-answer"
KEYS: Final = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
ENVIRONMENT: Final = {
    "VICTOR_MODE": "record",
    "VICTOR_RECORD_IN_CI": "1",
    "VICTOR_LEDGER": "memory",
    "VICTOR_PROGRESS": "off",
    "VICTOR_SIM_SPEED": "0",
    "TZ": "UTC",
    "NO_PROXY": "*",
    **dict.fromkeys(KEYS, "no-key-of-anyone"),
}
SECONDS: Final = 300  # that a cell may take


# --- in the kernel that records ---


class Answers:
    """What the simulator answers, by the numbers of requests."""

    def __init__(self) -> None:
        self.times = Path(os.environ[TIMES])
        self._simulator = Simulator(*BUILT_IN, speed=0)
        self._dialects = [kind() for spec in BUILT_IN for kind in spec.load_dialects()]
        self._numbers, self._origins, self._attempts = count(), dict[str, Origin](), Counter[str]()
        self._lock = threading.Lock()

    def expect(self, request: httpx2.Request, content: bytes, origin: Origin) -> str | None:
        """Return the number of a request, or None for one that is not to be answered, until it is stopped.

        The answer to it is what the notebook's simulator has for this call.
        """
        self._attempts[origin.call] += 1
        call = Call(request.method, request.url.path, dict(request.url.params), request.headers, json.loads(content))
        asked = next(dialect for dialect in self._dialects if dialect.path.search(call.path)).read(call)
        question = SimulatedQuestion(
            profile=origin.profile,
            stage=origin.stage,
            sample=origin.sample,
            prompt=asked.messages[-1].content,
            system=asked.system,
            model=asked.model,
            attempt=self._attempts[origin.call],
        )
        here, clock = session(), Clock(datetime.now(UTC))
        token = CLOCK.set(clock)
        answer = here.runtime.answers.find(question, here.settings.answer_files)
        CLOCK.reset(token)
        if clock.deadline is not None:  # the notebook lets this call stand still, which here is at once
            clock.expire()
            self.note(0.0, (), clock.deadline)
            return None
        number = str(next(self._numbers))
        self._origins[number] = Origin(origin.sample, answer)
        return number

    async def ask(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to a request."""
        ORIGIN.set(self._origins.get(request.headers.get(NUMBER, ""), Origin()))
        return await self._simulator.handle_async_request(request)

    def note(self, answered: float, pieces: Sequence[tuple[float, bytes]], latency: float) -> None:
        """Write down the seconds of an answer, with its parts."""
        parts = [(at, data.decode()) for at, data in pieces]
        with self._lock, self.times.open("a", encoding="utf-8") as file:
            file.write(json.dumps([answered, parts, latency]) + "\n")


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    answers: Answers

    def do_POST(self) -> None:
        """Answer one request."""
        content = self.rfile.read(int(self.headers["content-length"]))
        address = f"http://{self.headers['host']}{self.path}"
        asyncio.run(self.answer(httpx2.Request("POST", address, headers=dict(self.headers), content=content)))

    async def answer(self, request: httpx2.Request) -> None:
        """Answer one request, at once; note the seconds that it should have taken."""
        clock = Clock(datetime.now(UTC))
        CLOCK.set(clock)
        response = await self.answers.ask(request)
        answered, pieces = clock.now, list[tuple[float, bytes]]()
        self.send_response(response.status_code)
        for key, value in response.headers.items():
            if key not in {"content-length", "transfer-encoding"}:
                self.send_header(key, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        async for piece in cast("httpx2.AsyncByteStream", response.stream):
            pieces.append((clock.now, piece))
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
        self.answers.note(answered, pieces, clock.now)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Write nothing."""


def load_ipython_extension(_shell: object) -> None:
    """Serve the answers of this kernel's notebook, and send its requests to the server with their numbers."""
    answers = Answers()

    class Numbered(transport.Real):
        """Real connections, whose requests have a number."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            content, origin = await request.aread(), ORIGIN.get()
            if origin.call:
                number = answers.expect(request, content, origin)
                if number is None:
                    await asyncio.sleep(SECONDS)
                    raise TimeoutError("the notebook lets this call stand still, and does not stop it")
                request.headers[NUMBER] = number
            return await super().handle_async_request(request)

    transport.Real = Numbered  # type: ignore[misc] - the one place where they are made
    handler = type("Answering", (Handler,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    os.environ.update(OPENAI_BASE_URL=f"{url}/v1", ANTHROPIC_BASE_URL=url, GOOGLE_GEMINI_BASE_URL=url, OLLAMA_HOST=url)

    class Started:
        """The server of a model file: this one, so that no file is needed."""

        key = "none"

        async def url(self) -> str:
            """Return where it listens."""
            return url

    started = Started()
    for name, stand_in in {"_file": lambda _endpoint: Path("no.gguf"), "hire": lambda _file, _number: started}.items():
        setattr(embedded, name, stand_in)


# --- outside of it ---


def run(name: str, folder: Path) -> NotebookNode:
    """Run a notebook in a kernel that records into a folder; return it, whatever its hidden cells hold."""
    notebook, answers = nbformat.read(HERE / f"{name}.ipynb", as_version=4), HERE / "answers" / f"{name}.yaml"
    client = NotebookClient(notebook, timeout=SECONDS, allow_errors=True, extra_arguments=["--ext=record_tapes"])
    outside = {key: value for key, value in os.environ.items() if not key.startswith("VICTOR_") and key != "CI"}
    mine = {TIMES: str(folder / "times"), "VICTOR_TAPE": str(folder / "new.jsonl"), **ENVIRONMENT}
    if answers.exists():
        mine["VICTOR_ANSWERS"] = str(answers)
    client.execute(cwd=str(HERE), env={**outside, **mine}, stderr=subprocess.DEVNULL)
    return notebook


def failures(notebook: NotebookNode) -> Iterator[str]:
    """Yield a line for each cell that failed, and is neither hidden nor to fail."""
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", ()):
            if output.output_type == "error" and not {"hidden", "raises-exception"} & {*cell.metadata.get("tags", ())}:
                yield f"cell {number}: {output.ename}: {output.evalue}"


def timed(exchanges: Iterable[Exchange], times: Path) -> Iterator[Exchange]:
    """Yield exchanges with the seconds of their answers.

    Raises:
        LookupError: An answer came otherwise than it was sent.
    """
    known: dict[str, Any] = {}
    for line in times.read_text(encoding="utf-8").splitlines():
        answered, parts, latency = json.loads(line)
        pieces = tuple((at, text.encode()) for at, text in parts)
        known[sha256(b"".join(data for _, data in pieces)).hexdigest()] = {
            "answered": answered,
            "pieces": pieces,
            "latency": latency,
        }
    for exchange in exchanges:
        of_answer = known.get(sha256(exchange.body).hexdigest())
        if exchange.fault in STOPS and not exchange.pieces:
            yield replace(exchange, **(of_answer or {"answered": 0.0, "latency": 0.0}))
        elif exchange.pieces and of_answer is not None:
            yield replace(exchange, **of_answer)
        else:
            raise LookupError(f"In [{exchange.cell}]: what {exchange.profile} answered is not what was sent.")


def record(name: str) -> str:
    """Record a notebook; return what is to be said, what failed in further lines.

    A tape that would hold the same as before stays as it is.
    """
    tape = TapeFile(tape_path(HERE / f"{name}.ipynb"))
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            notebook = run(name, folder)
            exchanges = list(timed(TapeFile(folder / "new.jsonl").read(), folder / "times"))
        except (CellTimeoutError, DeadKernelError, LookupError, TapeError) as error:
            return f"{tape.name}: it was not recorded.\n  {error}"
    lines = sorted(exchange.line() for exchange in exchanges)
    if not tape.path.exists() or lines != sorted(exchange.line() for exchange in tape.read()):
        tape.write(exchanges)
        tape.path.chmod(0o644)  # it is committed
    said = f"{tape.name}: {len(exchanges)} exchanges, {tape.path.stat().st_size / 1e3:.0f} kB"
    return "\n  ".join([said, *failures(notebook)])


def main(names: Sequence[str]) -> int:
    """Record notebooks, all of the folder where none is named; return the exit code."""
    code = 0
    with ThreadPoolExecutor(2) as kernels:
        for said in kernels.map(record, names or sorted(path.stem for path in HERE.glob("*.ipynb"))):
            print(said, flush=True)
            code |= "\n" in said
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
