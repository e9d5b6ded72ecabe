"""An answer while it arrives: the deltas of one attempt, folded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from decimal import Decimal

    from victor_nb.values import Delta, FinishReason, Usage

_HIGH: Final = ("\ud800", "\udbff")


class Draft:
    """What one attempt has brought so far. Written on the background loop, readable from any thread."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._half = ""
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.model_served: str | None = None
        self.request_id: str | None = None
        self.reported_cost: Decimal | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    @property
    def started(self) -> bool:
        """Whether any text has arrived."""
        return bool(self._pieces)

    def add(self, delta: Delta) -> str:
        """Take one delta in, and return the text that is new."""
        self.usage = delta.usage or self.usage
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.model_served = delta.model_served or self.model_served
        self.request_id = delta.request_id or self.request_id
        if delta.reported_cost is not None:
            self.reported_cost = delta.reported_cost
        return self._keep(self._half + delta.text, final=False) if delta.text else ""

    def end(self) -> str:
        """Return what was held back, once nothing more comes."""
        return self._keep(self._half, final=True)

    def _keep(self, text: str, *, final: bool) -> str:
        """Keep a text that can be encoded: halves of a pair are joined, and a lone one is replaced by U+FFFD.

        JSON may hold half a surrogate pair, and a stream may cut a pair in two; no file or message takes one.
        """
        self._half = ""
        if text and not final and _HIGH[0] <= text[-1] <= _HIGH[1]:
            text, self._half = text[:-1], text[-1]
        if not text.isascii():
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if text:
            self._pieces.append(text)
        return text
