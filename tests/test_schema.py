"""Answers that must fit a schema: sent in each provider's way, checked, asked for again once, every attempt billed."""

from __future__ import annotations

import json
import pickle
import traceback
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from pydantic import BaseModel, Field, field_validator

from cells import PROFILES, Shell
from servers import OPENAI, Answer, Tokens, faults
from victor_nb import Agent, Replies, session
from victor_nb.calls.json_schema import strict
from victor_nb.calls.schema import Misfit, schema_of
from victor_nb.errors import (
    ConfigError,
    FanOutError,
    InvalidAnswerError,
    MalformedAnswerError,
    RateLimitError,
    SecretError,
    VictorInterrupted,
)
from victor_nb.money import Total
from victor_nb.values import Reply
from workbench import CANARY, rows, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Dialect, Server
    from servers.answers import Finish
    from workbench import Bench

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

GOOD = '{"number": "7", "lines": [{"what": "tea", "price": 1.5}]}'
WRONG = '{"number": "7", "lines": [{"what": "tea", "price": "dear"}]}'
FAULT = "lines.0.price: input should be a valid number"


class Line(BaseModel):
    what: str
    price: float


class Invoice(BaseModel):
    number: str
    lines: list[Line]


class Kitten(TypedDict):
    name: str
    weight: NotRequired[int]


class Litter(TypedDict):
    names: list[str]
    father: Kitten | None
    next: NotRequired[Litter]


@dataclass
class Point:
    x: int
    y: int = 3


class Node(BaseModel):
    value: int
    children: list[Node] = Field(default_factory=list["Node"])


def says(text: str, **more: Any) -> Answer:
    """Return an answer of a text, in two pieces."""
    half = len(text) // 2
    return Answer(pieces=(text[:half], text[half:]), **more)


def paid() -> Decimal | None:
    """Return what all rows of the ledger cost; None where that of any is unknown."""
    return Total.of(session().ledger.rows()).exact_cost


# --- what is sent ---


def sent_schema(dialect: Dialect, body: dict[str, Any]) -> dict[str, Any]:
    """Return the schema from where the provider expects it."""
    match repr(dialect):
        case "openai":
            form = body["response_format"]
            assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
            assert form["json_schema"]["name"] == "Invoice"
            return form["json_schema"]["schema"]
        case "responses":
            form = body["text"]["format"]
            assert (form["type"], form["strict"], form["name"]) == ("json_schema", True, "Invoice")
            return form["schema"]
        case "anthropic":
            assert body["output_config"]["format"]["type"] == "json_schema"
            return body["output_config"]["format"]["schema"]
        case "google":
            assert body["generationConfig"]["responseMimeType"] == "application/json"
            return body["generationConfig"]["responseJsonSchema"]
        case _:
            return body["format"]


async def test_when_a_schema_is_given_then_each_provider_is_sent_its_own_form_and_data_is_an_instance(
    bench: Bench,
) -> None:
    bench.play(says(GOOD))
    reply = await bench.ask(await bench.agent(), schema=Invoice)

    assert reply.data == Invoice(number="7", lines=[Line(what="tea", price=1.5)])
    assert (reply.content, reply.status, reply.attempts, reply.notes) == (GOOD, "ok", 1, ())
    schema = sent_schema(bench.dialect, bench.body)
    assert schema == strict(Invoice.model_json_schema())
    assert schema["additionalProperties"] is False
    assert "JSON" not in json.dumps(bench.dialect.asked(bench.server.requests[0]).system)
    (row,) = rows()
    assert (row["status"], reply.cost) == ("ok", paid())


async def test_when_params_hold_a_form_of_their_own_then_it_wins(bench: Bench) -> None:
    own: dict[str, dict[str, Any]] = {
        "responses": {"text": {"format": {"type": "text"}}},
        "openai": {"response_format": {"type": "json_object"}},
        "anthropic": {"output_config": {"format": {"type": "own"}}},
        "google": {"responseMimeType": "text/x-own"},
        "ollama": {"format": "own"},
    }
    bench.play(says(GOOD))
    reply = await bench.ask(await bench.agent(), schema=Invoice, params=own[repr(bench.dialect)])
    assert reply.data.number == "7"
    assert json.dumps(next(iter(own[repr(bench.dialect)].values()))) in json.dumps(bench.body)


