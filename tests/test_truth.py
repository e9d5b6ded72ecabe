"""The ledger against the servers' own books: a thousand calls, with everything that can happen to a call."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from typing import TYPE_CHECKING

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price

from servers import DIALECTS, Server, faults
from servers.answers import Answer, Tokens
from servers.dialects import dialect_of
from victor_nb import VictorError, session
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.exchange import Act, Request

pytest_plugins = ["workbench_fixtures"]

CALLS = 1_000
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
KINDS = ["whole"] * 12 + ["refused", "hang-up", "cut", "endless", "unknown model"]


class Books:
    """What the servers said, by the id of the answer."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.said: dict[str, tuple[Answer, str]] = {}
        self.kinds: dict[str, str] = {}

    def by_tokens(self, row: dict[str, object]) -> tuple[Answer, str]:
        """Find an answer of a protocol that has no ids, by its tokens."""
        assert not BY_NAME[str(row["provider"])].has_ids
        counts = row["input_tokens"], row["output_tokens"]
        return next(each for each in self.said.values() if (each[0].tokens.input, each[0].tokens.output) == counts)

    def act(self, request: Request) -> Act:
        """Choose what happens to one exchange."""
        kind = self.random.choice(KINDS)
        if kind == "endless" and not dialect_of(request).streamed(request):
            kind = "hang-up"
        answer = self.answer(kind)
        match kind:
            case "refused":
                return faults.status(self.random.choice([429, 500, 503, 529]), retry_after="0")
            case "hang-up":
                return faults.hang_up()
            case "cut":
                return faults.cut(answer, 2, self.random.choice(["reset", "fin", "clean"]))
            case "endless":
                return faults.cut(answer, 1, "silence")
            case _:
                return answer

    def answer(self, kind: str) -> Answer:
        """Invent an answer, and write it down."""
        tokens = Tokens(input=self.random.randint(1, 90_000), output=self.random.randint(1, 9_000))
        with self.lock:  # each server has a thread
            number = f"req_{len(self.said):05d}"
            answer = Answer(tokens=tokens, id=number, model="model-of-nobody" if kind == "unknown model" else None)
            self.said[number] = answer, kind
        return answer


@pytest.fixture
def books(tmp_path: Path, keys: str) -> Iterator[Books]:
    """Run a server for each protocol; they keep one set of books."""
    assert keys
    books = Books(seed=11)
    servers = [Server() for _ in DIALECTS]
    spec: dict[str, dict[str, object]] = {}
    for server, dialect in zip(servers, DIALECTS, strict=True):
        server.answer = books.act
        server.__enter__()
        spec[dialect.name] = {
            "provider": dialect.name,
            "model": dialect.model,
            "base_url": dialect.base_url(server.url),
            "retries": 2,
            # Ample for a busy machine; a stream that falls silent is given up sooner than a call that goes on.
            "timeout": {"total": 120, "read": 4},
            "concurrency": 50,
        }
    write_profiles(tmp_path, **spec)
    yield books
    session().pool.shutdown()
    for server in servers:
        server.__exit__(None, None, None)


async def one(profile: str, *, stream: bool, stop: bool) -> None:
    """Make one call, and stop it after its first piece if told so."""
    orchestrator = session().pool.get_orchestrator(profile)
    try:
        if not stream:
            await orchestrator.run("How many?")
            return
        async for _ in orchestrator.stream("How many?"):
            if stop:
                break
    except VictorError:
        pass


async def test_when_a_thousand_calls_are_made_then_every_priced_row_is_the_servers_truth(books: Books) -> None:
    chance = random.Random(3)
    profiles = list(session().settings.profiles)
    await asyncio.gather(
        *(one(chance.choice(profiles), stream=chance.random() < 0.6, stop=chance.random() < 0.1) for _ in range(CALLS))
    )
    found = rows()
    assert len({row["call_id"] for row in found}) == CALLS
    assert not [row for row in found if row["status"] == "running"]
    priced = [row for row in found if row["usage_source"] == "reported" and row["cost"] is not None]
    assert len(priced) > CALLS / 3
    for row in priced:
        answer, kind = books.said[row["request_id"]] if row["request_id"] else books.by_tokens(row)
        assert kind not in {"refused", "hang-up"}
        assert (row["input_tokens"], row["output_tokens"]) == (answer.tokens.input, answer.tokens.output)
        assert math.isclose(row["cost"], truth(row, answer), abs_tol=1e-15)


def truth(row: dict[str, object], answer: Answer) -> float:
    """Price an answer from the list itself."""
    if BY_NAME[str(row["provider"])].free:
        return 0.0
    usage = ListUsage(input_tokens=answer.tokens.input, output_tokens=answer.tokens.output)
    return float(round(calc_price(usage, str(row["model"]), provider_id=str(row["provider"])).total_price, 9))


async def test_when_a_row_is_not_priced_then_it_is_counted_and_never_free(books: Books) -> None:
    chance = random.Random(5)
    await asyncio.gather(*(one("openai", stream=True, stop=chance.random() < 0.2) for _ in range(100)))
    frame = session().ledger.to_frame()
    total = session().ledger.total()
    assert total.unpriced == int(frame["cost"].isna().sum()) > 0
    assert f"({total.unpriced} unpriced)" in str(total)
    # A stream that was stopped when all of it had come is as good as any.
    broken = frame[frame["status"].isin(["partial", "interrupted"]) & frame["usage_source"].ne("reported")]
    assert len(broken)
    assert broken["cost"].isna().all()
    refused = frame[frame["http_status"].ge(400).fillna(value=False)]
    assert (refused["cost"] == 0).all()
    assert books.said
