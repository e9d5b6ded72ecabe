"""Finds the words of a prompt that say what it is about."""

from __future__ import annotations

import re
from collections import Counter
from itertools import takewhile
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['’.+#/-][^\W_]+)*\+{0,2}#?")
# Words that ask, and words that measure the answer: they are about the prompt, not about its subject.
_ASKING: Final = frozenset(
    """
    a about above add an analyse analyze and answer any anything approach approaches are as ask based be below best
    better bit brainstorm brief briefly build bullet bullets but by can categorise categorize check choose classify
    clear code come compare complete concise consider could create creative critique define describe detail detailed
    details develop did different discuss do does draft each easy effective eight either elaborate else evaluate every
    everything exactly example examples execute explain explore express few find first five following for four from
    function generate get give good great has have help here how i idea ideas if implement implementation improve in
    interesting into is it its just keep key kind kinds lengthy let like line list long main make many markdown me
    might mode more most my name names need new nine no not number numbered of on one only option options or our
    outline output outputs paragraph paragraphs perform phrase pick plan please plus points polish possible practical
    prepare produce program propose prototype provide queries query question questions rank reason reasons recommend
    refactor refine reply research respond return returns review rewrite run say script select sentence sentences
    seven short should show simple simply six sketch some something step steps structure such suggest suggestions
    summarise summarize summary table task tell ten test tests text than that the their them then there these they
    think this those three tips to top translate two under unit up us use useful using usually very want was way ways
    we well were what when where whether which who whose why will with within word words work would write writes wrote
    you your
    """.split()
)
# Words that may stand inside a subject, but neither begin nor end it.
_LINKS: Final = frozenset(("a", "an", "and", "as", "at", "between", "by", "for", "from", "in", "of", "on", "or", "the"))
_MORE_LINKS: Final = _LINKS | {"to", "versus", "vs", "with", "that", "is", "are"}
_ENDS: Final = frozenset(("because", "per", "so", "that", "using", "which", "while", "who"))
# How the answer is wanted: no part of the subject.
_FORM: Final = re.compile(
    r"\b(?:as|in|into|using|with|within|under)\s+"
    r"(?:(?:a|an|the|exactly|only|about|at most|fewer than|up to|no more than)\s+)*"
    r"(?:\d+|one|two|three|four|five|json|markdown|python|typescript|javascript|rust|golang|go|java|sql|bash|ruby|yaml|"
    r"html|csv|c\+\+|c#|bullets?|table|single|simple|short|few|plain|detail|brief)\b.*|"
    r"\b(?:to|for)\s+(?:an?\s+|my\s+|the\s+)?(?:beginners?|child|children|curious|kids?|laypeople|novices?|five)\b.*",
    re.IGNORECASE | re.DOTALL,
)
# After these words a verb begins the subject: `ways to save money` is about saving money.
_TO_DO: Final = re.compile(
    r"(?:\b(?:how|plan|steps|things|tips|tools?|trying|want|ways?|ideas?|strateg(?:y|ies))\s+to|\b(?:function|method|program|query|script)\s+to|"
    r"^\W*how\s+(?:do|can|could|should|would|might)\s+(?:i|we|you|one|people|teams))\s+$",
    re.IGNORECASE,
)
# Sentences that tell who is asked, not what.
_ROLE: Final = re.compile(r"^\W*(?:act as|be|imagine|pretend|you are|you're|your (?:job|role|task))\b", re.IGNORECASE)
_DOES_THAT: Final = re.compile(r"\b(?:function|method|program|query|script|tool)\s+(?:that|which)\s+$", re.IGNORECASE)
# The thing that is to be written; its subject stands behind it.
_WORK: Final = re.compile(
    r"^.{0,60}?\b(?:article|blog post|class|email|essay|function|guide|haiku|ideas?|intro|introduction|joke|letter|"
    r"limerick|method|names?|overview|paragraph|poem|post|program|pros and cons|query|script|slogans?|song|story|"
    r"summary|taglines?|tips|titles?|tweet)"
    r"\s+(?:about|called|for|from|into|named|of|on|regarding|that|to|which|with)\s+",
    re.IGNORECASE | re.DOTALL,
)
# Verbs of asking that are nouns elsewhere, and nouns of asking that may stand after the subject.
_STARTS: Final = frozenset(("design", "draw", "getting", "look", "started", "test"))
_AFTER: Final = frozenset(("example", "examples", "idea", "ideas", "name", "names", "option", "options", "suggestions"))
# What stands before a subject and belongs to it, as the one who answers says it.
_ARTICLES: Final = {"a": "a ", "an": "an ", "the": "the ", "my": "your ", "our": "your ", "your": "your "}
_SHORT_VERB: Final = re.compile(r"^[^aeiou]*[aeiou][bdgmnprt]$")
_MOST_WORDS: Final = 7
_LONGEST_WORD: Final = 30
_LONGEST: Final = 60
_FEW: Final = 8


def subject(text: str) -> str:
    """Return the phrase that a text is about, in its own words; "" where it has none."""
    sentences = re.split(r"[\n\r.!?:;]+(?:\s|$)", text)
    for sentence in [sentence for sentence in sentences if not _ROLE.match(sentence)][:6]:
        found = _phrase(_FORM.sub("", sentence)) or _phrase(sentence)
        if found:
            return found
    return ""


def without_form(text: str) -> str:
    """Return a phrase without what it says about the answer's form: `tuples in Python` is about tuples."""
    return _FORM.sub("", text).strip() or text


def keywords(text: str) -> tuple[str, ...]:
    """Return up to eight words that carry a text, most frequent first."""
    words = [word for word in words_of(text) if is_content(word) and len(word) <= _LONGEST_WORD]
    seen = {word.lower(): word for word in reversed(words)}
    return tuple(seen[word] for word, _ in Counter(word.lower() for word in words).most_common(_FEW))


def words_of(text: str) -> list[str]:
    """Return the words of a text, without signs."""
    return _WORD.findall(text)


def is_content(word: str) -> bool:
    """Say whether a word may be a subject."""
    return word.lower() not in _ASKING and word.lower() not in _MORE_LINKS and not word.isdecimal()


def capitalised(phrase: str) -> str:
    """Return a phrase as it begins a sentence."""
    return phrase[:1].upper() + phrase[1:]


def _phrase(sentence: str) -> str:
    """Return the run of words from the first word of content to the end of the thought."""
    work = _WORK.match(sentence)
    rest = sentence[work.end() :] if work else sentence
    for text in (re.split(r",\s|\s[-–—]\s|[(\"“]", rest.strip(' ("“'))[0], rest, sentence):
        words = list(_WORD.finditer(text))
        start = next((place for place, word in enumerate(words) if _may_start(word)), None)
        if start is not None:
            before = sentence[: work.end()] if work and not start else text[: words[start].start()]
            run = [word[0][:_LONGEST_WORD] for word in words[start:]]
            if _DOES_THAT.search(before) and run[0].endswith("s"):
                run[0] = _doing(_base(run[0]))
            elif _TO_DO.search(before):
                run[0] = _doing(run[0])
            run = _run(run)
            return f"{_ARTICLES[words[start - 1][0].lower()]}{run}" if _has_article(words, start) else run
    return ""


def _has_article(words: list[re.Match[str]], start: int) -> bool:
    return start > 0 and words[start - 1][0].lower() in _ARTICLES


def _may_start(word: re.Match[str]) -> bool:
    return is_content(word[0]) and not (word[0].lower() in _STARTS and not word.start())


def _run(words: list[str]) -> str:
    run = [words[0], *takewhile(lambda word: word.lower() not in _ENDS, words[1:])][:_MOST_WORDS]
    while len(run) > 1 and run[-1].lower() in _MORE_LINKS | _AFTER:
        run.pop()
    return " ".join(run)[:_LONGEST].strip()


def _base(verb: str) -> str:
    """Return the verb of its third person: `checks` is `check`."""
    if verb.endswith("ies"):
        return f"{verb[:-3]}y"
    return verb[:-2] if verb.endswith(("ches", "shes", "sses", "xes")) else verb[:-1]


def _doing(verb: str) -> str:
    """Return the form of an English verb that can be a subject: `save` is `saving`."""
    if not verb.isascii() or verb.endswith("ing"):
        return verb
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return f"{verb[:-1]}ing"
    return f"{verb}{verb[-1]}ing" if _SHORT_VERB.match(verb.lower()) else f"{verb}ing"
