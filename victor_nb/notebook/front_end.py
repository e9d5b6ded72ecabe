"""What the front end of the running cell can do: replace an output by an update of it, or show text as it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from IPython.core.displaypub import CapturingDisplayPublisher

from victor_nb.config import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell


Growth: TypeAlias = Literal["updates", "text", "end", "off"]
"""How an answer is seen to grow: its output is replaced, its text is printed, only its end is seen, none watches."""

_SAY_SO: Final = ("cellId", "colab")
"""What notebooks put into the metadata of a request (JupyterLab, Notebook 7, VS Code; Colab). All of them take updates.
A console, a widget's callback and what executes notebooks for a file put nothing there."""


def growth(shell: InteractiveShell) -> Growth:
    """Return how an answer of the running cell is seen to grow.

    An update that is not understood is not shown, and what was shown before it stays for good: where it is not certain
    that updates are understood, the end of the answer is all that is shown. `VICTOR_PROGRESS` decides otherwise.
    """
    wanted, in_kernel = progress(), hasattr(shell, "kernel")
    if wanted == "off":
        return "off"
    if isinstance(cast("Any", shell).display_pub, CapturingDisplayPublisher):
        return "end"
    if wanted == "text" or not in_kernel:  # what is printed on a terminal stays as it is
        return "text"
    return "updates" if wanted == "on" or _takes_updates(shell) else "end"


def _takes_updates(shell: InteractiveShell) -> bool:
    parent = cast("dict[str, dict[str, str]]", cast("Any", shell).kernel.get_parent("shell") or {})
    header, metadata = parent.get("header", {}), parent.get("metadata", {})
    if header.get("msg_type") != "execute_request" or not any(key in metadata for key in _SAY_SO):
        return False
    return header["msg_id"] not in _captured()


def _captured() -> set[str]:
    """Return the requests whose outputs an Output widget of ipywidgets takes, which ignores updates."""
    widgets: Mapping[str, object] = getattr(sys.modules.get("ipywidgets.widgets.widget"), "_instances", {})
    return {str(getattr(widget, "msg_id", "")) for widget in list(widgets.values())}
