"""Paragraphs: explanations, comparisons, advice and short literary forms, about the prompt's own subject."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.writing.brief import NUMBER, number, one_line
from victor_nb.wire.writing.subjects import capitalised, without_form

if TYPE_CHECKING:
    from victor_nb.wire.pace import Size
    from victor_nb.wire.writing.brief import Brief

# First sentences, by what is asked. {s} is the subject, {S} the same at the start of a sentence, {q} the question.
_OPENINGS: Final = {
    r"^\W*(?:what (?!is\b|are\b)|why|should|is|are|can|does|do|did|will|would|could|when|where|who|which)\b": (
        "A fair answer to “{q}” starts with what can be checked.",
        "“{q}” has a short answer and a longer one, and they differ in the exceptions.",
        "Two things decide “{q}”: what you want to happen, and what it may cost.",
    ),
    r"^\W*how\b": (
        "The reliable way into “{q}” is to begin with one small case and follow it to the end.",
        "“{q}” is best answered with an example that you can change yourself.",
        "Start from the result that you want, and “{q}” becomes a list of small steps.",
    ),
    r"": (
        "The easiest way to understand {s} is to look at the problem behind it.",
        "{S}: the idea fits in a sentence, and the details matter mostly at the edges.",
        "It helps to separate what is always true of {s} from what depends on the situation.",
        "Most of what is worth knowing about {s} follows from a single idea.",
    ),
}
_MIDDLES: Final = (
    "Begin with a concrete case, name what goes in and what should come out, and the other questions get smaller.",
    "In practice the choice is between doing it simply now and doing it completely later, and simple usually wins.",
    "What is said about “{a}” tends to be understood quickly; “{b}” is where people lose time.",
    "A good test is whether you could explain {s} to a colleague without drawing a picture.",
    "Look first at “{a}”, because everything else builds on it, and come back to “{b}” once the basics hold.",
    "What works in a small example also works in a large one, as long as the limits are written down.",
    "People mean different things by “{a}”, so it pays to agree on one meaning before comparing results.",
    "The common mistake is to polish the easy half and leave the rest for the end.",
    "If you measure one thing, measure how often the result surprises you.",
    "Start from what would change your mind, and look for that first.",
    "A single worked example settles more than a page of definitions.",
    "The details matter less than the order in which they are met.",
    "Ask what happens at zero, at one and at a great many: the interesting cases live there.",
    "Most disagreements about {s} are about words, and end once an example is on the table.",
    "It is cheaper to find out early that a plan is wrong than to be right late.",
    "Write down what is assumed; half of it will turn out to be a choice.",
    "The first number is a guess, the second one a hint, and the third is worth acting on.",
    "There is usually one constraint that decides; the rest is preference.",
)
_CAVEATS: Final = (
    "None of this replaces a look at your own situation: the numbers differ, the order of the steps rarely does.",
    "The exceptions are worth keeping in a short list, because they return.",
    "Where the stakes are high, check it with a second source before you act on it.",
    "When in doubt, prefer the version that is easy to undo.",
    "There are cases in which the opposite holds, most of them with unusually little time or unusually much data.",
)
_CLOSINGS: Final = (
    "A sensible next step is to try it on one real example and write down what did not fit.",
    "Once that works, the remaining questions about {s} can be taken one at a time.",
    "Keep the first version small, and let what you learn from it decide about the second.",
    "With that in place, most of what is left is practice.",
)
_COMPARED: Final = (
    "{x} and {y} answer the same need from different ends.",
    "Choose {x} where things are still changing and a mistake is cheap.",
    "Choose {y} once the shape is settled and consistency matters more than speed.",
    "The difference shows at the edges: with {x} you decide late, with {y} you decide early.",
    "If both would do, take what the people around you already know.",
    "Moving from {x} to {y} later is work, but it is the kind that can be planned.",
)
_NOTHING: Final = "There is no question yet. Say what you are working on and what a good answer would let you do."
_PAIR: Final = re.compile(
    r"(?:between\s+(?P<x1>[^,.?]{1,40}?)\s+and\s+(?P<y1>[^,.?\n]{1,40})|compare\s+(?P<x2>[^,.?]{1,40}?)\s+"
    r"(?:and|to|with)\s+(?P<y2>[^,.?\n]{1,40})|(?<![\w+#.-])(?P<x3>(?!compare\b)[\w+#.-]+(?:\s[\w+#.-]+)?)\s+(?:vs\.?|versus)\s+(?P<y3>[^,.?\n]{1,40}))",
    re.IGNORECASE,
)
_PARAGRAPHS: Final[dict[Size, tuple[int, ...]]] = {"small": (3, 2), "medium": (3, 3, 2), "large": (4, 4, 3)}
_LONG_QUESTION: Final = 100
_ONE_WORD: Final = 2


def write_prose(brief: Brief) -> str:
    """Return two or three paragraphs, or as many sentences, words or paragraphs as were asked for."""
    if not brief.prompt.strip():
        return _NOTHING
    sentences = _sentences(brief)
    asked = brief.count("sentences?|lines?")
    if asked:
        return " ".join(_cycle(sentences, asked))
    most = re.search(rf"\b({NUMBER})[- ]words?\b", brief.task, re.IGNORECASE)
    if most:
        return _within(sentences, number(most[1]))
    paragraphs = brief.count("paragraphs?")
    shape = (4,) * min(paragraphs, 20) if paragraphs else _PARAGRAPHS[brief.size]
    return "\n\n".join(_broken(_cycle(sentences, sum(shape)), shape))


def first_sentence(brief: Brief) -> str:
    """Return one sentence about the subject."""
    return _sentences(brief)[0]


def _sentences(brief: Brief) -> list[str]:
    """Return a dozen sentences in an order that reads."""
    words = [word for word in brief.keywords if word.lower() not in ("something", "question")]
    fields = {
        "s": "it" if _quoted(brief) else brief.subject,
        "S": capitalised(brief.subject),
        "q": _question(brief),
        "a": words[0] if words else "the main part",
        "b": words[1] if len(words) > 1 else "the details",
    }
    pair = _PAIR.search(brief.task)
    if pair:
        sides = (pair[f"{side}1"] or pair[f"{side}2"] or pair[f"{side}3"] for side in "xy")
        x, y = (one_line(without_form(side)) for side in sides)
        start = [line.format(x=x, y=y) for line in _COMPARED]
        start = [capitalised(line) for line in start]
    else:
        start = [_opening(brief, fields)]
    middles = brief.chance.shuffled(_MIDDLES, "middle")
    rest = [*middles[:6], brief.chance.pick(_CAVEATS, "caveat"), brief.chance.pick(_CLOSINGS, "closing"), *middles[6:]]
    return [*start, *(capitalised(line.format(**fields)) for line in rest)]


def _opening(brief: Brief, fields: dict[str, str]) -> str:
    kind = _quoted(brief) or ""
    return brief.chance.pick(_OPENINGS[kind], "opening").format(**fields)


def _question(brief: Brief) -> str:
    return one_line(brief.task.rpartition("\n")[2]).rstrip("?.! ")


def _quoted(brief: Brief) -> str | None:
    """Return the kind of a question that is short enough to be quoted."""
    question = _question(brief)
    found = next(kind for kind in _OPENINGS if re.search(kind, question, re.IGNORECASE))
    asks = "?" in brief.task or re.match(r"\W*(?:how|why)\b", question, re.IGNORECASE)
    return found if found and asks and 0 < len(question) <= _LONG_QUESTION else None


def _cycle(sentences: list[str], wanted: int) -> list[str]:
    return [sentences[place % len(sentences)] for place in range(min(wanted, 200))]


def _broken(sentences: list[str], shape: tuple[int, ...]) -> list[str]:
    starts = [sum(shape[:place]) for place in range(len(shape))]
    return [" ".join(sentences[start : start + size]) for start, size in zip(starts, shape, strict=True)]


def _within(sentences: list[str], words: int) -> str:
    """Return as many sentences as fit into a number of words, and at least so many words of the first."""
    kept: list[str] = []
    for sentence in _cycle(sentences, 200):
        if sum(len(line.split()) for line in (*kept, sentence)) > words:
            break
        kept.append(sentence)
    few = "Depends." if words <= _ONE_WORD else " ".join(sentences[0].split()[:words]).rstrip(",;:.") + "."
    return " ".join(kept) or few
