"""Samples of one prompt: they differ, each is the same in every run, and no request carries which one it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servers import DIALECTS
from victor_nb import Settings, Stage, Strategy, session
from victor_nb.errors import ConfigError
from victor_nb.kernel import reset
from workbench import write_profiles

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [dialect.name for dialect in DIALECTS]


@pytest.fixture(autouse=True)
def _simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write_profiles(tmp_path, **{one.name: {"provider": one.name, "model": one.model} for one in DIALECTS})
    session().use(Settings())


async def fan_out() -> list[str]:
    replies = await session().pool.fan_out("Name 3 colours.", NAMES, n=3)
    return [entry.outcome.content for entry in replies.entries if not isinstance(entry.outcome, Exception)]


async def test_when_samples_are_asked_for_then_they_differ_and_are_the_same_in_the_next_kernel() -> None:
    first = await fan_out()
    reset()
    again = await fan_out()
    assert len(first) == 3 * len(NAMES)
    assert len(set(first)) == len(first)
    assert first == again


@pytest.mark.parametrize("name", NAMES)
async def test_when_a_sample_is_asked_for_by_its_number_then_it_is_that_of_the_fan_out(name: str) -> None:
    asked = session().pool.get_orchestrator(name)
    replies = [await asked.run("Name 3 colours.", sample=number) for number in (0, 1, 2)]
    entries = (await session().pool.fan_out("Name 3 colours.", [name], n=3)).entries
    assert [reply.content for reply in replies] == [str(entry.outcome) for entry in entries]
    assert (await asked.run("Name 3 colours.")).content == replies[0].content
    assert len({reply.request_id for reply in replies}) == (1 if name == "ollama" else 3)


async def test_when_a_stage_takes_samples_then_they_differ() -> None:
    strategy = Strategy("three", [Stage("ideas", "openai", "Do this: {{ task }}", n=3)])
    run = await strategy.run("Name 3 colours.")
    assert len({reply.content for reply in run.stages[0].replies}) == 3


async def test_when_a_sample_is_no_number_then_it_is_refused_before_sending() -> None:
    with pytest.raises(ConfigError, match="sample= takes a whole number of 0 or more, not -1"):
        await session().pool.get_orchestrator("openai").run("Hi", sample=-1)
