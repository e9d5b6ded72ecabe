"""Charts: one function for each question, each of a frame, each a figure that a notebook shows by itself.

`KINDS` has them by name, and where their frames come from; `plot(kind, source)` draws one. To add a chart, write one
function in `runs`, `comparisons`, `mistakes` or `spending` and mark it with `drawing.chart(source)`: it can then be
drawn by its name, here, by `%victor plot` and, if a run's frames have its columns, by `run.plot`; completion offers it.

All of them take `ax=` and return the figure; `figure.alt` describes in words what it shows, and `html_image(figure)`
puts both into a page. Money is in USD. Unknown prices are hatched and called unpriced: never drawn as 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from victor_nb.errors import ConfigError, suggest
from victor_nb.reports.charts import comparisons, mistakes, runs, spending  # noqa: F401  # pyright: ignore[reportUnusedImport] - they register
from victor_nb.reports.charts.drawing import KINDS, Kind, chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from victor_nb.reports.charts.figure import Chart, bundle, html_image, png

__all__ = ["KINDS", "Chart", "Kind", "bundle", "chart", "html_image", "plot", "png"]
__all__ += list(KINDS)  # pyright: ignore[reportUnsupportedDunderAll] - registered when their modules are imported


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a chart, or the class of its figure
    """Return a chart by its name, or what its figure is made of, which imports matplotlib."""
    if name in {"Chart", "bundle", "html_image", "png"}:
        from victor_nb.reports.charts import figure

        return getattr(figure, name)
    if name in KINDS:
        return KINDS[name].draw
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def plot(kind: str, source: Any, *, ax: Axes | None = None, **options: Any) -> Figure:  # noqa: ANN401
    """Chart a frame, or a strategy run, by the name of the chart.

    Args:
        kind: One of `KINDS`.
        source: A frame, or what has `.to_frame()`; of a strategy run, the chart gets the frame that it needs.
        ax: Where to draw, if not on a new figure.
        options: What the chart takes beside its frame.

    Raises:
        ConfigError: There is no such chart, or the frame lacks a column.
    """
    if kind not in KINDS:
        raise ConfigError(f"There is no chart {kind!r}. {suggest(kind, KINDS)}")
    draw, sources = KINDS[kind]
    if "stages" in sources and hasattr(source, "stages_frame"):
        return draw(source.stages_frame(), ax=ax, **options)
    frame = source.to_frame() if hasattr(source, "to_frame") and not hasattr(source, "columns") else source
    return draw(frame, ax=ax, **options)
