"""A search finds a cheaper plan that holds, says no where none is shown to, pays once, and goes on where it stopped."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from victor_nb import (
    Agreement,
    Cascade,
    Found,
    Settings,
    SimulatedQuestion,
    Single,
    Strategy,
    VictorInterrupted,
    decide,
    search,
    search_sync,
    session,
)
from victor_nb.errors import ConfigError
from victor_nb.reports.statistics import proportion
from victor_nb.workflows.checks import Exact
from victor_nb.workflows.evidence import smallest_gap
from victor_nb.workflows.search import Search
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from cells import Shell

pytest_plugins = ["cells_fixtures"]

RATES = {"small": 0.5, "middle": 0.94, "large": 0.95}
PRICES = {"small": 0.1, "middle": 1, "large": 20}
MODELS = {"small": "gpt-5-nano", "middle": "gpt-5-mini", "large": "gpt-5"}


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles whose simulated answers are right with a probability of their own, mostly on the same tasks."""
    lines = ["default: small", "profiles:"]
    for name, price in PRICES.items():
        lines += [f"  {name}:", "    provider: openai", f"    model: {MODELS[name]}", "    concurrency: 64"]
        lines += [f"    prices: {{input: {price}, output: {price}}}"]
    (tmp_path / "profiles.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    session().simulate_with(answer)


def answer(question: SimulatedQuestion) -> str:
    task = question.prompt.split()[-1]
    alone = random.Random(f"{task}/{question.profile}")
    luck = alone.random() if alone.random() < 0.2 else random.Random(task).random()
    return f"yes {task}" if luck < RATES[question.profile] else f"no, {question.profile}"


def right(task: str, text: str) -> bool:
    return text == f"yes {task.rsplit(maxsplit=1)[-1]}"


def tasks(count: int = 110) -> list[str]:
    return [f"Is it so of {number}" for number in range(count)]


def find(count: int = 110, **options: Any) -> Found:
    given = {"score": right, "reference": "large", "progress": False, **options}
    return search_sync(tasks(count), ["small", "middle"], **given)


def test_when_a_cheap_profile_keeps_the_quality_then_it_is_certified_and_asked_about_once() -> None:
    found = find(300, keep=0.9)
    sure = found.certificate
    assert sure is not None
    assert found.plan == Single("middle")
    assert (sure.plan, sure.reference, sure.confidence) == ("middle", "large", 0.95)
    assert sure.evidence >= sure.needed
    assert sure.limit is not None
    assert 0.9 <= sure.limit <= 1
    assert sure.more_mistakes is not None
    assert sure.pays_back is not None
    assert 0 < sure.pays_back < 1000
    table = found.table().set_index("plan")
    assert table.loc["large", "state"] == "reference"
    assert table.loc["small", "state"] == "not chosen"
    low, high = (float(str(table.loc["middle", end])) for end in ("low", "high"))
    assert low <= RATES["middle"] <= high
    assert session().last is found
    for text in (str(found), found._repr_html_()):
        assert "middle keeps 90 % of the quality of large" in text
        assert f"t least {100 * sure.limit:.1f} % by these tasks" in text
        assert "95 %" in text
        assert "the score is the truth" in text
        most = f"t most {10_000 * sure.more_mistakes:,.0f} more mistakes than large in 10,000 tasks"
        assert re.search(rf"{most}, so it pays while one costs less than USD [\d.]+\d\b", text)
    assert sure.break_even == pytest.approx((sure.reference_cost - sure.cost) / sure.more_mistakes)
    html = re.sub(r" class=[^>]*", "", found._repr_html_())
    counted = rf"By the (\d+ to )?{sure.tasks} tasks after the pilot. The last column holds for all plans tested"
    assert re.search(counted, html)
    assert '<th scope="col">keeps at least</th>' in html
    assert f"<td>{100 * sure.limit:.1f} %</td>" in html
    assert table.loc["middle", "at_least"] == sure.limit
    for plan, counted, tested in (
        ("middle", sure.tasks, sure.tasks),
        ("large", sure.tasks, sure.tasks),
        ("small", 40, 0),
    ):
        assert (table.loc[plan, "counted"], table.loc[plan, "tasks"]) == (counted, tested)
    hits = round(float(str(table.loc["middle", "quality"])) * sure.tasks)
    gap = proportion(hits, sure.tasks)
    assert (low, high) == pytest.approx((gap.low, gap.high)), "the interval is that of the counted tasks"
    quality = float(str(table.loc["large", "quality"]))
    assert sure.more_mistakes == pytest.approx((1 - sure.limit) * quality)
    assert f"Dashed: 90 % of large's quality as measured ({0.9 * quality:.3g})." in found.plot().alt  # type: ignore[attr-defined]
    assert found.plot("race").alt != ""  # type: ignore[attr-defined]
    asked = [(row.profile, row.call_id) for row in session().ledger.rows()]
    again = find(300, keep=0.9)
    assert len(session().ledger.rows()) == len(set(asked)) == len(asked)
    assert (again.spent.cost, again.certificate) == (0, sure)


def test_when_nothing_cheaper_holds_then_it_says_no_and_names_the_reference() -> None:
    found = search_sync(tasks(), ["small"], score=right, reference="large", accept=lambda reply: False, progress=False)
    assert not found.certified
    assert found.certificate is None
    assert found.plan == Single("large")
    assert "Nothing cheaper was shown to keep 95 % of the quality of large" in str(found)
    assert "Stay with large" in str(found)


def test_when_a_price_of_a_mistake_is_known_then_the_answers_after_the_pilot_choose_among_the_certified_plans() -> None:
    found = find(300, keep=0.8, accept=r"^yes")
    answers, table = found.answers(), found.table().set_index("plan")
    certified = [str(plan) for plan in table.index[table["state"] == "certified"]]
    assert len(certified) > 1
    names = [*dict.fromkeys(answers["strategy"])]
    assert (names[0], {*names[1:]}) == ("large", {*certified})
    asked = random.Random(0).sample(range(300), 300)
    each = int(table.loc[certified, "tasks"].min())
    for name in names:
        own = answers[answers["strategy"] == name]
        assert [*own["task"]] == [f"Is it so of {number}" for number in asked[40 : 40 + each]], "none of the pilot"
        if int(str(table.loc[name, "tasks"])) == each:
            assert (own["cost"].mean(), own["score"].mean()) == pytest.approx(
                (table.loc[name, "cost"], table.loc[name, "quality"])
            )
    used = 40 + int(table["tasks"].max())
    assert [*found.rest] == [f"Is it so of {number}" for number in asked[used:]], "new ones"
    own = answers[answers["strategy"] == "large"]
    assert [*own["score"]] == [float(right(task, answer_of(int(task.split()[-1]), "large"))) for task in own["task"]]
    assert decide(answers, mistake=1e-6).choice in certified
    assert decide(answers, mistake=1_000).choice == "large"


def test_when_nothing_is_certified_then_the_answers_are_those_of_the_plans_that_were_tested_to_the_end() -> None:
    found = find(130, keep=0.99)
    assert not found.certified
    table = found.table().set_index("plan")
    last = [str(plan) for plan in table.index[table["tasks"] == 90]]
    assert found.answers()["strategy"].value_counts().to_dict() == dict.fromkeys(last, 90)
    assert (found.answers()["strategy"].iloc[0], len(last) > 1) == ("large", True)
    untested = search_sync(
        tasks(), ["small"], score=right, reference="large", accept=lambda reply: False, progress=False
    )
    assert [*untested.answers().columns] == ["strategy", "task", "cost", "score"]
    assert not found.rest, "130 tasks are used up"


async def test_when_a_check_decides_then_a_cascade_is_found_that_serves() -> None:
    found = await search(
        tasks(),
        ["small"],
        score=right,
        reference="large",
        accept=r"^yes",
        keep=0.9,
        progress=False,
    )
    assert found.certificate is not None
    assert found.certificate.plan == "small > large"
    assert isinstance(found.plan, Strategy)
    run = await found.plan.run("Is it so of 1000001")
    assert run.path in {("small",), ("small", "large")}


def test_when_profiles_must_agree_then_a_third_decides_and_the_saved_plan_does_the_same(tmp_path: Path) -> None:
    file = tmp_path / "profiles.yaml"
    file.write_text(
        file.read_text(encoding="utf-8")
        + "# ours\nstrategies:\n  # old\n  old:\n    - {name: a, profile: small, prompt: '{{ task }}'}\n",
        encoding="utf-8",
    )
    session().runtime.refresh()
    found = find(accept=Agreement(2, of=r"yes.*", across=True))
    plan = found.strategies["small = middle > large"]
    for number in range(30):
        run = plan.run_sync(f"Is it so of {number}")
        texts = [answer_of(number, name) for name in ("small", "middle", "large")]
        agreed = texts[0] == texts[1] and texts[0].startswith("yes")
        assert (run.path, run.content) == (
            ("small", "middle") if agreed else ("small", "middle", "large"),
            texts[1 if agreed else 2],
        )
    object.__setattr__(found, "plan", plan)
    assert found.save("cheap") == file
    text = file.read_text(encoding="utf-8")
    assert "# ours\nstrategies:\n" in text
    assert "# old" in text
    assert "of the quality of large" in text
    again = find_strategy("cheap", Settings())
    assert again.run_sync("Is it so of 3").path == plan.run_sync("Is it so of 3").path
    with pytest.raises(ConfigError, match="already"):
        found.save("cheap")


def answer_of(number: int, profile: str) -> str:
    prompt = f"Is it so of {number}"
    return answer(SimulatedQuestion(profile=profile, stage=None, sample=0, prompt=prompt, system="", model=""))


def test_when_it_is_stopped_then_what_is_known_is_kept_and_it_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find(keep=0.9)
    calls = len(session().ledger.rows())
    session().runtime.cache_for("simulate").prune()  # type: ignore[union-attr]
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0.3")

    def stop() -> None:
        while len(new := session().ledger.rows()[calls:]) < 60 or new[-1].status != "running":
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(VictorInterrupted, match=r"goes on there\. [\d]+ calls had no answer yet") as caught:
        find(keep=0.9)
    assert isinstance(caught.value.partial, Found)
    assert session().last is caught.value.partial
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    resumed = find(keep=0.9)
    assert resumed.certificate is not None
    assert whole.certificate is not None
    assert (resumed.plan, resumed.certificate.evidence) == (whole.plan, whole.certificate.evidence)
    paid = [row for row in session().ledger.rows()[calls:] if row.status == "ok"]
    assert len(paid) == calls


def test_when_it_is_stopped_before_its_first_call_or_cancelled_then_it_says_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop() -> None:
        while "smallest_gap" not in {frame.f_code.co_name for frame in stack(main)}:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    main = threading.get_ident()
    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(VictorInterrupted, match="stopped after 0 of 1500 tasks") as caught:
        find(1_500, progress=None)
    assert isinstance(caught.value.partial, Found)
    assert not session().ledger.rows()
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0.5")
    options: Any = {"score": right, "reference": "large"}
    rows = session().pool.start_map(tasks(), "{{ value }}", profile="small", concurrency=2)
    under_way = Search(session().pool, tasks(), ["small", "middle"], options).start()
    while not rows.tally.done:
        time.sleep(0.01)
    rows.cancel()
    under_way.cancel()
    assert under_way.result().why == "stopped by the user"
    rows.result()
    assert (rows.tally.failed, "stopped" in str(rows.tally), "failed" in str(rows.tally)) == (0, True, False)


def stack(thread: int) -> Iterator[FrameType]:
    frame = sys._current_frames()[thread]
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def test_when_tasks_have_one_prompt_then_they_count_once_with_the_mean_of_their_scores() -> None:
    once = find(90, keep=0.8)
    thrice = search_sync(tasks(90) * 3, ["small", "middle"], score=right, reference="large", keep=0.8, progress=False)
    assert (thrice.certificate, thrice.tasks, thrice.seen) == (once.certificate, 90, once.seen)
    assert "180 tasks have the prompt of another one and share its answer: each prompt counts once." in str(thrice)
    halves = [(task, expected) for task in tasks(90) for expected in (f"yes {task.split()[-1]}", "never")]
    found = search_sync(halves, ["middle"], bar=0.9, progress=False)
    assert not found.certified
    assert 0.3 < float(found.table()["quality"].max()) <= 0.5
    with pytest.raises(ConfigError, match="60 tasks with 15 prompts say nothing"):
        search_sync(tasks(15) * 4, ["small"], score=right, reference="large")


def test_when_the_budget_is_small_then_it_holds_and_the_search_says_so() -> None:
    cost = find(60, keep=0.99, serves=10**9, max_tokens=30).spent.cost
    session().runtime.cache_for("simulate").prune()  # type: ignore[union-attr]
    found = find(60, keep=0.99, serves=10**9, max_tokens=30, budget=cost * 3 / 4)
    assert found.spent.cost <= cost * 3 / 4
    assert "budget" in found.why
    session().runtime.cache_for("simulate").prune()  # type: ignore[union-attr]
    early = find(60, keep=0.99, max_tokens=30, budget=cost / 10)  # less than the pilot costs
    asked = random.Random(0).sample(range(60), 60)
    assert early.seen == 0
    assert [*early.rest] == [f"Is it so of {number}" for number in asked[20:]], "the pilot's were asked"


def test_when_tasks_are_pairs_or_a_frame_then_what_is_expected_grades() -> None:
    pairs = [(task, f"yes {task.split()[-1]}") for task in tasks(90)]
    found = search_sync(pairs, ["middle"], reference="large", keep=0.8, progress=False)
    assert found.certified
    frame = pd.DataFrame({"number": range(90), "expected": [pair[1] for pair in pairs]})
    same = search_sync(
        frame, ["middle"], reference="large", keep=0.8, template="Is it so of {{ number }}", progress=False
    )
    assert same.certificate == found.certificate
    seen: list[object] = []

    def score(row: dict[str, object], text: str) -> bool:
        seen.append(row)
        return text == row["expected"]

    search_sync(frame, ["middle"], bar=0.5, score=score, template="Is it so of {{ number }}", progress=False)
    assert seen[0] == {"number": seen[0]["number"], "expected": f"yes {seen[0]['number']}"}  # type: ignore[index]
    assert Exact("a").passes("A.")


def test_when_a_judge_is_too_kind_then_the_certificate_says_whose_word_it_is_and_an_audit_mends_it() -> None:
    def kind(task: str, text: str) -> float:
        return 1.0

    alone = find(judge=kind, score=None, keep=0.9)
    assert alone.certificate is not None
    assert alone.certificate.plan == "small"
    assert "the judge kind says" in str(alone)
    audited = find(judge=kind, score=None, keep=0.9, audit=0.5, labels=right)
    assert audited.certificate is None or audited.certificate.plan != "small"
    waiting = find(judge=kind, score=None, audit=0.5, labels=pd.DataFrame({"task": [], "answer": [], "label": []}))
    assert not waiting.certified
    assert "no label yet" in waiting.why
    assert list(waiting.to_label().columns) == ["task", "answer", "label"]
    assert len(waiting.to_label())


def test_when_a_profile_judges_then_its_scores_count_and_are_paid_once() -> None:
    session().simulate_with(lambda q: '{"A": 10}' if "<answer" in q.prompt else answer(q))
    found = search_sync(tasks(90), ["small"], judge="middle", reference="large", keep=0.6, progress=False)
    assert found.certificate is not None
    assert "the judge middle says" in str(found.certificate)
    rows = len(session().ledger.rows())
    search_sync(tasks(90), ["small"], judge="middle", reference="large", keep=0.6, progress=False)
    assert len(session().ledger.rows()) == rows


def test_when_an_effort_or_a_strategy_is_a_candidate_then_it_is_asked_as_such() -> None:
    mine = Cascade(["small", "middle"], accept=r"^yes", name="mine")
    found = search_sync(tasks(90), ["middle@low", mine], score=right, reference="large", keep=0.8, progress=False)
    assert {"middle@low", "mine", "large"} <= set(found.table()["plan"])
    assert [stage.effort for stage in found.strategies["middle@low"].stages] == ["low"]
    assert found.strategies["mine"] is mine
    with pytest.raises(ConfigError, match="takes no 'lowe'"):
        search_sync(tasks(90), ["middle@lowe"], score=right, reference="large")


def test_when_it_begins_then_it_says_first_what_can_be_certified(capsys: pytest.CaptureFixture[str]) -> None:
    find(60, progress=None, keep=0.8)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("search: with 60 tasks, expect a certificate for plans that keep 9")
    assert "about USD" in first
    find(60, progress=None, keep=0.95)
    first = capsys.readouterr().out.splitlines()[0]
    said = re.match(
        r"search: with 60 tasks, expect no certificate \(about (\d+) could give one to plans that keep 98 %\);", first
    )
    assert said is not None
    gap = smallest_gap(int(said[1]) - 40, 0.95, risk=0.05 / 4)
    assert gap == pytest.approx(0.025, abs=0.005)


async def find_later(task: str, text: str) -> bool:
    return right(task, text)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"keep": 2}, "keep=2 is no share"),
        ({"judge": "large"}, "score= and judge= both grade"),
        ({"score": None, "judge": "large", "audit": 0.2}, "audit= goes with"),
        ({"score": 3}, "grades nothing"),
        ({"score": "large"}, "would be a regular expression. Did you mean judge='large'"),
        ({"score": "larg"}, r"Did you mean judge='large'\? If not, write score=Regex\('larg'\)"),
        ({"reference": "larg"}, "larg"),
        ({"serves": 0}, "serves= takes a whole number of 1 or more, not 0"),
        ({"serves": 1.5}, "serves= takes a whole number"),
        ({"seed": "x"}, "seed= takes a whole number"),
        ({"concurrency": 0}, "concurrency= takes"),
        ({"keep": "0.9"}, "keep='0.9' is no share"),
        ({"confidence": "high"}, "confidence='high' is no share"),
        ({"keep": 0.9, "bar": 0.9}, "not both"),
        ({"kep": 0.9}, "no kep=. Did you mean 'keep'"),
        ({"cache": "maybe"}, "cache= takes on, refresh or off"),
        ({"score": None}, "What makes an answer right"),
        ({"score": lambda text: True}, "takes no task and answer"),
        ({"score": find_later}, "has to be awaited"),
    ],
)
def test_when_options_do_not_fit_then_nothing_is_asked(options: dict[str, Any], fact: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=fact):
        find(**options)
    assert not session().ledger.rows()


