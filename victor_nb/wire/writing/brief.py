"""Reads a prompt: what is to be done, on what material, about which subject, and how long."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from victor_nb.wire.pace import Chance, size_of
from victor_nb.wire.writing.subjects import keywords, subject

if TYPE_CHECKING:
    from victor_nb.wire.dialects.base import Asked, JsonObject
    from victor_nb.wire.pace import Size

_NUMBERS: Final = {
    "a single": 1, "one": 1, "a couple of": 2, "two": 2, "three": 3, "a few": 3, "four": 4, "five": 5, "several": 5,
    "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "a dozen": 12, "fifteen": 15,
    "twenty": 20, "thirty": 30, "fifty": 50,
}  # fmt: skip
NUMBER: Final = r"(?:\d{1,3}|" + "|".join(_NUMBERS) + r")"
_FENCE: Final = re.compile(r"```(?P<language>[\w+#.-]*)[^\n]*\n(?P<code>.*?)(?:```|\Z)", re.DOTALL)
# Verbs that say what to do with what stands behind a colon.
_DOES: Final = re.compile(
    r"\b(?:answer|audit|brainstorm|categori[sz]e|check|choose|classify|code|compare|condense|convert|critique|describe|"
    r"evaluate|explain|extract|find|fix|generate|give|implement|improve|judge|label|list|make|outline|pick|polish|"
    r"prioriti[sz]e|produce|proofread|prototype|rank|rate|refactor|refine|reply|respond|review|rewrite|score|select|shortlist|show|suggest|"
    r"summari[sz]e|tag|tell|tests?|translate|turn|which|write)\b",
    re.IGNORECASE,
)
_MARK: Final = re.compile(r"^[ \t]*(?:[-*•]|\(?\d{1,3}[.):]|#+[ \t])[ \t]*\S", re.MULTILINE)
_HEADER: Final = re.compile(
    r"^[#* \t]*(?:answer|approach|candidate|draft|idea|item|option|proposal|response|review|solution|text)[ \t]+"
    r"#?(?P<mark>\d{1,3}|[A-Z])\b[* \t]*[:.)\-]?[* \t]*(?P<text>[^\n]*)$",
    re.MULTILINE | re.IGNORECASE,
)
_NUMBERED: Final = re.compile(r"^[ \t]*[*#]*\(?(?P<mark>\d{1,3})[.):\]][ \t]+(?P<text>\S[^\n]*)$", re.MULTILINE)
_BULLET: Final = re.compile(r"^[ \t]*[-*•][ \t]+(?P<text>\S[^\n]*)$", re.MULTILINE)
_QUOTED: Final = re.compile(r"(?<!\w)(?P<q>['\"])(?P<text>(?:(?!(?P=q)).){1,400})(?P=q)(?!\w|\s*:)")
_LONG_HEAD: Final = 600  # characters: a paragraph longer than this is material, not an instruction
_LONG_ORDER: Final = 300  # characters
_LONG_CUE: Final = 200
_LONG_ITEM: Final = 160


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a list in the prompt, with the mark that the prompt gives it (`3`, `B`)."""

    mark: str
    text: str


