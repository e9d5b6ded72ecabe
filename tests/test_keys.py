"""Keys, addresses, modes and paths: what is set, mended or removed holds for the next call, whoever makes it."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cells import Kernel, Shell, served, write
from servers import OPENAI, Answer, Exchange, Request, Server, closed_port, faults
from victor_nb import Agent, OrchestratorPool, Settings
from victor_nb.config.environment import read_path
from victor_nb.errors import ConfigError, SecretError, VictorError
from victor_nb.kernel import Session, session
from victor_nb.media import Image
from workbench import assert_clean, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.exchange import Act

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]
WRONG, RIGHT, OTHER = "wrong-0123456789", "right-0123456789", "other-0123456789"


def takes(*keys: str) -> Callable[[Request], Act]:
    """Return the choice of a server that answers these keys alone."""

    def answer(request: Request) -> Act:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Answer() if given in keys else faults.status(401, "wrong key")

    return answer


def desk(folder: Path, server: Server, **more: object) -> None:
    """Write one profile `fast` whose key is in HOUSE_KEY."""
    base_url = OPENAI.base_url(server.url)
    fast = {"provider": "openai", "model": OPENAI.model, "base_url": base_url, "api_key_env": "HOUSE_KEY", "retries": 0}
    write_profiles(folder, fast={**fast, **more})


def everyone(other: Session) -> dict[str, Callable[[], object]]:
    """Return every way to ask, by objects that are made now."""
    pool = OrchestratorPool(session().settings)
    held, agent = pool.get_orchestrator("fast"), Agent.create_sync("fast")
    apart, chat = Agent.create_sync("fast", container=other), agent.chat()
    return {
        "held": lambda: held.run_sync("x"),
        "pool": lambda: pool.get_orchestrator("fast").run_sync("x"),
        "agent": lambda: agent.run_sync("x"),
        "chat": lambda: chat.run_sync("x"),
        "stream": lambda: agent.stream("x").result(),
        "awaited": lambda: asyncio.run(agent.run("x")),
        "fan-out": lambda: pool.fan_out_sync("x", ["fast"], on_error="raise"),
        "kernel's pool": lambda: session().pool.get_orchestrator("fast").run_sync("x"),
        "a session of one's own": lambda: apart.run_sync("x"),
    }


def outcomes(asks: dict[str, Callable[[], object]]) -> dict[bool, list[str]]:
    """Ask in every way, and return which were answered, and which were not."""
    found: dict[bool, list[str]] = {}
    for name, ask in asks.items():
        try:
            ask()
        except VictorError as error:
            assert_clean(error)
            found.setdefault(False, []).append(name)
        else:
            found.setdefault(True, []).append(name)
    return found


@pytest.fixture
def asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Iterator[dict[str, Callable[[], object]]]:
    """Return every way to ask a server that takes one key; all of them are made with a wrong one."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    monkeypatch.setenv("HOUSE_KEY", WRONG)
    desk(tmp_path, server)
    server.answer = takes(RIGHT)
    own = Session(Settings())
    yield everyone(own)
    own.close()