async def test_when_a_schema_has_no_strict_form_then_it_stands_in_the_system_prompt(bench: Bench) -> None:
    bench.play(says('{"tea": 3}'))
    reply = await bench.ask(await bench.agent(system="Be brief."), schema=dict[str, int])
    assert reply.data == {"tea": 3}
    system = bench.dialect.asked(bench.server.requests[0]).system or ""
    assert system.startswith("Be brief.\n\nReply with JSON only")
    assert json.loads(system.partition("schema:\n")[2]) == {
        "additionalProperties": {"type": "integer"},
        "type": "object",
    }
    mode = {"type": "json_object"}
    modes = {"openai": mode, "responses": mode, "google": "application/json", "ollama": "json"}
    assert modes.get(repr(bench.dialect)) in (
        bench.body.get("response_format"),
        bench.body.get("text", {}).get("format"),
        bench.body.get("format"),
        bench.body.get("generationConfig", {}).get("responseMimeType"),
    )


async def test_when_a_model_refuses_a_schema_then_it_is_learnt_once_and_asked_in_words(bench: Bench) -> None:
    refusals = {
        "openai": "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "anthropic": "output_config.format: this model does not support structured outputs",
        "google": "Unknown name response_json_schema: Cannot find field.",
        "ollama": "invalid format: expected json",
    }
    bench.play(faults.status(400, refusals[bench.dialect.name]), says(GOOD))
    agent = await bench.agent()
    reply = await bench.ask(agent, schema=Invoice)
    again = await bench.ask(agent, schema=Invoice)

    assert reply.data == again.data == Invoice.model_validate_json(GOOD)
    assert (reply.attempts, again.attempts) == (2, 1)
    host = f"{bench.server.url.partition('//')[2]} takes no JSON schema of {bench.dialect.model}"
    assert (reply.notes, again.notes) == ((f"the schema stands in the prompt: {host}",), ())
    asked = [bench.dialect.asked(request).system or "" for request in bench.server.requests]
    assert ["JSON schema:" in system for system in asked] == [False, True, True]
    assert [row["status"] for row in rows()] == ["error", "ok", "ok"]
    assert [(row["tags"] or {}).get("schema") for row in rows()] == [None, "sent as json", "sent as json"]


# --- answers that do not fit ---


async def test_when_an_answer_does_not_fit_then_it_is_asked_for_again_with_what_is_wrong(bench: Bench) -> None:
    bench.play(says(WRONG), says(GOOD))
    reply = await bench.ask(await bench.agent(), schema=Invoice)

    assert reply.data == Invoice.model_validate_json(GOOD)
    assert (reply.content, reply.status, reply.attempts) == (GOOD, "ok", 2)
    assert reply.notes[0].startswith(f"asked twice: the first answer did not fit ({FAULT}")
    first, second = rows()
    assert (first["status"], first["error_type"], first["http_status"]) == ("invalid", "InvalidAnswerError", 200)
    assert f"the answer does not fit Invoice: {FAULT}" in str(first["error"])
    assert (second["status"], second["attempt"], second["call_id"]) == ("ok", 2, first["call_id"])
    assert reply.cost == paid()
    assert reply.usage.input_tokens == 240
    turns = bench.dialect.asked(bench.server.requests[1]).messages
    assert [role for role, _ in turns] == ["user", "assistant", "user"]
    assert turns[1][1] == WRONG
    assert FAULT in turns[2][1]


async def test_when_no_answer_fits_then_the_error_holds_the_last_one_and_the_sum(bench: Bench) -> None:
    worse = "I cannot read it."
    bench.play(says(WRONG), says(worse))
    error = await bench.fail(await bench.agent(retries=2), schema=Invoice)

    assert isinstance(error, InvalidAnswerError)
    assert isinstance(error, MalformedAnswerError)
    assert str(error) == (
        "desk: the answer does not fit Invoice: it is not JSON. Simplify the schema, or ask another profile."
    )
    assert isinstance(error.reply, Reply)
    assert error.partial is error.reply is session().last
    assert (error.reply.content, error.reply.status, error.reply.data) == (worse, "invalid", None)
    assert error.reply.notes[0].startswith(f"asked twice: the first answer did not fit ({FAULT}")
    assert error.reply.notes[1] == "it does not fit Invoice: it is not JSON"
    assert [row["status"] for row in rows()] == ["invalid", "invalid"]
    assert error.reply.cost == paid()
    assert len(bench.server.requests) == 2


