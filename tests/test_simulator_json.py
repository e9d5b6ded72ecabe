"""JSON from the simulator: for a schema in any of the four protocols, and for what a prompt asks in words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_nb.values import Message
from victor_nb.wire.answers import write
from victor_nb.wire.dialects.base import Asked
from victor_nb.wire.simulator import Simulator


def say(prompt: str, **options: Any) -> str:
    return write(Asked(model="gpt-4o", messages=(Message("user", prompt),), seed=prompt, **options))


def test_when_json_is_asked_in_words_then_it_has_the_named_keys() -> None:
    assert list(json.loads(say("Return JSON with keys name, city and age for a person"))) == ["name", "city", "age"]
    shown = json.loads(say('Rate it. Answer as JSON like {"score": 7, "tags": ["a"], "ok": true}: a good plan'))
    assert [type(value) for value in shown.values()] == [int, list, bool]
    rows = json.loads(say("Give me a JSON array of 4 objects with fields title and effort"))
    assert [list(row) for row in rows] == [["title", "effort"]] * 4


TRICKY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "score", "steps", "tree", "code", "when", "pair"],
    "properties": {
        "label": {"enum": ["positive", "negative"]},
        "score": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        "even": {"type": "integer", "multipleOf": 4, "minimum": 10},
        "steps": {"type": "array", "minItems": 4, "items": {"$ref": "#/$defs/step"}},
        "tree": {"$ref": "#/$defs/node"},
        "code": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{3}$"},
        "when": {"type": "string", "format": "date-time"},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
        "tags": {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b", "c"]}, "minItems": 3},
        "note": {"type": ["string", "null"], "minLength": 80, "maxLength": 90},
    },
    "$defs": {
        "step": {"allOf": [{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}]},
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["name", "next"],
        },
    },
}
PLAIN = st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")])
SCHEMAS = st.recursive(
    PLAIN
    | st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, st.integers(), st.integers(0)
    ),
    lambda inner: (
        st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, st.integers(0, 4))
        | st.builds(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": [*fields],
                "additionalProperties": False,
            },
            st.dictionaries(st.text(max_size=12), inner, max_size=4),
        )
        | st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner)
    ),
    max_leaves=8,
)


def test_when_a_schema_is_given_then_the_answer_satisfies_it() -> None:
    jsonschema.validate(json.loads(say("I love it", schema=TRICKY)), TRICKY)
    google = {"type": "OBJECT", "properties": {"names": {"type": "ARRAY", "items": {"type": "STRING"}}}}
    names = json.loads(say("Give me 4 names for a shop", schema=google))["names"]
    assert len(set(names)) == 4


@given(schema=SCHEMAS, prompt=st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_when_the_schema_is_any_then_the_answer_satisfies_it(schema: dict[str, object], prompt: str) -> None:
    jsonschema.validate(json.loads(say(prompt, schema=schema)), schema)


PLAN: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "steps": {"type": "array", "items": {"type": "string"}}},
    "required": ["title", "steps"],
    "additionalProperties": False,
}


def _requests(schema: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    turns = [{"role": "user", "content": "Plan a picnic."}]
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    return {
        "anthropic": (
            "/v1/messages",
            {
                "model": "claude-sonnet-5-5",
                "max_tokens": 900,
                "messages": turns,
                "output_config": {"format": {"type": "json_schema", "schema": schema}},
            },
        ),
        "openai": (
            "/v1/chat/completions",
            {
                "model": "gpt-4o",
                "messages": turns,
                "response_format": {"type": "json_schema", "json_schema": {"name": "plan", "schema": schema}},
            },
        ),
        "google": (
            "/v1beta/models/gemini-3.8-flash:generateContent",
            {"contents": [{"parts": [{"text": "Plan a picnic."}]}], "generationConfig": config},
        ),
        "ollama": ("/api/chat", {"model": "llama3.2", "messages": turns, "stream": False, "format": schema}),
    }


def _text(body: dict[str, Any]) -> str:
    """Return the text of a plain answer of any of the four."""
    if "choices" in body:
        return body["choices"][0]["message"]["content"]
    if "candidates" in body:
        return body["candidates"][0]["content"]["parts"][0]["text"]
    return body["message"]["content"] if "message" in body else body["content"][0]["text"]


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "ollama"])
def test_when_a_request_carries_a_schema_then_the_answer_satisfies_it(provider: str) -> None:
    async def work() -> dict[str, Any]:
        path, body = _requests(PLAN)[provider]
        async with httpx2.AsyncClient(transport=Simulator(speed=0), base_url="http://sim.test") as client:
            return (await client.post(path, json=body)).json()

    jsonschema.validate(json.loads(_text(asyncio.run(work()))), PLAN)


def test_when_json_mode_is_on_then_the_answer_is_json_whatever_the_prompt() -> None:
    for prompt in ("Write a poem", "", "Review this code: x = 1"):
        assert isinstance(json.loads(say(prompt, wants_json=True)), dict)
