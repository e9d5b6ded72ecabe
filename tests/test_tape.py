"""Record and replay: real SDKs, real servers, and then no server at all."""

from __future__ import annotations

import json
import os
import re
from _thread import interrupt_main
from typing import TYPE_CHECKING, Any

import pytest

from servers import ANTHROPIC, OLLAMA, OPENAI, Answer, Server, Tokens, faults
from victor_nb import OrchestratorPool, Settings, Single
from victor_nb.errors import (
    AuthenticationError,
    ConfigError,
    PartialAnswerError,
    SecretError,
    TapeError,
    TapeMissError,
    VictorError,
    VictorInterrupted,
    VictorWarning,
)
from victor_nb.kernel import reset, session
from victor_nb.wire.tape import FORMAT, TapeFile
from workbench import CANARY, Bench, assert_clean, fail, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from servers import Dialect
    from servers.exchange import Act, Exchange, Request
    from victor_nb.values import Reply
    from workbench import Way

pytest_plugins = ["workbench_fixtures"]

SAME = "attempt status profile provider model model_served http_status error_type error request_id cost cost_source"
COUNTS = "input_tokens output_tokens cache_read_tokens cache_write_tokens reasoning_tokens usage_source service_tier"


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record from now on, to this file."""
    path = tmp_path / "tapes" / "story.jsonl"
    monkeypatch.setenv("VICTOR_TAPE", str(path))
    monkeypatch.setenv("VICTOR_MODE", "record")
    monkeypatch.setenv("NO_PROXY", "*")
    return path


def rewind(mode: str = "replay") -> None:
    """End the kernel's session, and begin another one in this mode."""
    reset()
    os.environ["VICTOR_MODE"] = mode


def words(reply: Reply) -> tuple[object, ...]:
    """Return what must be the same of a reply that is replayed."""
    names = "content usage cost profile provider model model_served finish_reason attempts request_id status notes"
    return tuple(getattr(reply, name) for name in names.split())


def told(kept: list[dict[str, Any]]) -> list[list[Any]]:
    """Return what must be the same of rows that are replayed; a key that a server repeats is masked in the tape."""
    cut = [{**row, "error": (row["error"] or "").partition("[redacted]")[0]} for row in kept]
    return [[row[name] for name in f"{SAME} {COUNTS}".split()] for row in cut]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def rewrite(path: Path, mend: Callable[[str], str]) -> None:
    path.write_text(mend(text_of(path)), encoding="utf-8")


def beside(path: Path) -> list[str]:
    """Return what is in a tape's folder but itself."""
    return [each.name for each in path.parent.glob("*") if each != path] + [
        each.name for each in path.parent.glob(".*")
    ]


async def outcome(asking: Awaitable[Reply]) -> object:
    try:
        return words(await asking)
    except VictorError as error:
        assert_clean(error)
        return type(error), str(error).partition("[redacted]")[0]


# --- one call after another ---

STORY: tuple[Act, ...] = (
    faults.status(429, "Slow down.", retry_after_ms="5"),
    Answer(tokens=Tokens(input=1500, output=420, cache_read=700), delay=0.01),
    Answer(pieces=("The ", "same ", "again, ", "but ", "other.")),
    faults.echo_key(),
    faults.compressed(Answer()),
)


async def test_when_calls_are_recorded_then_they_replay_without_a_server(
    tmp_path: Path, dialect: Dialect, way: Way, keys: str, tape: Path
) -> None:
    async def story(bench: Bench) -> tuple[list[object], list[dict[str, Any]]]:
        agent = await bench.agent(retries=2)
        found = [await outcome(bench.ask(agent, "How many?")) for _ in range(3)]
        found.append(await outcome(bench.ask(agent, "How many, packed?", system="Be brief.")))
        kept = rows()
        bench.clear()
        return found, kept

    with Server(*STORY) as server:
        bench = Bench(tmp_path, server, dialect, way)
        live, recorded = await story(bench)
        asked = len(server.requests)
    assert [row["status"] for row in recorded] == ["error", "ok", "ok", "error", "ok"]
    assert not text_of(tape)  # it is sorted in when the kernel ends; until then there is a journal
    rewind()
    assert os.stat(tape).st_mode & 0o777 == 0o600  # noqa: PTH116 - a Path would be one more thing that blocks
    assert not beside(tape)

    replayed, again = await story(bench)
    assert replayed == live
    assert told(again) == told(recorded)
    assert len(server.requests) == asked
    assert {row["mode"] for row in again} == {"replay"}
    assert not any(row["billed"] for row in again)
    for before, after in zip(recorded, again, strict=True):
        assert 0.005 * (before["attempt"] == 2) < after["latency"] <= before["latency"]  # without what an SDK takes
        assert (before["ttft"] is None) is (after["ttft"] is None)
        assert before["ttft"] is None or before["ttft"] - 0.5 < after["ttft"] <= before["ttft"] + 0.001

    text = text_of(tape)
    assert keys == CANARY
    assert CANARY not in text
    header = json.loads(text.splitlines()[0])
    assert (header["format"], dialect.model in header["models"]) == (FORMAT, True)


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, OLLAMA], ids=repr)
async def test_when_an_answer_broke_off_then_it_breaks_off_again(
    tmp_path: Path, dialect: Dialect, keys: str, tape: Path
) -> None:
    assert keys
    seen: list[tuple[type, str, str]] = []
    with Server(faults.cut(Answer(), 2, "reset"), faults.hang_up()) as server:
        bench = Bench(tmp_path, server, dialect, "stream")
        for mode in ("record", "replay"):
            agent = await bench.agent()
            error = await bench.fail(agent)
            assert isinstance(error, PartialAnswerError)
            assert error.reply is not None
            other = await bench.fail(agent, "Another?")
            seen += [(type(each), str(each), getattr(each.partial, "content", "")) for each in (error, other)]
            bench.clear()
            if mode == "record":
                rewind()
        assert len(server.requests) == 2
    assert seen[:2] == seen[2:]
    assert text_of(tape)


