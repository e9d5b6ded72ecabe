"""`%victor tape`: what is recorded, whether it can be used, and recording parts of it anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from victor_nb.config.environment import forced_mode
from victor_nb.config.notebook import as_cell, cell_sources, this_shell
from victor_nb.config.secret import has_key
from victor_nb.errors import ConfigError, MagicError, TapeError, suggest
from victor_nb.money import Total
from victor_nb.notebook.markdown import Bundle, frame, notice
from victor_nb.providers.spec import SPECS
from victor_nb.values import aged
from victor_nb.wire.asked import rekeyed
from victor_nb.wire.recorder import ends_in_error
from victor_nb.wire.tape import TapeFile, renumbered, streamed_texts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from victor_nb.kernel import Session
    from victor_nb.wire.asked import Miss
    from victor_nb.wire.player import Playback
    from victor_nb.wire.recorder import Recording
    from victor_nb.wire.tape import Exchange

TAPE_WORDS: Final = ("status", "verify", "prune", "rekey", "rerecord")
_OLD: Final = timedelta(days=90)
"""Age from which a tape is said to be old: models and prices have changed since. It is never refused."""
_SHOWN: Final = 5  # cells that a line names


def tape(words: list[str], session: Session) -> Bundle:
    """Show, check or change the tape of this notebook."""
    match words:
        case [] | ["status"]:
            return _status(session)
        case ["verify"]:
            return _verify(session)
        case ["prune", *more] if _dry(more, "prune"):
            return _prune(session, dry=bool(more))
        case ["rekey", *more] if _dry(more, "rekey"):
            return _rekey(session, dry=bool(more))
        case ["rerecord", *more]:
            return _rerecord(session, more)
        case _:
            text = "status, verify, prune, rekey, rerecord --cell 7 or --missing; --dry only says what it would do"
            raise MagicError(f"%victor tape takes {text}. {suggest(words[0], TAPE_WORDS)}")


def _dry(words: Sequence[str], command: str) -> bool:
    if [*words] not in ([], ["--dry"]):
        raise MagicError(f"%victor tape {command} takes nothing but --dry, which only says what it would do.")
    return True


def _file(session: Session) -> TapeFile:
    """Return the tape, with all that was recorded here sorted in."""
    if (tapes := session.runtime.tapes) is not None:
        tapes.save()
    return TapeFile(session.settings.tape("replay"))


def _playback(session: Session) -> Playback | None:
    tapes = session.runtime.tapes
    return None if tapes is None else tapes.playbacks.get(session.settings.tape("replay"))


def _recording(session: Session) -> Recording | None:
    tapes = session.runtime.tapes
    return None if tapes is None else tapes.recordings.get(session.settings.tape("replay"))


def _count(number: int, noun: str = "exchange") -> str:
    return f"{number:,} {noun}{'s'[: number != 1]}"


def _cells(exchanges: Iterable[Exchange]) -> str:
    """Return in which cells exchanges are, as `In [3], In [7]`."""
    numbers = sorted({each.cell for each in exchanges if each.cell is not None})
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return ", ".join(f"In [{number}]" for number in numbers[:_SHOWN]) + more


# --- status, verify ---


def _status(session: Session) -> Bundle:
    file = _file(session)
    exchanges = file.read()
    found = Counter(each.cell for each in exchanges)
    rows: list[tuple[object, ...]] = []
    for cell, count in sorted(found.items(), key=lambda item: (item[0] is None, item[0] or 0)):
        of_cell = [each for each in exchanges if each.cell == cell]
        models = ", ".join(sorted({each.asked.model for each in of_cell}))
        failed = sum(each.failed for each in of_cell)
        rows.append(("" if cell is None else f"In [{cell}]", models, f"{count:,}", f"{failed:,}" if failed else ""))
    playback, notes = _playback(session), [*_warnings(file, exchanges)]
    if playback is not None:
        used = len(playback.exchanges) - len(playback.unused)
        notes.insert(0, f"Replayed here: {used:,} of {len(playback.exchanges):,}; {len(playback.misses):,} missing.")
    made = str(file.header.get("recorded", "not sorted in yet"))[:10]
    above = f"{file.path}: {_count(len(exchanges))}, recorded {made}."
    return frame(["cell", "models", "exchanges", "refused"], rows, above=above, below=" ".join(notes))


def _warnings(file: TapeFile, exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield what a reader of the tape should know: its age, and models that have gone or will."""
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(str(file.header.get("recorded")))
    except (ValueError, TypeError):
        age = timedelta()
    if age > _OLD:
        yield f"It is {aged(age.total_seconds())} old."
    for provider, model in sorted({(each.asked.provider, each.asked.model) for each in exchanges}):
        spec = SPECS.get(provider)
        day = spec.retirement(model) if spec is not None else None
        if day is not None:
            gone = "was switched off" if day <= datetime.now(UTC).date() else "will be switched off"
            yield f"{model} {gone} on {day}."


def _verify(session: Session) -> Bundle:
    """Read the tape as a replay would, and say which calls end in an error."""
    file = _file(session)
    exchanges = file.read()
    for each in exchanges:
        texts = (each.line(), *streamed_texts(each.body))
        if any(session.settings.leaks(text) or has_key(text) for text in texts):
            raise TapeError(f"{file.name}: {_cells([each]) or 'an exchange'} holds a key. Revoke it, and record anew.")
    numbers = Counter((each.asked.key, each.occurrence, each.attempt) for each in exchanges)
    twice = [each for each in exchanges if numbers[each.asked.key, each.occurrence, each.attempt] > 1]
    if twice:
        fact = f"{file.name} holds an exchange twice ({_cells(twice) or twice[0].asked.path}), as a merge may leave it"
        raise TapeError(f"{fact}. Delete one of the two lines, or record anew.")
    failed, empty = ends_in_error(exchanges), [each for each in exchanges if not each.body and not each.failed]
    parts = [f"{file.name} can be replayed: {_count(len(exchanges))}, no key."]
    if failed:
        parts.append(f"{_count(len(failed), 'call')} ended in an error: {_cells(failed) or 'see status'}.")
    if empty:
        parts.append(f"{_count(len(empty), 'answer')} without any byte: {_cells(empty) or 'see status'}.")
    return notice(" ".join(parts))


