"""The environment, and the .env file beside the settings. The only file that looks at the environment."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from victor_nb.config.secret import Secret, find_secrets, holds_key, line_naming, read_dotenv
from victor_nb.errors import ConfigError, suggest
from victor_nb.providers.spec import SPECS
from victor_nb.values import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from victor_nb.providers.spec import Spec

_FROM_PARENT: Final = "VICTOR_FROM_PARENT"
"""What a process that starts others set by hand. `VICTOR_MODE` would not do: no cell could change its mode."""
_RECORDS_IN_CI: Final = "VICTOR_RECORD_IN_CI"
_IMPORTED: Final = time.time_ns()
_NOT_FILLED_IN: Final = re.compile(r"^(~[^/\\]*|\$\w+|\$\{\w+\})")
"""A home, or a variable, that a path begins with after both were filled in."""
_MODES: Final = get_args(Mode)
_LATELY: Final = 0.05  # seconds; rows of bulk work look at the .env file together
_NO_FILE: Final[tuple[tuple[int, int], Mapping[str, Secret]]] = ((0, 0), {})
"""What is read where there is no .env file."""
_NOTHING: Final[tuple[object, object, tuple[Spec, ...], tuple[str, ...]]] = (None, None, (), ())
"""The keys before any was looked for; see `Variables.secrets`."""
_seen: Final[list[Mapping[Any, Any]]] = [{}]
"""The environment, as it was when it was last looked at."""


# --- variables ---


class Variables:
    """The variables of the environment, and those of a .env file: keys and addresses, read again where it has changed.

    Args:
        path: The .env file, which is never written; there may be none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = _NO_FILE
        self._looked: tuple[float, tuple[int, int]] = (-1.0, (0, 0))
        self._states: dict[tuple[str, ...], tuple[Mapping[Any, Any], tuple[int, int], int]] = {}
        self._known = _NOTHING

    @property
    def written(self) -> Mapping[str, Secret]:
        """The variables of the .env file.

        Raises:
            ConfigError: It is no text.
        """
        stamp = stamp_of(self._path)
        if stamp != self._read[0]:
            self._read = (stamp, read_dotenv(self._path) if stamp[1] else {})
        return self._read[1]

    def get(self, name: str) -> str | None:
        """Return a variable of the environment, else of the .env file; an empty one counts as absent."""
        if given := value_of(name):
            return given
        written = self.written.get(name) if name else None
        return written.reveal() if written else None

    def state(self, names: tuple[str, ...], *, lately: bool = False) -> int:
        """Return a number that differs once one of these variables or the .env file has changed; no file is read.

        With `lately`, the file is looked at only if it was not for a moment, as for each row of bulk work.
        """
        if not lately:
            return hash((stamp_of(self._path), *map(os.environ.get, names)))  # it is kept, and holds no key
        stamp, now = self._stamp_lately(), environment_now()
        known = self._states.get(names)
        if known is None or known[0] is not now or known[1] != stamp:
            self._states[names] = known = now, stamp, self.state(names)
        return known[2]

    def secrets(self, named: frozenset[str], *, lately: bool = False) -> tuple[str, ...]:
        """Return all keys, which are gathered anew once the environment or the .env file has changed.

        Args:
            named: The variables that hold keys whatever they are called, beside those of the providers.
            lately: See `state`.
        """
        now, specs = environment_now(), tuple(SPECS.values())
        stamp = self._stamp_lately() if lately else stamp_of(self._path)
        if stamp != self._read[0]:
            with suppress(ConfigError):  # what cannot be read holds no key of a client
                _ = self.written
        if self._known[0] is not now or self._known[1] is not self._read or self._known[2] != specs:
            # Both: a variable that is empty in the environment does not hide the one in the file.
            values = (*os.environ.items(), *((name, value.reveal()) for name, value in self._read[1].items()))
            found = find_secrets(values, named.union(*(spec.key_variables for spec in specs)))
            self._known = now, self._read, specs, tuple(found)
        return self._known[3]

    def mending(self, names: Sequence[str]) -> str:
        """Return how a key is set right: where the one stands that is used, else in `.env`, as cells are kept."""
        for name in names:
            if given := value_of(name):
                with suppress(ConfigError):
                    written = self.written.get(name)
                    if written is not None and written.reveal() != given:
                        return f"%env {name}=... (it beats {self._path.absolute()})"
                return f"%env {name}=..."
            if name in self.written:
                return f"{name} in {self._path.absolute()}"
        if not names:
            return "api_key_env in the profile"
        where = ".env" if (path := self._path.absolute()).parent == Path.cwd() else path
        with suppress(ConfigError):
            lines = ((name, line_naming(path, name)) for name in names) if path.exists() else ()
            if (found := next((each for each in lines if each[1] is not None), None)) is not None:
                return f"{found[0]}=... is how line {found[1]} of {where} must read (or %env {found[0]}=...)"
        return f"{names[0]}=... in {where} (or %env {names[0]}=...)"

    def _stamp_lately(self) -> tuple[int, int]:
        """Return what changes with the .env file, as it was some milliseconds ago at most."""
        if time.monotonic() - self._looked[0] > _LATELY:
            self._looked = time.monotonic(), stamp_of(self._path)
        return self._looked[1]


