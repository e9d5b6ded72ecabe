"""Code answers: an implementation, tests for one, or a draft that is worked over."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from victor_nb.wire.writing.skeletons import (
    CLASS,
    CLASS_TESTS,
    FENCES,
    FUNCTION,
    FUNCTION_TESTS,
    OFFERED_TEST,
    OTHERS,
    REFUSED_TEST,
)
from victor_nb.wire.writing.snippets import snippet_for, snippet_in
from victor_nb.wire.writing.subjects import capitalised, keywords

if TYPE_CHECKING:
    from victor_nb.wire.writing.brief import Brief

# How the languages are written in prompts, those first whose names hold another's.
_LANGUAGES: Final = {
    "typescript": r"\btypescript\b|\bts\b|\breact\b",
    "javascript": r"\bjavascript\b|\bjs\b|\bnode(?:\.js)?\b",
    "c++": r"c\+\+|\bcpp\b",
    "c#": r"c#|\bcsharp\b|\.net\b",
    "rust": r"\brust\b",
    "go": r"\bgolang\b|\bin go\b|\bgo (?:code|function|program|struct)\b",
    "java": r"\bjava\b",
    "sql": r"\bsql\b",
    "bash": r"\bbash\b|\bshell script\b",
    "ruby": r"\bruby\b",
    "html": r"\bhtml\b",
    "yaml": r"\byaml\b|\bgithub action",
    "python": r"\bpython\b|\bpy\b",
}
_CLASS: Final = re.compile(
    r"\b(?:api|app|application|class|dashboard|idea|library|manager|module|plugin|service|store|system|tool|tracker)\b",
    re.IGNORECASE,
)
_TYPED: Final = ("go", "java", "c#")  # languages whose skeleton is named as a type is
_ONLY_CODE: Final = re.compile(
    r"\b(?:only|just)\s+(?:\w+\s+){0,3}code\b|\bcode\s+only\b|\bno\s+(?:explanation|prose|comment(?:ary|s)?)\b|"
    r"\bwithout\s+(?:any\s+)?explanations?\b",
    re.IGNORECASE,
)
_NEXT: Final = (
    "Refuse the edge cases at the start, with a message that names the value.",
    "Name each result after what it means.",
    "Add a test for the empty input and for two equal items.",
)
_TESTS: Final = re.compile(r"\b(?:unit |pytest )?tests?\b", re.IGNORECASE)
_NAME_WORDS: Final = 3
_LONGEST_NAME: Final = 40


class _Program(NamedTuple):
    language: str
    code: str
    intro: str
    notes: tuple[str, ...]


def write_code(brief: Brief) -> str:
    """Return a code block in the asked language, with as many words around it as the model's size has."""
    program = _tests(brief) if _wants_tests(brief) else _program(brief)
    block = f"```{FENCES.get(program.language, program.language)}\n{program.code.strip()}\n```"
    if _ONLY_CODE.search(f"{brief.task} {brief.system}"):
        return block
    if brief.size == "small":
        return f"{block}\n\n{program.notes[0]}"
    notes = "\n".join(f"- {note}" for note in program.notes)
    return f"{program.intro}\n\n{block}\n\n{notes if brief.size == 'large' else program.notes[0]}"


def write_revision(brief: Brief) -> str | None:
    """Return the material, worked over; None where there is none."""
    if brief.code:
        language = brief.fence_language or _language(brief)
        notes = "\n".join(f"- {step}" for step in _NEXT)
        intro = "The code behaves as before; what to tighten next stands under it."
        return f"{intro}\n\n```{FENCES.get(language, language)}\n{brief.code.strip()}\n```\n\n{notes}"
    text = brief.material or "".join(brief.earlier[-1:])
    closing = (
        "The order of the points can stay. Next, put a number to the first claim and end with who does what by when."
    )
    return f"{text.strip()}\n\n{closing}" if text.strip() else None


def names(brief: Brief) -> tuple[str, str]:
    """Return a function's and a type's name for the subject: `slow_query`, `SlowQuery`."""
    bare = re.sub(
        r"\b(?:python|typescript|javascript|rust|java|sql|bash|ruby|html|yaml|class|app|endpoint|rest|regex|matches)\b",
        " ",
        _told(brief),
    )
    found = [re.sub(r"[^a-z0-9]", "", word.lower()) for word in keywords(bare)[:_NAME_WORDS]]
    words = [word for word in found if word and not word[0].isdigit()] or ["draft"]
    name = "_".join(words)[:_LONGEST_NAME].strip("_")
    name = f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name
    return name, "".join(map(capitalised, name.strip("_").split("_")))


