"""The capitals that a small model was asked for in 05, their chart, and the test of the function that 05 asks for."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from answer_code import code_in, passes, value_of
from IPython.display import Markdown

from victor_nb.reports.charts import drawing as draw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure

    from victor_nb.values import SimulatedQuestion
    from victor_nb.workflows.runs import StrategyRun

DAYS: Final = [date(2026, 6, 1) + timedelta(days=n) for n in range(28)]
PAIRS: Final = list(combinations_with_replacement(DAYS, 2))
HOLIDAYS: Final = {date(2026, 6, 10), date(2026, 6, 20)}
COUNTRY: Final = re.compile(r"capital of (.+?)\?")
WEEK: Final = {"monday": date(2026, 6, 1), "friday": date(2026, 6, 5)}


def passed(answer: object) -> float:
    """Return the share of the 406 pairs of dates in four weeks for which the function counts what numpy counts."""
    days = timedelta(days=1)
    expected = [np.busday_count(start, end + days, holidays=[*HOLIDAYS]) for start, end in PAIRS]
    counted = value_of(answer, "[workdays(*pair, holidays) for pair in pairs]", pairs=PAIRS, holidays=HOLIDAYS)
    return float(np.mean(np.equal(counted, expected)))


def one_week(answer: object) -> int:
    """Return how many workdays the function counts from a Monday to the Friday after it, without holidays."""
    return value_of(answer, "workdays(monday, friday, set())", **WEEK)


def marks(answer: object, tests: object) -> list[str]:
    """Return ✓ or ✗ for each test (a line of assert) of another answer: whether the code of an answer passes it."""
    lines = code_in(tests).splitlines()
    setting = "\n".join(line for line in lines if not line.startswith("assert "))
    conditions = [line.removeprefix("assert ") for line in lines if line.startswith("assert ")]
    passing = [passes(answer, f"[exec({setting!r}, globals()), {each}]", [None, True]) for each in conditions]
    return ["✓" if each else "✗" for each in passing]


def try_tests(runs: Mapping[str, StrategyRun], tests: object, names: list[str]) -> pd.DataFrame:
    """Return a row for each run: ✓ or ✗ for each test of its answer, in columns of these names, and its US cents."""
    table = pd.DataFrame.from_dict({name: marks(run.answer, tests) for name, run in runs.items()}, "index")
    cents = [f"{100 * (run.cost or 0):.2f}" for run in runs.values()]
    return table.set_axis(names, axis=1).assign(**{"US cents": cents})


def versions(*runs: StrategyRun) -> Markdown:
    """Return the stages of runs as a table: profile, cost, what a test says of the version, and its last line."""
    rows = [["stage", "profile", "US cents", "pairs right", "one week", "what the function returns"]]
    rows.append([":--", ":--", "--:", "--:", "--:", ":--"])
    for run in runs:
        for place, stage in enumerate(run.stages):
            first = "" if place else "**"
            last = code_in(stage).rstrip().rpartition("\n")[2].strip().removeprefix("return ")
            cents = f"{100 * (stage.cost or 0):.2f}"
            names = [f"{first}{name}{first}" for name in (stage.name, stage.profile)]
            rows.append([*names, cents, f"{passed(stage):.0%}", f"{one_week(stage)}", f"`{last}`"])
    return _markdown(rows)


def draw_wrong_drafts(runs: Mapping[str, pd.DataFrame], control: pd.DataFrame, title: str) -> Figure:
    """Draw for how many of the wrong drafts the model is right: alone, with the prompts only, and after the draft.

    Args:
        runs: The answers of each run by its name, in the columns `capital`, `alone`, `draft` and `final`.
        control: The answers where the place of the draft says that there is none.
        title: What is to be seen.
    """
    ax = draw.paper(None, body=0.2 * 4 * len(runs))
    names, told = list[str](), list[str]()
    ways = {"alone": draw.BLUE, "prompts only": draw.SKY, "tiered": draw.VERMILION}
    for run, counts in count_right({run: with_wrong_draft(each) for run, each in runs.items()}, control).iterrows():
        count = counts["wrong drafts"]
        told.append(f"{run}, {count} wrong drafts")
        names.append(f"{run}")
        for way, colour in ways.items():
            share, text = counts[way] / count, f"{counts[way]} of {count}"
            draw.bar(ax, len(names), 0, share, colour)
            look: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate(text, (share, len(names)), fontweight="bold", color=draw.EDGE, **look)
            names.append(way.replace("tiered", "after the wrong draft"))
            told.append(f"{names[-1]}: {text}")
    indent = draw.name_rows(ax, names)
    for label in ax.get_yticklabels():
        if label.get_text() in runs:
            label.set_fontweight("bold")
    ax.grid(visible=False)
    ax.set_xlim(0, 1.15)
    ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    ax.spines["bottom"].set_bounds(0, 1)
    note = "Countries with a wrong draft whose capital SmolLM2-135M names, by the temperature of its drafts."
    draw.header(ax, title, [note], indent=indent)
    return draw.finish(ax, title, "; ".join(told))


def load_capitals() -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the model's answers by country: those of each run, by the temperature of its drafts, and the control."""
    files = {
        "temperature 2": "capitals.csv",
        "temperature 2, again": "capitals_again.csv",
        "temperature 0.7": "capitals_usual.csv",
        "no draft": "capitals_no_draft.csv",
    }
    read = {name: pd.read_csv(Path(__file__).with_name(file), index_col="country") for name, file in files.items()}
    control = read.pop("no draft")
    return read, control


