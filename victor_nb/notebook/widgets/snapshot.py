"""A strategy at one moment, under way or ended, and the parts of a `StrategyBoard` that show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from victor_nb.money import Savings, Total, column, usd
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.html import Content, block, cut, details, rendered, table, words
from victor_nb.tables import Html, Table
from victor_nb.values import UNPAID
from victor_nb.workflows.progress import Progress, StageProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.workflows.engine import StrategyJob
    from victor_nb.workflows.runs import StageResult, StrategyRun

_SIGNS: Final = {
    "waiting": ("○", "waiting", "quiet"),
    "running": ("▶", "running", "mark"),
    "done": ("✓", "done", "good"),
    "failed": ("✕", "failed", "bad"),
    "refused": ("✕", "refused by the budget", "bad"),
    "stopped": ("■", "stopped", "bad"),
    "skipped": ("–", "not begun", "quiet"),
}
"""A sign, a word and a colour for each state; never the colour alone."""

_TAIL: Final = 700  # characters of the running stage
_LONGEST: Final = 2_000  # characters of each item that is shown on demand; the run has them whole
_MOST: Final = 50  # items of each stage that are shown on demand
_NOTE: Final = (
    "List prices. Both baselines are estimates: another model would have used other tokens, and one call is taken to "
    "write as many as the run's answer{} took, thinking included."
)
_UNPRICED: Final = " What has no known price is left out on both sides, so how they compare is not known."
_COLUMNS: Final = ("stage", "state", "calls", "items", "time", "list price")
_NUMBERS: Final = ("time", "list price")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A strategy at one moment.

    Attributes:
        run: What has arrived; its rows are those of the attempts that have ended.
        progress: All stages, also those that have not begun.
    """

    run: StrategyRun
    progress: Progress

    @classmethod
    def of_job(cls, job: StrategyJob) -> Snapshot:
        """Return a strategy under way. It reads the ledger: not on the background loop."""
        ended = job.done()  # first: what is read afterwards is then the end
        progress, run = job.progress, job.run
        stages = (
            replace(each, state="skipped") if ended and each.state == "waiting" else each for each in progress.stages
        )
        return cls(_settled(run), replace(progress, stages=tuple(stages), ended=ended))

    @classmethod
    def of_run(cls, run: StrategyRun) -> Snapshot:
        """Return a run that has ended."""
        stages = (
            StageProgress(
                name=each.name,
                profile=each.profile,
                state=each.state,
                done=sum(reply.status != "interrupted" for reply in each.replies),
                total=len(each.replies),
                texts=(),
                kept=len(each.kept),
                spent=each.spent,
            )
            for each in run.stages
        )
        return cls(_settled(run), Progress(run.strategy, run.task, run.run_id, tuple(stages), run.wall, ended=True))

    @property
    def ended(self) -> bool:
        """Whether no further call will be made."""
        return self.progress.ended

    @property
    def state(self) -> Literal["running", "done", "failed", "refused", "stopped"]:
        """The state of the whole run."""
        if not self.ended:
            return "running"
        if self.run.complete:
            return "done"
        states = {stage.state for stage in self.progress.stages}
        return "failed" if "failed" in states else "refused" if "refused" in states else "stopped"

    @property
    def why(self) -> str:
        """Why the run holds less than was asked for."""
        if not self.ended or self.run.complete:
            return ""
        return self.run.stopped or "" if self.run.stages else "stopped before anything was sent"

    @property
    def spent(self) -> str:
        """What the run has cost so far, by list prices."""
        return str(self.run.spent) if self.run.rows else "nothing spent yet"

    @property
    def stages(self) -> list[tuple[StageProgress, StageResult | None]]:
        """Each stage with its result; None before it has begun."""
        results = {result.name: result for result in self.run.stages}
        return [(stage, results.get(stage.name)) for stage in self.progress.stages]

    @property
    def results(self) -> list[StageResult]:
        """The results of the stages that have ended."""
        return [result for stage, result in self.stages if _over(stage) and result is not None]


def _settled(run: StrategyRun) -> StrategyRun:
    """Leave out attempts under way, whose cost is not known yet."""
    return replace(run, rows=tuple(row for row in run.rows if row.status != "running"))


def _over(stage: StageProgress) -> bool:
    return stage.state not in {"waiting", "running"}


def fingerprint(progress: Progress, *, ended: bool) -> object:
    """Return a value that differs whenever there is something new to show; of time, only whole seconds count."""
    stages = tuple((stage.state, stage.done, stage.kept) for stage in progress.stages)
    return ended, stages, len(progress.text), int(progress.wall)


