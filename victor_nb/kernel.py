"""The session, a kernel's state for its user: a runtime, and the pool, chats, jobs, last result and errors."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from victor_nb.accounting.window import Window
from victor_nb.config.environment import read_path
from victor_nb.errors import VictorError, VictorInterrupted
from victor_nb.providers.spec import spec_of
from victor_nb.runtime import Runtime, current, reset

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Generator
    from decimal import Decimal

    from victor_nb.accounting.budget import Budget
    from victor_nb.accounting.ledger import Ledger
    from victor_nb.accounting.window import Since
    from victor_nb.calls.agent import Chat
    from victor_nb.config.settings import Settings
    from victor_nb.loop import Handle
    from victor_nb.reports.frames import DataFrame
    from victor_nb.values import Mode, Reply, SimulatedAnswer, SimulatedQuestion
    from victor_nb.workflows.compare import Comparison
    from victor_nb.workflows.fan_out import Replies
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun

__all__ = ["Session", "recorded", "reset", "session", "session_of"]


class Session:
    """The state that all agents and pools of a kernel share: the runtime, and what magics and widgets keep.

    Args:
        settings: Profiles and limits; None reads `profiles.yaml` at the first use.
        runtime: A runtime to hold; else a new one.

    Attributes:
        runtime: Settings, mode, loop, wire, ledger, prices, budget and clients, as calls use them.
        chats: The named memories of `%%victor chat=name`.
        jobs: What `bg=true` has started, oldest first.
    """

    def __init__(self, settings: Settings | None = None, *, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or Runtime(settings)
        self.runtime.owner = self
        self.chats: dict[str, Chat] = {}
        self.jobs: list[Handle[Any]] = []

    @property
    def pool(self) -> OrchestratorPool:
        """The orchestrators of this kernel.

        Raises:
            ClosedError: The session is closed.
        """
        from victor_nb.workflows.orchestrator_pool import kernel_pool  # noqa: PLC0415 - not needed to import us

        return kernel_pool(self.runtime)

    @property
    def last(self) -> Reply | Replies | StrategyRun | Comparison | DataFrame | None:
        """The result of the last call, fan-out, strategy or map, or what had come of one that was stopped or failed."""
        return self.runtime.last

    @property
    def errors(self) -> deque[BaseException]:
        """The last exceptions, newest last."""
        return self.runtime.errors

    @property
    def settings(self) -> Settings:
        """The settings of `profiles.yaml` and the environment, read at the first use.

        Raises:
            ConfigError: They cannot be used.
        """
        return self.runtime.settings

    @property
    def ledger(self) -> Ledger:
        """Every attempt as a row."""
        return self.runtime.ledger

    @property
    def budget(self) -> Budget:
        """The limits that every call of this kernel must fit.

        Raises:
            ConfigError: `profiles.yaml` cannot be used.
        """
        self.runtime.settings  # noqa: B018 - read, so that its limits are there
        return self.runtime.budget

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.runtime.closed

    @property
    def mode(self) -> Mode:
        """How calls are answered. `VICTOR_MODE` beats everything; then comes what was set here."""
        return self.runtime.mode

    def set_mode(self, mode: str) -> None:
        """Answer in another mode from now on.

        Raises:
            ConfigError: There is no such mode, or the environment fixes another.
        """
        self.runtime.set_mode(mode)

    def simulate_with(
        self, answers: Path | str | Callable[[SimulatedQuestion], str | SimulatedAnswer | None] | None
    ) -> None:
        """Give simulated calls answers of one's own; those of `VICTOR_ANSWERS` and `simulate:` are looked at next.

        Args:
            answers: The path of an answers file; or a function, called on the background loop for every attempt, that
                gives text, a `SimulatedAnswer`, or None for the next source; None takes back what was given before.

        Raises:
            ConfigError: The file cannot be used; one line names the file, the line and the key.
        """
        self.runtime.answers.use(answers)

    def set_budget(self, usd: Decimal | str | float | None) -> None:
        """Limit what this kernel may spend in all, from its start, in USD; None lifts the limit.

        Raises:
            ConfigError: It is not an amount of money.
        """
        self.runtime.set_budget(usd)

    def warm_up(self) -> None:
        """Import what the configured profiles need, so that the first call does not pay for it. It blocks."""
        from victor_nb.calls.retries import retrying  # noqa: PLC0415 - not needed to import us

        with self.runtime.warming():
            for provider in sorted({profile.provider for profile in self.settings.profiles.values()}):
                spec_of(provider).load_client()
            retrying(0)  # imports tenacity
            self.pool.get_cached_profiles()  # imports the workflows
            self.runtime.prices.find("")
            if self.mode == "live":
                self.runtime.wire.warm_up(self.settings.certificates)

    def redacted(self, text: str) -> str:
        """Return a text without any key, even while the settings cannot be read."""
        return self.runtime.redacted(text)

    def cancel(self) -> int:
        """Stop all work under way here, and return how many calls were; what had come is kept.

        A map, search, comparison, strategy, fan-out or call that had begun asks nothing more: no other row, stage,
        retry or fallback. Who waits for it gets what had come, as after its own `cancel()`; an `await` raises
        `asyncio.CancelledError`, and what had come is `last`. A loop of your own goes on with its next call, and what
        is started later runs as ever.

        Returns:
            The calls that had begun and not ended, those that waited for their turn included.
        """
        return self.runtime.cancel()

    def report(self, path: Path | str, *, since: Since = "30d", scope: str = "all", overwrite: bool = False) -> Path:
        """Write what was spent as one HTML page, with tables and charts, that needs no network; return where it is.

        It names profiles, models, notebooks and amounts, and holds no prompt, answer or key. What was simulated or
        replayed stands apart from what was paid, and what is not known is said.

        Args:
            path: A file ending in .html; a report that is there already is written over, any other file is not.
            since: `30d`, `12h`, `today`, a date, a moment, or the time that it is ago; None for all that there is.
            scope: `all` kernels, this `notebook`, or this `kernel`.
            overwrite: Write over any file.

        Raises:
            ConfigError: It cannot be written there, or `since` or `scope` are not understood.
        """
        from victor_nb.reports.page import page, write_page  # noqa: PLC0415 - imports pandas, which is slow

        window = Window.of(scope, since, notebook=self.settings.notebook)
        file = read_path(str(path), Path.cwd(), "report")
        frame = self.ledger.to_frame(window.kernels, since=window.since, notebook=window.notebook)
        text = page(frame, window, budget=self.settings.budget.day, redacted=self.redacted)
        return write_page(file, text, overwrite=overwrite)

    def close(self) -> None:
        """End everything: clients closed, rows written, thread ended. Twice is fine."""
        self.runtime.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Let the kernel's session go to another process: it is the session there, with the mode and budget of here."""
        return session_of, (self.runtime,)

    def __repr__(self) -> str:
        return f"Session(mode={self.mode!r}, settings={self.settings!r})"


