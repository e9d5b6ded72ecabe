"""`%victor doctor`: what is wrong with each profile, and what to do about it, first things first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cells import Kernel, Shell, ran, write
from servers import Answer, Exchange, Request, Server, closed_port, model_list
from victor_nb.providers import listing
from victor_nb.providers.spec import BUILT_IN, spec_of
from workbench import CANARY, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.exchange import Act

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]
PRESETS = [spec.name for spec in BUILT_IN if spec.models_path and not spec.starts_itself]


async def silent(exchange: Exchange) -> None:
    """Take the request, and say nothing."""
    await exchange.forever()


async def page(exchange: Exchange) -> None:
    """Answer as some other server would."""
    await exchange.whole(200, {"content-type": "text/html"}, b"<p>It works</p>")


def says(code: int, body: object = None, **headers: str) -> Act:
    """Answer with a status and JSON."""

    async def act(exchange: Exchange) -> None:
        await exchange.whole(code, {"content-type": "application/json", **headers}, json.dumps(body).encode())

    return act


def refuses(status: int, message: str, **more: str) -> Act:
    """Refuse, in words that all providers use."""
    return says(status, {"error": {"message": message, **more}})


def lists(*names: str, key: str | None = CANARY) -> Callable[[Request], Act]:
    """Return the choice of a server that gives whoever has the key (None: everyone) its models, in any protocol."""

    def answer(request: Request) -> Act:
        path = request.path.partition("?")[0]
        if key is not None and not any(key in value for value in request.headers.values()):
            return refuses(401, "Who are you?")
        body: Any = {"object": "list", "data": [{"id": name} for name in names]}
        if path.endswith("/api/tags"):
            body = {"models": [{"name": name, "model": name} for name in names]}
        elif "/v1beta/" in path:
            body = {"models": [{"name": f"models/{name}"} for name in names]}
        return says(200, body)

    return answer


def examined(shell: Shell, *names: str) -> tuple[dict[str, str], list[str]]:
    """Return the doctor's row of each profile, and what stands below the table."""
    shown = shell.run(f"%victor doctor {' '.join(names)}")
    assert shown.error is None, shown.error
    assert CANARY not in str(shown.frames)
    table, *below = shown.plain.split("\n\n")
    return {line.split()[0]: " ".join(line.split()) for line in table.splitlines()[1:]}, below


@pytest.mark.parametrize("name", PRESETS)
def test_when_a_provider_is_examined_then_its_list_says_whether_key_and_model_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, name: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    spec, model = spec_of(name), "some-model-7"
    profile = {"provider": name, "model": model, "base_url": server.url, "api_key_env": "HOUSE_KEY"}
    write(tmp_path, {"fast": profile, "gone": {**profile, "model": "some-modle-7"}})
    shell = Shell()
    server.answer = lists(model, "another")
    monkeypatch.setenv("HOUSE_KEY", CANARY)
    found, below = examined(shell)
    assert f"{model} right {server.url[7:]} yes yes" in found["fast"]
    assert server.requests[0].path.endswith(spec.models_path)
    assert [request.method for request in server.requests] == ["GET"] * 2
    assert [CANARY in request.text for request in server.requests] == [True, False]
    if spec.lists_all:
        assert " yes no " in found["gone"]
        assert model in found["gone"].partition("no model some-modle-7 there: ")[2]
        assert below[0] == "1 of 2 ready; try: %%victor fast"
    else:
        assert " yes not listed " in found["gone"]
    monkeypatch.setenv("HOUSE_KEY", "wrong-0123456789")
    found, below = examined(shell, "fast")
    assert f"wrong {server.url[7:]} yes" in found["fast"]
    assert "correct the key: %env HOUSE_KEY=... (it answered 401: Who are you?)" in found["fast"]
    assert below == [
        "0 of 1 ready. Free meanwhile: %victor mode simulate",
        "1. correct the key: %env HOUSE_KEY=... (for fast)",
    ]
    monkeypatch.delenv("HOUSE_KEY")
    (tmp_path / ".env").write_text("HOUSE_KEY=wrong-0123456789", encoding="utf-8")
    assert f"correct the key: HOUSE_KEY in {tmp_path / '.env'} (it" in examined(shell, "fast")[0]["fast"]
    (tmp_path / ".env").unlink()
    assert " not set 127.0.0.1" in (row := examined(shell, "fast")[0]["fast"])
    assert "set the key: HOUSE_KEY=... in .env (or %env HOUSE_KEY=...)" in row
    server.answer = lists(model, key=None)
    monkeypatch.setenv("HOUSE_KEY", CANARY)
    assert f"set, not checked {server.url[7:]} yes yes" in examined(shell, "fast")[0]["fast"]
    assert rows() == []


