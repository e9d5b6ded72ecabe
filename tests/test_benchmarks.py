"""The benchmarks still run: for a moment, no figure judged, without those that start a kernel or count calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "benchmarks" / "bench.py"
NAMES = ("imports", "orchestrators", "call", "chunk", "fan_out", "map", "ledger", "memory")


def test_when_benchmarks_run_for_a_moment_then_each_has_a_baseline_and_is_compared(tmp_path: Path) -> None:
    out, base = tmp_path / "now.jsonl", tmp_path / "base.jsonl"
    known = {"name": "call, openai", "value": 2.0, "unit": "us", "baseline": 1.0, "against": "", "goal": 1.1}
    base.write_text(json.dumps({**known, "benchmark": "call"}), encoding="utf-8")
    program = [
        sys.executable,
        str(PROGRAM),
        "--tiny",
        "--only",
        ",".join(NAMES),
        "--base",
        str(base),
        "--out",
        str(out),
    ]
    ended = subprocess.run(program, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {line["benchmark"] for line in lines} == {*NAMES}
    head, _, *rows = ended.stdout.splitlines()
    assert head.split()[-2:] == ["was", "change"]
    for line in lines:
        (row,) = [row for row in rows if row.startswith(line["name"] + "  ")]
        assert line["baseline"] is not None
        assert row.endswith("%") == (line["name"] == known["name"])