@pytest.mark.parametrize(
    ("finish", "told"),
    [("length", "it ends at max_tokens. Raise max_tokens"), ("content_filter", "it was withheld. Rephrase the prompt")],
)
@pytest.mark.parametrize("way", ["plain"])
@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_second_answer_would_be_no_better_then_none_is_paid_for(
    bench: Bench, finish: Finish, told: str
) -> None:
    bench.play(says('{"number": "7", "lin', finish=finish))
    error = await bench.fail(await bench.agent(), schema=Invoice)
    assert told in str(error)
    assert [row["status"] for row in rows()] == ["invalid"]


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_asking_again_fails_then_the_first_answer_is_kept(bench: Bench) -> None:
    bench.play(says(WRONG), faults.status(429))
    error = await bench.fail(await bench.agent(), schema=Invoice)
    assert isinstance(error, InvalidAnswerError)
    assert error.__notes__[0].startswith("Asked again: RateLimitError: ")
    assert isinstance(error.__cause__, RateLimitError)
    assert isinstance(error.reply, Reply)
    assert (error.reply.content, error.reply.attempts) == (WRONG, 2)
    assert error.reply.cost == paid()

    bench.play(says(WRONG), faults.status(429), says(GOOD))
    reply = await bench.ask(await bench.agent(retries=1), schema=Invoice)
    assert (reply.data.number, reply.attempts) == ("7", 3)


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_budget_has_no_room_for_asking_again_then_the_first_answer_is_kept(bench: Bench) -> None:
    bench.play(says(WRONG, tokens=Tokens(input=120, output=100)), says(GOOD))
    agent = await bench.agent(max_tokens=100)
    with session().budget.limit("0.0002"):
        error = await bench.fail(agent, schema=Invoice)
    assert isinstance(error, InvalidAnswerError)
    assert error.__notes__[0].startswith("Not asked again: ")
    assert isinstance(error.reply, Reply)
    assert error.reply.content == WRONG
    assert "asked twice" not in str(error.reply.notes)
    assert len(bench.server.requests) == 1


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
@pytest.mark.parametrize("way", ["stream"])
async def test_when_the_second_asking_is_stopped_then_the_first_answer_is_kept(bench: Bench) -> None:
    bench.play(says(WRONG), faults.silence())
    agent = await bench.agent()
    stream = agent.stream("How many?", schema=Invoice)
    bench.server.wait(lambda: len(bench.server.requests) == 2)
    error = stream.interrupted()
    assert isinstance(error, VictorInterrupted)
    assert isinstance(error.partial, Reply)
    assert (error.partial.content, error.partial.status, error.partial.data) == (WRONG, "interrupted", None)
    assert [row["status"] for row in rows()] == ["invalid", "interrupted"]
    assert session().last is error.partial


async def test_when_a_streamed_answer_fits_then_it_comes_as_one_piece_and_grows_as_text(bench: Bench) -> None:
    bench.play(says(WRONG), says(GOOD))
    agent = await bench.agent()
    stream = agent.stream("How many?", schema=Invoice)
    assert [piece async for piece in stream] == [GOOD]
    assert stream.text == stream.reply.content == GOOD


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_json_is_fenced_or_broken_then_it_is_read(bench: Bench) -> None:
    agent = await bench.agent()
    bench.play(says(f"<think>Well, {{}}.</think>\nHere:\n```json\n{GOOD}\n```\nDone."))
    assert (await bench.ask(agent, schema=Invoice)).data.number == "7"
    bench.play(says("{'number': '7', 'lines': [],}"))
    reply = await bench.ask(agent, schema=Invoice)
    assert (reply.data, reply.notes) == (Invoice(number="7", lines=[]), ("the JSON was broken, and is repaired",))


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_validator_speaks_of_a_key_then_it_is_not_shown(bench: Bench) -> None:
    class Careless(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, value: str) -> str:
            raise ValueError(f"not {value}")

    class Broken(Careless):
        @field_validator("name")
        @classmethod
        def check(cls, value: str) -> str:
            raise KeyError(value)

    bench.play(says(json.dumps({"name": CANARY})))
    agent = await bench.agent()
    told = {
        Careless: "name: value error, not [redacted]. Simplify the schema, or ask another profile.",
        Broken: "a validator failed (KeyError). It failed at test_schema.py, line ",
    }
    for given, words in told.items():
        with pytest.raises(InvalidAnswerError) as caught:
            await bench.ask(agent, schema=given)
        assert words in str(caught.value)
        assert ("in check()." in str(caught.value)) is (given is Broken)
        assert "test_schema.py" not in json.dumps(bench.body["messages"][-1])
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert CANARY not in json.dumps(bench.body["messages"][-1])
    assert len(rows()) == 4


