"""Tab in a cell of ours: profiles, keys, values and the notebook's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from cells import Shell

pytest_plugins = ["cells_fixtures"]


@pytest.mark.parametrize(
    ("text", "offered", "missing"),
    [
        ("%%victor ", {"fast", "local", "profile=", "profiles=", "as=", "out="}, {"abs"}),
        ("%%victor fa", {"fast"}, {"profile="}),
        ("%%victor fast pro", {"profile="}, {"fast"}),
        ("%%victor profile=", {"fast", "local"}, {"out="}),
        ("%%victor profile=lo", {"local"}, {"fast"}),
        ("%%victor fast as=", {"json", "table"}, {"fast"}),
        ("%%victor show=q", {"quiet"}, {"answer"}),
        ("%%victor --ma", {"--max_tokens"}, {"--raw"}),
        ("%%victor --as ", {"json"}, {"fast"}),
        ("%%victor --raw ", {"out="}, {"true"}),
        ("%%victor vars=", {"$fruit"}, {"$func"}),
        ("%%victor system=$fr", {"$fruit"}, {"$func"}),
        ("# note\n\n%%victor as=t", {"text", "table"}, {"json"}),
        ("%%victor\nTell {{ fr", {"fruit"}, {"frozenset"}),
        ("%%victor\nTell {{ point.", {"x"}, {"__class__", "move"}),
        ("%%victor\nTell {{ fruit | he", {"head"}, {"fruit"}),
        ("%%victor\nimport o", set(), {"os", "open", "import"}),
        ("%victor st", {"status", "strategy"}, {"stop"}),
        ("%%victor profiles=fast,l", {"fast,local"}, {"local"}),
        ("%%victor tier=flex,", {"flex,standard", "flex,priority"}, {"flex,flex", "standard"}),
        ("%%victor strategy=f", {"funnel"}, {"fast"}),
        ("%victor plot f", {"funnel"}, {"fast"}),
        ("%victor mode ", {"live", "simulate"}, {"status"}),
        ("%victor cost by=m", {"by=model", "by=mode"}, set()),
        ("%victor cost s", {"since=", "scope="}, {"by="}),
        ("%victor cost by=model scope=", {"scope=kernel", "scope=notebook", "scope=all"}, set()),
        ("%victor plot spend since=", {"since=30d", "since=12h", "since=today"}, set()),
        ("%victor plot spend_", {"spend_over_time"}, {"spend"}),
        ("%victor report ", {"since=", "scope="}, set()),
        ("%victor profiles ", {"fast", "local"}, set()),
        ("%victor search ke", {"keep="}, {"score="}),
        ("%victor search tasks=$fr", {"$fruit"}, {"$func"}),
        ("%victor search reference=", {"fast", "local"}, {"keep="}),
        ("%victor set ti", {"timeout="}, {"tags="}),
        ("x = %victor ask f", {"fast"}, {"from", "for"}),
        ("x = %victor ask fast -- see {{ fr", {"fruit"}, {"frozenset"}),
        ("%victor status ", set(), {"fruit"}),
        ("fru", {"fruit"}, {"fast"}),
    ],
)
def test_when_tab_is_pressed_then_what_fits_is_offered(
    shell: Shell, text: str, offered: set[str], missing: set[str]
) -> None:
    shell.run("from types import SimpleNamespace\nfruit = 'fig'\nfunc = len\nimport os")
    shell.run("class Point:\n    def __init__(self): self.x = 1\n    def move(self): pass\npoint = Point()")
    found = shell.complete(text)
    assert offered <= found
    assert not missing & found


def test_when_settings_are_broken_then_tab_still_works(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    assert "profile=" in shell.complete("%%victor ")
