"""The house's own rules: who may import whom, how large a thing may grow, and what may not be written down."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import victor_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "victor_nb"
SOURCES = [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "notebooks").glob("*.py"))]
LONGEST_FUNCTION, MEDIAN_FUNCTION = 50, 10  # lines
HEAVY = ("IPython", "aiohttp", "anthropic", "matplotlib", "openai", "pandas", "pydantic")
PARTS = {"pydantic_core"}  # pinned to the version by the package that is declared
VAGUE = {"base_utils", "common", "core", "helpers", "manager", "misc", "util", "utils"}
MADE = re.compile(r"\.git|\.venv.*|__pycache__|build|dist")
# A path of somebody's machine, or the name of a package registry's host: neither is true anywhere else.
FOREIGN = re.compile(
    r"(?<![\w./-])/(?:root|tmp/v|work|opt/(?:pypi|wheels)|(?:home|Users)/\w+)/"
    r"|\bpypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|\bextra-index|\bfind-links"
)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def where(path: Path, node: ast.stmt | ast.expr | ast.ExceptHandler) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def functions() -> Iterator[tuple[str, int]]:
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{where(path, node)} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((where(path, node), alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield where(path, node), node.module


def kept_files() -> Iterator[Path]:
    """What git tracks or would track; without git, all but what tools make."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False) if _has_git() else None
    if answer is not None and answer.returncode == 0:
        yield from (ROOT / name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file())
        return
    for path in ROOT.rglob("*"):
        if path.is_file() and not any(map(MADE.fullmatch, path.relative_to(ROOT).parts)):
            yield path


def _has_git() -> bool:
    return (ROOT / ".git").exists()


def fresh_python(code: str) -> str:
    """Run `code` in a new interpreter, outside the coverage measurement, and return what it printed."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-W", "error", "-c", code]
    answer = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_when_the_imports_are_drawn_then_every_arrow_points_down() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    answer = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


def test_when_the_public_names_are_listed_then_they_are_sorted_and_all_there() -> None:
    assert list(victor_nb.__all__) == sorted(set(victor_nb.__all__))
    assert [name for name in victor_nb.__all__ if getattr(victor_nb, name, None) is None] == []
    assert set(victor_nb.__all__) <= set(dir(victor_nb))


def test_when_a_name_is_not_public_then_asking_for_it_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = victor_nb.no_such_name  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("statement", ["import victor_nb", "from victor_nb import Agent, OrchestratorPool, Settings"])
def test_when_the_public_names_are_imported_then_nothing_heavy_is(statement: str) -> None:
    loaded = fresh_python(f"{statement}\nimport sys\nprint(*sys.modules)").split()
    assert set(HEAVY).intersection(loaded) == set()


def test_when_a_module_is_imported_alone_then_it_needs_no_other_first() -> None:
    """Imports run each in every order only where they form no circle; to try each alone would take half a minute."""
    modules = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    order = [*TopologicalSorter({name: _needs(name, modules) for name in modules}).static_order()]
    assert sorted(order) == sorted(modules)
    fresh_python(f"import importlib\nfor name in {order[::-1]}:\n    importlib.import_module(name)\n")


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _needs(name: str, modules: dict[str, Path]) -> set[str]:
    """Return the modules of ours that are run before this one is, each with the packages that it alone is in."""
    named: set[str] = set()
    for node in _run_at_import(tree(modules[name]).body):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            named.update(whole if whole in modules else node.module for whole in parts.values())
    ours = named & modules.keys()
    assert {each for each in named if each.startswith(f"{PACKAGE.name}.")} <= ours
    around = {each[:end] for each in ours for end, sign in enumerate(each) if sign == "."}
    return ours | {package for package in around if not f"{name}.".startswith(f"{package}.")}


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _run_at_import(node.orelse)
            continue
        yield node
        for part in ast.iter_child_nodes(node):
            inner = getattr(part, "body", ()) if isinstance(part, ast.ExceptHandler | ast.match_case) else (part,)
            yield from _run_at_import([each for each in inner if isinstance(each, ast.stmt)])


def test_when_functions_are_measured_then_they_are_small() -> None:
    lengths = dict(functions())
    assert {name: count for name, count in lengths.items() if count > LONGEST_FUNCTION} == {}
    assert median(lengths.values()) < MEDIAN_FUNCTION


def test_when_files_are_named_then_the_name_says_what_is_inside() -> None:
    assert [path.relative_to(ROOT) for path in SOURCES if path.stem in VAGUE or path.parent.name in VAGUE] == []


def test_when_an_error_is_caught_then_it_has_a_name() -> None:
    caught = [
        where(path, node)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None or "Exception" in {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
        )
    ]
    assert caught == []


def test_when_http_is_spoken_then_it_is_httpx2() -> None:
    paths = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]
    paths = [path for path in paths if re.search(r"\bhttpx\b", path.read_text(encoding="utf-8"))]
    assert [place for path in paths for place, name in imports(path) if name.split(".")[0] == "httpx"] == []


@pytest.mark.parametrize(
    ("names", "files"),
    [
        ({"environ", "environb", "getenv"}, ["config/environment.py", "config/__init__.py"]),
        ({"register_at_fork"}, ["fork.py"]),
    ],
    ids=["environment", "forks"],
)
def test_when_the_process_is_looked_at_then_it_is_in_one_place(names: set[str], files: list[str]) -> None:
    uses = [
        where(path, node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in names
    ]
    allowed = tuple(str(Path("victor_nb", name)) for name in files)
    assert uses
    assert [place for place in uses if not place.startswith(allowed)] == []


def test_when_a_package_is_imported_then_it_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[^\w-]", line)[0].lower() for line in project["dependencies"]}
    owners = packages_distributions()
    undeclared = {
        place: name
        for path in sorted(PACKAGE.rglob("*.py"))
        for place, name in imports(path)
        if (top := name.split(".")[0]) not in sys.stdlib_module_names
        and top not in {"victor_nb", *PARTS}
        and not declared.intersection(owner.lower().replace("_", "-") for owner in owners.get(top, ()))
    }
    assert undeclared == {}


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_when_versions_are_held_then_each_dependency_has_one_that_its_range_allows(python: str, platform: str) -> None:
    """Of every Python that CI runs; what dependencies need in their turn is what `make upgrade` found."""
    machine = {"python_version": python.rpartition(".")[0], "python_full_version": python, "sys_platform": platform}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z\d-]+==[\w.]+( ; .+)?", line)] == []
    held = [line for line in map(Requirement, lines) if line.marker is None or line.marker.evaluate(machine)]
    versions = {line.name: str(line.specifier).removeprefix("==") for line in held}
    assert len(versions) == len(held)
    unmet = [
        str(line)
        for line in map(Requirement, _declared())
        if (line.marker is None or line.marker.evaluate(machine))
        and line.name != "victor-nb"
        and not line.specifier.contains(versions.get(canonicalize_name(line.name), "0"))
    ]
    assert unmet == [], "run `make upgrade`"


def _declared() -> list[str]:
    """Return every requirement in pyproject.toml: of users, of developers, and of the build."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = tables["project"]["optional-dependencies"].values()
    return [*tables["build-system"]["requires"], *tables["project"]["dependencies"], *chain.from_iterable(extras)]


