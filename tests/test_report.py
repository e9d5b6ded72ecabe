"""The page of what was spent, the windows of the ledger, and the commands that show them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from ledger_rows import row
from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import zone
from victor_nb.accounting.window import Window, begin
from victor_nb.errors import ConfigError
from victor_nb.kernel import session
from workbench import CANARY

if TYPE_CHECKING:
    from cells import Shell

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

HOSTILE = '"><script>alert(1)</script>'


class Page(HTMLParser):
    """What a browser makes of a page: tags, what they ask for, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.alts += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def spent(call: str, days: float, cost: str | None, *, notebook: str | None = None, **changes: Any) -> None:
    """Put an attempt of so many days ago into the ledger of this session."""
    ts = datetime.now(UTC) - timedelta(days=days)
    amount = None if cost is None else Decimal(cost)
    billed = amount if changes.get("mode", "live") == "live" else Decimal(0)
    session().ledger.finish(replace(row(call, ts=ts, cost=amount, billed=billed, **changes), notebook=notebook))


@pytest.fixture
def month(live: Shell) -> Shell:
    """A month in which something of every kind happened."""
    spent("old", 45, "100")
    spent("a", 3, "2.5", profile=HOSTILE, model="large & slow", notebook=f"{HOSTILE}.ipynb")
    spent("b", 2, "0.25", strategy="funnel")
    spent("c", 2, None, status="error", error_type="RequestTimeoutError")
    spent("c", 2, "0.125", attempt=2)
    spent("d", 1, "7", mode="simulate")
    spent("e", 1, "0", status="refused")
    return live


