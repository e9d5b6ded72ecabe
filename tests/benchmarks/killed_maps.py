"""A map that is killed (SIGKILL) at random moments and begun anew, to its end: what is asked twice, and what is lost.

Run it as `python tests/benchmarks/killed_maps.py [rows] [kills]`; 2,000 rows and ten kills take some minutes. A server
in this process answers after 50 ms and keeps a book; `trial` is what `tests/test_map_store.py` runs with less of both.

`python tests/benchmarks/killed_maps.py workers [rows] [kills]` runs a map for each kill on two workers of a dask
cluster, of which one is killed at a random moment: are all rows answered, and has the ledger here exactly the requests
that the server has heard? It says too how fast the workers are together, against the same map without them.
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


def on_workers(rows: int, kills: int) -> None:
    """Run maps on two workers, kill one in each but the first, and print what came of it."""
    import distributed
    import pandas as pd

    from victor_nb import session

    def map_of(number: int, executor: object = None) -> tuple[Any, float]:
        frame = pd.DataFrame({"review": [f"It is number {number}-{each}." for each in range(rows)]})
        return session().pool.start_map(frame, "{{ review }}", profile="desk", executor=executor), time.perf_counter()

    chance, folder = random.Random(20), tempfile.mkdtemp()
    os.chdir(folder)
    os.environ.update(OPENAI_API_KEY="sk-of-no-use", HOME=folder, XDG_DATA_HOME=f"{folder}/data", CI="true")
    with (
        Server(Answer(delay=0.05)) as server,
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        profile = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(server.url)}
        Path("profiles.yaml").write_text(json.dumps({"log_text": True, "profiles": {"desk": profile}}))
        for number, executor in ((-3, client), (-2, None), (-1, client)):
            made, began = map_of(number, executor)
            made.result()
            if number > -3:  # the first one imports
                print(
                    f"{'two workers' if executor else 'no executor'}: {rows / (time.perf_counter() - began):.0f} rows/s"
                )
        for kill in range(kills):
            found: Any = client.run(os.getpid)
            pids, start = sorted(found.values()), len(server.requests)
            made, _ = map_of(kill, client)
            wanted = start + chance.randint(1, rows - 1)
            while len(server.requests) < wanted:
                time.sleep(0.002)
            time.sleep(chance.random() * 0.05)
            os.kill(chance.choice(pids), signal.SIGKILL)
            done = made.result()
            asked = Counter(each.json["messages"][-1]["content"] for each in server.requests[start:])
            written = list(session().ledger.rows(run_id=made.run_id))
            by = Counter(row.status for row in written)
            known = Counter(row.prompt for row in written if row.status != "refused")
            assert set(done["answer_status"]) == {"ok"}
            assert max(asked.values()) <= 2
            assert asked.total() - rows == made.tally.again <= 100, "at most one partition twice, and it says so"
            assert asked == known, (
                f"each request has its row: {asked - known}, and each row its request: {known - asked}"
            )
            assert set(by) <= {"ok", "interrupted", "refused"}
            print(f"killed at {wanted - start}: {asked.total()} asked, {known.total()} rows, {dict(by)}", flush=True)
            try:
                client.wait_for_workers(2, timeout=30)
            except TimeoutError:  # its nanny has given up, which it does on a busy machine
                print("dask has not started the worker anew within 30 s: another one takes its place", flush=True)
                workers: Any = cluster
                workers.scale(len(workers.worker_spec) + 1)
                client.wait_for_workers(2, timeout=120)


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
    workers = sys.argv[1:2] == ["workers"]
    given = [int(each) for each in sys.argv[1 + workers :]]
    if workers:
        on_workers(*given, *(300, 20)[len(given) :])
        sys.exit()
    main(*given, *(2000, 10)[len(given) :])
