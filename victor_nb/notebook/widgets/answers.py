"""Answers side by side as one page: one message brings all of them up to date, while they grow and in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from victor_nb.notebook.bill import bill
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.display import tail
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.page import Still, words
from victor_nb.notebook.widgets.rendering import rendered
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from victor_nb.session import Session

_TAIL: Final = 2_000  # characters of each answer that are sent while it grows
_MOST: Final = 20_000  # characters of each answer that are shown in the end; the reply has all


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or what there is of it.

    Attributes:
        name: Whose it is.
        text: Its Markdown.
        line: What stands under it: its bill, or that it is still arriving.
        error: What went wrong, on one line.
    """

    name: str
    text: str = ""
    line: str = ""
    error: str = ""


def growing(name: str, text: str, *, ended: bool) -> Answer:
    """Return an answer that still arrives: the end of it."""
    return Answer(name, tail(text, _TAIL), "" if ended else "arriving …")


def complete(home: Session, name: str, outcome: object) -> Answer:
    """Return an answer as it is kept, or the error in its place."""
    if not isinstance(outcome, Reply):
        return Answer(name, error=redacted(home, f"{type(outcome).__name__}: {outcome}"))
    text, more = outcome.content[:_MOST], len(outcome.content) - _MOST
    note = f"\n\n… {more:,} characters more are in the reply" if more > 0 else ""
    return Answer(name, text + note, bill(outcome))


def page(answers: Iterable[Answer]) -> str:
    """Return answers side by side, as far as there is room."""
    return f'<div class="victor-answers">{"".join(map(_column, answers))}</div>'


def still(answers: Iterable[Answer]) -> Still:
    """Return answers for a twin."""
    found = list(answers)
    plain = [
        "\n".join(clean(part) for part in (f"[{each.name}]", each.error, each.text, each.line) if part)
        for each in found
    ]
    return Still(page(found), "\n\n".join(plain)) if found else Still("", "")


def _column(answer: Answer) -> str:
    parts = [
        f'<div class="victor-title">{words(answer.name)}</div>',
        f'<div role="alert">{words(answer.error, "victor-bad")}</div>' if answer.error else "",
        rendered(answer.text, f"Answer of {answer.name}") if answer.text else "",
        f"<p>{words(answer.line, 'victor-quiet')}</p>" if answer.line else "",
    ]
    return f'<div class="victor-answer">{"".join(parts)}</div>'
