"""Checks of answers: they end a cascade, and score the answers of a comparison without a judge."""

from __future__ import annotations

import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from victor_nb.calls.schema import Schema, schema_of
from victor_nb.calls.structured import find_json, spoken
from victor_nb.config.request_options import schema_fault
from victor_nb.config.strategies import pattern_fault
from victor_nb.errors import STOPS, ConfigError, VictorWarning, failed_at
from victor_nb.runtime import current
from victor_nb.workflows.lists import key, refuses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.config.strategies import Acceptance, Check
    from victor_nb.values import Reply

FAULTS: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""What a function of the user's makes of an answer that it did not expect."""
Judged = TypeVar("Judged")
_LONGEST: Final = 60.0  # seconds that a function of the user's may look at an answer


@dataclass(frozen=True)
class Exact:
    """Passes an answer equal to the expected one; case, spaces, markup and a final full stop are ignored.

    Attributes:
        expected: The answer, or the answers by task.
    """

    expected: str | Mapping[str, str]

    def passes(self, answer: str, *, task: str = "") -> bool:
        """Return whether an answer equals the expected one.

        Raises:
            ConfigError: No answer is known for the task.
        """
        expected = self.expected if isinstance(self.expected, str) else self.expected.get(task)
        if expected is None:
            raise ConfigError(f"Exact: no answer is given for the task {task!r}. Add it to the mapping.")
        return key(spoken(answer)) == key(expected)


@dataclass(frozen=True)
class Regex:
    """Passes what contains a regular expression, `^` and `$` being the ends of lines."""

    pattern: str | re.Pattern[str]

    def __post_init__(self) -> None:
        """Raise if it is no regular expression.

        Raises:
            ConfigError: Where it goes wrong.
        """
        fault = pattern_fault(self.pattern) if isinstance(self.pattern, str) else None
        if fault is not None:
            raise ConfigError(f"Regex {fault}.")

    def passes(self, answer: str, *, task: str = "") -> bool:  # noqa: ARG002 - the same for all tasks
        """Return whether an answer contains the pattern."""
        compiled = self.pattern if isinstance(self.pattern, re.Pattern) else re.compile(self.pattern, re.MULTILINE)
        return compiled.search(spoken(answer)) is not None


@dataclass(frozen=True)
class JsonSchema:
    """Passes an answer whose JSON, alone, in a fence or between words, matches a schema (draft 2020-12, or its own).

    Attributes:
        schema: The schema.
        repair: Whether wrong quotes, commas and brackets are mended first. JSON that breaks off never passes.
    """

    schema: Mapping[str, Any]
    repair: bool = True

    def __post_init__(self) -> None:
        """Raise if it is no schema.

        Raises:
            ConfigError: Where it goes wrong.
        """
        fault = schema_fault(self.schema)
        if fault is not None:
            raise ConfigError(f"JsonSchema {fault}.")

    @cached_property
    def _known(self) -> Schema:
        return schema_of(self.schema)

    def passes(self, answer: str, *, task: str = "") -> bool:  # noqa: ARG002 - the same for all tasks
        """Return whether a JSON value in an answer matches."""
        return any(self._known.fits(value) for value in self._values(spoken(answer)))

    def _values(self, text: str) -> list[object]:
        import json  # noqa: PLC0415 - few need it

        try:
            return [json.loads(text)]
        except (ValueError, RecursionError):
            return find_json(text, "closed" if self.repair else "none")


