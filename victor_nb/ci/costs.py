"""The report on notebooks that were run from their tapes: what is red, and what the run would have cost live."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from victor_nb.errors import ConfigError
from victor_nb.money import Total, column, usd
from victor_nb.values import aged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from victor_nb.ci.run import Verdict

FORMAT: Final = 1
_HEAD: Final = ("notebook", "", "cells", "calls", "would have cost", "billed", "outputs", "tape")
_MODELS: Final = ("model", "provider", "calls", "attempts", "tokens in", "tokens out", "would have cost")
_RIGHT: Final = frozenset("cells|calls|attempts|tokens in|tokens out|would have cost|billed".split("|"))


def total(models: Iterable[Mapping[str, Any]]) -> Total:
    """Add up the costs of models."""
    parts = (
        Total(Decimal(each["cost"]), Decimal(each["billed"]), each["unpriced"], each["unbilled"], each["free"])
        for each in models
    )
    return sum(parts, Total())


def by_model(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return the sums over all notebooks, by provider and model."""
    groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for verdict in verdicts:
        for each in verdict.models:
            groups[each["provider"], each["model"]].append(each)
    found: list[dict[str, Any]] = []
    for (provider, model), each in sorted(groups.items()):
        counts = {
            name: sum(one[name] for one in each)
            for name in ("calls", "attempts", "input_tokens", "output_tokens", "unpriced", "unbilled", "free")
        }
        sums = total(each)
        money = {"cost": str(sums.cost), "billed": str(sums.billed)}
        found.append({"provider": provider, "model": model, **counts, **money})
    return found


# --- text ---


def in_words(verdict: Verdict) -> str:
    """Return how the outputs compare: `8 identical, 2 normalised (mode, seconds)`."""
    kinds = ("identical", "normalised", "different")
    parts = [f"{verdict.outputs[kind]} {kind}" for kind in kinds if verdict.outputs.get(kind)]
    rules = f" ({', '.join(sorted(verdict.rules))})" if verdict.rules else ""
    text = ", ".join(f"{part}{rules}" if "normalised" in part else part for part in parts)
    return text or "none saved"


def _tape(verdict: Verdict) -> str:
    return "; ".join(_of_tape(tape) for tape in verdict.tapes) or "none used"


def _of_tape(tape: Mapping[str, Any]) -> str:
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(str(tape["recorded"]))).total_seconds()
        old = f", {aged(age)} old"
    except ValueError:
        old = ""
    unused = f", {tape['unused']} not used" if tape["unused"] else ""
    return f"{tape['exchanges']} exchanges{unused}{old}"


def _rows(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, ...]]:
    sums = [total(verdict.models) for verdict in verdicts]
    costs = column([*sums, sum(sums, Total())])
    for verdict, cost, each in zip(verdicts, costs, sums, strict=False):
        calls = sum(model["calls"] for model in verdict.models)
        state = "red" if verdict.red else "green"
        yield (
            verdict.notebook,
            state,
            f"{verdict.cells:,}",
            f"{calls:,}",
            cost,
            billed(each),
            in_words(verdict),
            _tape(verdict),
        )
    if len(verdicts) > 1:
        calls = sum(model["calls"] for verdict in verdicts for model in verdict.models)
        cells = sum(verdict.cells for verdict in verdicts)
        red = sum(bool(verdict.red) for verdict in verdicts)
        said = f"{red} red" if red else "green"
        yield "total", said, f"{cells:,}", f"{calls:,}", costs[-1], billed(sum(sums, Total())), "", ""


def billed(sums: Total) -> str:
    """Write what was paid."""
    return "unknown" if sums.exact_billed is None else "0" if not sums.billed else usd(sums.billed)


def as_markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the report as Markdown, as for the summary of a job."""
    lines = ["## Notebooks from their tapes", "", *_table(_HEAD, [*_rows(verdicts)])]
    red = [(verdict, finding) for verdict in verdicts for finding in verdict.red]
    if red:
        lines += ["", "### Red", ""]
        for verdict, finding in red:
            lines += [f"**{_cell(verdict.notebook)}**", "", "```text", str(finding).replace("```", "'''"), "```", ""]
    models = by_model(verdicts)
    if models:
        costs = column([total([each]) for each in models], adds_up=False)
        rows = [
            (
                each["model"],
                each["provider"],
                *(f"{each[name]:,}" for name in ("calls", "attempts", "input_tokens", "output_tokens")),
                cost,
            )
            for each, cost in zip(models, costs, strict=True)
        ]
        lines += ["", "### What the run would have cost, by model", "", *_table(_MODELS, rows), "", _prices(verdicts)]
    return "\n".join([*lines, ""])


def _prices(verdicts: Sequence[Verdict]) -> str:
    lists = sorted({str(tape["prices"]) for verdict in verdicts for tape in verdict.tapes if tape.get("prices")})
    recorded = f" Recorded with {', '.join(lists)}." if lists else ""
    return f"At list prices, for the recorded tokens.{recorded}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---:" if name in _RIGHT else "---" for name in head]
    return [f"| {' | '.join(map(_cell, line))} |" for line in (head, rule, *rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def as_text(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the report as lines for a terminal: one for each notebook, and its sum."""
    rows = [*_rows(verdicts)]
    widths = [max((len(row[place]) for row in rows), default=0) for place in range(6)]
    made: list[str] = []
    for row in rows:
        name, state, cells, calls, cost, billed = (
            text.ljust(width) if place < 2 else text.rjust(width)  # noqa: PLR2004 - words before numbers
            for place, (text, width) in enumerate(zip(row, widths, strict=False))
        )
        rest = "; ".join(filter(None, (f"outputs: {row[6]}" if row[6] else "", f"tape: {row[7]}" if row[7] else "")))
        line = f"{name}  {state}  {cells} cells  {calls} calls  would have cost {cost}, billed {billed}"
        made.append(f"{line}  {rest}".rstrip())
    return made


# --- files ---


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the report as plain values."""
    sums = total(model for verdict in verdicts for model in verdict.models)
    return {
        "format": FORMAT,
        "red": sum(bool(verdict.red) for verdict in verdicts),
        "cost": str(sums.cost),
        "unpriced": sums.unpriced,
        "billed": str(sums.billed),
        "models": by_model(verdicts),
        "notebooks": [verdict.as_json() for verdict in verdicts],
    }


def write(verdicts: Sequence[Verdict], path: Path) -> tuple[Path, Path]:
    """Write the report as Markdown and JSON beside each other; return where.

    Args:
        verdicts: On each notebook.
        path: Their name; an ending `.md` or `.json` is left off.

    Raises:
        ConfigError: They cannot be written there.
    """
    stem = path.with_suffix("") if path.suffix in {".md", ".json"} else path
    markdown, data = stem.with_name(f"{stem.name}.md"), stem.with_name(f"{stem.name}.json")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(as_markdown(verdicts), encoding="utf-8")
        data.write_text(json.dumps(as_json(verdicts), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The report cannot be written to {markdown}: {error.strerror or error}.") from None
    return markdown, data
