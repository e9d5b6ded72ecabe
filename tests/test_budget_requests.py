"""Budgets and what requests hold: the server reads them by its protocol, and states what they cost at the most."""

from __future__ import annotations

import asyncio
import base64
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from servers import DIALECTS, Dialect, Server, faults
from servers.answers import Answer, Tokens
from servers.dialects import dialect_of
from trials import PRICES, TRIALS, Book, Tally, price
from victor_nb import session
from victor_nb.errors import BudgetError, VictorError
from victor_nb.values import Message
from workbench import write_profiles

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from servers.exchange import Act, Exchange, Request
    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures", "trials_fixtures"]


async def ask_all(asked: Iterable[Any]) -> int:
    """Ask at once, and return how many calls were sent."""
    outcomes: list[Reply | BaseException] = await asyncio.gather(*asked, return_exceptions=True)
    wrong = [each for each in outcomes if isinstance(each, BaseException) and not isinstance(each, VictorError)]
    assert not wrong, wrong
    return sum(not isinstance(each, BudgetError) for each in outcomes)


# --- long prompts at the edge of a tier ---

Rates = tuple[Decimal, Decimal]


@dataclass(frozen=True)
class Edge:
    """A model whose whole request costs more above some tokens of input: rates for input and output, per million."""

    model: str
    tokens: int
    below: Rates
    above: Rates

    def cost(self, tokens: Tokens) -> Decimal:
        """Return what a request costs, in USD."""
        return price(tokens, self.rates(tokens))

    def rates(self, tokens: Tokens) -> Rates:
        """Return the rates of a request."""
        return self.above if tokens.input > self.tokens else self.below


EDGES: Final = {
    "google": Edge("gemini-2.5-pro", 200_000, (Decimal("1.25"), Decimal(10)), (Decimal("2.5"), Decimal(15))),
    "openai": Edge("gpt-5.5", 272_000, (Decimal(5), Decimal(30)), (Decimal(10), Decimal(45))),
    "anthropic": Edge("claude-sonnet-4-5", 200_000, (Decimal(3), Decimal(15)), (Decimal(6), Decimal("22.5"))),
}
PROSE: Final = "an ordinary sentence of words, as people write them when they have time. "


@pytest.fixture
def desk(tmp_path: Path, server: Server, keys: str) -> dict[str, Dialect]:
    """Write a profile for each model with an edge, at its list price."""
    assert keys
    sold = {each.name: each for each in DIALECTS if each.name in EDGES}
    profiles = {
        name: {"provider": name, "model": EDGES[name].model, "base_url": each.base_url(server.url), "retries": 0}
        for name, each in sold.items()
    }
    write_profiles(tmp_path, **profiles)
    return sold


