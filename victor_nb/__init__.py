"""victor_nb: ask many models from a notebook, stop them at will, and see what every answer cost.

The public names are loaded when they are first used; importing this package imports no SDK, no pandas, no IPython.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.agent import Agent, Chat
    from victor_nb.config.settings import Settings
    from victor_nb.errors import VictorError, VictorInterrupted, VictorWarning
    from victor_nb.estimate import estimate_cost
    from victor_nb.session import Session, session
    from victor_nb.stream import Stream
    from victor_nb.values import Message, Reply, Usage
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Chat",
    "Message",
    "OrchestratorPool",
    "Reply",
    "Session",
    "Settings",
    "Stream",
    "Usage",
    "VictorError",
    "VictorInterrupted",
    "VictorWarning",
    "estimate_cost",
    "load_ipython_extension",
    "session",
    "unload_ipython_extension",
]

_HOMES: Final = {
    "Agent": "victor_nb.agent",
    "Chat": "victor_nb.agent",
    "Message": "victor_nb.values",
    "OrchestratorPool": "victor_nb.workflows.orchestrator_pool",
    "Reply": "victor_nb.values",
    "Session": "victor_nb.session",
    "Settings": "victor_nb.config.settings",
    "Stream": "victor_nb.stream",
    "Usage": "victor_nb.values",
    "VictorError": "victor_nb.errors",
    "VictorInterrupted": "victor_nb.errors",
    "VictorWarning": "victor_nb.errors",
    "estimate_cost": "victor_nb.estimate",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module 'victor_nb' has no attribute {name!r}"
        raise AttributeError(msg)
    value = pkgutil.resolve_name(f"{_HOMES[name]}:{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Give a notebook `%%victor` and `%victor`: `%load_ext victor_nb`."""
    pkgutil.resolve_name("victor_nb.notebook.extension:load_ipython_extension")(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take them away again: `%unload_ext victor_nb`."""
    pkgutil.resolve_name("victor_nb.notebook.extension:unload_ipython_extension")(shell)
