"""The first mile: profiles for whichever key there is, and the file of one's own that `%victor profiles new` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cells import Shell, write
from servers import Answer, closed_port, model_list
from servers.llama import write_model
from victor_nb import Settings, session
from victor_nb.accounting.pricing import PriceBook
from victor_nb.config.settings import shipped_file, shipped_profiles
from victor_nb.errors import MagicError, ProfileNotFoundError, SecretError
from victor_nb.providers.catalog import STARTERS
from victor_nb.providers.spec import spec_of
from victor_nb.providers.weights import SHIPPED, engine_there

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers import Server

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

KEY = "a-key-of-the-tests"
NAMES = ["default", "fast", "local", "premium"]


@pytest.fixture(autouse=True)
def no_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no ollama of this machine answer."""
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{closed_port()}")


def models(settings: Settings) -> dict[str, tuple[str, str]]:
    return {name: (profile.provider, profile.model) for name, profile in settings.profiles.items()}


def written() -> dict[str, tuple[str, str]]:
    """Return the profiles of the file in the working folder, read as a user's."""
    settings = Settings()
    assert settings.source == Path.cwd() / "profiles.yaml"
    return models(settings)


def ranked(provider: str) -> dict[str, tuple[str, str]]:
    cheap, usual, dear = ((provider, model) for model in STARTERS[provider])
    return {"default": usual, "fast": cheap, "local": shipped_profiles()["local"], "premium": dear}


@pytest.mark.parametrize("provider", STARTERS)
def test_when_any_one_key_is_set_then_all_profiles_are_of_its_provider(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SecretError, match=r"Set ANTHROPIC_API_KEY: .*, set the key of another provider, or try"):
        session().pool.get_orchestrator()
    monkeypatch.setenv(spec_of(provider).key_variables[-1], KEY)
    session().runtime.refresh()
    found = models(session().settings)
    expected = ranked(provider)
    if (name := shipped_profiles()["fast"])[0] == provider:
        assert expected["fast"] == name
    assert found == expected
    assert all(session().pool.get_orchestrator(name) for name in NAMES)
    assert "unpriced" not in Shell().run("%victor profiles").plain


def test_when_the_file_is_that_of_a_clone_then_any_one_key_is_enough_until_it_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "profiles.yaml"  # as where victor_nb is installed from the clone, and not `-e`
    file.write_bytes(shipped_file().read_bytes())
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert models(Settings()) == ranked("groq")
    assert "not edited: a profile without its key is of a provider" in Shell().run("%victor").plain
    with file.open("a", encoding="utf-8") as edited:
        edited.write("\nbudget: 2.00\n")
    assert models(Settings()) == shipped_profiles()
    assert "not edited" not in Shell().run("%victor").plain
    assert models(Settings(shipped_file())) == shipped_profiles(), "a file that is named counts as it is"


@pytest.mark.parametrize("provider", STARTERS)
def test_when_models_are_ranked_then_they_are_priced_so(provider: str) -> None:
    prices = [PriceBook().rates(provider=provider, model=model) for model in STARTERS[provider]]
    paid = [price.output for price in prices if price is not None]
    assert len(paid) == 3
    assert paid == sorted(paid)
    assert not any(PriceBook().deprecated(provider, model) for model in STARTERS[provider])
    assert not any(spec_of(provider).retirement(model) for model in STARTERS[provider])


def test_when_keys_come_and_go_then_the_next_cell_asks_whom_it_can(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.play(Answer(), Answer())
    shell = Shell()
    shell.run("%%victor\nHi")
    assert server.requests[-1].json["model"] == STARTERS["openai"][1]
    shell.run("%%victor premium\nHi")
    assert server.requests[-1].json["model"] == STARTERS["openai"][2]
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    session().runtime.refresh()
    assert models(session().settings) == shipped_profiles()
    shell.run("%victor mode simulate")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    session().runtime.refresh()
    assert models(session().settings) == shipped_profiles(), "which key is set changes no simulated answer"


def test_when_a_file_is_the_users_then_nothing_in_it_is_chosen_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    write(tmp_path, {"fast": {"provider": "anthropic", "model": STARTERS["anthropic"][0]}})
    with pytest.raises(SecretError, match=r"Set ANTHROPIC_API_KEY: .* run the cell again, or try it free"):
        session().pool.get_orchestrator("fast")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {}),
        ({"GEMINI_API_KEY": KEY}, ranked("google")),
        ({"GROQ_API_KEY": KEY}, ranked("groq")),
        ({"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}, {}),
        ({"OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY}, ranked("openai")),
    ],
)
def test_when_profiles_are_written_then_they_are_for_the_keys_that_are_set(
    keys: Mapping[str, str], expected: Mapping[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    shell = Shell()
    said = shell.run("%victor profiles new").plain
    assert f"Written: {Path.cwd() / 'profiles.yaml'}" in said
    assert written() == {**shipped_profiles(), **expected}
    text = Path("profiles.yaml").read_text(encoding="utf-8")
    assert KEY not in text + said
    assert all(name in text and name in said for name in keys)
    assert models(session().settings) == written(), "it counts from the next cell on"
    assert "is there already, and stays as it is" in str(shell.fail("%victor profiles new"))
    assert Path("profiles.yaml").read_text(encoding="utf-8") == text
    more = text.replace("\n#   ", "\n    ").replace("\n# budget", "\nbudget").replace("# What", "\n  more:  # What")
    more = more.replace("    max_tokens", "    provider: openai\n    model: m\n    max_tokens")
    Path("more.yaml").write_text(more, encoding="utf-8")
    settings = Settings("more.yaml")
    assert list(settings.profile("more").fallback) == ["local"], "what is commented out is true, too"
    assert settings.budget.notebook == 2


def test_when_ollama_answers_then_its_models_are_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    sizes = {"qwen3:8b": 5, "nomic-embed-text:latest": 1, "qwen3:1.7b": 2, "qwen3:32b": 20}
    server.play(model_list(sizes=sizes))
    Shell().run("%victor profiles new")
    chosen = {"default": "qwen3:8b", "fast": "qwen3:1.7b", "local": "qwen3:8b", "premium": "qwen3:32b"}
    assert written() == {name: ("ollama", model) for name, model in chosen.items()}


@pytest.mark.skipif(not engine_there(), reason="xllamacpp has no wheel for this platform")
def test_when_the_small_model_is_here_then_a_notebook_without_a_key_has_it() -> None:
    SHIPPED.path.parent.mkdir(parents=True)
    write_model(SHIPPED.path)
    shell = Shell()
    shell.run("%victor profiles new")
    assert set(written().values()) == {("embedded", "smollm2-135m")}
    assert "real tokens, little sense" in Path("profiles.yaml").read_text(encoding="utf-8")
    assert "Real tokens from a tiny model" in shell.run("%%victor\nHi").plain


def test_when_a_message_names_the_profiles_then_it_is_never_the_file_inside_of_the_package(tmp_path: Path) -> None:
    with pytest.raises(ProfileNotFoundError, match=r"or add it to a profiles\.yaml: %victor profiles new writes one"):
        session().settings.profile("nix")
    shown = Shell().run("%victor status").plain
    assert "built in; %victor profiles new writes a file of your own" in shown
    assert str(session().settings.source) not in shown
    (tmp_path / "profiles.yaml").mkdir()
    assert isinstance(Shell().fail("%victor profiles new"), MagicError)