def test_when_files_are_kept_then_none_names_a_machine_or_a_registry() -> None:
    named: list[str] = []
    for path in kept_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        named += [f"{path.relative_to(ROOT)}: {found.group()}" for found in FOREIGN.finditer(text)]
    assert named == []


def test_when_a_notebook_is_saved_then_nothing_in_it_differs_from_run_to_run() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert "widgets" not in notebook["metadata"], path.name
        assert [cell["id"] for cell in notebook["cells"] if "execution" in cell["metadata"]] == [], path.name


def test_when_the_schema_of_profiles_is_made_again_then_it_has_the_keys_of_the_one_that_is_kept() -> None:
    """The keys and their words, not the bytes, which differ a little from one minor of pydantic to the next."""
    from victor_nb.config.profiles import json_schema

    def keys(schema: dict[str, Any]) -> dict[str, list[tuple[str, list[str]]]]:
        parts = {"": schema, **schema["$defs"]}
        return {name: sorted(map(words, part.get("properties", {}).items())) for name, part in parts.items()}

    def words(key: tuple[str, dict[str, Any]]) -> tuple[str, list[str]]:
        name, kind = key
        return name, sorted(word for each in (kind, *kind.get("anyOf", ())) for word in each.get("enum", ()))

    kept = json.loads((PACKAGE / "config" / "profiles.schema.json").read_text(encoding="utf-8"))
    assert keys(json_schema()) == keys(kept), "run `make schema`"


# --- CONTRIBUTING.md ---


def contributing() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def layout() -> list[str]:
    """Return the files that the layout names; a folder holds what comes after it, one at the margin all below it."""
    block = contributing().split("```\nvictor_nb/\n")[1].split("```")[0]
    named: list[str] = []
    top = folder = Path()
    for line in block.splitlines():
        for word in re.findall(r"[\w.]+\.(?:py|css|js|json|typed)\b|\b[a-z]+/", line):
            if not word.endswith("/"):
                named.append(str(folder / word))
            elif line.startswith(word):
                top = folder = Path(word)
            else:
                folder = top / word
    return named


def test_when_the_layout_is_read_then_it_names_every_file_once_and_no_other() -> None:
    files = [path.relative_to(PACKAGE) for path in kept_files() if path.is_relative_to(PACKAGE)]
    assert sorted(layout()) == sorted(str(path) for path in files if path.name != "__init__.py" or len(path.parts) == 1)


def test_when_a_path_or_a_test_is_named_then_it_is_there() -> None:
    paths = re.findall(r"`((?:victor_nb|tests)/[\w./]+)`", contributing())
    assert [path for path in paths if not (ROOT / path).exists()] == []
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = re.findall(r"`(test_when_\w+)`", contributing())
    assert [name for name in names if f"def {name}(" not in tests] == []
    assert len(names) >= contributing().split("## Private doors")[1].split("##")[0].count("\n| ") - 1