def session() -> Session:
    """Return this kernel's session; the first call makes it."""
    return session_of(current())


def session_of(runtime: Runtime) -> Session:
    """Return the session that holds a runtime; the first call makes it."""
    with runtime.lock:
        owner = runtime.owner
        return owner if isinstance(owner, Session) else Session(runtime=runtime)


@contextmanager
def recorded() -> Generator[Session]:
    """Yield this kernel's session, its settings read anew if they have changed, and keep what is raised in `errors`.

    Raises:
        VictorError: What went wrong, with no key in its text.
        VictorInterrupted: Stop was pressed.
    """
    found = session_of(current())
    before = found.runtime.last
    try:
        found.runtime.refresh()
        yield found
    except (VictorError, VictorInterrupted) as error:
        _redact(found, error)
        # A call that failed has put its error there itself.
        if not found.errors or found.errors[-1] is not error:
            found.errors.append(error)
        raise
    except KeyboardInterrupt:
        kept = found.runtime.last is not before
        stop = VictorInterrupted(f"stopped; {'what had come is session().last' if kept else 'nothing came of it'}.")
        found.errors.append(stop)
        raise stop from None


def _redact(session: Session, error: BaseException) -> None:
    """Remove keys from an error that may quote what a user typed."""
    error.args = tuple(session.redacted(part) if isinstance(part, str) else part for part in error.args)
    if notes := getattr(error, "__notes__", None):
        error.__notes__ = [session.redacted(note) for note in notes]
