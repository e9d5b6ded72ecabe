"""Tapes: the HTTP exchanges of a notebook or a script, in a file of JSON lines that is committed beside it.

The first line is the header; then comes a line for each exchange, sorted, so that a diff shows what has changed.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import IO, TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from victor_nb.errors import TapeError
from victor_nb.wire.asked import Asked, JsonBody, meant

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


FORMAT: Final = 1
_KEPT: Final = re.compile(
    r"content-type|(x-)?request-id|retry-after(-ms)?|x-should-retry|x-generation-id|x-gemini-service-tier|location"
    r"|(x-|anthropic-)?ratelimit-[\w-]+"
)
"""The headers of an answer that are kept: those that we read."""
_SERVED: Final = re.compile(r'"(?:model|modelVersion)"\s*:\s*"([^"\\]{1,100})"')
_CONFLICT: Final = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_PACKAGES: Final = ("anthropic", "openai", "httpx2")
_DIGITS: Final = 4  # of seconds: a tenth of a millisecond
_PRIVATE: Final = 0o600
_AGAIN: Final = "Restore it from version control, or delete it and record the notebook again."
_ATTEMPTS: Final = 10_000


STOPS: Final = ("stopped", "cancelled", "interrupted")
"""How an exchange was stopped: by what had asked, by a cancellation of its whole job, by Stop in its cell."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its answer, as it came.

    Attributes:
        profile: Who asked first: of equal requests, each gets the answer of its own profile and stage.
        cell: The number of the cell that asked, `In [cell]`; None where there are no cells.
        occurrence: Which of the calls that ask the same, from 0.
        attempt: Which attempt of the call, from 0.
        status: The HTTP status; None where nothing was answered.
        answered: Seconds to the headers of the answer, from the beginning of the attempt.
        pieces: The body as it came, each piece with its seconds.
        latency: Seconds to the end.
        fault: What broke it off: the class and the words of an httpx2 exception, or one of `STOPS`; empty: nothing.
    """

    asked: Asked
    profile: str
    stage: str | None
    cell: int | None
    occurrence: int
    attempt: int
    status: int | None
    headers: Mapping[str, str]
    answered: float
    pieces: tuple[tuple[float, bytes], ...]
    latency: float
    fault: str = ""

    @property
    def body(self) -> bytes:
        """The whole body of the answer."""
        return b"".join(data for _, data in self.pieces)

    @property
    def failed(self) -> bool:
        """Whether it is an error."""
        return self.status is None or not 200 <= self.status < 300 or self.fault not in {"", *STOPS}  # noqa: PLR2004

    @property
    def place(self) -> tuple[object, ...]:
        """Where its line stands in the file."""
        asked = self.asked
        return (
            self.cell is None,
            self.cell or 0,
            asked.provider,
            asked.path,
            asked.key,
            self.occurrence,
            self.attempt,
        )

    @property
    def request_id(self) -> str | None:
        """The provider's id of the exchange."""
        return self.headers.get("request-id") or self.headers.get("x-request-id")

    def line(self) -> str:
        """Return it as a line of the file."""
        asked = self.asked
        fields = {
            "cell": self.cell,
            "profile": self.profile,
            "stage": self.stage,
            "method": asked.method,
            "provider": asked.provider,
            "path": asked.path,
            "sample": asked.sample,
            "occurrence": self.occurrence,
            "attempt": self.attempt,
            "request": asked.body,
            "status": self.status,
            "headers": dict(sorted(self.headers.items())),
            "answered": round(self.answered, _DIGITS),
            "body": [[round(at, _DIGITS), _shown(data)] for at, data in self.pieces],
            "latency": round(self.latency, _DIGITS),
            **({"fault": self.fault} if self.fault else {}),
        }
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def read(cls, line: str) -> Exchange:
        """Read a line of the file.

        Raises:
            ValueError: It is none.
        """
        raw = json.loads(line)
        if not isinstance(raw, dict):
            raise ValueError("it is no JSON object")
        fields = cast("dict[str, Any]", raw)
        texts = (fields["method"], fields["provider"], fields["path"], fields["profile"], fields.get("fault", ""))
        numbers = (fields["sample"], fields["occurrence"], fields["attempt"])
        if not all(isinstance(text, str) for text in texts) or not all(type(each) is int for each in numbers):
            raise ValueError("a field has another type than it should")
        if not all(0 <= each < _ATTEMPTS for each in numbers):
            raise ValueError("a number is out of its range")
        if not all(
            each is None or type(each) is kind for each, kind in ((fields["cell"], int), (fields["stage"], str))
        ):
            raise ValueError("cell or stage has another type than it should")
        pieces = tuple((float(at), _bytes(data)) for at, data in fields["body"])
        answered, latency = float(fields["answered"]), float(fields["latency"])
        if not all(0 <= each < math.inf for each in (answered, latency, *(at for at, _ in pieces))):
            raise ValueError("seconds are out of their range")
        headers = {str(name): str(value) for name, value in fields["headers"].items()}
        if any("\n" in text or "\r" in text for pair in headers.items() for text in pair):
            raise ValueError("a header has a line break")
        return cls(
            Asked(texts[0], texts[1], texts[2], meant(fields["request"]), numbers[0]),
            profile=texts[3],
            stage=fields["stage"],
            cell=fields["cell"],
            occurrence=numbers[1],
            attempt=numbers[2],
            status=None if fields["status"] is None else int(fields["status"]),
            headers=headers,
            answered=answered,
            pieces=pieces,
            latency=latency,
            fault=texts[4],
        )


