"""Run a Jupyter server that ends when whoever started it does: `python leash.py ARGUMENTS`, a pipe as its stdin.

The other end of the pipe is closed by a tidy stop and by a sudden death alike, so no server outlives its tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def hold() -> None:
    """Wait for the end of stdin, then ask this process to stop; the server ends its kernels."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from jupyter_server.serverapp import main

    threading.Thread(target=hold, name="leash", daemon=True).start()
    main()
