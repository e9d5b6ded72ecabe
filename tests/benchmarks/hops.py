"""Count the own files and functions that one `%%victor` cell runs through, live against a loopback server.

    python tests/benchmarks/hops.py [--list] [--sdk] [LINE]        (profile=fast unless given)

The second cell of a warm shell is counted, in all threads. A function counts once, however often it is called; lambdas,
comprehensions and generator expressions count where Python runs them in a frame of their own. With --sdk, those of the
openai package in the same cell are counted too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

HERE = Path(__file__).resolve().parents[2]
PACKAGE = str(HERE / "victor_nb") + os.sep
SDK = f"site-packages{os.sep}openai{os.sep}"
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
SETTINGS = """
profiles:
  fast: {provider: openai, model: gpt-4o-mini, base_url: "%(url)s/v1"}
  other: {provider: openai, model: gpt-4o, base_url: "%(url)s/v1"}
default: fast
"""


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions, as a stream where one is asked for."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one request."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked.get("stream"):
            delta = {"index": 0, "delta": {"content": "The Rhine."}, "finish_reason": None}
            stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
            events = [
                {**CHUNK, "choices": [delta]},
                {**CHUNK, "choices": [stop]},
                {**CHUNK, "choices": [], "usage": USAGE},
            ]
            body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            self.reply("text/event-stream", body)
        else:
            message = {"role": "assistant", "content": "The Rhine."}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self.reply("application/json", json.dumps({**CHUNK, "choices": [choice], "usage": USAGE}))

    def reply(self, kind: str, body: str) -> None:
        """Send a whole body."""
        data = body.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Counter:
    """A profile function that collects the victor_nb functions called while `on` is set."""

    def __init__(self) -> None:
        self.on = False
        self.seen: set[tuple[str, str]] = set()
        self.beside: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call."""
        code = frame.f_code
        if not self.on or event != "call":
            return
        if code.co_filename.startswith(PACKAGE):
            self.seen.add((code.co_filename.removeprefix(PACKAGE), code.co_qualname))
        elif SDK in code.co_filename:
            self.beside.add((code.co_filename, code.co_qualname))


def count(line: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the (file, function) pairs of the second `%%victor` cell in a fresh shell: ours, and the SDK's."""
    counter = Counter()
    threading.setprofile(counter)  # before any thread of ours starts: threads take it at their start
    sys.setprofile(counter)
    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.kernel import reset

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "victor_nb")
    shell.run_cell_magic("victor", line, "Name a river.")
    counter.on = True
    shell.run_cell_magic("victor", line, "Name a river.")
    sys.setprofile(None)
    size = -1
    while size != len(counter.seen):  # the ledger's thread writes a moment later
        size = len(counter.seen)
        time.sleep(0.3)
    counter.on = False
    reset()
    return counter.seen, counter.beside


def main() -> None:
    """Print the two counts, and with --list each function."""
    words = [word for word in sys.argv[1:] if word not in {"--list", "--sdk"}]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        Path("profiles.yaml").write_text(SETTINGS % {"url": url}, encoding="utf-8")
        os.environ |= {
            "OPENAI_API_KEY": "sk-of-no-use",
            "VICTOR_MODE": "live",
            "VICTOR_LEDGER": str(Path(folder, "ledger")),
        }
        sys.stdout, out = open(os.devnull, "w"), sys.stdout  # noqa: PTH123, SIM115 - the cell's own output
        seen, beside = count(" ".join(words) or "profile=fast")
        sys.stdout = out
        os.chdir(HERE)
    server.shutdown()
    files = sorted({file for file, _ in seen})
    if "--list" in sys.argv:
        for file in files:
            print(file, *sorted(name for where, name in seen if where == file), sep="\n    ")
    print(f"{len(files)} files, {len(seen)} functions")
    if "--sdk" in sys.argv:
        print(f"openai: {len({file for file, _ in beside})} files, {len(beside)} functions")


if __name__ == "__main__":
    main()
