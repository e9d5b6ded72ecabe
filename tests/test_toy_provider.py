"""A provider in one module (`toy_provider`) and one row (`TOY`), used wherever our own are."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from dataclasses import replace
from decimal import Decimal
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from cells import Shell, write
from victor_nb import Agent, Settings, session
from victor_nb.errors import BudgetError, ConfigError, ConnectError, NotFoundError, VictorWarning
from victor_nb.notebook.widgets.picker import ProfilePicker
from victor_nb.providers import spec as specs
from victor_nb.providers.spec import OPENAI, Spec, find_spec, register, spec_of, unregister
from victor_nb.values import Message
from widget_pages import seen
from workbench import CANARY, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Exchange, Server

pytest_plugins = ["workbench_fixtures"]

TOY = Spec(
    name="toy",
    client="toy_provider:Toy",
    dialect="toy_provider:ToyDialect",
    price_id="toy",
    base_url="https://toy.example/api",
    base_url_variable="TOY_URL",
    key_variables=("TOY_API_KEY",),
    models_path="/list",
    concurrency=7,
    output_names=("length",),
    hints={NotFoundError: "Carve it: toy carve {model}"},
)
PROFILE = {
    "provider": "toy",
    "model": "blocks-1",
    "retries": 0,
    "prices": {"input": 1, "output": 2},
}


@pytest.fixture
def toy() -> Iterator[None]:
    """Register the toy for one test."""
    register(TOY)
    yield
    unregister("toy")


@pytest.fixture
def played(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Open a notebook in simulate mode whose default is a toy."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write(tmp_path, {"fast": PROFILE, "unpriced": {"provider": "toy", "model": "blocks-2"}})
    return Shell()


@pytest.fixture
def lived(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Shell:
    """Open a notebook whose default is a toy at a server of ours."""
    monkeypatch.setenv("TOY_API_KEY", CANARY)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("TOY_URL", server.url)
    write(tmp_path, {"fast": PROFILE})
    server.play(say)
    return Shell()


async def say(exchange: Exchange) -> None:
    """Answer as a toy does, the list of models included."""
    kind = {"content-type": "application/json"}
    if exchange.request.path == "/list":
        known = exchange.request.headers.get("x-toy-key") == CANARY
        await exchange.whole(200 if known else 401, kind, b'["blocks-1"]')
        return
    counts = {"in": 1000, "out": 500}
    if exchange.request.json["model"] == "gone":
        await exchange.whole(404, kind, b'{"error": "no such blocks"}')
    elif exchange.request.json["stream"]:
        await exchange.head(200, kind)
        for line in ({"said": "Forty"}, {"said": "-two."}, counts):
            await exchange.send(json.dumps(line).encode() + b"\n")
        await exchange.end()
    else:
        await exchange.whole(200, kind, json.dumps({"said": "Forty-two.", **counts}).encode())


def test_when_a_cell_asks_a_toy_then_it_is_simulated_priced_and_recorded(played: Shell) -> None:
    played.run("%%victor out=answer max_tokens=20\nHow many?")
    reply = played.names["answer"]
    assert reply.content
    assert reply.usage.output_tokens == 20
    assert reply.cost == Decimal(reply.usage.input_tokens + 2 * reply.usage.output_tokens) / 1_000_000
    [row] = rows()
    assert (row["provider"], row["model"], row["mode"], row["status"]) == ("toy", "blocks-1", "simulate", "ok")
    assert (row["cost_source"], row["billed"]) == ("override", 0)
    played.run("%%victor profile=unpriced out=answer\nHow many?")
    assert played.names["answer"].cost is None
    assert rows()[-1]["cost_source"] == "unknown"


@pytest.mark.parametrize(("free", "cost", "source"), [(False, None, "unknown"), (True, 0, "local")])
def test_when_a_toy_is_not_in_the_price_list_then_it_is_unpriced_unless_it_is_free(
    played: Shell, *, free: bool, cost: int | None, source: str
) -> None:
    register(replace(TOY, price_id=None, free=free))
    played.run("%%victor profile=unpriced out=answer\nHow many?")
    assert played.names["answer"].cost == cost
    assert rows()[-1]["cost_source"] == source
    with session().budget.limit("1"):
        error = played.run("%%victor profile=unpriced max_tokens=20\nHow many?").error
    assert (error is None) is free
    assert isinstance(error, BudgetError | None)


def test_when_a_cell_asks_a_toy_live_then_its_server_is_sent_the_key_and_no_more(lived: Shell, server: Server) -> None:
    lived.run("%%victor out=answer max_tokens=20\nHow many?")
    assert lived.names["answer"].content == "Forty-two."
    assert lived.names["answer"].cost == Decimal("0.002")
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/say")
    assert request.headers["x-toy-key"] == CANARY
    body = {"model": "blocks-1", "turns": [{"by": "user", "said": "How many?"}], "length": 20}
    assert {key: value for key, value in request.json.items() if key != "stream"} == body
    [row] = rows()
    tokens = row["input_tokens"], row["output_tokens"]
    assert (row["provider"], row["usage_source"], *tokens) == ("toy", "reported", 1000, 500)


@pytest.mark.usefixtures("lived")
async def test_when_a_toy_is_asked_for_more_then_all_of_it_is_sent(server: Server) -> None:
    agent = await Agent.create(provider="toy", model="blocks-1", system="Be brief.", params={"colour": "red"})
    history = [Message("user", "One?"), Message("assistant", "One.")]
    await agent.run("Two?", history=history, max_tokens=20, temperature=0.5, seed=7)
    assert server.requests[-1].json == {
        "model": "blocks-1",
        "turns": [
            {"by": "user", "said": "One?"},
            {"by": "assistant", "said": "One."},
            {"by": "user", "said": "Two?"},
        ],
        "stream": False,
        "system": "Be brief.",
        "length": 20,
        "warmth": 0.5,
        "seed": 7,
        "colour": "red",
    }


async def test_when_a_toy_is_asked_from_python_then_plain_and_stream_agree(
    lived: Shell, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await Agent.create(provider="toy", model="blocks-1")
    stream = agent.stream("How many?")
    pieces = [piece async for piece in stream]
    assert pieces == ["Forty", "-two."]
    assert (await agent.run("How many?")).usage == stream.reply.usage
    with pytest.raises(NotFoundError, match=r"toy answered 404: no such blocks. Carve it: toy carve gone"):
        await (await Agent.create(provider="toy", model="gone")).run("How many?")
    monkeypatch.setenv("TOY_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectError, match=r"toy cannot be reached at http://127[.]0[.]0[.]1:9[.] Check base_url"):
        await (await Agent.create(provider="toy", model="blocks-1", retries=0)).run("How many?")


def test_when_profiles_and_the_doctor_are_asked_then_the_toy_is_in_their_tables(lived: Shell, server: Server) -> None:
    examined = lived.run("%victor doctor").plain.splitlines()[1]
    host = server.url.removeprefix("http://")
    assert examined.split() == ["fast", "blocks-1", "right", host, "yes", "yes", "1", "/", "2", "ok"]
    assert [request.path for request in server.requests] == ["/list", "/list"]
    assert [CANARY in request.text for request in server.requests] == [True, False]
    assert "toy" in lived.run("%victor profiles").plain
    dry = lived.run("%%victor --dry max_tokens=20\nHow many?").plain
    assert "toy: blocks-1" in dry


def test_when_a_toys_key_is_missing_then_the_doctor_names_its_variable(
    lived: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOY_API_KEY")
    assert "set the key: TOY_API_KEY=... in .env (or %env TOY_API_KEY=...)" in lived.run("%victor doctor").plain
    assert "Set TOY_API_KEY" in str(lived.fail("%%victor\nHow many?"))


def test_when_profiles_are_picked_then_a_toy_shows_its_price_and_its_limit(played: Shell) -> None:
    picker = ProfilePicker()
    shown = seen(picker)
    assert "fast (default) toy blocks-1 1 2 not set: TOY_API_KEY 7" in shown


def test_when_a_row_is_derived_then_one_line_makes_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    house = {"base_url": "https://house.example/v1", "base_url_variable": "", "key_variables": ("HOUSE_KEY",)}
    register(replace(OPENAI, name="house", **house))
    try:
        write(tmp_path, {"fast": {"provider": "house", "model": "gpt-4o-mini"}})
        monkeypatch.setenv("VICTOR_MODE", "simulate")
        monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
        settings = Settings()
        assert settings.base_url(settings.profile()) == "https://house.example/v1"
        assert settings.key_variables(settings.profile()) == ("HOUSE_KEY",)
        assert settings.api_key(settings.profile()) is None
        shell = Shell()
        shell.run("%%victor out=answer\nHow many?")
        assert shell.names["answer"].cost > 0
        assert rows()[0]["provider"] == "house"
        with pytest.raises(ConfigError, match="Did you mean 'house'"):
            spec_of("hause")
    finally:
        unregister("house")
    with pytest.raises(ConfigError, match="built in"):
        register(OPENAI)


class Own(Exception):  # noqa: N818 - a package may call it so
    """An exception of a package's own."""


