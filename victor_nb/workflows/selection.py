"""The selection of a stage: items read from its answers, kept or dropped, and whether the strategy may end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from victor_nb.calls.structured import spoken, thinks
from victor_nb.config.strategies import ranked
from victor_nb.errors import BudgetError, ConfigError, MalformedAnswerError, VictorError
from victor_nb.values import Reply
from victor_nb.workflows.checks import accepted, agreement_of
from victor_nb.workflows.lists import key, parse, refuses, vote
from victor_nb.workflows.ranking import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from victor_nb.config.strategies import Choice, Stage
    from victor_nb.workflows.progress import Work


UNCHECKED: Final = (
    "no check but agreement: it accepts short answers that are the same, also where both are wrong, and never prose or "
    "code of two wordings; accept= takes a check"
)
_IDEAS: Final = ("item", "list")
_ECHO: Final = 5  # words: a shorter text may stand in a prompt by chance


def conclude(work: Work, earlier: Sequence[Work], task: str) -> None:
    """Read the answers of a stage, select from them, and judge whether they are accepted.

    Raises:
        VictorError: There is no answer: the error of the first sample, BudgetError if all of them were refused.
    """
    stage, replies = work.stage, _answers(work, task)
    best = 0
    source = source_of(stage, earlier)
    if stage.select == "rank":
        shown, numbers = (source.kept, source.carried) if source else ((), ())
        texts = {sample: reply.content for sample, reply in replies.items()}
        chosen = choose(texts, shown, stage.wanted or len(shown), numbers)
        work.items, work.kept = shown, tuple(shown[place] for place in chosen.order)
        work.notes += chosen.notes
    else:
        samples = _read(work, replies)
        work.kept = _selected(work)
        best = next((origin for item, origin in zip(work.items, samples, strict=True) if item in work.kept[:1]), 0)
    if stage.accept is not None:
        best = _judge(work, [*replies.values()], best, earlier, task)
    work.dropped = _dropped(work)
    work.notes += _warnings([*replies.values()])


def source_of(stage: Stage, earlier: Sequence[Work]) -> Work | None:
    """Return the stage whose items a stage ranks; None where it ranks none."""
    source = ranked(stage, [work.stage.name for work in earlier]) if stage.select == "rank" else None
    return next((work for work in earlier if work.stage.name == source), None)


def _answers(work: Work, task: str) -> dict[int, Reply]:
    """Return the replies that have text, by sample; failed ones, and of ideas and votes what is none, are noted.

    Raises:
        VictorError: There is none.
    """
    stage = work.stage
    replies = {lane.sample: lane.outcome for lane in work.lanes if isinstance(lane.outcome, Reply)}
    errors = [lane.outcome for lane in work.lanes if isinstance(lane.outcome, VictorError)]
    if not replies:
        raise next((error for error in errors if not isinstance(error, BudgetError)), errors[0])
    if errors:
        work.notes.append(f"{len(errors)} of {len(work.lanes)} samples failed: {errors[0]}")
    spoke = {sample: reply for sample, reply in replies.items() if reply.content.strip()}
    ideas = spoke
    if stage.parse in _IDEAS or stage.select == "vote":
        ideas = {sample: reply for sample, reply in spoke.items() if not _is_empty(reply, work.prompts[sample], task)}
    if ideas or (spoke and stage.select == "vote"):
        if lost := [reply for sample, reply in spoke.items() if sample not in ideas]:
            begins = " ".join(lost[0].content.split())[:60]
            work.notes.append(f"{len(lost)} refusals or echoes of the prompt are left out, such as {begins!r}")
        return ideas or spoke
    first = next(iter(replies.values()))
    what = "nothing but a refusal or the prompt again" if spoke else "an answer without any text"
    raise MalformedAnswerError(
        f"{stage.name}: {first.profile} gave {what} ({first.finish_reason}). "
        f"{'Reword the task' if spoke else 'Raise max_tokens'}, or ask another profile.",
        profile=first.profile,
        provider=first.provider,
        model=first.model,
    )


def _is_empty(reply: Reply, prompt: str, task: str) -> bool:
    """Return whether an answer is a refusal, or repeats the prompt; a quotation from the task is neither."""
    said, asked = key(_own_words(reply.content, prompt)), key(task)
    echo = len(said.split()) >= _ECHO and said in key(prompt) and (said == asked or said not in asked)
    no_answer = reply.finish_reason == "content_filter" or refuses(reply.content) or thinks(reply.content)
    return no_answer or echo or not said


def _own_words(text: str, prompt: str) -> str:
    """Return an answer without the prompt, which small models repeat before they answer."""
    said = spoken(text)
    return said.strip().removeprefix(prompt.strip()) if len(prompt.split()) >= _ECHO else said


def _read(work: Work, replies: Mapping[int, Reply]) -> list[int]:
    """Set the items of all answers; duplicates count once, except as votes.

    Returns:
        The place of the answer that each item comes from.
    """
    stage = work.stage
    items: dict[str, tuple[str, int, int]] = {}
    notes: dict[str, None] = {}
    twice = 0
    several = False
    for origin, (sample, reply) in enumerate(replies.items()):
        said = _own_words(reply.content, work.prompts[sample]) if stage.parse in _IDEAS else reply.content
        found = parse(said, stage.parse, hint=stage.keep)
        notes |= dict.fromkeys(found.notes)
        several |= len(found.items) > 1
        for item in found.items:
            name = f"{origin} {item}" if stage.select == "vote" else key(item)
            twice += name in items
            items.setdefault(name, (item, origin, sample + 1))
    work.notes += [*notes, *([f"{twice} given twice, counted once"] if twice else [])]
    work.items = tuple(item for item, _, _ in items.values())
    work.numbers = () if several or stage.n == 1 else tuple(number for _, _, number in items.values())
    return [origin for _, origin, _ in items.values()]


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


def _judge(work: Work, replies: Sequence[Reply], best: int, earlier: Sequence[Work], task: str) -> int:
    """Note whether the stage is accepted; where samples agree, what they agree on is what is kept."""
    rule = work.stage.accept
    agreement = agreement_of(rule)
    if agreement is not None and agreement.across:
        # The answer of this stage stands for those of the others that it agrees with.
        others = [reply for each in earlier for reply in each.replies]
        yes = best if accepted(agreement, [*others, replies[best]], best, task=task) is not None else None
    else:
        yes = accepted(rule, replies, best, task=task) if rule is not None else best
    work.accepted = yes is not None
    if isinstance(rule, int):
        work.notes.append(UNCHECKED)
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