REFUSALS = {
    "no list": (says(404), "set, not checked {} yes not listed", "ok"),
    "another version": (says(422), "set, not checked {} yes not listed", "ok"),
    "a key that may not list": (
        refuses(403, "Missing scopes: api.model.read"),
        "set, not checked {} yes not listed",
        "ok",
    ),
    "a forbidden key": (
        refuses(403, "Blocked."),
        "wrong {} yes",
        "correct the key: %env HOUSE_KEY=... (it answered 403: Blocked)",
    ),
    "a bad request that means the key": (
        refuses(400, "Incorrect API key provided"),
        "wrong {} yes",
        "(it answered 400: Incorrect API key provided)",
    ),
    "no credit": (
        refuses(429, "No.", code="insufficient_quota"),
        "right {} yes",
        "no credit is left: it answered 429: No",
    ),
    "a busy host": (says(503, {}), "set, not checked {} yes", "try again later: it answered 503"),
    "another place": (
        says(307, location="https://example.org/"),
        "set, not checked {} yes",
        "check base_url: what it names has moved",
    ),
    "a page": (page, "set, not checked {} yes, but it is not openai", "check base_url"),
    "a list of nothing": (
        says(200, {"data": [1, {}, {"id": 2}]}),
        "set, not checked {} yes not listed",
        "ok",
    ),
    "a bare list": (says(200, [{"id": "gpt-6-luna"}]), "set, not checked {} yes yes", "ok"),
    "a dated version": (
        says(200, {"data": [{"id": "gpt-6-luna-2024-07-18"}]}),
        "set, not checked {} yes yes",
        "ok",
    ),
    "any model": (says(200, {"data": [{"id": "openai/*"}]}), "{} yes not listed", "ok"),
}


def test_when_a_host_refuses_its_list_then_the_doctor_says_no_more_than_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOUSE_KEY", CANARY)
    fast = {"provider": "openai", "model": "gpt-6-luna", "base_url": server.url, "api_key_env": "HOUSE_KEY"}
    write(tmp_path, {"fast": fast})
    shell = Shell()
    for name, (act, row, advice) in REFUSALS.items():
        server.play(act)
        found, below = examined(shell)
        assert row.format(server.url[7:]) in found["fast"], name
        assert advice in found["fast"], name
        assert below[0].startswith("1 of 1 ready; try: %%victor fast" if advice == "ok" else "0 of 1 ready."), name


def test_when_several_profiles_lack_something_then_what_helps_most_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOUSE_KEY", CANARY)
    server.answer = lists("gpt-6-luna")
    house = {"provider": "openai", "model": "gpt-6-luna", "base_url": server.url, "api_key_env": "HOUSE_KEY"}
    gone = f"http://127.0.0.1:{closed_port()}"
    write(
        tmp_path,
        {
            "local": {"provider": "ollama", "model": "qwen3", "base_url": gone},
            "paid": {"provider": "anthropic", "model": "claude-mythos-preview", "base_url": gone},
            "dear": {"provider": "anthropic", "model": "claude-sonnet-4-5", "base_url": gone},
            "fast": house,
            "odd": {**house, "model": "house-model", "prices": {"input": 1, "output": 2}},
            "same": house,
            "az": {"provider": "azure", "model": "mine", "api_key_env": "HOUSE_KEY"},
            "bad": {**house, "api_key_env": "ODD_KEY"},
        },
    )
    monkeypatch.setenv("ODD_KEY", "schl\u00fcssel-0123456789")
    found, below = examined(Shell())
    assert "none needed" in found["local"]
    assert found["local"].endswith("start it: ollama serve, from ollama.com (and once: ollama pull qwen3)")
    assert " not set 127.0.0.1" in found["paid"]
    assert "model retired on 2026-06-30: choose a newer one" in found["paid"]
    assert f"; check {gone}" in found["dear"]
    day = datetime.now(UTC).date().isoformat()
    assert f"model {'retires' if day <= '2026-11-30' else 'retired'} on 2026-11-30" in found["dear"]
    assert found["fast"].endswith(" ok")
    assert "Put yours for RESOURCE in base_url" in found["az"]
    assert "ODD_KEY" in found["bad"]
    assert len([request for request in server.requests if CANARY in request.text]) == 1
    assert below[:2] == [
        "2 of 8 ready; try: %%victor fast",
        "1. set the key: ANTHROPIC_API_KEY=... in .env (or %env ANTHROPIC_API_KEY=...) (for paid, dear)",
    ]
    assert "2. start it: ollama serve, from ollama.com (and once: ollama pull qwen3) (for local)" in below


