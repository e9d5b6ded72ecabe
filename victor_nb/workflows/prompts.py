"""What a stage of a strategy asks: its prompt, the form of its answers, the options of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from victor_nb.calls.request import SENT
from victor_nb.calls.structured import in_words, list_schema
from victor_nb.config.strategies import plain
from victor_nb.templates import fill
from victor_nb.workflows.checks import agreement_of
from victor_nb.workflows.lists import ITEMS, numbered
from victor_nb.workflows.ranking import RANKING, shown_order
from victor_nb.workflows.selection import source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.calls.request import CallOptions
    from victor_nb.config.strategies import Stage
    from victor_nb.workflows.progress import Work


def prompt_for(stage: Stage, task: str, earlier: Sequence[Work], sample: int) -> str:
    """Return the prompt of one sample (from 1) of a stage; `Stage` documents its variables."""
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
    if source := source_of(stage, earlier):
        order = shown_order(source.kept, sample - 1)
        shown = numbered([source.kept[place] for place in order], [source.carried[place] for place in order])
        values |= dict.fromkeys((source.stage.name, *(("items", "previous") if source is earlier[-1] else ())), shown)
    prompt = fill(plain(stage.prompt, values), values)
    schema = answer_schema(stage, earlier)
    return prompt + f"\n\n{in_words(schema)}" if schema else prompt


def answer_schema(stage: Stage, earlier: Sequence[Work]) -> dict[str, Any] | None:
    """Return the JSON schema of the list or ranking that a stage asks for; None where its prompt or its schema says."""
    if stage.schema is not None or "json" in stage.prompt.casefold():
        return None
    if source := source_of(stage, earlier):
        wanted = f"a list: the numbers of the {min(stage.wanted or 1, len(source.kept))} best, best first"
        return list_schema(RANKING, {"type": "integer", "enum": [*source.carried]}, wanted)
    wanted = f"a list of {stage.keep} texts" if stage.keep else "a list of texts"
    return list_schema(ITEMS, {"type": "string"}, wanted) if stage.parse == "list" and stage.select != "rank" else None


def form_of(stage: Stage, earlier: Sequence[Work]) -> Mapping[str, Any] | None:
    """Return the JSON schema that a stage's calls are sent, unchecked, where their provider takes one; else None."""
    asked, rule = answer_schema(stage, earlier), cast("object", stage.accept)
    if asked is not None or not isinstance(rule, Mapping) or agreement_of(cast("object", rule)) is not None:
        return asked
    return cast("Mapping[str, Any]", rule)


def answering(stages: Sequence[Stage]) -> frozenset[str]:
    """Return the names of the stages whose answer may be that of a run: these get its schema."""
    last = stages[-1]
    before = next((stage.adds_to for stage in stages if stage.name == last.unless), None)
    ends = {stage.name for stage in stages if stage.accept is not None}
    return frozenset({*ends, last.adds_to or last.name, *filter(None, [before])})


def options_for(stage: Stage, options: CallOptions, **origin: object) -> CallOptions:
    """Return the options of a stage's calls: its own settings, else those of the run, and the ids for the ledger."""
    own = {name: value for name in SENT if (value := getattr(stage, name)) is not None}
    params = {**(options.get("params") or {}), **stage.params}
    return cast("CallOptions", {**options, **own, "params": params, "stage": stage.name, **origin})
