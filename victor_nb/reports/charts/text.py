"""Texts of a chart: amounts, what fits and can be drawn, and labels beside points."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from victor_nb.money import at_least

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.ft2font import FT2Font
    from numpy.typing import NDArray

POINTS: Final = 72  # to an inch
MARGIN: Final = 8.0  # points between a label and what it belongs to
SMALL: Final = 10.0  # points of labels, ticks and notes
GREY: Final = "#8A8A8A"
EDGE: Final = "#767676"
"""The colour of lines and of texts, with a contrast of 4.5 to white and of 4.2 to JupyterLab's dark page, #111111."""
_ROWS_OF_TWO_LINES: Final = 8
_MOST: Final = 12  # parts that an alt text enumerates
_SMALLEST: Final = 0.0001  # USD that four decimals can show
MINUS: Final = "\N{MINUS SIGN}"


def amount(usd: float) -> str:
    """Write an amount of USD without its unit: four decimals, two digits of what is smaller, cents of what is large."""
    if usd == 0:
        return "0"
    if abs(usd) >= 10:  # noqa: PLR2004
        return f"{usd:,.2f}"
    return f"{usd:.{4 if abs(usd) >= _SMALLEST else 1 - math.floor(math.log10(abs(usd)))}f}"


def bounded(known: float, unpriced: int) -> str:
    """Write what something costs as far as it is known: `0.0041`, `>= 0.0041`, or `unpriced`."""
    if math.isnan(known) or (unpriced and known == 0):
        return "unpriced"
    return f">= {amount(known)}" if unpriced else amount(known)


def in_usd(known: float, unpriced: int = 0) -> str:
    """Write what something costs, as far as it is known, with its unit: `USD 0.0041`, `>= USD 0.0041`, `unpriced`."""
    text = bounded(known, unpriced)
    return text if text == "unpriced" else f">= USD {text[3:]}" if text[0] == ">" else f"USD {text}"


def total(known: float, unpriced: int) -> str:
    """Write a sum of money with its unit, and how much of it is unknown."""
    return at_least(Decimal(repr(float(known))), unpriced)


def percent(part: float, digits: int = 0) -> str:
    """Write the size of a share in percent."""
    return f"{abs(part):.{digits}%}".replace("%", " %")


def seconds(value: float) -> str:
    """Write a duration in seconds, or in ms."""
    if math.isnan(value):
        return "–"
    if value >= 1:
        return f"{value:,.1f} s"
    return f"{value * 1000:,.{0 if value >= 0.01 else 1}f} ms"  # noqa: PLR2004


def listing(parts: Iterable[str]) -> str:
    """Join what an alt text enumerates; of much, the first dozen."""
    every = list(parts)
    more = [f"and {len(every) - _MOST} more"] if len(every) > _MOST else []
    return "; ".join([*every[:_MOST], *more])


def drawable(text: str) -> str:
    """Return a text on one line as it can be drawn."""
    return escaped(clean(text))


def escaped(text: str) -> str:
    """Keep matplotlib from reading dollar signs as mathematics."""
    return text.replace("$", "\\$")


def clean(text: str) -> str:
    """Return a text on one line, with what the font in use cannot draw replaced."""
    from matplotlib.font_manager import FontProperties

    fonts = _fonts(tuple(FontProperties().get_family()))
    drawn = (
        sign if any(font.get_char_index(ord(sign)) for font in fonts) else "\N{REPLACEMENT CHARACTER}"
        for sign in " ".join(text.split())
    )
    return "".join(drawn)


@lru_cache(maxsize=16)
def _fonts(families: tuple[str, ...]) -> tuple[FT2Font, ...]:
    """Return the fonts that matplotlib would take a sign from, one after the other."""
    from matplotlib import font_manager as fonts

    found: list[FT2Font] = []
    for family in families:
        with suppress(ValueError):  # there is none of that name
            path = fonts.findfont(fonts.FontProperties(family=[family]), fallback_to_default=False)
            found.append(fonts.get_font(path))
    return tuple(found) or (fonts.get_font(fonts.findfont(fonts.FontProperties())),)


