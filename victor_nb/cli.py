"""`victor-nb`: run notebooks from their tapes, record them, see what is ready and what was spent, without a notebook.

It ends with 0 where all is well, 1 where something is red, 2 where it is used wrongly, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from victor_nb.ci import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.ci.run import Ran, Verdict
    from victor_nb.values import SimulatedQuestion

GREEN, RED, WRONG, STOPPED = 0, 1, 2, 130
_LINES: Final = 3  # of an error
_MOST_AT_ONCE: Final = 4  # kernels
_QUESTION: Final = """Rain in mm, Monday to Friday: 0.0, 3.2, 99.9, 0.6, 0.0. The manual says that 99.9 is written where
there is no reading. How much did it rain?"""
_DEMO: Final = {
    "local": "103.7 mm.",
    "fast": "103.7 mm, if 99.9 is a reading; it looks too high.",
    "premium": "3.8 mm on four days. Wednesday's 99.9 is no reading, so the week's rain is not known.",
}
"""What the demo's profiles answer, written by hand."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines."""

    def error(self, message: str) -> NoReturn:
        """End with what is wrong, and where help is."""
        print(f"{self.prog}: {message}\nHelp: {self.prog} --help", file=sys.stderr)
        raise SystemExit(WRONG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit code."""
    asked = _parser().parse_args(arguments)
    from victor_nb.errors import ConfigError, VictorError  # noqa: PLC0415 - after --help

    try:
        return asked.do(asked)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except VictorError as error:
        lines = [*str(error).splitlines(), *getattr(error, "__notes__", ())]
        print("\n".join([f"victor-nb: {lines[0]}", *lines[1:_LINES]]), file=sys.stderr)
        return WRONG if isinstance(error, ConfigError) else RED
    except BrokenPipeError:  # `victor-nb report | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="victor-nb", description=(__doc__ or "").splitlines()[0].partition(": ")[2].capitalize())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, do: Any, text: str) -> argparse.ArgumentParser:  # noqa: ANN401 - what is done
        made = commands.add_parser(name, help=text[0].lower() + text[1:], description=f"{text}.")
        made.set_defaults(do=do)
        return made

    check = command("check", _check, "Run notebooks from their tapes, without a network, and compare their outputs")
    check.epilog = (
        "The network is shut in the notebook's kernel, its forks and each Python that it starts, not in other programs"
        " such as curl or git; variables of keys hold a placeholder. Only a container keeps a stranger's code in."
    )
    record = command("record", _record, "Run notebooks for real, record their tapes, and save the outputs of a replay")
    for each in (check, record):
        each.add_argument("notebooks", nargs="+", type=Path, metavar="NB", help="a notebook, or a folder of them")
        each.add_argument("--timeout", type=int, default=TIMEOUT, metavar="S", help="seconds a cell may take")
    check.add_argument("--report", type=Path, metavar="PATH", help="write the costs to PATH.md and PATH.json")
    at_once = max(1, min(_MOST_AT_ONCE, os.cpu_count() or 1))
    check.add_argument("-n", "--at-once", type=int, default=at_once, metavar="N", help=f"kernels (here: {at_once})")
    doctor = command("doctor", _doctor, "Look whether each profile can be asked: key, host, model, price")
    doctor.add_argument("profiles", nargs="*", metavar="PROFILE", help="default: all")
    report = command("report", _report, "Write what was spent as a page of HTML")
    report.add_argument("--since", default="30d", help="30d, 12h, today, a date (default: 30d)")
    report.add_argument("--out", default="victor-report.html", metavar="PATH", help="default: victor-report.html")
    command("demo", _demo, "Ask three simulated models, without a key, and show what each would have cost")
    return parser


# --- check, record ---


def _found(given: Sequence[Path]) -> list[Path]:
    """Return the notebooks that are meant.

    Raises:
        ConfigError: There is no such file, or no notebook in a folder.
    """
    from victor_nb.errors import ConfigError  # noqa: PLC0415 - after --help

    found: list[Path] = []
    for path in given:
        inside = sorted(path.glob("*.ipynb")) if path.is_dir() else [path] if path.is_file() else []
        if not inside:
            fact = f"{path} has no notebook in it" if path.is_dir() else f"there is no file {path}"
            raise ConfigError(f"{fact}. Name a notebook (NAME.ipynb), or a folder of notebooks.")
        found += inside
    return list(dict.fromkeys(found))


def _check(asked: argparse.Namespace) -> int:
    from victor_nb.ci.costs import as_text, write  # noqa: PLC0415 - after --help

    paths = _found(asked.notebooks)
    verdicts = asyncio.run(_replay(paths, timeout=asked.timeout, at_once=max(1, asked.at_once)))
    print(*as_text(verdicts), sep="\n")
    if asked.report is not None:
        print(f"Report: {' and '.join(map(str, write(verdicts, asked.report)))}")
    return RED if any(verdict.red for verdict in verdicts) else GREEN


async def _replay(paths: Sequence[Path], *, timeout: int, at_once: int) -> list[Verdict]:  # noqa: ASYNC109 - of a cell
    from victor_nb.ci.run import run  # noqa: PLC0415 - after --help

    places = asyncio.Semaphore(at_once)

    async def one(path: Path) -> Verdict:
        async with places:
            verdict = (await run(path, timeout=timeout)).verdict
        _say_red(verdict)
        return verdict

    return await asyncio.gather(*map(one, paths))


def _say_red(verdict: Verdict) -> None:
    for finding in verdict.red:
        print(f"{verdict.notebook}: {finding}", file=sys.stderr)


def _record(asked: argparse.Namespace) -> int:
    from victor_nb.config.environment import check_recording  # noqa: PLC0415 - after --help

    check_recording()
    paths = _found(asked.notebooks)
    done = [asyncio.run(_record_one(path, asked.timeout)) for path in paths]
    return RED if not all(done) else GREEN


async def _record_one(path: Path, timeout: int) -> bool:  # noqa: ASYNC109 - of a cell
    """Record a notebook, replay it, compare, and save the outputs of the replay; return whether all went well."""
    from victor_nb.ci.costs import billed, total  # noqa: PLC0415 - after --help
    from victor_nb.ci.run import outputs_of, run, write_outputs  # noqa: PLC0415 - as above

    recorded = await run(path, mode="record", timeout=timeout)
    if recorded.verdict.red:
        return _stays(recorded, f"{path} is as it was: it is red as it is recorded. What was answered is on its tape.")
    replayed = await run(path, timeout=timeout, saved=outputs_of(recorded.notebook))
    if replayed.verdict.red:
        return _stays(replayed, f"{path} is as it was: its replay is not what was recorded. Mend those cells.")
    try:
        write_outputs(replayed, path)
    except OSError as error:
        return _stays(
            replayed, f"{path} is as it was: it cannot be written ({error.strerror or error}). It is recorded."
        )
    paid = billed(total(recorded.verdict.models))
    calls = sum(each["calls"] for each in recorded.verdict.models)
    print(f"{path}: {recorded.verdict.cells} cells, {calls} calls recorded, paid {paid}; it replays, for nothing.")
    unused = sum(tape["unused"] for tape in replayed.verdict.tapes)
    if unused:
        print(f"{path}: {unused} older exchanges on its tape are not used any more; %victor tape prune deletes them.")
    return True


def _stays(ran: Ran, why: str) -> bool:
    _say_red(ran.verdict)
    print(why, file=sys.stderr)
    return False


# --- what a notebook has as %victor ---


def _doctor(asked: argparse.Namespace) -> int:
    from victor_nb.kernel import session  # noqa: PLC0415 - after --help
    from victor_nb.notebook.doctor import diagnose  # noqa: PLC0415 - as above

    shown, ready = diagnose(session(), asked.profiles)
    print(shown["text/plain"])
    return GREEN if ready else RED


def _report(asked: argparse.Namespace) -> int:
    from victor_nb.kernel import session  # noqa: PLC0415 - after --help

    path = session().report(asked.out, since=asked.since)
    print(f"Wrote {path}. Open it in a browser; it needs no network.")
    return GREEN


def _demo(_: argparse.Namespace) -> int:
    from victor_nb.config.environment import overrule  # noqa: PLC0415 - after --help
    from victor_nb.config.settings import Settings, shipped_file  # noqa: PLC0415 - after --help
    from victor_nb.kernel import Session  # noqa: PLC0415 - as above
    from victor_nb.money import usd  # noqa: PLC0415 - as above
    from victor_nb.tables import Table  # noqa: PLC0415 - as above
    from victor_nb.values import Reply  # noqa: PLC0415 - as above

    overrule(VICTOR_MODE="simulate", VICTOR_LEDGER="memory", VICTOR_SIM_SPEED="0", VICTOR_PROGRESS="off")
    kernel = Session(Settings(shipped_file()))
    kernel.simulate_with(_answer)
    found = kernel.pool.fan_out_sync(_QUESTION, [*_DEMO])
    replies = {name: reply for name, reply in found.items() if isinstance(reply, Reply)}
    rows = [
        (
            name,
            reply.model,
            f"{reply.usage.input_tokens} -> {reply.usage.output_tokens}",
            f"{reply.latency:.1f} s",
            "free" if reply.free else usd(reply.cost),
            "free" if reply.free or reply.cost is None else usd(10_000 * reply.cost, places=2),
        )
        for name, reply in replies.items()
    ]
    head = ("profile", "model", "tokens", "seconds", "one question", "10,000 questions")
    print(_QUESTION, *(f"\n{name}: {reply.content}" for name, reply in replies.items()), sep="\n", end="\n\n")
    print(Table(head, rows, head[2:]).plain())
    print("\nNothing was asked or paid: answers are written by hand, prices are list prices.")
    print("In a notebook: %load_ext victor_nb, then %%victor profiles=local,fast,premium; keys: victor-nb doctor")
    with suppress(RuntimeError):
        kernel.close()
    return GREEN


def _answer(question: SimulatedQuestion) -> str:
    return _DEMO[question.profile]


if __name__ == "__main__":
    sys.exit(main())
