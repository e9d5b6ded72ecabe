"""`profiles.yaml`: what may stand in it, and the one line that whatever may not is answered with."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
import yaml

from victor_nb import Settings
from victor_nb.config.environment import forced_mode
from victor_nb.config.profiles import json_schema
from victor_nb.config.secret import Redactor, Secret
from victor_nb.errors import ConfigError, ProfileNotFoundError

ROOT = Path(__file__).parents[1]
ONE = "profiles:\n  fast:\n    provider: openai\n    model: gpt-6-luna\n"
MISTAKES = {
    "empty": ("", "is empty"),
    "only a comment": ("# profiles\n", "is empty"),
    "plain text": ("just text", "expected a mapping"),
    "a list on top": ("- fast\n- slow\n", "expected a mapping"),
    "not YAML": ("profiles: [a", "line 1: not YAML"),
    "binary": (b"\xff\xfe\x00", "not UTF-8"),
    "a tab": ("profiles:\n\tfast: 1\n", "line 2: a tab"),
    "a list of profiles": ("profiles:\n  - fast\n", "line 1: profiles: expected a mapping"),
    "no profile": ("profiles: {}\n", "holds nothing"),
    "a misspelt top": ("profile:\n  fast: {}\n", "line 1: profile: unknown key. Did you mean 'profiles'?"),
    "a misspelt key": (
        ONE + "    temprature: 1\n",
        "line 5: profiles.fast.temprature: unknown key. Did you mean 'temp",
    ),
    "a key of a part": (ONE + "    timeout: {conect: 1}\n", "timeout.conect: unknown key. Did you mean 'connect'?"),
    "a key twice": (ONE + "    model: other\n", "line 5: profiles.fast.model: given twice, first in line 4"),
    "a profile twice": (ONE + "  fast:\n    provider: openai\n    model: m\n", "line 5: profiles.fast: given twice"),
    "an unknown provider": (
        ONE.replace("openai", "opena"),
        "line 3: profiles.fast.provider: unknown provider 'opena'. Did",
    ),
    "a provider of nobody": (ONE.replace("openai", "zzz"), "Known: anthropic, azure, bedrock, "),
    "no model": ("profiles:\n  fast:\n    provider: openai\n", "line 2: profiles.fast.model: is missing"),
    "a number for a text": (
        ONE.replace("gpt-6-luna", "4"),
        'line 4: profiles.fast.model: 4 is not text; write it in quotes: "4"',
    ),
    "a truth for a number": (
        ONE + "    retries: yes\n",
        "profiles.fast.retries: takes a whole number from 0 to 10, not True",
    ),
    "a text for a number": (ONE + "    max_tokens: many\n", "line 5: profiles.fast.max_tokens"),
    "too hot": (ONE + "    temperature: 3\n", "line 5: profiles.fast.temperature: takes a number from 0 to 2, not 3"),
    "a strange timeout": (ONE + "    timeout: soon\n", "timeout: expected a number or a mapping, not 'soon'"),
    "not an address": (ONE + "    base_url: example.org\n", "must start with http:// or https://"),
    "a name with a blank": (ONE.replace("fast", "'so fast'"), "a character that a name cannot have"),
    "a truth for a name": (ONE.replace("fast", "on"), 'key on is not text; write it in quotes: "on"'),
    "half a price": (ONE + "    prices: {input: 1}\n", "profiles.fast.prices.output: is missing"),
    "a price below nothing": (ONE + "    prices: {input: -1, output: 1}\n", "profiles.fast.prices.input"),
    "a default of nobody": (
        ONE + "default: fats\n",
        "line 5: default: no profile is called 'fats'. Did you mean 'fast'?",
    ),
    "a fallback of nobody": (
        ONE + "    fallback: [slow]\n",
        "line 5: profiles.fast.fallback: no profile is called 'slow'",
    ),
    "a strange budget": (ONE + "budget: lots\n", "budget: expected a number or a mapping, not 'lots'"),
    "a tag that runs code": ("profiles: !!python/object/apply:os.system ['true']\n", "line 1: not YAML"),
    "a profile that holds itself": ("profiles: &a\n  fast: *a\n", "line 2: profiles.fast"),
    "a stage that holds itself": (ONE + "strategies: &a\n  x: *a\n", "strategies.x: "),
    "an endless price": (ONE + "    prices: {input: .inf, output: 1}\n", "input: should be a finite number, not Inf"),
    "an anchor to nothing": ("profiles: *other\n", "line 1: not YAML"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_when_the_file_has_a_mistake_then_one_line_names_place_and_remedy(tmp_path: Path, name: str) -> None:
    text, said = MISTAKES[name]
    file = tmp_path / "profiles.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        Settings()
    message = str(caught.value)
    assert said in message
    assert "profiles.yaml" in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)


def test_when_the_file_is_not_there_then_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml is not a file"):
        Settings(tmp_path / "nowhere.yaml")


def test_when_a_folder_above_has_the_file_then_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles.yaml").write_text(ONE, encoding="utf-8")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert list(Settings().profiles) == ["fast"]


def test_when_no_file_is_near_then_the_users_serves_and_then_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(Settings().profiles) == ["default", "fast", "local", "premium"]
    assert Settings().built_in
    users = Path(os.environ["XDG_CONFIG_HOME"]) / "victor_nb"
    users.mkdir(parents=True)
    (users / "profiles.yaml").write_text(ONE, encoding="utf-8")
    assert list(Settings().profiles) == ["fast"]


def test_when_everything_is_given_then_it_is_read_exactly(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        ONE + "    temperature: 0.5\n    timeout: {connect: 1, read: 2, total: 3}\n    retries: 0\n"
        "    prices: {input: 0.1, output: 0.25, cache_read: 0.01}\n    params: {top_p: 0.9}\n    concurrency: 3\n"
        "budget: {cell: 0.1, day: 2}\nlog_text: true\nledger: rows.sqlite\ndefault: fast\n",
        encoding="utf-8",
    )
    settings = Settings(config_file=file)
    fast = settings.profile()
    assert (fast.temperature, fast.timeout.read, fast.retries, fast.params) == (0.5, 2, 0, {"top_p": 0.9})
    assert fast.prices is not None
    assert fast.prices.input == Decimal("0.1")
    assert (settings.budget.cell, settings.budget.notebook, settings.budget.day) == (Decimal("0.1"), None, Decimal(2))
    assert settings.log_text


def test_when_a_ledger_is_named_then_it_is_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VICTOR_LEDGER")
    (tmp_path / "profiles.yaml").write_text(ONE + "ledger: rows.sqlite\n", encoding="utf-8")
    assert Settings().ledger_path == tmp_path / "rows.sqlite"
    monkeypatch.setenv("VICTOR_LEDGER", "memory")
    assert Settings().ledger_path is None


def test_when_a_profile_is_misspelt_then_the_nearest_is_offered(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(ONE, encoding="utf-8")
    with pytest.raises(ProfileNotFoundError, match=r"Profile 'fats' not found\. Did you mean 'fast'\?"):
        Settings().profile("fats")
    with pytest.raises(ValueError, match="Profile 'default' not found"):
        Settings().profile()


def test_when_a_dotenv_is_beside_the_file_then_its_keys_count_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles.yaml").write_text(ONE, encoding="utf-8")
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-dotenv-file\n", encoding="utf-8")
    key = Settings().api_key(Settings().profile("fast"))
    assert key == Secret("from-the-dotenv-file")
    assert Settings().leaks("x from-the-dotenv-file y")
    assert "OPENAI_API_KEY" not in os.environ
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    assert Settings().api_key(Settings().profile("fast")) == Secret("from-the-environment")


@pytest.mark.parametrize("empty", ["", "  "])
def test_when_a_key_is_empty_in_the_environment_then_that_of_the_dotenv_is_used_and_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    (tmp_path / "profiles.yaml").write_text(ONE, encoding="utf-8")
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-dotenv-file\n", encoding="utf-8")
    monkeypatch.setenv("OPENAI_API_KEY", empty)
    settings = Settings()

    assert settings.api_key(settings.profile("fast")) == Secret("from-the-dotenv-file")
    assert settings.leaks("x from-the-dotenv-file y")
    assert settings.redactor().clean("x from-the-dotenv-file y") == "x [redacted] y"


def test_when_a_key_has_spaces_around_it_then_it_is_taken_out_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " of-the-environment\n")

    assert Settings().leaks("x of-the-environment y")


def test_when_google_has_two_keys_then_its_own_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles.yaml").write_text(ONE.replace("openai", "google"), encoding="utf-8")
    monkeypatch.setenv("GEMINI_API_KEY", "the-gemini-key")
    settings = Settings()
    assert settings.api_key(settings.profile("fast")) == Secret("the-gemini-key")
    monkeypatch.setenv("GOOGLE_API_KEY", "the-google-key")
    assert settings.api_key(settings.profile("fast")) == Secret("the-google-key")


def test_when_a_secret_is_shown_then_it_is_not() -> None:
    secret = Secret("sk-very-secret-indeed")
    assert "very" not in f"{secret!r} {secret} {[secret]}"
    assert secret.reveal() == "sk-very-secret-indeed"
    with pytest.raises(TypeError, match="pickled"):
        secret.__reduce__()


@pytest.mark.parametrize(
    "text",
    [
        "key sk-proj-abcdefgh is wrong",
        "Incorrect key: sk-proj-...EUgA",
        "AIza" + "b" * 35,
        "Bearer abcdefghijkl",
        "mine-all-mine",
    ],
)
def test_when_a_text_holds_a_key_then_it_is_taken_out(text: str) -> None:
    clean = Redactor(["mine-all-mine"]).clean(text)
    assert "[redacted]" in clean
    assert not any(part in clean for part in ("abcdefgh", "EUgA", "bbbb", "mine"))


def test_when_a_text_is_harmless_then_it_stays() -> None:
    text = "risk-averse people ask a bearer of news; task-oriented ones do not"
    assert Redactor(["short"]).clean(text) == text


@pytest.mark.parametrize("host", ["127.0.0.1:11434", "http://127.0.0.1:11434", "0.0.0.0", "127.0.0.1"])
def test_when_ollamas_host_is_given_its_own_way_then_it_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    (tmp_path / "profiles.yaml").write_text(ONE.replace("openai", "ollama"), encoding="utf-8")
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert Settings().base_url(Settings().profile("fast")) == "http://127.0.0.1:11434"


@pytest.mark.parametrize(("name", "value"), [("VICTOR_MODE", "simulated"), ("VICTOR_SIM_SPEED", "quick")])
def test_when_a_variable_of_ours_is_wrong_then_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    settings = Settings()
    with pytest.raises(ConfigError, match=name):
        _ = (forced_mode(), settings.sim_speed)


def test_when_the_schema_is_asked_then_the_shipped_file_fits_and_mistakes_do_not() -> None:
    schema = json_schema()
    shipped = yaml.safe_load((ROOT / "profiles.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(shipped, schema)
    kept = json.loads((ROOT / "victor_nb/config/profiles.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(shipped, kept)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"profiles": {"fast": {"provider": "opena", "model": "m"}}}, schema)