def short(text: str, most: int = 30) -> str:
    """Return a text with its middle cut out where it is longer than `most` characters: names differ at their ends."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    end = most // 3
    return f"{line[: most - end - 1]}…{line[-end:]}"


@lru_cache(maxsize=512)
def width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Return how wide a line of text is, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    style = FontProperties(size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, style, ismath=False)[0])


def wrapped(text: str, most: float, size: float = SMALL, weight: str = "normal") -> list[str]:
    """Break a text into lines that are at most so many points wide, where its words allow it."""
    lines: list[str] = []
    for word in text.split():
        if lines and width(f"{lines[-1]} {word}", size, weight) <= most:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


def row_name(name: str, rows: int, most: int) -> str:
    """Return the label of one of so many rows, of lines of `most` characters: one, or two where there is room."""
    text = clean(name)
    first, *rest = (wrapped(text, width("n" * min(most, 20))) if rows <= _ROWS_OF_TWO_LINES else [text]) or [""]
    return escaped("\n".join(short(line, most) for line in (first, " ".join(rest)) if line))


# --- labels of points ---


Segment: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
"""A line between two places in data coordinates."""

_FEW: Final = 6
_RINGS: Final = (1.0, 1.7, 2.6, 3.8, 5.2, 7.0, 9.0, 12.0)
_SIDES: Final = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_BESIDE: Final = 1.5 * MARGIN  # points of distance at which a name needs no line to its point
_DOTTED: Final = (0, (1, 2))  # points of ink, and of none
_HIDDEN, _CROSSED, _STRUCK = 1000.0, 50.0, 8.0  # points of distance that it is worth to hide, cross, strike nothing


def place(
    ax: Axes,
    names: Sequence[str],
    spots: Sequence[tuple[float, float]],
    lines: Sequence[Segment] = (),
    *,
    needed: int | None = None,
) -> None:
    """Write each name inside the axes and near its point, where it hides the least.

    A line joins a name with its point if the name is far from it, or if another point is as near to the name.

    The figure is laid out once before, since only then is it known where the points are. (adjustText 1.4, which needs
    scipy, left 24 points under labels in 21 charts where this leaves none, in three times the time.)

    Args:
        ax: Where.
        names: One for each point.
        spots: The points, in data coordinates.
        lines: What else the names should keep clear of.
        needed: How many of the first names are written in any case; None: all. A further one is where it hides nothing.
    """
    import numpy as np

    figure = ax.get_figure(root=True)
    if figure is None or not names:
        return
    figure.draw_without_rendering()
    scale = POINTS / figure.dpi
    at = np.array(ax.transData.transform(spots)) * scale
    frame = np.array(ax.bbox.extents) * scale + [4, 4, -4, -4]
    thin = [_along(*(np.array(ax.transData.transform(segment)) * scale)) for segment in lines]
    struck = np.concatenate([np.empty((0, 4)), *(_boxes(steps, 1, 1) for steps in thin)])
    solid = _boxes(at, 6, 6)
    least = len(names) if needed is None else needed
    for index in sorted(range(len(names)), key=lambda index: (index >= least, -at[index][1], at[index][0])):
        text, point = short(clean(names[index]), 26 if least <= _FEW else 18), at[index]
        found = _candidates(point, width(text), frame)
        ends = np.clip(point, found[:, :2], found[:, 2:])
        others = solid[~_meet(solid[[index]], solid)[0]]  # no line to a point can keep clear of what lies on it
        price = _HIDDEN * _meet(found, solid).sum(axis=1) + _STRUCK * _meet(found, struck).sum(axis=1)
        price += [_CROSSED * _meet(_boxes(_along(point, end), 1, 1), others).any(axis=0).sum() for end in ends]
        if index >= least:
            price[price >= _CROSSED] = np.inf
            price += [_STRUCK * _meet(_boxes(_along(point, end), 1, 1), struck).any(axis=0).sum() for end in ends]
            if np.isinf(price).all():
                continue
        best = np.argmin(price + np.hypot(*(ends - point).T))
        solid, box = np.concatenate([solid, found[[best]]]), found[best]
        _label(ax, text, spots[index], box - [*point, *point], ends[best] - point, line=not _beside(box, at, index))


def _beside(box: NDArray[Any], at: NDArray[Any], index: int) -> bool:
    """Return whether a name is near its point, and nearer to it than to any other one."""
    import numpy as np

    away = np.hypot(*(np.clip(at, box[:2], box[2:]) - at).T)
    return bool(away[index] <= _BESIDE and (np.delete(away, index) > away[index]).all())


def _label(ax: Axes, text: str, spot: tuple[float, float], box: NDArray[Any], end: NDArray[Any], *, line: bool) -> None:
    """Write the name of a point.

    Args:
        ax: Where.
        text: The name.
        spot: The point, in data coordinates.
        box: The place of the name, in points from there.
        end: The place of the box that is nearest to the point, in points from there.
        line: Whether a line leads to the point: pale and dotted, so that it is not taken for an interval.
    """
    low, size = box[:2], box[2:] - box[:2]
    look: dict[str, Any] = {"arrowstyle": "-", "color": GREY, "alpha": 0.7, "linewidth": 0.6, "linestyle": _DOTTED}
    look |= {"shrinkA": 0, "shrinkB": 4, "relpos": tuple((end - low) / size)}
    offset: dict[str, Any] = {"xytext": tuple(low), "textcoords": "offset points", "annotation_clip": False}
    offset |= {"fontsize": SMALL, "color": EDGE, "va": "bottom"}
    ax.annotate(escaped(text), spot, arrowprops=look if line else None, **offset).set_in_layout(False)


def _candidates(point: NDArray[Any], length: float, frame: NDArray[Any]) -> NDArray[Any]:
    """Return the places around a point, the nearest first, each moved into the frame."""
    import numpy as np

    size = np.array([length, SMALL * 1.25])
    sides = np.array(_SIDES)
    offsets = np.concatenate([MARGIN * ring * sides for ring in _RINGS])
    low = point + offsets + np.tile((sides - 1) / 2 * size, (len(_RINGS), 1))
    low = np.maximum(np.minimum(low, frame[2:] - size), frame[:2])
    return np.concatenate([low, low + size], axis=1)


def _boxes(places: NDArray[Any], right: float, up: float) -> NDArray[Any]:
    """Return boxes around places, as left, bottom, right, top."""
    return places[:, [0, 1, 0, 1]] + [-right, -up, right, up]


def _meet(some: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Return a matrix of which boxes overlap which others."""
    import numpy as np

    some = some[:, None]
    return np.all((some[..., :2] < others[:, 2:]) & (others[:, :2] < some[..., 2:]), axis=-1, keepdims=False)


def _along(start: NDArray[Any], end: NDArray[Any]) -> NDArray[Any]:
    """Return places on a line, 4 points apart."""
    import numpy as np

    return np.linspace(start, end, 1 + max(1, math.ceil(math.dist(start, end) / 4)))
