"""Every way to type a magic wrong is red under nbmake, in three lines at the most, and is told what to type instead."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import jupyter_client
import nbformat
import pytest
import yaml
from jupyter_client.manager import AsyncKernelManager
from nbformat.v4 import new_code_cell, new_notebook
from nbmake.nb_run import NotebookRun

from cells import ROOT, on_pipes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbmake.nb_result import NotebookResult

LOAD = "%load_ext victor_nb"
SETUP = (
    "import os, pandas\ngap = pandas.NA\nreview = 'good'\nnums = [1, 2]\nhalf = '\\ud800'\nbig = 'x' * 100_000\n"
    "leak = os.environ['OPENAI_API_KEY']\nclass Broken:\n    text = property(lambda self: 1 / 0)\n"
    "    deep = property(lambda self: (1).nope)\n    __getitem__ = lambda self, key: 1 / 0\n"
    "broken = Broken()\n{'kept': True}"
)
CANARY = "canary-7d1f0c5e93b24a68"

MISTAKES = {
    "%%victor": "The prompt is empty. Write it in the lines below",
    "%%victor\n  \n\t\n": "The prompt is empty.",
    "# first a comment\n\n%%victor profle=fast\nHi.": "Did you mean profile=?",
    "%%victor profle=fast\nHi.": "Unknown key 'profle'. Did you mean profile=?",
    "%%victor Profile=fast\nHi.": "Did you mean profile=?",
    "%%victor colour=red\nHi.": "Known: as, bg, budget",
    "%%victor profile=fast profile=local\nHi.": "profile= is given twice. Keep one.",
    "%%victor fast --profile local\nHi.": "profile= is given twice. Keep one.",
    "%%victor fast profiles=fast,local\nHi.": "exclude each other. Keep one.",
    "%%victor fsat\nHi.": "Profile 'fsat' not found. Did you mean 'fast'?",
    "%%victor profile=zzz\nHi.": "Known: fast, local; or add it to",
    "%%victor profile = fast\nHi.": "Write key=value without them",
    "%%victor profile=\nHi.": "such as profile=fast",
    "%%victor tell me a joke\n": "the prompt goes below this line",
    "%%victor what's up\nHi.": "Close it; the prompt itself goes below",
    "%%victor --timeout\nHi.": "such as --timeout 60",
    "%%victor -p fast\nHi.": "Write --profile, --profiles",
    "%%victor fast,local\nHi.": "Write profiles=fast,local",
    "%%victor profile=fast,local\nHi.": "Write profiles=fast,local",
    "%%victor: fast\nHi.": "%%victor: is no magic. Did you mean %%victor?",
    "%%%victor fast\nHi.": "Did you mean %%victor?",
    "%%victor fast, local\nHi.": "Write profiles=fast,local",
    "%%victor profiles=fast, local\nHi.": "The space beside the comma ends the list. Write profiles=fast,local",
    "%%victor profiles=[fast,local]\nHi.": "not '[fast,local]'. Write profiles=fast,local.",
    "%%victor profile: fast\nHi.": "Write profile=fast, with = and no spaces",
    "%%victor strategy tiered\nHi.": "Write strategy=tiered, with = and no spaces",
    "%%victor fast # the cheap one\nHi.": "Write the comment on a line above this one",
    "%%victor model=gpt-4o-mini\nHi.": "or PROVIDER:gpt-4o-mini, such as %%victor openai:gpt-4o-mini",
    "%%victor openai/gpt-4o-mini\nHi.": "Did you mean 'openai:gpt-4o-mini'?",
    "%%victor gpt-4o-mini\nHi.": "or write PROVIDER:gpt-4o-mini to ask a model",
    "%victor fast: Hi": "%victor ask fast -- Hi",
    "%%victor temp=0.1\nHi.": "Did you mean temperature=?",
    "%%victor system={review}\nHi.": "Write system=$review for the value of review",
    "%%victor max_tokens=$gap\nHi.": "not a missing value (<NA>). Write max_tokens=500.",
    "%%victor temperature=$gap\nHi.": "not a missing value (<NA>). Write temperature=0.2.",
    "for q in 'ab':\n    %%victor fast\n    hello": "%%victor inside a block asks nothing",
    "try:\n    %%viktor\nexcept KeyError:\n    pass": "Did you mean %%victor?",
    "%%viktor fast\nHi.": "Did you mean %%victor?",
    "%%victr fast\nHi.": "Did you mean %%victor?",
    "%viktor ask fast -- Hi.": "Did you mean %victor?",
    "x = %viktor ask fast -- Hi.": "Did you mean %victor?",
    "!victor fast Hi": "Write %victor, or %%victor on a cell's first line",
    "%victor fast Hi": "write %%victor fast on a cell's first line, or %victor ask fast -- Hi",
    "%victor ask fast Name a river": "after --, such as %victor ask fast -- Name a river",
    "%victor ask Name a river?": "after --, such as %victor ask -- Name a river?",
    "%victor ask fast --Name a river": "such as %victor ask fast -- Name a river",
    "%victor ask fast \u2014 Name a river": "such as %victor ask fast -- Name a river",
    "%victor ask fast - Name a river": "such as %victor ask fast -- Name a river",
    "%victor ask --max-tokens 50 -o x Name a river": "such as %victor ask --max-tokens 50 -o x -- Name a river",
    "%victor ask fast system= timeout=9 budget a trip": "%victor ask fast system= timeout=9 -- budget a trip",
    "%%victor FAST\nHi.": "Did you mean 'fast'?",
    "%%victor as=JSON\nHi.": "Did you mean as=json?",
    "%victor STATUS": "Did you mean %victor status?",
    "%%victor doctor": "doctor is a command, and commands have one %: %victor doctor",
    "%%victor mode simulate\nHi.": "commands have one %: %victor mode simulate",
    "%%victor cost by=model\nHi.": "commands have one %: %victor cost by=model",
    "%%victor search tasks=$nums out=found\nHi.": "commands have one %: %victor search tasks=$nums out=found",
    "%%victor ask fast -- Hi.\n": "Write %%victor fast, and the prompt below it.",
    "%%victor budget 0.50\nHi.": "Write budget=0.50, with = and no spaces",
    "%%victor profiles=fast;local\nHi.": "Several have commas between them: fast,local.",
    "%%victor timeout=soon\nHi.": "Write timeout=60",
    "%%victor max_tokens=1.5\nHi.": "a whole number of 1 or more, not 1.5. Write max_tokens=500.",
    "%%victor temperature=hot\nHi.": "a number from 0 to 2, not 'hot'. Write temperature=0.2.",
    "%%victor retries=99\nHi.": "a whole number from 0 to 10",
    "%%victor out=class\nHi.": "not 'class'. Write out=reply.",
    "%%victor out=list\nHi.": "hides none of Python's, not 'list'. Write out=reply.",
    "%%victor as=jsn\nHi.": "Did you mean as=json?",
    "%%victor as=json\nSay hello.": "ask for the form in the prompt",
    "%%victor show=all_of_it\nHi.": "takes answer, quiet or none, not 'all_of_it'. Write show=quiet.",
    "%%victor raw\nHi.": "Write --raw",
    "%%victor system=$nope\nHi.": "Run the cell that defines it first",
    "%%victor params={'a':1}\nHi.": "takes a mapping with text as keys, not '{a:1}'. Write params=$settings.",
    f"%%victor api_key={CANARY}\nHi.": "Put it in the environment or in a .env file",
    "%%victor profiles=fast,lcal\nHi.": "Did you mean 'local'?",
    "%%victor profiles=fast,fast\nHi.": "'fast' is named twice. For several samples of it, use n=2",
    "%%victor strategy=funel\nHi.": "Did you mean 'funnel'?",
    "%%victor strategy=funnel profile=fast\nHi.": "strategy= and profile= exclude each other",
    "%%victor profiles=fast,local as=json\nHi.": "profiles= and as= exclude each other",
    "%%victor n=0\nHi.": "a whole number from 1 to 1000, not 0. Write n=3.",
    "%%victor on_error=stop\nHi.": "takes keep or raise, not 'stop'. Write on_error=raise.",
    "%%victor budget=lots\nHi.": "takes an amount in USD, not 'lots'. Write budget=0.50.",
    "%%victor fast budget=0.0001 max_tokens=500\nHi.": "the budget of this cell has USD 0.0001 left",
    "%%victor\nClassify {{ revew }}": "Did you mean 'review'?",
    "%%victor\n\n{{ undefined_thing }}": "(line 2 of the prompt). Write \\{{ undefined_thing }} or --raw",
    "%%victor\n{{ os.environ }}": "is a module. Put what you need of it into a variable",
    "%%victor\n{{ review.upper() }}": "Make a variable first",
    "%%victor\n{{ nums | upper }}": "Known: md, csv, json, repr, head, sample, truncate, schema",
    "%%victor\n{{ big }}": "Use | head(20), | sample(20) or | truncate(4000)",
    "%%victor\n{{ half }}": "half a character",
    "%%victor\n{{ leak }}": "Nothing was sent. Leave it out",
    "%%Victor\nHi.": "Did you mean %%victor?",
    "%% victor\nHi.": "Did you mean %%victor?",
    "%%vicotr fast\nHi.": "Did you mean %%victor?",
    "x = 1\n%%victor\nHi.": "must be the first line of its cell",
    "%victor stauts": "Did you mean %victor status?",
    "%victor tell me": "write it below %%victor, or %victor ask -- tell me",
    "%victor telll": "Known: ask, budget, cache, cancel",
    "a = b = %victor ask zzz -- why?": "Profile 'zzz' not found",
    "x: object = %victor ask zzz -- why?": "Profile 'zzz' not found",
    "d = {}\nd[str(1)] = %victor ask zzz -- why?": "Profile 'zzz' not found",
    "%%victor system=$broken.text\nHi.": "system=$broken.text fails: ZeroDivisionError: division by zero; Cell In[",
    "%%victor\nSay {{ broken.text }}": "fails: ZeroDivisionError: division by zero; Cell In[",
    "%%victor\nSay {{ broken['x'] }}": "fails: ZeroDivisionError: division by zero; Cell In[",
    "%%victor\nSay {{ broken.deep }}": "fails: AttributeError: 'int' object has no attribute 'nope'; Cell In[",
    "%victor profile=fast": "write %%victor profile=fast on a cell's first line",
    "%victor ask fast": "needs the prompt after --",
    "%victor ask fast -- ": "The prompt is empty",
    "x = %victor ask zzz -- why?": "Profile 'zzz' not found",
    "%victor status now": "Write %victor status alone",
    "%victor pick fast": "Write %victor pick alone.",
    "%victor plot": "such as %victor plot spend",
    "%victor plot funnel by=model": "Write %victor plot funnel alone.",
    "%victor plot spend over=all": "takes by=profile, scope=kernel, since=30d, and no 'over=all'",
    "%victor plot funel": "Did you mean funnel?",
    "%victor plot replies": "Ask several first",
    "%victor budget lots": "such as 0.50",
    "%victor strategy funel": "Did you mean 'funnel'?",
    "%victor panel fast": "Write %victor panel, or %victor panel code.",
    "%victor mode off": "Known: live, simulate, record, replay",
    "%victor mode live": "VICTOR_MODE=simulate in the environment beats this",
    "%victor set out=x": "Known: cache, cost, effort, max_tokens, profile, profiles, prompt_cache, seed, show, system, "
    "temperature, tier, timeout",
    "%victor ledger many": "such as %victor ledger 20",
    "%victor cost profle": "Did you mean profile?",
    "%victor cost last month": "takes by=profile, scope=kernel, since=30d, and no 'last'",
    "%victor cost sicne=30d": "Did you mean since=?",
    "%victor cost since=month": "Write 30d, 12h, today or 2026-11-01.",
    "%victor cost 30d since=12h": "is given since= twice",
    "%victor cost scope=al": "Did you mean scope=all?",
    "%victor report costs.pdf": "Name it costs.html",
    "%victor cost by=colour": "Known: profile, provider, model, stage, strategy, notebook, day, run_id, status, mode.",
    "%victor profiles fsat": "Did you mean 'fast'?",
    "%victor chats clear nobody": "%victor chats lists them",
}

# What IPython would have refused by itself, in a way that nbmake counts as success.
GREEN_OTHERWISE = (
    "%%victor",
    "# first a comment\n\n%%victor profle=fast\nHi.",
    "for q in 'ab':\n    %%victor fast\n    hello",
    "%viktor ask fast -- Hi.",
)


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Open a folder with profiles, in simulate mode, with a canary for a key."""
    profiles = {"fast": {"provider": "openai", "model": "gpt-4o-mini"}, "local": {"provider": "ollama", "model": "q"}}
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"default": "fast", "profiles": profiles}), encoding="utf-8")
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    with TemporaryDirectory(prefix="k-") as pipes:

        class Piped(AsyncKernelManager):
            def __init__(self, **more: Any) -> None:
                super().__init__(**on_pipes(pipes), **more)

        monkeypatch.setattr(jupyter_client, "AsyncKernelManager", Piped)  # what nbclient takes
        yield tmp_path


