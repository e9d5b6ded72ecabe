"""Budgets against an independent server that keeps its own book: never above a limit, whatever goes wrong."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from servers import OPENAI, Server
from servers.answers import Answer, Tokens
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.exchange import Act, Exchange

pytest_plugins = ["workbench_fixtures"]

IN, OUT = Decimal(1), Decimal(10)  # USD per million tokens
MAX_TOKENS: Final = 1_000
TRIALS: Final = 100
WORST = (Decimal(100) * IN + MAX_TOKENS * OUT) / 1_000_000


class Book:
    """What a server has generated, by its own count, whether the answer arrived or not."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.usd = Decimal(0)
        self.sent = 0

    def charge(self, tokens: Tokens) -> None:
        """Note what an answer costs."""
        self.usd += (tokens.input * IN + tokens.output * OUT) / 1_000_000
        self.sent += 1

    def answer(self, *, least: int = 0, most: int = MAX_TOKENS) -> Act:
        """Return an act: an answer of a random length."""

        async def act(exchange: Exchange) -> None:
            size = len(exchange.request.json["messages"][-1]["content"].encode())
            tokens = Tokens(input=self.random.randint(1, size), output=self.random.randint(least, most))
            self.charge(tokens)
            await Answer(tokens=tokens)(exchange)

        return act

    def lost(self, fault: Act) -> Act:
        """Return an act: the answer is generated, at its full length, and then lost."""

        async def act(exchange: Exchange) -> None:
            size = len(exchange.request.json["messages"][-1]["content"].encode())
            self.charge(Tokens(input=size, output=MAX_TOKENS))
            await fault(exchange)

        return act


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def paid(tmp_path: Path, server: Server, keys: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what writes profiles.yaml, with a ledger in a file, so that kernels can share limits."""
    assert keys
    monkeypatch.setenv("VICTOR_LEDGER", str(tmp_path / "rows.sqlite"))

    def write(budget: object = None, **more: object) -> None:
        profile = {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "base_url": OPENAI.base_url(server.url),
            "retries": 0,
            "max_tokens": MAX_TOKENS,
            "prices": {"input": float(IN), "output": float(OUT)},
        }
        write_profiles(tmp_path, paid={**profile, **more})
        if budget is not None:
            with (tmp_path / "profiles.yaml").open("a", encoding="utf-8") as file:
                file.write(yaml.safe_dump({"budget": budget}))

    write()
    return write