# --- what changes it ---


def _prune(session: Session, *, dry: bool) -> Bundle:
    """Delete what was not used when the tape was last replayed in this kernel, or else not recorded here."""
    file, playback, recording = _file(session), _playback(session), _recording(session)
    exchanges = file.read()
    if playback is None and recording is None:
        raise MagicError("Nothing was replayed or recorded here. Run all cells first: what they do not use is deleted.")
    if playback is not None:
        used = {_place(each) for each in playback.exchanges} - {_place(each) for each in playback.unused}
    else:
        used = {_place(each) for each in recording.kept} if recording is not None else set[tuple[str, int, int]]()
    gone = [each for each in exchanges if _place(each) not in used]
    if gone and not dry:
        file.write(each for each in exchanges if _place(each) in used)
    where = f" ({_cells(gone)})" if _cells(gone) else ""
    said = "would be deleted" if dry else "deleted"
    return notice(f"{_count(len(gone))} that this kernel did not use {said}{where}, of {len(exchanges):,}.")


def _place(exchange: Exchange) -> tuple[str, int, int]:
    return exchange.asked.key, exchange.occurrence, exchange.attempt


def _rekey(session: Session, *, dry: bool) -> Bundle:
    """Give recorded requests the fields that requests have now, and lose those that they lack; answers stay."""
    file, playback = _file(session), _playback(session)
    misses: list[Miss] = [] if playback is None else [miss for miss in playback.misses if miss.keeps_meaning]
    if not misses:
        fact = "No request here differs from its recording by fields alone that do not say what is asked"
        raise MagicError(f"{fact}. Replay the notebook first; rerecord --missing asks again.")
    exchanges, changed = file.read(), 0
    for place, exchange in enumerate(exchanges):
        asked = exchange.asked
        for miss in misses:
            asked = rekeyed(asked, miss)
        if asked.key != exchange.asked.key:
            exchanges[place], changed = replace(exchange, asked=asked), changed + 1
    names = sorted({str(change).partition(":")[0] for miss in misses for change in miss.changes})
    if not dry:
        file.write(exchanges)
        session.runtime.rewind()
    said = "would get" if dry else "have got"
    again = "" if dry else " Answers are as they were. Run the notebook again."
    return notice(f"{_count(changed, 'recorded request')} {said} {', '.join(names)}.{again}")


def _rerecord(session: Session, words: Sequence[str]) -> Bundle:
    """Run cells again and record them, after a line that says what they cost when they were last asked here."""
    match [word for word in words if word != "--dry"]:
        case ["--cell", number] if number.isdecimal():
            cells = [int(number)]
        case ["--missing"]:
            playback = _playback(session)
            cells = sorted({miss.cell for miss in playback.misses if miss.cell}) if playback else []
        case _:
            raise MagicError("%victor tape rerecord takes --cell 7 or --missing, and --dry, which only says the price.")
    if not cells:
        return notice("No request of this kernel is missing on the tape.")
    sources = cell_sources()
    lost = [number for number in cells if not 0 < number < len(sources)]
    if lost:
        raise MagicError(f"This kernel has no In [{lost[0]}]. Give the number of a cell that it has run.")
    names = ", ".join(f"In [{number}]" for number in cells)
    line = f"{names}: {_price(session, cells)}"
    if "--dry" in words:
        return notice(f"{line} Without --dry it is asked and recorded.")
    if (forced := forced_mode()) not in {None, "record", "live"}:
        raise ConfigError(f"VICTOR_MODE={forced} in the environment beats this. Unset it first.")
    return notice(f"{line} {_count(_record(session, cells, sources))} recorded.")


def _price(session: Session, cells: Collection[int]) -> str:
    """Say what the exchanges of cells have cost, by the rows of this kernel."""
    file = _file(session)
    exchanges = [each for each in file.read() if each.cell in cells] if file.path.exists() else []
    ids = {each.request_id for each in exchanges if each.request_id}
    rows = [row for row in session.ledger.rows() if row.request_id in ids]
    if not exchanges:
        return "nothing of it is recorded, so its price is not known."
    unknown = f" ({len(exchanges) - len(rows)} without a price here)" if len(rows) < len(exchanges) else ""
    return f"{_count(len(exchanges))}, {Total.of(rows)} at list prices{unknown}."


def _record(session: Session, cells: Sequence[int], sources: Sequence[str]) -> int:
    """Run cells again in record mode; return how many exchanges have taken the place of theirs."""
    shell: Any = this_shell()
    runtime, before, file = session.runtime, session.mode, _file(session)
    old = file.read() if file.path.exists() else []
    earlier = {id(each) for each in recording.kept} if (recording := _recording(session)) else set[int]()
    runtime.set_mode("record")
    try:
        for number in cells:
            with as_cell(number):
                result = shell.run_cell(sources[number], store_history=False)
            result.raise_error()
    finally:
        runtime.set_mode(before)
    recording = _recording(session)
    new = [] if recording is None else [each for each in recording.kept if id(each) not in earlier]
    file.write(renumbered([*(each for each in old if each.cell not in cells), *new]))
    runtime.rewind()
    return len(new)
