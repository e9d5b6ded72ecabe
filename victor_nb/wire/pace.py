"""Size and pace of a model, guessed from its name; tokens of a text; deterministic pseudo-random choices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b, shake_128
from typing import TYPE_CHECKING, Final, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
Size = Literal["small", "medium", "large"]

_SMALL: Final = frozenset("fast flash haiku instant lite luna micro mini nano small spark tiny turbo".split())
_LARGE: Final = frozenset("astra fable heavy large max mythos o1 o3 opus pro sol ultra".split())
_BILLIONS: Final = re.compile(r"(?<![\d.a-z])(\d+(?:\.\d+)?)b(?![a-z])")
_SMALL_BELOW: Final = 13.0  # billions of parameters
_LARGE_FROM: Final = 60.0

# Seconds to the first token, and tokens per second: the ranges in which hosted models of each size were seen in 2026.
_TTFT: Final[dict[Size, tuple[float, float]]] = {"small": (0.15, 0.35), "medium": (0.3, 0.55), "large": (0.45, 0.8)}
_RATE: Final[dict[Size, tuple[float, float]]] = {"small": (110, 180), "medium": (70, 110), "large": (40, 70)}

# A token is a short word with the blank before it, or a few signs: about four bytes of English on average. Scripts
# without blanks count a character or two.
_TOKEN: Final = re.compile(r"\s?[A-Za-z0-9_]{1,7}|\s?[^\W\d_]{1,2}|\s?\w{1,3}|\s?[^\w\s]{1,3}|\s{1,8}")

_SPAN: Final = 2**64
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
HEX: Final = "0123456789abcdef"
_WORDS: Final = (
    "amet anim aute cillum commodo culpa dolor duis elit enim esse fugiat irure labore lorem magna minim mollit nisi "
    "nostrud nulla officia pariatur proident quis sint sunt tempor ullamco velit veniam voluptate"
).split()


@dataclass(frozen=True, slots=True)
class Chance:
    """Deterministic pseudo-random choices, hashed from a seed and a name, so that one choice never moves another."""

    seed: str

    def number(self, *name: object) -> int:
        """Return a whole number from 0 to 2**64 - 1."""
        return int.from_bytes(blake2b(self._named(*name), digest_size=8).digest())

    def between(self, low: float, high: float, *name: object) -> float:
        """Return a number from `low` to `high`."""
        return low + (high - low) * self.number(*name) / _SPAN

    def pick(self, options: Sequence[T], *name: object) -> T:
        """Return one of the options, which may not be empty."""
        return options[self.number(*name) % len(options)]

    def letters(self, count: int, *name: object, alphabet: str = LETTERS) -> str:
        """Return `count` characters, as of an id."""
        return "".join(alphabet[byte % len(alphabet)] for byte in shake_128(self._named(*name)).digest(count))

    def words(self, *name: object, least: int = 6) -> str:
        """Return filler words: `least` to twice as many."""
        count = self.pick(range(least, 2 * least + 1), *name)
        return " ".join(self.pick(_WORDS, *name, place) for place in range(count))

    def _named(self, *name: object) -> bytes:
        return "\x1f".join((self.seed, *map(str, name))).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Pace:
    """When the tokens of one answer come: `ttft` in seconds, `rate` in tokens per second."""

    ttft: float
    rate: float

    def due(self, tokens: int) -> float:
        """Return the seconds from the request to the arrival of the given number of tokens."""
        return self.ttft + tokens / self.rate


def size_of(model: str) -> Size:
    """Return how big a model seems to be, by the words and the parameter count in its name."""
    name = model.lower()
    words = set(re.split(r"[^a-z0-9]+", name))
    billions = _BILLIONS.search(name)
    if words & _SMALL or (billions and float(billions[1]) < _SMALL_BELOW):
        return "small"
    if words & _LARGE or (billions and float(billions[1]) >= _LARGE_FROM):
        return "large"
    return "medium"


def pace_of(model: str, chance: Chance) -> Pace:
    """Return the pace of one answer of a model: the same for the same request."""
    size = size_of(model)
    return Pace(ttft=chance.between(*_TTFT[size], "ttft"), rate=chance.between(*_RATE[size], "rate"))


def split_tokens(text: str) -> tuple[str, ...]:
    """Return the pieces of a text, one for each token; put together they are the text."""
    return tuple(_TOKEN.findall(text))