def value_of(name: str) -> str:
    """Return a variable of the environment without the blanks around it; empty: it is not set."""
    return os.environ.get(name, "").strip()


def notebook_named() -> str | None:
    """Return the path of this kernel's notebook, where Jupyter or VS Code sets it."""
    return os.environ.get("JPY_SESSION_NAME") or None


def environment_now() -> Mapping[Any, Any]:
    """Return the environment as it is, the very same object as long as nothing has changed in it.

    Its own dictionary is compared, in a microsecond for all of it: `os.environ` decodes whatever is looked up.
    """
    now: Mapping[Any, Any] = getattr(os.environ, "_data", None) or dict(os.environ)
    if now != _seen[0]:
        _seen[0] = dict(now)
    return _seen[0]


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a child process, with these variables set otherwise."""
    return {**os.environ, **more}


def environment_without_keys() -> dict[str, str]:
    """Return the environment for a child process that reads what may be a stranger's, and needs no key."""
    return {name: value for name, value in os.environ.items() if not holds_key(name)}


def overrule(**variables: str) -> None:
    """Set variables for the rest of this process, as a command may that is a process of its own."""
    os.environ.update(variables)


# --- files ---


def read_path(given: str, folder: Path, setting: str) -> Path:
    """Return the path that a setting names: `~` and variables filled in, and below a folder where it is relative.

    Raises:
        ConfigError: It names a home or a variable that there is not.
    """
    path = os.path.expanduser(os.path.expandvars(given))  # noqa: PTH111 - pathlib's raises where there is no such home
    if (left := _NOT_FILLED_IN.search(path)) is not None and left[0] in given:
        raise ConfigError(f"{setting}: there is no {left[0]} here, which {given} begins with. Write the path in full.")
    return folder / path


def stamp_of(path: Path) -> tuple[int, int]:
    """Return what changes with a file: its time and its size."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


# --- what a user set in a cell, and what the processes inherit that the kernel starts ---


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a user set in a cell, as the processes have it too that the kernel starts or sends work to.

    Attributes:
        budget: What the notebook may spend in all, in USD as text; `off` lifts the limit of profiles.yaml.
        notebook: The key of the notebook's limit, under which all of these processes spend.
        at: When, in seconds since 1970: of two such values the later counts.
        process: Where; see `this_process`.
    """

    mode: Mode | None = None
    budget: str | None = None
    notebook: str = ""
    at: float = 0.0
    process: str = ""


def this_process() -> str:
    """Return an id of this process, which no forked child and no process of another machine has."""
    return f"{os.getpid()}-{_IMPORTED}"


def inherited() -> ByHand:
    """Return what a parent process set by hand: nothing where there is none, or where this process set it itself."""
    text = os.environ.get(_FROM_PARENT)
    found = ByHand(**json.loads(text)) if text else ByHand()
    return ByHand() if found.process == this_process() else found


def set_here() -> Mode | None:
    """Return the mode that was set by hand in this kernel, or in the process that started it."""
    text = os.environ.get(_FROM_PARENT)
    return json.loads(text).get("mode") if text else None


def bequeath(given: ByHand) -> None:
    """Set what the processes that this one starts from now on find as `inherited`."""
    if given.process:
        os.environ[_FROM_PARENT] = json.dumps(asdict(given))
    else:
        os.environ.pop(_FROM_PARENT, None)


# --- the mode, and what goes with it ---


def forced_mode() -> Mode | None:
    """Return the mode that `VICTOR_MODE` fixes at this moment, so that no line of a notebook can change it; else None.

    Raises:
        ConfigError: `VICTOR_MODE` names no mode.
    """
    word = value_of("VICTOR_MODE")
    if word in _MODES:
        return cast("Mode", word)
    return check_mode(word) if word else None


def check_recording() -> None:
    """Raise where nothing may be recorded.

    Raises:
        ConfigError: `CI=true` forbids it.
    """
    if os.environ.get("CI", "").lower() == "true" and not os.environ.get(_RECORDS_IN_CI):
        raise ConfigError(f"Nothing is recorded where CI=true: it costs money. {_RECORDS_IN_CI}=1 allows it.")


def check_mode(word: str) -> Mode:
    """Return a word as a mode, checked.

    Raises:
        ConfigError: It names none.
    """
    if word not in _MODES:
        raise ConfigError(f"Mode {word!r} is unknown (VICTOR_MODE or %victor mode). {suggest(word, _MODES)}")
    return cast("Mode", word)


def sim_start() -> datetime | None:
    """Return the moment at which what is simulated begins; None: when it does.

    Raises:
        ConfigError: `VICTOR_SIM_START` is no date.
    """
    text = value_of("VICTOR_SIM_START")
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ConfigError(f"VICTOR_SIM_START={text!r} is no date. Write it as 2026-01-05T09:00.") from None
