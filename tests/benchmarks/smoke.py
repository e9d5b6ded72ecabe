"""Try an installed victor_nb in a real kernel, in simulate mode, as `make build` does.

    VICTOR_MODE=simulate python tests/benchmarks/smoke.py

It needs nothing but the package, and wants it to be the installed one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_client.manager import start_new_kernel

import victor_nb

DATA = ("config/profiles.yaml", "config/profiles.schema.json", "notebook/widgets/theme.css", "py.typed")
CELLS = ("%load_ext victor_nb", "%%victor fast out=reply\nName a river.", "%victor profiles", "%victor cost")
CHECK = "assert reply.content and reply.mode == 'simulate' and reply.cost > 0 and reply.billed == 0"


def main() -> None:
    """Look for the packaged files, and run the cells."""
    home = Path(victor_nb.__file__).parent
    assert home.is_relative_to(sys.prefix), f"{home} is not the installed package"
    assert not [name for name in DATA if not (home / name).is_file()], "a packaged file is missing"
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        for cell in (*CELLS, CHECK):
            answer = client.execute_interactive(cell, timeout=120, output_hook=lambda _: None)
            assert answer["content"]["status"] == "ok", f"{cell}: {answer['content']}"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
