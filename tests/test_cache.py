"""The store of answers: found by what decides them, in spite of kills, full disks and damaged files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pytest

from victor_nb.accounting.cache import (
    AnswerCache,
    StoredAnswer,
    _connected,
    _prepare,
    answer_key,
    is_shared,
)
from victor_nb.errors import VictorWarning
from victor_nb.values import AnswerSchema, ChatRequest, Message, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT = ChatRequest(model="gpt-4o-mini", messages=(Message("user", "Which river?"),))
WHEN = datetime(2026, 11, 1, 9, 30, 15, 123456, tzinfo=UTC)
ANSWER = StoredAnswer(
    content="The Rhine. Ω 😀",
    usage=Usage(9, 3, cache_read_tokens=2),
    cost=Decimal("0.000003150"),
    created=WHEN,
    provider="openai",
    model="gpt-4o-mini",
    model_served="gpt-4o-mini-2024-07-18",
    max_tokens=100,
    cost_source="computed",
    price_version="1",
    latency=0.25,
    ttft=0.125,
    request_id="req_1",
    notes=("a note",),
)


def key_of(chat: ChatRequest = CHAT, **other: Any) -> bytes:
    return answer_key(chat, **{"provider": "openai", "base_url": "https://api.openai.com/v1", **other})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "answers.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[AnswerCache]:
    cache = AnswerCache(path)
    yield cache
    cache.close()


def found_after(cache: AnswerCache, answers: dict[bytes, StoredAnswer], *more: bytes) -> dict[bytes, StoredAnswer]:
    for key, answer in answers.items():
        cache.put(key, answer)
    return cache.find([*answers, *more]).result()


def schema(*names: str) -> AnswerSchema:
    return AnswerSchema(
        "Label", {"type": "object", "properties": {name: {"type": "string"} for name in names}}, "schema"
    )


def test_when_what_is_asked_differs_then_so_does_the_key() -> None:
    others = [
        {"provider": "azure"},
        {"base_url": "https://eu.api.openai.com/v1"},
        {"base_url": "https://api.openai.com/v2"},
        {"api": "responses"},
        {"sample": 1},
    ]
    changes: list[dict[str, Any]] = [
        {"model": "gpt-4o"},
        {"messages": (Message("user", "Which sea?"),)},
        {"messages": (Message("assistant", "Which river?"),)},
        {"messages": (*CHAT.messages, Message("assistant", "Rhine"), Message("user", "And?"))},
        {"system": "Be brief."},
        {"schema": schema("a", "b")},
        {"schema": schema("b", "a")},
        {"effort": "low"},
        {"temperature": 0.0},
        {"temperature": 0.1},
        {"seed": 1},
        {"params": {"top_p": 0.5}},
    ]
    keys = [key_of(), *(key_of(**other) for other in others), *(key_of(replace(CHAT, **change)) for change in changes)]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}


def test_when_only_other_things_differ_then_the_key_is_the_same() -> None:
    others: list[dict[str, Any]] = [
        {"max_tokens": 5},
        {"tier": "flex"},
        {"prompt_cache": "1h"},
        {"learned": {"x": None}},
    ]
    assert {key_of(replace(CHAT, **other)) for other in others} == {key_of()}
    assert key_of(base_url="https://me:pw@API.openai.com/v1/") == key_of()
    assert key_of(replace(CHAT, temperature=1)) == key_of(replace(CHAT, temperature=1.0))
    one, two = (
        replace(CHAT, params={"a": 1, "b": {"c": 2, "d": 3}}),
        replace(CHAT, params={"b": {"d": 3, "c": 2}, "a": 1}),
    )
    assert key_of(one) == key_of(two)
    numbered, named = replace(CHAT, params={"x": {1: 2, "b": 3}}), replace(CHAT, params={"x": {"b": 3, "1": 2}})
    assert key_of(numbered) == key_of(named)


def test_when_a_key_is_made_then_it_is_the_one_of_past_versions() -> None:
    assert key_of().hex() == "b6bef081c7afe7b5f8dee03edc2f96bade1ff4859be35b0a3acf99e4c85ca09d"


@pytest.mark.parametrize(
    ("finish", "asked", "now", "serves"),
    [
        ("stop", 100, 100, True),
        ("stop", 100, 5, True),
        ("stop", 100, None, True),
        ("length", 100, 100, True),
        ("length", 100, 50, True),
        ("length", 100, 101, False),
        ("length", 100, None, False),
        ("length", None, None, True),
        ("length", None, 5, True),
    ],
)
def test_when_max_tokens_changes_then_only_what_was_cut_lower_is_asked_again(
    *, finish: Literal["stop", "length"], asked: int | None, now: int | None, serves: bool
) -> None:
    assert replace(ANSWER, finish_reason=finish, max_tokens=asked).serves(now) is serves


def test_when_answers_are_put_then_another_kernel_finds_them_whole(path: Path) -> None:
    keys = [key_of(sample=number) for number in range(1_200)]
    with_nothing = replace(ANSWER, cost=None, ttft=None, request_id=None, model_served=None, notes=(), max_tokens=None)
    one, two = AnswerCache(path), AnswerCache(path)
    for number, key in enumerate(keys):
        one.put(key, replace(ANSWER if number % 2 else with_nothing, content=str(number)))
    one.put(keys[0], replace(ANSWER, content="newer"))
    assert len(one.find(keys).result()) == 1_200
    found = two.find([*keys, *keys, key_of(sample=5_000)]).result()
    assert found[keys[0]] == replace(ANSWER, content="newer")
    assert found[keys[2]] == replace(with_nothing, content="2")
    assert found[keys[3]] == replace(ANSWER, content="3")
    assert len(found) == 1_200
    assert two.find([]).result() == {}
    one.close()
    two.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or sys.platform == "win32"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 or sys.platform == "win32"


def test_when_the_file_is_made_then_that_is_shown_once(path: Path) -> None:
    first = AnswerCache(path)
    assert first.news() == []
    first.put(key_of(), ANSWER)
    first.written().result()
    (note,) = first.news()
    assert str(path) in note
    assert "VICTOR_CACHE=off" in note
    assert first.news() == []
    first.close()
    second = AnswerCache(path)
    assert second.find([key_of()]).result()
    assert second.news() == []
    second.close()


def test_when_the_process_is_killed_then_what_was_written_is_there(path: Path) -> None:
    program = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from datetime import UTC, datetime, timedelta
from pathlib import Path
from victor_nb.accounting.cache import AnswerCache, StoredAnswer
from victor_nb.values import Usage
cache = AnswerCache(Path({str(path)!r}))
for number in range(50):
    cache.put(b"%032d" % number, StoredAnswer(content=str(number), usage=Usage(1, 1), cost=None,
        created=datetime.now(UTC), provider="openai", model="m"))
cache.written().result()
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode != 0
    cache = AnswerCache(path)
    assert len(cache.find([b"%032d" % number for number in range(50)]).result()) == 50
    cache.close()


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_when_the_file_is_damaged_then_it_is_moved_aside_with_a_warning(path: Path, damage: str) -> None:
    before = AnswerCache(path)
    for number in range(500):
        before.put(key_of(sample=number), ANSWER)
    before.close()
    data = path.read_bytes()
    if damage == "header":
        path.write_bytes(b"garbage" * 100)
    else:  # the first page, which says what the file is, is whole
        path.write_bytes(data[:4096] + os.urandom(len(data) - 4096))
    cache = AnswerCache(path)
    with pytest.warns(VictorWarning, match="is damaged"):
        assert cache.find([key_of(sample=number) for number in range(500)]).result() == {}
    cache.put(key_of(), ANSWER)
    assert cache.find([key_of()]).result() == {key_of(): ANSWER}
    assert cache.path == path
    cache.close()
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.stat().st_size > 500


def test_when_the_file_is_damaged_under_two_kernels_then_the_second_takes_the_new_one_of_the_first(path: Path) -> None:
    one, two = AnswerCache(path), AnswerCache(path)
    for number in range(500):
        one.put(key_of(sample=number), ANSWER)
    one.written().result()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert two.find([]).result() == {}
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    keys = [key_of(sample=number) for number in range(500)]
    with pytest.warns(VictorWarning, match="is damaged"):
        assert one.find(keys).result() == {}
    one.put(keys[0], ANSWER)
    one.written().result()
    assert two.find(keys).result() == {keys[0]: ANSWER}
    one.close()
    two.close()
    assert len(list(path.parent.glob("*.damaged-????????-??????-??????"))) == 1


def test_when_the_file_is_of_a_newer_version_or_another_kind_then_memory_serves_with_a_warning(path: Path) -> None:
    AnswerCache(path).close()
    path.parent.mkdir()
    for preparation, words in (
        ("PRAGMA application_id = 0x56696341; PRAGMA user_version = 99; CREATE TABLE answers (x)", "newer victor_nb"),
        ("CREATE TABLE mine (x)", "something else"),
    ):
        with sqlite3.connect(path) as db:
            db.executescript(preparation)
        db.close()
        before = path.read_bytes()
        cache = AnswerCache(path)
        with pytest.warns(VictorWarning, match=words):
            assert found_after(cache, {key_of(): ANSWER}) == {key_of(): ANSWER}
        assert cache.path is None
        cache.close()
        assert path.read_bytes() == before
        path.unlink()


def test_when_the_disk_is_full_then_answers_are_found_with_one_warning(path: Path, cache: AnswerCache) -> None:
    cache.put(key_of(), ANSWER)
    assert cache.find([key_of()]).result()
    store = cache._writer.store
    assert store is not None
    store.run(lambda db: db.execute("PRAGMA max_page_count = 1").fetchall())
    long = replace(ANSWER, content="x" * 100_000)
    with pytest.warns(VictorWarning, match="cannot be written"):
        found = found_after(cache, {key_of(sample=1): long}, key_of())
    assert found == {key_of(): ANSWER, key_of(sample=1): long}
    cache.put(key_of(sample=2), long)
    assert len(cache.find([key_of(sample=number) for number in range(3)]).result()) == 3
    assert cache.status().answers == 3
    assert cache.path == path


def test_when_the_folder_cannot_be_written_then_memory_serves_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = AnswerCache(tmp_path / "file" / "answers.sqlite")
    with pytest.warns(VictorWarning, match=r"cannot be used.*Set VICTOR_CACHE"):
        assert found_after(cache, {key_of(): ANSWER}) == {key_of(): ANSWER}
    cache.close()


@pytest.mark.parametrize("shared", [True, False])
def test_when_a_file_system_is_of_several_hosts_then_the_file_is_kept_whole_by_rollback(
    path: Path, *, shared: bool
) -> None:
    before = AnswerCache(path)
    before.put(key_of(), ANSWER)
    assert before.status().journal == "wal"
    before.close()
    with closing(_connected(path, shared=shared)) as one, closing(sqlite3.connect(path)) as two:
        assert one.execute("PRAGMA journal_mode").fetchone()[0] == ("delete" if shared else "wal")
        assert two.execute("SELECT COUNT(*) FROM answers").fetchone() == (1,)  # no lock is left


@pytest.mark.skipif(sys.platform == "win32", reason="no such file system there")
def test_when_there_is_no_memory_for_wal_then_the_file_is_kept_whole_by_rollback(path: Path) -> None:
    path.parent.mkdir()
    where = f"file:{path}?vfs=unix-dotfile"
    with closing(sqlite3.connect(where, uri=True, isolation_level=None)) as db:
        _prepare(False, db)  # noqa: FBT003 - as the cache calls it
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    AnswerCache(path).find([]).result()
    with closing(sqlite3.connect(where, uri=True, isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            _prepare(False, db)  # noqa: FBT003 - as above
        _prepare(True, db)  # noqa: FBT003 - as above
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_when_a_path_is_looked_up_then_its_own_file_system_counts(tmp_path: Path) -> None:
    assert not is_shared(tmp_path / "answers.sqlite")


def test_when_answers_are_deleted_then_their_room_is_given_back_and_none_is_left_in_the_file(
    path: Path, cache: AnswerCache
) -> None:
    for number in range(2_000):
        made = replace(ANSWER, content="much to say " * 50, created=WHEN + timedelta(days=number % 2), cost=None)
        cache.put(key_of(sample=number), replace(made, model="other") if number % 4 else made)
    status = cache.status()
    assert (status.answers, status.oldest, status.path) == (2_000, WHEN, path)
    assert [(each.model, each.answers, each.unpriced) for each in status.models] == [
        ("other", 1_500, 1_500),
        ("gpt-4o-mini", 500, 500),
    ]
    assert cache.prune(before=WHEN + timedelta(hours=1), model="other") == 500
    assert cache.prune(before=WHEN + timedelta(hours=1)) == 500
    assert cache.prune(model="other") == 1_000
    assert cache.status().models == ()
    assert cache.prune() == 0
    assert path.stat().st_size < 100_000
    cache.close()
    assert b"much to say" not in path.read_bytes()


async def test_when_a_search_is_stopped_then_others_are_served(cache: AnswerCache) -> None:
    cache.put(key_of(), ANSWER)
    for _ in range(20):
        waiting = asyncio.wrap_future(cache.find([key_of()]))
        waiting.cancel()
    assert await asyncio.wrap_future(cache.find([key_of()])) == {key_of(): ANSWER}


def test_when_an_answer_is_cut_in_half_a_character_then_it_is_kept_and_the_others_are_too(
    path: Path, cache: AnswerCache
) -> None:
    keys = [key_of(sample=number) for number in range(3)]
    found = found_after(
        cache,
        {keys[0]: ANSWER, keys[1]: replace(ANSWER, content="so \ud83d"), keys[2]: ANSWER},
    )
    assert [found[key].content for key in keys] == [ANSWER.content, "so \\ud83d", ANSWER.content]


@pytest.mark.parametrize("detail", ["[]", "null", '{"usage":', '{"usage": []}'])
def test_when_the_record_of_an_answer_cannot_be_read_then_it_is_not_there(
    path: Path, cache: AnswerCache, detail: str
) -> None:
    keys = [key_of(), key_of(sample=1)]
    found_after(cache, dict.fromkeys(keys, ANSWER))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE answers SET detail = ? WHERE key = ?", (detail, keys[0]))
    assert cache.find(keys).result(10) == {keys[1]: ANSWER}


def test_when_there_is_no_file_then_a_look_makes_none(path: Path, cache: AnswerCache) -> None:
    assert (cache.status().answers, cache.prune()) == (0, 0)
    assert not path.exists()


def test_when_kernels_open_and_write_a_new_file_at_once_then_no_answer_is_lost(path: Path) -> None:
    def work(kernel: int) -> None:
        cache = AnswerCache(path)
        for number in range(300):
            key = key_of(sample=number if number % 3 else 1_000 * kernel + number)
            cache.put(key, ANSWER)
            if number % 50 == 0:
                assert cache.find([key]).result()
        cache.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(1, 5)))
    cache = AnswerCache(path)
    assert cache.status().answers == 200 + 4 * 100
    cache.close()
