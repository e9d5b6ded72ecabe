"""Search live over a table of public answers that a server on this machine gives: the time, the certificates, a Stop.

    python tests/benchmarks/searches.py ANSWERS.csv.gz CHEAP REFERENCE [--seeds 50]

The table has a column of scores for each model, `NAME`, beside its answers, `NAME_response`; CHEAP and REFERENCE are
parts of two names. Tokens are priced at 0.6 and at 10 USD (in) and 30 (out) per million. It prints what keep=0.95 and
keep=0.65 find, whether a search that is stopped at random and begun anew pays for an answer twice, and how many of the
seeds, answered by the store, certify what is not so.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from servers import OPENAI, Answer, Server, Tokens

if TYPE_CHECKING:
    from servers import Request

PRICES = {"cheap": {"input": 0.6, "output": 0.6}, "dear": {"input": 10, "output": 30}}


def main(path: Path, cheap: str, dear: str, seeds: int) -> None:
    """Search, and print what came of it."""
    csv.field_size_limit(10_000_000)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    models = {name: next(each for each in rows[0] if part in each) for name, part in (("cheap", cheap), ("dear", dear))}
    known = {(name, row["prompt"]): row for row in rows for name in models}
    pairs = [(row, model) for row in rows for model in models.values()]
    right = {(row["prompt"], row[f"{model}_response"] or "-"): row[model] == "True" for row, model in pairs}
    true = {name: fmean(row[model] == "True" for row in rows) for name, model in models.items()}
    asked: Counter[tuple[str, str]] = Counter()

    def answer(request: Request) -> Answer:
        body = json.loads(request.body)
        name, prompt = body["model"], body["messages"][-1]["content"]
        asked[name, prompt] += 1
        text = known[name, prompt][f"{models[name]}_response"] or "-"
        return Answer(pieces=(text,), tokens=Tokens(input=len(prompt) // 4 + 1, output=len(text) // 4 + 1), delay=0.05)

    with tempfile.TemporaryDirectory() as folder, Server() as server:
        server.answer = answer
        os.chdir(folder)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VICTOR_")}
        os.environ.clear()
        os.environ.update({**kept, "OPENAI_API_KEY": "sk-of-no-use", "HOME": folder, "XDG_DATA_HOME": folder})
        host = {"provider": "openai", "base_url": OPENAI.base_url(server.url), "concurrency": 64}
        profiles = {name: {**host, "model": name, "prices": prices} for name, prices in PRICES.items()}
        Path("profiles.yaml").write_text(json.dumps({"profiles": profiles, "default": "cheap"}), encoding="utf-8")

        from victor_nb import VictorInterrupted, search_sync, session

        tasks = [row["prompt"] for row in rows]

        def find(keep: float, seed: int = 0):  # noqa: ANN202 - a Found
            score = lambda task, text: right[task, text]  # noqa: E731
            return search_sync(tasks, ["cheap"], score=score, reference="dear", keep=keep, seed=seed, progress=False)

        def stop(after: int) -> None:
            while asked.total() < after:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        print(f"cheap has {true['cheap'] / true['dear']:.1%} of the quality of dear")
        threading.Thread(target=stop, args=(random.randint(50, 600),), daemon=True).start()
        began = time.perf_counter()
        try:
            find(0.65)
        except VictorInterrupted as stopped:
            print(f"stopped: {stopped}")
        found = find(0.65)
        session().ledger.flush()
        print(f"{time.perf_counter() - began:.1f} s, {asked.total():,} requests: {found}")
        twice = sum(count > 1 for count in asked.values())
        print(f"asked twice: {twice} (what was under way at Stop was not answered)")
        paid = sum(row.status == "ok" for row in session().ledger.rows())
        print(f"answers paid: {paid:,}, of {len(asked):,} different questions")
        print(find(0.95))
        for keep in (0.65, 0.74, 0.76, 0.95):
            results = [find(keep, seed) for seed in range(seeds)]
            yes, holds = sum(each.certified for each in results), true["cheap"] >= keep * true["dear"]
            print(f"keep={keep}: {yes} of {seeds} seeds certify cheap, {0 if holds else yes} wrongly", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("cheap")
    parser.add_argument("reference")
    parser.add_argument("--seeds", type=int, default=50)
    given = parser.parse_args()
    main(given.table.resolve(), given.cheap, given.reference, given.seeds)