def _shown(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:  # no text, or cut inside a character
        return {"hex": data.hex()}


def _bytes(data: Any) -> bytes:  # noqa: ANN401 - what a file holds
    return data.encode() if isinstance(data, str) else bytes.fromhex(data["hex"])


# --- answers ---


def kept_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of an answer that a tape keeps."""
    return {name.lower(): value for name, value in headers if _KEPT.fullmatch(name.lower())}


def streamed_texts(body: bytes) -> Iterator[str]:
    """Yield the texts that a streamed answer puts together, each joined: a key may come in pieces."""
    joined: dict[str, list[str]] = {}
    for line in body.splitlines():
        data = line.removeprefix(b"data:").strip()
        if data.startswith((b"{", b"[")):
            with suppress(ValueError, RecursionError):
                _collect(json.loads(data), "", joined)
    for parts in joined.values():
        yield "".join(parts)


def _collect(value: JsonBody, path: str, joined: dict[str, list[str]]) -> None:
    if isinstance(value, str):
        joined.setdefault(path, []).append(value)
    elif isinstance(value, dict):
        for name, each in cast("dict[str, JsonBody]", value).items():
            _collect(each, f"{path}.{name}", joined)
    elif isinstance(value, list):
        for each in cast("list[JsonBody]", value):
            _collect(each, path, joined)


# --- the file ---


def tape_path(notebook: Path) -> Path:
    """Return where the tape of a notebook or script is: `tapes/NAME.jsonl` beside it."""
    return notebook.parent / "tapes" / f"{notebook.stem}.jsonl"


class TapeFile:
    """A tape as a file, and the journals of kernels that record it.

    A kernel that records appends each exchange to a journal of its own, and sorts that into the tape when it ends. What
    a kernel that was killed has left is read with the tape, and sorted in by the next one.

    Args:
        path: Its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Its folder and name, as errors say it."""
        return f"{self.path.parent.name}/{self.path.name}"

    def read(self) -> list[Exchange]:
        """Return all exchanges, those in journals of ended kernels included.

        Raises:
            TapeError: There is no such file, or it cannot be used.
        """
        journals = self._left()
        if not self.path.is_file() and not journals:
            fact = f"There is no tape {self.path}. Record it first: VICTOR_MODE=record, or %victor mode record."
            raise TapeError(fact)
        found = self._read_file()
        for journal in journals:
            found = merged(found, _read_journal(journal))
        return found

    def check(self) -> None:
        """Raise if nothing could be sorted into the file as it is.

        Raises:
            TapeError: It cannot be used, or not be written.
        """
        self._read_file()
        place = next(each for each in self.path.absolute().parents if each.exists())
        if not place.is_dir() or not os.access(place, os.W_OK):
            why = "is read-only" if place.is_dir() else "is no folder"
            raise TapeError(f"The tape {self.path} cannot be written: {place} {why}. Nothing was asked.")

    def _read_file(self) -> list[Exchange]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")  # editors of Windows write a mark before it
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, UnicodeError) as error:
            raise TapeError(f"The tape {self.path} cannot be read: {error}. {_AGAIN}") from None
        lines = text.split("\n")
        if lines[-1]:
            raise self._broken(len(lines), "its end is missing")
        self.header = self._read_header(lines[0])
        return [self._read_line(number, line) for number, line in enumerate(lines[1:-1], start=2)]

    def _read_header(self, line: str) -> dict[str, Any]:
        if line.startswith(_CONFLICT):
            raise self._broken(1, "it is a mark of a merge that was not resolved")
        try:
            header = json.loads(line)
            number = header["format"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._broken(1, "it is no header of a tape") from None
        if type(number) is not int or number < 1:
            raise self._broken(1, "it is no header of a tape")
        if number > FORMAT:
            by = str(header.get("victor_nb", "a newer version"))[:40]
            fact = f"The tape {self.path} has format {number}, of victor_nb {by}; this one reads {FORMAT}."
            raise TapeError(f"{fact} Upgrade victor_nb.")
        return cast("dict[str, Any]", header)

    def _read_line(self, number: int, line: str) -> Exchange:
        if line.startswith(_CONFLICT):
            raise self._broken(number, "it is a mark of a merge that was not resolved")
        try:
            return Exchange.read(line)
        except KeyError as error:
            raise self._broken(number, f"it lacks {error}") from None
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise self._broken(number, f"it is no exchange ({str(error)[:80]})") from None

    def _broken(self, number: int, why: str) -> TapeError:
        return TapeError(f"The tape {self.path} cannot be used, line {number}: {why}. {_AGAIN}")

    def _left(self) -> list[Path]:
        """Return the journals of kernels that have ended without sorting them in."""
        # A pattern of glob would also take those of `NAME.b` for NAME's, and none of `NAME [1]`.
        ours = re.compile(rf"\.{re.escape(self.path.stem)}\.\d+-[0-9a-f]+\.journal")
        found = sorted(self.path.parent.glob(".*.journal"))
        return [journal for journal in found if ours.fullmatch(journal.name) and _is_left(journal)]

    def write(self, exchanges: Iterable[Exchange]) -> None:
        """Replace all exchanges.

        Raises:
            TapeError: It cannot be written; the file is as it was.
        """
        with self._alone():
            self._write(list(exchanges))

    def add(self, exchanges: Sequence[Exchange]) -> None:
        """Sort exchanges in; of what they ask, they replace all that there was.

        Raises:
            TapeError: It cannot be read or written; the file is as it was.
        """
        with self._alone():
            found, journals = self._read_file(), self._left()
            for journal in journals:
                found = merged(found, _read_journal(journal))
            self._write(merged(found, exchanges))
            for journal in journals:
                journal.unlink(missing_ok=True)

    def _write(self, exchanges: list[Exchange]) -> None:
        exchanges.sort(key=lambda exchange: cast("Any", exchange.place))
        header = json.dumps(self.header_of(exchanges), ensure_ascii=False)
        text = "".join(f"{line}\n" for line in (header, *(exchange.line() for exchange in exchanges)))
        new = self.path.with_name(f".{self.path.name}.{uuid4().hex[:8]}.new")
        try:
            with _private(new, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            raise TapeError(f"The tape {self.path} cannot be written: {error.strerror or error}.") from None
        finally:
            with suppress(OSError):  # where nothing can be written there is none
                new.unlink(missing_ok=True)

    def header_of(self, exchanges: Sequence[Exchange]) -> dict[str, Any]:
        """Return the header of a file that holds these."""
        served = {found[1].decode() for each in exchanges if (found := _SERVED_BYTES.search(each.body))}
        cells = Counter(str(each.cell) for each in exchanges if each.cell is not None)
        return {
            "format": FORMAT,
            "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
            "victor_nb": _version("victor-nb"),
            "sdks": {name: _version(name) for name in _PACKAGES},
            "models": sorted(served | {each.asked.model for each in exchanges if each.asked.model}),
            "prices": f"genai-prices {_version('genai-prices')}",
            "cells": dict(sorted(cells.items(), key=lambda item: int(item[0]))),
        }

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Let one kernel at a time write the file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TapeError(f"The tape {self.path} cannot be written: {error.strerror or error}.") from None
        if os.name == "nt":  # no folder can be opened there
            yield
            return
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            _lock(folder, wait=True)
            yield
        finally:
            os.close(folder)


_SERVED_BYTES: Final = re.compile(_SERVED.pattern.encode())


def merged(old: Iterable[Exchange], new: Iterable[Exchange]) -> list[Exchange]:
    """Return both, but of what the new ones ask nothing that is old."""
    new = list(new)
    asked = {exchange.asked.key for exchange in new}
    return [*(exchange for exchange in old if exchange.asked.key not in asked), *new]


def renumbered(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Return exchanges with the calls that ask the same numbered anew, in the order of their cells."""
    calls: dict[str, dict[tuple[int, int], int]] = {}
    ordered = sorted(exchanges, key=lambda each: (each.cell or 0, each.occurrence, each.attempt))
    for each in ordered:
        known = calls.setdefault(each.asked.key, {})
        known.setdefault((each.cell or 0, each.occurrence), len(known))
    return [replace(each, occurrence=calls[each.asked.key][each.cell or 0, each.occurrence]) for each in ordered]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# --- the journal of a kernel that records ---


class Journal:
    """The exchanges that a kernel has recorded and not yet sorted in: a line each, as soon as it is whole."""

    def __init__(self, tape: Path) -> None:
        self._path = tape.with_name(f".{tape.stem}.{os.getpid()}-{uuid4().hex[:8]}.journal")
        self._file: IO[str] | None = None

    def append(self, line: str) -> None:
        """Write a line.

        Raises:
            OSError: It cannot be written.
        """
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _private(self._path, "a")
            _lock(self._file.fileno())
        self._file.write(f"{line}\n")
        self._file.flush()

    def remove(self) -> None:
        """Delete it, once all of it is in the tape."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _read_journal(path: Path) -> list[Exchange]:
    """Return the exchanges of a journal; the last line may be cut."""
    found: list[Exchange] = []
    with suppress(OSError):
        for line in path.read_bytes().split(b"\n")[:-1]:
            with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                found.append(Exchange.read(line.decode()))
    return found


def _private(path: Path, mode: str) -> IO[str]:
    """Open a file that other users of this machine cannot read."""
    flags = os.O_CREAT | os.O_WRONLY | (os.O_APPEND if mode == "a" else os.O_EXCL)
    return os.fdopen(os.open(path, flags, _PRIVATE), mode, encoding="utf-8", newline="\n")


def _lock(file: int, *, wait: bool = False) -> bool:
    """Take a lock that ends with the process; return False where another one has it."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows, where a file that is open cannot be removed
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return wait  # a file system without locks
    return True


def _is_left(journal: Path) -> bool:
    """Return whether the kernel that wrote a journal has ended."""
    try:
        with journal.open("r", encoding="utf-8") as file:
            return _lock(file.fileno())
    except OSError:
        return False
