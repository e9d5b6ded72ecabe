"""`%victor`: what it tells, and what it sets."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from cells import MARKDOWN, PLAIN, PROFILES, Shell, prompt, sent, write
from ledger_rows import row
from servers import Answer, Server, Tokens, faults
from victor_nb.errors import ConfigError, ProfileNotFoundError
from victor_nb.kernel import session
from victor_nb.values import Reply
from workbench import CANARY

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


def test_when_ask_is_assigned_then_it_is_the_reply_and_nothing_is_shown(live: Shell, server: Server) -> None:
    server.play(Answer(), Answer(), Answer())
    live.run("name = 'Bo'")
    ran = live.run("x = %victor ask fast -- who's {{ name }}, \"really?")
    assert ran.frames == []
    assert isinstance(live.names["x"], Reply)
    assert prompt(server) == "who's Bo, \"really?"
    live.run("def f(name):\n    return get_ipython().run_line_magic('victor', 'ask -- {{ name }}')\nf('local')")
    assert prompt(server) == "local"
    assert isinstance(live.run("%victor ask -- is it?").value, Reply)


def test_when_a_reply_is_the_value_of_a_cell_then_it_is_shown_as_an_answer(shell: Shell) -> None:
    shell.run("%%victor out=r show=none\nSay hello.")
    data, _ = cast("Any", shell.ip).display_formatter.format(shell.names["r"])
    assert data[PLAIN].endswith("simulated")
    assert data[MARKDOWN].endswith("simulated")


def test_when_the_state_is_asked_for_then_it_is_told(shell: Shell) -> None:
    assert shell.run("%victor").plain == shell.run("%victor status").plain
    status = shell.run("%victor").plain
    assert "simulate (set by VICTOR_MODE)" in status
    assert "fast, local (default: fast)" in status
    assert "USD 0.0000, 0 calls" in status


def test_when_profiles_are_listed_then_prices_and_keys_are_told_but_no_key(live: Shell) -> None:
    shown = live.run("%victor profiles").plain
    assert "fast (default)  openai    gpt-4o-mini  set" in shown
    assert "0.15" in shown
    assert "Be other." in live.run("%victor profiles other").plain
    assert CANARY not in shown + live.run("%victor profiles other").plain
    assert isinstance(live.fail("%victor profiles fst"), ProfileNotFoundError)


def test_when_a_price_is_unknown_then_list_price_and_bill_each_say_how_much_is(live: Shell) -> None:
    ledger = session().ledger
    ledger.finish(row("simulated", mode="simulate", cost=None, billed=Decimal(0)))
    ledger.finish(row("paid", cost=Decimal("0.5"), billed=Decimal("0.5")))
    ledger.finish(row("late", status="error", error_type="RequestTimeoutError", cost=None, billed=None))
    paid, simulated = live.run("%victor cost").plain.split("\n\nSimulated, at list prices; nothing of it was paid:\n\n")
    assert re.search(r"^total .* >= USD 0\.5000 \(1 unpriced\)$", paid, re.MULTILINE)
    assert paid.endswith("Paid: >= USD 0.5000 (1 unpriced).")
    assert re.search(r"^total .* unpriced$", simulated, re.MULTILINE)
    assert "aid" not in simulated
    status = live.run("%victor status").plain
    assert re.search(r"spent here +>= USD 0\.5000 \(1 unpriced\), 2 calls, 1 failed$", status, re.MULTILINE)
    assert re.search(r"simulated, at list prices, not paid +unpriced, 1 call$", status, re.MULTILINE)


def test_when_costs_are_asked_for_then_groups_add_up_to_the_total(live: Shell, server: Server) -> None:
    assert "Nothing has been asked yet" in live.run("%victor cost").plain
    assert "Nothing has been asked yet" in live.run("%victor ledger").plain
    server.play(Answer(), Answer(), faults.status(401))
    live.run("%%victor\nHi.")
    live.run("%%victor other\nHi.")
    live.fail("%%victor\nHi.")
    table = live.run("%victor cost").plain
    assert re.search(r"^fast +2 +2 +120 +34 +USD 0\.0000384$", table, re.MULTILINE)
    assert re.search(r"^total +3 +3 +240 +68 +USD 0\.0000768$", table, re.MULTILINE)
    assert "Paid: USD 0.000077." in table
    assert re.search(r"^error +1", live.run("%victor cost by=status").plain, re.MULTILINE)
    ledger = live.run("%victor ledger 2").plain
    assert "AuthenticationError" in ledger
    assert "2 of 3 attempts" in ledger


@pytest.mark.parametrize(
    ("zone", "name", "hour", "days"),
    [
        ("Etc/GMT-14", "UTC+14", 13, ["2026-01-02", "2026-01-03"]),
        ("America/New_York", "EST", 3, ["2025-12-31", "2026-01-01"]),
    ],
)
def test_when_costs_are_asked_for_by_day_then_it_is_a_day_here_and_the_zone_is_named(
    live: Shell, monkeypatch: pytest.MonkeyPatch, zone: str, name: str, hour: int, days: list[str]
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        moment = datetime(2026, 1, 2, hour, tzinfo=UTC)
        for mode in ("live", "simulate"):
            for at, cost in ((moment - timedelta(days=1), "0.5"), (moment, "2.5")):
                session().ledger.finish(row(f"{mode} {at}", ts=at, mode=mode, cost=Decimal(cost), billed=Decimal(0)))
        lines = live.run("%victor cost by=day").plain.splitlines()
        assert lines.count(f"Days begin at midnight, {name}.") == 2
        assert [line.split()[0] for line in lines if line.startswith("202")] == days * 2
        assert "4 of 4 attempts" in (ledger := live.run("%victor ledger").plain)
        assert f", by the clock of {name}. session()" in ledger
    finally:
        monkeypatch.undo()
        time.tzset()


def test_when_the_last_reply_is_asked_for_then_it_is_shown_again(shell: Shell) -> None:
    assert "Nothing has been asked yet" in shell.run("%victor last").plain
    first = shell.run("%%victor\nSay hello.").plain
    assert shell.run("%victor last").plain == first


def test_when_an_error_is_looked_at_then_its_traceback_is_whole_and_no_key_is_in_it(
    live: Shell, server: Server
) -> None:
    assert "There are 0 errors" in live.run("%victor errors").plain
    server.play(faults.echo_key())
    error = live.fail("%%victor\nHi.")
    live.fail("%%victor nope=1\nHi.")
    assert session().errors[-2] is error
    full = live.run("%victor errors 2").plain
    assert full.startswith("Traceback")
    assert "AuthenticationError" in full
    assert CANARY not in full + str(error)
    assert "MagicError" in live.run("%victor errors").plain


def test_when_the_mode_is_set_then_it_holds_unless_the_environment_fixes_it(live: Shell) -> None:
    assert "mode: live." in live.run("%victor mode").plain
    assert "mode: simulate." in live.run("%victor mode simulate").plain
    assert "simulated" in live.run("%%victor\nSay hello.").plain
    assert "Did you mean 'simulate'?" in str(live.fail("%victor mode simulte"))


def test_when_simulate_names_a_file_then_its_answers_are_given(live: Shell, tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text("answers:\n  - {prompt: bridge, text: Ponte Vecchio}\n", encoding="utf-8")
    assert "mode: simulate. Answers come from answers.yaml" in live.run("%victor mode simulate answers.yaml").plain
    assert live.run("%%victor\nName a bridge.").plain.startswith("Ponte Vecchio")
    assert "nowhere.yaml" in str(live.fail("%victor mode simulate nowhere.yaml"))
    assert "%victor mode takes" in str(live.fail("%victor mode live answers.yaml"))


def test_when_the_environment_fixes_the_mode_then_another_is_refused(shell: Shell) -> None:
    error = shell.fail("%victor mode live")
    assert isinstance(error, ConfigError)
    assert "VICTOR_MODE=simulate" in str(error)


def test_when_defaults_are_set_then_they_hold_until_they_are_reset(live: Shell, server: Server) -> None:
    short = Answer(tokens=Tokens(input=12, output=5))  # within the limits that are set
    server.play(short, short, short)
    assert (
        "set: profile=other cost=off max_tokens=7" in live.run("%victor set profile=other cost=off max_tokens=7").plain
    )
    assert live.run("%%victor\nHi.").plain == Answer().text
    assert sent(server)["max_completion_tokens"] == 7
    assert sent(server)["messages"][0]["content"] == "Be other."
    assert live.run("%%victor fast max_tokens=8\nHi.").error is None
    assert sent(server)["max_completion_tokens"] == 8
    assert "max_tokens=7" in live.run("%victor").plain
    assert "set: nothing" in live.run("%victor set reset").plain
    assert "tok" in live.run("%%victor\nHi.").plain
    for line in ("profile=nope", "out=x", "timeout=soon", "as=json", "nope"):
        assert isinstance(live.fail(f"%victor set {line}"), ConfigError)
    assert "set: nothing" in live.run("%victor set").plain


def test_when_settings_change_then_the_next_cell_knows(shell: Shell, tmp_path: Path) -> None:
    shell.run("%victor profiles")
    write(tmp_path, {**PROFILES, "fresh": PROFILES["fast"]})
    assert shell.run("%%victor fresh\nSay hello.").error is None
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    for cell in ("%%victor\nHi.", "%victor profiles", "%victor"):
        assert "profiles.yaml" in str(shell.fail(cell))


def test_when_calls_run_in_the_background_then_cancel_ends_them(live: Shell, server: Server) -> None:
    assert "Nothing was running" in live.run("%victor cancel").plain
    server.play(faults.silence(), Answer())
    live.run("stream = __import__('victor_nb').session().pool.get_orchestrator('fast').stream('Hi.')")
    server.wait(lambda: server.requests)
    assert "Stopped 1 call." in live.run("%victor cancel").plain
    server.wait(lambda: server.requests[0].hung_up)
    assert live.run("%%victor\nHi.").error is None


def test_when_settings_are_broken_from_the_start_then_the_error_can_still_be_read(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    shell = Shell()
    assert isinstance(shell.fail("%%victor\nHi."), ConfigError)
    assert "profiles.yaml" in shell.run("%victor errors").plain
