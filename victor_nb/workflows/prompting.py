"""What a stage's calls are sent: the prompt with its places filled, and the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_nb.config.templates import fill
from victor_nb.workflows.items import numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.plan import CallOptions
    from victor_nb.workflows.progress import Work
    from victor_nb.workflows.stages import Stage


def prompt_for(stage: Stage, task: str, earlier: Sequence[Work], sample: int) -> str:
    """Return the prompt of one sample (from 1) of a stage; `Stage` says what its places stand for."""
    values = {
        "task": task,
        "sample": str(sample),
        "n": str(stage.n),
        "keep": "all" if stage.wanted is None else str(stage.wanted),
        **{work.stage.name: work.text for work in earlier},
    }
    if earlier:
        before = earlier[-1]
        best = before.kept[0] if before.kept else before.text
        values |= {"items": numbered(before.kept), "best": best, "previous": before.previous}
    return fill(stage.prompt, values)


def options_for(stage: Stage, options: CallOptions, *, run_id: str, strategy: str) -> CallOptions:
    """Return what a stage's calls are sent with: its own settings, else those of the run."""
    settled: CallOptions = {**options, "run_id": run_id, "strategy": strategy, "stage": stage.name}
    if stage.system is not None:
        settled["system"] = stage.system
    if stage.max_tokens is not None:
        settled["max_tokens"] = stage.max_tokens
    if stage.temperature is not None:
        settled["temperature"] = stage.temperature
    if stage.params:
        settled["params"] = {**options.get("params", {}), **stage.params}
    return settled
