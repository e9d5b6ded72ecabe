"""What `%victor COMMAND` does. Only `ask` and `search` send prompts, so a typo costs nothing."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final, cast

from victor_nb.accounting.rows import zone
from victor_nb.config.environment import forced_mode
from victor_nb.errors import MagicError, suggest
from victor_nb.money import Total, column, usd
from victor_nb.notebook.costs import cache, cost, plot, report
from victor_nb.notebook.display import reply_frame
from victor_nb.notebook.doctor import examine, keys_missing, one_profile, profile_table
from victor_nb.notebook.grammar import Defaults, exclusive, read, split
from victor_nb.notebook.markdown import Bundle, clean, frame, notice
from victor_nb.notebook.options import KEYS, LINE_HELP, SETTABLE
from victor_nb.notebook.start import local_model, new_profiles, trusted_hosts
from victor_nb.values import PAID, TAPED, UNPAID, Reply
from victor_nb.workflows.strategies import BUILT_IN, find_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from victor_nb.kernel import Session

WIDGETS: Final = ("pick", "panel")
"""The commands that show a widget."""
_SPENT: Final = {
    PAID: "spent here",
    "simulated": "simulated, at list prices, not paid",
    "replayed": "replayed, at list prices, not paid",
}
_LONGEST: Final = 40  # characters of what was typed that an error repeats
_MOST_OF_LINE: Final = 160  # characters of a line that was typed with a sign too many
_BUILT_IN: Final = "built in; %victor profiles new writes a file of your own, for the keys that are set"
_AS_IT_CAME: Final = ", not edited: a profile without its key is of a provider whose key is set"
_MOST_ROWS: Final = 1_000  # of `%victor ledger`


def run(word: str, rest: str, defaults: Defaults, session: Session, names: Mapping[str, object]) -> Bundle:
    """Carry a command out, and return what it shows.

    Raises:
        MagicError: There is no such command, or it cannot use what follows it.
    """
    if word in SIMPLE:
        if rest:
            raise MagicError(f"%victor {word} takes nothing more. Write %victor {word} alone.")
        return SIMPLE[word](defaults, session)
    if word in COMPLEX:
        return COMPLEX[word](split(rest), session)
    if word == "set":
        return _set(rest, defaults, session, names)
    raise _unknown(word, rest, session)


def known() -> tuple[str, ...]:
    """Return every command, sorted."""
    return tuple(sorted({*SIMPLE, *COMPLEX, *WIDGETS, "ask", "search", "set"}))


def refuse(line: str, session: Session) -> None:
    """Refuse the first line of a `%%victor` cell that is a command's, which have one `%`.

    Raises:
        MagicError: It is one; the error has the line to write.
    """
    word, _, rest = line.strip().partition(" ")
    if word not in known() or session.settings.find(word) is not None:
        return
    rest = rest.strip()
    if word == "ask":
        cell = " ".join(("%%victor", *rest.partition("--")[0].split()))
        raise MagicError(f"%%victor asks already. Write {cell[:_LONGEST]}, and the prompt below it.")
    if word in KEYS and rest and "=" not in rest.partition(" ")[0]:
        return  # its sign is missing: `budget 0.50`
    command = " ".join(filter(None, ("%victor", word, rest)))
    raise MagicError(f"{word} is a command, and commands have one %: {command[:_MOST_OF_LINE]}")


def _unknown(word: str, rest: str, session: Session) -> MagicError:
    if session.settings.find(word.rstrip(":,")) is not None:
        word = word.rstrip(":,")
        line = f"%victor ask {word} -- {rest if 0 < len(rest) <= _LONGEST else 'PROMPT'}"
        return MagicError(f"To ask {word}, write %%victor {word} on a cell's first line, or {line}")
    if "=" in word:
        return MagicError(f"%victor takes a command first. To ask, write %%victor {word} on a cell's first line.")
    prose = f"To ask, write it below %%victor, or %victor ask -- {f'{word} {rest}'[:_LONGEST]}" if rest else ""
    hint = suggest(word, known(), shape="%victor {}", otherwise=prose)
    return MagicError(f"%victor has no command {word[:40]!r}. {hint}")


# --- tables ---


def _ledger(words: list[str], session: Session) -> Bundle:
    """Show the last attempts of this kernel, newest last."""
    number = int(words[0]) if words and words[0].isdecimal() else 0 if words else 10
    if len(words) > 1 or not 1 <= number <= _MOST_ROWS:
        raise MagicError(f"%victor ledger takes a number of rows from 1 to {_MOST_ROWS}, such as %victor ledger 20.")
    rows = session.ledger.rows()
    shown = rows[-number:]
    cells = [
        (
            f"{row.ts.astimezone():%H:%M:%S}",
            row.profile,
            row.model,
            row.mode,
            row.status,
            _count(row.input_tokens),
            _count(row.output_tokens),
            price,
            "" if row.latency is None else f"{row.latency:.2f} s",
            row.error_type or "",
        )
        for row, price in zip(shown, column([Total.of([row]) for row in shown], adds_up=False), strict=True)
    ]
    columns = ["time", "profile", "model", "mode", "status", "in", "out", "list price", "latency", "error"]
    clock = f", by the clock of {zone(rows[-1].ts)}" if rows else ""
    below = f"{len(cells)} of {len(rows)} attempts{clock}. session().ledger.to_frame() has all columns."
    numbers = ("in", "out", "list price", "latency")
    return frame(columns, cells, below=below if rows else "Nothing has been asked yet.", numbers=numbers)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


# --- commands that take nothing ---


def _status(defaults: Defaults, session: Session) -> Bundle:
    settings = session.settings
    missing = keys_missing(session) if session.mode not in UNPAID else []
    rows: list[tuple[str, object]] = [
        ("mode", session.mode + (" (set by VICTOR_MODE)" if forced_mode() else "")),
        ("profiles", f"{', '.join(settings.profiles)} (default: {settings.default})"),
        ("settings", _BUILT_IN if settings.built_in else f"{settings.source}{_AS_IT_CAME * settings.suits}"),
        ("keys", f"not set: {', '.join(missing)}" if missing else "all that this mode needs are set"),
        *((_SPENT[book], f"{total.ended}, {total.counts}") for book, total in session.ledger.books().items()),
    ]
    if session.chats:
        rows.append(("chats", ", ".join(session.chats)))
    if defaults.given:
        rows.append(("set", defaults))
    return frame(["victor_nb", ""], rows, below="%victor help lists what it can do; %%victor? says how to ask.")


def _last(_: Defaults, session: Session) -> Bundle:
    if isinstance(session.last, Reply):
        return reply_frame(session.last)
    return notice("Nothing has been asked yet." if session.last is None else str(session.last))


def _cancel(_: Defaults, session: Session) -> Bundle:
    """Stop all work that is under way in this kernel."""
    busy = session.runtime.loop.busy
    running = session.cancel()
    if busy and not running:
        return notice("Stopped what was running; no call of it was under way.")
    return notice(f"Stopped {running} call{'s'[: running > 1]}." if running else "Nothing was running.")


def _tape(words: list[str], session: Session) -> Bundle:
    from victor_nb.notebook.tapes import tape  # noqa: PLC0415 - few kernels have a tape

    return tape(words, session)


SIMPLE: Final[Mapping[str, Callable[[Defaults, Session], Bundle]]] = {
    "status": _status,
    "last": _last,
    "cancel": _cancel,
    "help": lambda _, __: {"text/plain": LINE_HELP},
}


# --- commands with words after them ---


def _profiles(words: list[str], session: Session) -> Bundle:
    match words:
        case []:
            return profile_table(session)
        case ["new"]:
            return new_profiles(session)
        case [name]:
            return one_profile(session, name)
        case _:
            raise MagicError("%victor profiles takes one name at the most, such as %victor profiles fast, or new.")


def _mode(words: list[str], session: Session) -> Bundle:
    match words:
        case []:
            pass
        case [mode]:
            session.set_mode(mode)
            where = f" The tape is {session.settings.tape(session.mode)}." if session.mode in TAPED else ""
            return notice(f"mode: {session.mode}.{where}")
        case ["simulate", _] if forced_mode() in TAPED:
            pass  # what is recorded or replayed are no answers of one's own
        case ["simulate", answers]:
            session.simulate_with(answers)
            session.set_mode("simulate")
            return notice(f"mode: simulate. Answers come from {answers}; for other prompts they are placeholders.")
        case _:
            raise MagicError("%victor mode takes a mode, such as simulate, and for that perhaps a file of answers.")
    forced = ", set by VICTOR_MODE" if forced_mode() else ""
    return notice(f"mode: {session.mode}{forced}.")


def _budget(words: list[str], session: Session) -> Bundle:
    """Show the limits, or set that of this notebook."""
    match words:
        case []:
            pass
        case ["off"]:
            session.set_budget(None)
        case [amount]:
            session.set_budget(amount)
        case _:
            raise MagicError("%victor budget takes an amount in USD, such as %victor budget 0.50, or off.")
    rows = [(limit.name, *map(usd, (limit.amount, limit.spent, limit.left))) for limit in session.budget.states()]
    above = "" if rows else "No budget. %victor budget 0.50 limits what this notebook may spend."
    return frame(["budget of", "USD", "spent", "left"], rows, above=above, numbers=("USD", "spent", "left"))


def _strategy(words: list[str], session: Session) -> Bundle:
    """List the strategies, or the stages of one."""
    names = words or list(dict.fromkeys((*session.settings.strategies, *BUILT_IN)))
    found = [find_strategy(name, session.settings) for name in names]
    rows = [
        (strategy.name, stage.name, stage.profile, stage.n, stage.keep)
        for strategy in found
        for stage in strategy.stages
    ]
    below = "%%victor strategy=NAME runs one."
    return frame(["strategy", "stage", "profile", "n", "keep"], rows, below=below, numbers=("n", "keep"))


def _errors(words: list[str], session: Session) -> Bundle:
    """Show an error in full, as a colleague would want it pasted: with its traceback, and without a key."""
    if len(words) > 1 or (words and not words[0].isdecimal()):
        raise MagicError("%victor errors takes a number: 1 for the last error, 2 for the one before.")
    number = int(words[0]) if words else 1
    if not 1 <= number <= len(session.errors):
        return notice(f"There are {len(session.errors)} errors so far.")
    text = "".join(traceback.format_exception(session.errors[-number]))
    return {"text/plain": clean(session.redacted(text))}


def _chats(words: list[str], session: Session) -> Bundle:
    match words:
        case []:
            pass
        case ["clear"]:
            session.chats.clear()
        case ["clear", name] if name in session.chats:
            del session.chats[name]
        case ["clear", name]:
            hint = suggest(name, session.chats, otherwise="%victor chats lists them.")
            raise MagicError(f"There is no chat {name[:40]!r}. {hint}")
        case _:
            raise MagicError("%victor chats lists them; %victor chats clear NAME forgets one, without a name all.")
    rows = [(name, len(chat.history) // 2) for name, chat in session.chats.items()]
    return frame(["chat", "turns"], rows, above="" if rows else "No chats. %%victor chat=demo starts one.")


COMPLEX: Final[Mapping[str, Callable[[list[str], Session], Bundle]]] = {
    "profiles": _profiles,
    "doctor": lambda words, session: examine(session, words),
    "mode": _mode,
    "cost": cost,
    "ledger": _ledger,
    "errors": _errors,
    "chats": _chats,
    "budget": _budget,
    "plot": plot,
    "report": report,
    "cache": cache,
    "tape": _tape,
    "strategy": _strategy,
    "local": local_model,
    "trust": trusted_hosts,
}


# --- set ---


def _set(rest: str, defaults: Defaults, session: Session, names: Mapping[str, object]) -> Bundle:
    """Take defaults for this notebook; nothing is taken if anything is wrong."""
    if rest.strip() == "reset":
        defaults.reset()
    else:
        given = read(rest, names, known=SETTABLE)
        if "profile" in given and "profiles" in given:
            raise exclusive("profile", "profiles")
        for name in (given.get("profile"), *cast("tuple[str, ...]", given.get("profiles", ()))):
            session.settings.profile(cast("str | None", name))
        defaults.set(given)
    return notice(f"set: {defaults}" if defaults.given else "set: nothing; %victor set profile=fast sets a default")