# --- the check of the issue ---


async def test_when_a_server_is_wrong_twice_in_five_then_each_answer_fits_or_is_marked_and_all_is_billed(
    bench: Bench,
) -> None:
    wrong = (1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0)
    bench.play(*(says(WRONG if each else GOOD) for each in wrong))
    agent = await bench.agent()
    outcomes: list[Any] = []
    while len(bench.server.requests) < len(wrong):
        try:
            outcomes.append(await bench.ask(agent, schema=Invoice))
        except InvalidAnswerError as error:
            outcomes.append(error.reply)

    assert [outcome.status for outcome in outcomes].count("invalid") == wrong.count(1) // 3
    for outcome in outcomes:
        assert (outcome.data == Invoice.model_validate_json(GOOD)) is (outcome.status == "ok")
    found = rows()
    assert [row["status"] for row in found] == ["invalid" if each else "ok" for each in wrong]
    assert all(FAULT in row["error"] for row in found if row["status"] == "invalid")
    assert paid() == sum(outcome.cost for outcome in outcomes)
    assert all(row["cost"] is not None for row in found)
    for request in bench.server.requests:
        assert sent_schema(bench.dialect, request.json) == strict(Invoice.model_json_schema())


def test_when_a_cell_gives_a_schema_then_it_shows_json_and_the_reply_has_an_instance(
    live: Shell, server: Server
) -> None:
    live.names["Invoice"] = Invoice
    server.play(says(WRONG), says(GOOD))
    ran = live.run("%%victor fast schema=$Invoice out=r\nRead this.")
    assert ran.error is None
    assert live.names["r"].data == Invoice.model_validate_json(GOOD)
    assert '```json\n{\n  "number": "7"' in ran.shown
    assert "asked twice" in ran.plain

    server.play(says(WRONG))
    error = live.fail("%%victor fast schema=$Invoice out=s\nRead this.")
    assert isinstance(error, InvalidAnswerError)
    assert FAULT in str(error)
    assert "s" not in live.names
    assert session().last is error.reply
    shown = live.run("%%victor fast schema=$Invoice\nRead this.").plain
    assert '"dear"' in shown
    assert "invalid" in shown
    assert f"it does not fit Invoice: {FAULT}" in shown
    assert [row["status"] for row in rows()] == ["invalid", "ok", *["invalid"] * 4]


def test_when_several_are_asked_with_a_schema_then_each_reply_has_data(live: Shell, server: Server) -> None:
    live.names["Invoice"] = Invoice
    server.play(says(GOOD), says(WRONG), says(WRONG), says(GOOD))
    assert live.run("%%victor profiles=fast n=3 schema=$Invoice out=r\nRead this.").error is None
    replies = live.names["r"]
    assert len(rows()) >= 4
    assert all(reply.data == Invoice.model_validate_json(GOOD) for reply in replies.ok)


def test_when_a_dry_run_has_a_schema_then_its_bytes_count(shell: Shell) -> None:
    shell.names["Invoice"] = Invoice
    without, with_schema = (shell.run(f"%%victor fast {key} --dry\nHi.").plain for key in ("", "schema=$Invoice"))
    assert "Invoice" in with_schema

    def tokens(shown: str) -> int:
        return int(shown.partition("about ")[2].split()[0])

    assert tokens(with_schema) > tokens(without) + 30


def test_when_a_schema_holds_a_key_then_nothing_is_sent(live: Shell) -> None:
    live.names["leaky"] = {"type": "object", "properties": {"a": {"type": "string", "description": CANARY}}}
    error = live.fail("%%victor fast schema=$leaky\nHi.")
    assert isinstance(error, SecretError)
    assert rows() == []


