"""`%load_ext victor_nb`: what it adds to IPython, and that it takes all of it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from cells import Shell, prompt
from servers import Answer
from victor_nb.notebook.extension import Transform

if TYPE_CHECKING:
    from servers import Server

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]


def test_when_the_extension_is_unloaded_then_nothing_of_it_is_left() -> None:
    shell = Shell()
    shell.run("%load_ext victor_nb")
    shell.run("import victor_nb; victor_nb.load_ipython_extension(get_ipython())")
    ip = shell.ip
    assert len([item for item in ip.input_transformers_cleanup if isinstance(item, Transform)]) == 1
    assert len(ip.Completer.custom_matchers) == 1
    shell.run("%unload_ext victor_nb")
    victor_free = (ip.magics_manager.magics["cell"], ip.magics_manager.magics["line"])
    assert all("victor" not in magics for magics in victor_free)
    assert not any(isinstance(item, Transform) for item in ip.input_transformers_cleanup)
    assert ip.Completer.custom_matchers == []
    names = {callback.__qualname__ for event in ip.events.callbacks.values() for callback in event}
    assert not any("Extension" in name for name in names)
    shell.run("import victor_nb; victor_nb.unload_ipython_extension(get_ipython())")
    shell.run("%load_ext victor_nb")
    assert "victor" in ip.magics_manager.magics["cell"]


def test_when_another_extension_had_the_name_then_unloading_gives_it_back() -> None:
    shell = Shell()
    shell.run("%unload_ext victor_nb")
    cast("Any", shell.ip).register_magic_function(lambda line: f"mine {line}", "line", "victor")
    shell.run("%load_ext victor_nb")
    shell.run("%unload_ext victor_nb")
    assert shell.run("%victor x").value == "mine x"


def test_when_the_cell_that_loads_us_asks_too_then_it_is_an_error_of_ours() -> None:
    shell = Shell()
    shell.run("%unload_ext victor_nb")
    assert "must be the first line of its cell" in str(shell.fail("%load_ext victor_nb\n%%victor fast\nhello"))
    shell.run("%unload_ext victor_nb")
    assert "%victor" not in shell.ip.magics_manager.magics["line"]


TRANSFORM = Transform(lambda kind: {"time", "vector"} if kind == "cell" else {"victor"})
UNTOUCHED = [
    "x = 1\n",
    "# only a comment\n\n",
    "%%time\nx\n",
    "%%victor?\n",
    "%%vector\nx\n",
    "%%bash\n%%victor\n",
    's = """\n%%victor fast\nx\n"""\n',
    "s = '''\n%victor ask -- a?\n'''\n",
    "%victor ask -- a\n",
    "'x = %viktor'\n",
    "'x = %victor ask -- a?'\n",
    "%time f()?\n",
    "%%victory\nx\n",
    "x %% y\n",
    "x = (a\n    % victor)\n",
    "x = {\n    'a': b\n    %vector}\n",
    "x = a \\\n    % victor\n",
    "s = f(\"it's\", '\"\"\"', '''\n%%victor\n%viktor\n''')\n",
    "# '''\nx = 1  # \"\"\"\n%time x\n",
    "!victor-nb doctor\n",
    "%victory\n",
    "%%\n",
]


@pytest.mark.parametrize("cell", UNTOUCHED)
def test_when_a_cell_is_none_of_ours_then_it_is_left_alone(cell: str) -> None:
    lines = cell.splitlines(keepends=True)
    if "%victory" in cell:
        known = Transform(lambda _: {"victory"})
        assert known(lines) == lines
    else:
        assert TRANSFORM(lines) == lines


def test_when_a_line_is_long_then_it_is_read_at_once() -> None:
    for line in ("'" * 9_000 + " % x\n", " " * 20_000 + "%x\n", "a = " * 9_000 + "%x\n"):
        assert TRANSFORM([line]) == [line]


def test_when_a_question_stands_behind_another_magic_then_its_mark_asks_for_no_help() -> None:
    said = TRANSFORM(["%time r = %victor ask -- a?\n", "x = 1\n"])
    assert said == ["get_ipython().run_line_magic('time', 'r = %victor ask -- a?')\n", "x = 1\n"]


@pytest.mark.parametrize(
    "above", ["%%time", "%%capture got", "%%time --no-raise-error\n%%capture", "\n%%time\n# and then"]
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_when_other_magics_stand_above_then_the_prompt_is_sent_as_it_was_typed(
    live: Shell, server: Server, above: str, end: str
) -> None:
    typed = f"Fix this:\n>>> add(1, 2)\n3\n    >>> add(2, 2)\nIn [1]: x\n   ...: y\n{{{{ 'no' }}}} {{x}} $x{end}"
    server.play(Answer())
    assert live.run(f"{above}\n%%victor fast raw=true\n{typed}").error is None
    assert prompt(server) == typed
