"""Templates: no path of a place leads from any object to a module, a frame, a function or globals."""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import functools
import logging
import sys
import threading
import types
import weakref
from collections import OrderedDict
from dataclasses import dataclass, make_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings

from victor_nb.errors import PromptError
from victor_nb.templates import Template, render

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FORBIDDEN = (ModuleType, FrameType, CodeType, FunctionType, TracebackType)


class Colour(Enum):
    RED = "red"


class Pair(NamedTuple):
    x: int


class Model(pydantic.BaseModel):
    name: str = "a model"


@dataclass
class Point:
    x: int = 1

    def where(self) -> int:
        return self.x


def numbers() -> Iterator[int]:
    yield 1


async def later() -> None:
    await asyncio.sleep(0)


async def many() -> AsyncIterator[int]:
    yield 1


def raised() -> Exception:
    try:
        return Exception("x" / 1)  # type: ignore[operator]
    except TypeError as error:
        return error


def objects() -> dict[str, Any]:
    """Return one of each kind that a notebook may have under a name."""
    coroutine = later()
    error = raised()
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    found = {
        "generator": numbers(),
        "coroutine": coroutine,
        "many": many(),
        "function": later,
        "lambda_": lambda: 1,
        "method": Point().where,
        "builtin": len,
        "klass": Point,
        "error": error,
        "traceback": error.__traceback__,
        "frame": sys._getframe(),
        "code": later.__code__,
        "module": sys,
        "modules": sys.modules,
        "table": frame,
        "series": frame["a"],
        "array": np.ones(3),
        "path": Path("x"),
        "logger": logging.getLogger("x"),
        "thread": threading.current_thread(),
        "partial": functools.partial(later),
        "enum": Colour.RED,
        "colour": Colour,
        "point": Point(),
        "model": Model(),
        "context": contextvars.copy_context(),
        "weak": weakref.ref(Point),
        "space": types.SimpleNamespace(f=later, module=sys, data=[1]),
        "property_": property(Point.where),
        "bag": {"globals": later.__globals__, "f": later},
        "arguments": argparse.Namespace(f=later),
        "loop": asyncio.new_event_loop(),
        "styler": frame.style,
        "sequence": [later, sys],
        "ordered": OrderedDict(f=later),
        "manager": logging.getLogger("x").manager,
    }
    coroutine.close()
    found["loop"].close()
    return found


@pytest.mark.filterwarnings("ignore")  # of pandas and numpy, whose old names are looked at too
def test_when_every_public_path_is_tried_then_none_ends_in_code_or_globals() -> None:
    places = {id(vars(module)) for module in list(sys.modules.values())}
    names = objects()
    seen: set[int] = {id(value) for value in names.values()}
    paths, reached = [(name, 0) for name in names], 0
    while paths:
        path, depth = paths.pop()
        try:
            (value,) = Template(f"{{{{ {path} }}}}", names).values(names)
        except PromptError:
            continue
        reached += 1
        assert not isinstance(value, FORBIDDEN) or "." not in path, path
        assert id(value) not in places or path == "bag['globals']", path
        if depth < 3 and (depth == 0 or id(value) not in seen):
            seen.add(id(value))
            paths += [(f"{path}.{name}", depth + 1) for name in dir(value) if not name.startswith("_")]
            keys = value if isinstance(value, dict) and depth else ()
            paths += [(f"{path}[{key!r}]", depth + 1) for key in keys if isinstance(key, str) and "'" not in key]
    assert reached > 200


@pytest.mark.parametrize(
    "path",
    "generator.gi_frame coroutine.cr_frame many.ag_frame error.tb_frame traceback.tb_frame frame.f_globals "
    "frame.f_back code.co_consts function.func_globals klass.mro array.ctypes thread.run partial.func styler.env "
    "table.eval table.query table.pipe logger.manager.loggerDict loop.run_forever point.__class__ point.where.x "
    "module.modules modules['os'].environ model.model_config.__class__ error.__traceback__ weak.x".split(),
)
def test_when_a_path_leads_to_code_then_it_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(PromptError) as caught:
        render(f"{{{{ {path} | repr }}}}", objects())
    assert "\n" not in str(caught.value)


def test_when_attributes_are_data_then_they_are_inserted_as_before() -> None:
    names = {
        "p": Path("a/b.txt"),
        "d": datetime(2026, 1, 2, tzinfo=UTC),
        "c": Colour,
        "point": Point(),
        "model": Model(),
        "n": Pair(5),
        "made": make_dataclass("Made", ["x"])(6),
        "e": PromptError("no"),
        "z": 1j,
        "df": pd.DataFrame({"a": [1, 2]}),
        "s": types.SimpleNamespace(x=7),
    }
    text = (
        "{{ p.name }} {{ d.year }} {{ c.RED.value }} {{ point.x }} {{ model.name }} {{ n.x }} {{ made.x }} {{ z.imag }}"
    )
    text += " {{ s.x }} {{ df.shape | json }} {{ e.args[0] }}"
    assert render(text, names).text == "b.txt 2026 red 1 a model 5 6 1.0 7 [2, 1] no"


@settings(max_examples=300)
@given(st.text(alphabet="{}|_.[]'\"()\\ ax0\n", max_size=60), st.text(alphabet="{}|.x \\", max_size=20))
def test_when_a_prompt_is_any_text_then_it_is_filled_or_refused_and_values_are_not_scanned(prompt: str, x: str) -> None:
    try:
        filled = render(prompt, {"x": x, "a": Point()}).text
    except PromptError:
        return
    if "{{" not in prompt:
        assert filled == prompt
    assert render("{{ x }}", {"x": x}).text == x
