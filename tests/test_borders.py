"""What crosses the border of a process: results and errors come back whole, and nothing carries a key."""

from __future__ import annotations

import copy
import copyreg
import importlib
import multiprocessing
import pickle
import pkgutil
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import pytest
from tblib.pickling_support import pickle_exception

import victor_nb
from ensemble import by_stage
from planted import CONTEST, planted
from servers import faults
from victor_nb import Funnel, Single, compare_sync, session
from victor_nb.errors import (
    AuthenticationError,
    ConfigError,
    ConnectError,
    FanOutError,
    ProfileNotFoundError,
    SecretError,
    ServerError,
    VictorError,
    VictorInterrupted,
    VictorWarning,
)
from victor_nb.reports.standings import compared, standings
from victor_nb.workflows.checks import Exact
from victor_nb.workflows.compare import Comparison
from workbench import CANARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ensemble import Ensemble

T = TypeVar("T")
pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]


def carried(value: T) -> T:
    """Return what another process gets, and hold that no key is on the way."""
    data = pickle.dumps(value)
    assert CANARY.encode() not in data
    return pickle.loads(data)


def kinds(*roots: type[BaseException]) -> Iterator[type[BaseException]]:
    """Yield classes and all that any module of the package derives from them."""
    for root in roots:
        if root.__module__.startswith("victor_nb"):
            yield root
        yield from kinds(*root.__subclasses__())


def failure(kind: type[BaseException]) -> BaseException:
    """Return an exception of a kind, however it is made."""
    if kind is ProfileNotFoundError:
        return ProfileNotFoundError("fsat", ["fast"])
    if kind is FanOutError:
        replies: Any = {"fast": "42"}
        return FanOutError(replies, [("fast", ServerError("down"))], 1)
    return kind("it failed")


def test_when_an_error_crosses_then_all_of_it_arrives() -> None:
    for module in pkgutil.walk_packages(victor_nb.__path__, "victor_nb."):
        importlib.import_module(module.name)
    found = list(kinds(VictorError, VictorInterrupted, VictorWarning))
    assert {ConnectError, FanOutError, ProfileNotFoundError} < {*found}
    assert len(found) > 25
    for kind in found:
        error = failure(kind)
        error.add_note("Fallback: no")
        vars(error).update(http_status=503, retry_after=2.5, partial={"fast": "what had come"})
        for arrived in (carried(error), copy.copy(error)):
            assert type(arrived) is kind
            assert (arrived.args, str(arrived), vars(arrived)) == (error.args, str(error), vars(error))
            assert arrived == error or kind is VictorWarning
            assert arrived is not error


def test_when_errors_differ_then_they_are_not_equal() -> None:
    assert ServerError("down") == ServerError("down")
    assert hash(ServerError("down")) == hash(ServerError("down"))
    assert ServerError("down", http_status=500) != ServerError("down", http_status=503)
    assert ServerError("down") != ConnectError("down")
    assert ServerError("down") != "down"


def test_when_a_class_of_errors_has_arguments_of_its_own_then_it_arrives_too() -> None:
    error = MineError("fast", "why")
    assert carried(error) == error
    assert carried(error).why == "why"


class MineError(ConnectError, KeyError):
    """An error of a user's own provider."""

    def __init__(self, profile: str, why: str) -> None:
        super().__init__(f"{profile}: {why}", profile=profile)
        self.why = why


def mistype(name: str) -> str:
    return session().pool.get_orchestrator(name).run_sync("hello").content


def test_when_a_worker_process_fails_then_its_error_is_raised_here(ensemble: Ensemble) -> None:
    assert ensemble
    with multiprocessing.get_context("fork").Pool(1) as workers, pytest.raises(ProfileNotFoundError, match="fsat"):
        workers.map_async(mistype, ["fsat"]).get(30)


def test_when_results_cross_then_they_are_equal(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(401) if asked.model == "gpt-4o" else "42")
    pool = session().pool
    reply = pool.get_orchestrator("fast").run_sync("How many?")
    assert carried(reply) == reply
    replies = pool.fan_out_sync("How many?", ["fast", "default"], n=2)
    back = carried(replies)
    assert back == replies
    assert back.entries == replies.entries
    assert back.to_frame().equals(replies.to_frame())
    assert back.failed["default"].args == replies.failed["default"].args


