"""Servers that refuse, lie, break off or say nothing: each ends in one family of errors, with its rows, in time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from servers import (
    ANTHROPIC,
    DIALECTS,
    GOOGLE,
    OLLAMA,
    OPENAI,
    Answer,
    Request,
    Server,
    closed_port,
    dialect_of,
    faults,
)
from victor_nb import errors
from victor_nb.errors import ProviderError, VictorError
from victor_nb.session import session
from workbench import CANARY, Bench, ask, assert_clean, fail, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import Exchange
    from servers.exchange import Act
    from servers.faults import Ending

pytest_plugins = ["workbench_fixtures"]
only_streams = pytest.mark.parametrize("way", ["stream"])

STATUSES: dict[int, tuple[type[ProviderError], bool]] = {
    400: (errors.BadRequestError, False),
    401: (errors.AuthenticationError, False),
    403: (errors.AuthenticationError, False),
    404: (errors.NotFoundError, False),
    408: (errors.RequestTimeoutError, True),
    409: (errors.BadRequestError, True),
    413: (errors.ContextLengthError, False),
    422: (errors.BadRequestError, False),
    429: (errors.RateLimitError, True),
    500: (errors.ServerError, True),
    502: (errors.ServerError, True),
    503: (errors.OverloadedError, True),
    529: (errors.OverloadedError, True),
}
RETRIED = [status for status, (_, retried) in STATUSES.items() if retried]
REFUSED = [status for status, (_, retried) in STATUSES.items() if not retried]


def check(bench: Bench, error: VictorError, kind: type[ProviderError], status: int | None = None) -> ProviderError:
    """Hold that an error is of its kind and knows whose it is, and that the last row says the same."""
    assert isinstance(error, ProviderError)
    assert type(error) is kind, f"{kind.__name__} expected: {error!r}"
    assert (error.profile, error.provider, error.model) == ("desk", bench.dialect.name, bench.dialect.model)
    assert error.http_status == status
    row = rows()[-1]
    assert row["status"] == ("partial" if kind is errors.PartialAnswerError else "error")
    assert (row["error_type"], row["attempt"]) == (kind.__name__, 1)
    if status is not None:
        assert row["http_status"] == status
    assert row["error"]
    assert row["latency"] is not None
    return error


async def failure(bench: Bench, *acts: Act, **profile: Any) -> VictorError:
    """Return the error that a script ends in."""
    bench.play(*acts)
    return await bench.fail(await bench.agent(**profile))


async def test_when_a_provider_refuses_then_the_error_says_how(bench: Bench) -> None:
    agent = await bench.agent()
    for status, (kind, retryable) in STATUSES.items():
        bench.play(faults.status(status, "The stars are not right."))
        error = check(bench, await bench.fail(agent), kind, status)
        assert "The stars are not right" in str(error)
        assert error.retryable is retryable
        assert error.request_id == ("req_err" if bench.dialect in {ANTHROPIC, OPENAI} else None)
    assert len(rows()) == len(bench.server.requests) == len(STATUSES)


async def test_when_a_prompt_is_too_long_then_the_error_says_so(bench: Bench) -> None:
    check(bench, await failure(bench, faults.too_long()), errors.ContextLengthError, 400)


async def test_when_a_refusal_has_no_form_then_its_status_counts(bench: Bench) -> None:
    agent = await bench.agent()
    for status in [400, 429, 502]:
        for body in [b"", b"<html>Bad <b>gateway</b></html>", b"[]", b'{"error": null}', b"\xff\xfe{", b"null", b"7"]:
            bench.play(faults.status(status, body=body))
            error = check(bench, await bench.fail(agent), STATUSES[status][0], status)
            assert "<b>" not in str(error)


async def test_when_a_failure_may_pass_then_it_is_asked_again(bench: Bench) -> None:
    agent = await bench.agent(retries=1)
    for status in RETRIED:
        bench.play(faults.status(status, retry_after="0"), Answer())
        reply = await bench.ask(agent)
        assert (reply.content, reply.attempts, reply.status) == (Answer().text, 2, "ok"), status
        assert reply.usage.input_tokens == Answer().tokens.input
        assert reply.cost is not None
        first, second = rows()[-2:]
        assert (first["status"], first["http_status"], first["attempt"]) == ("error", status, 1)
        assert first["error_type"] == STATUSES[status][0].__name__
        assert (second["status"], second["attempt"], second["call_id"]) == ("ok", 2, first["call_id"])
        before, after = bench.server.requests[-2:]
        assert before.json == after.json


async def test_when_a_failure_will_not_pass_then_it_is_not_asked_again(bench: Bench) -> None:
    agent = await bench.agent(retries=2)
    for count, status in enumerate(REFUSED, 1):
        bench.play(faults.status(status, retry_after="0"))
        check(bench, await bench.fail(agent), STATUSES[status][0], status)
        assert len(bench.server.requests) == count


async def test_when_every_attempt_fails_then_three_rows_and_the_last_error_are_left(bench: Bench) -> None:
    error = await failure(bench, faults.status(503, retry_after="0"), retries=None)
    assert type(error) is errors.OverloadedError
    assert len(bench.server.requests) == 3
    assert [(row["attempt"], row["status"], row["http_status"]) for row in rows()] == [
        (1, "error", 503),
        (2, "error", 503),
        (3, "error", 503),
    ]
    assert len({row["call_id"] for row in rows()}) == 1


@pytest.mark.parametrize("wait", ["3600", "date"])
async def test_when_asked_to_wait_an_hour_then_it_fails_at_once(bench: Bench, wait: str) -> None:
    start = time.monotonic()
    retry_after = faults.http_date(3600) if wait == "date" else wait
    error = await failure(bench, faults.status(429, retry_after=retry_after), retries=2)
    error = check(bench, error, errors.RateLimitError, 429)
    assert error.retry_after == pytest.approx(3600, abs=5)
    assert time.monotonic() - start < 2


async def test_when_a_wait_makes_no_sense_then_it_is_none_of_ours(bench: Bench) -> None:
    agent = await bench.agent()
    for wait in ["soon", "", "Wed, 99 Foo 2026", "-5", "nan", "1,5"]:
        bench.play(faults.status(429, retry_after=wait))
        error = check(bench, await bench.fail(agent), errors.RateLimitError, 429)
        assert error.retry_after in {None, 0}


async def test_when_the_time_of_a_call_runs_out_in_a_wait_then_it_fails_in_time(bench: Bench) -> None:
    start = time.monotonic()
    error = await failure(bench, faults.status(429, retry_after="30"), retries=2, timeout=0.2)
    assert isinstance(error, (errors.RateLimitError, errors.RequestTimeoutError))
    assert time.monotonic() - start < 2
    assert [row["status"] for row in rows()] == ["error"]


async def test_when_a_call_is_cancelled_in_a_wait_then_it_ends_at_once(bench: Bench) -> None:
    bench.play(faults.status(429, retry_after="30"))
    agent = await bench.agent(retries=2)
    task = asyncio.create_task(bench.ask(agent))
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests and bench.server.requests[0].finished)
    start = time.monotonic()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start < 1
    assert [row["status"] for row in rows()] == ["error"]


def by_turns(act: Callable[[], Act]) -> Callable[[Request], Act]:
    """Play an act for the first request in each protocol and way, and then answer."""
    seen: Counter[str] = Counter()

    def choose(request: Request) -> Act:
        dialect = dialect_of(request)
        case = f"{dialect.name}{dialect.streamed(request)}"
        seen[case] += 1
        return act() if seen[case] == 1 else Answer()

    return choose


TURNS: dict[str, tuple[Callable[[], Act], float, float]] = {
    "wait one second": (lambda: faults.status(429, retry_after="1"), 1.0, 1.8),
    "wait until": (lambda: faults.status(503, retry_after=faults.http_date(2)), 1.0, 2.8),
    "no word of a wait": (lambda: faults.status(500), 0.1, 1.8),
    "hang-up": (faults.hang_up, 0.1, 1.8),
    "cut before any text": (lambda: faults.cut(Answer(), 0, "reset"), 0.1, 1.8),
}


@pytest.mark.parametrize("name", TURNS)
async def test_when_a_second_attempt_is_due_then_it_comes_in_its_time(
    tmp_path: Path, server: Server, keys: str, name: str
) -> None:
    """Ask all four in both ways at once, so that the waits are waited once."""
    act, shortest, longest = TURNS[name]
    server.answer = by_turns(act)
    specs = {d.name: {"provider": d.name, "model": d.model, "base_url": d.base_url(server.url)} for d in DIALECTS}
    write_profiles(tmp_path, **specs)
    pool = session().pool
    agents = [pool.get_orchestrator(profile) for profile in specs]
    ways = ["stream"] if name.startswith("cut") else ["plain", "stream"]
    replies = await asyncio.gather(*(ask(agent, "How many?", way) for agent in agents for way in ways))  # type: ignore[arg-type]
    assert {(reply.content, reply.attempts) for reply in replies} == {(Answer().text, 2)}
    by_call: dict[str, list[float]] = {}
    for request in server.requests:
        dialect = dialect_of(request)
        by_call.setdefault(f"{dialect.name}{dialect.streamed(request)}", []).append(request.arrived)
    waits = [second - first for first, second in by_call.values()]
    assert len(waits) == len(agents) * len(ways)
    assert all(shortest - 0.05 <= wait <= longest for wait in waits), waits
    assert Counter(row["status"] for row in rows()) == {"error": len(waits), "ok": len(waits)}


async def test_when_nobody_listens_then_the_error_names_the_address(bench: Bench) -> None:
    address = bench.dialect.base_url(f"http://127.0.0.1:{closed_port()}")
    error = await failure(bench, base_url=address)
    check(bench, error, errors.ConnectError)
    assert address in str(error)


async def test_when_a_server_hangs_up_before_an_answer_then_it_is_a_connect_error(bench: Bench) -> None:
    check(bench, await failure(bench, faults.hang_up()), errors.ConnectError)


@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_plain_answer_breaks_off_then_it_is_a_connect_error(bench: Bench) -> None:
    check(bench, await failure(bench, faults.cut_plain(Answer())), errors.ConnectError)


async def test_when_a_server_says_nothing_then_the_call_ends_in_time(bench: Bench) -> None:
    start = time.monotonic()
    error = await failure(bench, faults.silence(), timeout=0.15, retries=2)
    check(bench, error, errors.RequestTimeoutError)
    assert isinstance(error, TimeoutError)
    assert time.monotonic() - start < 2
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests[0].hung_up)


async def test_when_a_call_has_its_own_timeout_then_it_counts(bench: Bench) -> None:
    bench.play(faults.silence())
    error = await bench.fail(await bench.agent(), timeout=0.1)
    check(bench, error, errors.RequestTimeoutError)


@only_streams
async def test_when_a_stream_never_begins_then_the_wait_for_a_piece_ends_it(bench: Bench) -> None:
    error = await failure(bench, faults.silence(), timeout={"read": 0.15})
    check(bench, error, errors.RequestTimeoutError)


@only_streams
@pytest.mark.parametrize("how", ["reset", "fin", "silence"])
async def test_when_a_stream_breaks_off_then_what_came_is_kept_and_not_asked_again(bench: Bench, how: Ending) -> None:
    error = await failure(bench, faults.cut(Answer(), 2, how), timeout={"read": 0.3}, retries=2)
    error = check(bench, error, errors.PartialAnswerError)
    assert error.reply is not None
    assert (error.reply.content, error.reply.status) == ("Tokens are ", "partial")
    assert len(bench.server.requests) == 1
    [row] = rows()
    assert (row["status"], row["error_type"]) == ("partial", "PartialAnswerError")
    assert row["usage_source"] in {"partial", "estimated"}
    assert row["input_tokens"] > 0
    assert row["output_tokens"] > 0


@only_streams
async def test_when_a_stream_takes_too_long_then_what_came_is_kept(bench: Bench) -> None:
    error = await failure(bench, Answer(pieces=("x",) * 1000, delay=0.01), timeout=0.3, retries=2)
    error = check(bench, error, errors.PartialAnswerError)
    assert error.reply is not None
    assert set(error.reply.content) == {"x"}
    assert len(bench.server.requests) == 1
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests[0].hung_up)


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_stream_that_the_sdk_demanded_breaks_off_then_what_came_is_kept(bench: Bench) -> None:
    error = await failure(bench, faults.cut(Answer(), 2, "reset"), max_tokens=50_000)
    error = check(bench, error, errors.PartialAnswerError)
    assert error.reply is not None
    assert error.reply.content == "Tokens are "


@only_streams
async def test_when_a_stream_ends_without_saying_so_then_the_reply_is_partial(bench: Bench) -> None:
    bench.play(faults.cut(Answer(), 2, "clean"))
    reply = await bench.ask(await bench.agent(retries=2))
    assert (reply.content, reply.status, reply.finish_reason) == ("Tokens are ", "partial", None)
    assert len(bench.server.requests) == 1
    assert [row["status"] for row in rows()] == ["partial"]


@only_streams
async def test_when_a_stream_ends_before_any_text_then_it_is_no_answer(bench: Bench) -> None:
    check(bench, await failure(bench, faults.cut(Answer(), 0, "clean")), errors.MalformedAnswerError)


@only_streams
async def test_when_a_stream_tells_of_an_error_after_text_then_what_came_is_kept(bench: Bench) -> None:
    error = await failure(bench, faults.error_event(Answer(), 2, "Out of stars"), retries=2)
    assert isinstance(error, errors.PartialAnswerError)
    assert error.reply is not None
    assert error.reply.content == "Tokens are "
    assert "Out of stars" in str(error)
    assert len(bench.server.requests) == 1
    assert [row["status"] for row in rows()] == ["partial"]


@only_streams
async def test_when_a_stream_begins_with_an_error_then_it_is_that_error(bench: Bench) -> None:
    error = await failure(bench, faults.error_event(Answer(), 0, "Out of stars"))
    overloaded = bench.dialect in {ANTHROPIC, GOOGLE}
    assert type(error) is (errors.OverloadedError if overloaded else errors.ServerError)
    assert isinstance(error, ProviderError)
    assert error.retryable
    assert "Out of stars" in str(error)
    assert [row["status"] for row in rows()] == ["error"]


SHAPES = [b"null", b"[]", b'"a text"', b"{}", b"12", b'{"choices": [], "content": [], "candidates": [], "message": {}}']
SHAPES += [b'{"choices": null, "content": null, "candidates": null, "message": null, "type": "message"}']
NO_ANSWERS: dict[str, Act] = {
    "page": faults.page(),
    "empty": faults.empty(),
    "malformed": faults.malformed(),
    "cut": faults.cut_json(Answer()),
    "bytes": faults.body(bytes(range(128, 256))),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_when_an_answer_is_not_one_then_it_is_an_error_and_never_an_empty_reply(bench: Bench, name: str) -> None:
    check(bench, await failure(bench, NO_ANSWERS[name]), errors.MalformedAnswerError)


@pytest.mark.parametrize("prefix", [b"", b"data: "])
async def test_when_an_answer_has_another_shape_then_it_is_an_error(bench: Bench, prefix: bytes) -> None:
    agent = await bench.agent()
    for shape in SHAPES:
        bench.play(faults.body(prefix + shape + b"\n\n"))
        check(bench, await bench.fail(agent), errors.MalformedAnswerError)


@pytest.mark.parametrize("way", ["plain"])
async def test_when_an_answer_is_not_compressed_as_it_says_then_it_is_no_answer(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.whole(200, {**faults.JSON, "content-encoding": "gzip"}, b"{}")

    check(bench, await failure(bench, act), errors.MalformedAnswerError)


@only_streams
@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_a_plain_answer_comes_for_a_stream_then_it_is_no_answer(bench: Bench) -> None:
    error = await failure(bench, faults.plain_for_stream(Answer()))
    check(bench, error, errors.MalformedAnswerError)


@only_streams
@pytest.mark.parametrize("dialect", [OLLAMA], ids=repr)
async def test_when_a_plain_line_comes_for_a_stream_then_it_is_a_stream_of_one(bench: Bench) -> None:
    bench.play(faults.plain_for_stream(Answer()))
    assert (await bench.ask(await bench.agent())).content == Answer().text


@only_streams
async def test_when_a_stream_turns_to_nonsense_after_text_then_what_came_is_kept(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await Answer().tell(exchange, pieces=2)
        sse = "event-stream" in bench.dialect.stream_type
        await exchange.send(b"event: content_block_delta\ndata: {'oops'\n\n" if sse else b"{'oops'\n")
        await exchange.end()

    error = check(bench, await failure(bench, act), errors.PartialAnswerError)
    assert error.reply is not None
    assert error.reply.content == "Tokens are "
    assert [row["status"] for row in rows()] == ["partial"]


async def test_when_a_text_has_half_a_surrogate_pair_then_the_reply_can_be_written_down(bench: Bench) -> None:
    bench.play(Answer(pieces=("a\ud800", "b", "\udfffc")))
    reply = await bench.ask(await bench.agent())
    assert reply.content.encode()
    assert reply.content == "a\ufffdb\ufffdc"
    assert [row["status"] for row in rows()] == ["ok"]


async def test_when_a_surrogate_pair_comes_in_two_pieces_then_it_is_one_character(bench: Bench) -> None:
    bench.play(Answer(pieces=("dice: \ud83c", "\udfb2", "!")))
    reply = await bench.ask(await bench.agent())
    assert reply.content == "dice: \U0001f3b2!"


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_a_provider_repeats_the_key_then_nothing_of_ours_does(
    bench: Bench, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    agent = await bench.agent()
    with caplog.at_level(0):
        for status in [400, 401, 429, 500]:
            bench.play(faults.echo_key(status))
            check(bench, await bench.fail(agent), STATUSES[status][0], status)
    assert CANARY in bench.server.requests[0].text
    assert CANARY not in "".join(capfd.readouterr())
    assert CANARY not in caplog.text


@only_streams
@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_a_stream_repeats_the_key_in_an_error_then_nothing_of_ours_does(bench: Bench) -> None:
    assert_clean(await failure(bench, faults.error_event(Answer(), 1, f"bad key {CANARY}")))
    assert [row["status"] for row in rows()] == ["partial"]


async def test_when_a_server_sends_the_client_elsewhere_then_it_does_not_go(bench: Bench) -> None:
    agent = await bench.agent()
    with Server(Answer()) as elsewhere:
        for code in [301, 302, 303, 307, 308]:
            bench.play(faults.redirect(elsewhere.url, code))
            error = await bench.fail(agent)
            assert isinstance(error, ProviderError)
            assert error.http_status == code
        assert not elsewhere.requests
    assert [row["status"] for row in rows()] == ["error"] * 5


async def test_when_calls_fail_then_others_at_the_same_time_do_not(bench: Bench) -> None:
    bench.server.answer = lambda request: faults.status(400) if "bad" in request.body.decode() else Answer()
    agent = await bench.agent()
    prompts = ["good", "bad"] * 10
    results = await asyncio.gather(*(bench.ask(agent, prompt) for prompt in prompts), return_exceptions=True)
    assert [isinstance(result, errors.BadRequestError) for result in results] == [False, True] * 10


async def test_when_calls_fail_then_the_next_one_on_the_same_agent_works(bench: Bench) -> None:
    agent = await bench.agent()
    for act in [faults.hang_up(), faults.page(), faults.status(500)]:
        bench.play(act)
        await fail(bench.ask(agent))
    bench.play(faults.silence())
    await fail(bench.ask(agent, timeout=0.1))
    bench.play(Answer())
    assert (await bench.ask(agent)).content == Answer().text
