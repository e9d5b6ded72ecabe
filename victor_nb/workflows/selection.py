"""The selection of a stage: items read from its answers, kept or dropped, and whether the strategy may end."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from victor_nb.config.strategies import ranked
from victor_nb.errors import BudgetError, ConfigError, MalformedAnswerError, VictorError
from victor_nb.values import Reply
from victor_nb.workflows.checks import accepted
from victor_nb.workflows.lists import key, parse, spoken, vote
from victor_nb.workflows.ranking import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from victor_nb.config.strategies import Choice, Stage
    from victor_nb.workflows.progress import Work


def conclude(work: Work, earlier: Sequence[Work]) -> None:
    """Read the answers of a stage, select from them, and judge whether they are accepted.

    Raises:
        VictorError: There is no answer: the error of the first sample, BudgetError if all of them were refused.
    """
    stage, replies = work.stage, _answers(work)
    if stage.select == "rank":
        shown = _shown(stage, earlier)
        chosen = choose([spoken(reply.content) for reply in replies], shown, stage.wanted or len(shown))
        work.items, work.kept = shown, tuple(shown[place] for place in chosen.order)
        work.notes += chosen.notes
        best = 0
    else:
        found = _read(work, replies)
        work.items = tuple(item for item, _ in found)
        work.kept = _selected(work)
        best = next((origin for item, origin in found if item in work.kept[:1]), 0)
    if stage.accept is not None:
        best = _judge(work, replies, best)
    work.dropped = _dropped(work)
    work.notes += _warnings(replies)


def _answers(work: Work) -> list[Reply]:
    """Return the replies that have text; failed samples are noted.

    Raises:
        VictorError: There is none.
    """
    replies = [lane.outcome for lane in work.lanes if isinstance(lane.outcome, Reply)]
    errors = [lane.outcome for lane in work.lanes if isinstance(lane.outcome, VictorError)]
    if not replies:
        raise next((error for error in errors if not isinstance(error, BudgetError)), errors[0])
    if errors:
        work.notes.append(f"{len(errors)} of {len(work.lanes)} samples failed: {errors[0]}")
    spoke = [reply for reply in replies if reply.content.strip()]
    if not spoke:
        first = replies[0]
        raise MalformedAnswerError(
            f"{work.stage.name}: {first.profile} gave an answer without any text ({first.finish_reason}). "
            "Raise max_tokens, or ask another profile.",
            profile=first.profile,
            provider=first.provider,
            model=first.model,
        )
    return spoke


def _shown(stage: Stage, earlier: Sequence[Work]) -> tuple[str, ...]:
    source = ranked(stage, [work.stage.name for work in earlier])
    return next((work.kept for work in earlier if work.stage.name == source), ())


def _read(work: Work, replies: Sequence[Reply]) -> list[tuple[str, int]]:
    """Return the items of all answers, each with the number of its answer; duplicates count once, except as votes."""
    stage = work.stage
    items: list[tuple[str, int]] = []
    notes: dict[str, None] = {}
    seen: set[str] = set()
    twice = 0
    for origin, reply in enumerate(replies):
        found = parse(reply.content, stage.parse, hint=stage.keep)
        notes |= dict.fromkeys(found.notes)
        for item in found.items:
            if stage.select != "vote" and key(item) in seen:
                twice += 1
                continue
            seen.add(key(item))
            items.append((item, origin))
    work.notes += [*notes, *([f"{twice} given twice, counted once"] if twice else [])]
    return items


def _selected(work: Work) -> tuple[str, ...]:
    stage, items = work.stage, work.items
    if stage.select == "vote":
        counted = vote(items)
        work.notes.append(f"{counted[0][1]} of {len(items)} agree")
        return tuple(answer for answer, _ in counted[: stage.wanted])
    if callable(stage.select):
        return _by_function(stage.select, items)[: stage.wanted]
    if stage.keep is not None and len(items) != stage.keep:
        more = f"; the first {stage.keep} are kept" if len(items) > stage.keep else ""
        work.notes.append(f"{len(items)} items where {stage.keep} were asked for{more}")
    return items[: stage.wanted]


def _by_function(select: Callable[[tuple[str, ...]], Choice], items: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the user's function keeps.

    Raises:
        ConfigError: It returns neither texts nor positions.
    """
    chosen: object = select(items)
    listed = [chosen] if isinstance(chosen, (str, int)) else list(cast("Iterable[object]", chosen))
    kept: list[str] = []
    for each in listed:
        if isinstance(each, str):
            kept.append(each)
        elif isinstance(each, int) and -len(items) <= each < len(items):
            kept.append(items[each])
        else:
            raise ConfigError(
                f"The function gave {each!r}. Let it return texts, or positions from 0 to {len(items) - 1}."
            )
    return tuple(dict.fromkeys(kept)) or items[:1]


def _judge(work: Work, replies: Sequence[Reply], best: int) -> int:
    """Note whether the stage is accepted; where samples agree, what they agree on is what is kept."""
    rule = work.stage.accept
    yes = accepted(rule, replies, best) if rule is not None else best
    work.accepted = yes is not None
    if yes is None:
        work.notes.append("not accepted")
        return best
    if yes != best:
        work.kept = parse(replies[yes].content, work.stage.parse).items[:1]
    return yes


def _dropped(work: Work) -> tuple[str, ...]:
    kept = {key(item) for item in work.kept}
    lost = {key(item): item for item in reversed(work.items) if key(item) not in kept}
    return tuple(reversed(lost.values()))


def _warnings(replies: Sequence[Reply]) -> list[str]:
    cut = sum(reply.finish_reason == "length" for reply in replies)
    partial = sum(reply.status == "partial" for reply in replies)
    found = [f"{cut} cut off at max_tokens"] if cut else []
    return [*found, f"{partial} ended without a finish reason"] if partial else found
