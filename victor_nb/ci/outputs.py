"""The normaliser: whether a notebook's outputs are those that were saved, but for what differs from run to run.

Only outputs are compared: no source, no metadata, no number of a cell. What may differ is in `RULES`, each with its
name and its reason.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Output: TypeAlias = "dict[str, Any]"
"""An output of a cell, as a notebook has it."""
Outcome: TypeAlias = Literal["identical", "normalised", "different"]

IGNORED: Final = "nbval-ignore-output"
"""The tag of a cell whose outputs are not compared; nbval has it, too."""
_WIDGET: Final = "application/vnd.jupyter.widget-view+json"
_INLINE: Final = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_SHOWN: Final = {"display_data", "execute_result"}
_PICTURES: Final = {"image/png", "image/jpeg"}
_MOST_LINES: Final = 6
_LONGEST: Final = 160
_PLAINEST: Final = ("stdout", "error", "text/plain", "text/markdown")


def _unchanged(value: Any) -> Any:  # noqa: ANN401 - outputs or a text
    return value


@dataclass(frozen=True, slots=True)
class Rule:
    """Something in outputs that may differ from run to run.

    Attributes:
        why: Why it does.
        text: Makes texts alike.
        outputs: Makes the outputs of a cell alike.
    """

    name: str
    why: str
    text: Callable[[str], str] = _unchanged
    outputs: Callable[[list[Output]], list[Output]] = _unchanged


# --- what rules do ---


def _written(pattern: str, instead: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(instead, text)


def _numbered(pattern: str) -> Callable[[str], str]:
    """Number what differs in the order in which it comes: what was the same stays the same."""
    compiled = re.compile(pattern)

    def numbered(text: str) -> str:
        seen: dict[str, str] = {}
        return compiled.sub(lambda found: seen.setdefault(found[0], f"<id {len(seen) + 1}>"), text)

    return numbered


def _joined(outputs: list[Output]) -> list[Output]:
    made: list[Output] = []
    for output in outputs:
        if made and output["output_type"] == made[-1]["output_type"] == "stream" and output["name"] == made[-1]["name"]:
            made[-1] = {**made[-1], "text": made[-1]["text"] + output["text"]}
        else:
            made.append(output)
    return [output for output in made if output["output_type"] != "stream" or output["text"].strip()]


def _without_stderr(outputs: list[Output]) -> list[Output]:
    return [output for output in outputs if output.get("name") != "stderr"]


def _without_traceback(outputs: list[Output]) -> list[Output]:
    return [{key: value for key, value in output.items() if key != "traceback"} for output in outputs]


def _without_widgets(outputs: list[Output]) -> list[Output]:
    """Take away widgets: what they show beside it, as text or HTML, is compared."""
    made: list[Output] = []
    for output in outputs:
        if output["output_type"] not in _SHOWN:
            made.append(output)
            continue
        data = {kind: value for kind, value in output["data"].items() if kind != _WIDGET}
        if data:
            made.append({**output, "data": data})
    return made


def _as_pixels(outputs: list[Output]) -> list[Output]:
    made: list[Output] = []
    for output in outputs:
        if output["output_type"] in _SHOWN:
            data = {kind: _seen(kind, value) for kind, value in output["data"].items()}
            output = {**output, "data": data}  # noqa: PLW2901 - the same output
        made.append(output)
    return made


def _seen(kind: str, value: Any) -> Any:  # noqa: ANN401 - any MIME type's
    if kind in _PICTURES and isinstance(value, str):
        return _pixels(value)
    if kind == "text/html" and isinstance(value, str):
        return _INLINE.sub(lambda found: _pixels(found[1]), value)
    return value


def _unlabelled(outputs: list[Output]) -> list[Output]:
    """Leave of a picture whose alt text names the mode only its size: the label is drawn in it, too."""
    made: list[Output] = []
    for output in outputs:
        data = dict(output.get("data", {}))
        if _LABEL.search(str(data.get("text/plain", ""))):
            data |= {kind: _seen(kind, data[kind]).partition(",")[0] for kind in data.keys() & _PICTURES}
        if isinstance(html := data.get("text/html"), str):
            data["text/html"] = _LABELLED.sub(r"\1", html)
        output = {**output, "data": data} if data else output  # noqa: PLW2901 - the same output
        made.append(output)
    return made


@cache
def _pixels(data: str) -> str:
    from PIL import Image  # noqa: PLC0415 - only where there are pictures

    try:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            digest = hashlib.sha256(image.convert("RGBA").tobytes()).hexdigest()[:16]
            return f"picture of {image.width} x {image.height} pixels, {digest}"
    except (OSError, ValueError):
        return data


_LABEL: Final = re.compile(r"\b(?:simulated|replayed)\b")
_LABELLED: Final = re.compile(r'(<img alt="[^"]*\b(?:simulated|replayed)\b[^"]*"[^>]*picture of \d+ x \d+ pixels), \w+')
_NUMBER: Final = r"(?<![\w.])\d[\d,]*(?:\.\d+)?"
_MODE: Final = (
    r"(?i)\bmode: (?:live|record|simulate|replay)\b.*|(?:simulated|replayed), at list prices; nothing of it was paid:"
    r"|\bpaid: (?:>= )?(?:USD [\d.]+(?: \([\d,]+ unpriced\))?|free)\."
    r"|(?: · )?\b(?:live|record|simulated?|replay(?:ed)?)\b"
)
_DAY: Final = r"(?<![\w-])\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\w-])"

RULES: Final = (
    Rule("streams", "What is printed comes in pieces of any length.", outputs=_joined),
    Rule(
        "stderr",
        "Warnings and logs are of the machine and its packages. They are searched for errors of magics, though.",
        outputs=_without_stderr,
    ),
    Rule(
        "tracebacks",
        "They hold paths and lines of packages. Class and words are compared.",
        outputs=_without_traceback,
    ),
    Rule(
        "widgets", "Each has an id of its own. What it shows without a browser is compared.", outputs=_without_widgets
    ),
    Rule(
        "pictures", "The same picture is compressed otherwise elsewhere. Its pixels are compared.", outputs=_as_pixels
    ),
    Rule(
        "labels",
        "Charts have the mode drawn in them. Where their alt text names it, that and the size are compared.",
        outputs=_unlabelled,
    ),
    Rule("mode", "Bills, tables and `%victor mode` name how answers came.", _written(_MODE, "")),
    Rule(
        "seconds",
        "Durations are of the machine.",
        _written(rf"{_NUMBER}\s?(?:ms|s|sec|min|h|seconds?|minutes?|hours?)\b", "<seconds>"),
    ),
    Rule("fastest", "Who was the fastest follows from the seconds.", _written(r"(?: · )?\bfastest\b", "")),
    Rule(
        "dates",
        "Each run has its own.",
        _written(rf"{_DAY}|(?<![\w:.])\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?![\w:])", "<date>"),
    ),
    Rule("addresses", "Objects are at other places of the memory.", _written(r"\b0x[0-9a-f]{6,}\b", "<address>")),
    Rule(
        "ids",
        "Made anew in each run: UUIDs, ids of pandas' styles and of our widgets.",
        _numbered(
            r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b|\bT_[0-9a-f]{5}|victor-fallback-(?:[0-9a-f]{12}|\d+)"
        ),
    ),
    Rule(
        "folders",
        "A notebook is in another folder on another machine. The last part of a path is compared.",
        _written(r"(?<![\w:/.<~])(?:~?/(?:[\w.@+-]+/)+|[A-Za-z]:\\(?:[\w.@+ -]+\\)+)", "<folder>/"),
    ),
    Rule(
        "padding",
        "Columns are as wide as their widest word, which may be any of these.",
        _written(r"[ \t\u00a0]{2,}|[-─═=]{3,}", " "),
    ),
)
"""What may differ, in the order in which the rules are applied."""


# --- comparing ---


@dataclass(frozen=True, slots=True)
class Comparison:
    """How outputs of a cell compare with those that were saved.

    Attributes:
        rules: The names of the rules without which they would differ.
        diff: What differs, a line each.
    """

    outcome: Outcome
    rules: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()


def compare(saved: Sequence[Output], new: Sequence[Output]) -> Comparison:
    """Compare the outputs of a cell with those that were saved."""
    if _lines(saved, ()) == _lines(new, ()):
        return Comparison("identical")
    before, after = _lines(saved, RULES), _lines(new, RULES)
    if before == after:
        rest = {rule.name: [each for each in RULES if each is not rule] for rule in RULES}
        needed = (name for name, rules in rest.items() if _lines(saved, rules) != _lines(new, rules))
        return Comparison("normalised", rules=tuple(needed))
    return Comparison("different", diff=tuple(_diff(before, after)))


def _lines(outputs: Iterable[Output], rules: Sequence[Rule]) -> list[str]:
    made: list[Output] = json.loads(json.dumps([*outputs]))
    for rule in rules:
        made = rule.outputs(made)
    return [*chain.from_iterable(_of_output(output, rules) for output in made)]


def _of_output(output: Output, rules: Sequence[Rule]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield from _of_text(output["name"], output["text"], rules)
    elif output["output_type"] == "error":
        words = [f"{output.get('ename')}: {output.get('evalue')}", *output.get("traceback", ())]
        yield from _of_text("error", "\n".join(words), rules)
    else:
        for kind, value in sorted(output["data"].items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
            yield from _of_text(kind, text, rules)


def _of_text(kind: str, text: str, rules: Sequence[Rule]) -> Iterator[str]:
    for rule in rules:
        text = rule.text(text)
    for line in text.strip("\n").split("\n"):
        if not rules or line.strip():
            yield f"{kind}: {line.strip() if rules else line}"


def _diff(before: list[str], after: list[str]) -> Iterator[str]:
    """Yield what differs; where an output has several forms, the plainest of those that differ."""
    found = [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if _is_change(line)]
    kinds = dict.fromkeys(line[1:].partition(":")[0] for line in found)
    kind = next((kind for kind in _PLAINEST if kind in kinds), next(iter(kinds)))
    removed, added = ([line for line in found if line.startswith(f"{sign}{kind}:")] for sign in "-+")
    shown = [*chain.from_iterable(_cut(*pair, len(kind) + 3) for pair in zip_longest(removed, added, fillvalue=""))]
    yield from shown[:_MOST_LINES]
    if len(shown) > _MOST_LINES:
        yield f"and {len(shown) - _MOST_LINES:,} lines more"


def _is_change(line: str) -> bool:
    return line.startswith(("-", "+")) and not line.startswith(("---", "+++"))


def _cut(old: str, new: str, begin: int) -> Iterator[str]:
    """Yield both lines without their kinds; of long ones what is about the first difference."""
    same = next((at for at, (a, b) in enumerate(zip(old[begin:], new[begin:], strict=False)) if a != b), 0)
    start = max(0, same - _LONGEST // 4) if max(len(old), len(new)) > _LONGEST else 0
    for line in filter(None, (old, new)):
        text = line[begin:][start:]
        short = f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text
        yield f"{line[0]} {'…' if start else ''}{short}"
