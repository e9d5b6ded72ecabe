"""`%victor tape` and `%victor mode record`, in a notebook's cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cells import PROFILES, Shell, write
from servers import Answer, Server
from victor_nb.errors import ConfigError, MagicError, TapeError, TapeMissError
from victor_nb.kernel import session
from victor_nb.wire.tape import TapeFile

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


@pytest.fixture
def tape(live: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tapes" / "notes.jsonl"
    monkeypatch.setenv("VICTOR_TAPE", str(path))
    live.numbers = True
    return path


def prompts(tape: Path) -> list[str]:
    return [each.asked.body["messages"][-1]["content"] for each in TapeFile(tape).read()]


def test_when_a_notebook_is_recorded_then_it_replays_and_its_tape_is_looked_after(
    live: Shell, server: Server, tape: Path
) -> None:
    server.play(Answer())
    assert str(tape) in live.run("%victor mode record").plain
    for prompt in ("One?", "Two?", "One?"):
        live.run(f"%%victor fast\n{prompt}")
    status = live.run("%victor tape").plain
    assert "3 exchanges, recorded 2" in status
    assert "gpt-4o-mini" in status
    assert f"can be replayed: {3} exchanges, no key." in live.run("%victor tape verify").plain

    as_windows = tape.read_bytes().replace(b"\n", b"\r\n")
    tape.write_bytes(b"\xef\xbb\xbf" + as_windows)  # an editor's mark, and git's line ends
    assert "mode: replay." in live.run("%victor mode replay").plain
    for prompt in ("One?", "Two?", "One?"):
        assert "replayed" in live.run(f"%%victor fast\n{prompt}").plain
    assert len(server.requests) == 3
    assert isinstance(live.fail("%%victor fast\nTwo?"), TapeMissError)
    assert isinstance(live.fail("%%victor fast\nThree?"), TapeMissError)
    missed = live.ip.execution_count - 1
    assert "Replayed here: 3 of 3; 2 missing." in live.run("%victor tape status").plain
    live.run("%victor mode replay")  # begins the tape anew
    assert "replayed" in live.run("%%victor fast\nTwo?").plain

    assert "1 exchange, " not in live.run("%victor tape rerecord --missing").plain
    assert isinstance(live.fail("%%victor fast\nThree?"), TapeMissError)
    assert f"In [{live.ip.execution_count - 1}]" in live.run("%victor tape rerecord --missing --dry").plain
    assert len(server.requests) == 3
    ran = live.run("%victor tape rerecord --missing")
    assert ran.error is None, ran.error
    assert "1 exchange recorded" in ran.plain
    assert (len(server.requests), missed > 0, session().mode) == (4, True, "replay")
    assert sorted(prompts(tape)) == ["One?", "One?", "Three?", "Two?"]
    assert "replayed" in live.run("%%victor fast\nThree?").plain

    assert "3 exchanges that this kernel did not use would be deleted" in live.run("%victor tape prune --dry").plain
    assert len(prompts(tape)) == 4
    assert "deleted" in live.run("%victor tape prune").plain
    assert prompts(tape) == ["Three?"]


def test_when_an_update_adds_a_field_then_a_rekey_keeps_the_answers(
    live: Shell, server: Server, tape: Path, tmp_path: Path
) -> None:
    server.play(Answer())
    live.run("%victor mode record")
    for prompt in ("One?", "Two?"):
        live.run(f"%%victor fast\n{prompt}")
    live.run("%victor mode replay")
    profiles = json.loads(json.dumps({**PROFILES, "fast": {**PROFILES["fast"], "base_url": f"{server.url}/v1"}}))
    profiles["fast"]["params"] = {"new_default": {"on": True}}
    write(tmp_path, profiles)
    error = live.fail("%%victor fast\nOne?")
    assert "but for new_default" in str(error)
    assert "%victor tape rekey keeps the answers" in str(error)
    answers = sorted(each.pieces for each in TapeFile(tape).read())
    assert "2 recorded requests would get + new_default" in live.run("%victor tape rekey --dry").plain
    assert "2 recorded requests have got + new_default" in live.run("%victor tape rekey").plain
    for prompt in ("One?", "Two?"):
        assert "replayed" in live.run(f"%%victor fast\n{prompt}").plain
    assert sorted(each.pieces for each in TapeFile(tape).read()) == answers
    assert len(server.requests) == 2
    assert isinstance(live.fail("%victor tape rekey"), MagicError)  # nothing differs any more


def test_when_a_cell_is_recorded_anew_then_only_its_exchanges_change(live: Shell, server: Server, tape: Path) -> None:
    server.play(Answer())
    live.run("%victor mode record")
    live.run("%%victor fast\nOne?")
    cell = live.ip.execution_count  # of the next
    live.run("word = 'first'")
    live.run("%%victor fast\n{{ word }}?")
    live.run("%%victor fast\nOne?")
    live.run("word = 'second'")
    priced = live.run(f"%victor tape rerecord --cell {cell + 1} --dry").plain
    assert f"In [{cell + 1}]: 1 exchange, USD" in priced
    assert len(server.requests) == 3
    live.run(f"%victor tape rerecord --cell {cell + 1}")
    assert sorted(prompts(tape)) == ["One?", "One?", "second?"]
    assert {each.cell for each in TapeFile(tape).read()} == {cell - 1, cell + 1, cell + 2}


def test_when_a_tape_cannot_be_written_then_nothing_is_asked(live: Shell, server: Server, tape: Path) -> None:
    tape.parent.write_text("no folder", encoding="utf-8")
    live.run("%victor mode record")
    error = live.fail("%%victor fast\nOne?")
    assert type(error) is TapeError
    assert f"{tape} cannot be written: {tape.parent} is no folder. Nothing was asked." in str(error)
    assert not server.requests


def test_when_words_are_wrong_then_the_error_names_the_right_ones(
    live: Shell, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in ("tape verfy", "tape prune now", "tape rerecord", "tape rerecord --cell x"):
        assert isinstance(live.fail(f"%victor {line}"), MagicError)
    assert "'verify'" in str(live.fail("%victor tape verfy"))
    assert isinstance(live.fail("%victor tape"), TapeError)
    assert live.complete("%victor tape re") >= {"rekey", "rerecord"}
    assert "--missing" in live.complete("%victor tape rerecord ")
    monkeypatch.setenv("VICTOR_MODE", "replay")
    assert not tape.exists()
    assert "mode: replay" in live.run("%victor mode simulate").plain
    assert "mode: replay" in live.run("%victor mode simulate nowhere.yaml").plain
    assert isinstance(live.fail("%victor tape rerecord --cell 1"), ConfigError)