class Entry:
    """An entry point of an installed package."""

    def __init__(self, package: str, found: object) -> None:
        self.name = self.value = package
        self.dist = self
        self._found = found

    def load(self) -> object:
        """Return what it names."""
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """Pretend that packages are installed: those in the list, which the test fills."""
    entries: list[Entry] = []
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: entries if group == specs.GROUP else [])
    forget_packages(monkeypatch)
    return entries


def forget_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have packages looked for again; the specs that they bring are forgotten after the test."""
    monkeypatch.setattr(specs, "_plugins_read", threading.Event())


@pytest.fixture(autouse=True)
def specs_are_forgotten() -> Iterator[None]:
    before = dict(specs.SPECS)
    yield
    specs.SPECS.clear()
    specs.SPECS.update(before)


def test_when_a_package_is_installed_then_profiles_may_name_its_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site" / "toy_pack-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-pack\nVersion: 1.0\n", encoding="utf-8")
    lines = ["[victor_nb.providers]", "toy = test_toy_provider:TOY", "gone = no_such_module:ROW"]
    (installed / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(installed.parent)
    monkeypatch.setitem(sys.modules, "test_toy_provider", sys.modules[__name__])
    forget_packages(monkeypatch)
    write(tmp_path, {"fast": PROFILE})
    with pytest.warns(VictorWarning, match=r"The package toy-pack adds no provider \(gone\): ModuleNotFoundError"):
        settings = Settings()
    assert settings.base_url(settings.profile()) == TOY.base_url


def test_when_packages_bring_providers_then_each_is_found_by_its_name(plugins: list[Entry]) -> None:
    plugins += [Entry("toy-plain", TOY), Entry("toy-made", lambda: replace(TOY, name="made"))]
    assert find_spec("openai") is OPENAI
    assert find_spec("toy") == TOY
    assert spec_of("made").client == TOY.client
    assert find_spec("none") is None


def test_when_no_unknown_name_is_met_then_no_package_is_looked_for(
    plugins: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(metadata, "entry_points")
    assert [find_spec(spec.name) for spec in specs.BUILT_IN] == list(specs.BUILT_IN)


@pytest.mark.parametrize(
    ("found", "fact"),
    [
        (ImportError("no module\nnamed x"), "ImportError: no module named x"),
        (ZeroDivisionError("at import"), "ZeroDivisionError"),
        (lambda: 3, "type int, not a Spec"),
        (3, "TypeError"),
        (replace(OPENAI, base_url="https://evil.example"), "'openai' already"),
        (Own("of its own"), "Own: of its own"),
        (EOFError("at import"), "EOFError: at import"),
        (StopIteration(), "StopIteration"),
        (DeprecationWarning("as an error"), "DeprecationWarning: as an error"),
        (SystemExit(1), "SystemExit: 1"),
        (lambda: replace(TOY, name=None), "ConfigError: The name of a provider is a word, not None"),
        (lambda: replace(TOY, name=[1]), "ConfigError: The name of a provider is a word, not [1]"),
    ],
)
def test_when_a_package_is_broken_then_one_line_names_it_and_others_work(
    plugins: list[Entry], found: object, fact: str
) -> None:
    plugins += [Entry("broken-toy", found), Entry("good-toy", TOY)]
    with pytest.warns(VictorWarning, match="package broken-toy adds no provider") as warned:
        assert find_spec("toy") == TOY
    [warning] = warned
    assert fact in str(warning.message)
    assert "\n" not in str(warning.message)
    assert find_spec("openai") is OPENAI


def test_when_warnings_are_errors_then_the_good_packages_are_kept(plugins: list[Entry]) -> None:
    plugins += [Entry("broken-toy", ImportError("gone")), Entry("good-toy", TOY)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(VictorWarning):
            find_spec("toy")
        assert find_spec("toy") == TOY


def test_when_packages_are_read_in_vain_then_they_are_read_again(plugins: list[Entry]) -> None:
    plugins += [Entry("stopped-toy", KeyboardInterrupt()), Entry("good-toy", TOY)]
    with pytest.raises(KeyboardInterrupt):
        find_spec("toy")
    del plugins[0]
    assert find_spec("toy") == TOY


def test_when_a_package_asks_for_a_provider_while_it_is_read_then_it_gets_those_that_there_are(
    plugins: list[Entry],
) -> None:
    plugins.append(Entry("asking-toy", lambda: TOY if find_spec("none") is None else OPENAI))
    assert find_spec("toy") == TOY


def test_when_a_provider_is_added_meanwhile_then_keys_and_prices_are_found_all_the_same() -> None:
    class Adding:
        name = "adding"

        def __getattr__(self, name: str) -> object:
            register(replace(TOY, name=f"toy {len(specs.SPECS)}"))
            return () if name == "key_variables" else None

    specs.SPECS["adding"] = Adding()  # pyright: ignore[reportArgumentType]
    assert not Settings().leaks("text")
    assert session().runtime.prices.find("gpt-4o") == "openai"


def test_when_a_client_cannot_be_imported_then_its_profile_alone_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(replace(TOY, client="no_such_module:Toy", dialect="toy_provider:ToyDialect"))
    try:
        monkeypatch.setenv("TOY_API_KEY", CANARY)
        write(tmp_path, {"fast": PROFILE})
        shell = Shell()
        assert "no_such_module" in str(shell.fail("%%victor\nHow many?"))
        doctor = shell.run("%victor doctor").plain
        assert "not asked" in doctor
        assert "no_such_module" in doctor
    finally:
        unregister("toy")
