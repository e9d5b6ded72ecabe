"""An answer in the form that was asked for: `as=text`, `md`, `json`, `code` or `table`."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.errors import MalformedAnswerError
from victor_nb.notebook.markdown import Shown, as_markdown, clean, code_blocks, fence, sanitise, shorten
from victor_nb.tables import Table
from victor_nb.workflows.structured import find_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from victor_nb.notebook.options import Form
    from victor_nb.values import Reply

_SEPARATORS: Final = (",", "\t", ";")


def present(reply: Reply, form: Form, schema: object | None = None) -> Shown:
    """Return an answer in a form.

    Args:
        reply: The answer; one that broke off is shown as it is.
        form: How to show it.
        schema: A type or pydantic model that it must fit, as JSON.

    Raises:
        MalformedAnswerError: It has not that form; `.reply` is the answer.
    """
    if reply.status != "ok":
        form, schema = "text" if form == "text" else "md", None
    try:
        if schema is not None:
            _check(_json(reply.content), schema)
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
    return Shown(sanitise(shorten(table.markdown())), clean(shorten(table.plain())))


_FORMS: Final[Mapping[Form, Callable[[str], Shown]]] = {
    "text": lambda text: Shown(None, clean(shorten(text))),
    "md": as_markdown,
    "json": lambda text: _code(json.dumps(_json(text), indent=2, ensure_ascii=False), "json"),
    "code": _as_code,
    "table": _as_table,
}


def _json(text: str) -> object:
    """Return the JSON of an answer, which may stand in a code block."""
    for candidate in (text, *(code for _, code in code_blocks(text))):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    raise ValueError("the answer is not JSON")


def _check(value: object, schema: object) -> None:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - pydantic is slow to import
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        TypeAdapter(cast("Any", schema)).validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise ValueError(f"the answer does not fit the schema: {where}: {first['msg'].lower()}{more}") from None
    except PydanticUserError:
        raise ValueError("schema= is no type that pydantic knows") from None


# --- tables ---


def _table(text: str) -> Table:
    """Return the table of an answer: a list of JSON objects, a Markdown table, or CSV."""
    try:
        found = _from_json(_json(text))
    except ValueError:
        found = None
    candidates = (text, *(code for _, code in code_blocks(text)))
    for read in (_from_markdown, _from_csv):
        for candidate in candidates:
            found = found or read(candidate)
    if found is None:
        raise ValueError("the answer holds no table: no list of JSON objects, no Markdown table, no CSV")
    return found


def _from_json(value: object) -> Table | None:
    parts = list(cast("dict[str, object]", value).values()) if isinstance(value, dict) else [value]
    for item in parts:
        if isinstance(item, list) and item and all(isinstance(row, dict) for row in cast("list[object]", item)):
            rows = cast("list[dict[str, object]]", item)
            columns = list(dict.fromkeys(name for row in rows for name in row))
            return Table(columns, [[_cell(row.get(name)) for name in columns] for row in rows])
    return None


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