def _told(brief: Brief) -> str:
    material = "" if brief.code else brief.material[:200]
    return f"{brief.task.partition(chr(10))[0]} {material}".lower()


def _wants_tests(brief: Brief) -> bool:
    found = _TESTS.search(brief.task)
    return bool(found) and not re.search(r"\b(?:implement|with tests|and tests)\b", brief.task, re.IGNORECASE)


def _language(brief: Brief) -> str:
    """Return the language that is asked for, else that of the prompt's code, else Python."""
    told = f"{brief.task} {brief.subject}"
    found = next((name for name, cue in _LANGUAGES.items() if re.search(cue, told, re.IGNORECASE)), None)
    fenced = {fence: name for name, fence in FENCES.items()}.get(brief.fence_language, brief.fence_language)
    return found or (fenced if fenced in _LANGUAGES else "python")


def _fields(brief: Brief) -> dict[str, str]:
    name, type_name = names(brief)
    return {
        "name": name,
        "Name": type_name,
        "camel": type_name[:1].lower() + type_name[1:],
        "s": brief.subject.replace("\\", "/"),
        "S": capitalised(brief.subject),
    }


def _program(brief: Brief) -> _Program:
    language, fields = _language(brief), _fields(brief)
    snippet = snippet_for(brief.task) or (snippet_for(brief.material[:300]) if not brief.code else None)
    is_class = language == "python" and bool(_CLASS.search(brief.task)) and "function" not in brief.task.lower()
    made = fields["Name"] if is_class or language in _TYPED else fields["name"]
    intro = f"Here is `{made}`, a first cut at {brief.subject} that is small enough to read in one go."
    if language != "python":
        notes = ("It has no dependencies.", "Blank and repeated items are left out.", "The first order is kept.")
        return _Program(language, OTHERS[language].format(**fields), intro, notes)
    if snippet:
        notes = (snippet.note, "It needs nothing but the standard library.", "Types are given for a checker.")
        return _Program("python", snippet.code, f"`{snippet.name}` does this in a few lines.", notes)
    notes = (
        "It needs nothing but the standard library.",
        "Bad input is refused at the door, so that everything behind it stays simple.",
        "Storage and display are left to the caller.",
    )
    return _Program("python", (CLASS if is_class else FUNCTION).format(**fields), intro, notes)


def _tests(brief: Brief) -> _Program:
    """Return tests for the code in the prompt, by the names that it defines."""
    snippet = snippet_in(brief.code) or snippet_for(brief.task) or snippet_for(brief.material[:300])
    defined = re.search(r"^class (?!Entry\b)([A-Za-z]\w*)", brief.code, re.MULTILINE)
    function = re.search(r"^(?:async )?def ([A-Za-z]\w*)", brief.code, re.MULTILINE)
    _, type_name = names(brief)
    if snippet:
        name, tests = snippet.name, snippet.tests
    elif defined or function:
        name = (defined or function or [""])[1]
        tests = _tests_for(name, brief.code)
    else:
        name, tests = type_name, CLASS_TESTS.format(Name=type_name)
    imports = "import pytest\n\n" if "pytest." in tests else ""
    code = f"{imports}from solution import {name}\n\n{tests}"
    notes = (
        "Run them with `pytest -q`; `solution` stands for the module that holds the code.",
        "Each test has one reason to fail, and its name says which.",
        "The empty case comes first, because it is the one that is forgotten.",
    )
    return _Program("python", code, f"These tests pin down what `{name}` promises.", notes)


def _tests_for(name: str, code: str) -> str:
    """Return tests that the code passes as far as can be told: in full for the programs that are written here."""
    if "def by_name(self)" in code:
        return CLASS_TESTS.format(Name=name)
    if f"def {name}(items: Iterable[str])" in code:
        return FUNCTION_TESTS.format(name=name)
    methods = re.findall(r"^\s+(?:async )?def ([a-z]\w*)\(self", code, re.MULTILINE)
    offered = [OFFERED_TEST.format(name=name, method=method) for method in dict.fromkeys(methods)]
    return "\n\n".join([REFUSED_TEST.format(name=name), *offered])
