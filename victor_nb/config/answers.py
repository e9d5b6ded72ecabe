"""Answers of one's own for simulate mode: from a file, which is data and runs nothing, or from a function.

Sources are asked in this order, and the first answer counts: what `session().simulate_with` was given, the file that
`VICTOR_ANSWERS` names, the file that `simulate:` in profiles.yaml names. In a file the first entry counts that matches.
Where none has an answer, the simulator writes a placeholder.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, Field, ValidationError

from victor_nb.config.document import Document
from victor_nb.config.environment import read_path, stamp_of
from victor_nb.config.profiles import Strict, explain
from victor_nb.errors import STOPS, ConfigError, failed_at
from victor_nb.values import SimulatedAnswer, SimulatedQuestion

Answering: TypeAlias = Callable[[SimulatedQuestion], "str | SimulatedAnswer | None"]

_MISSED: Final = 100
_ALWAYS: Final = "Give text, or how it fails: status, cut, delay, tokens"


class Answers:
    """The sources of answers, the cache of files that were read, and which of their entries were used.

    Attributes:
        missed: The last questions that none of them answered, so that the simulator wrote a placeholder.
        sending: Is called before each question, in the context of what asks it.
    """

    def __init__(self) -> None:
        self.missed: deque[str] = deque(maxlen=_MISSED)
        self.sending: Callable[[], object] | None = None
        self._given: Path | Answering | None = None
        self._files: dict[Path, AnswerFile] = {}
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Begin anew in a forked child, with a lock of its own; no entry has been used there yet."""
        self._files, self._lock = {}, threading.Lock()

    def use(self, given: Path | str | Answering | None) -> None:
        """Ask this source first from now on; None: none but the files that settings name.

        Raises:
            ConfigError: The file cannot be used.
        """
        if isinstance(given, (str, Path)):
            path = read_path(str(given), Path.cwd(), "simulate_with")
            self._read(path)
            self._given = path
        elif given is None or callable(given):
            self._given = given
        else:
            raise ConfigError(f"simulate_with takes a path, a function or None, not a {type(given).__name__}.")

    @property
    def given(self) -> Path | Answering | None:
        """The source that was given by hand."""
        return self._given

    def sources(self, files: Sequence[Path] = ()) -> tuple[object, ...]:
        """Return what is another value once a source is another one, or has changed."""
        return self._given, *((path, stamp_of(path)) for path in self._paths(files))

    def find(self, question: SimulatedQuestion, files: Sequence[Path] = ()) -> SimulatedAnswer | None:
        """Return the first answer to a question; None where no source has one.

        Args:
            question: What is asked.
            files: The files that settings name. One that has changed is read again.

        Raises:
            ConfigError: A file cannot be used, or the function failed.
        """
        if self.sending is not None:
            self.sending()
        if callable(self._given) and (answer := _ask(self._given, question)) is not None:
            return answer
        found = (self._read(path).find(question) for path in self._paths(files))
        answer = next((answer for answer in found if answer is not None), None)
        if answer is None or (answer.text is None and answer.status is None):
            where = f", stage {question.stage}" if question.stage else ""
            self.missed.append(f"{question.profile}{where}, sample {question.sample}: {question.prompt.strip()[:80]!r}")
        return answer

    def unused(self, files: Sequence[Path] = ()) -> list[str]:
        """Return a line for each entry of the files that has not answered yet: file, line and what it matches.

        Raises:
            ConfigError: A file cannot be used.
        """
        return [line for path in self._paths(files) for line in self._read(path).unused()]

    def _paths(self, files: Sequence[Path]) -> Iterator[Path]:
        if isinstance(self._given, Path):
            yield self._given
        yield from files

    def _read(self, path: Path) -> AnswerFile:
        with self._lock:
            known = self._files.get(path)
            stamp = stamp_of(path)
            if known is None or known.stamp != stamp:
                known = self._files[path] = AnswerFile(path, stamp)
            return known


