"""What a request costs at most: how many tokens its input may be, and what the most expensive of them would cost."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.rows import input_text
from victor_nb.media import Image, Media, split
from victor_nb.providers.params import asked_tier
from victor_nb.providers.spec import spec_of
from victor_nb.values import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.accounting.ledger import Ledger
    from victor_nb.accounting.pricing import Tariff
    from victor_nb.media import Attachments
    from victor_nb.values import ChatRequest, Mode

_ASSUMED_OUTPUT: Final = 8192
"""Tokens that an answer is taken to have where nothing limits it and no budget has sent a limit."""
_OVERHEAD, _PER_MESSAGE = 16, 8
"""Tokens that a request takes beside its texts: what a chat template puts around all, and around each turn."""
_ENOUGH: Final = 5
"""Reported inputs from which a model's history says how dense its texts are."""
_MARGIN: Final = 1.25
"""How far a text may lie above the densest that was seen."""
_PAGE: Final = (1_700, 2_200)  # pixels of a page of a PDF as providers draw it
_PAGE_TEXT: Final = 3_000  # tokens of a page's text beside its image; at most, as Anthropic's page on PDFs has it
_MOST_PAGES: Final = 100  # of a PDF whose pages cannot be counted
_LETTERS: Final = bytes.maketrans((ascii_lowercase + ascii_uppercase).encode(), b"a" * 26 + b"A" * 26)


def worst_case(request: ChatRequest, tariff: Tariff, *, mode: Mode, calibration: Calibration) -> Decimal | None:
    """Return what a request costs at most, in USD: at the highest prices, with all output that is allowed.

    None is a model whose price is unknown, unless its profile has `allow_unpriced`.
    """
    spec, params = spec_of(tariff.asked or tariff.provider), json.dumps(request.params)
    tokens = calibration.at_worst(request, mode)
    if request.media:
        tokens += media_tokens(request, spec.attachments)
    worst = tariff.worst(
        tokens,
        (spec.max_output(request) or spec.own_output(request.model) or _ASSUMED_OUTPUT) * spec.answers(request),
        tier=asked_tier(request.params, request.tier),
        cache_writes="cache_control" in params or request.prompt_cache not in {None, "off"},
        hourly_writes='"1h"' in params or request.prompt_cache == "1h",
    )
    return Decimal(0) if worst is None and tariff.allow_unpriced else worst


def media_of(request: ChatRequest) -> list[Media]:
    """Return the images and PDFs of a request, each as often as it is sent."""
    turns = (turn for turn in request.messages if turn.media)
    return [part for turn in turns for part in split(turn.content, turn.media) if isinstance(part, Media)]


def media_tokens(request: ChatRequest, limits: Attachments | None) -> int:
    """Return the most tokens that the images and PDFs of a request count."""
    tokens = 0
    for each in media_of(request):
        if limits is None:
            break
        if isinstance(each, Image):
            tokens += limits.most_tokens(request.model, each.width, each.height)
        else:
            pages = getattr(each, "pages", None) or _MOST_PAGES
            tokens += pages * (limits.most_tokens(request.model, *_PAGE) + _PAGE_TEXT)
    return tokens


@dataclass(frozen=True, slots=True)
class History:
    """The inputs that a model has reported.

    Attributes:
        size: Bytes of all.
        tokens: Tokens of all.
        count: How many there are.
        densest: Tokens per byte of the densest.
    """

    size: int = 0
    tokens: int = 0
    count: int = 0
    densest: float = 0.0

    def add(self, size: int, tokens: int) -> History:
        """Return the history with one more input."""
        densest = max(self.densest, tokens / size)
        return History(self.size + size, self.tokens + tokens, self.count + 1, densest)


class Calibration:
    """How many tokens a text is, by model and mode: the ledger's history, then what this kernel adds to it."""

    def __init__(self, ledger: Callable[[], Ledger]) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Mode], History] = {}

    def load(self, model: str, mode: Mode) -> None:
        """Read a model's history from the ledger, once. It blocks: not on an event loop."""
        with self._lock:
            if (model, mode) not in self._seen:
                self._seen[model, mode] = History(*self._ledger().input_history(model, mode))

    def learn(self, model: str, mode: Mode, *, size: int, tokens: int) -> None:
        """Add a reported input to the history: `size` bytes were `tokens` tokens."""
        with self._lock:
            if (known := self._seen.get((model, mode))) is not None and size and tokens:
                self._seen[model, mode] = known.add(size, tokens)

    def expected(self, model: str, mode: Mode, *, size: int) -> int:
        """Return how many tokens a text of so many bytes will probably be."""
        known = self._seen.get((model, mode))
        return round(size * known.tokens / known.size if known and known.tokens else size / BYTES_PER_TOKEN)

    def at_worst(self, request: ChatRequest, mode: Mode) -> int:
        """Return how many tokens a request may be: what a budget has to hold.

        One a byte, as no tokenizer makes more. Where the model has a history, three lower-case letters in a row count
        two tokens, and the blank before a word none: random letters do not exceed that. Capitals, digits, marks and
        other scripts go on counting one a byte. It is never less than the densest text of the history would be.
        """
        text = input_text(request)
        size, known = len(text), self._seen.get((request.model, mode), History())
        tokens: float = size
        if known.count >= _ENOUGH:
            words = text.translate(_LETTERS).replace(b"aaa", b"aa").replace(b" a", b"a").replace(b" A", b"A")
            tokens = max(len(words), _MARGIN * known.densest * size)
            tokens = tokens if known.densest > 1 else min(size, tokens)
        return _OVERHEAD + _PER_MESSAGE * len(request.messages) + ceil(tokens)
