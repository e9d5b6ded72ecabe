"""What fails deep inside the user's own functions names the line of theirs that it went through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from victor_nb.errors import VictorWarning, user_line

if TYPE_CHECKING:
    from cells import Shell

pytest_plugins = ["cells_fixtures"]

SETUP = """\
import pandas as pd
from concurrent.futures import ThreadPoolExecutor
from victor_nb import Agreement, Cascade, Single, compare, session
agent = session().pool.get_orchestrator('fast')
def inner(q):
    return agent.run_sync(q)
def number(text):
    return int(text)
class Check:
    def passes(self, answer, *, task=''):
        return number(answer)
"""
INNER = "line 6, in inner(): return agent.run_sync(q)"
NUMBER = "line 8, in number(): return int(text)"
FAILING = {
    "rows = ['']\n[inner(row) for row in rows]": INNER,
    "pd.Series(['']).map(inner)": INNER,
    "with ThreadPoolExecutor() as pool:\n    list(pool.map(inner, ['']))": INNER,
    "async def go():\n    return await agent.run('')\nawait go()": "line 2, in go(): return await agent.run('')",
    "x = ''\nagent.run_sync(x)": "line 2: agent.run_sync(x)",
    "def ask(q):\n    r = %victor ask fsat -- {{ q }}\nask('hi')": "line 2, in ask(): r = %victor ask fsat -- {{ q }}",
    "x = 1\nf = lambda q: agent.run_sync(q)\nf('')": "line 2, in a lambda: f = lambda q: agent.run_sync(q)",
    "texts = ['']\n[agent.run_sync(text) for text in texts]": "line 2: [agent.run_sync(text) for text in texts]",
    "[agent.run_sync(text) for text in ['']]": None,
    "%%time\nagent.run_sync('')": None,
    "def ask():\n    r = %victor ask fast -- my canary-5b1d9a\nask()": "line 2, in ask()",
    "agent.run_sync('')": None,
    "%%victor fsat\nHi.": None,
    "%victor ask fsat -- Hi.": None,
    "key = 'abc'; agent.run_sync('', system=key)\npass": "line 1",
}
RULES = ("number", "Check()", "Agreement(1, of=number)", "lambda reply: number(reply.content)")


@pytest.mark.parametrize(("cell", "where"), FAILING.items())
def test_when_an_error_comes_through_functions_of_the_users_then_their_deepest_line_is_shown(
    shell: Shell, cell: str, where: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-5b1d9a")
    shell.run(SETUP)
    error = cast("Any", shell.run(cell).error)
    lines = error._render_traceback_()
    assert len(lines) == (1 if where is None else 2)
    assert "abc" not in str(lines)
    assert "canary" not in str(lines)
    if where is not None:
        assert lines[1].startswith(f"Cell In[1], {where}")


@pytest.mark.parametrize("rule", RULES)
def test_when_a_rule_of_the_users_fails_then_the_run_is_kept_and_the_warning_names_the_line(
    shell: Shell, rule: str
) -> None:
    shell.run(SETUP)
    with pytest.warns(VictorWarning, match=r"accept= failed \((Value|Type)Error: ") as caught:
        assert shell.run(f"run = Cascade(['local', 'fast'], accept={rule}).run_sync('hi')").error is None
    assert NUMBER in str(caught[0].message)
    assert len(str(caught[0].message)) < 400
    assert shell.names["run"].path == ("local", "fast")


def test_when_a_rule_of_the_users_speaks_of_a_key_then_the_warning_does_not(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-5b1d9a")
    shell.run(f"{SETUP}import os\ndef rule(reply):\n    raise ValueError(os.environ['OPENAI_API_KEY'])")
    with pytest.warns(VictorWarning, match=r"accept= failed \(ValueError: \[redacted\]; "):
        shell.run("Cascade(['local', 'fast'], accept=rule).run_sync('hi')")


def test_when_a_judge_of_the_users_fails_then_the_warning_names_the_line(shell: Shell) -> None:
    shell.run(SETUP)
    with pytest.warns(VictorWarning) as caught:
        ran = shell.run("await compare([Single('fast')], ['hi'], judge=lambda task, answer: number(answer))")
    assert ran.error is None
    assert NUMBER in str([str(each.message) for each in caught])


def test_when_an_error_was_never_raised_or_has_no_code_of_the_users_then_no_line_is_named() -> None:
    assert user_line(ValueError("x")) is None
