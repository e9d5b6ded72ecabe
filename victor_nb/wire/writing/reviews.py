"""Reviews: findings with a severity, a place and a remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from victor_nb.wire.writing.brief import one_line

if TYPE_CHECKING:
    from victor_nb.wire.pace import Size
    from victor_nb.wire.writing.brief import Brief

Severity = Literal["High", "Medium", "Low"]
_ORDER: Final[tuple[Severity, ...]] = ("High", "Medium", "Low")
_FINDINGS: Final[dict[Size, int]] = {"small": 2, "medium": 3, "large": 4}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a reviewer would change."""

    severity: Severity
    title: str
    detail: str
    sign: str = ""


# What can be seen in a program: found only where `sign`, a regular expression, is.
_SEEN: Final = (
    Finding(
        "High",
        "Code from input",
        "`eval` or `exec` runs whatever it is given; parse the value instead.",
        r"\b(?:eval|exec)\(",
    ),
    Finding(
        "High",
        "Query built from text",
        "Values are put into SQL as text; pass them as parameters.",
        r"(?i)f[\"'].*\b(?:select|insert|update|delete)\b.*\{",
    ),
    Finding(
        "High",
        "Secret in the source",
        "A key stands in the code; read it from the environment.",
        r"(?i)(?:api_?key|password|secret|token)\s*=\s*[\"'][^\"']{6,}",
    ),
    Finding(
        "High",
        "Shell with input",
        "`shell=True` lets a file name become a command; pass a list of arguments.",
        r"shell\s*=\s*True",
    ),
    Finding(
        "Medium",
        "Every error is caught",
        "A bare `except` hides mistakes and stops Ctrl-C; name the exceptions.",
        r"except\s*(?:Exception)?\s*:",
    ),
    Finding(
        "Medium",
        "Shared default",
        "A mutable default is one object for all calls; use `None` and make it inside.",
        r"def .*=\s*(?:\[\]|\{\})",
    ),
    Finding(
        "Medium",
        "File left open",
        "Open the file in a `with` block, so that it is closed after an error too.",
        r"(?<!with )\bopen\(",
    ),
    Finding(
        "Medium",
        "Request without a timeout",
        "The call can hang for ever; give it a timeout in seconds.",
        r"requests\.\w+\((?![^)]*timeout)",
    ),
    Finding(
        "Low",
        "Comparison with None",
        "Use `is None`: an object may define its own equality.",
        r"[!=]=\s*None",
    ),
    Finding(
        "Low",
        "Work that is left",
        "A TODO remains; open an issue, or do it now.",
        r"\b(?:TODO|FIXME)\b",
    ),
    Finding(
        "Low",
        "Output by print",
        "A library that prints cannot be silenced; return the value or log it.",
        r"\bprint\(",
    ),
)
# What may be said of any program. The sign is the focus under which it comes first.
_CODE: Final = (
    Finding(
        "High",
        "Input is not checked",
        "An empty or unexpected value goes through to the end; refuse it at the start with a clear message.",
        "security|correct|bug|robust|valid",
    ),
    Finding(
        "Medium",
        "Cost grows with the input",
        "The work is repeated for each item; do it once before the loop, or keep the result.",
        "performance|speed|scal|memory",
    ),
    Finding(
        "Medium",
        "No test of the edge cases",
        "Add tests for the empty input, one item, and two equal items.",
        "test|quality",
    ),
    Finding(
        "Medium",
        "Errors lose their cause",
        "When one error becomes another, keep the first with `from error`.",
        "error|reliab",
    ),
    Finding(
        "Medium",
        "Not usable by keyboard or screen reader",
        "Give each control a name and an order, and do not rely on color alone.",
        "accessib|ux",
    ),
    Finding(
        "Low",
        "The contract is unwritten",
        "One line should say what goes in, what comes out, and in which units.",
        "doc|read|maintain",
    ),
    Finding(
        "Low",
        "A name says how, not what",
        "Name the result after its meaning; the type already says how it is made.",
        "read|style|naming",
    ),
)
_TEXT: Final = (
    Finding(
        "High",
        "The main claim comes late",
        "Say in the first sentence what the reader should do or know.",
        "structure|clar",
    ),
    Finding(
        "Medium",
        "A number is missing",
        "Where it says more, faster or cheaper, say how much and compared with what.",
        "evidence|accur|fact",
    ),
    Finding(
        "Medium",
        "The other side is absent",
        "Name the strongest objection and answer it, before a reader does.",
        "argument|balance",
    ),
    Finding(
        "Medium",
        "No next step",
        "End with who does what by when.",
        "plan|action",
    ),
    Finding(
        "Low",
        "Two words for one thing",
        "Choose one term and keep it throughout.",
        "style|word|consist",
    ),
    Finding(
        "Low",
        "Sentences run long",
        "Split those with more than one idea.",
        "read|style|grammar",
    ),
)
_ABOUT_CODE: Final = re.compile(r"\b(?:accessibility|api|code|diff|performance|pull request|security)\b", re.IGNORECASE)
_VERDICTS: Final[dict[Severity, str]] = {
    "High": "Not ready yet: one finding should be fixed first.",
    "Medium": "Sound in its main lines; a few points are worth fixing before it is used.",
    "Low": "Ready to use; what remains is polish.",
}


def write_review(brief: Brief) -> str:
    """Return a verdict and findings, the gravest first."""
    found = _findings(brief)
    lines = [f"{place}. {_line(brief, finding)}" for place, finding in enumerate(found, start=1)]
    if "APPROVED" in brief.prompt and found[0].severity != "High":
        return "APPROVED"
    verdict = _VERDICTS[found[0].severity]
    if brief.size == "small":
        return "\n".join([*lines, "", f"Verdict: {verdict}"])
    good = (
        "The structure is easy to follow, and the names help."
        if brief.code
        else "The purpose is clear and the tone fits."
    )
    return "\n".join([f"**Verdict.** {verdict}", "", *lines, "", f"What works: {good}"])


def _findings(brief: Brief) -> list[Finding]:
    """Return what is seen in the code, filled up with what may be said of any."""
    wanted = min(brief.count("findings?|issues?|problems?|bugs?|flaws?|points?") or _FINDINGS[brief.size], 12)
    seen = [finding for finding in _SEEN if brief.code and re.search(finding.sign, brief.code)]
    bank = brief.chance.shuffled(_CODE if brief.code or _ABOUT_CODE.search(brief.task) else _TEXT, "finding")
    bank.sort(key=lambda finding: not re.search(finding.sign, brief.task, re.IGNORECASE))
    return sorted([*seen, *bank][:wanted], key=lambda finding: _ORDER.index(finding.severity))


def _line(brief: Brief, finding: Finding) -> str:
    where = _where(brief, finding)
    return f"**[{finding.severity}] {finding.title}**{where}: {finding.detail}"


def _where(brief: Brief, finding: Finding) -> str:
    """Return the line where a sign was found, or a function or phrase that the finding can stand on."""
    if not brief.code:
        return ""
    sign = re.search(finding.sign, brief.code) if finding in _SEEN else None
    if sign:
        return f" (line {brief.code.count(chr(10), 0, sign.start()) + 1})"
    names = re.findall(r"\b(?:def|func|function|fn|class)\s+(\w+)", brief.code)
    return f" (`{one_line(brief.chance.pick(names, finding.title))}`)" if names else ""
