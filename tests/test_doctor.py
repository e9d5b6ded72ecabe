"""`%victor doctor`: what is wrong with each profile, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cells import Shell, write
from servers import OLLAMA, Exchange, Server, closed_port, model_list
from victor_nb.providers import base
from workbench import CANARY, rows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


def test_when_the_doctor_looks_then_each_profile_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("NO_PROXY", "*")
    gone = f"http://127.0.0.1:{closed_port()}"
    write(
        tmp_path,
        {
            "fast": {"provider": "ollama", "model": "qwen3", "base_url": OLLAMA.base_url(server.url)},
            "keyed": {"provider": "openai", "model": "gpt-4o-mini", "base_url": gone},
            "odd": {"provider": "openai", "model": "house-model", "base_url": gone},
            "old": {"provider": "google", "model": "gemini-2.0-flash", "base_url": gone},
        },
    )
    shell = Shell()
    server.play(model_list("qwen3:latest"), model_list("other"))
    lines = shell.run("%victor doctor").plain.splitlines()
    found = {line.split()[0]: line for line in lines[1:]}
    assert found["fast"].split()[-1] == "ok"
    assert "none needed" in found["fast"]
    assert "set  " in found["keyed"]
    assert "no: " in found["keyed"]
    assert "price is unknown" in found["odd"]
    assert "not set: GOOGLE_API_KEY or GEMINI_API_KEY" in found["old"]
    assert "model is deprecated: choose a newer one; set GOOGLE_API_KEY" in found["old"]
    assert CANARY not in "".join(lines)
    assert server.requests[0].path == "/api/tags"
    assert CANARY not in server.requests[0].text
    assert "ollama pull qwen3" in shell.run("%victor doctor").plain
    assert rows() == []


async def silent(exchange: Exchange) -> None:
    """Take the request, and say nothing."""
    await exchange.forever()


async def page(exchange: Exchange) -> None:
    """Answer as some other server would."""
    await exchange.whole(200, {"content-type": "text/html"}, b"<p>It works</p>")


def test_when_a_server_is_silent_or_another_then_the_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(base, "_PING_SECONDS", 0.05)
    write(tmp_path, {"fast": {"provider": "ollama", "model": "qwen3", "base_url": server.url}})
    shell = Shell()
    server.play(silent)
    late = shell.run("%victor doctor").plain
    assert "no answer in 0.05 s  free " in late
    assert late.endswith(f"check {server.url}")
    monkeypatch.setattr(base, "_PING_SECONDS", 30)
    server.play(page)
    other = shell.run("%victor doctor").plain
    assert "yes, but it is not ollama  free " in other
    assert other.endswith("check base_url")


def test_when_the_doctor_looks_in_simulate_mode_then_the_network_is_left_alone(shell: Shell) -> None:
    shown = shell.run("%victor doctor").plain
    assert shown.count("not asked: simulate") == 2
    assert "no network was used" in shown
