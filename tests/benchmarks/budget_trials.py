"""Run the trials of budgets in full, and print how near to its limit each came by the server's own book.

    python tests/benchmarks/budget_trials.py [TRIALS] [WORDS]        (100 of each kind, and all kinds, unless given)

WORDS choose among the tests, as pytest's -k does. `highest` is the highest ratio of what the server billed to the limit
of that trial, which must not be above 1; `sent` is how many calls reached the server, of how many that fit a budget for
sure. About ten minutes on one core.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]
FILES = ("test_budget_requests.py", "test_budget_processes.py", "test_budget_trials.py")


class Table:
    """Prints a line for each test that counted trials."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a test has counted, after its end."""
        told = dict(report.user_properties)
        if report.when == "teardown" and told.get("trials"):
            name = report.nodeid.partition("::test_when_")[2].replace("_", " ")
            print(f"\n{told['trials']:>5} trials, highest {told['highest']}, sent {told['sent']:>14}: {name}")


def main() -> int:
    """Run them."""
    os.environ["BUDGET_TRIALS"] = sys.argv[1] if len(sys.argv) > 1 else "100"
    chosen = ["-k", " ".join(sys.argv[2:])] if len(sys.argv) > 2 else []
    options = ["-q", "-s", "-p", "no:randomly", "-o", "faulthandler_timeout=0", *chosen]
    return pytest.main([*options, *(str(HERE / file) for file in FILES)], [Table()])


if __name__ == "__main__":
    sys.exit(main())
