"""Schemas in strategies: what stages, judges and cascades ask for is sent natively, and free text is still read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import BaseModel

from ensemble import Asked, by_stage, run_of
from servers import faults
from victor_nb import Cascade, Funnel, Settings, Stage, Strategy, session
from victor_nb.errors import ConfigError, InvalidAnswerError
from victor_nb.workflows.compare import compare_sync
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from ensemble import Ensemble

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures", "cells_fixtures"]


class Count(BaseModel):
    n: int


def schemas(ensemble: Ensemble) -> list[Any]:
    """Return the schema that each request was sent, from where its provider expects it."""
    bodies = [request.json for request in ensemble.server.requests]
    return [
        body.get("response_format", {}).get("json_schema", {}).get("schema")
        or body.get("output_config", {}).get("format", {}).get("schema")
        or body.get("format")
        for body in bodies
    ]


def test_when_a_funnel_ranks_then_its_schema_is_sent_natively_and_free_text_is_read(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    run = Funnel(ideas=7).run_sync("Name an app.")
    assert run.complete
    *explored, ranked, implemented, reviewed = schemas(ensemble)
    assert explored == [None] * 7
    assert (implemented, reviewed) == (None, None)
    assert ranked["required"] == ["ranking"]
    assert ranked["properties"]["ranking"]["items"] == {"type": "integer", "enum": [1, 2, 3, 4, 5, 6, 7]}
    assert "Reply with JSON only" in ensemble.prompts[7]
    assert run["select"].notes == ("read as free text",)
    assert len(run["select"].kept) == 3


def test_when_a_model_refuses_the_schema_of_a_list_then_the_prompt_is_enough(ensemble: Ensemble) -> None:
    refusal = faults.status(400, "response_format json_schema is not supported with this model")
    ensemble.play(lambda asked: refusal if "response_format" in asked.request.json else '{"items": ["tea", "jam"]}')
    stage = Stage("list", "fast", "List two things: {{ task }}", parse="list")
    for _ in range(2):
        run = Strategy("mine", [stage]).run_sync("Breakfast.")
        assert (run["list"].items, run["list"].notes) == (("tea", "jam"), ())
        assert [reply.notes for reply in run["list"].replies] == [()]
    assert [schema is not None for schema in schemas(ensemble)] == [True, False, False]


def test_when_a_prompt_speaks_of_json_itself_then_no_schema_is_added(ensemble: Ensemble) -> None:
    ensemble.play(lambda _: '{"words": ["tea", "jam"]}')
    stage = Stage("list", "fast", 'As JSON {"words": [...]}: {{ task }}', parse="list")
    run = Strategy("mine", [stage]).run_sync("Breakfast.")
    assert run["list"].items == ("tea", "jam")
    assert schemas(ensemble) == [None]


def test_when_answers_are_judged_then_the_judge_is_sent_a_schema(ensemble: Ensemble) -> None:
    def say(asked: Asked) -> str:
        if "</answer>" not in asked.prompt:
            return f"Answer of {asked.model}."
        better = asked.prompt.index("of gpt") < asked.prompt.index("of qwen")
        return json.dumps({"A": 7, "B": 3} if better else {"A": 3, "B": 7})

    ensemble.play(say)
    frame = compare_sync([Cascade(["local"], name="one"), Cascade(["fast"], name="two")], "task", judge="premium")
    assert frame["score"].notna().all()
    judged = [schema for schema, model in zip(schemas(ensemble), ensemble.models, strict=True) if "claude" in model]
    assert judged
    for schema in judged:
        assert schema["required"] == ["A", "B"]
        assert schema["properties"]["A"] == {"type": "number", "description": "from 0 to 10"}


def test_when_a_cascade_has_a_schema_then_an_answer_is_accepted_by_its_fit(ensemble: Ensemble) -> None:
    answers = {"qwen2.5-coder:7b": "About 42.", "gpt-4o-mini": '{"n": 42}'}
    ensemble.play(lambda asked: answers[asked.model])
    run = Cascade(schema=Count).run_sync("How many?")

    assert run.path == ("local", "fast")
    assert (run.data, run.content, run.complete) == (Count(n=42), '{"n": 42}', True)
    assert run["local"].state == "failed"
    assert "does not fit Count: it is not JSON" in run["local"].notes[0]
    assert [row.status for row in session().ledger.rows()] == ["invalid", "invalid", "ok"]
    assert all(schema["required"] == ["n"] for schema in schemas(ensemble))


def test_when_no_profile_of_a_cascade_fits_then_the_run_fails_and_keeps_what_was_paid_for(ensemble: Ensemble) -> None:
    ensemble.play(lambda _: "About 42.")
    with pytest.raises(InvalidAnswerError) as caught:
        Cascade(schema=Count).run_sync("How many?")
    run = run_of(caught.value)
    assert (run.path, run.data, run.calls) == (("local", "fast", "premium"), None, 3)
    assert [row.status for row in run.rows] == ["invalid"] * 6
    assert run["premium"].replies[0].status == "invalid"


def test_when_a_run_has_a_schema_then_only_what_may_be_its_answer_must_fit(ensemble: Ensemble) -> None:
    answers = {**dict.fromkeys(("qwen2.5-coder:7b", "gpt-4o-mini"), "1. Idea"), "claude-sonnet-4-5": "APPROVED"}
    ensemble.play(lambda asked: answers.get(asked.model, '{"n": 7}'))
    run = Funnel(ideas=2).run_sync("How many?", schema=Count)
    assert (run.data, run.content) == (Count(n=7), '{"n": 7}')
    asked = dict(zip(ensemble.models, schemas(ensemble), strict=True))
    assert asked["gpt-4o"]["required"] == ["n"]
    assert asked["qwen2.5-coder:7b"] is asked["claude-sonnet-4-5"] is None


def test_when_a_stage_of_a_file_has_a_schema_then_it_is_a_mapping(ensemble: Ensemble) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    cheap = {"name": "cheap", "profile": "fast", "prompt": "{{ task }}", "schema": schema, "accept": {}}
    dear = {"name": "dear", "profile": "premium", "prompt": "{{ task }}", "needs": "cheap", "schema": schema}
    ensemble.cast(strategies={"mine": [cheap, dear]})
    ensemble.play(lambda asked: '{"n": 1}' if asked.model == "gpt-4o-mini" else '{"n": 5}')
    run = find_strategy("mine").run_sync("How many?")
    assert (run.path, run.data) == (("fast", "premium"), {"n": 5})
    assert run["cheap"].notes[0].startswith("fast: the answer does not fit answer: n: does not satisfy minimum: 3")

    path = ensemble.folder / "profiles.yaml"
    told = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump(json.loads(json.dumps(yaml.safe_load(told)).replace("integer", "intger"))))
    with pytest.raises(ConfigError, match=r"schema: takes a JSON schema, which this mapping is not: 'intger'"):
        Settings(path).strategies  # noqa: B018 - it reads the file
