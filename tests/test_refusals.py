"""Servers that refuse: the error that says how, and whether, when and how often it is asked again."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from servers import (
    ANTHROPIC,
    DIALECTS,
    GOOGLE,
    OPENAI,
    RESPONSES,
    Answer,
    Dialect,
    Request,
    Server,
    dialect_of,
    faults,
)
from victor_nb import errors
from victor_nb.errors import ProviderError
from victor_nb.kernel import session
from workbench import CANARY, Bench, ask, assert_clean, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.exchange import Act

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


async def test_when_a_provider_refuses_then_the_error_says_how(bench: Bench) -> None:
    agent = await bench.agent()
    for status, (kind, retryable) in STATUSES.items():
        bench.play(faults.status(status, "The stars are not right."))
        error = bench.check(await bench.fail(agent), kind, status)
        assert "The stars are not right" in str(error)
        assert error.retryable is retryable
        assert error.request_id == ("req_err" if bench.dialect in {ANTHROPIC, OPENAI, RESPONSES} else None)
    assert len(rows()) == len(bench.server.requests) == len(STATUSES)


async def test_when_a_prompt_is_too_long_then_the_error_says_so(bench: Bench) -> None:
    bench.check(await bench.failure(faults.too_long()), errors.ContextLengthError, 400)


async def test_when_a_refusal_has_no_form_then_its_status_counts(bench: Bench) -> None:
    agent = await bench.agent()
    for status in [400, 429, 502]:
        for body in [b"", b"<html>Bad <b>gateway</b></html>", b"[]", b'{"error": null}', b"\xff\xfe{", b"null", b"7"]:
            bench.play(faults.status(status, body=body))
            error = bench.check(await bench.fail(agent), STATUSES[status][0], status)
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
        bench.check(await bench.fail(agent), STATUSES[status][0], status)
        assert len(bench.server.requests) == count


async def test_when_every_attempt_fails_then_three_rows_and_the_last_error_are_left(bench: Bench) -> None:
    error = await bench.failure(faults.status(503, retry_after="0"), retries=None)
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
    error = await bench.failure(faults.status(429, retry_after=retry_after), retries=2)
    error = bench.check(error, errors.RateLimitError, 429)
    assert error.retry_after == pytest.approx(3600, abs=5)
    assert time.monotonic() - start < 15  # far from what it was asked to wait


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo"}


def exhausted(*details: object) -> bytes:
    """A refusal as google sends it: how long to wait stands in the body."""
    return json.dumps(
        {"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED", "details": details}}
    ).encode()


@pytest.mark.parametrize(
    ("refusal", "seconds"),
    [
        (faults.status(429, retry_after="3", retry_after_ms="250"), 0.25),
        (faults.status(429, retry_after="3", retry_after_ms="soon"), 3.0),
        (faults.status(429, body=exhausted({"@type": "another"}, {**RETRY_INFO, "retryDelay": "39s"})), 39.0),
        (faults.status(429, body=b"[" + exhausted({**RETRY_INFO, "retryDelay": "0.5s"}) + b"]"), 0.5),
        (faults.status(429, retry_after="2", body=exhausted({**RETRY_INFO, "retryDelay": "39s"})), 2.0),
        (faults.status(429, body=exhausted({**RETRY_INFO, "retryDelay": "a while"}, RETRY_INFO, 7, None)), None),
        (faults.status(429, body=b'{"error": {"details": 7}}'), None),
        (faults.status(429, body=b"[]"), None),
        (faults.status(429, retry_after="30", retry_after_ms="0"), 30.0),
        (faults.status(429, retry_after="soon", body=exhausted({**RETRY_INFO, "retryDelay": "39s"})), 39.0),
        (faults.status(429, body=exhausted({**RETRY_INFO, "retryDelay": "0s"})), None),
        (faults.status(429, body=exhausted({**RETRY_INFO, "retryDelay": f"{'9' * 400}s"})), None),
        (faults.status(429, retry_after="Wed, 21 Oct 99999999999999999999 07:28:00 GMT"), None),
        (faults.status(429, body=b"[" * 20_000 + b"]" * 20_000), None),
        (faults.status(429, body=b"\xff\xfe"), None),
    ],
)
async def test_when_a_refusal_says_how_long_then_that_is_waited_for(
    bench: Bench, refusal: Act, seconds: float | None
) -> None:
    error = await bench.failure(refusal, retries=0)
    assert isinstance(error, errors.RateLimitError)
    assert error.retry_after == seconds


async def test_when_a_wait_makes_no_sense_then_it_is_none_of_ours(bench: Bench) -> None:
    agent = await bench.agent()
    for wait in ["soon", "", "Wed, 99 Foo 2026", "-5", "nan", "1,5"]:
        bench.play(faults.status(429, retry_after=wait))
        error = bench.check(await bench.fail(agent), errors.RateLimitError, 429)
        assert error.retry_after in {None, 0}


async def test_when_the_time_of_a_call_runs_out_in_a_wait_then_it_fails_in_time(bench: Bench) -> None:
    start = time.monotonic()
    error = await bench.failure(faults.status(429, retry_after="30"), retries=2, timeout=0.2)
    assert isinstance(error, (errors.RateLimitError, errors.RequestTimeoutError))
    assert time.monotonic() - start < 15  # far from what it was asked to wait
    assert [row["status"] for row in rows()] == ["error"]


async def test_when_a_call_is_cancelled_in_a_wait_then_it_ends_at_once(bench: Bench) -> None:
    bench.play(faults.status(429, retry_after="30"))
    agent = await bench.agent(retries=2)
    task = asyncio.create_task(bench.ask(agent))
    start = time.monotonic()
    while [row["status"] for row in rows()] != ["error"]:  # it waits from then on
        assert time.monotonic() - start < 15
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start < 20  # far from what it was asked to wait
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


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_a_provider_repeats_the_key_then_nothing_of_ours_does(
    bench: Bench, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    agent = await bench.agent()
    with caplog.at_level(0):
        for status in [400, 401, 429, 500]:
            bench.play(faults.echo_key(status))
            kind = errors.AuthenticationError if status == 400 else STATUSES[status][0]  # as its words say
            bench.check(await bench.fail(agent), kind, status)
    assert CANARY in bench.server.requests[0].text
    assert CANARY not in "".join(capfd.readouterr())
    assert CANARY not in caplog.text


@only_streams
@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_a_stream_repeats_the_key_in_an_error_then_nothing_of_ours_does(bench: Bench) -> None:
    assert_clean(await bench.failure(faults.error_event(Answer(), 1, f"bad key {CANARY}")))
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


def refused(http: int, **stated: object) -> Act:
    """Refuse with an error of this form."""
    return faults.status(http, body=json.dumps({"error": stated}).encode())


QUOTAS = [
    (OPENAI, refused(429, message="You exceeded your current quota.", type="insufficient_quota")),
    (OPENAI, refused(429, message="No.", type="exceeded_current_quota_error")),
    (OPENAI, refused(402, message="Insufficient Balance", type="unknown_error")),
    (OPENAI, refused(403, message="Your team has used all available credits or reached its spending limit.")),
    (ANTHROPIC, refused(400, type="invalid_request_error", message="Your credit balance is too low to access it.")),
    (ANTHROPIC, refused(402, type="billing_error", message="No.")),
    (ANTHROPIC, refused(400, message="You have reached your specified API usage limits. You will regain access soon.")),
    (OPENAI, refused(400, message="Budget has been exceeded! Current cost: 0.5", type="budget_exceeded", code="400")),
    (OPENAI, refused(403, message="Key limit exceeded (total limit).", code=403)),
    (OPENAI, refused(429, message="OpenAIException - Error code: 429 - {'code': 'insufficient_quota'}", code="429")),
    (OPENAI, faults.status(429, body=b'event: error\ndata: {"error": {"code": "InsufficientQuota"}}\n\n')),
    (
        GOOGLE,
        refused(
            429,
            status="RESOURCE_EXHAUSTED",
            message="No.",
            details=[{"violations": [{"quotaId": "RequestsPerDay-Free"}]}],
        ),
    ),
]


@pytest.mark.parametrize(("dialect", "act"), QUOTAS)
async def test_when_no_credit_is_left_then_it_is_said_and_not_asked_again(bench: Bench, act: Act) -> None:
    error = await bench.failure(act, retries=2)
    bench.check(error, errors.QuotaError, rows()[0]["http_status"])
    host = bench.server.url.removeprefix("http://")
    assert f"Check the account's plan and billing at {host}: waiting does not help." in str(error)
    assert len(bench.server.requests) == 1
    assert rows()[0]["cost"] == 0


@pytest.mark.parametrize("dialect", [GOOGLE], ids=repr)
async def test_when_a_minutes_quota_is_used_up_then_it_is_a_limit_that_passes(bench: Bench) -> None:
    words = "You exceeded your current quota, please check your plan and billing details."
    error = await bench.failure(refused(429, status="RESOURCE_EXHAUSTED", message=words))
    bench.check(error, errors.RateLimitError, 429)


async def test_when_no_credit_is_left_then_a_fallback_answers(tmp_path: Path, server: Server, keys: str) -> None:
    empty = refused(429, message="No.", code="insufficient_quota")
    server.answer = lambda request: empty if request.json["model"] == "gpt-4o" else Answer()
    spec = {"provider": "openai", "base_url": f"{server.url}/v1"}
    write_profiles(tmp_path, a={**spec, "model": "gpt-4o", "fallback": ["b"]}, b={**spec, "model": "gpt-4o-mini"})
    reply = await session().pool.get_orchestrator("a").run("How many?")
    assert (reply.content, reply.profile) == (Answer().text, "b")
    assert "a failed (QuotaError)" in reply.notes


MEANINGS: list[tuple[Dialect, Act, type[ProviderError], str]] = [
    (
        GOOGLE,
        refused(400, message="API key not valid.", status="INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]),
        errors.AuthenticationError,
        "Check the key: %env GOOGLE_API_KEY=..., then run the cell again.",
    ),
    (
        OPENAI,
        refused(400, message="Filtered.", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
        errors.ContentFilterError,
        "Rephrase the prompt",
    ),
    (OPENAI, refused(400, message="No.", code="context_length_exceeded"), errors.ContextLengthError, "Shorten"),
    (OPENAI, refused(400, message="No.", type="exceed_context_size_error"), errors.ContextLengthError, "Shorten"),
    (OPENAI, refused(400, message="Input is too long for requested model."), errors.ContextLengthError, "Shorten"),
    (
        ANTHROPIC,
        refused(400, message="input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
        errors.ContextLengthError,
        "Shorten",
    ),
    (OPENAI, refused(402, message="No."), errors.BadRequestError, "Check the account's plan and billing"),
    (
        OPENAI,
        faults.status(400, body=b'{"code": "Client specified an invalid argument", "error": "Incorrect API key."}'),
        errors.AuthenticationError,
        "Check the key: ",
    ),
    (
        OPENAI,
        faults.status(403, body=b'{"code": "No permission", "error": "Content violates usage guidelines."}'),
        errors.ContentFilterError,
        "Rephrase",
    ),
    (OPENAI, refused(400, message="Content Exists Risk"), errors.ContentFilterError, "Rephrase"),
    (OPENAI, refused(400, message="No.", code="DataInspectionFailed"), errors.ContentFilterError, "Rephrase"),
    (ANTHROPIC, refused(400, message="Output blocked by content filtering policy"), errors.ContentFilterError, "Reph"),
    *(
        (OPENAI, refused(400, message=words), errors.ContextLengthError, "Shorten")
        for words in (
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "Your request exceeded model token limit: 8192",
            "The input token count is 40000 but model only supports up to 32768.",
            "Range of input length should be [1, 30720]",
            "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4076 `inputs` tokens",
        )
    ),
]


@pytest.mark.parametrize(("dialect", "act", "kind", "step"), MEANINGS)
async def test_when_a_status_is_not_what_a_refusal_means_then_its_code_and_words_count(
    bench: Bench, act: Act, kind: type[ProviderError], step: str
) -> None:
    error = await bench.failure(act, retries=2)
    bench.check(error, kind, rows()[0]["http_status"])
    assert step in str(error)
    assert len(bench.server.requests) == 1


INSIDE: list[tuple[dict[str, object], type[ProviderError], str]] = [
    ({"error": {"code": "ThrottlingException", "message": "Slow down."}}, errors.RateLimitError, "Slow down"),
    ({"error": {"code": "Throttling.RateQuota", "message": "Slow down."}}, errors.RateLimitError, "Slow down"),
    ({"error": {"code": "ValidationException", "message": "No."}}, errors.BadRequestError, "No."),
    ({"error": {"code": "AccessDeniedException", "message": "No."}}, errors.AuthenticationError, "Check the key"),
    ({"error": {"code": "ServiceUnavailableException", "message": "No."}}, errors.OverloadedError, "Try again later"),
    ({"error": "Rate limit exceeded, try later"}, errors.RateLimitError, "try later"),
    ({"code": 1302, "msg": "rate limit reached"}, errors.RateLimitError, "rate limit reached"),
    ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, errors.QuotaError, "insufficient"),
    ({"success": False, "errors": [{"code": 7003, "message": "Could not route."}]}, errors.ServerError, "Could not"),
]


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC, GOOGLE], ids=repr)
@pytest.mark.parametrize(("stated", "kind", "words"), INSIDE)
async def test_when_a_200_states_an_error_in_any_form_then_it_is_that_error(
    bench: Bench, stated: dict[str, object], kind: type[ProviderError], words: str
) -> None:
    data = json.dumps(stated).encode()
    error = await bench.failure(faults.body(b"data: %b\n\n" % data if bench.way == "stream" else data))
    assert type(error) is kind
    assert words in str(error)
    assert (rows()[0]["cost"] == 0) == (rows()[0]["http_status"] < 500)


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
@only_streams
async def test_when_an_error_event_has_several_lines_then_they_are_one(bench: Bench) -> None:
    data = b'event: error\ndata: {\ndata: "message": "Boom.", "code": 429\ndata: }\n\n'
    error = await bench.failure(faults.body(data))
    assert isinstance(error, errors.RateLimitError)
    assert "Boom" in str(error)


@pytest.mark.parametrize("dialect", [GOOGLE], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_200_is_a_list_of_an_error_then_it_is_that_error(bench: Bench) -> None:
    data = b'[{"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}]'
    assert isinstance(await bench.failure(faults.body(data)), errors.RateLimitError)


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_200_is_no_answer_and_no_known_error_then_its_beginning_is_shown(bench: Bench) -> None:
    error = await bench.failure(faults.body(b'{"weather": "rain"}'))
    assert isinstance(error, errors.MalformedAnswerError)
    assert 'no choices, but: {"weather": "rain"}' in str(error)


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
@only_streams
@pytest.mark.parametrize(
    ("before", "cost"), [(b"", 0), (b'data: {"choices": [{"delta": {"reasoning": "Hm"}}]}\n\n', None)]
)
async def test_when_a_stream_had_begun_then_it_is_unknown_what_its_error_costs(
    bench: Bench, before: bytes, cost: int | None
) -> None:
    error = await bench.failure(faults.body(before + b'data: {"error": {"code": 400, "message": "No."}}\n\n'))
    assert isinstance(error, errors.BadRequestError)
    assert [row["cost"] for row in rows()] == [cost]


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_server_only_streams_then_the_error_shows_it(bench: Bench) -> None:
    error = await bench.failure(faults.body(b'data: {"choices": []}\n\ndata: [DONE]\n\n'))
    assert isinstance(error, errors.MalformedAnswerError)
    assert 'it is no JSON, but: data: {"choices": []}' in str(error)
