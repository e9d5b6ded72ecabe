"""What is paid is kept, whatever becomes of showing it: a chart, a font, a front end or Stop while it is drawn."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher

from servers import Answer, faults
from victor_nb import Replies, Reply, StrategyRun, VictorInterrupted, session
from victor_nb.errors import VictorWarning
from workbench import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from cells import Shell
    from servers import Server

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

CELLS = {"fast": Reply, "profiles=fast,local": Replies, "fast n=2": Replies, "strategy=single": StrategyRun}


class Screen(CapturingDisplayPublisher):
    """A front end that does something of its own when it is sent what a test names.

    Args:
        act: What it does before a frame whose number, from 0, is at least `at`.
    """

    def __init__(self, act: Callable[[], object], at: int = 0) -> None:
        super().__init__()
        self._act, self._at, self._sent = act, at, 0

    def publish(self, *args: Any, **more: Any) -> None:
        """Show a frame, or fail to."""
        self._sent += 1
        if self._sent > self._at:
            self._act()
        super().publish(*args, **more)


def breaks() -> None:
    """Fail as a front end that is gone.

    Raises:
        OSError: Always.
    """
    raise OSError(28, "No space left on device")


def test_when_there_is_no_latex_then_a_note_says_so_and_the_run_is_kept(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with mpl.rc_context({"text.usetex": True}):
        ran = shell.run("%%victor strategy=single out=run\nHi.")
        assert ran.error is None
        answer, note = ran.frames
        assert "1 call · " in answer["text/plain"]
        assert note["text/plain"].startswith("Not drawn (RuntimeError: Failed to process string with tex")
        assert "in run and session().last; %victor errors has the whole error." in note["text/plain"]
        assert isinstance(shell.names["run"], StrategyRun)
        assert "latex could not be found" in shell.run("%victor errors").plain
        assert "%victor plot cannot draw here: RuntimeError: " in str(shell.fail("%victor plot cost_by_stage"))


def test_when_a_style_is_broken_then_a_note_says_so_and_the_run_is_kept(shell: Shell) -> None:
    with mpl.rc_context():
        mpl.rcParams._set("axes.titlesize", "giant")  # pyright: ignore - as a file that a user has written by hand
        ran = shell.run("%%victor strategy=single out=run\nHi.")
    assert ran.error is None
    assert "Not drawn (" in ran.plain
    assert isinstance(shell.names["run"], StrategyRun)


@pytest.mark.parametrize(("line", "kind"), CELLS.items())
def test_when_nothing_can_be_shown_then_the_result_is_kept_and_a_warning_says_where(
    shell: Shell, line: str, kind: type
) -> None:
    shell.ip.display_pub = Screen(breaks)
    with pytest.warns(VictorWarning, match="No space left on device"):
        assert shell.run(f"%%victor {line} out=r\nHi.").error is None
    assert isinstance(shell.names["r"], kind)
    assert session().last is shell.names["r"]
    assert {row["status"] for row in rows()} == {"ok"}


def test_when_an_answer_cannot_be_shown_while_it_grows_then_it_is_waited_for(shell: Shell) -> None:
    cast("Any", shell.ip).kernel = object()  # as if watched
    shell.ip.display_pub = Screen(breaks)
    with pytest.warns(VictorWarning, match="in r and session"):
        assert shell.run("%%victor fast out=r\nHi.").error is None
    assert shell.names["r"].status == "ok"


def test_when_the_note_beside_a_reply_cannot_be_shown_then_the_reply_is_kept(shell: Shell) -> None:
    shell.ip.display_pub = Screen(breaks)
    assert shell.run("topic = 'x'\nr = %victor ask fast out=kept -- about {topic}").error is None
    assert shell.names["r"] is shell.names["kept"]
    assert isinstance(session().errors[-1], OSError)


def test_when_what_cannot_be_shown_speaks_of_a_key_then_the_warning_does_not(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tells() -> None:
        raise OSError("no screen for canary-5b1d9a")

    monkeypatch.setenv("OPENAI_API_KEY", "canary-5b1d9a")
    shell.ip.display_pub = Screen(tells)
    with pytest.warns(VictorWarning, match=r"no screen for \[redacted\]"):
        assert shell.run("%%victor fast\nHi.").error is None


def test_when_it_goes_on_behind_and_cannot_be_shown_then_the_handle_has_it(shell: Shell) -> None:
    shell.ip.display_pub = Screen(breaks)
    with pytest.warns(VictorWarning, match=r"in job and session\(\).jobs"):
        assert shell.run("%%victor fast bg=true out=job\nHi.").error is None
    assert shell.names["job"].result().status == "ok"


@pytest.mark.parametrize(("line", "kind"), CELLS.items())
def test_when_stop_is_pressed_while_it_is_drawn_then_the_result_is_kept(shell: Shell, line: str, kind: type) -> None:
    shell.ip.display_pub = Screen(lambda: signal.raise_signal(signal.SIGINT), at=kind is StrategyRun)
    error = shell.fail(f"%%victor {line} out=r\nHi.")
    assert isinstance(error, VictorInterrupted)
    assert str(error) == "stopped while it was drawn; the result is in r and session().last."
    assert isinstance(shell.names["r"], kind)
    assert error.partial is shell.names["r"] is session().last


def test_when_what_came_of_a_failure_cannot_be_shown_then_the_failure_is_what_is_raised(
    live: Shell, server: Server
) -> None:
    server.play(Answer(), faults.status(400))
    live.ip.display_pub = Screen(breaks)
    error = live.fail("%%victor profiles=fast,other on_error=raise\nHi.")
    assert "1 of 2 calls failed" in str(error)
    assert "Not drawn (OSError" in cast("Any", error)._render_traceback_()[1]
    assert len(session().last.ok) == 1  # type: ignore[union-attr]