# --- the whole ---


def header(snapshot: Snapshot) -> Content:
    """Return the state on one line and as a bar, and why the run holds less than was asked for."""
    done, total, run = snapshot.progress.done, snapshot.progress.total, snapshot.run
    facts = " · ".join(
        [
            f"{done} of {total} calls",
            f"{run.wall:.1f} s" if snapshot.ended else f"{run.wall:.0f} s",
            snapshot.spent,
            *dict.fromkeys(UNPAID[row.mode] for row in run.rows if row.mode in UNPAID),
        ]
    )
    sign, word, _ = _SIGNS[snapshot.state]
    meter = _meter(done, total, f"{done} of {total} calls have ended", "victor-meter victor-meter-wide")
    why = snapshot.why
    lines = [f"{sign} {word} · {facts}", *([why] if why else [])]
    html = f'<div class="victor-board-head">{_state(snapshot.state, "victor-chip")}{words(facts)}</div>{meter}'
    html += f'<div role="alert">{words(why, "victor-bad")}</div>' if why else ""
    return Content(html, "\n".join(clean(line) for line in lines))


def _state(name: str, *classes: str) -> str:
    sign, word, colour = _SIGNS[name]
    shown = f'<span class="victor-sign victor-{colour}" aria-hidden="true">{sign}</span>'
    return f'<span class="{" ".join(("victor-state", *classes))}">{shown} {words(word)}</span>'


def _meter(part: int, whole: int, label: str, classes: str = "victor-meter") -> str:
    share = 100 * part / whole if whole else 0
    bounds = f'role="progressbar" aria-valuemin="0" aria-valuemax="{whole}" aria-valuenow="{part}"'
    return f'<div class="{classes}" {bounds} aria-label="{label}"><div style="width:{share:.1f}%"></div></div>'


def latest_text(snapshot: Snapshot) -> Content:
    """Return the end of the text of the running stage, in a place that keeps its height."""
    if snapshot.ended:
        return Content()
    text, stage = snapshot.progress.text, snapshot.progress.current
    tail = f"… {text[-_TAIL:]}" if len(text) > _TAIL else text
    speaker = f"{stage.name} · {stage.profile}" if stage else "starting"
    title = f"{speaker} says" if text else f"{speaker} · no text yet" if stage else speaker
    html = f'<div class="victor-now-says">{words(title, "victor-quiet")}<div>{block(tail or " ")}</div></div>'
    return Content(html, clean(f"{title}: {tail}") if tail else "")


# --- the stages ---


def stage_table(snapshot: Snapshot) -> Content:
    """Return the stages as a table, with a bar for the calls of each and one for how its items narrow."""
    stages = snapshot.stages
    most = max((len(result.items) for _, result in stages if result), default=0)
    html: list[tuple[object, ...]] = []
    plain: list[tuple[str, ...]] = []
    spent = [result.spent if result and stage.state != "running" else stage.spent for stage, result in stages]
    prices = column([*spent, sum(spent, Total())])
    for (stage, result), price in zip(stages, prices, strict=False):
        sign, word, _ = _SIGNS[stage.state]
        calls = f"{stage.done} of {stage.total}"
        judged, items, took = _texts(stage, result)
        measures = (took, price if result and (stage.done or _over(stage)) else "")
        name = Html(f"{words(stage.name, 'victor-strong')}<br>{words(stage.profile, 'victor-quiet')}")
        state = Html(_state(stage.state) + (f"<br>{words(judged, 'victor-quiet')}" if judged else ""))
        bars = Html(words(calls) + _meter(stage.done, stage.total, f"{calls} calls"))
        html.append((name, state, bars, Html(words(items) + _narrowing(result, most)), *measures))
        texts = (f"{stage.name} ({stage.profile})", " ".join(filter(None, (sign, word, judged))))
        plain.append((*texts, calls, items, *measures))
    found = table(
        Table(_COLUMNS, html, _NUMBERS, heads=1),
        "The stages of the run",
        marked=[index for index, (stage, _) in enumerate(stages) if stage.state == "running"],
        classes="victor-table victor-stages",
    )
    return Content(f'<div class="victor-across">{found}</div>', clean(Table(_COLUMNS, plain, _NUMBERS).plain()))


