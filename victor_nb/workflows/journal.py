"""What a worker sends, in a file that outlives it: which attempts of a lost worker were made, and which were not.

The file is on the worker's machine, and only another process of that machine reads it. A worker holds a lock on it for
as long as it lives: so what is read is whole. Where it cannot be read, it is unknown what was sent.
"""

from __future__ import annotations

import os
import tempfile
import time
from array import array
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

_KIND: Final = "Q"
"""Of a number in the file: eight bytes, which one `write` of the system appends whole."""
_PATIENCE: Final = 1.0  # seconds that a process may take to end once its connections are closed


class Journal:
    """Numbers of attempts, each appended right before its request is sent. What is written survives the process.

    Args:
        name: Names the partition, as no other map's.
    """

    def __init__(self, name: str) -> None:
        self._path, self._file = _path(name), -1
        self._sent = set[int]()
        with suppress(ImportError, OSError):  # without it, what was sent is unknown where the worker is lost
            self._file = _locked(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600))

    def add(self, number: int) -> None:
        """Append an attempt, once. It takes some microseconds, and waits for no disk."""
        if self._file >= 0 and number not in self._sent:
            self._sent.add(number)
            os.write(self._file, array(_KIND, [number]).tobytes())

    def close(self) -> None:
        """Remove the file: the driver knows what was sent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._path.unlink(missing_ok=True)


def read(name: str) -> frozenset[int] | None:
    """Return the attempts that a lost worker has sent, and remove its file; None where that is unknown. It blocks."""
    path = _path(name)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            file = os.open(path, os.O_RDWR)
            try:
                _locked(file)
                found = array(_KIND, path.read_bytes())
                path.unlink()
            finally:
                os.close(file)
        except BlockingIOError:  # it lives: it may have sent more in a moment
            if time.monotonic() > until:
                return None
            time.sleep(0.02)
        except (ImportError, OSError):
            return None
        else:
            return frozenset(found)


def _path(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"victor-{sha256(name.encode()).hexdigest()[:32]}.sent"


def _locked(file: int) -> int:
    """Lock an open file for as long as it is open, and return it.

    Raises:
        BlockingIOError: Another process has locked it.
        ImportError: The system has no such locks.
    """
    import fcntl  # noqa: PLC0415 - not on Windows

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file
