"""A key that servers echo is found nowhere; `tests/benchmarks/canary.py 1000` is the long form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.canary import KEY, hunt
from servers import DIALECTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.filterwarnings("ignore:.*:victor_nb.errors.VictorWarning")
def test_when_servers_echo_the_key_then_it_is_in_no_output_no_log_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dialect in DIALECTS:
        if dialect.key_variable:
            monkeypatch.setenv(dialect.key_variable, KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("VICTOR_LEDGER")
    monkeypatch.setenv("VICTOR_TAPE", "")  # hunt sets it
    assert hunt(tmp_path, 44) == {}