@dataclass(frozen=True)
class Brief:
    """A question, read for those who write the answer.

    Attributes:
        prompt: The last message of the user.
        earlier: The messages before it.
        asked_before: Those among them that the user sent.
        system: The system prompt.
        size: How big the asked model seems; bigger ones say more.
        chance: Where this answer's choices come from.
        wants_json: Whether the protocol asks for JSON.
        schema: The schema that the protocol asks for.
    """

    prompt: str
    earlier: tuple[str, ...]
    asked_before: tuple[str, ...]
    system: str
    size: Size
    chance: Chance
    wants_json: bool
    schema: JsonObject | None

    @cached_property
    def task(self) -> str:
        """What is to be done: the first paragraph up to its material, and later lines that begin with an order."""
        head, _ = self._split
        return "\n".join((head, *self._orders)).strip()

    @cached_property
    def material(self) -> str:
        """What it is to be done with; "" where the prompt is all instruction."""
        _, rest = self._split
        return "\n".join(line for line in rest.splitlines() if line.strip() not in self._orders).strip()

    @cached_property
    def _split(self) -> tuple[str, str]:
        head, _, rest = self.prompt.strip().partition("\n\n")
        fence, mark = _FENCE.search(head), _MARK.search(head)
        cut = min((found.start() for found in (fence, mark) if found and found.start()), default=len(head))
        head, rest = head[:cut], f"{head[cut:]}\n\n{rest}".strip()
        cue, colon, behind = head.partition(":")
        if colon and len(cue) <= _LONG_CUE and _DOES.search(re.split(r"[.!?]\s", cue)[-1]):
            return cue.strip(), f"{behind.strip()}\n\n{rest}".strip()
        if len(head) > _LONG_HEAD:
            first = re.split(r"(?<=[.!?:])\s", head, maxsplit=1)[0][:_LONG_HEAD]
            return first, self.prompt.strip()[len(first) :].strip()
        return head.strip(), rest

    @cached_property
    def _orders(self) -> tuple[str, ...]:
        _, rest = self._split
        lines = [line.strip() for line in _FENCE.sub("", rest).splitlines()]
        told = [line for line in lines if len(line) <= _LONG_ORDER and not _MARK.match(line) and _DOES.match(line)]
        return () if told == lines or looks_like_code(rest) else tuple(told)

    @cached_property
    def code(self) -> str:
        """The code in the prompt: what is fenced, else the material if it looks like code."""
        fenced = "\n\n".join(found["code"].rstrip() for found in _FENCE.finditer(self.prompt))
        if fenced.strip():
            return fenced
        return self.material if looks_like_code(self.material) else ""

    @cached_property
    def fence_language(self) -> str:
        """The language named on the first code fence of the prompt."""
        found = _FENCE.search(self.prompt)
        return found["language"].lower() if found else ""

    @cached_property
    def subject(self) -> str:
        """What it is all about, as a short phrase in the prompt's own words."""
        texts = (self.task, _FENCE.sub("", self.material), *reversed(self.asked_before))
        return next((found for text in texts if (found := subject(text))), "the task")

    @cached_property
    def keywords(self) -> tuple[str, ...]:
        """Up to eight words that carry the prompt, most important first."""
        return keywords(f"{self.subject} {self.task} {self.material[:2000]}")

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The things that the prompt lists: under headings, numbered, bulleted, quoted, or with commas."""
        body = self.material or self.prompt
        for pattern in (_HEADER, _NUMBERED, _BULLET, _QUOTED):
            found = list(pattern.finditer(body))
            if len(found) > 1:
                return tuple(_item(place, match, body) for place, match in enumerate(found, start=1))
        return tuple(Item(str(place), text) for place, text in enumerate(inline(body), start=1))

    def count(self, things: str, default: int | None = None) -> int | None:
        """Return how many of `things` (a regular expression) the task asks for."""
        asked = re.search(rf"\b({NUMBER})[\s-]+(?:[\w'-]+\s+){{0,4}}?(?:{things})\b", self.task, re.IGNORECASE)
        return number(asked[1]) if asked else default


def read(asked: Asked) -> Brief:
    """Return the brief of a question."""
    texts = [turn.content for turn in asked.messages]
    last = max((place for place, turn in enumerate(asked.messages) if turn.role == "user"), default=len(texts) - 1)
    return Brief(
        prompt=texts[last],
        earlier=tuple(texts[:last]),
        asked_before=tuple(turn.content for turn in asked.messages[:last] if turn.role == "user"),
        system=asked.system,
        size=size_of(asked.model),
        chance=Chance(asked.seed),
        wants_json=asked.wants_json,
        schema=asked.schema,
    )


def number(text: str) -> int:
    """Return the number that a figure or a word stands for."""
    return int(text) if text.isdecimal() else _NUMBERS.get(text.lower(), 1)


def looks_like_code(text: str) -> bool:
    """Say whether a text is a program rather than prose."""
    opening = r"^[ \t]*(?:#include|SELECT|class|const|def|fn|from|func|function|import|let|private|public|var)\b"
    signs = rf"{opening}|[;{{}}][ \t]*$|=>"
    return bool(re.search(signs, text, re.MULTILINE))


def _item(place: int, found: re.Match[str], body: str) -> Item:
    marks = found.groupdict()
    text = marks["text"] or body[found.end() :].strip().partition("\n")[0]
    return Item(marks.get("mark") or str(place), re.sub(r"^\(\w{1,3}\)\s+", "", one_line(text)))


def inline(body: str) -> list[str]:
    """Return the things of a line such as `apples, pears or plums`."""
    line = body.strip().partition("\n")[0]
    line = line.rpartition(":")[2]
    if not re.search(r"[,;|]|\sor\s", line):
        return []
    joints = r",\s*(?:and|or)\s+|[,;|]\s*|\s+or\s+" + (r"|\s+and\s+" if re.search(r"[,;|]", line) else "")
    parts = [one_line(part).strip(" .?!") for part in re.split(joints, line)]
    return [part for part in parts if part]


def one_line(text: str) -> str:
    """Return a text on one line, without emphasis, cut where it grows too long."""
    flat = " ".join(re.sub(r"[*_`]{2,}", "", text).split())
    return flat if len(flat) <= _LONG_ITEM else flat[: _LONG_ITEM - 3].rstrip() + "..."
