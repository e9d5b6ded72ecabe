"""What a budget costs per call: CPU seconds of this process with a day's limit in a file, over those without any.

    python tests/benchmarks/bench_budget.py [CALLS]        (300 unless given)

Calls go one after the other to a loopback server in a process of its own, with and without a budget in turn, so that
what else the machine does weighs on both alike. What counts is the ratio; it is to stay below 1.25.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 5
SERVER = """
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "The Rhine."}
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
            "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def main() -> None:
    """Print the CPU milliseconds per call with and without a budget, and their ratio."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        profile = {"provider": "openai", "model": "gpt-4o-mini", "base_url": url, "max_tokens": 100}
        Path("profiles.yaml").write_text(json.dumps({"profiles": {"fast": profile}}), encoding="utf-8")
        os.environ |= {
            "OPENAI_API_KEY": "sk-of-no-use",
            "VICTOR_LEDGER": f"{folder}/rows.sqlite",
            "VICTOR_MODE": "live",
        }
        from victor_nb import Settings, session
        from victor_nb.kernel import reset

        def spend(budget: dict[str, float]) -> float:
            text = json.dumps({"profiles": {"fast": profile}, "budget": budget})
            Path("profiles.yaml").write_text(text, encoding="utf-8")
            session().runtime.use(Settings())
            ask = session().pool.get_orchestrator("fast").run_sync
            ask("Name a river.")
            began = time.process_time()
            for _ in range(calls):
                ask("Name a river.")
            return (time.process_time() - began) / calls * 1_000

        pairs = [(spend({}), spend({"day": 50.0, "notebook": 20.0})) for _ in range(ROUNDS)]
        reset()
    server.terminate()
    without, limited = (median(side) for side in zip(*pairs, strict=True))
    ratio = median(each[1] / each[0] for each in pairs)
    print(f"CPU per call: {without:.2f} ms without a budget, {limited:.2f} ms with one: {ratio:.2f}x")


if __name__ == "__main__":
    main()