# --- many at once ---


def by_prompt(request: Request) -> Answer:
    """Answer a prompt with what only it can have, and equal prompts each with another."""
    text = json.dumps(request.json["messages"][-1]["content"])
    return Answer(pieces=("Of ", text, f" {next(COUNTER)}"), delay=0.002)


COUNTER = iter(range(100_000))


def test_when_many_are_asked_at_once_then_each_sample_gets_its_own(tmp_path: Path, keys: str, tape: Path) -> None:
    assert keys

    def asked(url: str) -> list[object]:
        spec = {"provider": "openai", "model": OPENAI.model, "base_url": f"{url}/v1"}
        write_profiles(tmp_path, one=spec, two={**spec, "temperature": 0.5}, same=spec)
        with OrchestratorPool(Settings()) as pool:
            different = pool.fan_out_sync([f"Question {number}" for number in range(8)], ["one", "two"])
            equal = pool.fan_out_sync("The same?", ["one", "same"], n=8)
            mapped = pool.map_sync([f"Row {number}" for number in range(20)], "{{ value }}?", profile="two")
        fanned = [[str(entry.outcome) for entry in each.entries] for each in (different, equal)]
        return [*fanned, list(mapped["answer"])]

    with Server() as server:
        server.answer = by_prompt
        live = asked(server.url)
    for _ in range(3):
        rewind()
        assert asked("http://127.0.0.1:9") == live
    assert len(TapeFile(tape).read()) == 16 + 16 + 20


# --- what is not there ---