def _narrowing(result: StageResult | None, most: int) -> str:
    """Return a bar as long as there are items, of which a part is filled: those that went on."""
    if result is None or not result.items:
        return ""
    length, kept = 100 * len(result.items) / most, 100 * len(result.kept) / len(result.items)
    inner = f'<div style="width:{kept:.1f}%"></div>'
    return f'<div class="victor-narrow" aria-hidden="true"><div style="width:{length:.1f}%">{inner}</div></div>'


def _texts(stage: StageProgress, result: StageResult | None) -> tuple[str, str, str]:
    """Return the verdict of `accept`, the number of items, and the time; each empty where unknown."""
    if result is None:
        return "", "", ""
    over, seconds, came = _over(stage), result.ended - result.began, len(result.items)
    judged = (
        "" if result.accepted is None or stage.state != "done" else "accepted" if result.accepted else "not accepted"
    )
    items = f"{came} → {len(result.kept)}" if came > 1 else "1" if came else ""
    return judged, items, f"{seconds:.1f} s" if over else f"{seconds:.0f} s"


def stage_details(result: StageResult) -> str:
    """Return the output of a stage as a part that is closed at first; empty where it has none."""
    parts = [_listed("kept", result.kept), _listed("dropped", result.dropped), *(words(note) for note in result.notes)]
    if not any(parts):
        return ""
    count = f"{len(result.kept)} of {len(result.items)} kept" if len(result.items) > 1 else "what it gave"
    noted = f" · {len(result.notes)} note{'s'[: len(result.notes) > 1]}" if result.notes else ""
    body = "".join(f"<div>{part}</div>" for part in parts if part)
    return details(words(f"{result.name}: {count}{noted}"), body, "victor-details")


def _listed(word: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    shown = [cut(item, _LONGEST, "run") for item in items[:_MOST]]
    more = [f"… {len(items) - _MOST} more are in the run"] if len(items) > _MOST else []
    if len(items) == 1:
        return words(word, "victor-quiet") + rendered(shown[0], word)
    rows = "".join(f"<li>{rendered(item, word)}</li>" for item in shown + more)
    return f"{words(word, 'victor-quiet')}<ol>{rows}</ol>"


# --- the money ---


def cost_table(snapshot: Snapshot, both: Sequence[Savings]) -> Content:
    """Return the cost of the run beside both baselines, with a bar for each amount."""
    if not both or not snapshot.run.rows:
        return Content()
    so_far = "" if snapshot.ended else " so far"
    places = max((each.places for each in both if each.places is not None), default=None)
    rows = [
        (f"this run{so_far}", both[0].cost, snapshot.run.spent.text(places=places), ""),
        *((each.baseline, each.baseline_cost, *_beside(each, places, snapshot)) for each in both),
    ]
    most = max((cost for _, cost, _, _ in rows if cost is not None), default=Decimal(0))
    html = [
        (name, _amount(cost, most, own=index == 0), amount, text)
        for index, (name, cost, amount, text) in enumerate(rows)
    ]
    costs = Table(("name", "bar", "USD", "comparison"), html, ("USD",), heads=1)
    found = table(costs, f"Cost{so_far} beside two baselines", classes="victor-table victor-costs", head=False)
    note = _NOTE.format(so_far) + (_UNPRICED if snapshot.run.spent.unpriced else "")
    plain = Table(("", "USD", ""), [(name, amount, text) for name, _, amount, text in rows], ("USD",)).plain()
    html_note = f'<div class="victor-across">{found}</div><div>{words(note, "victor-quiet")}</div>'
    return Content(html_note, clean(f"{plain}\n{note}"))


def _beside(savings: Savings, places: int | None, snapshot: Snapshot) -> tuple[str, str]:
    """Return the cost of a baseline, and how the run compares with it.

    It is not compared while it goes on, or where a call has no known price: what is yet to pay may be more than the
    difference, and the most expensive stage often comes last. With one call it is compared only if it is whole.
    """
    if savings.baseline_cost is None:
        return "not known", "estimate"
    part = snapshot.run.spent.unpriced or (savings.kind == "one_call" and not savings.complete)
    known = snapshot.ended and not part and savings.saved is not None
    compared = f": this run is {savings.change}" if known else ""
    return usd(savings.baseline_cost, places=places), f"estimate{compared}"


def _amount(cost: Decimal | None, most: Decimal, *, own: bool) -> Html:
    share = float(100 * cost / most) if cost is not None and most else 0
    name = "victor-amount victor-own" if own else "victor-amount"
    return Html(f'<div class="{name}" aria-hidden="true"><div style="width:{share:.1f}%"></div></div>')
