"""`%victor pick`: the choice is the default of `%%victor` at once, and its line says so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from ipywidgets import HBox, interactive
from traitlets import TraitError

from victor_nb.errors import ConfigError, ProfileNotFoundError
from victor_nb.notebook.widgets.picker import ProfilePicker
from widget_pages import HOSTILE, assert_inert, seen
from workbench import write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from cells import Shell

pytest_plugins = ["widget_fixtures"]
pytestmark = pytest.mark.usefixtures("notebook")


def asked(notebook: Shell) -> Any:  # noqa: ANN401 - a Reply or Replies, as the choice is
    """Ask as a bare `%%victor` does, and return what came."""
    notebook.run("%%victor out=answer\nSay hello.")
    return notebook.names["answer"]


def test_when_nothing_is_chosen_then_it_is_who_is_asked_anyway() -> None:
    picker = ProfilePicker()
    assert picker.value == "default"
    assert picker.line == "%victor set profile=default"


def test_when_one_is_clicked_then_the_next_cell_asks_it(notebook: Shell) -> None:
    picker = ProfilePicker()
    picker._list.tick("local")
    assert picker.value == "local"
    assert asked(notebook).profile == "local"
    assert "%victor set profile=local" in seen(picker)


def test_when_several_are_clicked_then_the_next_cell_asks_them_all(notebook: Shell) -> None:
    picker = ProfilePicker(several=True)
    picker._list.value = ("fast", "local")
    assert picker.value == ("fast", "local")
    assert picker.line == "%victor set profiles=fast,local"
    assert list(asked(notebook)) == ["fast", "local"]


def test_when_its_line_is_run_in_another_notebook_then_the_same_are_asked(notebook: Shell) -> None:
    line = ProfilePicker(("fast", "premium")).line
    notebook.run("%victor set reset")
    notebook.run(line)
    assert list(asked(notebook)) == ["fast", "premium"]


def test_when_it_does_not_set_the_default_then_its_line_asks_and_sets_nothing_either(notebook: Shell) -> None:
    line = ProfilePicker(("fast", "premium"), sets_default=False).line
    assert line == "%%victor profiles=fast,premium"
    notebook.run(f"{line} out=answers\nSay hello.")
    assert list(notebook.names["answers"]) == ["fast", "premium"]
    assert asked(notebook).profile == "default"


def test_when_the_line_sets_another_then_the_picker_follows(notebook: Shell) -> None:
    picker = ProfilePicker()
    notebook.run("%victor set profile=premium")
    assert picker.value == "premium"
    notebook.run("%victor set profiles=fast,local")
    assert picker.value == ("fast", "local")
    notebook.run("%victor set reset")
    assert picker.profiles == ("default",)


def test_when_a_cell_names_whom_it_asks_then_the_choice_of_several_gives_way(notebook: Shell) -> None:
    ProfilePicker(several=True)._list.value = ("fast", "local")
    notebook.run("%%victor premium out=answer\nSay hello.")
    assert notebook.names["answer"].profile == "premium"
    error = notebook.fail("%%victor as=json\nSay hello as JSON.")
    assert "profiles=fast,local is set. Say which: add profile=NAME" in str(error)


def test_when_the_filter_is_typed_then_only_matches_are_listed_and_the_choice_stays() -> None:
    picker = ProfilePicker("premium", sets_default=False)
    picker._filter.value = "OLLAMA"
    assert "gpt-6-luna" not in seen(picker)
    assert picker._list.shown == ("local",)
    assert picker.value == "premium"
    picker._filter.value = "no such"
    assert "No profile of 4 matches" in seen(picker)
    picker._filter.value = ""
    assert picker._list.value == ("premium",)


def test_when_several_are_chosen_and_one_is_filtered_away_then_it_stays_chosen() -> None:
    picker = ProfilePicker(("fast", "local"), sets_default=False)
    picker._filter.value = "anthropic"
    picker._list.tick("premium")
    assert picker.value == ("fast", "local", "premium")


def test_when_the_mode_is_switched_then_the_choice_is_kept() -> None:
    picker = ProfilePicker(("fast", "local"), sets_default=False)
    picker._mode.value = "one"
    assert picker.value == "fast"
    picker._mode.value = "several"
    assert picker.value == ("fast",)


def test_when_it_is_observed_then_each_choice_is_told() -> None:
    picker, heard = ProfilePicker(sets_default=False), []
    picker.observe(lambda change: heard.append(change["new"]), names="value")
    picker._list.tick("fast")
    picker.value = "premium"
    assert heard == ["fast", "premium"]
    assert picker._list.value == ("premium",)


def test_when_interact_uses_it_then_the_function_gets_the_choice() -> None:
    picker = ProfilePicker("fast", sets_default=False)
    control = interactive(lambda profile: profile, profile=picker)
    control.update()
    assert control.result == "fast"
    assert HBox([picker]).children == (picker,)


def test_when_it_does_not_set_the_default_then_cells_ask_whom_they_did(notebook: Shell) -> None:
    ProfilePicker(sets_default=False)._list.tick("local")
    assert asked(notebook).profile == "default"


def test_when_it_is_shown_then_price_key_and_concurrency_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-5d0c")
    shown = seen(ProfilePicker())
    assert "fast openai gpt-6-luna 0.1 0.5 set no limit" in shown
    assert "local ollama qwen2.5-coder:7b free free none needed 4" in shown
    assert "not set: ANTHROPIC_API_KEY" in shown
    assert "canary" not in shown


def test_when_a_model_comes_to_its_end_then_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(
        "profiles:\n  default: {provider: anthropic, model: claude-sonnet-4-5}\n", encoding="utf-8"
    )
    picker = ProfilePicker()
    said = re.compile(r"model retire[sd] on 2026-11-30")  # as the table of the prices has it; the clock goes on
    assert said.search(seen(picker))
    assert said.search(picker.fallback().plain)


@pytest.mark.parametrize(
    ("value", "error", "hint"),
    [
        ("fsat", ProfileNotFoundError, "Did you mean 'fast'"),
        (("fast", "nobody"), ProfileNotFoundError, "'nobody' not found"),
    ],
)
def test_when_a_name_is_unknown_then_it_says_which(
    value: str | tuple[str, ...], error: type[Exception], hint: str
) -> None:
    with pytest.raises(error, match=hint):
        ProfilePicker(value)


def test_when_two_are_given_for_one_then_it_says_how_to_choose_several() -> None:
    with pytest.raises(ConfigError, match="several=True"):
        ProfilePicker(("fast", "local"), several=False)


def test_when_an_unknown_name_is_set_then_nothing_changes(notebook: Shell) -> None:
    picker = ProfilePicker("fast")
    with pytest.raises(ProfileNotFoundError, match="Did you mean 'fast'"):
        picker.value = "fsat"
    for value in (None, 5):
        with pytest.raises((ConfigError, TraitError)):
            picker.value = value
    assert picker.value == "fast"
    assert asked(notebook).profile == "fast"


def test_when_a_model_has_a_hostile_name_then_it_is_text(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(
        f"profiles:\n  default: {{provider: ollama, model: {HOSTILE!r}}}\n".replace("\\x1b", "").replace("\\u202e", ""),
        encoding="utf-8",
    )
    picker = ProfilePicker()
    seen(picker)
    assert_inert(picker._table.value)
    assert_inert(picker.fallback().html)


def test_when_the_command_is_typed_without_a_front_end_then_the_table_and_the_line_are_shown(
    notebook: Shell,
) -> None:
    frames = notebook.run("%victor pick").frames
    assert len(frames) == 1
    assert "%victor set profile=default" in frames[0]["text/plain"]
    assert "claude-sonnet-5-5" in frames[0]["text/html"]


def test_when_a_word_follows_the_command_then_it_is_refused(notebook: Shell) -> None:
    assert "Write %victor pick alone" in str(notebook.fail("%victor pick fast"))


def profiles_file(folder: Path, *names: str) -> None:
    """Write profiles of these names."""
    write_profiles(folder, **{name: {"provider": "ollama", "model": f"model-of-{name}"} for name in names})


def test_when_profiles_come_and_go_then_the_picker_goes_on(notebook: Shell, tmp_path: Path) -> None:
    profiles_file(tmp_path, "default", "two")
    picker = ProfilePicker()
    profiles_file(tmp_path, "default", "three")
    notebook.run("%victor set profile=three")
    assert picker.value == "three"
    assert "model-of-three" in seen(picker)
    profiles_file(tmp_path, "default", "two")
    notebook.run("%victor status")
    assert "model-of-three" not in picker.fallback().plain
    picker._list.tick("default")
    assert picker.value == "default"
    assert ProfilePicker().value == "default"


def test_when_the_default_that_was_set_is_gone_then_a_new_picker_offers_the_settings_own(
    notebook: Shell, tmp_path: Path
) -> None:
    profiles_file(tmp_path, "default", "two")
    notebook.run("%victor set profile=two")
    profiles_file(tmp_path, "default")
    notebook.run("%victor status")
    assert ProfilePicker().value == "default"


def test_when_no_profile_is_the_default_then_the_first_is_offered(tmp_path: Path) -> None:
    profiles_file(tmp_path, "one", "two")
    assert ProfilePicker().value == "one"


def test_when_pickers_are_closed_then_nothing_follows_the_defaults_for_them() -> None:
    for _ in range(5):
        picker = ProfilePicker()
        picker.close()
    current = picker._defaults
    assert current is not None
    assert current.watchers == []
