"""The keys of a magic line, each a field of `MagicCall` whose annotation is its row, and the help that lists them."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from textwrap import indent
from typing import Annotated, Any, Final, Literal, TypeAlias, cast, get_args

from victor_nb.config.request_options import MAPPING, NAME, SAMPLES, CallSettings, Kind, Option, rows, whole, word
from victor_nb.values import listed

Form: TypeAlias = Literal["text", "md", "json", "code", "table"]
Show: TypeAlias = Literal["answer", "quiet", "none"]
OnError: TypeAlias = Literal["keep", "raise"]

_TRUTHS: Final = {
    **dict.fromkeys(("true", "on", "yes", "1", "footer"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}
_PYTHONS: Final = frozenset({"In", "Out", "get_ipython", "exit", "quit", "_", "__", "___"})
"""Names of Python's and IPython's own that an assignment would hide."""


# --- kinds of values that only a line has ---


def _read_names(value: object) -> object:
    """Read names that commas separate, or those of a list."""
    if isinstance(value, str):
        value = value.split(",")
    value = listed(cast("Sequence[object]", value))
    if not isinstance(value, (list, tuple)):
        return value
    parts = cast("Iterable[object]", value)
    return tuple(part.strip() if isinstance(part, str) else part for part in parts)


def _is_listed(value: object) -> bool:
    """Return whether a value is a name in a list, without the brackets that a list has in Python."""
    return NAME.fits(value) and not set("[]()") & set(cast("str", value))


def _is_variable(value: object) -> bool:
    named = isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)
    return named and value not in _PYTHONS and not hasattr(builtins, cast("str", value))


def _read_show(value: object) -> object:
    return "answer" if value == "all" else value


def _read_amount(value: object) -> object:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return value


NAMES: Final = Kind(
    "names, with commas between them",
    lambda value: isinstance(value, tuple) and all(map(_is_listed, cast("tuple[object, ...]", value))),
    read=_read_names,
)
VARIABLE: Final = Kind("a variable name that hides none of Python's", _is_variable)
FLAG: Final = Kind(
    "true or false",
    lambda value: isinstance(value, bool),
    read=lambda value: _TRUTHS.get(value.lower(), value) if isinstance(value, str) else value,
    choices=("true", "false"),
)
SWITCH: Final = replace(FLAG, words="on or off", choices=("on", "off"))
AMOUNT: Final = Kind(
    "an amount in USD", lambda value: isinstance(value, Decimal) and value.is_finite() and value >= 0, read=_read_amount
)


def _is_table(value: object) -> bool:
    """Return whether a value has rows: a DataFrame, a Series, a list, an iterator, an async iterator."""
    given = cast("Any", value)
    if isinstance(given, (str, bytes, Mapping, type)) or isinstance(getattr(given, "content", None), str):
        return False  # text, one row, a class, a reply
    return hasattr(given, "__iter__") or hasattr(given, "__aiter__")


TABLE: Final = Kind("a DataFrame, a Series, a list or an iterator", _is_table)
COUNT: Final = whole(1)
FORM: Final = word(*get_args(Form))
SHOW: Final = replace(word(*get_args(Show)), read=_read_show)
ON_ERROR: Final = word(*get_args(OnError))


@dataclass(frozen=True, kw_only=True)
class MagicCall(CallSettings):
    """What a magic line asks for. What is None was not given, and is not sent."""

    profile: Annotated[
        str | None, Option(NAME, "the profile that answers; a bare first word is the same", "fast", settable=True)
    ] = None
    profiles: Annotated[
        tuple[str, ...], Option(NAMES, "several profiles, side by side", "fast,local", settable=True)
    ] = ()
    n: Annotated[int | None, Option(SAMPLES, "samples of each profile", "3")] = None
    over: Annotated[object | None, Option(TABLE, "ask for every row: {{ column }} is its cell", "$df")] = None
    rows: Annotated[int | None, Option(COUNT, "with over=: the first rows only", "100")] = None
    concurrency: Annotated[int | None, Option(COUNT, "with over=: calls at once, at most", "8")] = None
    rpm: Annotated[int | None, Option(COUNT, "with over=: requests a minute, at most", "500")] = None
    tpm: Annotated[int | None, Option(COUNT, "with over=: tokens a minute, at most", "200000")] = None
    on_error: Annotated[OnError, Option(ON_ERROR, "what a failure among several does", "raise")] = "keep"
    strategy: Annotated[
        str | None, Option(NAME, "funnel, tiered, specialized, cascade, single, or one of profiles.yaml", "funnel")
    ] = None
    out: Annotated[str | None, Option(VARIABLE, "the variable that gets the Reply; -o NAME is the same", "reply")] = (
        None
    )
    chat: Annotated[str | None, Option(NAME, "remember the conversation under this name", "demo")] = None
    form: Annotated[Form, Option(FORM, "how the answer is shown", "json")] = "md"
    vars: Annotated[Mapping[str, object] | None, Option(MAPPING, "the only names that {{ }} may use", "$row")] = None
    raw: Annotated[bool, Option(FLAG, "replace nothing in the prompt", "true")] = False
    budget: Annotated[Decimal | None, Option(AMOUNT, "USD that the cell may spend", "0.50", label="Budget, USD")] = None
    bg: Annotated[bool, Option(FLAG, "return at once, and go on in the background", "true")] = False
    dry: Annotated[bool, Option(FLAG, "show and price what would be sent, and send nothing", "true")] = False
    show: Annotated[Show, Option(SHOW, "how much is shown", "quiet", settable=True)] = "answer"
    cost: Annotated[bool, Option(SWITCH, "whether the bill stands under the answer", "off", settable=True)] = True
    help: bool = False


FIELDS: Final = {"as": "form"}
"""The fields whose key is a word that no Python name may be."""
_NAMES: Final = {field: key for key, field in FIELDS.items()}
KEYS: Final[Mapping[str, Option]] = {_NAMES.get(name, name): row for name, row in rows(MagicCall).items()}
FLAGS: Final = frozenset(key for key, row in KEYS.items() if row.kind is FLAG)
SETTABLE: Final = tuple(key for key, row in KEYS.items() if row.settable)
"""The keys that `%victor set` takes."""
_EXAMPLES: Final = """Ask a model. The cell's lines are the prompt; the answer streams in, with its bill under it.

    %%victor
    What is overfitting?                       the default profile answers

    %%victor fast out=reply                    a profile of profiles.yaml; the reply becomes a variable
    Summarise in one line: {{ text }}          {{ name }} is your variable; all else is sent as typed

    %%victor fast as=json max_tokens=500       text, md, json, code or table
    Classify {{ df | head(20) }} as JSON.     .attr ['key'] [0] | md csv json repr head sample truncate schema image pdf

    %%victor fast schema=$Invoice out=r        a pydantic model, dataclass, TypedDict or JSON schema; r.data is one
    Read this invoice: {{ text }}

    %%victor profiles=fast,local n=2           several at once, side by side
    %%victor strategy=funnel budget=0.10       explore, select, implement, review; at most USD 0.10
    %%victor fast bg=true out=job              returns at once; job.result() waits

    %%victor fast over=$df out=label           every row of a frame; the new frame is the variable `label`
    Classify: {{ review }}                     a column of it, before your own names

    %%victor fast cache=on                     the same question again costs nothing; refresh asks anew

    %%victor fast --dry                        what would be sent and what it would cost; sends nothing

