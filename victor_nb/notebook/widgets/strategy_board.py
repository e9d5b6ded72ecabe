"""`StrategyBoard(job)`: a strategy's stages as they happen, its cost beside two baselines, its answer and charts."""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import ipywidgets as ipw  # pyright: ignore[reportMissingTypeStubs] - it has none
from IPython.core.getipython import get_ipython

from victor_nb.errors import ConfigError, VictorError
from victor_nb.kernel import Session, session_of
from victor_nb.notebook.ask import Background
from victor_nb.notebook.costs import picture
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.base import VictorWidget, column, on_change, on_click, row
from victor_nb.notebook.widgets.html import Content, cut, details, rendered, words
from victor_nb.notebook.widgets.snapshot import (
    Snapshot,
    cost_table,
    fingerprint,
    header,
    latest_text,
    stage_details,
    stage_table,
)
from victor_nb.workflows.engine import StrategyJob
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.strategies import BUILT_IN, Single, Strategy, find_strategy
from victor_nb.workflows.what_if import find_tariff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.config.settings import Settings
    from victor_nb.money import Savings

_EVERY: Final = 0.4  # seconds between two polls, each of which sends one message
_FALLBACK_EVERY: Final = 2.0  # seconds between two fallbacks, for a notebook that is saved while it runs
_WAIT: Final = 0.1  # seconds; a wait that Stop breaks off is short
_LONGEST_TASK: Final = 240  # characters that are shown
_LONGEST_LITERAL: Final = 300  # characters of a task in code; a longer one is for a variable
_MOST: Final = 20_000  # characters of the answer that are shown; the run has all
_PREMIUM: Final = "premium"
_SINGLE: Final = "single "
_IN_CODE: Final = ("this block", "this cell")
"""Names of the budgets that a line of code has set, not profiles.yaml."""


