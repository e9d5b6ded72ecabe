"""The ledger's rows, sums and frames: what was appended is what is read."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from ledger_rows import NOON, row, running
from victor_nb.accounting.ledger import Ledger, LedgerTotal, Row
from victor_nb.errors import ClosedError, ConfigError
from victor_nb.money import Total

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTRACT = (
    "ts, call_id, attempt, run_id, strategy, stage, profile, provider, model, model_served, mode, status, "
    "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage_source, cost, billed, "
    "cost_source, price_version, latency, ttft, queue, http_status, error_type, error, request_id, notebook, tags, "
    "cache_write_1h_tokens, host, service_tier, web_searches, held"
).split(", ")


@pytest.fixture(params=["file", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite3" if request.param == "file" else None, kernel="here") as ledger:
        yield ledger


# --- rows ---


def test_when_an_attempt_starts_then_its_row_says_running(ledger: Ledger) -> None:
    ledger.start(row())
    (found,) = ledger.rows()
    assert found == row(status="running")


def test_when_an_attempt_ends_then_its_row_is_completed(ledger: Ledger) -> None:
    ledger.start(running())
    assert ledger.rows() == [running()]
    ledger.finish(row())
    assert ledger.rows() == [row()]


def test_when_a_row_comes_back_then_every_field_is_as_it_was(ledger: Ledger) -> None:
    full = Row(
        ts=NOON,
        call_id="c1",
        attempt=2,
        run_id="r1",
        strategy="funnel",
        stage="explore",
        profile="fast",
        provider="openai",
        model="gpt-4o",
        model_served="gpt-4o-2024-08-06",
        mode="simulate",
        status="error",
        input_tokens=7,
        cache_read_tokens=3,
        cache_write_tokens=2,
        output_tokens=5,
        reasoning_tokens=1,
        usage_source="partial",
        cost=Decimal("1234567.123456789"),
        billed=Decimal(0),
        cost_source="override",
        price_version="profiles.yaml",
        latency=1.25,
        ttft=0.5,
        queue=0.0,
        http_status=529,
        error_type="OverloadedError",
        error="No room: \N{SLEEPING FACE}\nCome back.",
        request_id="req_1",
        notebook="a.ipynb",
        tags={"task": "Grüße", "n": "1"},
        cache_write_1h_tokens=1,
        host="models.example:8443",
        service_tier="flex",
        web_searches=2,
        input_bytes=99,
        prompt="Why?",
        answer="Because.",
    )
    ledger.finish(full)
    assert ledger.rows() == [full]


def test_when_a_call_is_retried_then_each_attempt_is_a_row(ledger: Ledger) -> None:
    for attempt in (1, 2, 3):
        ledger.start(replace(running(), attempt=attempt))
        ledger.finish(row(attempt=attempt, status="ok" if attempt == 3 else "error"))
    assert [(found.attempt, found.status) for found in ledger.rows()] == [(1, "error"), (2, "error"), (3, "ok")]


def test_when_rows_finish_in_another_order_then_they_are_read_by_their_start(ledger: Ledger) -> None:
    for number in (2, 0, 1):
        ledger.finish(row(str(number), ts=NOON + timedelta(seconds=number)))
    assert [found.call_id for found in ledger.rows()] == ["0", "1", "2"]


def test_when_rows_were_written_in_another_order_then_the_frame_of_the_file_has_them_by_their_start(
    ledger: Ledger,
) -> None:
    for number in (2, 0, 1, 3):
        ledger.finish(row(str(number), ts=NOON + timedelta(seconds=min(number, 2)), http_status=200 + number))
    for scope in ("kernel", "all"):
        frame = ledger.to_frame(scope)
        assert list(frame["call_id"]) == ["0", "1", "2", "3"]  # 2 and 3 began together, and 2 was written first
        assert list(frame["http_status"]) == [200, 201, 202, 203]
        assert list(frame.index) == [0, 1, 2, 3]


def test_when_a_time_is_of_another_zone_then_the_moment_is_kept_in_utc(ledger: Ledger) -> None:
    ledger.finish(row(ts=NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))))
    (found,) = ledger.rows()
    assert (found.ts, found.ts.tzinfo) == (NOON, UTC)


def test_when_the_last_rows_are_wanted_then_they_come_oldest_first(ledger: Ledger) -> None:
    for number in (3, 1, 4, 0, 2):
        ledger.finish(row(str(number), ts=NOON + timedelta(seconds=number)))
    assert [found.call_id for found in ledger.rows(last=2)] == ["3", "4"]
    assert [found.call_id for found in ledger.rows(last=9)] == ["0", "1", "2", "3", "4"]
    assert ledger.rows(last=0) == []
    ledger.finish(row("last", ts=NOON + timedelta(seconds=4)))  # of two at once, the one that was written later
    assert [found.call_id for found in ledger.rows(last=1)] == ["last"]


def test_when_the_rows_of_a_run_are_wanted_then_no_others_come(ledger: Ledger) -> None:
    for number in range(6):
        ledger.finish(row(str(number), ts=NOON + timedelta(seconds=number), run_id=f"run {number % 2}"))
    ledger.finish(row("without"))
    assert [found.call_id for found in ledger.rows(run_id="run 1")] == ["1", "3", "5"]
    assert [found.call_id for found in ledger.rows("all", run_id="run 1", last=2)] == ["3", "5"]
    assert ledger.rows(run_id="run 2") == []
    assert len(ledger.rows()) == 7


def test_when_rows_are_appended_then_the_version_rises_and_reading_leaves_it(ledger: Ledger) -> None:
    versions = [ledger.version]
    ledger.start(row())
    versions.append(ledger.version)
    ledger.finish(row())
    versions.append(ledger.version)
    assert versions == sorted(set(versions))
    ledger.rows()
    ledger.total()
    assert ledger.version == versions[-1]


def test_when_threads_append_at_once_then_no_version_hides_a_row(ledger: Ledger) -> None:
    def append(name: str) -> None:
        for number in range(200):
            ledger.finish(row(f"{name} {number}"))

    threads = [threading.Thread(target=append, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    seen: dict[int, int] = {}
    while any(thread.is_alive() for thread in threads):
        version = ledger.version
        seen[version] = len(ledger.rows())
    for thread in threads:
        thread.join()
    assert ledger.version == 800
    assert all(rows >= version for version, rows in seen.items())


@pytest.mark.parametrize(
    "text", ["half a pair \ud83d", "\ud800", "a NUL \0 inside", "\N{PILE OF POO}" * 1000, "' OR 1=1"]
)
def test_when_a_text_is_odd_then_its_row_is_kept_and_readable(ledger: Ledger, text: str) -> None:
    ledger.finish(row(error=text, model_served=text, tags={text: text}))
    (found,) = ledger.rows()
    readable = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    assert (found.error, found.model_served, dict(found.tags)) == (readable, readable, {readable: readable})
    assert ledger.to_frame().model_served.tolist() == [readable]


def test_when_a_number_is_mad_then_its_row_is_kept_without_it(ledger: Ledger) -> None:
    ledger.finish(row(input_tokens=1 << 70, cost=Decimal("1e40"), billed=Decimal("NaN"), latency=float("nan")))
    (found,) = ledger.rows()
    assert (found.input_tokens, found.cost, found.billed, found.latency) == (None, None, None, None)
    assert found.output_tokens == 20


def test_when_a_scope_is_unknown_then_the_error_names_the_two(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match=r"'kernel'.*'all'"):
        ledger.rows(scope="file")  # type: ignore[arg-type]


def test_when_the_ledger_is_closed_then_use_is_an_error_and_closing_is_not(ledger: Ledger) -> None:
    ledger.finish(row())
    ledger.close()
    ledger.close()
    for use in (ledger.rows, ledger.flush, lambda: ledger.start(row()), lambda: ledger.finish(row())):
        with pytest.raises(ClosedError):
            use()


# --- sums ---


def test_when_costs_are_summed_then_the_total_is_exact_and_admits_the_unknown(ledger: Ledger) -> None:
    for number in range(1_000):
        ledger.finish(row(str(number), cost=Decimal("0.0000123"), billed=Decimal(0)))
    assert str(ledger.total()) == "USD 0.0123"
    ledger.finish(row("free of price", cost=None, billed=None))
    ledger.start(running("under way"))
    ledger.finish(row("0", attempt=2, cost=Decimal("0.000000001")))
    total = ledger.total()
    assert (total.cost, total.billed) == (Decimal("0.012300001"), Decimal("0.000027"))
    assert (total.unpriced, total.calls, total.attempts) == (2, 1_002, 1_003)
    assert str(total) == ">= USD 0.0123 (2 unpriced)"


def test_when_only_the_price_is_unknown_then_the_bill_is_not(ledger: Ledger) -> None:
    ledger.finish(row("simulated", mode="simulate", cost=None, billed=Decimal(0)))
    ledger.finish(row("paid"))
    total = ledger.total()
    assert (total.unpriced, total.unbilled, total.exact_cost, total.exact_billed) == (1, 0, None, total.billed)
    assert Total.of(ledger.rows()) == Total(total.cost, total.billed, total.unpriced, total.unbilled)
    books = ledger.books()
    assert list(books) == ["paid", "simulated"]
    assert (books["paid"].exact_cost, books["simulated"].exact_cost) == (total.cost, None)
    assert sum(books.values(), LedgerTotal()) == total


def test_when_attempts_ended_in_different_ways_then_the_total_counts_them(ledger: Ledger) -> None:
    ledger.finish(row("a", status="error"))
    ledger.finish(row("a", attempt=2))
    ledger.finish(row("b", status="refused", mode="simulate"))
    ledger.finish(row("c", status="interrupted", mode="replay"))
    ledger.start(running("d"))
    ledger.finish(row("e", status="invalid"))
    for total in (ledger.total(), ledger.total("all", since=NOON)):
        assert (total.calls, total.attempts) == (4, 5)  # what was refused is no call
        assert (total.running, total.failed, total.refused, total.simulated) == (1, 2, 1, 1)


def test_when_nothing_was_asked_then_the_total_is_nothing(ledger: Ledger) -> None:
    total = ledger.total()
    assert (total.cost, total.billed, total.unpriced, total.calls, total.attempts) == (0, 0, 0, 0, 0)
    assert (total.running, total.failed, total.simulated) == (0, 0, 0)
    assert str(total) == "USD 0.0000"


def test_when_a_model_is_free_then_its_total_says_so_and_not_that_of_what_was_not_answered(ledger: Ledger) -> None:
    ledger.finish(row("local", cost=Decimal(0), billed=Decimal(0), cost_source="local"))
    assert (str(ledger.total()), ledger.rows()[0].free) == ("free", True)
    ledger.finish(row("unknown", cost=None, billed=None))
    assert str(ledger.total()) == str(Total.of(ledger.rows())) == "unpriced"
    ledger.finish(row("paid"))
    assert str(ledger.total()) == str(Total.of(ledger.rows())) == ">= USD 0.000027 (1 unpriced)"


def test_when_all_was_refused_then_the_total_is_not_called_free(ledger: Ledger) -> None:
    nothing = dict.fromkeys(("input_tokens", "output_tokens"))
    ledger.finish(row("a", status="refused", cost=Decimal(0), billed=Decimal(0), **nothing))
    assert (str(ledger.total()), ledger.total().calls) == ("USD 0.0000", 0)


def test_when_a_day_is_asked_for_then_earlier_rows_do_not_count(ledger: Ledger) -> None:
    for hours in (-1, 0, 1):
        ledger.finish(row(str(hours), ts=NOON + timedelta(hours=hours), cost=Decimal(1)))
    assert ledger.total(since=NOON).cost == 2
    assert ledger.total(scope="all", since=NOON + timedelta(microseconds=1)).cost == 1


def test_when_bills_are_mad_then_their_sum_does_not_overflow(ledger: Ledger) -> None:
    for number in range(10):
        ledger.finish(row(str(number), cost=Decimal("9000000000.000000001")))
    assert ledger.total().cost == Decimal("90000000000.00000001")


# --- the frame ---


def test_when_the_ledger_becomes_a_frame_then_it_has_the_contract_s_columns_and_types(ledger: Ledger) -> None:
    empty = ledger.to_frame()
    ledger.finish(row("a", tags={"task": "x"}, http_status=200, latency=1.5))
    ledger.start(running("b"))
    frame = ledger.to_frame()
    for found in (empty, frame):
        assert list(found.columns) == CONTRACT
        kinds = {
            str(dtype): [name for name in CONTRACT if str(found[name].dtype) == str(dtype)] for dtype in found.dtypes
        }
        assert kinds == {
            "datetime64[us, UTC]": ["ts"],
            "string": ["call_id", "run_id", "error", "request_id"],
            "Int64": ["attempt", *CONTRACT[12:17], "http_status", "cache_write_1h_tokens", "web_searches"],
            "category": [
                *CONTRACT[4:12],
                *("usage_source", "cost_source", "price_version", "error_type", "notebook", "host", "service_tier"),
            ],
            "float64": ["cost", "billed", "latency", "ttft", "queue", "held"],
            "object": ["tags"],
        }
    assert (len(empty), len(frame)) == (0, 2)


def test_when_values_are_known_or_not_then_the_frame_says_so(ledger: Ledger) -> None:
    ledger.finish(row("a", tags={"task": "x"}, notebook="a.ipynb"))
    ledger.start(running("b"))
    ledger.finish(row("c", tags={"task": "x"}, model="other", cost=Decimal("0.1")))
    frame = ledger.to_frame()
    assert list(frame.ts) == [pd.Timestamp(NOON)] * 3
    assert frame.input_tokens.tolist() == [100, pd.NA, 100]
    assert frame.cost.fillna(-1).tolist() == [0.000027, -1, 0.1]
    assert frame.status.tolist() == ["ok", "running", "ok"]
    assert frame.notebook.isna().tolist() == [False, True, True]
    assert frame.groupby("model", observed=True).cost.sum().to_dict() == {"gpt-4o-mini": 0.000027, "other": 0.1}
    assert frame.tags.tolist() == [{"task": "x"}, {}, {"task": "x"}]
    assert frame.tags[0] is not frame.tags[2]


def test_when_there_are_many_rows_then_the_frame_equals_the_rows(ledger: Ledger) -> None:
    for number in range(1_000):
        ledger.finish(row(str(number), ts=NOON + timedelta(seconds=number), stage=f"s{number % 7}", ttft=number / 7))
    frame = ledger.to_frame()
    rows = ledger.rows()
    assert frame.call_id.tolist() == [found.call_id for found in rows]
    assert frame.stage.tolist() == [found.stage for found in rows]
    assert frame.ttft.tolist() == [found.ttft for found in rows]
    assert frame.ts.tolist() == [pd.Timestamp(found.ts) for found in rows]


def test_when_rows_come_in_bulk_then_each_is_kept_as_if_it_had_come_alone() -> None:
    odd = {
        "input_tokens": 1 << 60,
        "error": "half a character \ud800, and NUL \0",
        "tags": {"a": "1"},
        "cost": Decimal("0.0000000015"),
        "billed": Decimal(0),
        "held": Decimal("NaN"),
    }
    rows = [row(str(number), **odd) if number % 7 == 3 else row(str(number)) for number in range(60)]
    rows += [replace(rows[3], status="error"), running("61")]
    with Ledger(None, kernel="bulk") as bulk, Ledger(None, kernel="single") as single:
        bulk.extend(rows)
        for each in rows:
            single.finish(each)
        assert bulk.rows() == single.rows()
        assert bulk.rows()[3].status == "error"
