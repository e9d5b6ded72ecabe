"""`%load_ext victor_nb`: prints nothing, opens nothing, and imports what it needs when it is first used."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from victor_nb.errors import UNLOADABLE, MagicError, VictorError, VictorInterrupted, did_you_mean
from victor_nb.notebook.options import CELL_HELP, LINE_HELP
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

    from victor_nb.notebook.magics import Magics
    from victor_nb.workflows.fan_out import Replies
    from victor_nb.workflows.runs import StageResult, StrategyRun

_OURS: Final = re.compile(r"[ \t]*%%victor(?=\s|$)(?P<line>.*)", re.DOTALL)
_CELL: Final = re.compile(r"[ \t]*%%(?P<name>[ \t]*%?\w[^\s?]*)(?!\S)")
_ASK: Final = re.compile(
    r"(?P<before>[ \t]*+(?:(?:(?!\"{3}|'{3})[^#%!=\n])+=)*[ \t]*)"  # names, an entry, an annotation
    r"%(?P<name>victor(?=[ \t]+ask\b)|\w+(?=[ \t][^\n]*%victor[ \t]+ask\b))"  # or in %time
    r"[ \t]+(?P<rest>[^\n]*\?)[ \t]*(?P<end>\n?)$"
)
_SIGNED: Final = re.compile(
    r"(?P<before>[ \t]*(?:\w[\w.\[\]'\", ]*=[ \t]*)?)(?P<signs>%%?|!)(?P<name>[ \t]*\w[^\s?]*)(?!\S)"
)
_LEXEMES: Final = re.compile(
    r"""#.*|(?P<mark>\"{3}|'{3})|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?P<opens>[(\[{])|(?P<closes>[)\]}])"""
)
_FIRST: Final = (
    "%%victor {} asks nothing: it must be the first line of its cell. "
    "In code, write r = %victor ask fast -- PROMPT, where {{{{ name }}}} is a variable."
)
_DOUBLED: Final = "%victor"
_RAISE: Final = "raise __import__('victor_nb.errors', fromlist=['x']).MagicError({!r})\n"


class Transform:
    """An input transformer of IPython: lines in, lines out.

    Args:
        known: Gives the names of all magics that are a `cell` or a `line`: another one is no misspelt `%%victor`.
    """

    has_side_effects = True
    """Keeps IPython's console from asking us whether a cell that is being typed is complete."""

    def __init__(self, known: Callable[[str], Iterable[str]]) -> None:
        self._known = known

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines as IPython is to see them."""
        first = next((place for place, line in enumerate(lines) if _says_something(line)), None)
        if first is None:
            return lines
        ours = _OURS.match(lines[first])
        if ours is not None:
            return [_call("victor", ours["line"].strip(), "".join(lines[first + 1 :]))]
        magic = _CELL.match(lines[first])
        if magic is not None:
            if (wrong := self._misspelt("%%", magic["name"])) is not None:
                return [_RAISE.format(wrong)]
            if magic["name"] in self._known("cell") and _stands_over_ours(lines[first + 1 :]):
                name, _, line = lines[first].strip()[2:].partition(" ")
                return [_call(name, line, "".join(lines[first + 1 :]))]
            return lines
        if lines[first].lstrip().startswith("%%"):
            return lines
        return self._in_code(lines)

    def _in_code(self, lines: list[str]) -> list[str]:
        """Mend a cell of Python: a magic of ours that is misplaced or misspelt, and questions after `%victor ask`."""
        if not any("%" in line or "!" in line for line in lines):
            return lines
        mended: list[str] = []
        mark, depth, goes_on = "", 0, False
        for line in lines:
            begins = not (mark or depth or goes_on)  # a statement, and so perhaps a magic
            signed = _SIGNED.match(line) if begins else None
            if signed is not None and (wrong := self._wrong(signed, line)) is not None:
                return [_RAISE.format(wrong)]
            asked = _ASK.match(line) if begins else None
            if asked is not None:
                call = f"get_ipython().run_line_magic({asked['name']!r}, {asked['rest']!r})"
                line = f"{asked['before']}{call}{asked['end']}"  # noqa: PLW2901
            elif not begins or not line.lstrip().startswith(("%", "!")):
                mark, depth = _still_open(line, mark, depth)
            goes_on = line.rstrip("\n").endswith("\\")
            mended.append(line)
        return mended

    def _wrong(self, signed: re.Match[str], line: str) -> str | None:
        """Return what is wrong with a line that begins with a sign of IPython's; None where that is not ours."""
        signs, name = signed["signs"], signed["name"]
        if signs == "%%" and name == "victor":
            return _FIRST.format("inside a block" if signed["before"] else "below other lines")
        if signs == "!":
            if name != "victor" or shutil.which(name):
                return None
            said = line.strip()[:40]
            return f"{said!r} runs a program, which there is not. Write %victor, or %%victor on a cell's first line."
        return self._misspelt(signs, name)

    def _misspelt(self, signs: str, name: str) -> str | None:
        """Return what is wrong with the name of a magic that resembles ours; None where it is another."""
        kind = "cell" if signs == "%%" else "line"
        if name in self._known(kind) or did_you_mean(name.strip().lower(), ["victor"]) is None:
            return None
        return f"{signs}{name} is no magic. Did you mean {signs}victor?"


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _call(name: str, line: str, body: str) -> str:
    """Return the call that the cell means; IPython refuses an empty body, so it gets a line break."""
    return f"get_ipython().run_cell_magic({name!r}, {line!r}, {body or chr(10)!r})\n"


