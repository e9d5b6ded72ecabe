"""victor_nb: ask many models from a notebook, stop them at will, and see what every answer cost.

The public names are loaded when they are first used; importing this package imports no SDK, no pandas, no IPython.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.calls.agent import Agent, Chat
    from victor_nb.calls.stream import Stream
    from victor_nb.config.settings import Settings
    from victor_nb.config.strategies import Stage
    from victor_nb.errors import VictorError, VictorInterrupted, VictorWarning
    from victor_nb.kernel import Session, session
    from victor_nb.notebook.display import cell_meter as cell_meter  # not for users: progress bars find it here
    from victor_nb.notebook.widgets.ledger_view import LedgerView
    from victor_nb.notebook.widgets.picker import ProfilePicker
    from victor_nb.notebook.widgets.playground import Playground
    from victor_nb.notebook.widgets.strategy_board import StrategyBoard
    from victor_nb.runtime import estimate_cost
    from victor_nb.values import Message, Reply, SimulatedAnswer, SimulatedQuestion, Usage
    from victor_nb.workflows.checks import Agreement
    from victor_nb.workflows.compare import compare, compare_sync
    from victor_nb.workflows.fan_out import Replies
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun
    from victor_nb.workflows.strategies import Cascade, Funnel, Single, Specialized, Strategy, Tiered
    from victor_nb.workflows.what_if import what_if

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Agreement",
    "Cascade",
    "Chat",
    "Funnel",
    "LedgerView",
    "Message",
    "OrchestratorPool",
    "Playground",
    "ProfilePicker",
    "Replies",
    "Reply",
    "Session",
    "Settings",
    "SimulatedAnswer",
    "SimulatedQuestion",
    "Single",
    "Specialized",
    "Stage",
    "Strategy",
    "StrategyBoard",
    "StrategyRun",
    "Stream",
    "Tiered",
    "Usage",
    "VictorError",
    "VictorInterrupted",
    "VictorWarning",
    "compare",
    "compare_sync",
    "estimate_cost",
    "load_ipython_extension",
    "session",
    "unload_ipython_extension",
    "what_if",
]

_HOMES: Final = {
    "Agent": "victor_nb.calls.agent",
    "Agreement": "victor_nb.workflows.checks",
    "Cascade": "victor_nb.workflows.strategies",
    "Chat": "victor_nb.calls.agent",
    "Funnel": "victor_nb.workflows.strategies",
    "LedgerView": "victor_nb.notebook.widgets.ledger_view",
    "Message": "victor_nb.values",
    "OrchestratorPool": "victor_nb.workflows.orchestrator_pool",
    "Playground": "victor_nb.notebook.widgets.playground",
    "ProfilePicker": "victor_nb.notebook.widgets.picker",
    "Replies": "victor_nb.workflows.fan_out",
    "Reply": "victor_nb.values",
    "Session": "victor_nb.kernel",
    "Settings": "victor_nb.config.settings",
    "SimulatedAnswer": "victor_nb.values",
    "SimulatedQuestion": "victor_nb.values",
    "Single": "victor_nb.workflows.strategies",
    "Specialized": "victor_nb.workflows.strategies",
    "Stage": "victor_nb.config.strategies",
    "Strategy": "victor_nb.workflows.strategies",
    "StrategyBoard": "victor_nb.notebook.widgets.strategy_board",
    "StrategyRun": "victor_nb.workflows.runs",
    "Stream": "victor_nb.calls.stream",
    "Tiered": "victor_nb.workflows.strategies",
    "Usage": "victor_nb.values",
    "VictorError": "victor_nb.errors",
    "VictorInterrupted": "victor_nb.errors",
    "VictorWarning": "victor_nb.errors",
    "cell_meter": "victor_nb.notebook.display",
    "compare": "victor_nb.workflows.compare",
    "compare_sync": "victor_nb.workflows.compare",
    "estimate_cost": "victor_nb.runtime",
    "session": "victor_nb.kernel",
    "what_if": "victor_nb.workflows.what_if",
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
    """Register `%%victor` and `%victor` in a notebook: `%load_ext victor_nb`."""
    pkgutil.resolve_name("victor_nb.notebook.extension:load_ipython_extension")(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove them again: `%unload_ext victor_nb`."""
    pkgutil.resolve_name("victor_nb.notebook.extension:unload_ipython_extension")(shell)
