"""`%%victor over=$df out=label` and `df.victor.map`: a frame in, a new frame with the answers out."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from cells import MARKDOWN, PLAIN, PROFILES, Kernel, Message, write
from victor_nb import session
from victor_nb.errors import MagicError, MapError, PromptError
from workbench import rows

if TYPE_CHECKING:
    from pathlib import Path

    from cells import Shell
    from victor_nb.values import SimulatedQuestion

pytest_plugins = ["cells_fixtures"]

REVIEWS = """
import pandas as pd
from victor_nb import session
df = pd.DataFrame({"review": [f"it is {at % 30}" for at in range(60)], "stars": range(60)}, index=range(100, 160))
tone = "brief"
session().simulate_with(lambda asked: "good" if asked.prompt.endswith(("1", "2")) else "bad")
"""
ASK = "%%victor fast over=$df out=label\nBe {{ tone }} about: {{ review }}"


@pytest.fixture
def reviews(shell: Shell) -> Shell:
    """Open a notebook with a frame of sixty reviews, thirty of which differ."""
    assert shell.run(REVIEWS).error is None
    return shell


def refuse(_: SimulatedQuestion) -> str:
    raise RuntimeError("no")


# --- the cell ---


def test_when_a_frame_is_asked_over_then_a_new_one_is_bound_and_its_head_and_bill_are_shown(reviews: Shell) -> None:
    before = reviews.names["df"].copy()
    ran = reviews.run(ASK)
    assert ran.error is None
    pd.testing.assert_frame_equal(reviews.names["df"], before)
    label = reviews.names["label"]
    assert [*label.index] == [*range(100, 160)]
    assert [*label.columns[:3]] == ["review", "stars", "label"]
    assert [*label["label"][:4]] == ["bad", "good", "good", "bad"]
    assert session().last is label
    asked = {row["profile"] for row in rows()}
    assert (asked, len(rows())) == ({"fast"}, 30)  # equal rows are one call
    assert ran.plain.splitlines()[-1].startswith("label · 60 answers: 30 ok, 30 reused · USD ")
    assert ran.plain.endswith(" · simulated")
    assert "100    it is 0  bad    ok" in ran.plain
    assert len(ran.frames) == 1
    assert "| index | review | label | label_status |" in ran.shown
    assert ran.plain.startswith("60 rows (30 different): USD ")  # the price, said after the first twenty


def test_when_columns_and_names_are_alike_then_the_column_comes_first(reviews: Shell) -> None:
    reviews.run("review = 'of my own'")
    assert reviews.run(ASK).error is None
    assert "of my own" not in {*reviews.names["label"]["review"]}
    assert reviews.names["label"]["label"].nunique() == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "fast over=df out=label",
            "over= takes a DataFrame, a Series, a list or an iterator, not 'df'. Write over=$df.",
        ),
        ("fast over=$dff out=label", "'dff' is not defined. Did you mean $df?"),
        ("fast over=$tone out=label", "over= takes a DataFrame"),
        ("fast over=$df", "over= needs out=NAME"),
        ("fast rows=5", "rows= goes with over="),
        ("fast over=$df out=label as=json", "over= and as= exclude each other"),
        ("fast over=$df out=label raw=true", "over= and raw= exclude each other"),
        ("fast over=$df out=label rows=0", "rows= takes a whole number of 1 or more, not 0"),
        ("fats over=$df out=label", "Did you mean 'fast'?"),
    ],
)
def test_when_a_line_is_wrong_then_it_says_what_to_write(reviews: Shell, line: str, told: str) -> None:
    assert told in str(reviews.fail(f"%%victor {line}\nAbout: {{{{ review }}}}"))
    assert rows() == []
    assert "label" not in reviews.names


def test_when_a_column_is_missing_then_the_nearest_is_named_and_nothing_is_sent(reviews: Shell) -> None:
    error = reviews.fail("%%victor fast over=$df out=label\nAbout: {{ reviw }}")
    assert isinstance(error, PromptError)
    assert "Did you mean 'review'?" in str(error)
    assert isinstance(reviews.fail("%%victor fast over=$df\nAbout: {{ review }}"), MagicError)
    assert (rows(), "label" in reviews.names) == ([], False)


def test_when_a_budget_is_used_up_then_the_rest_is_refused_and_what_came_is_bound(reviews: Shell) -> None:
    ran = reviews.run(ASK.replace("out=label", "out=label max_tokens=10 budget=0.00004 concurrency=1"))
    statuses = reviews.names["label"]["label_status"].value_counts()
    assert ran.error is None
    assert {"ok", "refused"} <= {*statuses.index}
    assert sum(row["cost"] for row in rows() if row["cost"]) <= 0.00004
    assert "refused" in ran.plain.splitlines()[-1]
    assert "× not asked, as the budget is used up" in ran.plain


def test_when_all_rows_fail_alike_then_the_cell_is_red_and_the_frame_is_bound_all_the_same(reviews: Shell) -> None:
    reviews.run("from victor_nb import SimulatedAnswer\nsession().simulate_with(lambda _: SimulatedAnswer(status=404))")
    error = reviews.fail(ASK)
    assert isinstance(error, MapError)
    label = reviews.names["label"]
    assert error.partial is label
    assert set(label["label_status"]) == {"failed", "pending"}
    assert len(rows()) < 40  # not all sixty


def test_when_less_is_to_be_seen_then_less_is_shown(reviews: Shell) -> None:
    quiet = reviews.run(ASK.replace("out=label", "out=label show=quiet")).plain
    assert quiet.startswith("label · 60 answers")
    assert not reviews.run(ASK.replace("out=label", "out=label2 show=none")).frames
    assert "answers" not in reviews.run(ASK.replace("out=label", "out=label3 cost=off")).plain


def test_when_several_profiles_are_asked_then_each_has_its_columns(reviews: Shell) -> None:
    ran = reviews.run(ASK.replace("fast", "profiles=fast,local").replace("out=label", "out=label rows=4"))
    assert ran.error is None
    assert {"label.fast", "label.local", "label.fast_status"} <= {*reviews.names["label"].columns}
    assert len(reviews.names["label"]) == 4
    assert "label · 8 answers: 8 ok" in ran.plain


def test_when_answers_have_a_schema_then_its_fields_are_columns(reviews: Shell) -> None:
    reviews.run("from typing import TypedDict\nclass Label(TypedDict):\n    kind: str\n    stars: int")
    reviews.run("""session().simulate_with(lambda _: '{"kind": "bug", "stars": 3}')""")
    ran = reviews.run(ASK.replace("out=label", "out=label rows=3 schema=$Label"))
    assert ran.error is None
    label = reviews.names["label"]
    assert ([*label["label.kind"]], str(label["label.stars"].dtype)) == (["bug"] * 3, "Int64")
    assert "| index | review | label.kind | label.stars | label_status |" in ran.shown


def test_when_a_series_or_a_list_is_asked_over_then_value_is_the_name(reviews: Shell) -> None:
    reviews.run("words = ['one', 'two']")
    assert reviews.run("%%victor fast over=$words out=label\nSay {{ value }}").error is None
    assert reviews.run("%%victor fast over=$df.review out=other rows=2\nSay {{ value }}").error is None
    assert [*reviews.names["label"]["value"]] == ["one", "two"]
    assert [*reviews.names["other"].columns[:2]] == ["review", "other"]


def test_when_columns_have_numbers_as_names_then_the_head_is_shown(reviews: Shell) -> None:
    reviews.run("import pandas as pd\nplain = pd.DataFrame([[7, 'one'], [8, 'two']])")
    ran = reviews.run("%%victor fast over=$plain out=label\nSay {{ row['1'] }}")
    assert ran.error is None
    assert "label_status" in ran.shown


def test_when_a_run_is_dry_then_rows_and_price_are_said_and_nothing_is_sent(reviews: Shell) -> None:
    plain = reviews.run(ASK.replace("out=label", "out=label dry=true")).plain
    assert "nothing was sent" in plain
    assert "60 rows, of which 30 differ" in plain
    assert "USD" in plain
    assert "Be brief about: it is " in plain
    assert (rows(), "label" in reviews.names) == ([], False)


def test_when_tab_is_pressed_then_columns_are_offered_with_the_names(reviews: Shell) -> None:
    assert {"review"} <= reviews.complete("%%victor fast over=$df out=x\nSay {{ re")
    assert {"tone"} <= reviews.complete("%%victor fast over=$df out=x\nSay {{ to")
    assert "$df" in reviews.complete("%%victor fast over=")
    assert "review" not in reviews.complete("%%victor fast\nSay {{ re")


# --- the accessors ---


def test_when_the_extension_is_loaded_then_frames_and_series_have_victor(reviews: Shell) -> None:
    df = reviews.names["df"]
    found = df.victor.map("Be brief about: {{ review }}", profile="fast", out="label", rows=3)
    assert [*found["label"]] == ["bad", "good", "good"]
    assert [*df["review"].victor.map("Say {{ value }}", profile="fast", rows=2).columns[:2]] == ["review", "answer"]


def test_when_pandas_is_not_loaded_then_it_is_not_imported_and_later_frames_have_victor() -> None:
    code = (
        "import sys, victor_nb; victor_nb.session; assert 'pandas' not in sys.modules\n"
        "import pandas; victor_nb.session; print(hasattr(pandas.DataFrame, 'victor'), hasattr(pandas.Series, 'victor'))"
    )
    after = "import pandas, victor_nb; print(hasattr(pandas.DataFrame, 'victor'), hasattr(pandas.Series, 'victor'))"
    for each in (code, after):
        done = subprocess.run([sys.executable, "-c", each], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "True"]


# --- in a kernel ---


def test_when_a_cell_is_watched_then_its_line_moves_stop_keeps_the_frame_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    write(tmp_path, PROFILES)
    with Kernel(tmp_path, VICTOR_MODE="simulate") as kernel:
        kernel.run("%load_ext victor_nb")
        kernel.run(REVIEWS)
        kernel.run(
            "from victor_nb import SimulatedAnswer\n"
            "session().simulate_with(lambda asked: SimulatedAnswer('good', delay=0.1))"
        )
        stopped: list[float] = []

        def stop(heard: list[Message]) -> None:
            shown = [str(each.content["data"]) for each in heard if "display_data" in each.kind]
            if not stopped and any("left" in text and "/60" in text for text in shown):
                stopped.append(1.0)
                kernel.interrupt()

        heard = kernel.messages(ASK.replace("out=label", "out=label concurrency=2"), meanwhile=stop)
        frames = [each.content["data"] for each in heard if "display_data" in each.kind]
        assert stopped
        assert "░" in frames[-2][MARKDOWN]
        last = frames[-1][PLAIN].splitlines()[-1]
        assert last.startswith("label · of 60 answers: ")
        assert "pending" in last
        errors = [each.content for each in heard if each.kind == "error"]
        assert [each["ename"] for each in errors] == ["VictorInterrupted"]
        assert len(errors[0]["traceback"]) == 1
        kept = kernel.run("print(*sorted({*label['label_status']}), session().last is label, len(label))").said
        assert kept.split()[-2:] == ["True", "60"]
        assert {"ok", "pending"} <= {*kept.split()}

        # in the background: the frame can be read meanwhile
        card = kernel.run(ASK.replace("out=label", "out=job bg=true concurrency=4")).frames[-1]
        assert card[PLAIN].startswith("job: running in the background; job.result() waits")
        kernel.run("seen = type(job.frame).__name__, len(job.frame); found = job.result()")
        kept = kernel.run("print(*seen, job.done(), found['job'].notna().all(), job)").said
        assert kept.startswith("DataFrame 60 True True BackgroundRows(job, 60/60")
        answered = kernel.run("print(len(session().ledger.to_frame().query(\"status == 'ok'\")))").said
        assert int(answered) == 30  # by both runs together, each different row once