def test_when_tab_is_pressed_behind_schema_then_types_and_mappings_are_offered(shell: Shell) -> None:
    shell.names.update(Invoice=Invoice, Lines=list[Line], shape={"type": "object"}, number=7)
    assert {"$Invoice", "$Lines", "$shape"} <= shell.complete("%%victor fast schema=")
    assert shell.complete("%%victor fast schema=$I") == {"$Invoice"}
    assert "$number" not in shell.complete("%%victor fast schema=")


async def test_when_an_agent_is_made_with_a_schema_then_its_answers_fit_it(shell: Shell) -> None:
    assert shell
    for agent in (
        await Agent.create("fast", schema=Invoice),
        await Agent.create(provider="openai", model="gpt-4o-mini", schema=Invoice),
    ):
        assert isinstance((await agent.run("Read this.")).data, Invoice)
        assert (await agent.run("Read this.", schema=None)).data is None
        chat = agent.chat()
        reply = await chat.run("Read this.")
        assert chat.history[-1].content == reply.content
        await agent.close()


def test_when_a_schema_is_wrong_then_every_surface_refuses_it_in_the_same_words(shell: Shell) -> None:
    told = "takes a JSON schema, which this mapping is not: 'strng' is not valid"
    wrong = {"type": "object", "properties": {"a": {"type": "strng"}}}
    shell.names["wrong"] = wrong
    assert told in str(shell.fail("%%victor fast schema=$wrong\nHi."))
    with pytest.raises(ConfigError, match="schema= takes a JSON schema"):
        session().pool.get_orchestrator("fast").run_sync("Hi.", schema=wrong)
    with pytest.raises(ConfigError, match="no type that pydantic knows"):
        session().pool.get_orchestrator("fast").run_sync("Hi.", schema=object())
    with pytest.raises(ConfigError, match="schema: takes a JSON schema"):
        Agent.create_sync("fast", schema=wrong)
    ask = session().pool.get_orchestrator("fast").run_sync
    with pytest.raises(ConfigError, match="takes a JSON schema, which this mapping is not"):
        ask("Hi.", schema={"$schema": 5})
    with pytest.raises(ConfigError, match="schema= takes a pydantic model, a type or a JSON schema, not a value of"):
        ask("Hi.", schema=rows)
    for reference in ("$ref", "$dynamicRef"):
        with pytest.raises(ConfigError, match="refers to '#Item', which is not in it"):
            ask("Hi.", schema={"type": "object", "properties": {"a": {reference: "#Item"}}})
    with pytest.raises(ConfigError, match=r"refers to 'https://example.com/x', which is not in it"):
        session().pool.get_orchestrator("fast").run_sync("Hi.", schema={"$ref": "https://example.com/x"})
    assert rows() == []


def test_when_nothing_satisfies_a_schema_then_a_simulated_answer_is_invalid(shell: Shell) -> None:
    shell.names["none"] = {"type": "object", "properties": {"a": {"type": "string", "enum": []}}, "required": ["a"]}
    assert isinstance(shell.fail("%%victor fast schema=$none\nHi."), InvalidAnswerError)


def test_when_a_profile_has_a_schema_then_its_answers_fit_it(shell: Shell, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 30}}, "required": ["age"]}
    write_profiles(tmp_path, default={**PROFILES["fast"], "schema": schema})
    assert shell.run("%%victor out=r\nHow old?").error is None
    assert shell.names["r"].data["age"] >= 30


# --- as= ---


def test_when_json_is_asked_for_without_a_schema_then_it_is_repaired_and_says_so(live: Shell, server: Server) -> None:
    server.play(says('{"a": 1}'))
    live.run("%%victor fast as=json out=r\nGive JSON.")
    assert (live.names["r"].data, live.names["r"].notes) == ({"a": 1}, ())
    server.play(says("Here it is:\n```json\n{'a': [1, 2,], }\n```"))
    ran = live.run("%%victor fast as=json out=r\nGive JSON.")
    assert ran.error is None
    assert live.names["r"].data == {"a": [1, 2]}
    assert live.names["r"].notes == ("the JSON was broken, and is repaired",)
    assert session().last is live.names["r"]
    assert "the JSON was broken, and is repaired" in ran.plain