def test_when_a_check_never_works_then_the_search_ends_after_the_first_answers_and_keeps_them() -> None:
    with pytest.raises(ConfigError, match=r"failed alike on all of 30 answers: KeyError.*Mend it\.") as caught:
        find(score=lambda task, text: {}[text.split()[0] and "label"])
    assert isinstance(caught.value.partial, Found)
    assert len(session().ledger.rows()) == 30


def test_when_many_tasks_are_given_then_their_forecast_takes_no_longer_and_is_about_right() -> None:
    exact, many = smallest_gap(1_000, 0.9), smallest_gap(64_000, 0.9)
    assert exact is not None
    assert many == pytest.approx(exact / 8)


def test_when_a_plan_cannot_be_saved_then_one_line_says_why_and_nothing_is_lost(tmp_path: Path) -> None:
    found = find(300, keep=0.9)
    locked, folder, binary = tmp_path / "locked.yaml", tmp_path / "folder", tmp_path / "binary.yaml"
    locked.write_bytes((tmp_path / "profiles.yaml").read_bytes())
    locked.chmod(0o444)
    folder.mkdir()
    binary.write_bytes(b"\xff\xfe")
    before = sorted(tmp_path.iterdir()), locked.read_bytes()
    for path in (locked, folder, binary, tmp_path / "none" / "profiles.yaml"):
        with pytest.raises(ConfigError, match=r"cannot be written: .* Give another file"):
            found.save("cheap", path)
    with pytest.raises(ConfigError, match="under a name"):
        found.save("")
    assert (sorted(tmp_path.iterdir()), locked.read_bytes()) == before
    link = tmp_path / "link.yaml"
    link.symlink_to(locked)
    locked.chmod(0o600)
    assert found.save("cheap", link) == locked
    assert (link.is_symlink(), locked.stat().st_mode & 0o777) == (True, 0o600)


