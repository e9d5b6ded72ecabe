"""Checks of answers: they end a cascade, and grade the answers of a comparison or a search without a judge."""

from __future__ import annotations

import inspect
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from victor_nb.calls.schema import Schema, schema_of
from victor_nb.calls.structured import find_json, spoken
from victor_nb.config.request_options import schema_fault
from victor_nb.config.strategies import pattern_fault
from victor_nb.errors import STOPS, ConfigError, VictorWarning, did_you_mean, failed_at
from victor_nb.runtime import current
from victor_nb.workflows.lists import key, refuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


# --- grades ---

_WORD: Final = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Problem:
    """A task of a search.

    Attributes:
        prompt: What is asked.
        subject: What a grading function gets first: the prompt, or the row of the table as a mapping.
        expected: What the answer is to be; None where a function knows.
        also: Further tasks with this prompt, which share its answer: they are graded too, and count as one.
    """

    prompt: str
    subject: object
    expected: object = None
    also: tuple[Problem, ...] = ()


class Grader:
    """Grades answers from 0 to 1, and never lets a check that fails end a search.

    Args:
        score: A check, or a function of the task and the answer, and of what is expected where it takes three; None:
            what is expected of each task says.
        profiles: Names of profiles, which are no regular expressions.

    Attributes:
        faults: How often it failed, which counts as 0.
        first: How it first did.
        alike: Whether it never worked, and always failed as it first did.
    """

    def __init__(self, score: object, profiles: Iterable[str] = ()) -> None:
        close = did_you_mean(score, profiles) if isinstance(score, str) and _WORD.fullmatch(score) else None
        if close is not None:
            raise ConfigError(
                f"score={score!r} would be a regular expression. Did you mean judge={close!r}? "
                f"If not, write score=Regex({score!r})."
            )
        self._rule = None if score is None else as_check(score)
        self._function = score if callable(score) and self._rule is None else None
        if score is not None and self._rule is None and self._function is None:
            raise ConfigError(f"score={score!r} grades nothing. Give Exact, Regex, JsonSchema, or a function.")
        self._takes = _arguments(self._function) if self._function is not None else 0
        self.faults, self.first, self.alike = 0, "", True

    def expects(self, problems: Sequence[Problem]) -> None:
        """Refuse tasks that do not say what is expected, where nothing else grades.

        Raises:
            ConfigError: There is one.
        """
        given = chain.from_iterable((each, *each.also) for each in problems)
        if self._rule is None and self._function is None and any(each.expected is None for each in given):
            raise ConfigError("What makes an answer right? Give score=, judge=, or pairs (task, expected).")

    def grade(self, problem: Problem, text: str) -> float:
        """Return the score of an answer: the mean, where several tasks have this prompt.

        Raises:
            ConfigError: It is not from 0 to 1.
        """
        return fmean(self._grade(each, text) for each in (problem, *problem.also))

    def note(self, judge: object) -> list[str]:
        """Return the note on answers of which there is no score; none where each has one."""
        what = f"The judge {judge} gave no score for" if isinstance(judge, str) else "The check failed on"
        return [f"{what} {self.faults:,} answers, which count as wrong ({self.first})."] if self.faults else []

    def _grade(self, problem: Problem, text: str) -> float:
        try:
            given = float(cast("Any", self._given(problem, text)))
        except (*FAULTS, OSError, RuntimeError) as error:  # an answer that breaks its test is a wrong one
            if isinstance(error, ConfigError):
                raise
            self.fail(failed_at(error))
            if isinstance(error, AssertionError):  # so a test says that the answer is wrong
                self.alike = False
            return 0.0
        self.alike = False
        if not 0 <= given <= 1:
            raise ConfigError(f"A score is from 0 to 1, not {given:g}. Divide by the best that can be had.")
        return given

    def fail(self, why: str) -> None:
        """Count an answer of which there is no score."""
        self.faults += 1
        self.first = self.first or why
        self.alike = self.alike and why == self.first

    def _given(self, problem: Problem, text: str) -> object:
        if self._function is not None:
            more = (problem.expected,) if self._takes >= 3 else ()  # noqa: PLR2004 - task, answer, expected
            return self._function(problem.subject, text, *more)
        if self._rule is not None:
            return self._rule.passes(text, task=problem.prompt)
        expected = problem.expected
        if callable(expected) and not hasattr(expected, "passes"):
            return cast("Callable[[str], object]", expected)(text)
        rule = Exact(str(expected)) if isinstance(expected, (str, int, float)) else as_check(expected)
        if rule is None:
            raise ConfigError(f"{type(expected).__name__} is nothing to expect. Give a text, a check or a function.")
        return rule.passes(text, task=problem.prompt)


def _arguments(function: Callable[..., object]) -> int:
    """Return how many positional arguments a function takes; 2 where it does not say.

    Raises:
        ConfigError: It cannot be called with a task and an answer, or has to be awaited.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if inspect.iscoroutinefunction(function):
        raise ConfigError(f"{name}() has to be awaited, and grades nothing here. Give a function that is not async.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 2
    found = signature.parameters.values()
    for count in (2, 3):
        with suppress(TypeError):
            signature.bind(*range(count))
            break
    else:
        raise ConfigError(f"{name}{signature} takes no task and answer. Write def {name}(task, answer): ...")
    return sum(each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD} for each in found)


class Labels:
    """The truth about answers, where it is known: from a function, or a frame of `task`, `answer` and `label`.

    Attributes:
        missing: Tasks and answers that were audited and have no label yet.
    """

    def __init__(self, labels: object) -> None:
        self.missing: dict[tuple[str, str], None] = {}
        self._grader = Grader(labels) if callable(labels) else None
        self._known: dict[tuple[str, str], float] = {}
        if self._grader is not None or labels is None:
            return
        columns = list(getattr(labels, "columns", ()))
        if not {"task", "answer", "label"} <= {*columns}:
            raise ConfigError(f"labels= is a function, or a frame with task, answer and label; it has {columns}.")
        frame = cast("Any", labels)
        for task, answer, label in zip(frame["task"], frame["answer"], frame["label"], strict=True):
            if label == label and label is not None:  # noqa: PLR0124 - no NaN: it waits for its label
                self._known[str(task), str(answer)] = float(label)

    def truth(self, problem: Problem, text: str) -> float | None:
        """Return the true score of an answer; None, kept as missing, where there is no label."""
        if self._grader is not None:
            return self._grader.grade(problem, text)
        found = self._known.get((problem.prompt, text))
        if found is None:
            self.missing[problem.prompt, text] = None
        return found
