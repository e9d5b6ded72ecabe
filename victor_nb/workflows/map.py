"""A map: a table in, the same table plus answers out. Its options, its handle, and who is asked about each row."""

from __future__ import annotations

import asyncio
import copy
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args
from uuid import uuid4

import victor_nb
from victor_nb.calls.quota import Share
from victor_nb.calls.request import CallOptions, check_options, refuse_sample
from victor_nb.calls.schema import schema_of
from victor_nb.config.request_options import SAMPLES, Kind, whole
from victor_nb.errors import ConfigError, PromptError, VictorError, VictorInterrupted, VictorWarning, suggest
from victor_nb.loop import GRACE
from victor_nb.money import to_usd
from victor_nb.reports.answers import answers_frame
from victor_nb.templates import Template
from victor_nb.values import TAPED, listed
from victor_nb.workflows.askers import ProfileAsker, Runnable, StrategyAsker
from victor_nb.workflows.bulk import Asker, Bulk, Terms
from victor_nb.workflows.intake import Empty, Feed, Plan, Prompts, table_of
from victor_nb.workflows.progress_bar import Bar, Tally, Watched

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from decimal import Decimal

    from pandas import DataFrame

    from victor_nb.workflows.askers import Pool
    from victor_nb.workflows.executors import Cluster
    from victor_nb.workflows.forecast import Priced
    from victor_nb.workflows.outcomes import Counts

Reuse = Literal["complete", "off"]

_RUNS: Final = 8
"""Strategies that run at once where `concurrency` does not say: each asks several things at a time."""


class MapOptions(CallOptions, total=False):
    """The options of a map.

    Attributes:
        profiles: Several profiles, each with columns of its own: `label.fast`, `label.local`.
        rows: How many of the first rows are asked about; the frame has no others. None: all.
        budget: What the map may spend, in USD.
        n: Samples of each row, in columns of their own: `label.1`, `label.2`.
        reuse: `complete` takes stored answers that had ended by themselves; `off` asks everything anew.
        empty: What becomes of a row that lacks a value of the template: `skip` sends nothing, `send` sends the rest of
            the text, `error` ends the map.
        concurrency: How many rows are asked at once, at most.
        rpm: Requests per minute, at most.
        tpm: Tokens per minute, at most.
        executor: A `dask.distributed.Client`, whose workers ask the rows, a hundred at a time: where a worker is lost,
            what it had sent of its hundred is asked, and paid, twice.
        names: What else the template may hold, by name; columns come before these.
    """

    profiles: Sequence[Any] | None
    rows: int | None
    budget: Decimal | str | float | None
    n: int
    reuse: Reuse
    empty: Empty
    concurrency: int | None
    rpm: int | None
    tpm: int | None
    executor: Any
    names: Mapping[str, object] | None


_OWN: Final = frozenset(MapOptions.__annotations__) - frozenset(CallOptions.__annotations__)
_KINDS: Final[Mapping[str, Kind]] = {"n": SAMPLES, **dict.fromkeys(("rows", "concurrency", "rpm", "tpm"), whole(1))}
_WORDS: Final = {"empty": get_args(Empty), "reuse": get_args(Reuse)}