def test_when_tasks_do_not_fit_then_the_error_says_what_they_are() -> None:
    for given, fact in (
        (["one"], "1 tasks say nothing"),
        ("text", "list of texts"),
        (pd.DataFrame({"a": [1]}), "template"),
    ):
        with pytest.raises(ConfigError, match=fact):
            search_sync(given, ["small"], score=right, reference="large")
    with pytest.raises(ConfigError, match="candidates= is a list"):
        search_sync(tasks(), "small", score=right, reference="large")
    with pytest.raises(ConfigError, match="What makes an answer right"):
        search_sync([*((task, "1") for task in tasks(20)), "two"], ["small"], reference="large")


# --- in a notebook ---


def test_when_a_cell_searches_then_the_race_is_shown_and_the_result_bound(shell: Shell) -> None:
    session().simulate_with(lambda question: f"yes {question.prompt.split()[-1]}")
    shell.names["tasks"], shell.names["right"] = tasks(90), right
    ran = shell.run("%victor search tasks=$tasks candidates=local score=$right reference=fast keep=0.8 out=found")
    assert isinstance(shell.names["found"], Found)
    assert "keeps 80 % of the quality of fast" in ran.plain
    assert "keeps 80 % of the quality of fast" in str(ran.frames[-1])
    assert "did you mean" in str(shell.fail("%victor search tasks=$tasks scor=$right")).lower()
    for line, fact in (("", "needs tasks"), ("tasks=5", "the Python object"), ("tasks=$tasks keep=much", "no number")):
        assert fact in str(shell.fail(f"%victor search {line}"))
