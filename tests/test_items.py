"""What is read from a model's answer: the entries of lists, code, JSON; and that nothing is ever lost or raised."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.calls.structured import find_json
from victor_nb.workflows.lists import FREE, NO_LIST, list_items, numbered, parse

WORDS = (
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", min_size=3, max_size=40)
    .map(str.strip)
    .filter(lambda text: len(text) > 2 and not re.fullmatch(r"(idea|item|no|step|name|point)s?", text))
)
MARKS = {
    "1.": "{n}. {item}",
    "1)": "{n}) {item}",
    "(1)": "({n}) {item}",
    "1:": "{n}: {item}",
    "1 -": "{n} - {item}",
    "1.x": "{n}.{item}",
    "#1": "#{n} {item}",
    "**1.**": "**{n}.** {item}",
    "**1)**": "**{n})** {item}",
    "### 1.": "### {n}. {item}",
    "## 1": "## {n} {item}",
    "Idea 1:": "Idea {n}: {item}",
    "**Idea 1:**": "**Idea {n}:** {item}",
    "**Option 1**:": "**Option {n}**: {item}",
    "### Step 1:": "### Step {n}: {item}",
    "-": "- {item}",
    "*": "* {item}",
    "•": "• {item}",
    "- [ ]": "- [ ] {item}",
    "indented": "   {n}. {item}",
}


def marked(style: str, items: list[str]) -> str:
    return "\n".join(MARKS[style].format(n=place, item=item) for place, item in enumerate(items, start=1))


@pytest.mark.parametrize("style", MARKS)
@pytest.mark.parametrize("around", ["{}", "Here are the ideas:\n\n{}", "Sure!\n\n{}\n\nLet me know what you think."])
def test_when_a_list_is_marked_in_any_style_then_its_entries_are_the_items(style: str, around: str) -> None:
    items = ["Sort by date", "Find duplicates", "Undo the last rename"]

    parsed = list_items(around.format(marked(style, items)))

    assert parsed.items == tuple(items)
    assert parsed.notes == (FREE,)


@given(items=st.lists(WORDS, min_size=2, max_size=12, unique=True), style=st.sampled_from(sorted(MARKS)))
def test_when_any_words_are_listed_in_any_style_then_they_come_back(items: list[str], style: str) -> None:
    assert list_items(marked(style, items)).items == tuple(items)


@given(items=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=8))
def test_when_texts_are_listed_as_json_then_they_come_back(items: list[str]) -> None:
    stripped = tuple(item.strip() for item in items)
    for text in (json.dumps(items), f"```json\n{json.dumps(items, indent=2)}\n```", json.dumps({"ideas": items})):
        assert list_items(text).items == stripped


@given(text=st.text(max_size=400), how=st.sampled_from(["text", "item", "list", "code", "json"]))
def test_when_the_answer_is_anything_then_nothing_is_raised_and_something_is_kept(text: str, how: str) -> None:
    items = parse(text, how).items  # type: ignore[arg-type]

    assert bool(items) == bool(text.strip())
    assert all(item.strip() for item in items)


@given(
    text=st.lists(
        st.sampled_from(
            ["1. ", "- ", "## ", "**", "```", "[", "{", '"', "\n", "\n\n", "a", "b c", "2) ", ": ", "\t", "Idea 1"]
        ),
        max_size=40,
    ).map("".join)
)
def test_when_the_answer_is_torn_markup_then_nothing_is_raised(text: str) -> None:
    assert bool(list_items(text).items) == bool(text.strip())


def test_when_entries_have_nested_lists_then_these_stay_inside() -> None:
    text = "1. **Sorter**\n   - by date\n   - by place\n2. **Finder**\n   1. exact\n   2. alike\n3. Undo"

    assert list_items(text).items == ("**Sorter**\n- by date\n- by place", "**Finder**\n1. exact\n2. alike", "Undo")


def test_when_nested_bullets_are_not_indented_then_they_stay_inside() -> None:
    assert list_items("1. Sorter\n- by date\n2. Finder\n- exact").items == ("Sorter\n- by date", "Finder\n- exact")


def test_when_bullets_have_numbered_steps_then_the_bullets_are_the_items() -> None:
    assert list_items("- Sorter\n   1. scan\n   2. move\n- Finder").items == ("Sorter\n1. scan\n2. move", "Finder")


def test_when_entries_have_paragraphs_then_only_the_closing_word_is_left_out() -> None:
    text = "### 1. Sorter\n\nIt sorts.\n\n### 2. Finder\n\nIt finds.\n\nShall I go on?"

    assert list_items(text).items == ("Sorter\n\nIt sorts.", "Finder\n\nIt finds.")


def test_when_an_entry_has_code_then_what_looks_like_marks_in_it_is_code() -> None:
    text = "1. Use this:\n```yaml\n- a\n1. b\n```\n2. Or nothing"

    assert list_items(text).items == ("Use this:\n```yaml\n- a\n1. b\n```", "Or nothing")


def test_when_a_list_stands_in_a_fence_then_it_is_read() -> None:
    assert list_items("```\n1. Sorter\n2. Finder\n```").items == ("Sorter", "Finder")


def test_when_sections_divide_a_list_then_their_headings_are_no_items() -> None:
    text = "## Useful\n1. Sorter\n2. Finder\n\n## Fun\n3. Quiz"

    assert list_items(text).items == ("Sorter", "Finder", "Quiz")


def test_when_two_lists_could_be_meant_then_the_count_that_was_asked_for_decides() -> None:
    text = "## Sorter\n- by date\n- by place\n\n## Finder\n- exact\n- alike"

    assert len(list_items(text).items) == 4
    assert list_items(text, hint=2).items == ("Sorter\n- by date\n- by place", "Finder\n- exact\n- alike")


def test_when_objects_are_listed_then_each_says_its_title_first() -> None:
    text = (
        '[{"id": 1, "description": "by date", "title": "Sorter"}, {"id": 2, "title": "Finder", "description": "alike"}]'
    )

    assert list_items(text).items == ("Sorter: by date", "Finder: alike")


@pytest.mark.parametrize(
    "text", ["['Sorter', 'Finder']", '["Sorter", "Finder",]', 'Sure: {"ideas": ["Sorter", "Finder"]}.']
)
def test_when_json_has_the_slips_of_models_then_it_is_read(text: str) -> None:
    assert list_items(text).items == ("Sorter", "Finder")


def test_when_prose_has_footnotes_then_they_are_no_list() -> None:
    text = "Sorting helps [1], as others found [2]. It is cheap."

    assert list_items(text) == ((text,), (NO_LIST,))


def test_when_lines_are_short_and_bare_then_they_are_items() -> None:
    assert list_items("Ideas:\nSorter\nFinder\nUndo").items == ("Sorter", "Finder", "Undo")


def test_when_numbers_begin_lines_of_prose_then_they_are_no_list() -> None:
    text = "It costs 1.5 million.\n2.5 is the mean."

    assert list_items(text) == ((text,), (NO_LIST,))


def test_when_a_model_thinks_aloud_then_its_thoughts_are_no_items() -> None:
    assert list_items("1. a\n2. b").items == parse("<think>\n1. x\n2. y\n3. z\n</think>\n1. a\n2. b", "list").items


def test_when_code_is_asked_for_then_its_fences_are_the_item() -> None:
    text = "Here:\n```python\nx = 1\n```\nand\n~~~\ny = 2\n~~~\nDone."

    assert parse(text, "code").items == ("x = 1\n\ny = 2",)
    assert parse("no code", "code") == (("no code",), ("the answer has no code fence: it is kept whole",))


def test_when_json_is_asked_for_then_its_first_value_is_the_item() -> None:
    assert parse('It is {"a": 1}.', "json").items == ('{"a": 1}',)


def test_when_one_idea_is_asked_for_then_the_mark_of_a_list_of_one_goes() -> None:
    assert parse("1. Sorter: by date", "item").items == ("Sorter: by date",)
    assert parse("1. Sorter\n2. Finder", "item").items == ("1. Sorter\n2. Finder",)
    assert parse("1. Sorter: by date", "text").items == ("1. Sorter: by date",)


def test_when_a_function_parses_then_it_gives_the_items() -> None:
    assert parse("a;b; ;c", lambda text: text.split(";")).items == ("a", "b", "c")
    assert parse("x", lambda _: []) == (("x",), ("parse found nothing: the answer is kept whole",))


@given(items=st.lists(WORDS, min_size=2, max_size=9, unique=True), long=st.booleans())
def test_when_items_are_shown_in_a_prompt_then_they_can_be_read_back(items: list[str], long: bool) -> None:  # noqa: FBT001
    shown = [f"{item}\nmore of it" for item in items] if long else items

    assert list_items(numbered(shown)).items == tuple(shown)


@given(
    value=st.recursive(
        st.integers() | st.text() | st.booleans() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_when_json_stands_between_words_then_it_is_found(value: object) -> None:
    if isinstance(value, (list, dict)):
        assert find_json(f"The answer is {json.dumps(value)} as asked.")[:1] == [value]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 5_000 + "}" * 5_000, '["' + "a" * 99_999, "['" + "\\" * 999, "[1if]", "[\0]"]
)
def test_when_brackets_run_wild_then_nothing_is_raised(text: str) -> None:
    assert find_json(text) in ([], [[]])
    assert list_items(text).items


@pytest.mark.parametrize(
    ("broken", "value"),
    [
        ('["a", "b",]', ["a", "b"]),
        ("{'name': 'it', 'ok': True, 'none': None}", {"name": "it", "ok": True, "none": None}),
        ('{"a": "she said "no" to it", "b": 2}', {"a": 'she said "no" to it', "b": 2}),
        ('["first", "second", "thi', ["first", "second", "thi"]),
        ('{"a": ["x", "y"}', {"a": ["x", "y"]}),
        ('["a" "b"]', ["a", "b"]),
        ('["a", // the cheap one\n "b"]', ["a", "b"]),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": 1, b: 2}', {"a": 1, "b": 2}),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "Here it is:\n\n```json\n{}\n```\nAs asked."])
def test_when_json_is_broken_then_it_is_repaired(broken: str, value: object, frame: str) -> None:
    assert find_json(frame.replace("{}", broken, 1)) == [value]


@pytest.mark.parametrize("text", ["see [the table] and {this}", "[1] is a footnote", "[x] done", "{a, b} is a set"])
def test_when_brackets_are_prose_then_no_json_is_made_of_them(text: str) -> None:
    assert [value for value in find_json(text) if value != [1]] == []


@pytest.mark.parametrize("text", ['{"' + '"' * 900 + "}", '{"names" "a" }{ "b" }', '{"a"}'])
def test_when_rubbish_is_in_braces_then_no_list_is_made_of_it(text: str) -> None:
    assert all(isinstance(value, dict) for value in find_json(text))
