"""The paper that charts are drawn on: figures that nobody has to close, and that a screen reader can read."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES: Final = (6.0, 4.0)
"""Width and height at which every chart is meant to be read."""

_DOTS: Final = 120
"""Pixels of a PNG for each inch."""
_SCREEN: Final = 100
"""Pixels of a page for each inch."""


class Chart(Figure):
    """A figure that pyplot does not know of, so that a notebook shows it once, where it is looked at.

    Attributes:
        alt: What it shows, in words.
    """

    def __init__(self, *, height: float = INCHES[1]) -> None:
        super().__init__(figsize=(INCHES[0], height), layout="constrained")
        FigureCanvasAgg(self)
        self.alt = ""

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        """Return the picture with its alt text, and without for readers that know no HTML."""
        data = png(self)
        return {"text/html": _image(self, data), "image/png": data, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Chart: {self.alt}>"


def png(figure: Figure) -> bytes:
    """Return a figure as PNG: the same bytes for the same data, wherever and whenever it is drawn."""
    figure.draw_without_rendering()  # some texts, such as the date beside an axis of hours, come with the first drawing
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def html_image(figure: Figure) -> str:
    """Return a figure as HTML, `<img alt=...>` with the picture inside: the alt text of a plain PNG is lost."""
    return _image(figure, png(figure))


def _image(figure: Figure, data: bytes) -> str:
    alt = escape(str(getattr(figure, "alt", "")), quote=True)
    source = base64.b64encode(data).decode("ascii")
    width = round(figure.get_figwidth() * _SCREEN)
    return f'<img alt="{alt}" width="{width}" style="max-width: 100%" src="data:image/png;base64,{source}">'


def paper(ax: Axes | None, *, height: float = INCHES[1]) -> Axes:
    """Return where to draw: the axes that were given, or those of a new chart, `height` inches high."""
    return Chart(height=height).add_subplot() if ax is None else ax


def finish(ax: Axes, alt: str) -> Figure:
    """Return the figure of the axes, told in words; a figure with several charts is told by one after the other.

    Raises:
        ConfigError: The axes were taken out of their figure.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ConfigError("These axes belong to no figure. Make new ones, or leave `ax` out.")
    told = f"{getattr(figure, 'alt', '')} {alt}".strip()
    setattr(figure, "alt", told)  # noqa: B010 - a figure of pyplot's has no such attribute yet
    return figure


def panels(ax: Axes, *shares: tuple[float, float]) -> list[Axes]:
    """Return axes side by side in the place of `ax`, each from one share of its width to another."""
    ax.set_axis_off()
    return [ax.inset_axes((left, 0.0, right - left, 1.0)) for left, right in shares]