def test_when_a_table_is_asked_for_then_data_is_a_frame(live: Shell, server: Server) -> None:
    live.names["Lines"] = list[Line]
    server.play(says('{"items": [{"what": "tea", "price": 1.5}, {"what": "jam", "price": 2}]}'))
    ran = live.run("%%victor fast as=table schema=$Lines out=r\nList.")
    assert ran.error is None
    frame = live.names["r"].data
    assert (list(frame.columns), frame["price"].sum(), len(frame)) == (["what", "price"], 3.5, 2)
    assert "| tea | 1.5 |" in ran.shown

    server.play(says("| what | price |\n|---|---|\n| tea | 1.5 |\n| jam | 2 |"))
    live.run("%%victor fast as=table out=r\nList.")
    assert live.names["r"].data["price"].sum() == 3.5

    server.play(says("See [1]."))
    assert "holds no table" in str(live.fail("%%victor fast as=table\nList."))


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ('{"items": ["tea", "jam"]}', ["tea", "jam"], "| tea |"),
        ('["tea", 2]', ["tea", 2], "| 2 |"),
        ('{"items": [["tea", 2]]}', [["tea", 2]], '"tea", 2'),
        ('{"items": []}', [], "no rows"),
    ],
)
def test_when_a_list_of_anything_is_a_table_then_it_is_shown_as_its_frame(
    live: Shell, server: Server, text: str, values: list[object], shown: str
) -> None:
    live.names["Values"] = {"type": "array"}
    server.play(says(text))
    ran = live.run("%%victor fast as=table schema=$Values out=r\nList.")
    assert ran.error is None
    assert live.names["r"].data.to_dict("records") == [{"value": value} for value in values]
    assert shown in ran.frames[-1].get("text/markdown", ran.plain)


# --- types ---


CIRCLE: dict[str, Any] = {
    "$ref": "#/$defs/A",
    "$defs": {
        "A": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "object", "properties": {"m": {"type": "integer"}}}]},
        "B": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]},
    },
}
"""Alternatives that are each other's."""


ANCHORED: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"$ref": "#whole"}},
    "$defs": {"A": {"$anchor": "whole", "type": "integer"}},
}


class Pet(BaseModel):
    kind: Literal["cat", "dog"]
    born: date
    weight: Annotated[Decimal, Field(ge=0, description="in kilograms")]
    owner: str | None = None
    tags: list[str] = Field(default_factory=list[str], max_length=3)


