"""The still twin of a widget: what a saved, exported or headless notebook shows in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from victor_nb.notebook.widgets.theme import STYLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.notebook.display import Bundle
    from victor_nb.notebook.widgets.page import Still

_HIDE: Final = "body:not(.jp-Notebook) :is(.jp-OutputArea-child:has(.victor-twin-{0}),.victor-twin-{0}){{display:none}}"
"""Part of the live widget: while it lives, the twin is not seen. A page by nbconvert holds dead copies at the most."""

_NO_WIDGET: Final = (
    ".jp-OutputArea-child:has(+ .jp-OutputArea-child .victor-twin):not(:has(> .jp-OutputArea-output > *)),"
    "body.jp-Notebook .jp-OutputArea-child:has(> .jp-OutputArea-output.jupyter-widgets)"
    ":has(+ .jp-OutputArea-child .victor-twin){display:none}"
)
"""Part of the twin: JupyterLab's lines about a widget that is not there tell nobody anything, nor does a dead copy."""


class Twin:
    """One place under the widget, brought up to date as the widget changes."""

    def __init__(self) -> None:
        self._id = uuid4().hex[:12]
        self._publishers: list[Callable[[Bundle], None]] = []
        self._shown: Still | None = None

    @property
    def hidden_by(self) -> str:
        """The style with which a live widget hides its twin."""
        return _HIDE.format(self._id)

    @property
    def shown(self) -> bool:
        """Whether it stands anywhere."""
        return bool(self._publishers)

    def show(self, publish: Callable[[Bundle], None], still: Still) -> None:
        """Show it in one more place."""
        publish(self.frame(still))
        self._publishers.append(publish)

    def update(self, still: Still) -> None:
        """Show what it is now, wherever it stands."""
        if still != self._shown:
            for publish in self._publishers:
                publish(self.frame(still))

    def frame(self, still: Still) -> Bundle:
        """Return what is shown of it, by MIME type."""
        self._shown = still
        inner = f"<style>{STYLE}{_NO_WIDGET}</style>{still.html}"
        return {
            "text/html": f'<div class="victor victor-twin victor-twin-{self._id}">{inner}</div>',
            "text/plain": still.plain,
        }