def test_when_the_last_call_found_no_credit_then_the_profile_is_not_called_ready_until_one_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOUSE_KEY", CANARY)
    house = {"provider": "openai", "model": "gpt-6-luna", "base_url": f"{server.url}/v1", "api_key_env": "HOUSE_KEY"}
    write(tmp_path, {"fast": house, "other": house})
    shell = Shell()
    error = {"code": "insufficient_quota", "type": "insufficient_quota", "message": "You exceeded your quota."}
    server.play(says(429, {"error": error}))
    assert shell.run("%victor ask fast -- Hi").error is not None
    server.answer = lists("gpt-6-luna")
    found, below = examined(shell)
    credit = f"no credit was left at its last call: check plan and billing at {server.url[7:]}, then ask again"
    assert found["fast"].endswith(credit)
    assert below == ["1 of 2 ready; try: %%victor other", f"1. {credit} (for fast)"]
    server.answer = lambda _: Answer()
    assert shell.run("%victor ask fast -- Hi").error is None
    server.answer = lists("gpt-6-luna")
    assert examined(shell)[1] == ["2 of 2 ready; try: %%victor fast"]


def test_when_ollama_has_not_pulled_a_model_then_the_doctor_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    write(tmp_path, {"fast": {"provider": "ollama", "model": "qwen3", "base_url": server.url}})
    server.play(model_list("qwen3:latest"), model_list("qwen3:8b"), model_list("other"))
    shell = Shell()
    assert examined(shell)[0]["fast"].endswith(" yes yes free ok")
    assert examined(shell)[0]["fast"].endswith("no model qwen3 there: ollama pull qwen3, or ask qwen3:8b")
    assert examined(shell)[0]["fast"].endswith("no model qwen3 there: ollama pull qwen3")
    assert rows() == []


def test_when_a_server_is_silent_or_another_then_the_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(listing, "PATIENCE", 0.05)
    write(tmp_path, {"fast": {"provider": "ollama", "model": "qwen3", "base_url": server.url}})
    shell = Shell()
    server.play(silent)
    late = examined(shell)[0]["fast"]
    assert "no: silent for 0.05 s free " in late
    assert late.endswith(f"check {server.url}")
    monkeypatch.setattr(listing, "PATIENCE", 30)
    server.play(page)
    other = examined(shell)[0]["fast"]
    assert "yes, but it is not ollama free " in other
    assert other.endswith("check base_url")


def test_when_stop_is_pressed_then_the_doctor_stops_at_once(tmp_path: Path, server: Server) -> None:
    fast = {"provider": "openai", "model": "gpt-6-luna", "base_url": server.url, "api_key_env": "HOUSE_KEY"}
    write(tmp_path, {"fast": fast})
    server.play(silent)
    home = {name: str(tmp_path) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME")}
    with Kernel(tmp_path, NO_PROXY="*", HOUSE_KEY=CANARY, VICTOR_MODE="live", **home) as kernel:
        kernel.run("%load_ext victor_nb\nfrom victor_nb.providers import listing; listing.PATIENCE = 60")

        pressed: list[bool] = []

        def stop(_: object) -> None:
            if server.requests and not pressed:
                pressed.append(True)
                kernel.interrupt()

        stopped = ran(kernel.messages("%victor doctor", meanwhile=stop)).error
        assert "stopped" in "".join(stopped)
        server.wait(lambda: server.requests[0].hung_up)


def test_when_the_doctor_looks_in_simulate_mode_then_the_network_is_left_alone(shell: Shell) -> None:
    shown = shell.run("%victor doctor").plain
    assert shown.count("not asked: simulate") == 2
    assert "no network was used" in shown
