"""The figure of a chart, its picture as PNG and HTML, and the ticks of an axis of money.

The only module that imports matplotlib when it is imported itself: a subclass has to. Others import it when they draw.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import base64
import io
import math
from contextlib import contextmanager, nullcontext
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator

from victor_nb.reports.charts.text import POINTS, width

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from matplotlib.artist import Artist

WIDTH: Final = 6.3
"""Inches that every chart is wide: its small print is then still 9 pixels high where a page leaves it 410 of them."""

_DOTS: Final = 160  # pixels of a PNG to an inch, so that a screen with more pixels than a page shows it sharp
_COLOURS: Final = 256  # of a PNG: as few as a byte can tell apart make it a third as large
_FOOT: Final = 0.68  # inches under the axes, for ticks and the name of the axis
_SCREEN: Final = 100  # pixels of a page to an inch
_MOST_TICKS: Final = 6
_APART: Final = 5.0  # points between the labels of two ticks, at least


class Heading(NamedTuple):
    """What stands above a chart.

    Attributes:
        title: Its title; "" where it has none.
        notes: The lines under the title.
        drawn: Both as they are drawn.
        low: Inches between the axes and the lowest of these.
    """

    title: str = ""
    notes: Sequence[str] = ()
    drawn: Sequence[Artist] = ()
    low: float = 0.0

    @property
    def html(self) -> str:
        """Title and notes as a paragraph of HTML, in the colours of the page."""
        if not self.title:
            return ""
        lines = [f"<strong>{escape(self.title)}</strong>", *(f"<small>{escape(note)}</small>" for note in self.notes)]
        return f'<p style="max-width: {round(WIDTH * _SCREEN)}px; margin: 0.5em 0">{"<br>".join(lines)}</p>'


class Chart(Figure):
    """A figure that pyplot does not know of, so that a notebook shows it once, where it is looked at.

    It has no background, and is drawn in colours that show on a white page and on a black one.

    Args:
        body: Inches that the axes are high; what stands above and below them comes on top.

    Attributes:
        alt: What it shows, in words.
        sentence: What is shown in its place, where there is nothing to draw.
        heading: Its title and notes.
    """

    def __init__(self, *, body: float) -> None:
        super().__init__(figsize=(WIDTH, body + _FOOT), layout="constrained", facecolor="none")
        FigureCanvasAgg(self)
        self.alt = self.sentence = ""
        self.heading = Heading()
        self._body = body

    def make_room(self, inches: float) -> None:
        """Make the figure as high as its axes are, with so much above them."""
        self.set_figheight(self._body + _FOOT + inches)

    @contextmanager
    def without_heading(self) -> Generator[None]:
        """Leave title and notes out of what is drawn inside the block."""
        high = self.get_figheight()
        for text in self.heading.drawn:
            text.set_visible(False)
        if self.heading.drawn:
            self.make_room(self.heading.low)
        try:
            yield
        finally:
            self.set_figheight(high)
            for text in self.heading.drawn:
                text.set_visible(True)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return the picture with its alt text, and without for readers that know no HTML."""
        return {**bundle(self), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Chart: {self.alt}>"


def bundle(figure: Figure) -> dict[str, str]:
    """Return a figure by MIME type: HTML with its alt text, PNG for LaTeX, PDF and what else reads no HTML, the alt.

    The picture is in it twice: JupyterLab shows the HTML alone, and of a PNG alone it would drop the alt text. The PNG
    has title and notes in it.
    """
    alt = str(getattr(figure, "alt", ""))
    if getattr(figure, "sentence", ""):
        return {"text/html": html_image(figure), "text/plain": alt}
    data = png(figure)
    return {
        "text/html": html_image(figure),
        "image/png": base64.b64encode(data).decode("ascii"),
        "text/plain": alt,
    }


def png(figure: Figure) -> bytes:
    """Return a figure as PNG: the same bytes for the same data, wherever and whenever it is drawn."""
    from PIL import Image

    figure.draw_without_rendering()  # some texts, such as the date beside an axis of hours, come with the first drawing
    drawn, buffer = io.BytesIO(), io.BytesIO()
    look: dict[str, Any] = {"facecolor": figure.get_facecolor(), "metadata": {"Software": None}}
    figure.savefig(drawn, format="png", dpi=_DOTS, **look)
    with Image.open(drawn) as picture:
        few = picture.convert("RGBA").quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
        few.save(buffer, format="png", optimize=True, dpi=(_DOTS, _DOTS))
    return buffer.getvalue()


def html_image(figure: Figure) -> str:
    """Return a figure as HTML: its title and notes as text, which takes the page's colours, and `<img alt=...>`.

    The alt text of a plain PNG would be lost.
    """
    alt = escape(str(getattr(figure, "alt", "")), quote=True)
    if getattr(figure, "sentence", ""):
        return f"<p>{alt}</p>"
    chart = figure if isinstance(figure, Chart) else None
    with chart.without_heading() if chart else nullcontext():
        source = base64.b64encode(png(figure)).decode("ascii")
    pixels = round(figure.get_figwidth() * _SCREEN)
    image = f'<img alt="{alt}" width="{pixels}" style="max-width: 100%" src="data:image/png;base64,{source}">'
    return f"{chart.heading.html if chart else ''}{image}"


class Dollars(Formatter):
    """Write amounts with as many decimals as tell the ticks apart: no `1e-7`, and no offset in a corner.

    Args:
        each: Choose the decimals for each tick by itself, as a logarithmic axis needs it: 0.01, 0.1, 1.
    """

    def __init__(self, *, each: bool = False) -> None:
        self._each = each

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it
        """Return the text of one tick by itself."""
        return _amounts([x])[0]

    def format_ticks(self, values: Any) -> list[str]:  # noqa: ANN401 - numbers, in whatever matplotlib holds them
        """Return the texts of the ticks."""
        ticks = [float(value) for value in values]
        return [text for tick in ticks for text in _amounts([tick], cents=False)] if self._each else _amounts(ticks)


def _amounts(ticks: Sequence[float], *, cents: bool = True) -> list[str]:
    near = max(map(abs, ticks), default=0.0) * 1e-6
    exact = (d for d in range(13) if all(math.isclose(tick, round(tick, d), abs_tol=near) for tick in ticks))
    decimals = next(exact, 12)
    return [f"{tick:,.{2 if decimals == 1 and cents else decimals}f}" if tick else "0" for tick in ticks]


class Fitting(MaxNLocator):
    """Set as many ticks as there is room for their labels along a horizontal axis."""

    def __init__(self, form: Formatter) -> None:
        super().__init__(nbins=_MOST_TICKS, steps=[1, 2, 2.5, 5, 10])
        self._form = form

    def tick_values(self, vmin: float, vmax: float) -> Any:  # noqa: ANN401 - as matplotlib has it
        """Return the ticks for a range of values."""
        ticks: Any = [0.0]
        for most in range(_MOST_TICKS, 0, -1):
            self.set_params(nbins=most)
            ticks = super().tick_values(vmin, vmax)
            shown = [float(tick) for tick in ticks if vmin <= tick <= vmax]
            if sum(width(text) + _APART for text in self._form.format_ticks(shown)) <= self._length():
                return ticks
        return ticks[ticks == 0]

    def _length(self) -> float:
        """Return the points that the axis is long, as far as it is known where it will be."""
        axes = self.axis.axes if isinstance(self.axis, Axis) else None
        figure = axes.get_figure(root=True) if axes else None
        return axes.bbox.width / figure.dpi * POINTS if axes and figure else 0.0
