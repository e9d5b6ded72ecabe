"""How a strategy stands at one moment: of one under way, and of a run that has ended, in the same words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from victor_nb.money import usd
from victor_nb.notebook.display import MODES, price
from victor_nb.notebook.markdown import clean, plain_table
from victor_nb.notebook.widgets.html import Still, block, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from victor_nb.workflows.baselines import Savings
    from victor_nb.workflows.job import StrategyJob
    from victor_nb.workflows.progress import Progress, StageProgress, StageState
    from victor_nb.workflows.runs import StageResult, StrategyRun


RunState: TypeAlias = Literal["running", "done", "failed", "refused", "stopped"]

_NEVER_BEGUN: Final = "stopped before anything was sent"


@dataclass(frozen=True, slots=True)
class StageStanding:
    """One stage.

    Attributes:
        done: Calls that have ended, of `total`.
        seconds: How long it has taken so far; None while it waits.
        cost: List price in USD of the calls that have ended; None when that of any is unknown.
        result: What it came to; None before it has begun.
    """

    name: str
    profile: str
    state: StageState
    done: int
    total: int
    seconds: float | None
    cost: Decimal | None
    result: StageResult | None

    @property
    def items(self) -> int:
        """How many items came."""
        return len(self.result.items) if self.result else 0

    @property
    def kept(self) -> int:
        """How many of them went on."""
        return len(self.result.kept) if self.result else 0

    @property
    def over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state not in {"waiting", "running"}


@dataclass(frozen=True, slots=True)
class Standing:
    """A strategy at one moment.

    Attributes:
        run: What has come; its rows are those of the attempts that have ended.
        text: The end of what the running stage has said.
        speaker: Which stage that is.
        ended: Whether no further call will be made.
    """

    run: StrategyRun
    stages: tuple[StageStanding, ...]
    text: str
    speaker: str
    ended: bool

    @property
    def state(self) -> RunState:
        """How the whole of it stands."""
        if not self.ended:
            return "running"
        if self.run.complete:
            return "done"
        states = {stage.state for stage in self.stages}
        return "failed" if "failed" in states else "refused" if "refused" in states else "stopped"

    @property
    def why(self) -> str:
        """Why it holds less than was asked for."""
        if not self.ended or self.run.complete:
            return ""
        return self.run.stopped or "" if self.run.stages else _NEVER_BEGUN

    @property
    def done(self) -> int:
        """Calls that have ended."""
        return sum(stage.done for stage in self.stages)

    @property
    def total(self) -> int:
        """Calls that it takes."""
        return sum(stage.total for stage in self.stages if stage.state != "skipped")


def of_job(job: StrategyJob) -> Standing:
    """Return how a strategy under way stands. It reads the ledger: not on the background loop."""
    ended = job.done()  # first: what is read afterwards is then the end
    progress, run = job.progress, job.run
    results = {result.name: result for result in run.stages}
    current = progress.current
    return Standing(
        run=_settled(run),
        stages=tuple(_of_progress(stage, results.get(stage.name), ended=ended) for stage in progress.stages),
        text=progress.text,
        speaker=f"{current.name} · {current.profile}" if current else "",
        ended=ended,
    )


def of_run(run: StrategyRun) -> Standing:
    """Return how a run that has ended stands."""
    return Standing(_settled(run), tuple(_of_result(result) for result in run.stages), "", "", ended=True)


def pulse_of(progress: Progress, *, ended: bool) -> object:
    """Return what is different whenever there is anything new to be seen, time apart from whole seconds."""
    stages = tuple((stage.state, stage.done, stage.kept) for stage in progress.stages)
    return ended, stages, len(progress.text), int(progress.wall)


def _settled(run: StrategyRun) -> StrategyRun:
    """Leave out what is under way: nobody knows yet what it costs, here or anywhere."""
    return replace(run, rows=tuple(row for row in run.rows if row.status != "running"))


def _of_progress(stage: StageProgress, result: StageResult | None, *, ended: bool) -> StageStanding:
    state = "skipped" if ended and stage.state == "waiting" else stage.state
    seconds = None if result is None else result.ended - result.began
    # What failed has been paid for as well, and only the ledger knows how much.
    cost = stage.cost if result is None or state == "running" else result.cost
    return StageStanding(stage.name, stage.profile, state, stage.done, stage.total, seconds, cost, result)


def _of_result(result: StageResult) -> StageStanding:
    calls, seconds = len(result.replies), result.ended - result.began
    return StageStanding(result.name, result.profile, result.state, calls, calls, seconds, result.cost, result)


SIGNS: Final = {
    "waiting": ("○", "waiting", "quiet"),
    "running": ("▶", "running", "mark"),
    "done": ("✓", "done", "good"),
    "failed": ("✕", "failed", "bad"),
    "refused": ("✕", "refused by the budget", "bad"),
    "stopped": ("■", "stopped", "bad"),
    "skipped": ("–", "not begun", "quiet"),
}
"""A sign, a word and a colour for each state; never the colour alone."""

_TAIL: Final = 700  # characters of the stage that is running
_LONGEST: Final = 2_000  # characters of each item that is shown on demand; the run has them whole
_MOST: Final = 50  # items of each stage that are shown on demand
_NOTE: Final = (
    "List prices. Both baselines are estimates: another model would have used other tokens, and one call is taken to "
    "be as long as the answer{}."
)
_LEFT_OUT: Final = " What has no known price is left out on both sides."
_NOTHING_SPENT: Final = "nothing spent yet"
_ZERO: Final = Decimal(0)
_COLUMNS: Final = ("stage", "state", "calls", "items", "time", "list price")


# --- the whole ---


def head(standing: Standing) -> Still:
    """Return how the run stands, on one line and as a bar, and why it holds less than was asked for."""
    done, total = standing.done, standing.total
    facts = " · ".join(
        [
            f"{done} of {total} calls",
            f"{standing.run.wall:.1f} s" if standing.ended else f"{standing.run.wall:.0f} s",
            money(standing),
            *dict.fromkeys(MODES[row.mode] for row in standing.run.rows if row.mode in MODES),
        ]
    )
    sign, word, _ = SIGNS[standing.state]
    meter = _meter(done, total, f"{done} of {total} calls have ended", "victor-meter-wide")
    why = standing.why
    lines = [f"{sign} {word} · {facts}", *([why] if why else [])]
    html = f'<div class="victor-board-head">{state(standing.state, "victor-chip")}{words(facts)}</div>{meter}'
    html += f'<div role="alert">{words(why, "victor-bad")}</div>' if why else ""
    return Still(html, "\n".join(clean(line) for line in lines))


def money(standing: Standing) -> str:
    """Return what the run has cost so far, by list prices."""
    return str(standing.run.spent) if standing.run.rows else _NOTHING_SPENT


def state(name: str, *classes: str) -> str:
    """Return a state as its sign and its word."""
    sign, word, colour = SIGNS[name]
    shown = f'<span class="victor-sign victor-{colour}" aria-hidden="true">{sign}</span>'
    return f'<span class="{" ".join(("victor-state", *classes))}">{shown} {words(word)}</span>'


def _meter(part: int, whole: int, label: str, *classes: str) -> str:
    share = 100 * part / whole if whole else 0
    bounds = f'role="progressbar" aria-valuemin="0" aria-valuemax="{whole}" aria-valuenow="{part}"'
    name = " ".join(("victor-meter", *classes))
    return f'<div class="{name}" {bounds} aria-label="{label}"><div style="width:{share:.1f}%"></div></div>'


# --- the stages ---


def stages(standing: Standing) -> Still:
    """Return the stages as a table, with a bar for the calls of each and one for how its items narrow."""
    most = max((stage.items for stage in standing.stages), default=0)
    body = "".join(_row(stage, most) for stage in standing.stages)
    top = "".join(f'<th scope="col"{_side(name)}>{words(name)}</th>' for name in _COLUMNS)
    caption = '<caption class="victor-unseen"><code>The stages of the run</code></caption>'
    rows = [
        (f"{each.name} ({each.profile})", _state_of(each), _calls(each), _items(each), _time(each), _cost(each))
        for each in standing.stages
    ]
    return Still(
        f'<div class="victor-across"><table class="victor-table victor-stages">{caption}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
        clean(plain_table(_COLUMNS, rows)),
    )


def _row(stage: StageStanding, most: int) -> str:
    name = f"{words(stage.name, 'victor-strong')}<br>{words(stage.profile, 'victor-quiet')}"
    judged = _judged(stage)
    shown = state(stage.state) + (f"<br>{words(judged, 'victor-quiet')}" if judged else "")
    label = f"{stage.done} of {stage.total} calls"
    calls = words(_calls(stage)) + _meter(stage.done, stage.total, label)
    cells = [shown, calls, words(_items(stage)) + _narrowing(stage, most)]
    numbers = "".join(f'<td class="victor-number">{words(text)}</td>' for text in (_time(stage), _cost(stage)))
    chosen = ' class="victor-now"' if stage.state == "running" else ""
    return f'<tr{chosen}><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}{numbers}</tr>'


def _side(name: str) -> str:
    return ' class="victor-number"' if name in {"time", "list price"} else ""


def _narrowing(stage: StageStanding, most: int) -> str:
    """Return a bar as long as there are items, of which a part is filled: those that went on."""
    if not stage.items or not most:
        return ""
    came, kept = 100 * stage.items / most, 100 * stage.kept / stage.items
    inner = f'<div style="width:{kept:.1f}%"></div>'
    return f'<div class="victor-narrow" aria-hidden="true"><div style="width:{came:.1f}%">{inner}</div></div>'


def _state_of(stage: StageStanding) -> str:
    sign, word, _ = SIGNS[stage.state]
    return " ".join(filter(None, (sign, word, _judged(stage))))


def _judged(stage: StageStanding) -> str:
    accepted = stage.result.accepted if stage.result else None
    return "" if accepted is None or stage.state != "done" else "accepted" if accepted else "not accepted"


def _calls(stage: StageStanding) -> str:
    return f"{stage.done} of {stage.total}"


def _items(stage: StageStanding) -> str:
    if not stage.items:
        return ""
    return f"{stage.items} → {stage.kept}" if stage.items > 1 else "1"


def _time(stage: StageStanding) -> str:
    if stage.seconds is None:
        return ""
    return f"{stage.seconds:.1f} s" if stage.over else f"{stage.seconds:.0f} s"


def _cost(stage: StageStanding) -> str:
    return "" if stage.result is None or (not stage.done and not stage.over) else price(stage.cost)


def now(standing: Standing) -> Still:
    """Return what the running stage says: the end of it, as text, in a place that keeps its height."""
    if standing.ended:
        return Still("", "")
    tail = standing.text[-_TAIL:]
    said = f"… {tail}" if len(standing.text) > _TAIL else tail
    who = f"{standing.speaker} says" if standing.text else standing.speaker or "starting"
    html = f'<div class="victor-now-says">{words(who, "victor-quiet")}<div>{block(said or " ")}</div></div>'
    return Still(html, clean(f"{who}: {said}") if said else "")


# --- the money ---


def costs(standing: Standing, both: Sequence[Savings]) -> Still:
    """Return what the run costs beside both baselines, as a table with a bar for each amount."""
    if not both or not standing.run.rows:
        return Still("", "")
    own = both[0].cost
    so_far = "" if standing.ended else " so far"
    known = [cost for cost in (own, *(each.baseline_cost for each in both)) if cost is not None]
    most = max(known, default=_ZERO)
    rows = [
        (f"this run{so_far}", own, money(standing), ""),
        *((each.baseline, each.baseline_cost, _said(each.baseline_cost), _beside(each)) for each in both),
    ]
    body = "".join(
        f'<tr><th scope="row">{words(name)}</th><td>{_amount(cost, most, own=place == 0)}</td>'
        f'<td class="victor-number">{words(amount)}</td><td>{words(said)}</td></tr>'
        for place, (name, cost, amount, said) in enumerate(rows)
    )
    caption = f'<caption class="victor-unseen"><code>Cost{so_far} beside two baselines</code></caption>'
    note = _NOTE.format(so_far) + (_LEFT_OUT if standing.run.spent.unpriced else "")
    table = f'<div class="victor-across"><table class="victor-table victor-costs">{caption}{body}</table></div>'
    plain = plain_table(("", "USD", ""), [(name, amount, said) for name, _, amount, said in rows])
    return Still(f"{table}<div>{words(note, 'victor-quiet')}</div>", clean(f"{plain}\n{note}"))


def _said(cost: Decimal | None) -> str:
    return "not known" if cost is None else usd(cost)


def _beside(savings: Savings) -> str:
    if savings.saved is None:
        return "estimate: nobody knows" if savings.baseline_cost is None else "estimate"
    return f"estimate: this run is {savings.change}"


def _amount(cost: Decimal | None, most: Decimal, *, own: bool) -> str:
    share = float(100 * cost / most) if cost is not None and most else 0
    name = "victor-amount victor-own" if own else "victor-amount"
    return f'<div class="{name}" aria-hidden="true"><div style="width:{share:.1f}%"></div></div>'


# --- on demand ---


def details(result: StageResult) -> str:
    """Return what a stage gave, closed until somebody wants to read it; empty where it gave nothing."""
    parts = [_listed("kept", result.kept), _listed("dropped", result.dropped), *(words(note) for note in result.notes)]
    if not any(parts):
        return ""
    count = f"{len(result.kept)} of {len(result.items)} kept" if len(result.items) > 1 else "what it gave"
    noted = f" · {len(result.notes)} note{'s'[: len(result.notes) > 1]}" if result.notes else ""
    summary = f"<summary>{words(f'{result.name}: {count}{noted}')}</summary>"
    return (
        f'<details class="victor-details">{summary}{"".join(f"<div>{part}</div>" for part in parts if part)}</details>'
    )


def _listed(word: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    shown = [*(_cut(item) for item in items[:_MOST])]
    more = [f"… {len(items) - _MOST} more are in the run"] if len(items) > _MOST else []
    if len(items) == 1:
        return words(word, "victor-quiet") + block(shown[0])
    rows = "".join(f"<li>{block(item)}</li>" for item in shown + more)
    return f"{words(word, 'victor-quiet')}<ol>{rows}</ol>"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… {len(text) - _LONGEST:,} characters more"


def all_details(results: Iterable[StageResult]) -> Still:
    """Return what all stages gave, for a twin; the plain text has only the answer."""
    return Still("".join(details(result) for result in results), "")