@pytest.mark.parametrize("stream", [False, True])
def test_when_packages_carry_causes_too_then_no_key_is_in_these(ensemble: Ensemble, *, stream: bool) -> None:
    ensemble.play(lambda asked: "42" if asked.model == "gpt-4o" else faults.status(401))
    pool, profiles = session().pool, list(session().settings.profiles)
    replies = pool.start_fan_out("How many?", profiles).result() if stream else pool.fan_out_sync("How many?", profiles)
    assert len(replies.failed) == len(replies) - 1 == 3
    for error in replies.failed.values():
        link: BaseException | None = error
        while (link := link.__cause__ or link.__context__) is not None:
            carried({name: value for name, value in vars(link).items() if isinstance(value, httpx2.Request)})


def test_when_a_package_registers_itself_for_all_exceptions_then_results_cross_as_before(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(401) if asked.model == "gpt-4o" else "42")
    copyreg.pickle(AuthenticationError, pickle_exception)
    try:
        replies = session().pool.fan_out_sync("How many?", ["fast", "default"])
        assert carried(replies) == replies
    finally:
        copyreg.dispatch_table.pop(AuthenticationError, None)


@pytest.mark.parametrize("kind", [ConfigError, SecretError, VictorInterrupted])
def test_when_a_package_registers_itself_for_all_exceptions_then_causes_in_a_circle_do_no_harm(
    kind: type[Exception],
) -> None:
    copyreg.pickle(kind, pickle_exception)
    copyreg.pickle(ValueError, pickle_exception)
    try:
        error, cause = kind("No."), ValueError("Not at all.")
        error.__cause__, cause.__context__ = cause, error
        assert carried(error) == error
    finally:
        copyreg.dispatch_table.pop(kind, None)
        copyreg.dispatch_table.pop(ValueError, None)


def test_when_a_run_crosses_then_it_can_do_there_what_it_could_here(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    run = Funnel(ideas=2, keep=1).run_sync("a name")
    back = carried(run)
    assert back == run
    assert (str(back), back.spent, repr(back)) == (str(run), run.spent, repr(run))
    assert back.to_frame().equals(run.to_frame())
    assert back.pool is session().pool
    assert back.savings("premium") == run.savings("premium")


def test_when_a_run_fails_in_another_process_then_what_had_come_arrives(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500) if asked.model == "gpt-4o-mini" else by_stage(asked))
    with pytest.raises(ServerError) as caught:
        Funnel(ideas=2, keep=1).run_sync("a name")
    assert caught.value.partial is not None
    assert carried(caught.value) == caught.value
    assert carried(caught.value).partial == caught.value.partial


def test_when_a_comparison_crosses_then_its_frame_does(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(401) if asked.model == "gpt-4o" else "42")
    with pytest.warns(VictorWarning, match="single default answered 0 of 2 tasks"):
        frame = compare_sync([Single("fast"), Single("default")], ["a", "b"], judge=Exact("42"), progress=False)
    comparison = session().last
    assert isinstance(comparison, Comparison)
    back = carried(comparison)
    assert back.to_frame().equals(frame)
    assert back.pool is session().pool


def test_when_a_judged_comparison_crosses_then_what_can_be_said_of_it_is_the_same(ensemble: Ensemble) -> None:
    ensemble.play(planted)
    frame = compare_sync(CONTEST, ["a", "b"], judge="premium", progress=False)
    comparison = session().last
    assert isinstance(comparison, Comparison)
    back = carried(comparison)
    assert back.to_frame().equals(frame)
    assert (back.judging, back.warnings, str(back)) == (comparison.judging, comparison.warnings, str(comparison))
    there = carried(frame)
    assert there.attrs == frame.attrs
    assert standings(there).equals(standings(frame))
    assert repr(carried(compared(frame))) == repr(compared(frame))
