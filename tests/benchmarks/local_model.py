"""Fetch the small model and ask it in a real kernel: what `%victor local yes` and `%%victor embedded:smollm2-135m` do.

    python tests/benchmarks/local_model.py

Prints the answer and its bill, tokens a second and memory; kills the kernel, and says when the model's process went.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from cells import Kernel
from victor_nb.providers.weights import SHIPPED

MOST_SECONDS = 5.0  # after a kernel was killed
COLD = "%%victor embedded:smollm2-135m max_tokens=60 out=first\nName a river in Europe, in one sentence."
WARM = "%%victor embedded:smollm2-135m max_tokens=300 out=second\nTell a long story about a fox."
SPEED = "print(second.usage.output_tokens, second.latency - (second.ttft or 0.0), second.latency, first.latency)"


def main() -> None:
    """Do as a user would."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Kernel(Path(folder)) as kernel:
        kernel.run("%load_ext victor_nb")
        print(kernel.run("%victor local").plain)
        before = time.perf_counter()
        print(kernel.run("%victor local yes").plain)
        print(f"fetched, or found here, in {time.perf_counter() - before:.1f} s")
        print(kernel.run(COLD).plain)
        kernel.run(WARM)
        tokens, writing, whole, first = map(float, kernel.run(SPEED).said.split())
        pid = int(kernel.run("import os; print(os.getpid())").said)
        [server] = [each for each in psutil.Process(pid).children() if "llama_server" in " ".join(each.cmdline())]
        memory = server.memory_info().rss / 1e6
        print(
            f"first answer after {first:.1f} s; {tokens:.0f} tokens in {whole:.1f} s: {tokens / writing:.0f} a second"
        )
        print(f"{memory:.0f} MB of memory, {SHIPPED.path.stat().st_size / 1e6:.0f} MB on disk")
        os.kill(pid, signal.SIGKILL)
        killed = time.perf_counter()
        while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
            if time.perf_counter() > killed + MOST_SECONDS:
                server.kill()
                sys.exit("The model's process outlived its kernel.")
            time.sleep(0.01)
        print(f"kernel killed: the model's process was gone after {time.perf_counter() - killed:.2f} s")
    print(f"all in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
