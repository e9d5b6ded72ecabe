"""A map that is killed (SIGKILL) at random moments and begun anew, to its end: what is asked twice, and what is lost.

Run it as `python tests/benchmarks/killed_maps.py [rows] [kills]`; 2,000 rows and ten kills take some minutes. A server
in this process answers after 50 ms and keeps a book; `trial` is what `tests/test_map_store.py` runs with less of both.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from servers import OPENAI, Answer, Server

CONCURRENCY = 32
CHILD = """
import json, sys
import pandas as pd
from victor_nb import session

frame = pd.DataFrame({"review": [f"It is number {number}." for number in range(int(sys.argv[1]))]})
handle = session().pool.start_map(frame, "Classify: {{ review }}", profile="desk", concurrency=int(sys.argv[2]))
answers = handle.result()
ledger = session().ledger.to_frame()
print(json.dumps({
    "by": answers["answer_status"].value_counts().to_dict(),
    "texts": int(answers["answer"].notna().sum()),
    "billed": float(ledger["billed"].sum()),
    "unknown": int(ledger["billed"].isna().sum()),
    "attempts": len(ledger),
    "running": int((ledger["status"] == "running").sum()),
}))
"""


class Outcome(NamedTuple):
    """What came of a trial.

    Attributes:
        asked: How often the server was asked, by prompt.
        killed: Rows of which the server had heard at each kill.
        last: What the last child prints.
    """

    asked: Counter[str]
    killed: list[int]
    last: dict[str, Any]

    @property
    def twice(self) -> int:
        """Calls that were made again."""
        return self.asked.total() - len(self.asked)


def trial(folder: Path, *, rows: int, kills: int, seed: int = 0, delay: float = 0.05) -> Outcome:
    """Run a map of so many rows, with so many kills before its end."""
    chance, killed = random.Random(seed), list[int]()
    with Server(Answer(delay=delay)) as server:
        profile = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(server.url)}
        (folder / "profiles.yaml").write_text(json.dumps({"profiles": {"desk": profile}}))
        for kill in range(kills):
            start = len(server.requests)
            child = _child(folder, rows)
            # So many answers after which it is killed: anywhere in what is left of the map.
            wanted = start + chance.randint(1, max(1, (rows - start) // (kills - kill)))
            while child.poll() is None and len(server.requests) < wanted:
                time.sleep(0.005)
            time.sleep(chance.random() * delay)
            child.send_signal(signal.SIGKILL)
            child.communicate()
            killed.append(len(server.requests))
            time.sleep(2 * delay)  # what was answered into nothing is in the book
        last = _child(folder, rows)
        out, _ = last.communicate()
        prompts = [request.json["messages"][-1]["content"] for request in server.requests]
    return Outcome(Counter(prompts), killed, json.loads(out.splitlines()[-1]))


def _child(folder: Path, rows: int) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VICTOR_")}
    env = {**kept, "OPENAI_API_KEY": "sk-of-no-use", "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    command = [sys.executable, "-c", CHILD, str(rows), str(CONCURRENCY)]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)


def main(rows: int, kills: int) -> None:
    """Run a trial, and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        found = trial(Path(folder), rows=rows, kills=kills)
    print(f"{rows} rows, {kills} kills: {len(found.asked)} asked, {found.twice} of them twice")
    print(
        f"killed after {found.killed} calls, of which {CONCURRENCY} were under way: at most {kills * CONCURRENCY} twice"
    )
    print(f"the last frame: {found.last}")


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*given, *(2000, 10)[len(given) :])
