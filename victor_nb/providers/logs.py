"""Keeps keys out of the SDKs' own logs, which at DEBUG print whatever a server sent back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from victor_nb.config.secret import Redactor

_LOGGERS: Final = ("anthropic", "openai", "httpx2", "httpcore2", "aiohttp")


class _Guard(logging.Filter):
    """Cleans every record; it never drops one."""

    def __init__(self) -> None:
        super().__init__()
        self.redactors: set[Redactor] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        said = text = record.getMessage()
        for redactor in self.redactors:
            text = redactor.clean(text)
        if text != said:
            record.msg, record.args = text, ()
        return True


_guard: Final = _Guard()


def guard_logs(redactor: Redactor) -> None:
    """Clean what the SDKs log from now on. A filter is not inherited, so each of their loggers gets it."""
    _guard.redactors.add(redactor)
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in _LOGGERS:
            logging.getLogger(name).addFilter(_guard)
