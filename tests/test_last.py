"""What a session has last: the result of what the user called, never of a call that was made on its behalf."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import yaml

from ensemble import Ensemble, by_stage, run_of, said
from servers import faults
from victor_nb import Agent, Cascade, Funnel, Replies, Reply, Settings, Single, compare, compare_sync, session
from victor_nb.errors import AuthenticationError, BudgetError, FanOutError, PartialAnswerError, ServerError
from victor_nb.workflows.compare import Comparison

if TYPE_CHECKING:
    from ensemble import Asked
    from servers import Answer, Server
    from servers.exchange import Act
    from victor_nb.errors import Result

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]
EXPLORER, SELECTOR, IMPLEMENTER, REVIEWER = "qwen2.5-coder:7b", "gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5"


class Witness:
    """Answers as it is bid to, and notes what the session has last whenever a request comes."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self.play({SELECTOR: "before"})
        self.before: Result = session().pool.get_orchestrator("fast").run_sync("before")
        assert session().last is self.before
        self.seen: list[object] = []

    def play(self, say: dict[str, str | Answer | Act]) -> None:
        """Answer by model where it is named, else as the funnel's stages do."""
        self.seen = []

        def answer(asked: Asked) -> str | Answer | Act:
            self.seen.append(session().last)
            return say[asked.model] if asked.model in say else by_stage(asked)

        self._ensemble.play(answer)

    def saw_only(self, result: object) -> bool:
        """Tell whether it saw something, and each time this."""
        return bool(self.seen) and all(each is result for each in self.seen)


@pytest.fixture
def witness(ensemble: Ensemble) -> Witness:
    """Ask one profile, and watch from then on."""
    settings = yaml.safe_load((ensemble.folder / "profiles.yaml").read_text(encoding="utf-8"))
    settings["profiles"]["default"]["fallback"] = ["premium"]
    (ensemble.folder / "profiles.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    session().runtime.use(Settings())
    return Witness(ensemble)


# --- one call ---


@pytest.mark.parametrize("door", ["run", "run_sync", "stream", "agent", "chat"])
async def test_when_a_user_asks_one_profile_then_the_reply_is_the_last(witness: Witness, door: str) -> None:
    witness.play({IMPLEMENTER: "answer"})
    orchestrator = session().pool.get_orchestrator("default")
    if door == "run":
        reply = await orchestrator.run("x")
    elif door == "run_sync":
        reply = orchestrator.run_sync("x")
    elif door == "stream":
        stream = orchestrator.stream("x")
        assert [piece async for piece in stream] == ["answer"]
        reply = stream.reply
    else:
        async with await Agent.create("default", container=session()) as agent:
            reply = await (agent if door == "agent" else agent.chat()).run("x")

    assert reply.content == "answer"
    assert session().last is reply
    assert witness.saw_only(witness.before)


@pytest.mark.parametrize("stream", ["", "streamed"])
async def test_when_a_fallback_answers_then_the_reply_with_all_that_it_took_is_the_last(
    witness: Witness, stream: str
) -> None:
    witness.play({IMPLEMENTER: faults.status(529)})
    orchestrator = session().pool.get_orchestrator("default")
    if stream:
        answer = orchestrator.stream("x")
        assert "".join([piece async for piece in answer])
        reply = answer.reply
    else:
        reply = await orchestrator.run("x")

    assert (reply.profile, reply.attempts) == ("premium", 2)
    assert session().last is reply
    assert witness.saw_only(witness.before)


async def test_when_an_answer_breaks_off_then_what_came_is_the_last(witness: Witness) -> None:
    witness.play({IMPLEMENTER: faults.cut(said("half of it"), 1, "fin")})
    with pytest.raises(PartialAnswerError) as caught:
        [piece async for piece in session().pool.get_orchestrator("default").stream("x")]

    assert isinstance(caught.value.partial, Reply)
    assert caught.value.partial.content == "half "
    assert caught.value.reply is caught.value.partial is session().last


async def test_when_an_awaited_call_is_cancelled_then_what_came_is_the_last(witness: Witness, server: Server) -> None:
    witness.play({IMPLEMENTER: faults.silence()})
    task = asyncio.create_task(session().pool.get_orchestrator("default").run("x"))
    await asyncio.to_thread(server.wait, lambda: witness.seen)
    task.cancel()
    await asyncio.wait({task})

    last = session().last
    assert isinstance(last, Reply)
    assert (last.profile, last.status) == ("default", "interrupted")


# --- many calls ---


@pytest.mark.parametrize("door", ["fan_out", "fan_out_sync", "start_fan_out"])
async def test_when_many_are_asked_then_no_reply_of_theirs_is_ever_the_last(witness: Witness, door: str) -> None:
    witness.play({IMPLEMENTER: faults.status(529)})  # its fallback answers
    pool, profiles = session().pool, ["local", "fast", "default"]
    if door == "fan_out":
        replies = await pool.fan_out("x", profiles, n=2)
    elif door == "fan_out_sync":
        replies = pool.fan_out_sync("x", profiles, n=2)
    else:
        replies = pool.start_fan_out("x", profiles, n=2).result()

    assert len(replies.ok) == 6
    last = session().last
    assert isinstance(last, Replies)
    assert last == replies
    assert witness.saw_only(witness.before)


def test_when_all_of_many_fail_then_their_errors_are_the_last(witness: Witness) -> None:
    witness.play({IMPLEMENTER: faults.status(400), SELECTOR: faults.status(401)})
    with pytest.raises(FanOutError) as caught:
        session().pool.fan_out_sync("x", ["default", "fast"])

    assert caught.value.replies is caught.value.partial is session().last


async def test_when_awaited_calls_are_cancelled_then_what_came_is_the_last(witness: Witness, server: Server) -> None:
    witness.play({IMPLEMENTER: faults.silence()})
    task = asyncio.create_task(session().pool.fan_out("x", ["fast", "default"]))
    await asyncio.to_thread(server.wait, lambda: len(witness.seen) == 2)
    while [row.status for row in session().ledger.rows(last=2)].count("ok") < 1:  # noqa: ASYNC110 - the ledger has no event for it
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})

    last = session().last
    assert isinstance(last, Replies)
    assert {reply.profile: reply.status for reply in last.ok} == {"fast": "ok", "default": "interrupted"}