class StrategyBoard(VictorWidget):
    """A strategy at work, to be watched and stopped.

    Each stage shows its state, calls, items that came and were kept, seconds and list price (USD); below stands what
    the run costs so far beside two estimates: the same calls at the baseline's prices, and one call to the baseline.
    When the run has ended, the answer and its charts follow. Where nothing can be live (no notebook, CI=true,
    VICTOR_PROGRESS=off), displaying it waits for the end of the run, and shows that.

    Args:
        run: A strategy under way (`Funnel().start(task)`, or `out=job` of a `%%victor strategy=... bg=true` cell), or
            one that has ended (`await Funnel().run(task)`).
        baseline: The profile or model to compare with; None for `premium`, where there is one.
        session: The session; None for the run's own.

    Raises:
        ConfigError: It is something else, or the baseline is neither a profile nor a model with a known price.
    """

    def __init__(
        self,
        run: StrategyJob | Background | StrategyRun,
        *,
        baseline: str | None = None,
        session: Session | None = None,
    ) -> None:
        self._source = source = _checked(run)
        self._job = source if isinstance(source, StrategyJob) else None
        first = Snapshot.of_job(source) if isinstance(source, StrategyJob) else Snapshot.of_run(source)
        self._pool = first.run.pool
        self._chosen = baseline
        if baseline is not None:
            find_tariff(baseline, self._pool)
        super().__init__(session or session_of(self._pool.runtime))
        self.title = f"strategy · {first.run.strategy}"
        self._charts: Content | None = None
        self._failure: VictorError | None = None
        self._seen: object = None
        self._lock = threading.RLock()  # polls and clicks come on two threads
        self._fallback_at = 0.0
        self._finished = False
        self._complete = threading.Event()
        self._arrange(first)
        self._show(first)
        if not first.ended:
            self.poll(self._follow, every=_EVERY)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds until the run has ended and its charts are drawn; return whether they are."""
        return self._complete.wait(timeout)

    # --- controls ---

    def _arrange(self, first: Snapshot) -> None:
        profiles = list(self._pool.settings.profiles)
        front = [self._chosen] if self._chosen else [_PREMIUM] if _PREMIUM in profiles else []
        names = list(dict.fromkeys([*front, *profiles]))
        self._stop = ipw.Button(description="Stop", disabled=self._job is None)
        self._baseline: Any = ipw.Dropdown(description="Baseline", options=names, value=next(iter(names), None))
        self._page, self._answer, self._images, self._code = (ipw.HTML() for _ in range(4))
        self._details = {stage.name: ipw.HTML() for stage, _ in first.stages}
        task = cut(" ".join(first.run.task.split()), _LONGEST_TASK)
        self.add_controls(
            ipw.HTML(f"<div>{words(task, 'victor-quiet')}</div>"),
            row(self._stop, self._baseline),
            self._page,
            column(self._answer, classes="victor-board-answer"),
            column(*self._details.values(), classes="victor-gave"),
            self._images,
            self._code,
        )
        on_click(self._stop, self._stop_pressed)
        on_change(self._baseline, "value", lambda: self.attempt(self._baseline_chosen))

    def _stop_pressed(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.post(self._stop, disabled=True, description="Stopping…")

    def _baseline_chosen(self) -> None:
        with self._lock:
            self._chosen = str(self._baseline.value)
            self._show(self._snapshot)
        self.refresh_fallback()

    # --- what changes ---

    def _follow(self) -> None:
        """Show what is new; once the run has ended, poll no more."""
        job = self._job
        if job is None or self._finished:
            self.suspend()
            return
        if self.session.closed:
            self.suspend()
            self.show_message("This session has ended, and the run with it; victor_nb.session() is a new one.")
            self._complete.set()
            return
        ended = job.done()
        seen = fingerprint(job.progress, ended=ended)
        if seen == self._seen:
            return
        with self._lock:
            self._show(Snapshot.of_job(job))
        self._seen = seen
        if ended:
            self.suspend()
        if ended or time.monotonic() - self._fallback_at > _FALLBACK_EVERY:
            self._fallback_at = time.monotonic()
            self.refresh_fallback()

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        top = header(snapshot)
        top = Content(self.session.redacted(top.html), self.session.redacted(top.plain))
        money = cost_table(snapshot, self._savings(snapshot))
        self._live = top + stage_table(snapshot) + latest_text(snapshot) + money
        self.post(self._page, value=self._live.html)
        for result in snapshot.results:
            self.post(self._details[result.name], value=stage_details(result))
        self.post(self._code, value=self._code_content().html)
        if snapshot.ended and not self._finished:
            self._finished = True
            self.post(self._stop, disabled=True, description="Stop")
            self.post(self._answer, value=_answer(snapshot).html)
            # No daemon: Python waits for it at its end, since matplotlib's C++ cannot be left in the middle.
            threading.Thread(target=self._show_charts, name="victor-charts").start()

    def _show_charts(self) -> None:
        """Draw the charts, unless that was done, and show them."""
        with _drawing:
            if self._charts is None:
                self._charts, self._failure = _draw(self._snapshot.run)
        self.post(self._images, value=self._charts.html)
        self.refresh_fallback()
        if self._failure is not None:
            self.show_message(self._failure)
        self._complete.set()

    def _savings(self, snapshot: Snapshot) -> tuple[Savings, ...]:
        """Return the run beside both baselines, on what has come so far and has a price."""
        name = self._chosen or self._baseline.value
        priced = tuple(row for row in snapshot.run.rows if row.cost is not None)
        if name is None or not priced:
            return ()
        run = replace(snapshot.run, rows=priced)
        return run.savings(name, "same_calls"), run.savings(name, "one_call")

    def _code_content(self) -> Content:
        text = _code(self._source, self.session.settings, self._chosen)
        return Content.code(text) if text else Content()

    def fallback(self) -> Content:
        """Return the stages, the money, the answer as text, and the charts."""
        snapshot = self._snapshot
        task = Content.line(snapshot.run.task[:_LONGEST_TASK], "victor-quiet")
        gave = Content("".join(map(stage_details, snapshot.results)))
        parts = (task, self._live, _answer(snapshot), gave, _folded(self._charts), self._code_content())
        return sum(parts, start=Content.line(self.title, "victor-title"))

    def settle(self) -> None:
        """Bring the fallback up to date now, with the stages that have ended since the last look."""
        if not self._finished:
            self.attempt(self._follow)
        super().settle()

    # --- where it is shown ---

    def _ipython_display_(self, **more: object) -> None:
        shell = get_ipython()
        if not (hasattr(shell, "kernel") and self.session.settings.watched):
            self._wait_for_job()
        if self._finished:
            self._show_charts()  # a notebook that is saved or exported at once has them in it
        super()._ipython_display_(**more)

    def _wait_for_job(self) -> None:
        """Wait for the end of the run."""
        if self._job is None:
            return
        try:
            while not self._job.wait(_WAIT):
                pass
        except KeyboardInterrupt:
            raise self._job.interrupted() from None
        self._follow()

    def __repr__(self) -> str:
        return f"StrategyBoard({self._snapshot.run.strategy}, {self._snapshot.state})"


def _checked(given: object) -> StrategyJob | StrategyRun:
    """Return the job or run to show."""
    work = given.work if isinstance(given, Background) else given
    if isinstance(work, (StrategyJob, StrategyRun)):
        return work
    kind = type(work).__name__
    if isinstance(given, Background):
        raise ConfigError(
            f"This cell asks no strategy (it is a {kind}). Write %%victor strategy=funnel bg=true out=job."
        )
    if inspect.iscoroutine(work):
        work.close()  # else Python warns that it was never awaited
        raise ConfigError(
            "This run was not awaited. Write StrategyBoard(await Funnel().run(task)), or use .start(task)."
        )
    if isinstance(work, Strategy):
        raise ConfigError(f"{work.name} has not started. Write StrategyBoard(strategy.start(task)).")
    raise ConfigError(
        f"A StrategyBoard shows a strategy's job or run, not a {kind}. "
        'Start one with StrategyBoard(Funnel().start("...")).'
    )


def _answer(snapshot: Snapshot) -> Content:
    """Return the final answer, once there is one."""
    if not snapshot.ended or not snapshot.run.content:
        return Content()
    text = cut(snapshot.run.content, _MOST, "run")
    return Content(rendered(text), clean(text))


# --- charts ---

_drawing: Final = threading.Lock()
"""Matplotlib draws one figure at a time; ours are figures that pyplot, and so the user's own code, does not know of."""


