"""A board for a strategy: its stages as they happen, what it costs beside what; in the end the answer and charts."""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from IPython.core.getipython import get_ipython

from victor_nb.errors import ConfigError, VictorError
from victor_nb.kernel import session_of
from victor_nb.notebook.ask import Background
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.commands import picture
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.base import HTML, Button, Dropdown, Surface, on_change, on_press, stack, styled
from victor_nb.notebook.widgets.html import Still, code, rendered, still_line, words
from victor_nb.notebook.widgets.snapshot import all_details, costs, details, head, now, of_job, of_run, pulse_of, stages
from victor_nb.workflows.job import StrategyJob
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.strategies import BUILT_IN, Single, Strategy, find_strategy
from victor_nb.workflows.what_if import find_tariff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from victor_nb.config.settings import Settings
    from victor_nb.kernel import Session
    from victor_nb.notebook.widgets.snapshot import Standing
    from victor_nb.workflows.baselines import Savings


_pencil: Final = threading.Lock()
"""Matplotlib draws one figure at a time; ours are figures that pyplot, and so the user's own code, does not know of."""


class RunCharts:
    """The charts of one run.

    Attributes:
        page: All of them, once they are drawn.
        error: What was wrong with one that could not be.
    """

    def __init__(self) -> None:
        self.page: Still | None = None
        self.error: VictorError | None = None

    def begin(self, run: StrategyRun, then: Callable[[], object]) -> None:
        """Draw on a thread of its own, and then do something there."""

        def draw() -> None:
            self.draw(run)
            then()

        # No daemon: Python waits for it at its end, since matplotlib's C++ cannot be left in the middle.
        threading.Thread(target=draw, name="victor-charts").start()

    def draw(self, run: StrategyRun) -> None:
        """Draw here and now, unless that was done."""
        with _pencil:
            if self.page is None:
                self.page = self._drawn(run)

    def _drawn(self, run: StrategyRun) -> Still:
        pictures: list[Still] = []
        for kind in kinds(run):
            try:
                frame = picture(run.plot(kind))
            except VictorError as error:
                self.error = error
            else:
                pictures.append(Still(f"<figure>{frame['text/html']}</figure>", frame["text/plain"]))
        html = "".join(each.html for each in pictures)
        plain = "\n".join(each.plain for each in pictures)
        return Still(f'<div class="victor-charts">{html}</div>' if html else "", plain)


def kinds(run: StrategyRun) -> tuple[str, ...]:
    """Return what is worth a chart: nothing of a run that sent nothing, a funnel only where something narrowed."""
    if not any(row.status != "refused" for row in run.rows):
        return ()
    narrowed = any(len(stage.items) > len(stage.kept) > 0 for stage in run.stages)
    return ("cost_by_stage", *(("funnel",) if narrowed else ()), "gantt")


_SINGLE: Final = "single "
_OURS: Final = ("this block", "this cell")
"""Names of the budgets that a line of code has set, not profiles.yaml."""
_LONGEST: Final = 300  # characters of a task; a longer one is for a variable


def code_of(source: StrategyJob | StrategyRun, settings: Settings, baseline: str | None) -> str:
    """Return the code that starts the same, or runs it, and shows its board; empty where nobody can tell what that is.

    Args:
        source: What the board is of.
        settings: Where named strategies are.
        baseline: What the board compares with, where that was chosen.
    """
    about = source if isinstance(source, StrategyRun) else source.progress
    task = repr(about.task) if len(about.task) <= _LONGEST else "task"
    known = _known(about.strategy, settings)
    more = f", baseline={baseline!r}" if baseline else ""
    if known is None or not _is_same(known[1], source):
        return ""
    if isinstance(source, StrategyRun):
        return f"run = await {known[0]}.run({task})\nStrategyBoard(run{more})"
    return _of_job(source, known[0], task, more)


def _of_job(job: StrategyJob, strategy: str, task: str, more: str) -> str:
    options = _options(job.options)
    if options is None:
        return ""
    line = f"StrategyBoard({strategy}.start({task}{options}){more})"
    budget = next((limit.amount for limit in reversed(job.limits) if limit.name in _OURS), None)
    return line if budget is None else f'with session().budget.limit("{budget}"):\n    board = {line}\nboard'


def _known(name: str, settings: Settings) -> tuple[str, Strategy] | None:
    """Return how a strategy is written, and the strategy that this gives."""
    if name.startswith(_SINGLE):
        profile = name.removeprefix(_SINGLE)
        return f"Single({profile!r})", Single(profile)
    try:
        found = find_strategy(name, settings)
    except ConfigError:
        return None
    maker = BUILT_IN.get(name) if name not in settings.strategies else None
    return (f"{maker.__name__}()" if isinstance(maker, type) else f"find_strategy({name!r})"), found


