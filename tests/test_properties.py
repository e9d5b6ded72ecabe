"""What holds whatever comes: budgets under any interleaving, and the keys of answers.

Of the same kind are the tests of any line in test_grammar, of any text and value in test_interpolation, of sums of
usage and money in test_pricing, of any bytes in test_fuzz.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from victor_nb.accounting.budget import Hold
from victor_nb.accounting.cache import answer_key
from victor_nb.errors import BudgetError
from victor_nb.kernel import session
from victor_nb.values import AnswerSchema, ChatRequest, Message

AMOUNT = Decimal(100)
CALLS = st.lists(
    st.tuples(
        st.integers(0, 120),  # its worst case
        st.none() | st.integers(0, 120),  # what it cost, at most the worst; None: unknown
        st.lists(st.booleans(), min_size=3, max_size=3),  # where it lets others run
        st.booleans(),  # whether it is stopped while it waits or runs
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(calls=CALLS, inner=st.integers(1, 100))
def test_when_calls_interleave_in_any_way_then_no_limit_is_outspent(
    calls: list[tuple[int, int | None, list[bool], bool]], inner: int
) -> None:
    budget = session().runtime.budget
    sent: list[Decimal] = []

    async def call(worst: int, cost: int | None, yields: list[bool]) -> None:
        for pause in yields[:2]:
            await asyncio.sleep(0 if pause else 0.0001)
        hold = Hold(budget.applying(), "live", lambda: Decimal(worst))
        paid: Decimal | None = Decimal(worst)  # of a call that is stopped it is unknown
        try:
            await budget.hold(hold, "fast")
        except BudgetError:
            return
        try:
            assert all(limit.spent + limit.held <= limit.amount for limit in limits)
            await asyncio.sleep(0 if yields[2] else 0.0001)
            paid = None if cost is None else Decimal(min(cost, worst))
        finally:
            budget.settle(hold, paid)
            budget.settle(hold, Decimal(10**6))  # once only
            sent.append(Decimal(worst) if paid is None else paid)
            assert all(limit.spent + limit.held <= limit.amount for limit in limits)

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(call(*each[:3])) for each in calls]
        await asyncio.sleep(0)
        for task, (*_, stopped) in zip(tasks, calls, strict=True):
            if stopped:
                task.cancel()
        async with asyncio.timeout(30):  # none waits for ever
            await asyncio.gather(*(settled(task) for task in tasks))

    with budget.limit(AMOUNT) as outer, budget.limit(Decimal(inner)) as narrow:
        limits = (outer, narrow)
        asyncio.run(all_of_them())
        assert [limit.held for limit in limits] == [0, 0]
        assert [limit.spent for limit in limits] == [sum(sent)] * 2


async def settled(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task, which may be a cancellation."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


TEXTS = st.text(max_size=6)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
PARAMS = st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(TEXTS, VALUES, max_size=2))
TURNS = st.builds(Message, st.sampled_from(["user", "assistant"]), TEXTS)
CHATS = st.builds(
    ChatRequest,
    model=TEXTS,
    messages=st.lists(TURNS, min_size=1, max_size=3).map(tuple),
    system=st.none() | TEXTS,
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(0, 9),
    schema=st.none() | st.builds(AnswerSchema, TEXTS, st.just({"type": "object"}), st.sampled_from(["schema", "json"])),
    params=PARAMS,
    effort=st.none() | TEXTS,
)  # fmt: skip
MEANT = ("model", "messages", "system", "temperature", "seed", "schema", "params", "effort")


def key(chat: ChatRequest) -> bytes:
    return answer_key(chat, provider="openai", base_url="https://api.openai.com/v1")


def said(value: object) -> str:
    """Write a value so that two are written alike only if they are sent alike: 1, 1.0 and True are not."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{name!r}: {said(each)}' for name, each in value.items()))}}}"
    return f"[{', '.join(map(said, value))}]" if isinstance(value, list) else repr(value)


@given(one=CHATS, other=CHATS, names=st.sets(st.sampled_from(MEANT)))
def test_when_a_request_changes_then_its_key_does_if_and_only_if_the_change_has_a_meaning(
    one: ChatRequest, other: ChatRequest, names: set[str]
) -> None:
    changes: dict[str, Any] = {name: getattr(other, name) for name in names}
    changed = replace(one, **changes)
    same = all(said(getattr(one, name)) == said(getattr(changed, name)) for name in MEANT)
    assert (key(one) == key(changed)) == same
    again = replace(one, params=dict(reversed([*one.params.items()])), max_tokens=5, tier="flex", learned={"x": None})
    assert key(again) == key(one)
