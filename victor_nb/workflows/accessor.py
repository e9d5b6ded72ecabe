"""`frame.victor.map(...)` and `series.victor.map(...)`, where pandas is loaded; it is never imported for them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Unpack

if TYPE_CHECKING:
    from victor_nb.reports.frames import DataFrame
    from victor_nb.workflows.map import MapOptions

_NAME: Final = "victor"


class Accessor:
    """What a DataFrame and a Series have under `.victor`.

    Args:
        data: The DataFrame or the Series.
    """

    def __init__(self, data: object) -> None:
        self._data = data

    def map(
        self,
        template: str,
        *,
        profile: object = None,
        out: str = "answer",
        progress: bool | None = None,
        **options: Unpack[MapOptions],
    ) -> DataFrame:
        """Ask for every row, wait, and return a new frame with the answers; see `OrchestratorPool.map_sync`.

        Raises:
            MapError: All rows failed for one reason; `partial` is the frame.
            VictorInterrupted: Stop was pressed; `partial` is the frame so far, and so is `session().last`.
        """
        from victor_nb.workflows.orchestrator_pool import kernel_pool  # noqa: PLC0415 - not before it is used

        return kernel_pool().map_sync(self._data, template, profile=profile, out=out, progress=progress, **options)


def register() -> bool:
    """Give DataFrame and Series of a loaded pandas the accessor, once; return whether pandas is loaded."""
    api: Any = getattr(sys.modules.get("pandas"), "api", None)
    extensions = getattr(api, "extensions", None)
    if extensions is None:  # not loaded, or only half
        return False
    pandas: Any = sys.modules["pandas"]
    for kind, register_one in (
        ("DataFrame", extensions.register_dataframe_accessor),
        ("Series", extensions.register_series_accessor),
    ):
        if not hasattr(getattr(pandas, kind), _NAME):
            register_one(_NAME)(Accessor)
    return True