def _draw(run: StrategyRun) -> tuple[Content, VictorError | None]:
    """Return the charts of a run, and what was wrong with one that could not be drawn; each takes half a second."""
    html, failure = "", None
    plain: list[str] = []
    for kind in _kinds(run):
        try:
            frame = picture(run.plot(kind))
        except VictorError as error:
            failure = error
        else:
            html += f"<figure>{frame['text/html']}</figure>"
            plain.append(frame["text/plain"])
    return Content(f'<div class="victor-charts">{html}</div>' if html else "", "\n".join(plain)), failure


def _folded(charts: Content | None) -> Content:
    """Return the charts as a page keeps them: below a line that opens them, as what each stage gave is."""
    if charts is None or not charts.html:
        return Content()
    return Content(details(words("charts"), charts.html, "victor-details"), charts.plain)


def _kinds(run: StrategyRun) -> tuple[str, ...]:
    """Return the charts to draw: none of a run without calls, a funnel only where items became fewer."""
    if not any(row.status != "refused" for row in run.rows):
        return ()
    narrowed = any(len(stage.items) > len(stage.kept) > 0 for stage in run.stages)
    return ("cost_by_stage", *(("funnel",) if narrowed else ()), "gantt")


# --- the code that shows the same ---


def _code(source: StrategyJob | StrategyRun, settings: Settings, baseline: str | None) -> str:
    """Return the code that starts or runs the same strategy and shows its board; empty where that is not known."""
    about = source if isinstance(source, StrategyRun) else source.progress
    task = repr(about.task) if len(about.task) <= _LONGEST_LITERAL else "task"
    more = f", baseline={baseline!r}" if baseline else ""
    written, strategy = _written(about.strategy, settings)
    if strategy is None or not _is_same(strategy, source):
        return ""
    if isinstance(source, StrategyRun):
        return f"run = await {written}.run({task})\nStrategyBoard(run{more})"
    options = _options(source.options)
    if options is None:
        return ""
    line = f"StrategyBoard({written}.start({task}{options}){more})"
    budget = next((limit.amount for limit in reversed(source.limits) if limit.name in _IN_CODE), None)
    return line if budget is None else f'with session().budget.limit("{budget}"):\n    board = {line}\nboard'


def _written(name: str, settings: Settings) -> tuple[str, Strategy | None]:
    """Return how a strategy is written, and the strategy that this gives; None for one that is not known."""
    if name.startswith(_SINGLE):
        profile = name.removeprefix(_SINGLE)
        return f"Single({profile!r})", Single(profile)
    try:
        found = find_strategy(name, settings)
    except ConfigError:
        return "", None
    maker = BUILT_IN.get(name) if name not in settings.strategies else None
    return (f"{maker.__name__}()" if isinstance(maker, type) else f"find_strategy({name!r})"), found


def _is_same(strategy: Strategy, source: StrategyJob | StrategyRun) -> bool:
    """Return whether a strategy has the stages of this run or job; of a run, only those that began are known."""
    if not isinstance(source, StrategyRun):
        return strategy.stages == source.stages
    begun = {(stage.name, stage.profile): len(stage.replies) for stage in source.stages}
    meant = {(stage.name, stage.profile): stage.n for stage in strategy.stages}
    return bool(begun) and all(meant.get(stage) == calls for stage, calls in begun.items())


def _options(options: Mapping[str, object]) -> str | None:
    """Return options as code; None where one of them cannot be written down."""
    given = {name: value for name, value in options.items() if value is not None and name != "run_id"}
    if not all(isinstance(value, (str, int, float)) for value in given.values()):
        return None
    return "".join(f", {name}={value!r}" for name, value in given.items())