@dataclass(frozen=True)
class Agreement:
    """Passes the answer that enough of a stage's samples gave.

    Attributes:
        at_least: How many samples must agree.
        of: A regular expression, whose first group is what they must agree on, or a function of the text that returns
            it; None: on the whole answer, case, spaces and markup aside.
        across: Whether the answers of the stages before count too, so that two profiles may agree.
    """

    at_least: int
    of: str | Callable[[str], object] | None = None
    across: bool = False

    def winner(self, answers: Sequence[str]) -> int | None:
        """Return which of the answers most samples gave (the first of them), None where too few did."""
        found = [self._part(answer) for answer in answers]
        counts = Counter(part for part in found if part is not None)
        best = max(counts.values(), default=0)
        if best < self.at_least:
            return None
        return next(place for place, part in enumerate(found) if part is not None and counts[part] == best)

    def _part(self, answer: str) -> str | None:
        if callable(self.of):
            part = _ask_user(self.of, answer)
            return None if part is None else key(str(part))
        if self.of is None:
            return key(spoken(answer))
        found = re.search(self.of, spoken(answer))
        return key(found[found.re.groups and 1]) if found else None


def accepted(rule: Acceptance, replies: Sequence[Reply], best: int, *, task: str = "") -> int | None:
    """Return which of a stage's replies a rule accepts; None where none. Not on the background loop.

    Args:
        rule: See `Stage.accept`. A function of the user's that fails, or takes over a minute, accepts nothing, with a
            `VictorWarning` that says so. It may ask a model itself.
        replies: The samples. Refusals agree on nothing.
        best: The one that the stage selected, which all rules but `Agreement` look at.
        task: What the answers are about, for checks that look at it.
    """
    settled = (
        Agreement(rule)
        if isinstance(rule, int)
        else rule
        if isinstance(rule, Agreement)
        else agreement_of(rule) or rule
    )
    if isinstance(settled, Agreement):
        spoke = [place for place, reply in enumerate(replies) if not refuses(reply.content)]
        winner = settled.winner([replies[place].content for place in spoke])
        return None if winner is None else spoke[winner]
    check, reply = as_check(settled), replies[best]
    if isinstance(check, JsonSchema) and reply.finish_reason == "length":
        check = replace(check, repair=False)
    if isinstance(check, (Exact, Regex, JsonSchema)):
        says_yes: object = check.passes(reply.content, task=task)
    elif check is not None:
        says_yes = _ask_user(lambda text: check.passes(text, task=task), reply.content)
    else:
        says_yes = _ask_user(cast("Callable[[Reply], object]", settled), reply)
    return best if says_yes else None


def agreement_of(rule: object) -> Agreement | None:
    """Return the agreement that a rule of a YAML file says, such as `{agree: 2, across: true}`; None if it is none."""
    if isinstance(rule, Agreement):
        return rule
    if not isinstance(rule, Mapping):
        return None
    words = cast("Mapping[str, Any]", rule)
    if "agree" not in words or not words.keys() <= {"agree", "of", "across"}:
        return None
    return Agreement(int(words["agree"]), words.get("of"), across=bool(words.get("across")))


def _ask_user(function: Callable[[Judged], object], answer: Judged) -> object:
    """Return what a function of the user's says of an answer; None, with a warning, where it fails or is too slow."""
    given: Future[object] = Future()

    def run() -> None:
        try:
            given.set_result(function(answer))
        except BaseException as error:  # noqa: BLE001 - sys.exit() in it is one rejected answer, and ends no session
            given.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="victor-accept", daemon=True).start()
    try:
        return given.result(_LONGEST)
    except BaseException as error:
        if isinstance(error, STOPS):
            raise
        late = isinstance(error, TimeoutError) and not given.done()
        what = f"took over {_LONGEST:g} s" if late else f"failed ({current().redacted(failed_at(error))})"
        warnings.warn(f"accept= {what}: the answer is not accepted.", VictorWarning, stacklevel=2)
        return None


def as_check(rule: object) -> Check | None:
    """Return the check that a rule stands for: a JSON schema, a regular expression; None for a function."""
    if isinstance(rule, (str, re.Pattern)):
        return Regex(cast("str | re.Pattern[str]", rule))
    if isinstance(rule, Mapping):
        return JsonSchema(cast("Mapping[str, Any]", rule))
    return cast("Check", rule) if hasattr(rule, "passes") else None