def test_when_a_report_is_written_then_one_page_says_what_was_paid_and_what_is_not_known(
    month: Shell, tmp_path: Path
) -> None:
    path = session().report(tmp_path / "costs.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert "What models cost: >= USD 2.8750 (1 unpriced) paid" in page.text
    assert f"All kernels, since {datetime.now().astimezone() - timedelta(days=29):%Y-%m-%d} 00:00" in page.text
    assert {"By model", "By profile", "By strategy", "By notebook", "By day", "Failures and retries"} <= {*page.texts}
    assert "Retries: 1, which cost USD 0.1250. Cost of failed attempts: unpriced." in page.text
    assert "simulated, not paid USD 7.0000" in page.text
    assert "At list prices it would have been USD 7.0000." in page.text
    assert "refused by a budget 1" in page.text
    assert "Attempts without a known price: gpt-4o-mini (1)." in page.text
    assert "USD 100" not in page.text
    assert page.alts[0].startswith(">= USD 2.8750 (1 unpriced) in ")
    assert "No day has a limit." in page.text
    heads = re.findall(r"<thead>(.*?)</thead>", path.read_text(encoding="utf-8"), re.DOTALL)
    seconds = [re.findall(r"<th[^>]*>(.*?)</th>", head)[1] for head in heads]
    assert seconds == ["cost"] * 5 + ["attempts", "cost", "cost"], "a narrow window shows two columns"


def test_when_a_report_is_opened_then_it_needs_no_network_and_no_script_and_names_are_only_text(
    month: Shell, tmp_path: Path
) -> None:
    spent("secret", 1, "0.5", profile=f"mine {CANARY}")
    text = session().report(tmp_path / "costs.html", since=None).read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & {*page.tags}
    assert len(page.links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "url(" not in text
    assert HOSTILE in page.text
    assert CANARY not in text
    assert "color-scheme: light dark" in text
    assert "@media print" in text
    assert "USD 100.0000" in page.text


def test_when_a_day_has_a_budget_then_the_report_says_how_much_of_it_was_used(
    month: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Path("profiles.yaml")
    settings.write_text(settings.read_text(encoding="utf-8") + "\nbudget: {day: 5}\n", encoding="utf-8")
    session().runtime.refresh()
    page = Page(session().report(tmp_path / "costs.html").read_text(encoding="utf-8"))
    assert re.search(
        r"A day may cost USD 5\.0000 today\. The most expensive was [\d-]+ with USD 2\.5000, 50 % of it", page.text
    )
    assert "Not in these figures: 1 without a known price." in page.text


def test_when_nothing_was_asked_then_the_report_says_so(live: Shell, tmp_path: Path) -> None:
    page = Page(session().report(tmp_path / "costs.html").read_text(encoding="utf-8"))
    assert "What models cost: USD 0.0000 paid" in page.text
    assert "Nothing was asked in this time." in page.text


def test_when_a_report_cannot_be_written_there_then_one_line_says_what_to_do(live: Shell, tmp_path: Path) -> None:
    report = session().report
    (tmp_path / "notes.html").write_text("<p>mine</p>", encoding="utf-8")
    for path, hint in {
        tmp_path: f"is a folder. Name a file in it, such as {tmp_path / 'costs.html'}",
        tmp_path / "costs.pdf": "Name it costs.html",
        tmp_path / "none" / "costs.html": f"There is no folder {tmp_path / 'none'}. Make it first.",
        tmp_path / "notes.html": "is there, and is no report of ours",
        tmp_path / f"{'x' * 300}.html": "cannot be written",
        "$NO_SUCH_FOLDER/costs.html": "there is no $NO_SUCH_FOLDER",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(hint)) as caught:
            report(path)
        assert ".." not in str(caught.value)
    assert (tmp_path / "notes.html").read_text(encoding="utf-8") == "<p>mine</p>"
    assert report(tmp_path / "notes.html", overwrite=True) == report(tmp_path / "notes.html")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


# --- windows ---


def test_when_a_time_is_given_then_days_are_whole_and_hours_are_not() -> None:
    now = datetime.now().astimezone()
    midnight = datetime.combine(now.date(), datetime.min.time())
    assert begin(None) is None
    assert begin("today") == begin("1d") == begin(now.date()) == midnight.astimezone()
    assert begin("30d") == begin("30 days") == (midnight - timedelta(days=29)).astimezone()
    assert begin("2w") == (midnight - timedelta(days=13)).astimezone()
    assert begin("2026-01-01") == begin(date(2026, 1, 1)) == datetime(2026, 1, 1).astimezone()
    assert begin("2026-01-01T12:30Z") == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    for hours in ("12h", timedelta(hours=12)):
        assert abs((begin(hours) or now) - (now - timedelta(hours=12))) < timedelta(minutes=1)
    moment = pd.Timestamp("2026-01-01 12:30")
    assert begin(moment) == datetime(2026, 1, 1, 12, 30).astimezone()
    assert begin(moment.tz_localize("UTC")) == begin("2026-01-01T12:30Z")
    assert abs((begin(pd.Timedelta("12h")) or now) - (now - timedelta(hours=12))) < timedelta(minutes=1)
    named = zone(datetime(2026, 1, 1).astimezone())
    assert str(Window.of("all", "2026-01-01")) == f"all kernels, since 2026-01-01 00:00 {named}"
    assert str(Window.of("session")) == "this kernel, from the beginning"


@pytest.mark.parametrize(
    ("since", "hint"),
    [
        ("yesterday", "Write 30d, 12h, today or 2026-11-01."),
        ("1 month", "Months are not counted: write 30d, or a date."),
        ("30m", "Months are not counted"),
        ("2999-01-01", "is in the future"),
        ("999999d", "is not understood"),
        ("2026-13-01", "is not understood"),
        ("-3d", "is not understood"),
        ("", "is not understood"),
    ],
)
def test_when_a_time_cannot_be_meant_then_the_error_says_what_can(since: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(hint)):
        begin(since)


def test_when_a_window_is_of_a_notebook_then_it_has_the_rows_of_all_its_kernels() -> None:
    with Ledger(None, kernel="here") as ledger:
        for call, notebook in (("a", "one"), ("b", "two"), ("c", None)):
            ledger.finish(replace(row(call), notebook=notebook))
        window = Window.of("notebook", notebook="one")
        assert [each.call_id for each in window.rows(ledger)] == ["a"]
        assert ledger.to_frame("all", notebook="one").call_id.tolist() == ["a"]
        assert Window.of(since="1h").rows(ledger) == []
    with pytest.raises(ConfigError, match="Which notebook this is, is not known here"):
        Window.of("notebook")
    with pytest.raises(ConfigError, match="Did you mean scope=all"):
        Window.of("al")


# --- commands ---


def test_when_costs_of_a_window_are_asked_for_then_they_are_those_and_it_is_named(month: Shell) -> None:
    table = month.run("%victor cost since=30d scope=all by=model").plain
    assert table.startswith("All kernels, since ")
    assert re.search(r"^total .* >= USD 2\.8750 \(1 unpriced\)$", table, re.MULTILINE)
    assert "USD 7.0000" in table.split("Simulated, at list prices; nothing of it was paid:")[1]
    assert month.run("%victor cost 30d all model").plain == table
    assert "USD 102.8750" in month.run("%victor cost").plain
    assert "Nothing has been asked in this kernel, since" in month.run("%victor cost 1h").plain
    error = str(month.fail("%victor cost scope=notebook"))
    assert "Which notebook this is, is not known here. Use scope=kernel or scope=all." in error


def test_when_days_are_plotted_then_it_is_a_month_of_all_kernels(month: Shell) -> None:
    shown = month.run("%victor plot spend").plain
    assert shown.startswith(">= USD 2.8750 (1 unpriced) in 2 days.")
    assert "Not drawn, since not paid: USD 7.0000 simulated." in shown
    assert ">= USD 102.8750" in month.run("%victor plot spend since=2020-01-01 by=profile").plain
    assert "nothing to draw" in str(month.fail("%victor plot spend since=1h"))


def test_when_a_report_is_asked_for_on_a_line_then_it_says_where_it_is(month: Shell, tmp_path: Path) -> None:
    shown = month.run("%victor report").plain
    assert "Wrote" in shown
    assert Path("victor-report.html").is_file()
    assert "this kernel, since" in month.run(f"%victor report {tmp_path / 'x.html'} since=12h scope=kernel").plain
    assert "There is no folder" in str(month.fail("%victor report none/x.html"))