def _stands_over_ours(lines: list[str]) -> bool:
    """Return whether what is below a cell magic such as `%%time` is a `%%victor`, whose prompt stays as it was typed.

    IPython would take `>>>` and `In [1]:` off the lines of the prompt.
    """
    for line in lines:
        if _OURS.match(line):
            return True
        if _says_something(line) and not _CELL.match(line):
            return False
    return False


def _misplaced(_: str) -> None:
    """Refuse a `%%victor` that IPython takes for a line magic, as it is not the first line of its cell.

    Raises:
        MagicError: Always.
    """
    raise MagicError(_FIRST.format("below other lines"))


def _still_open(line: str, mark: str, depth: int) -> tuple[str, int]:
    """Return what is open at the end of a line of Python: the three quotes, or empty, and how many brackets.

    Args:
        line: It.
        mark: The quotes that are open where it begins.
        depth: How many brackets are.
    """
    place = 0
    while True:
        if mark:
            end = line.find(mark, place)
            if end < 0:
                return mark, depth
            place, mark = end + len(mark), ""
        for found in _LEXEMES.finditer(line, place):
            if found["mark"]:
                mark, place = found["mark"], found.end()
                break
            depth = max(0, depth + bool(found["opens"]) - bool(found["closes"]))
        else:
            return "", depth


_IDLE: Final = 0.5  # seconds after the load cell: a cell that comes right behind it has the processor for itself
_SIGN_AFTER: Final = 0.1  # seconds; what takes no longer needs no word of waiting
_SIGN_EVERY: Final = 0.25  # seconds between two such words
_MARK: Final = "_victor_nb_extension"


