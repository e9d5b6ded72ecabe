"""Whatever a server answers, a call ends in a reply or an error of the family: a moment of tests/benchmarks/fuzz.py."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import trial
from victor_nb.providers.http import Reader, number, parse
from victor_nb.providers.refusals import asked_wait, judge, stated_limits

if TYPE_CHECKING:
    from pathlib import Path

import httpx2

pytest_plugins = ["workbench_fixtures"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMED = st.dictionaries(
    st.sampled_from(["error", "code", "status", "message", "details", "errors", "metadata", "type", "innererror"]), JSON
)


def test_when_answers_come_out_of_nowhere_then_each_ends_in_a_reply_or_an_error_of_ours(
    tmp_path: Path, keys: str
) -> None:
    assert keys
    done, findings = trial(tmp_path, cases=300)
    assert (done, findings) == (300, [])


@pytest.mark.parametrize("sse", [True, False])
@given(pieces=st.lists(st.binary(max_size=20) | st.sampled_from([b"data:", b"\n", b"{}", b'{"a": 1}', b"[DONE]"])))
def test_when_bytes_are_no_stream_then_a_reader_says_so(sse: bool, pieces: list[bytes]) -> None:  # noqa: FBT001
    reader = Reader(sse=sse)
    try:
        events = [event for piece in pieces for event in reader.feed(piece)]
        events += reader.end()
    except ValueError:
        return
    assert all(isinstance(event, dict) for event in events)


@given(st.binary(max_size=60))
def test_when_bytes_are_no_object_then_parsing_says_so(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(data), dict)


@given(JSON)
def test_when_a_count_is_anything_then_it_is_a_number_of_tokens(value: object) -> None:
    assert 0 <= number({"tokens": value}, "tokens") <= 10**9


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(status=st.none() | st.integers(100, 999), body=NAMED | JSON | st.binary(max_size=40))
def test_when_an_error_states_anything_then_it_has_a_class_and_a_status(status: int | None, body: object) -> None:
    fault = judge(status, body)
    assert fault.status >= 100
    assert fault.answered
    assert "\n" not in fault.words
    wait = asked_wait(httpx2.Headers(), body)
    assert wait is None or wait >= 0


@given(st.lists(st.tuples(st.sampled_from(["limit", "remaining", "reset"]), st.text(st.characters(codec="ascii")))))
def test_when_headers_state_anything_then_limits_are_numbers(given_headers: list[tuple[str, str]]) -> None:
    headers = httpx2.Headers([(f"x-ratelimit-{name}", value) for name, value in given_headers])
    for limit in stated_limits(headers):
        assert limit.limit > 0
        assert limit.reset is None or limit.reset >= 0
    wait = asked_wait(httpx2.Headers([("retry-after", value) for _, value in given_headers]), None)
    assert wait is None or wait >= 0
