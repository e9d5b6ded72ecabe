"""What a request asks, as a tape compares it; and how a request that was not recorded differs from the nearest one."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx2

JsonBody: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]
_WITHOUT_MEANING: Final = frozenset(
    "service_tier serviceTier tier user metadata stream_options safety_identifier store_id labels keep_alive "
    "cache_control cachedContent".split()
)
"""Fields of a request that change no answer: tiers, hints for caches, names of users."""
_CACHE_HINT: Final = "prompt_cache_"
_LEFT_OUT: Final = frozenset(("key", "api_key", "api-version"))  # of a query
_BASE64: Final = re.compile(r"(?P<head>data:[\w.+/-]+;base64,)?(?P<data>[A-Za-z0-9+/_-]{256,}={0,2})")
"""An image or a file inside a request. No prose goes on for so long without a blank."""


@dataclass(frozen=True)
class Asked:
    """What an exchange asks: all that decides its answer, and nothing else.

    Attributes:
        provider: Who is asked.
        path: Below the base URL, with the query.
        body: The JSON of the request without fields that change no answer, with a hash for each file in it.
        sample: Which of the samples of one prompt, from 0. No request carries it.
    """

    method: str
    provider: str
    path: str
    body: JsonBody
    sample: int

    @classmethod
    def of(cls, request: httpx2.Request, content: bytes, *, provider: str, base: str, sample: int) -> Asked:
        """Return what a request asks.

        Args:
            request: What is sent.
            content: Its body.
            provider: Whose client sends it.
            base: The path of the base URL.
            sample: Which sample it asks for.
        """
        pairs = sorted((name, value) for name, value in request.url.params.multi_items() if name not in _LEFT_OUT)
        query = "&".join(f"{name}={value}" for name, value in pairs)
        path = request.url.path.removeprefix(base.rstrip("/"))
        return cls(request.method, provider, path + (f"?{query}" if query else ""), canonical(content), sample)

    @cached_property
    def key(self) -> str:
        """A hash of all of it."""
        parts = [self.method, self.provider, self.path, self.body, self.sample]
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def model(self) -> str:
        """The model that is asked."""
        body: object = self.body
        named = cast("JsonObject", body).get("model") if isinstance(body, dict) else None
        found = re.search(r"/models/([^:?/]+)", self.path)
        return named if isinstance(named, str) else found[1] if found else ""


def canonical(content: bytes) -> JsonBody:
    """Return the body of a request as it is compared: its JSON without fields that change no answer.

    A body that is no JSON, such as a file that is sent up, is a hash of it.
    """
    if not content:
        return None
    try:
        return meant(json.loads(content))
    except (ValueError, RecursionError):
        head, _, _ = content.partition(b"\r\n")
        if head.startswith(b"--"):  # the boundary of its parts is another one each time
            content = content.replace(head.removeprefix(b"--"), b"boundary")
        return {"sha256": sha256(content).hexdigest()}


def meant(value: JsonBody) -> JsonBody:
    """Return the JSON of a request without fields that change no answer, and with a hash for each file."""
    if isinstance(value, dict):
        fields = cast("dict[str, JsonBody]", value)
        return {
            name: meant(each)
            for name, each in fields.items()
            if name not in _WITHOUT_MEANING and not name.startswith(_CACHE_HINT)
        }
    if isinstance(value, list):
        return [meant(each) for each in cast("list[JsonBody]", value)]
    if isinstance(value, str) and (file := _BASE64.fullmatch(value)):
        return f"{file['head'] or ''}sha256:{sha256(file['data'].encode()).hexdigest()}"
    return value


# --- what differs ---

Step: TypeAlias = "str | int"
_NOTHING: Final = object()
_SHOWN: Final = 30  # characters of a value, around what differs in it
_MOST: Final = 3  # differences that are shown
_ALIKE: Final = 2_000  # characters of two prompts that are compared for likeness
_SAID: Final = frozenset(
    "model messages system input instructions contents systemInstruction prompt options generationConfig temperature"
    " top_p top_k max_tokens max_completion_tokens max_output_tokens n seed stop stop_sequences response_format text"
    " format output_config output_format schema thinking think reasoning reasoning_effort tools tool_choice stream"
    " verbosity sha256".split()
)
"""Fields that say what is asked. Others may have come with a new version of an SDK, and change no answer by default."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the request that was recorded and the one that is asked.

    Attributes:
        path: The names and numbers that lead to it.
        old: What was recorded; `NOTHING` where it was not there.
        new: What is asked; `NOTHING` where it is not there any more.
    """

    path: tuple[Step, ...]
    old: object
    new: object

    @property
    def keeps_meaning(self) -> bool:
        """Whether a field was added or left out that does not say what is asked."""
        return (self.old is _NOTHING or self.new is _NOTHING) and bool(self.path) and self.path[0] not in _SAID

    def __str__(self) -> str:
        where = ".".join(map(str, self.path)) or "request"
        if self.old is _NOTHING:
            return f"+ {where}: {_short(self.new)}"
        if self.new is _NOTHING:
            return f"- {where}: {_short(self.old)}"
        if isinstance(self.old, str) and isinstance(self.new, str):
            place = next((at for at, (a, b) in enumerate(zip(self.old, self.new, strict=False)) if a != b), None)
            begin = max(0, (min(len(self.old), len(self.new)) if place is None else place) - 10)
            dots = "…" if begin else ""
            return f"{where}: {_short(dots + self.old[begin:])} -> {_short(dots + self.new[begin:])}"
        return f"{where}: {_short(self.old)} -> {_short(self.new)}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def changes(old: object, new: object, path: tuple[Step, ...] = ()) -> Iterator[Change]:
    """Yield the differences of two JSON values."""
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("JsonObject", old), cast("JsonObject", new)
        for name in dict.fromkeys((*before, *after)):
            yield from changes(before.get(name, _NOTHING), after.get(name, _NOTHING), (*path, name))
    elif isinstance(old, list) and isinstance(new, list):
        before, after = cast("list[Any]", old), cast("list[Any]", new)
        for at in range(max(len(before), len(after))):
            was, now = (each[at] if at < len(each) else _NOTHING for each in (before, after))
            yield from changes(was, now, (*path, at))
    elif type(cast("Any", old)) is not type(cast("Any", new)) or old != new:
        yield Change(path, cast("Any", old), cast("Any", new))


@dataclass(frozen=True, slots=True)
class Miss:
    """A request that a tape does not hold.

    Attributes:
        asked: What was asked.
        cell: In which cell.
        nearest: The recorded request that resembles it most; None where there is none of its path.
        nearest_cell: The cell of that.
        changes: How it differs from that.
        times: How often just this was recorded, all of which have been replayed.
    """

    asked: Asked
    cell: int | None
    nearest: Asked | None
    nearest_cell: int | None
    changes: tuple[Change, ...]
    times: int = 0

    @property
    def keeps_meaning(self) -> bool:
        """Whether it differs only in fields that do not say what is asked: a rekey mends it."""
        same = self.nearest is not None and self.nearest.sample == self.asked.sample
        return same and bool(self.changes) and all(change.keeps_meaning for change in self.changes)

    def fact(self, tape: str) -> str:
        """Return what is missing, and the command that mends it."""
        again = "Record it: %victor tape rerecord --missing, or the whole notebook with VICTOR_MODE=record."
        if self.times:
            once = "once" if self.times == 1 else f"{self.times} times"
            rewound = "%victor mode replay begins the tape anew; to record more,"
            return (
                f"{tape} holds this request {once}, and it is asked again. {rewound} %victor tape rerecord --missing."
            )
        if self.keeps_meaning:
            names = ", ".join(str(change.path[-1]) for change in self.changes[:_MOST])
            step = "If that came with another version, %victor tape rekey keeps the answers."
            return f"{tape} holds this request, but for {names}. {step}"
        return f"{tape} does not hold this request. {again}"

    def notes(self) -> Iterator[str]:
        """Yield a line that shows the nearest recording and how it differs."""
        if self.times or self.nearest is None:
            return
        shown = [str(change) for change in self.changes[:_MOST]]
        if self.nearest.sample != self.asked.sample:
            shown.insert(0, f"sample: {self.nearest.sample} -> {self.asked.sample}")
        more = f"; and {len(self.changes) - _MOST} more" if len(self.changes) > _MOST else ""
        where = "" if self.nearest_cell is None else f" (In [{self.nearest_cell}])"
        yield f"Nearest recording{where}, recorded -> asked: {'; '.join(shown)}{more}"


def find_nearest(
    asked: Asked, recorded: Iterable[tuple[Asked, int | None]]
) -> tuple[Asked | None, int | None, tuple[Change, ...]]:
    """Return the recorded request that resembles one most, its cell, and how it differs."""
    same = [(each, cell) for each, cell in recorded if (each.provider, each.path) == (asked.provider, asked.path)]
    best: tuple[tuple[int, float, bool], Asked, int | None, tuple[Change, ...]] | None = None
    for each, cell in same:
        found = tuple(changes(each.body, asked.body))
        if best is not None and len(found) > best[0][0]:
            continue
        unlike = sum(
            1 - SequenceMatcher(None, change.old[:_ALIKE], change.new[:_ALIKE]).quick_ratio()
            if isinstance(change.old, str) and isinstance(change.new, str)
            else 1
            for change in found
        )
        rank = (len(found), unlike, each.sample != asked.sample)
        if best is None or rank < best[0]:
            best = rank, each, cell, found
    return (None, None, ()) if best is None else best[1:]


def rekeyed(asked: Asked, miss: Miss) -> Asked:
    """Return a recorded request with the fields that a miss has and it lacks, and without those that the miss lacks."""
    if (asked.provider, asked.path) != (miss.asked.provider, miss.asked.path):
        return asked
    body: Any = json.loads(json.dumps(asked.body))
    for change in miss.changes:
        *way, last = change.path
        place: Any = body
        with suppress(KeyError, IndexError, TypeError):
            for step in way:
                place = place[step]
            if change.new is not _NOTHING and last not in place:
                place[last] = change.new
            elif change.new is _NOTHING:
                del place[last]
    return replace(asked, body=body)