Keys, as key=value or --key value; $name is a Python object:
"""


def describe_keys() -> str:
    """Return a line for each key: an example, what it is for, and the words that it takes."""
    pairs = {key: f"{key}={row.example}" for key, row in KEYS.items()}
    width = max(map(len, pairs.values()))
    return "\n".join(f"{pairs[key]:<{width}}  {row.help}{_listed(row)}" for key, row in KEYS.items())


def _listed(row: Option) -> str:
    return "" if row.kind in (FLAG, SWITCH) or not row.kind.choices else f": {' '.join(row.kind.choices)}"


CELL_HELP: Final = f"""{_EXAMPLES}
{indent(describe_keys(), "    ")}

Write \\{{{{ name }}}} to send braces as text. Stop ends the call at once and keeps what came in session().last.
"""

LINE_HELP: Final = """Look after models, money and modes. Only `ask`, `search` and `tape rerecord` send prompts.

    %victor                                    how things stand
    x = %victor ask fast -- What is a kernel?  the Reply, without showing it
    %victor search tasks=$tasks score=$check keep=0.95    a cheaper plan that keeps the quality; out=found
    %victor pick                               choose a profile from a list: it becomes the default
    %victor panel                              ask from a form; `%victor panel code` turns it into a cell
    %victor profiles                           who can be asked, and at what price; `new` writes a profiles.yaml
    %victor mode simulate                      answers without keys and without cost (live: real ones)
    %victor local                              a 135M model on your CPU, free: what it takes; `yes` fetches it
    %victor cost by=model                      what was spent; by=profile, strategy, stage, notebook, day, status, ...
    %victor cost since=30d scope=all by=day    by all kernels in 30 days; since=12h, today, 2026-11-01; scope=notebook
    %victor report costs.html                  that as a page with charts; `%victor plot spend` draws its days
    %victor budget 0.50                        what this notebook may spend in all, in USD (off: no limit)
    %victor plot cost_by_stage                 a chart of the last strategy run; funnel, gantt, tokens_vs_cost, ...
    %victor strategy                           the strategies and their stages
    %victor ledger 20                          the last attempts, one row each
    %victor last                               the last reply; `%victor errors` has the last error in full
    %victor set profile=fast timeout=60        defaults of this notebook; `%victor set reset` forgets them
    %victor cache                              the answers that cache=on keeps; prune older=30d, model=NAME; clear yes
    %victor trust gateway.example              let files of a project name this host, or ./x.gguf; `forget HOST` ends it
    %victor tape                               what VICTOR_MODE=record keeps: verify, prune, rekey, rerecord --cell 7
    %victor doctor                             is every profile reachable, priced and current? Spends nothing
    %victor cancel                             stop what still runs; `%victor chats clear demo` forgets a conversation

`%%victor?` says how to ask. In a shell, `victor-nb check NAME.ipynb` runs a notebook from its tape.
"""