def test_when_a_key_is_mended_then_whoever_asks_next_uses_it(
    asks: dict[str, Callable[[], object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    every = [*asks]
    assert outcomes(asks) == {False: every}
    monkeypatch.setenv("HOUSE_KEY", RIGHT)
    assert outcomes(asks) == {True: every}
    monkeypatch.delenv("HOUSE_KEY")
    sent = len(server.requests)
    assert outcomes(asks) == {False: every}
    assert len(server.requests) == sent
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"HOUSE_KEY={WRONG}\n", encoding="utf-8")
    assert outcomes(asks) == {False: every}
    assert len(server.requests) == sent + len(every)
    dotenv.write_text(f"# mended\nexport HOUSE_KEY='{RIGHT}'\n", encoding="utf-8")
    assert outcomes(asks) == {True: every}
    assert session().settings.leaks(f"x {RIGHT} y")
    dotenv.unlink()
    assert outcomes(asks) == {False: every}
    assert not session().settings.leaks(f"x {RIGHT} y")


def test_when_the_mode_is_set_and_unset_then_whoever_asks_next_obeys(
    asks: dict[str, Callable[[], object]], monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("HOUSE_KEY", RIGHT)
    assert outcomes(asks) == {True: [*asks]}
    sent = len(server.requests)
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    assert outcomes(asks) == {True: [*asks]}
    assert len(server.requests) == sent
    monkeypatch.delenv("VICTOR_MODE")
    assert outcomes(asks) == {True: [*asks]}
    assert len(server.requests) == sent + len(asks)


def test_when_a_key_changes_during_a_call_then_that_call_goes_on_and_its_connection_is_closed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOUSE_KEY", WRONG)
    desk(tmp_path, server)
    go = threading.Event()

    async def late(exchange: Exchange) -> None:
        await asyncio.to_thread(go.wait, 30)
        await Answer()(exchange)

    server.play(late, Answer())
    agent = Agent.create_sync("fast")
    first = agent.stream("x")
    server.wait(lambda: server.requests)
    monkeypatch.setenv("HOUSE_KEY", RIGHT)
    assert agent.run_sync("x").content == Answer().text
    go.set()
    assert first.result().content == Answer().text
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {WRONG}", f"Bearer {RIGHT}"]
    del first
    gc.collect()
    agent.run_sync("x")  # so that the other connection is not closed for being idle meanwhile
    server.wait(lambda: server.open <= 1)
    agent.close_sync()
    server.wait(lambda: server.open == 0)


def test_when_an_address_or_a_proxy_is_set_later_then_the_next_call_goes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("OPENAI_API_KEY", RIGHT)
    write_profiles(tmp_path, fast={"provider": "openai", "model": OPENAI.model, "retries": 0})
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    agent = Agent.create_sync("fast")
    with pytest.raises(VictorError, match="cannot be reached"):
        agent.run_sync("x")
    server.play(Answer())
    monkeypatch.setenv("OPENAI_BASE_URL", OPENAI.base_url(server.url))
    assert agent.run_sync("x").content == Answer().text
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(VictorError, match=r"proxy http://127\.0\.0\.1:9 does not help"):
        agent.run_sync("x")


@pytest.mark.parametrize("before", ["", "export ", "set ", "$env:", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_when_a_dotenv_is_written_by_any_editor_or_shell_then_it_is_read(
    tmp_path: Path, server: Server, encoding: str, before: str
) -> None:
    desk(tmp_path, server)
    mark = "\ufeff" if encoding == "utf-32-be" else ""
    before = "" if before == "\ufeff" and (mark or encoding in {"utf-8-sig", "utf-16", "utf-32"}) else before
    text = f"{mark}{before}HOUSE_KEY={RIGHT}\r\nNAME=Jürgen\r\n"
    (tmp_path / ".env").write_bytes(text.encode(encoding))
    settings = Settings()
    key = settings.api_key(settings.profile("fast"))
    assert key is not None
    assert key.reveal() == RIGHT


@pytest.mark.parametrize("line", ["HOUSE_KEY: {}", "house_key={}", "HOUSE_KEY=", "HOUSE_KEY {}", "HOUSE_KEY"])
def test_when_a_dotenv_names_a_key_otherwise_then_the_error_names_the_line(tmp_path: Path, line: str) -> None:
    base_url = OPENAI.base_url(f"http://127.0.0.1:{closed_port()}")
    fast = {"provider": "openai", "model": OPENAI.model, "base_url": base_url, "api_key_env": "HOUSE_KEY"}
    write_profiles(tmp_path, fast=fast)
    (tmp_path / ".env").write_text(f"# HOUSE_KEY\nMY_HOUSE_KEY=x\n{line.format(RIGHT)}\n", encoding="utf-8")
    shell = Shell()
    said = "HOUSE_KEY=... is how line 3 of .env must read (or %env HOUSE_KEY=...)"
    error = shell.fail("%%victor fast\nx")
    assert said in str(error)
    assert RIGHT not in str(error)
    assert f"set the key: {said}" in shell.run("%victor doctor").plain
    (tmp_path / ".env").write_text("OTHER=1\n", encoding="utf-8")
    assert "HOUSE_KEY=... in .env (or" in str(shell.fail("%%victor fast\nx"))


def test_when_a_dotenv_is_no_text_then_one_line_names_it_and_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    desk(tmp_path, server)
    server.answer = takes(RIGHT)
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"# f\xfcr alle\nHOUSE_KEY=" + RIGHT.encode())
    shell = Shell()
    monkeypatch.setenv("OTHER_API_KEY", OTHER)
    for cell in ("%%victor fast\nx", "%victor status", "%victor doctor"):
        assert str(shell.fail(cell)) == f"{dotenv} is not UTF-8 text. Save it as UTF-8, one NAME=value a line."
    assert OTHER not in str(shell.fail(f"%%victor fast profile={OTHER}\nx"))
    dotenv.write_text(f"HOUSE_KEY={RIGHT}", encoding="utf-8")
    assert shell.run("%%victor fast\nx").error is None
    dotenv.unlink()
    dotenv.mkdir()
    assert isinstance(shell.fail("%%victor fast\nx"), SecretError)


def test_when_the_environment_has_a_worse_key_than_dotenv_then_the_error_says_which_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    desk(tmp_path, server)
    server.answer = takes(RIGHT)
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"HOUSE_KEY={RIGHT}", encoding="utf-8")
    shell = Shell()
    monkeypatch.setenv("HOUSE_KEY", WRONG)
    assert f"Check the key: %env HOUSE_KEY=... (it beats {dotenv}), then" in str(shell.fail("%%victor fast\nx"))
    monkeypatch.setenv("HOUSE_KEY", f'"{RIGHT}"')  # as `%env HOUSE_KEY="..."` sets it
    assert "HOUSE_KEY holds is no key: it has blanks, quotes or other signs." in str(shell.fail("%%victor fast\nx"))
    assert len(server.requests) == 1
    monkeypatch.delenv("HOUSE_KEY")
    assert shell.run("%%victor fast\nx").error is None


def test_when_no_file_has_moved_then_none_is_read_for_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    desk(tmp_path, server)
    (tmp_path / ".env").write_text(f"HOUSE_KEY={RIGHT}", encoding="utf-8")
    server.answer = takes(RIGHT)
    shell = Shell()
    shell.run("%%victor fast\nx")
    opened: list[str] = []
    watching = True
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching and event == "open" else None)
    assert shell.run("%%victor fast\nx").error is None
    watching = False
    assert not [path for path in opened if path.endswith((".env", ".yaml"))]


def test_when_a_path_begins_at_home_or_with_a_variable_then_it_is_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DATA", str(home / "data"))
    for given, where in {
        "~/x.sqlite": home / "x.sqlite",
        "$DATA/x": home / "data" / "x",
        "${HOME}/x": home / "x",
        "x~y/$z": tmp_path / "x~y" / "$z",
        "/abs": tmp_path / "/abs",
    }.items():
        assert read_path(given, tmp_path, "here") == where
    for given, what in {
        "~who-is-that/x": "~who-is-that",
        "$NO_SUCH/x": "$NO_SUCH",
        "${NO_SUCH}/x": "${NO_SUCH}",
    }.items():
        with pytest.raises(ConfigError) as caught:
            read_path(given, tmp_path, "VICTOR_LEDGER")
        assert str(caught.value) == (
            f"VICTOR_LEDGER: there is no {what} here, which {given} begins with. Write the path in full."
        )


def test_when_settings_name_paths_at_home_then_no_folder_is_called_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("VICTOR_LEDGER", "~/x/ledger.sqlite")
    answers = "answers:\n  - text: {}\n"
    (home / "answers.yaml").write_text(answers.format("From the variable."), encoding="utf-8")
    (home / "other.yaml").write_text(answers.format("From the file."), encoding="utf-8")
    (home / "third.yaml").write_text(answers.format("From the cell."), encoding="utf-8")
    (home / "fig.png").write_bytes(b"no image")
    text = (tmp_path / "profiles.yaml").read_text(encoding="utf-8")
    (tmp_path / "profiles.yaml").write_text(text + "simulate: ~/other.yaml\n", encoding="utf-8")
    assert "From the file." in shell.run("%%victor fast\nx").shown
    monkeypatch.setenv("VICTOR_ANSWERS", "~/answers.yaml")
    assert "From the variable." in shell.run("%%victor fast\nx").shown
    session().simulate_with("~/third.yaml")
    assert "From the cell." in shell.run("%%victor fast\nx").shown
    session().ledger.flush()
    assert (home / "x" / "ledger.sqlite").is_file()
    assert not (tmp_path / "~").exists()
    with pytest.raises(VictorError) as caught:
        Image("~/fig.png")
    assert "cannot be read" not in str(caught.value)
    assert Settings("~/../profiles.yaml").profiles


def test_when_certificates_are_named_by_a_path_at_home_then_they_are_those_of_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("OPENAI_API_KEY", RIGHT)
    write_profiles(tmp_path, fast={"provider": "openai", "model": "m", "base_url": "https://127.0.0.1:9", "retries": 0})
    agent = Agent.create_sync("fast")

    def fails_by() -> str:
        with pytest.raises(VictorError) as caught:
            agent.run_sync("x")
        return str(caught.value)

    assert "cannot be reached" in fails_by()
    for name in ("SSL_CERT_DIR", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "~/ca.pem")
        assert f"the certificates that {name} names cannot be read (No such file" in fails_by()
        monkeypatch.setenv(name, "$NO_SUCH/ca.pem")
        assert f"{name}: there is no $NO_SUCH here" in fails_by()
    (tmp_path / "ca").mkdir()
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", "~/ca")
    assert "cannot be reached" in fails_by()


def test_when_a_key_is_mended_in_a_real_kernel_then_the_next_cell_uses_it(tmp_path: Path, server: Server) -> None:
    profiles: dict[str, Any] = served(server)
    profiles["fast"]["api_key_env"] = profiles["other"]["api_key_env"] = "HOUSE_KEY"
    write(tmp_path, profiles)
    server.answer = takes(RIGHT, OTHER)
    home = {name: str(tmp_path) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME")}
    with Kernel(tmp_path, NO_PROXY="*", HOUSE_KEY=WRONG, VICTOR_SIM_SPEED="0", **home) as kernel:
        kernel.run("%load_ext victor_nb")
        assert "401" in "".join(kernel.run("%%victor fast chat=c\nx").error)
        for mend in (f"%env HOUSE_KEY={RIGHT}", f"import os; os.environ['HOUSE_KEY'] = '{OTHER}'"):
            kernel.run(mend)
            for cell in ("%%victor fast chat=c\nx", "%%victor profiles=fast,other\nx"):
                assert kernel.run(cell).error is None
        kernel.run("%env HOUSE_KEY=")
        assert "no key" in "".join(kernel.run("%%victor fast\nx").error)
        kernel.run(f"open('.env', 'w', encoding='utf-16').write('HOUSE_KEY={RIGHT}')")
        assert kernel.run("%%victor fast\nx").error is None
        sent = len(server.requests)
        kernel.run("%env VICTOR_MODE=simulate")
        assert "simulated" in kernel.run("%%victor fast\nx").plain
        assert "simulated" in kernel.run("%%victor profiles=fast,other\nx").plain
        assert len(server.requests) == sent
        kernel.run("import os; del os.environ['VICTOR_MODE']")
        assert "simulated" not in kernel.run("%%victor fast\nx").plain
        assert len(server.requests) == sent + 1


def refusing(request: Request) -> Act:
    """Return what a provider does who knows the key, one model, and an account without credit."""
    if RIGHT not in request.headers.get("authorization", ""):
        return faults.status(401, "Incorrect API key provided.")
    known = {"none": faults.status(404, "There is no such model."), "poor": no_credit}
    return known.get(request.json["model"], Answer())


async def no_credit(exchange: Exchange) -> None:
    """Refuse as where no credit is left."""
    body = b'{"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}'
    await faults.status(429, body=body)(exchange)


def test_when_something_is_missing_then_one_cell_says_the_next_step(tmp_path: Path, server: Server) -> None:
    profiles: dict[str, Any] = served(server)
    server.answer = refusing
    fast, gone = profiles["fast"], f"http://127.0.0.1:{closed_port()}"
    profiles |= {"none": {**fast, "model": "none"}, "poor": {**fast, "model": "poor"}}
    profiles |= {"keyed": {**fast, "api_key_env": "HOUSE_KEY"}}
    profiles |= {"local": {"provider": "ollama", "model": "qwen3", "base_url": gone, "retries": 0}}
    write(tmp_path, profiles)
    home = {name: str(tmp_path) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME")}
    home |= {"XDG_CONFIG_HOME": str(tmp_path), "OPENAI_API_KEY": WRONG, "NO_PROXY": "*"}
    steps = {
        "fast": "openai answered 401: Incorrect API key provided. "
        "Check the key: %env OPENAI_API_KEY=..., then run the cell again.",
        "keyed": "no key. Set HOUSE_KEY: HOUSE_KEY=... in .env (or %env HOUSE_KEY=...), then run the cell again, "
        "ask fast, whose key is set, or try it free: %victor mode simulate",
        "local": f"ollama cannot be reached at {gone}. Start it with `ollama serve` (ollama.com has it), ask another "
        "profile, or see %victor local: a 135M model on your CPU.",
        f"%env OPENAI_API_KEY={RIGHT}": "",
        "none": "openai answered 404: There is no such model. "
        "Check the model's name and base_url: %victor doctor none says which is nearest.",
        "poor": "openai answered 429: You exceeded your current quota. "
        "Check the account's plan and billing at 127.0.0.1",
    }
    with Kernel(tmp_path, **home) as kernel:
        kernel.run("%load_ext victor_nb")
        for name, step in steps.items():
            failed = kernel.run(name if name.startswith("%") else f"%%victor {name}\nx").error
            assert step in (said := "".join(failed or [])), said
            assert len(failed or []) <= 3
        assert kernel.run("%%victor fast\nx").error is None
        kernel.run("import os; os.remove('profiles.yaml'); os.environ['OPENAI_API_KEY'] = ''")
        failed = "".join(kernel.run("%%victor\nx").error)
        step = "Set ANTHROPIC_API_KEY: ANTHROPIC_API_KEY=... in .env (or %env ANTHROPIC_API_KEY=...), then run"
        assert f"no key. {step} the cell again, set the" in failed


def test_when_profiles_are_saved_then_the_next_cell_has_them_also_without_a_magic(tmp_path: Path) -> None:
    shell, asked = Shell(), "from victor_nb import session; session().settings.profile('fast').model"
    write_profiles(tmp_path, fast={"provider": "openai", "model": "gpt-6-luna"})
    assert shell.run(asked).value == "gpt-6-luna"
    write_profiles(tmp_path, fast={"provider": "openai", "model": "gpt-4o"})
    assert shell.run(asked).value == "gpt-4o"
    (tmp_path / "profiles.yaml").write_text("profiles: [", encoding="utf-8")
    assert shell.run("1 + 1").value == 2, "a cell of no concern to us goes on"
    assert "profiles.yaml, line 1" in str(shell.fail("%%victor fast\nHi."))