def questions(measured: pd.DataFrame) -> dict[str, list[str]]:
    """Return the questions that were asked, each with the names that a right answer has one of."""
    ask = "What is the capital of {}? Answer in one short sentence."
    return {ask.format(country): names.split(" / ") for country, names in measured["capital"].items()}


def right_capitals(measured: pd.DataFrame) -> pd.DataFrame:
    """Return whether each answer names the capital of its row, by any of its names."""
    names = [capital.split(" / ") for capital in measured["capital"]]
    return measured.drop(columns="capital").apply(
        lambda answers: [any(map(answer.__contains__, each)) for answer, each in zip(answers, names, strict=True)]
    )


def mark_answers(measured: pd.DataFrame) -> Markdown:
    """Return the answers as a table, each with a mark: whether it names the capital."""
    marked = right_capitals(measured).replace({True: "✓ ", False: "✗ "}) + measured.drop(columns="capital")
    table = marked[["alone", "draft", "final"]].rename(columns={"final": "after the draft"})
    return _markdown([[*table.columns], [":--"] * len(table.columns), *table.to_numpy().tolist()])


def with_wrong_draft(measured: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose draft does not name the capital."""
    return measured[~right_capitals(measured)["draft"]]


def count_right(runs: Mapping[str, pd.DataFrame], control: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run: its wrong drafts, its right answers, and what it loses and gains against `alone`.

    Args:
        runs: The answers of each run by its name, in the columns `capital`, `alone`, `draft` and `final`.
        control: The answers where the place of the draft says that there is none.
    """
    counts = dict[str, pd.Series]()
    for name, measured in runs.items():
        right, prompts = right_capitals(measured), right_capitals(control.loc[measured.index])
        alone, final = right["alone"], right["final"]
        columns = {"wrong drafts": ~right["draft"], "alone": alone, "prompts only": prompts["final"], "tiered": final}
        counts[name] = pd.DataFrame(columns | {"lost": alone & ~final, "gained": final & ~alone}).sum()
    return pd.DataFrame(counts).T


def _markdown(rows: list[list[str]]) -> Markdown:
    return Markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))


def recorded(*measured: pd.DataFrame) -> Callable[[SimulatedQuestion], str]:
    """Return a function for `session().simulate_with`: what the model answered when it was measured.

    Args:
        measured: Its answers by country, in the columns `alone`, `draft`, `improved` and `final`.
    """
    said = dict[tuple[str, str, str], str]()
    for answers in measured:
        for country, row in answers.iterrows():
            said[f"{country}", "answer", ""] = row["alone"]
            said[f"{country}", "refine", row["draft"].strip()] = row["improved"]
            said[f"{country}", "polish", row["improved"].strip()] = row["final"]
    for country, draft in measured[0]["draft"].items():
        said[f"{country}", "prototype", ""] = draft

    def answer(question: SimulatedQuestion) -> str:
        country = COUNTRY.findall(question.prompt)[0]
        before = question.prompt.split("changes.\n\n")[1].strip() if question.stage in {"refine", "polish"} else ""
        # The simulator may count more tokens than the model did, and then ends an answer earlier.
        fits = [key for key in said if key[:2] == (country, question.stage) and key[2].startswith(before)]
        return said[min(fits)]

    return answer
