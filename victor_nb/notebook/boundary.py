"""The border between the magics and IPython: what fails becomes one red line, and `%victor errors` has the rest."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from victor_nb.config.secret import Redactor
from victor_nb.errors import ConfigError, VictorError, VictorInterrupted
from victor_nb.kernel import session

if TYPE_CHECKING:
    from collections.abc import Generator

    from victor_nb.kernel import Session


@contextmanager
def recorded() -> Generator[Session]:
    """Give the kernel's session, settings read anew if they have changed, and keep what is raised in `errors`.

    Raises:
        VictorError: What went wrong, with no key in its text.
        VictorInterrupted: Stop was pressed.
    """
    home = session()
    try:
        home.refresh()
        yield home
    except VictorError as error:
        _redact(home, error)
        # A call that failed has put its error there itself.
        if not home.errors or home.errors[-1] is not error:
            home.errors.append(error)
        raise
    except VictorInterrupted as stop:
        home.errors.append(stop)
        raise
    except KeyboardInterrupt:
        stop = VictorInterrupted("stopped; nothing came of it.")
        home.errors.append(stop)
        raise stop from None


def redacted(home: Session, text: str) -> str:
    """Return a text without any key; also where the settings are what is wrong."""
    try:
        return home.settings.redactor().clean(text)
    except ConfigError:
        return Redactor(()).clean(text)


def _redact(home: Session, error: VictorError) -> None:
    """Take keys out of an error that may have taken up what a user typed."""
    with suppress(VictorError):
        clean = home.settings.redactor().clean
        error.args = tuple(clean(part) if isinstance(part, str) else part for part in error.args)
        if notes := getattr(error, "__notes__", None):
            error.__notes__ = [clean(note) for note in notes]
