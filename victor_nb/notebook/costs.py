"""What `%victor cost`, `plot` and `report` show: tables and charts of the ledger, and its page; and `%victor cache`."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from victor_nb.accounting.rows import zone
from victor_nb.accounting.window import EXAMPLES, SCOPES, Window, begin
from victor_nb.errors import ConfigError, MagicError, suggest
from victor_nb.money import Total, add, at_least, column
from victor_nb.notebook.markdown import Bundle, frame, notice, stack
from victor_nb.reports import charts
from victor_nb.reports.frames import GROUPS
from victor_nb.values import PAID, UNPAID, Usage
from victor_nb.workflows.fan_out import Replies
from victor_nb.workflows.runs import StrategyRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from victor_nb.accounting.cache import AnswerCache, ModelAnswers
    from victor_nb.accounting.rows import Row
    from victor_nb.kernel import Session
    from victor_nb.reports.charts import Figure

KEYS: Final[Mapping[str, tuple[str, ...]]] = {"by": GROUPS, "scope": SCOPES, "since": EXAMPLES[:-1]}
"""The keys of these commands, and words that each takes."""
_MONTH: Final = {"scope": "all", "since": "30d"}
"""What days are charted and reported of, unless the line says otherwise."""
_STRATEGY: Final = "a strategy. Run one first: %%victor strategy=funnel."
_SOURCES: Final = {
    "replies": "a fan-out. Ask several first: %%victor profiles=fast,local.",
    "calls": _STRATEGY,
    "stages": _STRATEGY,
}
_DAILY: Final = "spend"  # the chart that has days


# --- words ---


def _read(command: str, words: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Read `key=value`, or the value alone where it is plain which key it is for."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.lstrip("-").partition("=")
        if not equals:
            key, value = _key_of(word, keys), word
        if not keys:
            raise MagicError(f"%victor {command} takes nothing more. Write %victor {command} alone.")
        if key not in keys:
            such = ", ".join(f"{name}={KEYS[name][0] if name in KEYS else 'costs.html'}" for name in keys)
            near = suggest(key, keys, shape="{}=") if equals else suggest(word, [*chain(*KEYS.values())], shape="{}")
            raise MagicError(f"%victor {command} takes {such}, and no {word[:40]!r}. {near}")
        if key in found:
            raise MagicError(f"%victor {command} is given {key}= twice. Give it once.")
        found[key] = value
    group = found.get("by", "profile")
    if group not in GROUPS:
        raise MagicError(f"%victor {command} has no by={group[:40]}. {suggest(group, GROUPS, shape='by={}')}")
    return found


def _key_of(word: str, keys: Sequence[str]) -> str:
    """Return the key that a bare word is a value for; the word itself where it is for none."""
    key = next((name for name, known in KEYS.items() if word in known), None)
    if key is None and "since" in keys:
        try:
            begin(word)
        except ConfigError:
            pass
        else:
            key = "since"
    return key or ("path" if "path" in keys else word)


def _window(session: Session, given: Mapping[str, str]) -> Window:
    return Window.of(given.get("scope", "kernel"), given.get("since"), notebook=session.settings.notebook)


def _nothing(window: Window) -> str:
    """Say that there are no rows, and where there may be some."""
    if window == Window():
        return "Nothing has been asked yet in this kernel; scope=all counts all kernels."
    return f"Nothing has been asked in {window}.{'' if window.scope == 'all' else ' scope=all counts all kernels.'}"


# --- charts ---


def plot_kinds() -> list[str]:
    """Return the charts that can be drawn without naming a frame: all but those that compare."""
    return [name for name, kind in charts.KINDS.items() if set(kind.sources) - {"comparison"}]


def plot(words: list[str], session: Session) -> Bundle:
    """Show a chart of what was asked last, or of the ledger."""
    kinds = plot_kinds()
    if not words or words[0] not in kinds:
        hint = suggest(words[0] if words else None, kinds, shape="{}")
        raise MagicError(f"%victor plot takes a kind first, such as %victor plot spend. {hint}")
    kind, *others = words
    if "ledger" not in charts.KINDS[kind].sources:
        given = _read(f"plot {kind}", others, ())
    else:
        takes = ("by", "scope", "since") if kind in {_DAILY, "tokens_vs_cost"} else ("scope", "since")
        given = _read(f"plot {kind}", others, takes)
    options: dict[str, Any] = {"by": given["by"]} if "by" in given else {}
    if kind == _DAILY:
        given, options = {**_MONTH, **given}, {**options, "budget": session.settings.budget.day}
    return picture(charts.plot(kind, _source(session, kind, given), **options))


def picture(figure: Figure) -> Bundle:
    """Return a figure as a frame: HTML with its alt text, and PNG for what takes no HTML, such as LaTeX."""
    return charts.bundle(figure)


def _source(session: Session, kind: str, given: Mapping[str, str]) -> object:
    """Return what was asked last, if the chart can be drawn from it and no window is given; else the ledger's frame."""
    sources = charts.KINDS[kind].sources
    if "replies" in sources and isinstance(session.last, Replies):
        return session.last
    if {"calls", "stages"} & set(sources) and isinstance(session.last, StrategyRun) and not given:
        return session.last
    if "ledger" not in sources:
        raise MagicError(f"%victor plot {kind} charts {_SOURCES[sources[0]]}")
    window = _window(session, given)
    found = session.ledger.to_frame(window.kernels, since=window.since, notebook=window.notebook)
    if not len(found):
        raise MagicError(f"%victor plot {kind} has nothing to draw. {_nothing(window)}")
    return found


