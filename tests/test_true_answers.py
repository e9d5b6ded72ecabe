"""What real answers say: each with what must be read in it, or that nothing can be."""

from __future__ import annotations

import pytest

from victor_nb.workflows.judge import read_scores
from victor_nb.workflows.lists import FREE, parse
from victor_nb.workflows.ranking import rank

IDEAS = ("The photo sorter", "Cache: what was asked before", "CLI wizard", "Backup tool", "Undo")
NUMBERS = (3, 1, 5, 2, 4)
"""In the order in which they are shown, and the number that each carries."""

RANKINGS = {
    # JSON, as it is asked for
    '{"ranking": [4, 1, 2]}': [4, 1, 2],
    '```json\n{"ranking": [4, 1, 2]}\n```': [4, 1, 2],
    'Sure! {"ranking": [4, 1, 2]} is my choice.': [4, 1, 2],
    '{"ranking": ["4", "Idea 1", "Backup tool"]}': [4, 1, 2],
    "{'ranking': [4, 1, 2,]}": [4, 1, 2],
    '{"ranking": [9, 4, 1]}': [4, 1],
    'Draft: {"ranking": [1, 2, 3]}\n\nOn second thoughts: {"ranking": [4, 1, 2]}': [4, 1, 2],
    '```json\n{"ranking": [1, 2, 3]}\n```\nFinal:\n```json\n{"ranking": [4, 1, 2]}\n```': [4, 1, 2],
    '{"ranking": [4, 1, 2]} (idea [3] is too loud)': [4, 1, 2],
    '{"ranking": [4, 1': [],
    '{"ranking": [4, 1, 2], "why": "because it': [],
    '{"scores": [{"idea": 4, "score": 7}, {"idea": 1, "score": "9/10"}]}': [1, 4],
    '{"scores": {"4": 7, "1": 9, "2": 3}}': [],
    '{"scores": [7, 9, 7, 3, 8]}': [],
    "[7, 9, 7, 3, 8]": [],
    # thoughts
    "<think>Maybe 5, 3, 2?</think>\n4, 1, 2": [4, 1, 2],
    "Maybe 5, 3, 2? No.\n</think>\n\n4, 1, 2": [4, 1, 2],
    "5, 3, 2</think>4, 1, 2": [4, 1, 2],
    "<think>Best: 5, 3, 2. Or rather": [],
    # rows and lists
    "4, 1, 2": [4, 1, 2],
    "**Ranking:** 4 > 1 > 2": [4, 1, 2],
    "Draft ranking: 1, 2, 3\nFinal ranking: 4, 1, 2": [4, 1, 2],
    "1. 4\n2. 1\n3. 2": [4, 1, 2],
    "1: 4\n2: 1\n3: 2": [4, 1, 2],
    "1) #4\n2) #1\n3) #2": [4, 1, 2],
    "1. Undo\n2. Cache\n3. Backup tool": [4, 1, 2],
    "1. **Undo** - safe\n2. **The cache** - quick": [4, 1],
    "1. Photo sorter\n2. A CLI wizard": [3, 5],
    "Idea 4: safe\nIdea 1: quick": [4, 1],
    "4. safe\n1. quick\n2. useful": [4, 1, 2],
    "From worst to best: 2, 1, 4": [4, 1, 2],
    "1. It is safe.\n2. It is quick.\n3. It is useful.": [],
    "一、4号\n二、1号": [4, 1],
    "排名\uff1a4、1、2": [4, 1, 2],
    "Idea 3 of 5: The photo sorter\nIdea 1 of 5: Cache": [3, 1],
    # scores
    "Idea 3: 7/10\nIdea 1: 9/10\nIdea 5: 4/10": [1, 3, 5],
    "Idea 4: 9/10": [4],
    "- Photo sorter: score 7\n- Cache: score 9": [1, 3],
    "1. Idea 3 (7/10)\n2. Idea 1 (9/10)": [1, 3],
    "Scores: 3: 7, 1: 9, 5: 4": [],
    "Scores: 7, 9, 7, 3, 8": [],
    # tables and tags
    "| Rank | Idea | Why |\n|---|---|---|\n| 1 | 4 | safe |\n| 2 | 1 | quick |": [4, 1],
    "| Idea | Score |\n|---|---:|\n| 3 | 7 |\n| 1 | 9/10 |": [1, 3],
    "Rank | Idea\n--- | ---\n1 | **Undo**\n2 | Cache": [4, 1],
    "<ranking>4, 1, 2</ranking>": [4, 1, 2],
    "<reasoning>3 is loud, 5 is dear</reasoning>\n<ranking>4, 1, 2</ranking>": [4, 1, 2],
    '<ranking><idea id="4">safe</idea><idea id="1">quick</idea></ranking>': [4, 1],
    "<ol><li>Undo</li><li>Cache</li></ol>": [4, 1],
    # prose
    "Not 2": [],
    "Not 2 but 3": [3],
    "Not idea 2. Idea 3.": [3],
    "Idea 2 is too loud. The best is idea 3": [3],
    "Idea 2 is too loud.": [],
    "2 is not the best; the best is 3.": [3],
    "Anything except idea 2.": [],
    "I prefer idea 3 over idea 2.": [3],
    "Idea 3 is better than idea 2.": [3],
    "Idea 1 is good, idea 2 is better, idea 3 is best.": [3],
    "Of ideas 1, 2 and 3, the best is 3.": [3],
    "The wizard is neat, but I choose the photo sorter.": [3],
    "The photo sorter is simple. The cache is quick. The CLI wizard is neat.": [],
    "I would take idea 4 first, then #1.": [4, 1],
    "I choose 4 because it takes 2 days and saves 30%.": [4],
    "Undo is the best, then the cache, then the backup tool.": [4, 1, 2],
    "I'm sorry, but I can't rank these 5 ideas.": [],
    "They are all lovely.": [],
    # other ways to say it; what is not clear is not read
    "4": [4],
    "Idea 4": [4],
    "**4**": [4],
    "#4": [4],
    "4.": [4],
    "The best is 4.": [4],
    "Best: idea 4": [4],
    "My ranking: 4, 1, 2": [4, 1, 2],
    "I'd rank them as follows: 4, 1, 2.": [4, 1, 2],
    "Here is my ranking:\n\n1. Idea 4\n2. Idea 1\n3. Idea 2": [4, 1, 2],
    "Here is my ranking:\n\n1. **Idea 4: Undo** - It is safe.\n2. **Idea 1: Cache** - Quick.\n3. **Idea 2** - ok": [
        4,
        1,
        2,
    ],
    "Rank 1: Idea 4\nRank 2: Idea 1\nRank 3: Idea 2": [4, 1, 2],
    "First: 4\nSecond: 1\nThird: 2": [4, 1, 2],
    "1st: Idea 4\n2nd: Idea 1\n3rd: Idea 2": [],
    "1st place: 4, 2nd place: 1, 3rd place: 2": [],
    "#1: Idea 4\n#2: Idea 1\n#3: Idea 2": [4, 1, 2],
    "🥇 Idea 4\n🥈 Idea 1\n🥉 Idea 2": [],
    "1. 4\n2. 1\n3. 7": [4, 1],
    "1) 4\n2) 1": [4, 1],
    "1 - 4\n2 - 1": [4, 1],
    "1.4\n2.1\n3.2": [],
    "Idea 4 > Idea 1 > Idea 2": [4, 1, 2],
    "4 → 1 → 2": [4, 1, 2],
    "Ideas: 4, 1, 2": [4, 1, 2],
    "[4, 1, 2]": [4, 1, 2],
    "(4, 1, 2)": [4, 1, 2],
    "4,1,2": [4, 1, 2],
    "4 1 2": [4, 1, 2],
    "4; 1; 2": [4, 1, 2],
    "4 and 1": [4, 1],
    "4, 1, and 2": [4, 1, 2],
    "4, 1, 2\n\nReasons:\n- 4: safe\n- 1: quick\n- 2: useful": [4, 1, 2],
    "Reasons: 3 is loud.\n\nFinal answer: 4, 1, 2": [4, 1, 2],
    "Idea 3 is loud. Idea 5 is dear. Idea 2 is dull.": [],
    "Considering ideas 3 and 5, I find both loud. I recommend idea 4.": [4],
    "Idea 4 is my favourite, followed by idea 1 and idea 2.": [4, 1, 2],
    "While idea 3 is good, idea 4 is the best.": [4],
    "Although idea 3 is the most original, idea 4 wins.": [4],
    "Idea 4 beats idea 3.": [],
    "I would not choose idea 3. I would choose idea 4.": [4],
    "Neither 3 nor 5. 4 is best.": [4],
    "Don't pick 3; pick 4.": [4],
    "Rather than idea 3, go with idea 4.": [4],
    "Instead of 3, choose 4": [4],
    "4 instead of 3": [4],
    "4, not 3": [4],
    "4 (not 3)": [4],
    "Idea 3? No. Idea 4.": [4],
    "All except 3: 4, 1, 2": [],
    "The worst is 3. The best is 4.": [4],
    "Worst: 3\nBest: 4": [4],
    "Best: 4\nWorst: 3": [4],
    "Top 3:\n4\n1\n2": [4, 1, 2],
    "Top 3 ideas: 4, 1, 2": [4, 1, 2],
    "The top 3 are 4, 1 and 2.": [4, 1, 2],
    "The 3 best ideas are 4, 1 and 2.": [4, 1, 2],
    "I pick 3 ideas: 4, 1, 2": [4, 1, 2],
    "Out of 5 ideas, 4 is the best.": [4],
    "Score of 3: 7\nScore of 1: 9": [],
    "3: 7/10\n1: 9/10\n5: 4/10": [1, 3, 5],
    "3 - 7 points\n1 - 9 points": [1, 3],
    "| Idea | Originality | Total |\n|--|--|--|\n| 3 | 5 | 7 |\n| 1 | 6 | 9 |": [1, 3],
    "| Idea | Originality | Use |\n|--|--|--|\n| 3 | 5 | 7 |\n| 1 | 6 | 9 |": [],
    "| 4 | safe |\n| 1 | quick |": [],
    "Idea 3 (score: 7), Idea 1 (score: 9)": [1, 3],
    '{"best": 4, "second": 1}': [4, 1],
    '{"ranking": [{"id": 4, "why": "x"}, {"id": 1}]}': [4, 1],
    '{"ranking": "4, 1, 2"}': [4, 1, 2],
    '{"ranking": {"1": 4, "2": 1, "3": 2}}': [],
    '{"1": 4, "2": 1, "3": 2}': [],
    '{"1": "Undo", "2": "Cache"}': [4, 1],
    '{"rank_1": 4, "rank_2": 1}': [4, 1],
    '{"ideas": [{"idea": 3, "score": 7}, {"idea": 1, "score": 9}]}': [1, 3],
    '{"reasoning": "3 is loud", "ranking": [4, 1]}': [4, 1],
    '{"rejected": [3, 5], "ranking": [4, 1]}': [4, 1],
    "ranking: [4, 1, 2]": [4, 1, 2],
    "ranking = [4, 1, 2]": [4, 1, 2],
    '"ranking": [4, 1, 2]': [4, 1, 2],
    "```\n4, 1, 2\n```": [4, 1, 2],
    "`4, 1, 2`": [4, 1, 2],
    "$\\boxed{4}$": [],
    "\\boxed{4, 1, 2}": [],
    "<answer>4, 1, 2</answer>": [4, 1, 2],
    "<answer>\n4\n</answer>": [4],
    "<rank>4</rank><rank>1</rank>": [4, 1],
    "Undo, Cache, Backup tool": [4, 1, 2],
    "Undo > Cache > Backup tool": [4, 1, 2],
    "I suggest Undo.": [],
    "Undo": [4],
    "The Undo idea": [],
    "I can't decide between 3 and 4.": [],
    "It depends.": [],
    "": [],
    "None of them.": [],
    "4 is the best choice because it needs only 2 hours and 3 people.": [4],
    "I have 3 reasons for idea 4: safety, cost, speed.": [],
    "Keep 4, 1, 2. Drop 3 and 5.": [4, 1, 2],
    "Drop 3 and 5. Keep 4, 1, 2.": [4, 1, 2],
    "Idea 4 ranks first, idea 1 second and idea 2 third.": [4, 1, 2],
    "Idea 2 ranks third, idea 1 second and idea 4 first.": [],
    "Third: 2\nSecond: 1\nFirst: 4": [],
    "3. Idea 2\n2. Idea 1\n1. Idea 4": [4, 1, 2],
    "4. Undo\n1. Cache\n2. Backup tool": [4, 1, 2],
    "Idea 3 of 5": [3],
    "Number 4 is best": [4],
    "No. 4 is the best": [4],
    "Option 4": [4],
}