class AnswerFile:
    """One answers file as it was read, and which of its entries were used."""

    def __init__(self, path: Path, stamp: tuple[int, int]) -> None:
        self.stamp = stamp
        self._document = Document.read(path, start="answers")
        try:
            self._entries = _Schema.model_validate(self._document.content).answers
        except ValidationError as error:
            raise ConfigError(explain(self._document, error, _known_words)) from None
        self._answers = [self._answer(place, entry) for place, entry in enumerate(self._entries)]
        self._used: set[int] = set()

    def _answer(self, place: int, entry: _Entry) -> SimulatedAnswer:
        """Return what an entry gives.

        Raises:
            ConfigError: It gives nothing, or what does not go together.
        """
        given = entry.model_dump(include=_GIVEN, exclude_none=True)
        if not given:
            raise ConfigError(self._document.at(("answers", place), f"answers nothing. {_ALWAYS}."))
        tokens = given.pop("tokens", {})
        try:
            return SimulatedAnswer(
                given.pop("text", None), **given, **{f"{name}_tokens": n for name, n in tokens.items()}
            )
        except ConfigError as error:
            key, _, fact = str(error).partition(" ")
            where = ("tokens", key.removesuffix("_tokens")) if key.endswith("_tokens") else (key,)
            raise ConfigError(self._document.at(("answers", place, *where), fact)) from None

    def find(self, question: SimulatedQuestion) -> SimulatedAnswer | None:
        """Return the answer of the first entry that matches a question."""
        for place, entry in enumerate(self._entries):
            if entry.matches(question):
                self._used.add(place)
                return self._answers[place]
        return None

    def unused(self) -> list[str]:
        """Return a line for each entry that has not answered yet."""
        return [
            self._document.at(("answers", place), f"not used yet ({entry})")
            for place, entry in enumerate(self._entries)
            if place not in self._used
        ]


def _regular(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


_COUNT: Final = Field(ge=0)
_SECONDS: Final = Field(ge=0, allow_inf_nan=False)


class _Tokens(Strict):
    of_number = "output"  # `tokens: 900`

    input: Annotated[int, _COUNT] | None = None
    output: Annotated[int, _COUNT] | None = None


class _Entry(Strict):
    profile: str | None = None
    stage: str | None = None
    sample: Annotated[int, _COUNT] | None = None
    prompt: str | None = None
    pattern: Annotated[str, AfterValidator(_regular)] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    text: str | None = None
    status: int | None = None
    message: str | None = None
    retry_after: Annotated[float, _SECONDS] | None = None
    cut: Annotated[int, _COUNT] | None = None
    delay: Annotated[float, _SECONDS] | None = None
    tokens: _Tokens | None = None

    def matches(self, question: SimulatedQuestion) -> bool:
        """Return whether all that the entry says of a question is true of it."""
        for name in ("profile", "stage", "sample"):
            wanted = getattr(self, name)
            if wanted is not None and wanted != getattr(question, name):
                return False
        return (
            (self.prompt is None or self.prompt in question.prompt)
            and (self.pattern is None or re.search(self.pattern, question.prompt) is not None)
            and (self.times is None or question.attempt <= self.times)
        )

    def __str__(self) -> str:
        given = self.model_dump(include=_MATCHED, exclude_none=True)
        return ", ".join(f"{name}: {value}" for name, value in given.items()) or "any question"


_MATCHED: Final = {"profile", "stage", "sample", "prompt", "pattern", "times"}
_GIVEN: Final = {*_Entry.model_fields} - _MATCHED


class _Schema(Strict):
    answers: list[_Entry]


def _known_words(place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that may stand beside the last part of a place in the file."""
    model = {1: _Schema, 3: _Entry}.get(len(place), _Tokens)
    return list(model.model_fields)


def _ask(function: Answering, question: SimulatedQuestion) -> SimulatedAnswer | None:
    """Return what a user's function answers.

    Raises:
        ConfigError: It failed, or gave something else; one line names the function and its line.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        answer: Any = function(question)
    except BaseException as error:
        if isinstance(error, STOPS):
            raise
        raise ConfigError(f"simulate_with: {name}() failed: {failed_at(error)}. Mend it; nothing was sent.") from error
    if isinstance(answer, str):
        return SimulatedAnswer(answer)
    if answer is None or isinstance(answer, SimulatedAnswer):
        return answer
    kind = type(answer).__name__
    raise ConfigError(f"simulate_with: {name}() gave a value of type {kind}. Return text, a SimulatedAnswer, or None.")
