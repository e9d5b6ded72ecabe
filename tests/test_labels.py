"""`diff` and `agree` say what changed and who agrees, row by row, and how sure that is."""

from __future__ import annotations

import random
from decimal import Decimal
from math import isnan

import pandas as pd
import pytest

import victor_nb
from victor_nb.errors import ConfigError
from victor_nb.reports.statistics import kappa, proportion

# --- intervals ---


def test_when_a_share_is_known_then_its_interval_is_the_textbook_s() -> None:
    found = proportion(15, 20)
    assert (found.value, found.low, found.high) == pytest.approx((0.75, 0.5313, 0.8881), abs=5e-4)
    assert proportion(0, 20)[:3] == pytest.approx((0.0, 0.0, 0.1611), abs=5e-4)
    assert isnan(proportion(0, 0).value)


def test_when_two_raters_are_a_textbook_s_then_kappa_is_too() -> None:
    rows = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    found = kappa(rows)
    assert found.value == pytest.approx(0.4)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(0.128, abs=3e-3)  # Fleiss, Cohen and Everitt, 1969


def test_when_there_are_more_raters_then_kappa_is_that_of_fleiss() -> None:
    counts = "0000E 02642 00356 03920 22811 77000 32630 25322 65210 02237".split()
    rows = [[answer for answer, n in enumerate(row) for _ in range(int(n, 16))] for row in counts]
    assert {len(row) for row in rows} == {14}
    assert kappa(rows).value == pytest.approx(0.210, abs=5e-4)  # the example of Fleiss' kappa in Wikipedia


def test_when_kappa_says_nothing_then_it_says_why() -> None:
    assert isnan(kappa([("a", "a")] * 30).value)
    same = kappa([("a", "a"), ("b", "b")] * 30)
    assert (same.value, same.why, isnan(same.low)) == (1.0, "they never differ", True)
    assert "20 rows" in kappa([("a", "a"), ("a", "b")] * 3).why


@pytest.mark.parametrize("raters", [2, 3])
def test_when_frames_are_drawn_again_and_again_then_intervals_of_kappa_hold_the_truth(raters: int) -> None:
    chance = random.Random(raters)

    def drawn(count: int) -> list[tuple[str, ...]]:
        truths = chance.choices("abc", [5, 3, 2], k=count)
        return [tuple(t if chance.random() < 0.8 else chance.choice("abc") for _ in range(raters)) for t in truths]

    truth = kappa(drawn(60_000)).value
    held = [found.low <= truth <= found.high for found in (kappa(drawn(100)) for _ in range(400))]
    assert sum(held) / len(held) > 0.92


# --- diff ---


def mapped(labels: list[str | None], *, index: list[object] | None = None, cost: float = 0.0001) -> pd.DataFrame:
    """Return a frame as a map returns one."""
    columns = {
        "text": [f"ticket {at}" for at in range(len(labels))],
        "label": pd.array(labels, dtype="string"),
        "label_status": ["failed" if label is None else "ok" for label in labels],
        "label_cost": [cost] * len(labels),
    }
    return pd.DataFrame(columns, index=index)


def test_when_answers_change_then_diff_counts_prices_and_shows_them() -> None:
    before = mapped(["bug", "bug", "billing", None, "bug", "praise"])
    after = mapped(["bug", "billing", "billing", "bug", None, "bug"], cost=0.0003)
    found = victor_nb.diff(before, after, on="label")
    assert (found.rows, found.compared, found.changed, found.came, found.went) == (6, 4, 2, 1, 1)
    assert found.churn.value == 0.5
    assert found.cost_delta == Decimal("0.0012")
    assert found.moves == (("bug", "billing", 1), ("praise", "bug", 1))
    frame = found.to_frame()
    assert [*frame.columns] == ["text", "before", "after", "change"]
    assert [*frame["change"]] == ["changed", "came", "went", "changed"]
    assert len(found.examples(2)) == 2
    assert str(found) == "label: 2 of 4 answers changed, 50.0 % (15.0 to 85.0 %); 1 came; 1 went."
    assert "ticket 1" in repr(found)
    assert (found.before_each, found.after_each) == (Decimal("0.0001"), Decimal("0.0003"))
    assert "USD 1.00  USD 3.00    USD 2.00" in repr(found)
    assert "<table" in found._repr_html_()
    assert "label" in before  # the input is not changed


def test_when_columns_have_levels_and_labels_are_nan_then_rows_are_found_all_the_same() -> None:
    frame = mapped(["bug", "praise"], index=[float("nan"), 1.0])
    frame.columns = pd.MultiIndex.from_tuples([("ticket", "text"), *((name, "") for name in frame.columns[1:])])
    found = victor_nb.diff(frame, frame.copy(), on="label")
    assert (found.rows, found.compared, found.added) == (2, 2, 0)


def test_when_rows_move_then_diff_follows_the_index_also_through_duplicates() -> None:
    before = mapped(["a", "b", "c", "d"], index=["x", "y", "y", "z"])
    after = mapped(["c", "b", "a", "e"], index=["y", "y", "x", "new"])
    found = victor_nb.diff(before, after, on="label")
    assert (found.rows, found.added, found.removed) == (3, 1, 1)
    assert found.moves == (("b", "c", 1), ("c", "b", 1))  # the first y with the first y
    assert [*found.to_frame().index] == ["y", "y"]