@pytest.mark.parametrize("answer", RANKINGS)
def test_when_a_true_answer_ranks_then_the_numbers_that_the_ideas_carry_are_read(answer: str) -> None:
    assert [NUMBERS[place] for place in rank(answer, IDEAS, NUMBERS)] == RANKINGS[answer]


TWO = ("Sorter", "Finder")
LISTS = {
    # JSON, as it is asked for
    '{"items": ["Sorter", "Finder"]}': TWO,
    'Here:\n```json\n{"items": ["Sorter", "Finder"]}\n```': TWO,
    '{"items": ["x", "y", "z"]}\n\nShorter:\n{"items": ["Sorter", "Finder"]}': TWO,
    '{"items": [{"number": 1, "title": "Sorter"}, {"number": 2, "title": "Finder"}]}': TWO,
    '{"title": "Sorter"}\n{"title": "Finder"}': TWO,
    '{"1": "Sorter", "2": "Finder"}': TWO,
    '{"items": ["Sorter", "Finder", "Und': TWO,
}
FREE_LISTS = {
    "1. Sorter\n2. Finder": TWO,
    "1. x\n2. y\n3. z\n</think>\n1. Sorter\n2. Finder": TWO,
    "| # | Idea |\n|---|---|\n| 1 | Sorter |\n| 2 | Finder |": TWO,
    "Here they are:\n\n| Idea | Why |\n| :-- | :-- |\n| **Sorter** | cheap |\n| **Finder** | quick |": (
        "**Sorter**: cheap",
        "**Finder**: quick",
    ),
    "<ideas><idea>Sorter</idea><idea>Finder</idea></ideas>": TWO,
    '<idea id="1">Sorter</idea>\n<idea id="2">Finder</idea>': TWO,
    "<ideas><idea><name>Sorter</name><why>cheap</why></idea><idea><name>Finder</name><why>quick</why></idea></ideas>": (
        "Sorter\ncheap",
        "Finder\nquick",
    ),
    "<ul><li>Sorter</li><li>Finder</li></ul>": TWO,
    "<ol>\n<li><b>Sorter</b> &amp; more\n<li>Finder\n</ol>": ("Sorter & more", "Finder"),
    "<ul><li>Sorter<ul><li>by date</li></ul></li><li>Finder</li></ul>": ("Sorter\n- by date", "Finder"),
    "一、Sorter\n二、Finder": TWO,
    "\uff08一\uff09Sorter\n\uff08二\uff09Finder": TWO,
    "1、Sorter\n2、Finder": TWO,
    "\uff11\uff0eSorter\n\uff12\uff0eFinder": TWO,
    "① Sorter\n② Finder": TWO,
    "第一\uff1aSorter\n第二\uff1aFinder": TWO,
    "**Sorter**\nBy date.\n**Why:** cheap\n\n**Finder**\nAlike.\n**Why:** quick": (
        "**Sorter**\nBy date.\n**Why:** cheap",
        "**Finder**\nAlike.\n**Why:** quick",
    ),
    "### Sorter\nBy date.\n\n**Why:** cheap\n\n### Finder\nAlike.\n\n**Why:** quick": (
        "Sorter\nBy date.\n\n**Why:** cheap",
        "Finder\nAlike.\n\n**Why:** quick",
    ),
    "## Sorter\n### Why\ncheap\n## Finder\n### Why\nquick": ("Sorter\n### Why\ncheap", "Finder\n### Why\nquick"),
    "Idea 2 of 5: Sorter\nIdea 3 of 5: Finder": TWO,
    "a) Sorter\nb) Finder": TWO,
    "[1] Sorter\n[2] Finder": TWO,
    "---\n1. Sorter\n---\n2. Finder": TWO,
    "**1. Sorter**\n**Why:** cheap\n\n**2. Finder**\n**Why:** quick": (
        "**Sorter**\n**Why:** cheap",
        "**Finder**\n**Why:** quick",
    ),
    "Idea | Why\n---|---\nSorter | cheap\nFinder | quick": ("Sorter: cheap", "Finder: quick"),
    "<list><item>Sorter</item><item>Finder</item></list>": TWO,
    "<table><tr><td>Sorter</td></tr><tr><td>Finder</td></tr></table>": TWO,
}
IDEA = {
    "## Idea 3: Sorter\n\nBy date.": "Sorter\n\nBy date.",
    "**Idea 3 of 5: Sorter**\n\nBy date.": "**Sorter**\n\nBy date.",
    "# Idea 3 of 5\n\nSorter: by date.": "Sorter: by date.",
    "Idea 3/5 - Sorter": "Sorter",
    "# Sorter\n\nBy date.": "Sorter\n\nBy date.",
    "3. Sorter": "Sorter",
    "<think>Hm</think>\n\n1. Sorter": "Sorter",
}


