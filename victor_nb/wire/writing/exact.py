"""Answers that the prompt itself decides: a sum, what was said before, a word to repeat, who is speaking."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.wire.writing.brief import Brief

_ECHO: Final = re.compile(
    r"^\W*(?:please\s+)?(?:just\s+|only\s+)?(?:say|reply|respond|answer|repeat|echo|output|return|print|write)(?:"
    r"\s+(?:back|after me|with|exactly|only|just|verbatim|the|single|one|word|words|text|phrase|following))*\s*[:,]?\s*"
    r"(?:(?P<q>[\"'“`])(?P<quoted>[^\"'”`\n]{1,120})[\"'”`]|(?P<bare>[\w'-]+(?:\s[\w'-]+){0,3}))"
    r"(?:,?\s*(?:and\s+)?(?:nothing else|only|exactly|in one word))*\s*[.!]?\s*$",
    re.IGNORECASE,
)
# A bare phrase after these verbs alone is to be repeated; after the others it may be a task (`write a poem`).
_PLAINLY: Final = re.compile(
    r"^\W*(?:please\s+)?(?:just\s+|only\s+)?(?:say|repeat|echo|(?:reply|respond|answer)\s+with)\b", re.IGNORECASE
)
_TASK: Final = re.compile(r"\b(?:a|an|some|something|your|json|yes or no|in)\b", re.IGNORECASE)
_SUM: Final = re.compile(r"(?P<sum>-?[\d(][\d\s.,+\-*/×÷x^()]*\d\)*|\d)\s*=?\s*\??\s*$")
_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_OWN: Final = re.compile(r"\bmy\s+(?P<what>[\w' -]{1,40}?)\s+(?:is|are)\s+(?P<value>[^.,;!?\n]{1,60})", re.IGNORECASE)
_ASKS_OWN: Final = re.compile(
    r"\b(?:what(?:'s|\s+is|\s+are|\s+was)?|tell me|remember)\s+my\s+(?P<what>[\w' -]{1,40})", re.IGNORECASE
)
_ASKS_LAST: Final = re.compile(r"\bwhat did i (?:just |last )?(?:ask|say|tell|write)", re.IGNORECASE)
_WHO: Final = re.compile(
    r"\b(?:who|what) are you\b|\b(?:which|what) (?:\w+ )?(?:model|llm|ai)\b.{0,20}\b(?:are you|is this|answers?)\b|"
    r"\bare you (?:a |an )?(?:real|human|chatgpt|claude|gemini|gpt|llama|model|robot|ai)\b",
    re.IGNORECASE,
)
_HELLO: Final = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening))\b[\w\s,]{0,20}[.!?]*\s*$", re.IGNORECASE
)
_CAPITALS: Final = {
    "france": "Paris", "germany": "Berlin", "italy": "Rome", "spain": "Madrid", "portugal": "Lisbon", "japan": "Tokyo",
    "austria": "Vienna", "canada": "Ottawa", "australia": "Canberra", "brazil": "Brasília", "india": "New Delhi",
    "kenya": "Nairobi", "norway": "Oslo", "egypt": "Cairo", "switzerland": "Bern", "poland": "Warsaw",
}  # fmt: skip
_CAPITAL: Final = re.compile(r"\bcapital (?:city )?of (?:the )?(?P<country>\w+)", re.IGNORECASE)
_HUGE: Final = 10**15


def write_exact(brief: Brief) -> str | None:
    """Return the answer where the prompt leaves no choice, else None."""
    for writer in (_identity, _recalled, _echo, _greeting, _sum, _capital):
        found = writer(brief)
        if found:
            return found
    return None


def _identity(brief: Brief) -> str | None:
    if not _WHO.search(brief.task):
        return None
    return "This is a simulated answer: no model was asked, so there is no name to give."


def _greeting(brief: Brief) -> str | None:
    return "Hello! What would you like to work on?" if _HELLO.match(brief.prompt) else None


def _recalled(brief: Brief) -> str | None:
    """Return what an earlier message said: `My name is Ada` answers `What is my name?`."""
    if _ASKS_LAST.search(brief.task) and brief.asked_before:
        return f"You said: “{brief.asked_before[-1].strip()}”"
    asked = _ASKS_OWN.search(brief.task)
    if not asked:
        return None
    wanted = " ".join(asked["what"].lower().split())
    said = [found for text in brief.earlier for found in _OWN.finditer(text)]
    fitting = [found for found in said if wanted.startswith(" ".join(found["what"].lower().split()))]
    return f"Your {fitting[-1]['what'].lower()} is {fitting[-1]['value'].strip()}." if fitting else None


def _echo(brief: Brief) -> str | None:
    found = _ECHO.match(brief.prompt)
    if not found or _TASK.search(found["bare"] or ""):
        return None
    if found["quoted"]:
        return found["quoted"].strip() or None
    return found["bare"].strip() if _PLAINLY.match(brief.prompt) else None


def _sum(brief: Brief) -> str | None:
    """Return the result of a small sum: `What is 12 * 7?`."""
    found = _SUM.search(brief.prompt) if len(brief.prompt) < 80 else None  # noqa: PLR2004 - a sum and little else
    if not found or not re.search(r"\d\s*[-+*/×÷x]\s*[-(]*\d", found["sum"]):
        return None
    text = found["sum"].translate(str.maketrans({"×": "*", "÷": "/", "x": "*", ",": ""})).strip()
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        return None
    return f"{found['sum'].strip()} = {int(value) if float(value).is_integer() else round(value, 6)}"


def _value(node: ast.expr) -> float:
    """Return the value of an expression of figures and the four operations.

    Raises:
        ValueError: It holds something else, or grows too large.
    """
    match node:
        case ast.Constant(value=int() | float() as value) if abs(value) < _HUGE:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError(ast.dump(node)[:40])


def _capital(brief: Brief) -> str | None:
    found = _CAPITAL.search(brief.task)
    city = _CAPITALS.get(found["country"].lower()) if found else None
    if not found or not city:
        return None
    if brief.size == "small" or re.search(r"\bone word\b|\bonly\b", brief.task, re.IGNORECASE):
        return city if re.search(r"\bone word\b|\bonly\b", brief.task, re.IGNORECASE) else f"{city}."
    return f"The capital of {found['country'].capitalize()} is {city}."