def test_when_nothing_changes_then_diff_says_so() -> None:
    frame = mapped(["a", None])
    found = victor_nb.diff(frame, frame, on="label")
    assert str(found) == "label: 0 of 1 answers changed."
    assert (found.cost_delta, len(found.to_frame())) == (0, 0)
    assert "USD 0.00" in repr(found)


def test_when_a_map_was_resumed_then_diff_compares_what_a_call_costs_and_not_what_was_left_to_pay() -> None:
    before, after = mapped(["a", "b"]), mapped(["a", "b"], cost=0.0003)
    before[["label_cost", "label_status"]] = [[0.0, "reused"], [0.0001, "ok"]]
    found = victor_nb.diff(before, after, on="label")
    assert (found.before_each, found.after_each) == (Decimal("0.0001"), Decimal("0.0003"))
    assert victor_nb.diff(before.head(1), after, on="label").before_each is None  # nothing was asked


def test_when_answers_are_reused_then_diff_compares_the_prices_of_the_same_rows() -> None:
    before, after = mapped(["a", "b", "c"]), mapped(["a", "b", "d", "e"], cost=0.0003)
    before = before.assign(label_cost=[0.0, 0.0, 0.0004], label_price=[0.0001, 0.0001, 0.0004])
    before["label_status"] = ["reused", "reused", "ok"]
    after["label_price"] = [0.0001, 0.0001, 0.0004, 0.9]  # the last is not in both
    found = victor_nb.diff(before, after, on="label")
    assert (found.priced, found.before_each, found.after_each) == (3, Decimal("0.0002"), Decimal("0.0002"))
    assert "of the 3 rows with a price in both" in repr(found)
    after.loc[0, "label_status"] = "skipped"
    found = victor_nb.diff(before, after, on="label")
    assert (found.priced, found.before_each) == (2, Decimal("0.00025"))


def test_when_prices_are_unknown_then_the_difference_is_too_but_rows_not_sent_cost_nothing() -> None:
    before, after = mapped(["a", "b"]), mapped(["a", "b"])
    after["label_cost"] = [float("nan"), 0.0001]
    assert victor_nb.diff(before, after, on="label").cost_delta is None
    after["label_status"] = ["skipped", "ok"]
    assert victor_nb.diff(before, after, on="label").cost_delta == Decimal("-0.0001")
    assert victor_nb.diff(before[["label"]], after, on="label").before is None


def test_when_a_schema_made_several_columns_then_all_are_compared() -> None:
    before = pd.DataFrame({"label.kind": ["bug", "bug"], "label.urgent": [True, False], "label_status": "ok"})
    after = before.assign(**{"label.urgent": [True, True]})
    found = victor_nb.diff(before, after, on="label")
    assert (found.on, found.moves) == (("label.kind", "label.urgent"), (("bug | False", "bug | True", 1),))


def test_when_a_column_is_missing_then_the_nearest_is_named() -> None:
    frame = mapped(["a"])
    with pytest.raises(ConfigError, match=r"no column 'labl'\. Did you mean 'label'"):
        victor_nb.diff(frame, frame, on="labl")
    with pytest.raises(ConfigError, match="two columns"):
        victor_nb.agree(frame, ["label"])
    with pytest.raises(ConfigError, match="two columns"):
        victor_nb.agree(frame, "label")


# --- agree ---


def test_when_two_profiles_answered_then_agree_counts_where_they_differ() -> None:
    frame = pd.DataFrame(
        {
            "text": [f"ticket {at}" for at in range(51)],
            "label.fast": [*["yes"] * 25, *["no"] * 25, None],
            "label.fast_status": "ok",
            "label.local": [*["yes"] * 20, *["no"] * 5, *["yes"] * 10, *["no"] * 15, "no"],
        }
    )
    found = victor_nb.agree(frame, ["label.fast", "label.local"])
    assert (found.rows, found.left_out, found.alike, found.share.value) == (50, 1, 35, 0.7)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.disagreements == ((("no", "yes"), 10), (("yes", "no"), 5))
    assert found.confusion().loc["no", "yes"] == 10
    assert [*found.to_frame().columns] == ["text", "label.fast", "label.local"]
    assert len(found.to_frame()) == 15
    assert "agree in 35 of 50 rows, 70.0 % (56.2 to 80.9 %); Cohen's kappa 0.40 (0.15 to 0.65)" in str(found)
    assert "1 row without" in str(found)
    assert "ticket 20" in repr(found)
    assert "<table" in found._repr_html_()


def test_when_three_profiles_answered_then_every_pair_is_counted() -> None:
    frame = pd.DataFrame({"a": list("xxyy") * 10, "b": list("xxyx") * 10, "c": list("xyyy") * 10})
    found = victor_nb.agree(frame, ["a", "b", "c"])
    assert [*found.pairs()["share"]] == [0.75, 0.75, 0.5]
    assert "Fleiss' kappa" in str(found)
    assert found.confusion("a", "c").loc["x", "y"] == 10
    with pytest.raises(ConfigError, match="was not compared"):
        found.confusion("d")