# --- strategies ---


@pytest.mark.parametrize("door", ["run", "run_sync", "start"])
async def test_when_a_strategy_runs_then_no_reply_of_its_stages_is_ever_the_last(witness: Witness, door: str) -> None:
    witness.play({IMPLEMENTER: faults.status(529)})  # its fallback answers
    if door == "run":
        run = await Funnel(ideas=3).run("x")
    elif door == "run_sync":
        run = Funnel(ideas=3).run_sync("x")
    else:
        run = Funnel(ideas=3).start("x").result()

    assert (len(witness.seen), run.complete) == (7, True)
    assert session().last is run
    assert witness.saw_only(witness.before)


async def test_when_a_strategy_fails_then_what_came_of_it_is_the_last(witness: Witness) -> None:
    witness.play({REVIEWER: faults.status(401)})
    with pytest.raises(AuthenticationError) as caught:
        await Funnel(ideas=2).run("x")

    run = run_of(caught.value)
    assert [stage.name for stage in run.stages] == ["explore", "select", "implement", "review"]
    assert witness.saw_only(witness.before)


async def test_when_an_awaited_strategy_is_cancelled_then_what_came_of_it_is_the_last(
    witness: Witness, server: Server
) -> None:
    witness.play({SELECTOR: faults.silence()})
    task = asyncio.create_task(Funnel(ideas=2).run("x"))
    await asyncio.to_thread(server.wait, lambda: len(witness.seen) == 3)
    task.cancel()
    await asyncio.wait({task})

    run = run_of(asyncio.CancelledError())
    assert (run.calls, run.stopped) == (3, "stopped by the user")


def test_when_a_budget_refuses_the_first_call_then_the_last_stays(witness: Witness) -> None:
    with session().budget.limit("0.000001"), pytest.raises(BudgetError) as caught:
        Single("premium").run_sync("x")

    assert run_of(caught.value).calls == 0
    assert session().last is witness.before


def test_when_a_baseline_is_measured_then_the_run_stays_the_last(witness: Witness) -> None:
    witness.play({})
    run = Cascade(["local", "fast"], accept="Idea").run_sync("x")
    witness.play({REVIEWER: said("direct")})
    savings = run.savings("premium", "one_call", measure=True)

    assert savings.baseline_cost
    assert [row.stage for row in session().ledger.rows(last=1)] == ["one_call"]
    assert session().last is run
    assert witness.saw_only(run)


# --- comparisons ---


@pytest.mark.parametrize("door", ["compare", "compare_sync"])
async def test_when_strategies_are_compared_then_no_run_of_them_is_ever_the_last(witness: Witness, door: str) -> None:
    witness.play({REVIEWER: '{"A": 7, "B": 7}'})
    strategies = [Single("fast"), Single("local")]
    if door == "compare":
        frame = await compare(strategies, "x", judge="premium")
    else:
        frame = compare_sync(strategies, "x", judge="premium")

    comparison = session().last
    assert isinstance(comparison, Comparison)
    assert comparison.to_frame().equals(frame)
    assert str(comparison).startswith("2 of 2 runs")
    assert len(witness.seen) == 4
    assert witness.saw_only(comparison)


def test_when_all_compared_runs_fail_then_the_comparison_is_the_last(witness: Witness) -> None:
    witness.play({SELECTOR: faults.status(500)})
    with pytest.raises(ServerError) as caught:
        compare_sync([Single("fast")], "x")

    last = session().last
    assert isinstance(last, Comparison)
    assert last.entries[0].run is caught.value.partial