@pytest.mark.parametrize("answer", LISTS)
def test_when_a_true_answer_is_json_then_its_entries_are_the_items(answer: str) -> None:
    assert parse(answer, "list").items == LISTS[answer]
    assert FREE not in parse(answer, "list").notes


@pytest.mark.parametrize("answer", FREE_LISTS)
def test_when_a_true_answer_is_free_text_then_its_entries_are_read_and_it_is_noted(answer: str) -> None:
    assert parse(answer, "list") == (FREE_LISTS[answer], (FREE,))


@pytest.mark.parametrize("answer", IDEA)
def test_when_an_idea_has_a_heading_or_a_number_then_these_go(answer: str) -> None:
    assert parse(answer, "item") == ((IDEA[answer],), ())


def test_when_json_breaks_off_then_its_last_entry_is_left_out_and_noted() -> None:
    assert parse('["Sorter", "Finder", "Und', "list") == (TWO, ("the JSON breaks off: its last entry is left out",))


def test_when_json_has_a_draft_then_the_last_value_is_the_answer() -> None:
    assert parse('{"a": 1} or rather {"a": 2}', "json").items == ('{"a": 2}',)


SCORES: dict[str, dict[str, float]] = {
    '{"A": 7, "B": 4}': {"A": 7, "B": 4},
    '{"A": 11, "B": 7}': {},
    '{"A": 11}': {},
    '{"A": 7, "B": -3}': {},
    '{"A": 70, "B": 40}': {"A": 7, "B": 4},
    '{"A": 150, "B": 40}': {},
    '{"A": 85, "B": 7}': {},
    '{"A": "9/10", "B": "40 %"}': {"A": 9, "B": 4},
    'Draft: {"A": 5, "B": 5}\nFinal: {"A": 7, "B": 4}': {"A": 7, "B": 4},
    'A: 5\nB: 5\n</think>\n{"A": 7, "B": 4}': {"A": 7, "B": 4},
    '{"A": 7, "B": 4': {},
    "First: A: 5, B: 5. Final: A: 7, B: 4.": {"A": 7, "B": 4},
    "| Answer | Score |\n|---|---|\n| A | 7 |\n| B | 4 |": {"A": 7, "B": 4},
    "B is not the best.": {},
    "The best answer is not A but B.": {},
    "A: 11/10\nB: 7/10": {},
    '{"A": {"score": 7, "why": "A: 3 errors"}, "B": 4}': {"A": 7, "B": 4},
    '{"answers": {"A": 7, "B": "N/A"}}': {"A": 7},
    "| Candidate | Points |\n|---|---|\n| A | 7/10 |\n| B | 40 % |": {"A": 7, "B": 4},
    "I give both a 7.": {},
}


@pytest.mark.parametrize("answer", SCORES)
def test_when_a_true_answer_scores_then_each_score_is_on_the_scale_or_none_is_read(answer: str) -> None:
    assert read_scores(answer, "AB") == pytest.approx(SCORES[answer])
