"""An answer in the form that was asked for: `as=text`, `md`, `json`, `code` or `table`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from victor_nb.calls.schema import REPAIRED, candidates
from victor_nb.calls.structured import find_table, spoken
from victor_nb.errors import MalformedAnswerError
from victor_nb.notebook.markdown import Shown, as_markdown, clean, code_blocks, fence, sanitise, shorten
from victor_nb.reports.frames import records_frame
from victor_nb.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.notebook.options import Form
    from victor_nb.values import Reply

_SEPARATORS: Final = (",", "\t", ";")
_OPENINGS: Final = ("[", "{", "```")
_CLOSINGS: Final = ("]", "}", "```")


VALUED: Final = ("json", "table")
"""The forms that are values, beside being a way to show an answer."""


def valued(reply: Reply, form: Form) -> Reply:
    """Return a reply with the value that its form is as `data`; one that has not this form as it is.

    Of `json` that is the value, repaired where it is broken, with a note that says so; of `table`, a DataFrame with a
    row for each entry of the list, or of the table, that the answer is.
    """
    if reply.status != "ok":
        return reply
    try:
        if form == "json" and reply.data is None:
            value, repaired = _json(reply.content)
            return replace(reply, data=value, notes=(*reply.notes, REPAIRED) if repaired else reply.notes)
        if form == "table":
            return replace(reply, data=records_frame(_records(reply), ()))
    except ValueError:
        pass  # `present` says so
    return reply


def present(reply: Reply, form: Form) -> Shown:
    """Return an answer in a form.

    Args:
        reply: The answer; one that broke off is shown as it is.
        form: How to show it; `md` of what fits a schema is the same as `json`.

    Raises:
        MalformedAnswerError: It has not that form; `.reply` is the answer.
    """
    if reply.status != "ok":
        form = "text" if form == "text" else "md"
    elif form == "md" and reply.data is not None:
        form = "json"
    try:
        return _FORMS[form](reply.content)
    except ValueError as error:
        failure = MalformedAnswerError(
            f"{reply.profile}: {error}. The answer is session().last; ask for the form in the prompt.",
            profile=reply.profile,
            provider=reply.provider,
            model=reply.model,
            request_id=reply.request_id,
        )
        failure.reply = failure.partial = reply
        raise failure from None


def _as_code(text: str) -> Shown:
    blocks = list(code_blocks(text))
    return _code("\n\n".join(code for _, code in blocks) or text, blocks[0][0] if blocks else "")


def _code(code: str, info: str) -> Shown:
    short = clean(shorten(code))
    return Shown(fence(short, info), short)


def _as_table(text: str) -> Shown:
    table = _table(text)
    if not table.columns:
        return Shown(None, "no rows")
    return Shown(sanitise(shorten(table.markdown())), clean(shorten(table.plain())))


_FORMS: Final[Mapping[Form, Callable[[str], Shown]]] = {
    "text": lambda text: Shown(None, clean(shorten(text))),
    "md": as_markdown,
    "json": lambda text: _code(json.dumps(_json(text)[0], indent=2, ensure_ascii=False), "json"),
    "code": _as_code,
    "table": _as_table,
}


def _json(text: str) -> tuple[object, bool]:
    """Return the JSON of an answer, which may stand in a code block or between words, and whether it was repaired."""
    for candidate in (text, *(code for _, code in code_blocks(text))):
        try:
            return json.loads(candidate), False
        except (ValueError, RecursionError):
            continue
    for value, repaired in candidates(text):
        return value, repaired
    raise ValueError("the answer is not JSON")


# --- tables ---


def _table(text: str) -> Table:
    """Return the table of an answer: a list of JSON objects, a Markdown table, CSV, or a JSON list of anything."""
    found = _objects(text)
    if found is not None:
        columns = list(dict.fromkeys(name for row in found for name in row))
        return Table(columns, [[_cell(row.get(name)) for name in columns] for row in found])
    for read in (_from_markdown, _from_csv):
        for candidate in (text, *(code for _, code in code_blocks(text))):
            if table := read(candidate):
                return table
    if (values := _values(text)) is not None:
        return Table(["value"] if values else [], [[_cell(value)] for value in values])
    raise ValueError("the answer holds no table: no list of JSON objects, no Markdown table, no CSV")


def _objects(text: str) -> list[dict[str, object]] | None:
    """Return the first list of objects in the JSON of an answer."""
    try:
        value, _ = _json(text)
    except ValueError:
        return None
    for item in list(cast("dict[str, object]", value).values()) if isinstance(value, dict) else [value]:
        if isinstance(item, list) and item and all(isinstance(row, dict) for row in cast("list[object]", item)):
            return cast("list[dict[str, object]]", item)
    return None


def _values(text: str) -> list[object] | None:
    """Return the list that an answer as a whole is, also as the only value of an object; None if it is none."""
    whole = spoken(text).strip()
    if not (whole.startswith(_OPENINGS) and whole.endswith(_CLOSINGS)):  # a list between words is a remark such as [1]
        return None
    try:
        value, _ = _json(text)
    except ValueError:
        return None
    if isinstance(value, dict) and len(mapping := cast("dict[str, object]", value)) == 1:
        (value,) = mapping.values()
    return cast("list[object]", value) if isinstance(value, list) else None


def _records(reply: Reply) -> list[dict[str, object]]:
    """Return the rows of an answer that is a list or a table, each a mapping by column.

    Raises:
        ValueError: It is neither.
    """
    data: object = reply.data
    if isinstance(data, list):
        return [_fields(item) for item in cast("list[object]", data)]
    if (found := _objects(reply.content)) is not None:
        return found
    table = _table(reply.content)
    columns = [_numbers([row[place] for row in table.rows]) for place in range(len(table.columns))]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _fields(item: object) -> dict[str, object]:
    """Return the fields of an entry: of a model, a dataclass, a mapping; else the entry itself."""
    dump = cast("Callable[[], dict[str, object]] | None", getattr(item, "model_dump", None))
    if dump is not None:
        return dump()
    if is_dataclass(item) and not isinstance(item, type):
        return asdict(item)
    return dict(cast("Mapping[str, object]", item)) if isinstance(item, Mapping) else {"value": item}


def _numbers(cells: Sequence[object]) -> Sequence[object]:
    """Return the cells of a column as numbers, if all of them are; an empty one is unknown."""
    try:
        return [float(text) if "." in text else int(text) if text else None for text in map(str, cells)]
    except ValueError:
        return cells


def _cell(value: object) -> object:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _from_markdown(text: str) -> Table | None:
    found = find_table(clean(text))
    return Table(*found) if found else None


def _from_csv(text: str) -> Table | None:
    lines = [line for line in clean(text).split("\n") if line.strip()]
    for separator in _SEPARATORS:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        if len(rows) > 1 and len(rows[0]) > 1 and {len(row) for row in rows} == {len(rows[0])}:
            return Table(rows[0], rows[1:])
    return None
