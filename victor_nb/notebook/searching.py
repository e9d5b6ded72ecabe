"""`%victor search`: the race of plans while it runs, and what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.errors import MagicError, suggest
from victor_nb.notebook.display import Place
from victor_nb.notebook.grammar import look_up, split
from victor_nb.notebook.markdown import Bundle, frame, notice
from victor_nb.workflows.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.kernel import Session
    from victor_nb.workflows.found import Found

_EVERY: Final = 0.5  # seconds between two looks at the race


def _names(text: str) -> list[str]:
    return text.split(",")


_KEYS: Final[Mapping[str, Callable[[str], object] | None]] = {
    "tasks": None,
    "candidates": _names,
    "score": None,
    "judge": str,
    "audit": float,
    "labels": None,
    "accept": str,
    "keep": float,
    "bar": float,
    "reference": str,
    "confidence": float,
    "budget": str,
    "serves": int,
    "seed": int,
    "template": str,
    "concurrency": int,
    "max_tokens": int,
    "temperature": float,
    "system": str,
    "out": str,
}
"""The keys of the line, and how the text of each is read; None: it takes a `$name`."""
KEYS: Final = tuple(_KEYS)


def run_search(rest: str, session: Session, names: Mapping[str, object], shell: InteractiveShell) -> Found:
    """Search as the line says, show the race meanwhile, and return what was found.

    Raises:
        MagicError: The line cannot be used; nothing was asked.
        VictorInterrupted: Stop was pressed; `partial` is what is known.
    """
    given = _read(rest, names)
    if "tasks" not in given:
        raise MagicError("%victor search needs tasks and a check: %victor search tasks=$tasks score=$check keep=0.95")
    out = given.pop("out", None)
    candidates = given.pop("candidates", None)
    tasks = given.pop("tasks")
    made = Search(session.pool, tasks, cast("Any", candidates), cast("Any", given))
    place = Place(shell)
    try:
        place(notice(f"search: {made.forecast()}."))
        made.start()
        while not made.wait(_EVERY):
            if session.settings.watched:
                place(racing(made))
        found = made.result()
    except KeyboardInterrupt:
        raise made.interrupted() from None
    place({"text/html": found._repr_html_(), "text/plain": str(found)})  # pyright: ignore[reportPrivateUsage] - as a notebook asks for it
    if out is not None:
        cast("MutableMapping[str, object]", names)[str(out)] = found
    return found


def racing(made: Search) -> Bundle:
    """Return the race as it stands."""
    above = f"{made.seen:,} of {len(made.problems):,} tasks · {made.spent}"
    race = made.race
    if race is None:
        return notice(f"search: pilot · {above}")
    needed = 1 / race.level
    racers = [race.racers[name] for name in race.chosen]
    rows = [
        (
            racer.name,
            racer.state,
            f"{racer.quality:.1%}",
            f"USD {racer.cost * 10_000:,.2f}",
            f"{racer.for_it.evidence:,.1f}",
        )
        for racer in sorted(racers, key=lambda racer: racer.cost)
    ]
    columns = ["plan", "state", "quality", "for 10,000 tasks", f"evidence ({needed:,.0f} certify)"]
    return frame(columns, rows, above=above, numbers=tuple(columns[2:]))


def _read(rest: str, names: Mapping[str, object]) -> dict[str, object]:
    """Read `key=value`.

    Raises:
        MagicError: A key is unknown, given twice, or its value is not of its kind.
    """
    found: dict[str, object] = {}
    for word in split(rest):
        key, equals, text = word.lstrip("-").partition("=")
        if not equals or key not in _KEYS:
            raise MagicError(f"%victor search takes no {word[:40]!r}. {suggest(key, KEYS, shape='{}=')}")
        if key in found:
            raise MagicError(f"%victor search is given {key}= twice. Give it once.")
        if text.startswith("$"):
            found[key] = look_up(key, text, names)
            continue
        read = _KEYS[key]
        if read is None:
            raise MagicError(f"%victor search takes {key}=$name, the Python object of that name, not {text[:40]!r}.")
        try:
            found[key] = read(text)
        except ValueError:
            raise MagicError(f"%victor search {key}={text[:40]} is no number, such as {key}=0.9.") from None
    return found
