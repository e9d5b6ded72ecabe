"""victor_nb: ask many models from a notebook, stop them at will, and see what every answer cost.

The public names are loaded when they are first used; importing this package imports no SDK, no pandas, no IPython.
"""

from __future__ import annotations

import pkgutil
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.calls.agent import Agent, Chat
    from victor_nb.calls.stream import Stream
    from victor_nb.config.settings import Settings
    from victor_nb.config.strategies import Stage
    from victor_nb.errors import VictorError, VictorInterrupted, VictorWarning
    from victor_nb.kernel import Session, session
    from victor_nb.media import Image, Pdf
    from victor_nb.notebook.display import cell_meter as cell_meter  # not for users: progress bars find it here
    from victor_nb.notebook.widgets.ledger_view import LedgerView
    from victor_nb.notebook.widgets.picker import ProfilePicker
    from victor_nb.notebook.widgets.playground import Playground
    from victor_nb.notebook.widgets.strategy_board import StrategyBoard
    from victor_nb.reports.decision import decide
    from victor_nb.reports.labels import agree, diff
    from victor_nb.runtime import estimate_cost
    from victor_nb.values import Message, Reply, SimulatedAnswer, SimulatedQuestion, Usage
    from victor_nb.workflows.checks import Agreement
    from victor_nb.workflows.compare import compare, compare_sync
    from victor_nb.workflows.fan_out import Replies
    from victor_nb.workflows.found import Found
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun
    from victor_nb.workflows.search import search, search_sync
    from victor_nb.workflows.strategies import Cascade, Funnel, Single, Specialized, Strategy, Tiered
    from victor_nb.workflows.strategies import strategy_named as strategy_named  # not for users: maps find it here
    from victor_nb.workflows.what_if import what_if

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Agreement",
    "Cascade",
    "Chat",
    "Found",
    "Funnel",
    "Image",
    "LedgerView",
    "Message",
    "OrchestratorPool",
    "Pdf",
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
    "agree",
    "compare",
    "compare_sync",
    "decide",
    "diff",
    "estimate_cost",
    "load_ipython_extension",
    "search",
    "search_sync",
    "session",
    "unload_ipython_extension",
    "what_if",
]

_HOMES: Final = {
    name: module
    for module, names in {
        "victor_nb.calls.agent": "Agent Chat",
        "victor_nb.calls.stream": "Stream",
        "victor_nb.config.settings": "Settings",
        "victor_nb.config.strategies": "Stage",
        "victor_nb.errors": "VictorError VictorInterrupted VictorWarning",
        "victor_nb.kernel": "Session session",
        "victor_nb.media": "Image Pdf",
        "victor_nb.notebook.display": "cell_meter",
        "victor_nb.notebook.widgets.ledger_view": "LedgerView",
        "victor_nb.notebook.widgets.picker": "ProfilePicker",
        "victor_nb.notebook.widgets.playground": "Playground",
        "victor_nb.notebook.widgets.strategy_board": "StrategyBoard",
        "victor_nb.reports.decision": "decide",
        "victor_nb.reports.labels": "agree diff",
        "victor_nb.runtime": "estimate_cost",
        "victor_nb.values": "Message Reply SimulatedAnswer SimulatedQuestion Usage",
        "victor_nb.workflows.checks": "Agreement",
        "victor_nb.workflows.compare": "compare compare_sync",
        "victor_nb.workflows.fan_out": "Replies",
        "victor_nb.workflows.found": "Found",
        "victor_nb.workflows.orchestrator_pool": "OrchestratorPool",
        "victor_nb.workflows.runs": "StrategyRun",
        "victor_nb.workflows.search": "search search_sync",
        "victor_nb.workflows.strategies": "Cascade Funnel Single Specialized Strategy Tiered strategy_named",
        "victor_nb.workflows.what_if": "what_if",
    }.items()
    for name in names.split()
}
"""The module that each name is imported from."""


def _register_accessor() -> bool:
    """Give a pandas that is loaded `frame.victor` and `series.victor`, and return whether they are there."""
    return "pandas" in sys.modules and pkgutil.resolve_name("victor_nb.workflows.accessor:register")()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module 'victor_nb' has no attribute {name!r}"
        raise AttributeError(msg)
    value = pkgutil.resolve_name(f"{_HOMES[name]}:{name}")
    if _register_accessor():  # else the next import looks again: pandas may come between
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


_register_accessor()