# --- tables ---


def cost(words: list[str], session: Session) -> Bundle:
    """Show what was spent, by a column of the ledger, the highest cost first."""
    given = _read("cost", words, ("by", "scope", "since"))
    window = _window(session, given)
    books: dict[str, list[Row]] = {}
    for row in window.rows(session.ledger):
        books.setdefault(UNPAID.get(row.mode, PAID), []).append(row)
    if not books:
        return notice(_nothing(window))
    ordered = sorted(books, key=lambda book: (book != PAID, book))
    above = "" if window == Window() else f"{str(window)[0].upper()}{str(window)[1:]}."
    return stack(notice(above), *(_book(book, books[book], given.get("by", "profile"), session) for book in ordered))


def _book(book: str, rows: Sequence[Row], group: str, session: Session) -> Bundle:
    """Return what was paid, simulated or replayed, by a column of the ledger."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        name = f"{row.ts.astimezone():%Y-%m-%d}" if group == "day" else getattr(row, group) or "-"
        groups.setdefault(str(name), []).append(row)
    ordered = sorted(groups.items(), key=lambda item: Total.of(item[1]).cost, reverse=True)
    ordered = sorted(groups.items()) if group == "day" else ordered
    names, parts = zip(*ordered, ("total", rows), strict=True)
    figures = _figures(parts, session)
    lines = [(name, *cells) for name, *cells in zip(names, *figures.values(), strict=True)]
    title = "" if book == PAID else f"{book.capitalize()}, at list prices; nothing of it was paid:\n"
    title += f"Days begin at midnight, {zone(rows[-1].ts)}." if group == "day" else ""
    total = Total.of(row for row in rows if row.status != "running")
    said = f"Paid: {total}." if book == PAID else ""
    refused, running = (sum(row.status == status for row in rows) for status in ("refused", "running"))
    notes = [
        f"{refused:,} refused before {'it was' if refused == 1 else 'they were'} sent" if refused else "",
        f"{running:,} under way" if running else "",
    ]
    below = " ".join(filter(None, [said, f"{'; '.join(filter(None, notes))}." if refused or running else ""]))
    return frame([group, *figures], lines, above=title.rstrip(), below=below, numbers=list(figures))


def _figures(parts: Sequence[Sequence[Row]], session: Session) -> dict[str, list[str]]:
    """Return the columns of a table of costs, whose last line is the sum of the others."""
    sent = [[row for row in rows if row.status != "refused"] for rows in parts]
    usages = [sum((row.usage for row in rows), Usage()) for rows in parts]
    found = {
        "calls": [f"{len({row.call_id for row in rows}):,}" for rows in sent],
        "attempts": [f"{len(rows):,}" for rows in sent],
        "tokens in": [f"{usage.input_tokens:,}" for usage in usages],
        "tokens out": [f"{usage.output_tokens:,}" for usage in usages],
    }
    if usages[-1].reasoning_tokens:
        shares = (usage.reasoning_tokens / max(1, usage.output_tokens) for usage in usages)
        found["reasoning share"] = [f"{share:.0%}".replace("%", " %") for share in shares]
    if usages[-1].cache_read_tokens or usages[-1].cache_write_tokens:
        saved = [add(map(session.runtime.cache_saved, rows)) for rows in parts[:-1]]
        amounts, unknown = zip(*saved, strict=True)
        texts = column([Total(amount) for amount in (*amounts, add(amounts)[0])])
        counts = (f" ({count:,} unpriced)" if count else "" for count in (*unknown, sum(unknown)))
        found["cache saved"] = [text + count for text, count in zip(texts, counts, strict=True)]
    found["list price"] = column([Total.of(row for row in rows if row.status != "running") for rows in parts])
    return found


# --- the page ---


def report(words: list[str], session: Session) -> Bundle:
    """Write the page of what was spent."""
    given = {"path": "victor-report.html", **_MONTH, **_read("report", words, ("path", "scope", "since"))}
    path = session.report(given["path"], scope=given["scope"], since=given["since"])
    window = _window(session, given)
    return notice(f"Wrote {path}: {window}. Open it in a browser; it needs no network and prints well.")


# --- the store of answers ---

CACHE_WORDS: Final = ("status", "prune", "clear")


def cache(words: list[str], session: Session) -> Bundle:
    """Show what is in the store of answers, or delete from it: nothing is ever deleted unasked."""
    runtime, mode = session.runtime, "simulate" if session.mode == "simulate" else "live"
    answers = runtime.cache_for(mode)
    if answers is None:
        return notice("No answers are kept: VICTOR_CACHE=off. Unset it, or set it to a file or to memory.")
    match words:
        case [] | ["status"]:
            return _kept(answers)
        case ["prune", *given] if given:
            found = _pruning(given)
            before = _begin_of(found["older"]) if "older" in found else None
            return notice(f"Deleted {_answers(answers.prune(before=before, model=found.get('model')))}.")
        case ["clear"]:
            status = answers.status()
            what = f"{_answers(status.answers)}, which cost {_worth(status.models)} at list prices"
            return notice(f"This deletes {what}. %victor cache clear yes does it." if status.answers else _EMPTY)
        case ["clear", "yes"]:
            return notice(f"Deleted {_answers(answers.prune())}.")
        case _:
            text = "status, prune older=30d, prune model=NAME, clear yes"
            raise MagicError(f"%victor cache takes {text}. {suggest(words[0], CACHE_WORDS)}")


_EMPTY: Final = "No answers are kept yet: cache=on, of a cell or a profile, keeps them."


def _answers(count: int) -> str:
    return f"{count:,} answer{'s'[: count != 1]}"


def _worth(models: Sequence[ModelAnswers]) -> str:
    known = sum((each.cost for each in models), Decimal(0))
    return at_least(known, sum(each.unpriced for each in models))


def _kept(answers: AnswerCache) -> Bundle:
    status = answers.status()
    where = str(status.path or "memory: they end with this kernel")
    if status.journal == "delete":
        where += " (a network file system: one kernel at a time writes)"
    if not status.models:
        return notice(f"{_EMPTY} They go to {where}.")
    rows = [
        (each.model, each.provider, f"{each.answers:,}", at_least(each.cost, each.unpriced)) for each in status.models
    ]
    oldest = f", the oldest of {status.oldest.astimezone():%Y-%m-%d %H:%M}" if status.oldest else ""
    below = f"{_answers(status.answers)}, {_worth(status.models)}, {status.size / 1e6:,.1f} MB{oldest}. In {where}."
    return frame(["model", "provider", "answers", "list price"], rows, below=below, numbers=("answers", "list price"))


def _pruning(words: Sequence[str]) -> dict[str, str]:
    """Read `older=30d` and `model=NAME`."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.lstrip("-").partition("=")
        if key not in {"older", "model"} or not equals or not value or key in found:
            raise MagicError(f"%victor cache prune takes older=30d and model=NAME, each once, not {word[:40]!r}.")
        found[key] = value
    return found


def _begin_of(older: str) -> datetime | None:
    try:
        return begin(older)
    except ConfigError as error:
        raise MagicError(str(error).replace("since=", "older=")) from None