def test_when_a_type_is_made_strict_then_all_is_required_and_limits_stand_in_descriptions() -> None:
    schema = schema_of(Pet).strict
    assert schema is not None
    fields = schema["properties"]
    assert schema["required"] == list(fields) == ["kind", "born", "weight", "owner", "tags"]
    assert fields["kind"] == {"type": "string", "enum": ["cat", "dog"]}
    assert fields["born"] == {"type": "string", "format": "date"}
    assert fields["weight"]["anyOf"][0] == {"type": "number", "description": '{"minimum": 0.0}'}
    assert fields["weight"]["description"] == "in kilograms"
    assert fields["owner"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    listed, nothing = fields["tags"]["anyOf"]
    assert (listed["items"], listed["description"]) == ({"type": "string"}, '{"maxItems": 3}')
    assert nothing == {"type": "null"}
    assert not {"$ref", "$defs", "minimum", "maxItems", "title", "default"} & set(json.dumps(schema).split('"')[1::4])


@pytest.mark.parametrize(
    "given",
    [
        dict[str, int],
        Node,
        tuple[int, str],
        Any,
        {"type": "object"},
        {"type": "object", "patternProperties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "array"},
    ],
    ids=str,
)
def test_when_a_type_has_no_strict_form_then_there_is_none(given: object) -> None:
    assert schema_of(given).strict is None


@pytest.mark.parametrize(
    ("given", "text", "value"),
    [
        (Kitten, '{"name": "Mo", "weight": null}', {"name": "Mo"}),
        (Litter, '{"names": ["Mo"], "father": null, "next": null}', {"names": ["Mo"], "father": None}),
        (Point, '{"x": 1, "y": null}', Point(1)),
        (list[Line], '{"items": [{"what": "tea", "price": 1}]}', [Line(what="tea", price=1)]),
        (list[Line], '[{"what": "tea", "price": 1}]', [Line(what="tea", price=1)]),
        (list[Kitten], '{"items": [{"name": "Mo", "weight": null}]}', [{"name": "Mo"}]),
        (int, '{"value": 7}', 7),
        (int | None, '{"value": null}', None),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Line | Point, '{"value": {"x": 2, "y": null}}', Point(2)),
        (Node, '{"value": 1, "children": [{"value": 2}]}', Node(value=1, children=[Node(value=2)])),
        (tuple[int, str], '{"items": [1, "a"]}', (1, "a")),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": null}', {}),
        ({"type": "object", "properties": {"items": {"type": "array"}}}, '{"items": [1]}', {"items": [1]}),
        ({"type": "array", "items": {"type": "integer"}}, '{"items": [1]}', [1]),
        ({"anyOf": [{"type": "integer"}, {"$ref": "#/anyOf/0"}]}, '{"value": 1}', 1),
        (ANCHORED, '{"a": 1}', {"a": 1}),
    ],
    ids=str,
)
def test_when_an_answer_fits_then_its_value_is_of_the_type(given: object, text: str, value: object) -> None:
    assert schema_of(given).read(text) == (value, False)
    assert schema_of(given) is schema_of(given)


@pytest.mark.parametrize(
    ("given", "text", "told"),
    [
        (Invoice, "{}", "number: field required and 1 more"),
        (Invoice, "Sorry.", "it is not JSON"),
        (list[int], '{"items": [1, "x"]}', "1: input should be a valid integer"),
        (Kitten, '{"name": null}', "name: input should be a valid string"),
        (Litter, "{}", "names: field required and 1 more"),
        (Litter, '{"names": [], "father": null, "next": {"names": []}}', "next.father: field required"),
        ({"type": "object", "required": ["a"]}, '{"canary": 1}', 'the whole: does not satisfy required: ["a"]'),
        (
            {"type": "object", "properties": {"a": {"enum": [1, 2]}}},
            '{"a": "canary"}',
            "a: does not satisfy enum: [1, 2]",
        ),
        (Invoice, '{"number": "7", "lines": [', "it is not JSON"),
        (CIRCLE, '{"value": {"n": 1, "m": null}}', "the schema, or the answer, has no end"),
    ],
    ids=str,
)
def test_when_an_answer_does_not_fit_then_the_fault_says_where_and_not_what_it_was(
    given: object, text: str, told: str
) -> None:
    with pytest.raises(Misfit) as caught:
        schema_of(given).read(text)
    assert str(caught.value).startswith(told)
    assert "canary" not in str(caught.value)


def test_when_a_reply_with_data_is_pickled_then_it_comes_back_whole(shell: Shell) -> None:
    for given in (Invoice, Point, Kitten):
        reply = session().pool.get_orchestrator("fast").run_sync("Read this.", schema=given)
        again = pickle.loads(pickle.dumps(reply))
        assert (again, again.data) == (reply, reply.data)
    with pytest.raises(InvalidAnswerError) as caught:
        session().pool.get_orchestrator("fast").run_sync("Read.", schema=Annotated[str, Field(pattern=r"^\d{9}$")])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.faults, copy.reply) == (caught.value.faults, caught.value.reply)


@pytest.mark.parametrize("given", [Invoice, Pet, list[Line], Kitten, Point, Node, dict[str, int], int], ids=str)
async def test_when_an_answer_is_simulated_then_it_fits_in_every_protocol(
    dialect: Dialect, given: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    agent = await Agent.create(provider=dialect.name, model=dialect.model)
    reply = await agent.run("Read this.", schema=given)
    assert (reply.attempts, reply.status) == (1, "ok")
    await agent.close()


def test_when_no_sample_of_several_fits_then_each_entry_is_marked_and_billed(live: Shell, server: Server) -> None:
    assert live
    server.play(says(WRONG))
    with pytest.raises(FanOutError, match="does not fit Invoice") as caught:
        session().pool.fan_out_sync("Hi.", ["fast"], n=2, schema=Invoice)
    replies = caught.value.replies
    assert isinstance(replies, Replies)
    frame = replies.to_frame()
    assert frame["status"].tolist() == ["invalid", "invalid"]
    assert frame["attempts"].tolist() == [2, 2]
    assert replies.cost == paid()
    assert [row["status"] for row in rows()] == ["invalid"] * 4


def test_when_a_background_answer_does_not_fit_then_its_result_is_the_error(live: Shell, server: Server) -> None:
    live.names["Invoice"] = Invoice
    server.play(says(WRONG))
    assert live.run("%%victor fast schema=$Invoice bg=true out=job\nRead this.").error is None
    with pytest.raises(InvalidAnswerError, match="does not fit Invoice"):
        live.names["job"].result()