async def test_when_a_line_is_gone_then_just_that_call_misses(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    bench.play(Answer())
    agent = await bench.agent()
    for number in range(3):
        await bench.ask(agent, f"Question {number}")
    rewind()
    rewrite(tape, lambda text: "".join(line for line in text.splitlines(keepends=True) if "Question 1" not in line))
    agent = await bench.agent()
    assert (await bench.ask(agent, "Question 0")).mode == "replay"
    error = await bench.fail(agent, "Question 1")
    assert (await bench.ask(agent, "Question 2")).status == "ok"
    bench.clear()

    assert type(error) is TapeMissError
    assert isinstance(error, LookupError)
    text = str(error)
    assert text.startswith("desk: tapes/story.jsonl does not hold this request.")
    assert "%victor tape rerecord --missing" in text
    [note] = error.__notes__
    assert 'messages.0.content: "Question 0" -> "Question 1"' in note or '"Question 2" -> "Question 1"' in note
    row = rows()[1]
    assert (row["status"], row["error_type"], row["cost"], row["billed"]) == ("error", "TapeMissError", 0, 0)
    assert len(server.requests) == 3


async def test_when_fields_change_no_answer_then_the_recording_serves_as_often_as_it_was_made(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    assert tape
    bench = Bench(tmp_path, server, OPENAI, "plain")
    await recorded(bench)
    hints = {
        "user": "me",
        "metadata": {"a": "b"},
        "prompt_cache_key": "x",
        "service_tier": "flex",
        "safety_identifier": "y",
    }
    agent = await bench.agent(params=hints)
    assert (await bench.ask(agent)).mode == "replay"
    assert "holds this request once, and it is asked again" in str(await bench.fail(agent))
    bench.clear()


@pytest.mark.parametrize("how", ["fan_out", "map"])
def test_when_one_of_many_misses_then_all_of_it_is_an_error(
    tmp_path: Path, server: Server, keys: str, tape: Path, how: str
) -> None:
    assert keys
    server.play(Answer())
    write_profiles(tmp_path, one={"provider": "openai", "model": OPENAI.model, "base_url": f"{server.url}/v1"})

    def ask(*prompts: str) -> object:
        with OrchestratorPool(Settings()) as pool:
            if how == "map":
                return pool.map_sync(list(prompts), "{{ value }}", profile="one")
            return pool.fan_out_sync(list(prompts), ["one"])

    ask("a", "b")
    rewind()
    assert text_of(tape)
    with pytest.raises(TapeMissError):
        ask("a", "b", "c")


def test_when_a_map_would_leave_the_machine_then_this_kernel_records_and_replays_all_of_it(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    server.play(Answer())
    write_profiles(tmp_path, one={"provider": "openai", "model": OPENAI.model, "base_url": f"{server.url}/v1"})

    def ask() -> list[str]:
        with OrchestratorPool(Settings()) as pool:
            again = [pool.map_sync(["a", "b"], "{{ value }}", profile="one", executor=object()) for _ in range(2)]
        return [*again[0]["answer_status"], *again[1]["answer_status"]]

    with pytest.warns(VictorWarning, match="recorded in this kernel"):
        live = ask()
    assert live == ["ok", "ok", "reused", "reused"]  # of what this kernel has paid for, a map asks nothing twice
    rewind()
    assert len(TapeFile(tape).read()) == 2
    assert ask() == live
    assert len(server.requests) == 2


# --- the file ---


async def recorded(bench: Bench) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    bench.clear()
    rewind()


@pytest.mark.parametrize(
    ("mend", "said"),
    [
        (lambda text: text.replace('"format": 1', '"format": 2', 1), "has format 2, of victor_nb"),
        (lambda text: text[: len(text) // 2], "line 2: its end is missing"),
        (lambda text: text.replace("\n", "\n<<<<<<< HEAD\n", 1), "line 2: it is a mark of a merge"),
        (lambda text: f"<<<<<<< HEAD\n{text}", "line 1: it is a mark of a merge"),
        (lambda text: text.replace('"status"', '"state"'), "line 2: it lacks 'status'"),
        (lambda text: text.replace('"sample": 0', '"sample": "0"'), "line 2: it is no exchange"),
        (lambda text: re.sub(r'"cell": (null|[0-9]+)', '"cell": "x"', text), "line 2: it is no exchange"),
        (lambda text: text.replace('"latency": ', '"latency": 1e999, "was": '), "line 2: it is no exchange"),
        (lambda text: text.replace('"answered": ', '"answered": NaN, "was": '), "line 2: it is no exchange"),
        (lambda _: "hello\n", "line 1: it is no header"),
        (lambda _: "", "line 1: it is no header"),
    ],
)
async def test_when_a_tape_cannot_be_used_then_one_line_says_which_line(
    tmp_path: Path, server: Server, keys: str, tape: Path, mend: Callable[[str], str], said: str
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    await recorded(bench)
    rewrite(tape, mend)
    error = await fail(bench.agent())
    assert type(error) is TapeError
    assert said in str(error)
    assert str(tape) in str(error)


async def test_when_there_is_no_tape_or_it_is_not_known_then_the_error_says_so(
    tmp_path: Path, server: Server, keys: str, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    rewind()
    assert f"There is no tape {tape}" in str(await fail(bench.agent()))
    monkeypatch.delenv("VICTOR_TAPE")
    error = await fail(bench.agent())
    assert isinstance(error, ConfigError)
    assert "VICTOR_TAPE" in str(error)
    monkeypatch.setenv("VICTOR_MODE", "record")
    monkeypatch.setenv("CI", "true")
    assert "VICTOR_RECORD_IN_CI=1" in str(await fail(bench.agent()))


async def test_when_an_answer_holds_a_key_then_nothing_is_written(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "stream")
    shaped = "sk-proj-0123456789abcdefghij"
    whole, parts = Answer(pieces=("It is ", CANARY)), Answer(pieces=("It is ", CANARY[:9], CANARY[9:], "."))
    bench.play(whole, parts, Answer(pieces=("It is ", shaped[:12], shaped[12:])))
    agent = await bench.agent()
    for _ in range(3):
        error = await bench.fail(agent)
        assert type(error) is SecretError
        assert "desk holds a key" in str(error)
    assert [row["status"] for row in rows()] == ["ok"] * 3  # they are paid for
    bench.clear()
    rewind()
    assert not text_of(tape)
    assert not beside(tape)


async def test_when_two_kernels_record_and_one_is_killed_then_neither_loses_what_it_had(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    bench.play(Answer())
    agent = await bench.agent()
    await bench.ask(agent, "First?")
    [journal] = tape.parent.glob(".story.*.journal")
    left = journal.read_bytes()
    bench.clear()
    reset()
    # What a kernel leaves that was killed while it wrote its second line.
    other = journal.with_name(".story.1-dead.journal")
    other.write_bytes(left.replace(b"First?", b"Of the other?") + left[: len(left) // 2])
    prompts = [exchange.asked.body["messages"][0]["content"] for exchange in TapeFile(tape).read()]
    assert sorted(prompts) == ["First?", "Of the other?"]
    await bench.ask(await bench.agent(), "Second?")
    bench.clear()
    reset()
    assert not other.exists()
    prompts = [exchange.asked.body["messages"][0]["content"] for exchange in TapeFile(tape).read()]
    assert sorted(prompts) == ["First?", "Of the other?", "Second?"]


@pytest.mark.parametrize("name", ["story", "story [1]", "story *"])
async def test_when_names_of_notebooks_resemble_each_other_then_each_gets_its_own_journals(
    tmp_path: Path, server: Server, keys: str, tape: Path, name: str
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    bench.play(Answer())
    await bench.ask(await bench.agent(), "First?")
    [journal] = tape.parent.glob(".story.*.journal")
    left = journal.read_bytes()
    bench.clear()
    reset()
    for stem in (name, f"{name}.b"):
        (tape.parent / "others" / f".{stem}.1-dead.journal").parent.mkdir(exist_ok=True)
        (tape.parent / "others" / f".{stem}.1-dead.journal").write_bytes(left)
    TapeFile(tape.parent / "others" / f"{name}.jsonl").add(TapeFile(tape).read())
    assert [each.name for each in (tape.parent / "others").glob(".*.journal")] == [f".{name}.b.1-dead.journal"]
    assert len(TapeFile(tape.parent / "others" / f"{name}.b.jsonl").read()) == 1


async def test_when_a_tape_cannot_be_used_then_nothing_is_asked_to_be_recorded_on_it(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    bench.play(Answer())
    await bench.ask(await bench.agent())
    bench.clear()
    reset()
    rewrite(tape, lambda text: text[:-1])
    error = await fail(bench.agent())
    assert type(error) is TapeError
    assert "its end is missing" in str(error)
    assert len(server.requests) == 1


async def test_when_a_key_was_wrong_then_its_refusal_is_replayed(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    bench = Bench(tmp_path, server, OPENAI, "plain")
    bench.play(faults.echo_key())
    for _ in range(2):
        assert type(await bench.fail(await bench.agent())) is AuthenticationError
        bench.clear()
        rewind()
    assert CANARY not in text_of(tape)


def test_when_a_stream_is_left_then_the_replay_can_be_left_too(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    assert tape
    server.play(faults.cut(Answer(), 2, "silence"))
    write_profiles(tmp_path, one={"provider": "openai", "model": OPENAI.model, "base_url": f"{server.url}/v1"})
    for _ in range(2):
        stream = session().pool.get_orchestrator("one").stream("Go on?")
        found = [piece for _, piece in zip(range(2), stream, strict=False)]
        stream.cancel()
        assert "".join(found).startswith("Tokens ")
        assert stream.reply.status == "interrupted"
        rewind()


def test_when_a_run_was_cancelled_then_its_replay_is_cancelled_there(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys
    server.play(faults.cut(Answer(), 2, "silence"))
    write_profiles(tmp_path, one={"provider": "openai", "model": OPENAI.model, "base_url": f"{server.url}/v1"})
    job = Single("one").start("Go on?")
    server.wait(lambda: len(server.requests) == 1)
    job.cancel()
    live = job.result(), [row["status"] for row in rows()]
    rewind()
    assert [each.fault for each in TapeFile(tape).read()] == ["cancelled"]
    run = Single("one").start("Go on?").result()  # nothing here cancels it
    assert (run.content, [row["status"] for row in rows()]) == (live[0].content, live[1])
    assert (run.complete, live[1]) == (False, ["interrupted"])


def test_when_stop_was_pressed_then_it_is_pressed_in_the_replay(
    tmp_path: Path, server: Server, keys: str, tape: Path
) -> None:
    assert keys

    async def stop(exchange: Exchange) -> None:
        interrupt_main()
        await faults.silence()(exchange)

    server.play(Answer(), stop)
    write_profiles(tmp_path, one={"provider": "openai", "model": OPENAI.model, "base_url": f"{server.url}/v1"})
    found: list[list[str]] = []
    for _ in range(2):
        with OrchestratorPool(Settings()) as pool, pytest.raises(VictorInterrupted) as caught:
            pool.map_sync(["a", "b", "c"], "{{ value }}", profile="one", concurrency=1)
        found.append(list(caught.value.partial["answer_status"]))
        rewind()
    assert found == [["ok", "interrupted", "pending"]] * 2
    assert sorted(each.fault for each in TapeFile(tape).read()) == ["", "interrupted"]