def execute(folder: Path, *sources: str, tags: tuple[str, ...] = ()) -> NotebookResult:
    """Run a notebook of these cells as `pytest --nbmake` does."""
    cells = [new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]
    file = folder / "mistakes.ipynb"
    nbformat.write(new_notebook(cells=cells), str(file))
    return NotebookRun(file, default_timeout=120).execute()


def errors(cell: Any) -> list[Any]:  # noqa: ANN401 - a notebook's cell is what it is
    """Return what nbmake looks for in a cell."""
    return [output for output in cell.outputs if output.output_type == "error"]


def test_when_a_magic_is_typed_wrong_then_the_cell_is_red_and_says_what_to_type(notebooks: Path) -> None:
    assert len(MISTAKES) > 30
    result = execute(notebooks, LOAD, SETUP, *MISTAKES, "print('end')", tags=("raises-exception",))
    load, setup, *cells, end = result.nb.cells
    assert load.outputs == []
    assert errors(setup) == []
    for cell, (mistake, told) in zip(cells, MISTAKES.items(), strict=True):
        lines = [line for error in errors(cell) for part in error.traceback for line in part.split("\n")]
        assert 1 <= len(lines) <= 3, f"{mistake!r} says {lines}"
        assert told in "\n".join(lines), f"{mistake!r} says {lines}"
        assert max(map(len, lines)) < 300, f"{mistake!r} says {lines}"
        assert CANARY not in str(lines)
        assert not any(output.output_type == "stream" for output in cell.outputs), mistake
    assert end.outputs[0].text == "end\n"


@pytest.mark.parametrize("mistake", GREEN_OTHERWISE)
def test_when_ipython_would_have_refused_the_cell_then_nbmake_is_red_and_later_cells_do_not_run(
    notebooks: Path, mistake: str
) -> None:
    result = execute(notebooks, LOAD, mistake, "print('ran on')")
    assert result.error is not None
    assert result.error.failing_cell_index == 1
    assert MISTAKES[mistake] in result.error.summary
    assert result.nb.cells[2].outputs == []


def test_when_nothing_is_wrong_then_nbmake_is_green(notebooks: Path) -> None:
    right = "# a comment\n\n%%victor fast out=reply\nSay hello to {{ name }}."
    result = execute(notebooks, LOAD, "name = 'Bo'", right, "assert reply.content\nassert reply.billed == 0")
    assert result.error is None
    [shown] = result.nb.cells[2].outputs
    assert shown.data["text/plain"].endswith("simulated")