class Extension:
    """What loading puts into a shell, and unloading takes out again."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._magics: Magics | None = None
        self._asked = False
        self._typed = ""
        self._depth = 0
        self._warming: threading.Timer | None = None
        self._before: dict[str, object] = {}
        self._accessors = False
        self._transform = Transform(self._registered)
        self._matcher = _matcher(shell)

    @property
    def magics(self) -> Magics:
        """The magics, imported at their first use.

        Raises:
            VictorInterrupted: Stop was pressed meanwhile.
        """
        try:
            self._end_warm_up()
        except KeyboardInterrupt:
            raise VictorInterrupted("stopped before anything was sent.") from None
        if self._magics is None:
            self._magics = _load_magics()(self._shell)
            self._magics.typed = self._typed
        return self._magics

    def _load_in_sight(self) -> str:
        """Import the magics, and show that it takes a moment; return the id of the display that says so, "" for none.

        It is done in another thread, so that this one can say so meanwhile, and hears Stop.

        Raises:
            VictorInterrupted: Stop was pressed.
        """
        from victor_nb.notebook.front_end import growth  # noqa: PLC0415 - only where a cell asks

        if self._magics is not None or not hasattr(self._shell, "kernel") or growth(self._shell) != "updates":
            return ""
        before, began, sign = self._warming, time.monotonic(), ""
        self._warming = loading = threading.Timer(0, _load_after, (before,))
        loading.daemon = True
        loading.start()
        try:
            loading.join(_SIGN_AFTER)
            while loading.is_alive():
                line = f"loading victor_nb · {int(time.monotonic() - began)} s"
                data = {"text/markdown": f'<small style="opacity:.75">{line}</small>'}
                shown, sign = sign, sign or uuid4().hex
                screen = cast("Any", self._shell).display_pub
                screen.publish(data=data, metadata={}, transient={"display_id": sign}, update=bool(shown))
                loading.join(_SIGN_EVERY)
        except KeyboardInterrupt:
            self._take_away(sign)
            raise VictorInterrupted("stopped before anything was sent.") from None
        return sign

    def _take_away(self, sign: str) -> None:
        """Empty a display of ours, which takes no room then."""
        if sign:
            data, transient = {"text/plain": ""}, {"display_id": sign}
            cast("Any", self._shell).display_pub.publish(data=data, metadata={}, transient=transient, update=True)

    def load(self) -> None:
        """Register everything."""
        shell = cast("Any", self._shell)
        for kind, magic in (("cell", self._cell()), ("line", self._line())):
            self._before[kind] = self._registered(kind).get("victor")
            shell.register_magic_function(magic, magic_kind=kind, magic_name="victor")
        # For the cell that loads us, which nothing has mended: IPython takes the second sign for a part of the name.
        shell.register_magic_function(_misplaced, magic_kind="line", magic_name=_DOUBLED)
        shell.input_transformers_cleanup.insert(0, self._transform)
        shell.Completer.custom_matchers.append(self._matcher)
        for event, callback in self._callbacks():
            shell.events.register(event, callback)
        formatters = shell.display_formatter.formatters
        formatters["text/markdown"].for_type(Reply, _markdown)
        formatters["text/plain"].for_type(Reply, _plain)
        shell.display_formatter.mimebundle_formatter.for_type_by_name(*_REPLIES, _replies)
        shell.display_formatter.mimebundle_formatter.for_type_by_name(*_STAGE, _stage)
        shell.display_formatter.ipython_display_formatter.for_type_by_name(*_RUN, self._show_run)

    def unload(self) -> None:
        """Take everything out again."""
        self._end_warm_up()
        shell = cast("Any", self._shell)
        for kind, magic in self._before.items():
            self._registered(kind).pop("victor", None)
            if magic is not None:
                shell.register_magic_function(magic, magic_kind=kind, magic_name="victor")
        self._registered("line").pop(_DOUBLED, None)
        shell.input_transformers_cleanup.remove(self._transform)
        shell.Completer.custom_matchers.remove(self._matcher)
        for event, callback in self._callbacks():
            # The last has left by itself if a cell has ended since.
            with suppress(ValueError):
                shell.events.unregister(event, callback)
        for mime in ("text/markdown", "text/plain"):
            shell.display_formatter.formatters[mime].pop(Reply, None)
        shown = (
            ("mimebundle_formatter", _REPLIES),
            ("mimebundle_formatter", _STAGE),
            ("ipython_display_formatter", _RUN),
        )
        for formatter, name in shown:
            getattr(shell.display_formatter, formatter).pop(".".join(name), default=None)

    def _show_run(self, run: StrategyRun) -> None:
        """Show a run that is the value of a cell, as its own cell would have: answer, stages and bill, and a chart."""
        self.magics.show_run(run)

    def _registered(self, kind: str) -> dict[str, object]:
        return cast("Any", self._shell).magics_manager.magics[kind]

    # --- the magics ---

    def _cell(self) -> Callable[[str, str], None]:
        """Return the cell magic of the first use: it waits for the warm-up, and then `Magics.cell` takes its place."""
        from IPython.core.magic import no_var_expand  # noqa: PLC0415 - only where there is IPython

        def victor(line: str, cell: str) -> None:
            sign = self._load_in_sight()
            magics = self.magics
            self._asked = True
            cast("Any", self._shell).register_magic_function(magics.cell, magic_kind="cell", magic_name="victor")
            magics.sign = sign
            try:
                magics.cell(line, cell)
            finally:
                self._take_away(magics.sign)

        victor.__doc__ = CELL_HELP
        return no_var_expand(victor)

    def _line(self) -> Callable[..., Reply | None]:
        from IPython.core.magic import needs_local_scope, no_var_expand  # noqa: PLC0415 - as above

        def victor(line: str, local_ns: MutableMapping[str, Any] | None = None) -> Reply | None:
            return self.magics.line(line, local_ns)

        # Shift-Tab in a `%%victor` cell shows this one: a front end asks for the name without its signs.
        victor.__doc__ = f"{LINE_HELP}\n{CELL_HELP}"
        return needs_local_scope(no_var_expand(victor))

    # --- events ---

    def _callbacks(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        return (("pre_run_cell", self._look), ("post_run_cell", self._look_away), ("post_run_cell", self._warm_up_soon))

    def _look(self, info: ExecutionInfo) -> None:
        """Remember the cell as it was typed; `%%capture` runs what is in it as a cell of its own, mended already."""
        if not self._accessors and "pandas" in sys.modules:
            self._register_accessors()
        if not self._depth:
            self._typed = str(cast("Any", info).raw_cell or "")
            if self._magics is not None:
                self._magics.typed = self._typed
            _refresh()
        self._depth += 1

    def _register_accessors(self) -> None:
        """Give frames `.victor`. A cell that imports pandas itself has it from the next one on."""
        from victor_nb.workflows.accessor import register  # noqa: PLC0415 - not before there are frames

        self._accessors = register()

    def _look_away(self, *_: object) -> None:
        # The cell that loads us has only an end.
        if not self._accessors and "pandas" in sys.modules:
            self._register_accessors()
        self._depth = max(0, self._depth - 1)

    def _warm_up_soon(self, *_: object) -> None:
        """Import what the configured profiles need while the user reads, so that the first answer comes sooner."""
        cast("Any", self._shell).events.unregister("post_run_cell", self._warm_up_soon)
        if self._asked or not hasattr(self._shell, "kernel"):
            return
        self._warming = threading.Timer(_IDLE, _warm_up)
        self._warming.daemon = True
        self._warming.start()

    def _end_warm_up(self) -> None:
        """Wait for what is being imported: two threads that import one package may each see half of it."""
        if self._warming is not None:
            self._warming.cancel()
            self._warming.join()
            self._warming = None


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Give a shell the magics. Twice is fine."""
    if getattr(shell, _MARK, None) is None:
        extension = Extension(shell)
        extension.load()
        setattr(shell, _MARK, extension)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics out again. Twice is fine."""
    extension = cast("Extension | None", getattr(shell, _MARK, None))
    if extension is not None:
        extension.unload()
        setattr(shell, _MARK, None)


def _load_after(before: threading.Timer | None) -> None:
    """Import the magics once an import that is under way has ended, or was never begun."""
    if before is not None:
        before.cancel()
        before.join()
    with suppress(ImportError):  # it is raised where they are used
        _load_magics()


def _load_magics() -> type[Magics]:
    from victor_nb.notebook.magics import Magics  # noqa: PLC0415 - not while the extension loads

    return Magics


def _warm_up() -> None:
    """Import what the magics and the profiles need; a faulty profile is an error of the cell that asks it."""
    from victor_nb.kernel import session  # noqa: PLC0415 - as above

    with suppress(VictorError, *UNLOADABLE):
        session().warm_up()
        _load_magics()


def _refresh() -> None:
    """Read the settings anew where they have changed, so that a cell of Python has what was saved before it."""
    runtime = cast("Any", sys.modules.get("victor_nb.runtime"))
    found = None if runtime is None else runtime.opened()
    if found is not None and not found.closed:
        with suppress(VictorError, OSError):  # a magic says what is wrong with the file
            found.refresh()


def _matcher(shell: InteractiveShell) -> Callable[[CompletionContext], SimpleMatcherResult]:
    from IPython.core import completer  # noqa: PLC0415 - only where there is IPython

    def victor_matcher(context: CompletionContext) -> SimpleMatcherResult:
        if "%victor" not in context.full_text:
            return {"completions": []}
        from victor_nb.notebook.completion import complete  # noqa: PLC0415 - not before it is asked for

        offer = complete(context, cast("Any", shell).user_ns)
        if offer is None:
            return {"completions": []}
        found = [completer.SimpleCompletion(word, type=offer.kind) for word in offer.words]
        return {"completions": found, "matched_fragment": offer.fragment, "suppress": True}

    mark: Any = cast("Any", completer).context_matcher(identifier="victor_nb", priority=1_000)
    return mark(victor_matcher)


def _bundle(reply: Reply) -> Mapping[str, str]:
    """Return a reply that is the value of a cell, as `%%victor` would have shown it."""
    from victor_nb.notebook.display import reply_frame  # noqa: PLC0415 - not before one is shown

    return reply_frame(reply)


_REPLIES: Final = ("victor_nb.workflows.fan_out", "Replies")
_RUN: Final = ("victor_nb.workflows.runs", "StrategyRun")
_STAGE: Final = ("victor_nb.workflows.runs", "StageResult")
"""Classes whose values are shown in full; not imported before there is one."""


def _replies(replies: Replies, **_: object) -> Mapping[str, str]:
    from victor_nb.notebook.side_by_side import replies_frame  # noqa: PLC0415 - as above

    return replies_frame(replies)


def _stage(stage: StageResult, **_: object) -> Mapping[str, str]:
    from victor_nb.notebook.side_by_side import stage_frame  # noqa: PLC0415 - as above

    return stage_frame(stage)


def _markdown(reply: Reply) -> str:
    return _bundle(reply)["text/markdown"]


def _plain(reply: Reply, printer: Any, cycle: bool) -> None:  # noqa: ANN401, FBT001 - IPython's own signature
    printer.text("Reply(...)" if cycle else _bundle(reply)["text/plain"])