def _is_same(strategy: Strategy, source: StrategyJob | StrategyRun) -> bool:
    """Tell whether a strategy would do what was done; of a run, only the stages that began are known."""
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


_EVERY: Final = 0.4  # seconds between two looks, each of which sends one message
_TWIN_EVERY: Final = 2.0  # seconds between two pictures for who saves while it runs
_WAIT: Final = 0.1  # seconds; a wait that Stop breaks off is short
_LONGEST_TASK: Final = 240  # characters
_MOST: Final = 20_000  # characters of the answer that are shown; the run has all
_PREMIUM: Final = "premium"
_START: Final = 'Start one with StrategyBoard(Funnel().start("..."))'


class StrategyBoard(Surface):
    """A strategy at work, to be watched and stopped.

    Each stage shows its state, calls, items that came and were kept, seconds and list price (USD); below stands what
    the run costs so far beside two estimates: the same calls at the baseline's prices, and one call to the baseline.
    When the run has ended, the answer and its charts follow. Where nothing can be live (no notebook, CI=true,
    VICTOR_PROGRESS=off), displaying it waits for the end of the run, and shows that.

    Args:
        run: A strategy under way (`Funnel().start(task)`, or `out=job` of a `%%victor strategy=... bg=true` cell), or
            one that has ended (`await Funnel().run(task)`).
        baseline: The profile or model to compare with; None for `premium`, where there is one.
        home: The session; None for the run's own.

    Raises:
        ConfigError: It is something else, or nobody knows the baseline.
    """

    def __init__(
        self,
        run: StrategyJob | Background[StrategyRun] | StrategyRun,
        *,
        baseline: str | None = None,
        home: Session | None = None,
    ) -> None:
        self._source = source = _checked(run)
        self._job = source if isinstance(source, StrategyJob) else None
        first = of_job(source) if isinstance(source, StrategyJob) else of_run(source)
        self._pool = first.run.pool
        self._chosen = baseline
        if baseline is not None:
            find_tariff(baseline, self._pool)
        super().__init__(home or session_of(self._pool.runtime))
        self.title = f"strategy · {first.run.strategy}"
        self._charts = RunCharts()
        self._seen: object = None
        self._turn = threading.RLock()  # looks and clicks come on two threads
        self._twinned = 0.0
        self._finished = False
        self._complete = threading.Event()
        self._arrange(first, self._names(baseline))
        self._show(first)
        if not first.ended:
            self.look(self._look, every=_EVERY)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds until the run has ended, and its charts are drawn; tell whether that came."""
        return self._complete.wait(timeout)

    # --- what it is made of ---

    def _arrange(self, first: Standing, names: list[str]) -> None:
        self._stop = Button(description="Stop", disabled=self._job is None)
        self._baseline: Any = Dropdown(description="Baseline", options=names, value=next(iter(names), None))
        self._page, self._answer, self._images, self._code = (HTML() for _ in range(4))
        self._details = {stage.name: HTML() for stage in first.stages}
        task = " ".join(first.run.task.split())
        cut = task if len(task) <= _LONGEST_TASK else f"{task[:_LONGEST_TASK]}…"
        self.furnish(
            HTML(f"<div>{words(cut, 'victor-quiet')}</div>"),
            styled(stack(self._stop, self._baseline, across=True), "victor-row"),
            self._page,
            styled(stack(self._answer), "victor-board-answer"),
            styled(stack(*self._details.values()), "victor-gave"),
            self._images,
            self._code,
        )
        on_press(self._stop, self._press_stop)
        on_change(self._baseline, "value", lambda: self.tried(self._rebase))

    def _names(self, baseline: str | None) -> list[str]:
        """Return what may be compared with, what is at first in front."""
        profiles = list(self._pool.settings.profiles)
        front = [baseline] if baseline else [_PREMIUM] if _PREMIUM in profiles else []
        return list(dict.fromkeys([*front, *profiles]))

    def _press_stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.post(self._stop, disabled=True, description="Stopping…")

    def _rebase(self) -> None:
        with self._turn:
            self._chosen = str(self._baseline.value)
            self._show(self._standing)
        self.changed()

    # --- what changes ---

    def _look(self) -> None:
        """See whether anything is new, and show it; once the run has ended, look no more."""
        job = self._job
        if job is None or self._finished:
            self.rest()
            return
        if self.home.closed:
            self.rest()
            self.tell("This session has ended, and the run with it; victor_nb.session() is a new one.")
            self._complete.set()
            return
        ended = job.done()
        seen = pulse_of(job.progress, ended=ended)
        if seen == self._seen:
            return
        with self._turn:
            self._show(of_job(job))
        self._seen = seen
        if ended:
            self.rest()
        if ended or time.monotonic() - self._twinned > _TWIN_EVERY:
            self._twinned = time.monotonic()
            self.changed()

    def _show(self, standing: Standing) -> None:
        self._standing = standing
        self._live = self._pages(standing)
        self.post(self._page, value=self._live.html)
        for stage in standing.stages:
            if stage.over and stage.result is not None:
                self.post(self._details[stage.name], value=details(stage.result))
        self.post(self._code, value=self._code_page().html)
        if standing.ended and not self._finished:
            self._finish(standing)

    def _finish(self, standing: Standing) -> None:
        self._finished = True
        self.post(self._stop, disabled=True, description="Stop")
        self.post(self._answer, value=_answer(standing).html)
        self._charts.begin(standing.run, self._hang)

    def _hang(self) -> None:
        """Show the charts, drawn by now."""
        self.post(self._images, value=self._charts.page.html if self._charts.page else "")
        self.changed()
        if self._charts.error is not None:
            self.tell(self._charts.error)
        self._complete.set()

    # --- as pages ---

    def _pages(self, standing: Standing) -> Still:
        top = head(standing)
        parts = (
            stages(standing),
            now(standing),
            costs(standing, self._savings(standing)),
        )
        return sum(parts, start=Still(redacted(self.home, top.html), redacted(self.home, top.plain)))

    def _savings(self, standing: Standing) -> tuple[Savings, ...]:
        """Return the run beside both baselines, on what has come so far and has a price."""
        name = self._chosen or self._baseline.value
        priced = tuple(row for row in standing.run.rows if row.cost is not None)
        if name is None or not priced:
            return ()
        run = replace(standing.run, rows=priced)
        return run.savings(name, "same_calls"), run.savings(name, "one_call")

    def _code_page(self) -> Still:
        text = code_of(self._source, self.home.settings, self._chosen)
        return Still(code(text), clean(text)) if text else Still("", "")

    def still(self) -> Still:
        """Return the same as a page that stays: the stages, the money, the answer as text, and the charts."""
        standing = self._standing
        top = still_line(self.title, "victor-title") + still_line(standing.run.task[:_LONGEST_TASK], "victor-quiet")
        rest = all_details(stage.result for stage in standing.stages if stage.over and stage.result)
        return top + self._live + _answer(standing) + rest + (self._charts.page or Still("", "")) + self._code_page()

    # --- where it is shown ---

    def _ipython_display_(self, **more: object) -> None:
        shell = get_ipython()
        if not (hasattr(shell, "kernel") and self.home.settings.watched):
            self._wait()
        if self._finished:
            # Who saves or exports this cell at once has the charts in it.
            self._charts.draw(self._standing.run)
            self._hang()
        super()._ipython_display_(**more)

    def _wait(self) -> None:
        """Wait for the end of the run.

        Raises:
            VictorInterrupted: Stop was pressed; the run was stopped.
        """
        job = self._job
        if job is None:
            return
        try:
            while not job.wait(_WAIT):
                pass
        except KeyboardInterrupt:
            raise job.interrupted() from None
        self._look()

    def __repr__(self) -> str:
        return f"StrategyBoard({self._standing.run.strategy}, {self._standing.state})"


def _checked(given: object) -> StrategyJob | StrategyRun:
    """Return what a board can show.

    Raises:
        ConfigError: It is something else.
    """
    work = given.work if isinstance(given, Background) else given
    if isinstance(work, (StrategyJob, StrategyRun)):
        return work
    kind = type(work).__name__
    if isinstance(given, Background):
        raise ConfigError(
            f"This cell asks no strategy (it is a {kind}). Write %%victor strategy=funnel bg=true out=job."
        )
    if inspect.iscoroutine(work):
        work.close()  # nobody will await it any more
        raise ConfigError(
            "This run was not awaited. Write StrategyBoard(await Funnel().run(task)), or use .start(task)."
        )
    if isinstance(work, Strategy):
        raise ConfigError(f"{work.name} has not started. Write StrategyBoard(strategy.start(task)).")
    raise ConfigError(f"A StrategyBoard shows a strategy's job or run, not a {kind}. {_START}.")


def _answer(standing: Standing) -> Still:
    """Return the final answer, once there is one."""
    if not standing.ended or not standing.run.content:
        return Still("", "")
    text = _cut(standing.run.content)
    return Still(rendered(text), clean(text))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}\n\n… {len(text) - _MOST:,} characters more are in the run"
