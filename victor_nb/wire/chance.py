"""Choices that look free and are not: each is a hash of what was asked, so the same request gives the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b, shake_128
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

_SPAN: Final = 2**64
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
HEX: Final = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Chance:
    """A source of choices. Each choice has a name of its own, so that asking for one never moves another."""

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

    def shuffled(self, options: Iterable[T], *name: object) -> list[T]:
        """Return all options in another order."""
        ranked = sorted((self.number(*name, place), place, option) for place, option in enumerate(options))
        return [option for _, _, option in ranked]

    def letters(self, count: int, *name: object, alphabet: str = LETTERS) -> str:
        """Return `count` characters, as of an id."""
        return "".join(alphabet[byte % len(alphabet)] for byte in shake_128(self._named(*name)).digest(count))

    def _named(self, *name: object) -> bytes:
        return "\x1f".join((self.seed, *map(str, name))).encode("utf-8", "replace")