class Map(Watched["DataFrame"]):
    """A map; it is a handle once it has started. Made by `pool.start_map`; `pool.map` waits for it.

    Attributes:
        run_id: The `run_id` of its rows in the ledger.
    """

    def __init__(
        self, pool: Pool, data: object, template: str, *, profile: object, out: str, options: MapOptions
    ) -> None:
        own: dict[str, Any] = {name: value for name, value in options.items() if name in _OWN and value is not None}
        sent = cast("CallOptions", {name: value for name, value in options.items() if name not in _OWN})
        own |= {"profiles": listed(own["profiles"])} if "profiles" in own else {}
        _check(own, profile, out)
        refuse_sample(sent)
        self.runtime, self._pool, self._out = pool.runtime, pool, out
        self.run_id = sent.get("run_id") or uuid4().hex
        self._budget = None if "budget" not in own else to_usd(own["budget"])
        self._rows = table_of(data, own.get("rows"))
        names = dict(own.get("names") or {})
        parsed = self._parsed(template, names)
        self._share = Share(**{name: own.get(name) for name in ("concurrency", "rpm", "tpm")})
        check_options(sent, also=_OWN)
        cache = str(sent.get("cache", "off" if own.get("reuse") == "off" else "on") or "off")
        sent = cast("CallOptions", {**sent, "run_id": self.run_id, "cache": "off" if cache == "off" else "refresh"})
        self._cluster = self._on_cluster(own) if "executor" in own else None
        given = list(own.get("profiles") or [profile])
        self._askers = [self._asker(each, sent, cache, parsed.start) for each in given]
        schema = sent.get("schema")
        self._schema = None if schema is None else schema_of(schema)
        self._n = own.get("n", 1)
        self._columns = self._column_names(several="profiles" in own)
        self._check_columns()
        workers = self._share.most if self._cluster is None else self._cluster.most
        if "concurrency" not in own and any(isinstance(asker, StrategyAsker) for asker in self._askers):
            workers = _RUNS
        others = {name: names[name] for name in parsed.names if name in names}
        leaks, empty = self.runtime.settings.leak_check(), own.get("empty", "skip")
        self._prompts = Prompts(self._rows, parsed, others=others, empty=empty, leaks=leaks)
        terms = Terms(n=self._n, workers=workers, reuse=cache == "on", budget=self._budget)
        self._bulk = Bulk(self.runtime, self._askers, self._prompts, terms)

    def _asker(self, profile: object, options: CallOptions, cache: str, start: str) -> Asker:
        settings = self._pool.settings
        if isinstance(profile, str) and settings.find(profile) is None:
            profile = victor_nb.strategy_named(profile, settings) or profile
        if profile is None or isinstance(profile, str):
            asker = ProfileAsker(self._pool.get_orchestrator(profile), options, self._share, start)
            return asker if self._cluster is None else self._cluster.asker(asker)
        if not hasattr(profile, "prepare"):
            raise ConfigError(f"profile= takes the name of a profile, or a strategy, not a {type(profile).__name__}.")
        if self._cluster is not None:
            raise ConfigError("executor= asks profiles; a strategy runs on this machine. Leave executor= out.")
        # Calls of a strategy look into the store by themselves.
        return StrategyAsker(cast("Runnable", profile), self._pool, {**options, "cache": cache})

    def _on_cluster(self, own: Mapping[str, Any]) -> Cluster | None:
        """Return the workers that are to ask; None where there is a tape, which this kernel alone reads and writes."""
        from victor_nb.workflows.executors import Cluster  # few maps leave the machine

        if self._pool.runtime.mode in TAPED:
            if self._pool.runtime.mode == "record":
                fact = "A tape is recorded in this kernel: it asks about all rows itself, without executor=."
                warnings.warn(fact, VictorWarning, stacklevel=2)
            return None
        limits = {name: own.get(name) for name in ("concurrency", "rpm", "tpm")}
        return Cluster(own["executor"], self._pool, self.run_id, **limits)

    def _parsed(self, template: str, names: Mapping[str, object]) -> Template:
        """Return the template, and keep of the rows what it holds."""
        if not isinstance(cast("object", template), str):
            raise PromptError(
                f"The template is a {type(template).__name__}, not text such as 'Classify: {{{{ text }}}}'."
            )
        if isinstance(self._rows, Feed):
            return Template(template, {**names, "value": None, "row": None})
        known = dict.fromkeys(self._rows.known)
        _check_places(template, self._rows.columns, {*known, *names})
        found = Template(template, {**names, **known})
        unknown = next((name for name in found.names if name not in known and name not in names), None)
        if unknown is not None:
            hint = suggest(unknown, [*known, *names], otherwise=f"Columns: {', '.join(self._rows.columns)}.")
            raise PromptError(f"{unknown!r} is no column. {hint} Write {{{{ row['{unknown}'] }}}} for any name.")
        if not set(found.names) & set(known):
            raise PromptError(
                f"The template holds no column, so that all rows are alike. Columns: {', '.join(self._rows.columns)}."
            )
        twice = next((name for name in found.names if name in self._rows.doubled), None)
        if twice is not None:
            raise PromptError(
                f"The table has several columns {twice!r}. Rename them, so that it is clear which is meant."
            )
        self._rows.keep(found.names)
        return found

    def _column_names(self, *, several: bool) -> list[str]:
        """Return what the columns of each asker and sample begin with."""
        return [
            ".".join([self._out, *([asker.name] if several else []), *([f"{sample + 1}"] if self._n > 1 else [])])
            for asker in self._askers
            for sample in range(self._n)
        ]

    def _check_columns(self) -> None:
        """Raise if the table has a column of such a name."""
        if isinstance(self._rows, Feed):
            return
        before = {str(name[0] if isinstance(name, tuple) else name) for name in self._rows.base().columns}
        made = answers_frame([[] for _ in self._columns], self._columns, self._schema).columns
        taken = next((name for name in made if name in before), None)
        if taken is not None:
            raise ConfigError(f"The table has a column {taken!r} already. Give the answers another name: out=...")

    # --- for those who wait ---

    def start(self) -> Map:
        """Start asking, without waiting."""
        if self._budget is None:
            self._job = self.runtime.loop.start(self._run)
        else:
            with self.runtime.budget.limit(self._budget, name="this map"):
                self._job = self.runtime.loop.start(self._run)
        return self

    async def run(self) -> DataFrame:
        """Ask about all rows from the caller's event loop, and return the frame."""
        if isinstance(self._rows, Feed):
            self._rows.settle()
        if self._budget is None:
            return await self.runtime.loop.call(self._run)
        with self.runtime.budget.limit(self._budget, name="this map"):
            return await self.runtime.loop.call(self._run)

    async def _run(self) -> DataFrame:
        try:
            await self._bulk.run()
        except BaseException as error:  # of the user's iterator too: what was paid for is kept
            frame = self._kept()
            if isinstance(error, VictorError):
                error.partial = frame
            raise
        finally:
            if self._cluster is not None:
                await self._cluster.close()
        return await asyncio.to_thread(self._kept)

    def _kept(self) -> DataFrame:
        self.runtime.last = frame = self.frame
        return frame

    @property
    def tally(self) -> Counts:
        """How far it is; readable from any thread."""
        counts = self._bulk.counts
        return counts if self._cluster is None else replace(counts, again=self._cluster.again)

    @property
    def price(self) -> str | None:
        """What is to be said once: the price of the whole, when the first rows have been asked; what the store says."""
        priced = [] if self._bulk.priced is None else [str(self._bulk.priced)]
        return " ".join([*priced, *self._bulk.news]) or None

    @property
    def priced(self) -> Priced | None:
        """The price of the whole as numbers; None until the first rows have been asked."""
        return self._bulk.priced

    @property
    def wall(self) -> float:
        """Seconds that it has taken, simulated ones in simulate mode; 0 before it began."""
        return self._bulk.wall

    def plan(self) -> Plan:
        """Return what would be asked, of the rows alone: it sends nothing, and may take seconds.

        Raises:
            ConfigError: The rows are those of an iterator, which cannot be read twice.
        """
        if isinstance(self._rows, Feed):
            raise ConfigError("What an iterator gives is not known before. Give a DataFrame, a Series or a list.")
        return self._prompts.plan()

    @property
    def frame(self) -> DataFrame:
        """The table with the answers so far; readable from any thread."""
        import pandas as pd

        count = self._bulk.count
        cells = [self._bulk.cells(lane)[:count] for lane in range(len(self._columns))]
        answers = answers_frame(cells, self._columns, self._schema)
        base = self._rows.base(count) if isinstance(self._rows, Feed) else self._rows.base()
        answers.index = base.index
        levels = base.columns.nlevels
        if levels > 1:
            answers.columns = pd.MultiIndex.from_tuples([(name, *[""] * (levels - 1)) for name in answers.columns])
        frame = pd.concat([base, answers], axis="columns")
        frame.columns.names = base.columns.names
        frame.attrs = copy.deepcopy(base.attrs)
        return frame

    def bar(self, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
        """Return the bar to wait with."""

        def look() -> Tally:
            counts, priced = self.tally, self._bulk.priced
            now = " · ".join(filter(None, (counts.now, priced and f"of {priced.price}")))
            return Tally(counts.done, counts.total or counts.done, counts.failed, counts.spent, now)

        size = self._rows.size
        calls = 1_000_000 if size is None else size * len(self._columns)
        return Bar("map", look, calls=calls, progress=progress, runtime=self.runtime)

    def interrupted(self) -> VictorInterrupted:
        """Stop everything, keep the frame so far as `session().last`, and return the error to raise."""
        self.cancel()
        self.wait(GRACE)
        frame, counts = self._kept(), self.tally
        total = "" if counts.total is None else f" of {counts.total:,}"
        text = f"stopped; {counts.answered:,}{total} rows have an answer ({counts.spent}): session().last."
        return VictorInterrupted(text, frame)


def _check(own: Mapping[str, Any], profile: object, out: object) -> None:
    """Refuse options of a map whose values are not of their kind.

    Raises:
        ConfigError: There is one.
    """
    if not isinstance(out, str) or not out.strip():
        raise ConfigError("out= is the name of the new columns, such as out='label'.")
    _check_profiles(own.get("profiles"), profile)
    for name, kind in _KINDS.items():
        fault = None if name not in own else kind.fault(own[name])
        if fault is not None:
            raise ConfigError(f"{name}= {fault}.")
    for name, words in _WORDS.items():
        if name in own and own[name] not in words:
            raise ConfigError(f"{name}={own[name]!r} is unknown. {suggest(own[name], words)}")


def _check_places(template: str, columns: Iterable[str], known: Collection[str]) -> None:
    """Refuse a place that is the name of a column, and no name in Python: it would be sent as it stands.

    Raises:
        PromptError: There is one.
    """
    for name in columns:
        if name.isidentifier() or name.partition(".")[0] in {*known} - {name}:
            continue
        if re.search(rf"{{{{\s*{re.escape(name)}\s*(\||}}}})", template):
            raise PromptError(f"{{{{ {name} }}}} is no name in Python. Write {{{{ row[{name!r}] }}}}.")


def _check_profiles(profiles: Sequence[object] | None, profile: object) -> None:
    """Refuse profiles that are no list of different ones.

    Raises:
        ConfigError: They are none.
    """
    if profiles is None:
        return
    if isinstance(profiles, str) or not profiles:
        raise ConfigError("profiles= is a list of names, such as ['fast', 'local'].")
    if profile is not None:
        raise ConfigError("Give profile= or profiles=, not both.")
    twice = next((each for place, each in enumerate(profiles) if each in profiles[:place]), None)
    if twice is not None:
        raise ConfigError(f"{twice!r} is named twice. For several samples of it, use n=2.")
