"""What charts say: amounts, labels that fit, and texts that a font can draw."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.ft2font import FT2Font

SMALL: Final = 8.0
"""Points of labels, ticks and notes."""
LARGE: Final = 10.5
"""Points of a title."""

MINUS: Final = "\N{MINUS SIGN}"

_SMALLEST: Final = 0.0001
_SHORT: Final = 0.01
_LARGE_SUM: Final = 10
_MOST_SAID: Final = 12


def amount(usd: float) -> str:
    """Say an amount of USD without its unit: four decimals, two digits of what is smaller, cents of what is large."""
    if usd == 0:
        return "0"
    if abs(usd) >= _LARGE_SUM:
        return f"{usd:,.2f}"
    if abs(usd) >= _SMALLEST:
        return f"{usd:.4f}"
    return f"{usd:.{1 - math.floor(math.log10(abs(usd)))}f}"


def bounded(known: float, unpriced: int) -> str:
    """Say what something costs as far as it is known: `0.0041`, `≥ 0.0041`, or `unpriced`."""
    if math.isnan(known) or (unpriced and known == 0):
        return "unpriced"
    return f"≥ {amount(known)}" if unpriced else amount(known)


def total(known: float, unpriced: int) -> str:
    """Say a sum of money with its unit, and how much of it is unknown."""
    if unpriced:
        return f">= USD {amount(known)} ({unpriced:,} unpriced)"
    return f"USD {amount(known)}"


def difference(actual: float, other: float) -> str:
    """Say how much dearer or cheaper than another amount an amount is: `74 % less`."""
    if other <= 0:
        return "more" if actual > 0 else "as much"
    share = actual / other - 1
    said = f"{abs(share):.0%}".replace("%", " %")
    return "as much" if said == "0 %" else f"{said} {'less' if share < 0 else 'more'}"


def change(actual: float, other: float) -> str:
    """Say the same as a signed share, for a column of figures: `-74 %`."""
    if other <= 0:
        return ""
    share = f"{actual / other - 1:+.0%}".replace("%", " %").replace("-", MINUS)
    return "as much" if share[1:] == "0 %" else share


def seconds(value: float) -> str:
    """Say a duration."""
    if math.isnan(value):
        return "–"
    if value >= 1:
        return f"{value:,.1f} s"
    return f"{value * 1000:,.0f} ms" if value >= _SHORT else f"{value * 1000:.1f} ms"


def sentences(*parts: str) -> str:
    """Join what an alt text says; empty parts are left out."""
    return " ".join(f"{part.rstrip('. ')}." for part in parts if part)


def listing(parts: Iterable[str]) -> str:
    """Join what an alt text enumerates; of much, the first dozen."""
    said = list(parts)
    more = [f"and {len(said) - _MOST_SAID} more"] if len(said) > _MOST_SAID else []
    return "; ".join([*said[:_MOST_SAID], *more])


def clean(text: str) -> str:
    """Return a text on one line, with what the font in use cannot draw replaced."""
    fonts = _fonts(tuple(FontProperties().get_family()))
    line = " ".join(text.split())
    return "".join(sign if _drawn(sign, fonts) else "\N{REPLACEMENT CHARACTER}" for sign in line)


def _drawn(sign: str, fonts: tuple[FT2Font, ...]) -> bool:
    return any(font.get_char_index(ord(sign)) for font in fonts)


@lru_cache(maxsize=16)
def _fonts(families: tuple[str, ...]) -> tuple[FT2Font, ...]:
    """Return the fonts that matplotlib would take a sign from, one after the other."""
    found: list[FT2Font] = []
    for family in families:
        with suppress(ValueError):  # there is none of that name
            path = font_manager.findfont(FontProperties(family=[family]), fallback_to_default=False)
            found.append(font_manager.get_font(path))
    return tuple(found) or (font_manager.get_font(font_manager.findfont(FontProperties())),)


def escaped(text: str) -> str:
    """Keep matplotlib from reading dollar signs as mathematics."""
    return text.replace("$", "\\$")


def drawable(text: str) -> str:
    """Return a text on one line as it can be drawn."""
    return escaped(clean(text))


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
