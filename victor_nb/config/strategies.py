"""The schema of `strategies:` in `profiles.yaml`: a list of stages for each name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _acceptance(value: object) -> object:
    """Let through what decides whether an answer will do: a regular expression, a JSON schema, a count of votes."""
    match value:
        case str():
            return _pattern(value)
        case None | dict():
            return cast("object", value)
        case int() if not isinstance(value, bool) and value >= 1:
            return value
        case _:
            msg = "must be a regular expression, a JSON schema, or how many samples must agree"
            raise ValueError(msg)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        msg = f"must be a regular expression ({error})"
        raise ValueError(msg) from None
    return value


class StageSpec(BaseModel):
    """One stage: which profile does what, how many times, and what is kept. See `victor_nb.workflows.stages.Stage`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    profile: str
    prompt: str
    n: Annotated[int, Field(ge=1, le=1000)] = 1
    keep: Annotated[int, Field(ge=1)] | None = None
    select: Literal["rank", "vote"] | None = None
    parse: Literal["text", "item", "list", "code", "json"] = "text"
    needs: list[str] = Field(default_factory=list[str])
    adds_to: str | None = None
    accept: Annotated[Any, AfterValidator(_acceptance)] = None
    system: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
