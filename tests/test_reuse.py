"""`cache=`: an answer that was paid for serves the same question again, is marked as such, and costs nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from cells import PLAIN
from servers import ANTHROPIC, OPENAI, Answer, faults
from victor_nb import Agent, session
from victor_nb.errors import ConfigError, InvalidAnswerError, VictorError
from victor_nb.notebook.display import bill
from victor_nb.values import aged
from workbench import CANARY, Bench, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cells import Shell
    from servers import Server
    from servers.exchange import Act
    from victor_nb.calls.request import CallOptions

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


class Label(BaseModel):
    kind: str


@pytest.fixture
def agent(tmp_path: Path, server: Server, keys: str) -> Iterator[Agent]:
    assert keys
    server.play(Answer())
    profile = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(server.url), "retries": 0}
    write_profiles(tmp_path, desk=profile, other={**profile, "timeout": 30, "retries": 3, "concurrency": 2})
    with Agent.create_sync("desk") as agent:
        yield agent


def stored() -> int:
    """Return how many answers are in the store."""
    cache = session().runtime.cache_for("live")
    assert cache is not None
    return cache.status().answers


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=repr)
async def test_when_a_call_is_asked_again_then_the_answer_comes_out_of_the_store(bench: Bench) -> None:
    agent = await bench.agent()
    bench.play(Answer())
    first = await bench.ask(agent, cache="on")
    again = await bench.ask(agent, cache="on")
    assert len(bench.server.requests) == len(rows()) == 1
    assert (first.made, first.age, first.reused, first.attempts) == (None, None, "", 1)
    assert again.made is not None
    assert again.age is not None
    assert 0 <= again.age < 60
    assert (again.billed, again.attempts, again.cost, again.usage) == (0, 0, first.cost, first.usage)
    alike = "content model_served finish_reason request_id service_tier profile provider model mode status".split()
    assert [getattr(again, name) for name in alike] == [getattr(first, name) for name in alike]
    assert "reused" in repr(again)
    assert "reused" not in repr(first)
    assert f"{again.reused}" in bill(again)
    assert session().last is again


def test_when_cache_is_off_or_refresh_then_the_model_is_asked(agent: Agent, server: Server) -> None:
    for word, asked in ((None, 1), ("off", 2), (False, 3), ("on", 4), ("on", 4), (True, 4), ("refresh", 5), ("on", 5)):
        server.play(Answer(pieces=(f"Answer {asked}.",)))
        reply = agent.run_sync("How many?", cache=word)  # pyright: ignore[reportArgumentType]
        assert (len(server.requests), reply.content) == (asked, f"Answer {asked}.")
    with pytest.raises(ConfigError, match=r"cache= takes on, refresh or off, not 'yes'"):
        agent.run_sync("How many?", cache="yes")


def test_when_another_profile_asks_the_same_then_it_is_served_and_max_tokens_asks_only_what_was_cut(
    agent: Agent, server: Server
) -> None:
    agent.run_sync("How many?", cache="on", max_tokens=10)
    other = session().pool.get_orchestrator("other")
    reply = other.run_sync("How many?", cache="on", max_tokens=5000, timeout=9, tags={"a": "b"})
    assert (reply.profile, reply.attempts, len(server.requests)) == ("other", 0, 1)
    server.play(Answer(finish="length"))
    for limit, asked in ((10, 2), (9, 2), (11, 3), (10, 3), (None, 4)):
        assert other.run_sync("How much?", cache="on", max_tokens=limit).finish_reason == "length"
        assert len(server.requests) == asked
    server.play(Answer())
    other.run_sync("How much?", cache="on", max_tokens=5000)
    assert (len(server.requests), stored()) == (4, 2)
    others: list[CallOptions] = [{"system": "Be brief."}, {"temperature": 0.5}, {"sample": 1}, {"params": {"top_p": 1}}]
    for more in others:
        assert other.run_sync("How much?", **{**more, "cache": "on"}).attempts == 1


def test_when_a_profile_has_a_cache_then_its_calls_use_it_unless_they_say_otherwise(
    tmp_path: Path, server: Server, keys: str
) -> None:
    server.play(Answer())
    base = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(server.url), "retries": 0}
    write_profiles(
        tmp_path, desk={**base, "cache": True}, none={**base, "cache": False}, fresh={**base, "cache": "refresh"}
    )
    pool = session().pool
    for name, asked in (("desk", 1), ("desk", 1), ("none", 2), ("fresh", 3), ("fresh", 4), ("desk", 4)):
        pool.get_orchestrator(name).run_sync("How many?")
        assert len(server.requests) == asked
    pool.get_orchestrator("desk").run_sync("How many?", cache="off")
    assert len(server.requests) == 5
    with Agent.create_sync(
        provider="openai", model="gpt-4o-mini", base_url=OPENAI.base_url(server.url), cache="on"
    ) as made:
        assert made.run_sync("How many?").attempts == 0


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(faults.status(500), id="failed"),
        pytest.param(faults.cut(Answer(), 2, "fin"), id="broken off"),
        pytest.param(Answer(finish="content_filter"), id="withheld"),
        pytest.param(Answer(finish="tool_calls"), id="a tool"),
    ],
)
def test_when_an_answer_is_not_whole_then_it_is_not_kept(agent: Agent, server: Server, act: Act) -> None:
    server.play(act)
    with suppress(VictorError):
        agent.stream("How many?", cache="on").result()
    assert stored() == 0


def test_when_an_answer_holds_a_key_then_it_is_kept_without_it(agent: Agent, server: Server) -> None:
    server.play(Answer(pieces=(f"The key is {CANARY}.",)))
    for _ in range(2):
        reply = agent.stream("How many?", cache="on").result()
        assert (reply.content.startswith("The key is "), CANARY in reply.content) == (True, False)
    assert (reply.reused != "", stored(), len(server.requests)) == (True, 1, 1)


def test_when_an_answer_has_a_schema_then_it_is_kept_only_if_it_fits_and_is_read_again(
    agent: Agent, server: Server
) -> None:
    server.play(Answer(pieces=("no JSON",)))
    with pytest.raises(InvalidAnswerError):
        agent.run_sync("How many?", cache="on", schema=Label)
    assert stored() == 0
    server.play(Answer(pieces=('{"kind": "few"}',)))
    first = agent.run_sync("How many?", cache="on", schema=Label)
    asked = len(server.requests)
    again = agent.run_sync("How many?", cache="on", schema=Label)
    assert first.data == again.data == Label(kind="few")
    assert (again.attempts, len(server.requests)) == (0, asked)

    class Strict(Label):
        def model_post_init(self, _: object) -> None:
            if self.kind == "few":
                raise ValueError("not few")

    Strict.__name__ = Strict.__qualname__ = "Label"
    Strict.model_config["title"] = "Label"
    Strict.model_rebuild(force=True)
    server.play(Answer(pieces=('{"kind": "many"}',)))
    assert agent.run_sync("How many?", cache="on", schema=Strict).data.kind == "many"


def test_when_a_fan_out_and_a_chat_use_the_store_then_samples_and_turns_are_told_apart(
    agent: Agent, server: Server
) -> None:
    pool = session().pool
    first = pool.fan_out_sync("How many?", ["desk"], n=3, cache="on")
    again = pool.fan_out_sync("How many?", ["desk"], n=4, cache="on")
    assert len(server.requests) == 4
    assert [reply.attempts for reply in again.ok] == [0, 0, 0, 1]
    frame = again.to_frame()
    assert frame["reused"].tolist() == [True, True, True, False]
    assert first.to_frame()["reused"].tolist() == [False] * 3
    assert frame["billed"].tolist()[:3] == [0.0] * 3
    assert again.spent.billed == again.ok[3].billed
    for _ in range(2):
        chat = agent.chat()
        assert chat.run_sync("How many?", cache="on").attempts == 0
        chat.run_sync("And now?", cache="on")
    assert len(server.requests) == 5


def test_when_a_budget_is_spent_then_the_store_still_answers(agent: Agent, server: Server) -> None:
    agent.run_sync("How many?", cache="on")
    session().set_budget(Decimal(0))
    assert agent.run_sync("How many?", cache="on").billed == 0
    with pytest.raises(VictorError, match="budget"):
        agent.run_sync("How much?", cache="on")
    assert len(server.requests) == 1


def test_when_the_store_is_off_or_in_memory_then_there_is_no_file(
    agent: Agent, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VICTOR_CACHE", "off")
    for _ in range(2):
        assert agent.run_sync("How many?", cache="on").attempts == 1
    monkeypatch.setenv("VICTOR_CACHE", "memory")
    assert [agent.run_sync("How many?", cache="on").attempts for _ in range(2)] == [1, 0]
    assert not list(Path.home().rglob("answers.sqlite*"))
    assert len(server.requests) == 3


def test_when_the_file_is_made_then_the_first_reply_says_so_and_no_other(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VICTOR_CACHE", str(tmp_path / "mine.sqlite"))
    first, again, other = (agent.run_sync(text, cache="on") for text in ("One?", "One?", "Two?"))
    assert [note for note in first.notes if "mine.sqlite" in note]
    assert again.notes == other.notes == ()
    assert (tmp_path / "mine.sqlite").exists()


def test_when_the_file_cannot_be_used_then_answers_come_and_the_first_reply_says_so(
    agent: Agent, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("VICTOR_CACHE", str(tmp_path / "no folder" / "answers.sqlite"))
    first, again = agent.run_sync("How many?", cache="on"), agent.run_sync("How many?", cache="on")
    assert "cannot be used" in " ".join(first.notes)  # a warning, which the filter of these tests makes an error
    assert (again.attempts, len(server.requests), len(rows())) == (0, 1, 1)


def test_when_a_mode_is_simulated_then_its_answers_are_of_this_kernel_alone(agent: Agent, server: Server) -> None:
    agent.run_sync("How many?", cache="on")
    session().set_mode("simulate")
    first, again = agent.run_sync("How many?", cache="on"), agent.run_sync("How many?", cache="on")
    assert (first.attempts, again.attempts, again.content) == (1, 0, first.content)
    assert again.mode == "simulate"
    session().set_mode("live")
    assert agent.run_sync("How many?", cache="on").content == Answer().text
    assert stored() == 1
    for mode in ("record", "replay"):
        assert session().runtime.cache_for(mode) is not session().runtime.cache_for("live")


def test_when_the_source_of_simulated_answers_changes_then_older_ones_are_not_served(
    agent: Agent, tmp_path: Path
) -> None:
    def ask() -> tuple[str, int]:
        reply = agent.run_sync("How many?", cache="on")
        return reply.content, reply.attempts

    session().set_mode("simulate")
    assert ask()[1] == 1
    given = tmp_path / "mine.yaml"
    for text in ("One", "Twenty"):
        given.write_text(f"answers:\n- text: {text}\n", encoding="utf-8")
        session().simulate_with(given)
        assert [ask(), ask()] == [(text, 1), (text, 0)]
    session().simulate_with(lambda _: "Three")
    assert [ask(), ask()] == [("Three", 1), ("Three", 0)]


def test_when_another_process_asks_the_same_then_it_is_served(agent: Agent, server: Server) -> None:
    agent.run_sync("How many?", cache="on")
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
from victor_nb import session
reply = session().pool.get_orchestrator("desk").run_sync("How many?", cache="on")
print(reply.attempts, reply.content)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ended.stdout == f"0 {Answer().text}\n"
    assert len(server.requests) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_when_a_process_forks_then_both_go_on_with_the_store(agent: Agent, server: Server) -> None:
    agent.run_sync("How many?", cache="on")
    child = os.fork()
    if child == 0:
        reply = session().pool.get_orchestrator("desk").run_sync("How many?", cache="on")
        os._exit(reply.attempts)
    assert os.waitpid(child, 0)[1] == 0
    assert agent.run_sync("How many?", cache="on").attempts == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h"), (90_000, "1 d"), (9e8, "10,416 d")],
)
def test_when_an_age_is_told_then_in_its_largest_unit(seconds: float, words: str) -> None:
    assert aged(seconds) == words


# --- in a notebook ---


def test_when_a_cell_uses_the_store_then_its_bill_says_so_and_the_whole_text_is_shown(
    live: Shell, server: Server
) -> None:
    server.play(Answer())
    cells = [live.run(f"%%victor fast cache={word} out=r\nHow many?") for word in ("on", "on", "refresh", "off")]
    assert len(server.requests) == 3
    marked = [re.search(r" · reused, \d+ s old", ran.shown) is not None for ran in cells]
    assert marked == [False, True, False, False]
    assert all(Answer().text in ran.shown for ran in cells)
    assert "answers.sqlite" in cells[0].shown
    assert "answers.sqlite" not in cells[1].shown
    live.run("%victor set cache=on")
    assert "reused" in live.run("%%victor fast\nHow many?").shown
    shown = live.run("%%victor profiles=fast n=2 cache=on\nHow many?").plain
    assert "2 answers" in shown
    assert "1 reused" in shown
    assert "takes on, refresh or off" in str(live.fail("%%victor fast cache=maybe\nHow many?"))
    assert live.complete("%%victor fast cache=") >= {"on", "refresh", "off"}


def test_when_a_cell_is_rehearsed_then_it_says_what_the_store_has(live: Shell, server: Server) -> None:
    server.play(Answer())
    assert "0 of 1 in the store" in live.run("%%victor fast cache=on dry=true\nHow many?").plain
    assert not list(Path.home().rglob("answers.sqlite*"))
    live.run("%%victor fast cache=on\nHow many?")
    assert "1 of 1 in the store" in live.run("%%victor fast cache=on dry=true\nHow many?").plain
    assert "1 of 3 in the store" in live.run("%%victor profiles=fast n=3 cache=on dry=true\nHow many?").plain
    assert "in the store" not in live.run("%%victor fast dry=true\nHow many?").plain
    assert len(server.requests) == 1


def test_when_a_strategy_uses_the_store_then_a_second_run_pays_nothing(shell: Shell) -> None:
    first, again = (
        "".join(frame[PLAIN] for frame in shell.run("%%victor strategy=single cache=on out=run\nHow many?").frames)
        for _ in range(2)
    )
    assert "reused" not in first
    assert "0 calls" in again
    assert "1 reused" in again
    assert shell.names["run"].cost == 0
    assert shell.names["run"].complete


def test_when_the_store_is_looked_after_then_nothing_is_deleted_unasked(live: Shell, server: Server) -> None:
    assert "No answers are kept yet" in live.run("%victor cache").plain
    assert "No answers are kept yet" in live.run("%victor cache clear").plain
    assert not list(Path.home().rglob("answers.sqlite*"))
    server.play(Answer())
    for number in range(3):
        live.run(f"%%victor fast cache=on\nHow many, {number}?")
    status = live.run("%victor cache status").plain
    assert "gpt-4o-mini" in status
    assert "3 answers" in status
    assert "answers.sqlite" in status
    assert live.run("%victor cache").plain == status
    assert "Deleted 0 answers" in live.run("%victor cache prune older=30d").plain
    assert "Deleted 0 answers" in live.run("%victor cache prune model=gpt-4o older=2026-01-01").plain
    question = live.run("%victor cache clear").plain
    assert "deletes 3 answers, which cost USD 0.0001 at list prices. %victor cache clear yes does it" in question
    assert stored() == 3
    assert "Deleted 3 answers" in live.run("%victor cache prune model=gpt-4o-mini").plain
    assert stored() == 0
    live.run("%%victor fast cache=on\nHow many?")
    assert "Deleted 1 answer." in live.run("%victor cache clear yes").plain
    assert live.complete("%victor cache ") == {"status", "prune", "clear"}
    assert live.complete("%victor cache prune ") == {"older=", "model="}
    assert live.complete("%victor cache clear ") == {"yes"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cache prunes", "Did you mean"),
        ("cache prune", "takes status, prune older=30d"),
        ("cache prune 30d", "takes older=30d and model=NAME"),
        ("cache prune older=3x", "older=3x is not understood"),
        ("cache clear now", "takes status"),
    ],
)
def test_when_a_word_of_the_command_is_wrong_then_it_says_what_it_takes(live: Shell, line: str, words: str) -> None:
    assert words in str(live.fail(f"%victor {line}"))


def test_when_the_store_is_off_then_the_command_says_so(live: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_CACHE", "off")
    assert "VICTOR_CACHE=off" in live.run("%victor cache").plain