async def test_when_prompts_are_as_long_as_a_tier_then_no_budget_is_outspent(
    desk: dict[str, Dialect], server: Server, book: Book, tally: Tally
) -> None:
    chance, dense, stated = book.random, True, 0

    def answer(request: Request) -> Act:
        edge, prompt = EDGES[dialect_of(request).name], dialect_of(request).asked(request).messages[-1][1]
        if len(prompt) < 10_000:
            return Answer(tokens=Tokens(input=len(prompt) // 4, output=1))
        most = len(prompt) + 8 if dense else round(len(prompt) * 0.6)
        near = [edge.tokens - 1, edge.tokens, edge.tokens + 1, most - chance.randint(0, 60), most]
        tokens = Tokens(input=min(most, chance.choice(near)), output=chance.choice((stated, chance.randint(1, stated))))
        book.charge(prompt, tokens, edge.rates(tokens))
        return Answer(tokens=tokens)

    server.answer = answer
    for _ in range(6):  # a history of prose
        await session().pool.get_orchestrator("anthropic").run(PROSE * 10, max_tokens=9)
    for number in range(TRIALS):
        name = ("google", "openai", "anthropic")[number % 3]
        edge, stated, dense = EDGES[name], chance.randint(100, 4_000), name != "anthropic"
        size = edge.tokens + chance.choice((chance.randint(-40, 40), chance.randint(0, 60_000)))
        prompt = f"{number:03}" + ("7" * (size - 3) if dense else (PROSE * (size // 40))[: round(size / 0.6)])
        worst = edge.cost(Tokens(input=size + 8, output=stated))
        before, sent, budget = book.usd, book.sent, worst * Decimal(chance.uniform(0.9, 3.5))
        orchestrator = session().pool.get_orchestrator(name)
        with session().budget.limit(budget):
            await ask_all(orchestrator.run(prompt, max_tokens=stated) for _ in range(3))
        tally.note(book.usd - before, budget, sent=book.sent - sent, possible=min(3, int(budget / worst)))
    assert tally.sent >= 0.6 * tally.possible


# --- params that raise limits ---

OWN: Final = {"openai": 16_384, "responses": 272_000, "google": 65_536, "anthropic": 8_192, "ollama": 100_000}
"""What a model writes where nothing stops it."""
READ: Final = {
    "openai": ("", ("max_completion_tokens", "max_tokens"), ("n", "best_of")),
    "responses": ("", ("max_output_tokens",), ()),
    "anthropic": ("", ("max_tokens",), ()),
    "google": ("generationConfig", ("maxOutputTokens", "max_output_tokens"), ("candidateCount", "candidate_count")),
    "ollama": ("options", ("num_predict",), ()),
}
"""Where a server looks for limits, and by which names it knows the tokens of an answer and the number of answers."""
ALSO: Final = ("max_new_tokens", "n_predict", "maxTokens")
"""Names that some OpenAI-compatible servers obey too."""


class Refused(Exception):  # noqa: N818 - it is the server's answer
    """The request cannot be read."""


def read(value: object) -> int | None:
    """Read a number as lenient servers do: as text too, with decimals; None is none."""
    if value is None:
        return None
    try:
        return math.ceil(float(str(value).replace("_", "")))
    except ValueError:
        raise Refused from None


def allowed(dialect: Dialect, body: Mapping[str, Any]) -> tuple[list[int], int]:
    """Return the limits of an answer that a server may obey, and how many answers it gives."""
    place, limits, choices = READ[repr(dialect)]
    options = body.get(place, {}) if place else body
    if repr(dialect) == "openai" and any(read(options.get(name)) for name in limits):
        limits = (*limits, *ALSO)
    given = [number for name in limits if (number := read(options.get(name))) is not None]
    if 0 in given or (dialect.name == "anthropic" and (not given or given[0] < 0)):
        raise Refused
    counts = [number for name in choices if (number := read(options.get(name))) is not None]
    if any(number < 1 for number in counts):
        raise Refused
    return [number if number > 0 else OWN[repr(dialect)] for number in given] or [OWN[repr(dialect)]], max(
        counts, default=1
    )


def make_params(chance: random.Random, dialect: Dialect) -> dict[str, Any]:
    """Return params that may raise the limits of an answer, under any spelling and in any place."""
    place, limits, choices = READ[repr(dialect)]
    params: dict[str, Any] = {}
    names = (*limits, *limits, *choices, *ALSO, "max_tokens", "num_predict", "n", "candidateCount", "maxOutputTokens")
    for _ in range(chance.randint(0, 3)):
        name, number = chance.choice(names), chance.randint(100, 4_000)
        number = chance.randint(1, 5) if name in {"n", "best_of", "candidateCount", "candidate_count"} else number
        spelled: list[object] = [number, number, str(number), float(number), f"{number}.0", None, -1]
        if number > 999:
            spelled.append(f"{number:_}")
        where = chance.choice(("", place, place or "extra", "metadata"))
        (params.setdefault(where, {}) if where else params)[name] = chance.choice(spelled)
    return params


async def test_when_params_raise_limits_then_no_budget_is_outspent(
    dialect: Dialect, server: Server, keys: str, tmp_path: Path, book: Book, tally: Tally
) -> None:
    assert keys
    chance, prompt, most = book.random, "How many are there?", list[int]()
    profile = {"provider": dialect.name, "model": dialect.model, "base_url": dialect.base_url(server.url)}
    write_profiles(tmp_path, desk={**profile, "retries": 0, "prices": PRICES})

    def answer(request: Request) -> Act:
        try:
            limits, answers = allowed(dialect, request.json)
        except Refused:
            return faults.status(400)
        most.append(max(limits) * answers)
        made = chance.choice((max(limits), max(limits), chance.choice(limits), chance.randint(1, max(limits))))
        tokens = Tokens(input=chance.randint(1, len(prompt)), output=made * answers)
        book.charge(prompt, tokens)
        return Answer(tokens=tokens)

    server.answer = answer
    orchestrator = session().pool.get_orchestrator("desk")
    while tally.trials < TRIALS:
        options = {
            "params": make_params(chance, dialect),
            "max_tokens": chance.choice((None, chance.randint(100, 4_000))),
        }
        most.clear()
        await ask_all([orchestrator.run(prompt, **options)])  # without a budget: what the server makes of it
        if not most:
            continue
        bound = most[0] % OWN[repr(dialect)] or dialect.name != "ollama"
        worst = price(Tokens(input=60, output=most[0]))
        before, sent, budget = book.usd, book.sent, worst * Decimal(chance.uniform(0.5, 5))
        with session().budget.limit(budget):
            await ask_all(orchestrator.run(prompt, **options) for _ in range(4))
        possible = min(4, int(budget / worst)) if bound else 0
        tally.note(book.usd - before, budget, sent=book.sent - sent, possible=possible)
    assert tally.sent >= 0.6 * tally.possible


# --- a prompt denser than its history ---


def dense(chance: random.Random) -> tuple[str, int]:
    """Return a dense text, and how many tokens a model may make of it at the most.

    The densest of six public tokenizers (GPT-2's, those of GPT-4 and GPT-4o, Claude's old one, DeepSeek's, Mistral's)
    makes 0.77 of a byte of base64, 0.90 of hexadecimal digits, 0.60 of random letters, and one of digits and emoji.
    """
    size = chance.randint(20, 4_000)
    match chance.choice(("scripts", "emoji", "base64", "hex", "digits", "pairs", "letters", "table")):
        case "scripts":
            text, most = "".join(chance.choices("鬱麤驫龘爨籲日本語漢字한국어ไทยعربي", k=size)), 1.0
        case "emoji":
            text, most = "".join(chance.choices("🦄🧿🪬🫠🧌🛸🪗", k=size)), 1.0
        case "base64":
            text, most = base64.b64encode(chance.randbytes(size)).decode(), 0.85
        case "hex":
            text, most = chance.randbytes(size).hex(), 0.91
        case "digits":
            text, most = "".join(chance.choices("0123456789", k=size)), 1.0
        case "pairs":
            text, most = "".join(chance.choice("abcxyz") + chance.choice("0123") for _ in range(size)), 1.0
        case "letters":
            text, most = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=size)), 0.6
        case _:
            text, most = "\n".join(f"{chance.random():.4f},{chance.random():.4f}" for _ in range(size // 10)), 1.0
    return text, round(len(text.encode()) * most)


async def test_when_a_prompt_is_denser_than_its_history_then_no_budget_is_outspent(
    dialect: Dialect, server: Server, keys: str, tmp_path: Path, book: Book, tally: Tally
) -> None:
    assert keys
    chance, sizes, limit = book.random, dict[str, int](), 40
    profile = {"provider": dialect.name, "base_url": dialect.base_url(server.url), "retries": 0, "max_tokens": limit}
    profile |= {"api": "responses"} if repr(dialect) == "responses" else {}
    desks = {f"desk-{number}": {**profile, "model": f"house-{number}", "prices": PRICES} for number in range(TRIALS)}
    write_profiles(tmp_path, **desks)

    async def act(exchange: Exchange) -> None:
        (mark,) = re.findall(r"call \d+", exchange.request.body.decode())
        tokens = Tokens(input=sizes[mark], output=chance.randint(1, limit))
        book.charge(mark, tokens)
        await Answer(tokens=tokens)(exchange)

    def question() -> tuple[str, dict[str, Any]]:
        """Return a prompt and options, with dense texts in any place of the request."""
        mark, parts, tokens = f"call {len(sizes)}", dict[str, Any](), 20
        prompt = f"{mark} {PROSE * chance.randint(0, 5)}"
        tokens += len(prompt) // 3
        for _ in range(chance.randint(1, 3)):
            text, most = dense(chance)
            tokens += most
            match chance.choice(("prompt", "system", "history", "params")):
                case "prompt":
                    prompt += text
                case "system":
                    parts["system"] = parts.get("system", "") + text
                case "history":
                    parts.setdefault("history", []).extend((Message("user", text), Message("assistant", "Yes.")))
                    tokens += 10
                case _:
                    parts.setdefault("params", {}).setdefault("tools", []).append({"name": text})
        sizes[mark] = tokens
        return prompt, parts

    server.play(act)
    for number in range(TRIALS):
        orchestrator = session().pool.get_orchestrator(f"desk-{number}")
        with session().budget.limit(100):
            for _ in range(chance.randint(5, 9)):
                mark = f"call {len(sizes)}"
                text = f"{mark} {PROSE * chance.randint(1, 20)}"
                sizes[mark] = len(text) // chance.randint(4, 6)
                await orchestrator.run(text)
        asked = [question() for _ in range(4)]
        worst = max(price(Tokens(input=count, output=limit)) for count in list(sizes.values())[-4:])
        before, sent, budget = book.usd, book.sent, worst * Decimal(chance.uniform(0.5, 4))
        with session().budget.limit(budget):
            await ask_all(orchestrator.run(prompt, **options) for prompt, options in asked)
        tally.note(book.usd - before, budget, sent=book.sent - sent, possible=min(4, int(budget / worst)))
    assert tally.sent >= 0.6 * tally.possible
