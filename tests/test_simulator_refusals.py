"""What the simulator does not take, and how it says so: each provider in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from simulated import PROMPT, PROVIDERS, chat, claude, http, request, run

if TYPE_CHECKING:
    import httpx2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_when_there_are_no_messages_then_the_refusal_is_the_providers(provider: str) -> None:
    async def bad() -> httpx2.Response:
        path, body = request(provider, PROMPT, stream=True)
        emptied = {key: value for key, value in body.items() if key not in ("messages", "contents")}
        async with http() as client:
            return await client.post(path, json=emptied)

    response = run(bad())
    error = response.json()["error"]
    assert response.status_code == 400
    assert "messages" in str(error) or "contents" in str(error)
    if provider == "google":
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("provider", "change", "said"),
    [
        ("anthropic", {"max_tokens": 0}, "max_tokens"),
        ("anthropic", {"messages": "Hi"}, "valid list"),
        ("anthropic", {"model": None}, ""),
        ("openai", {"model": ""}, "model parameter"),
        ("openai", {"messages": []}, "empty array"),
        ("openai", {"messages": "Hi"}, "array of objects"),
        ("openai", {"max_tokens": 0}, "below minimum"),
        ("openai", {"model": "o3-mini", "max_tokens": 9}, "max_completion_tokens"),
        ("google", {"contents": [{"role": "user"}]}, "contents.parts"),
        ("google", {"generation_config": {"max_output_tokens": 0}}, "must be positive"),
        ("ollama", {"model": ""}, "model is required"),
    ],
)
def test_when_a_request_is_wrong_then_it_is_refused(provider: str, change: dict[str, Any], said: str) -> None:
    async def bad() -> httpx2.Response:
        path, body = request(provider, PROMPT, stream=False)
        async with http() as client:
            return await client.post(path, json=body | change)

    response = run(bad())
    assert response.status_code == 400
    assert said in response.text


def test_when_the_body_is_not_json_then_it_is_refused_too() -> None:
    async def bad() -> httpx2.Response:
        async with http() as client:
            return await client.post("/v1/messages", content=b"{nonsense")

    assert run(bad()).status_code == 400


def test_when_a_model_refuses_a_parameter_then_the_error_names_it() -> None:
    async def work() -> None:
        turns: Any = [{"role": "user", "content": "Hi"}]
        async with claude() as client, chat() as other:
            with pytest.raises(anthropic.BadRequestError, match=r"temperature: Extra inputs are not permitted"):
                await client.messages.create(
                    model="claude-sonnet-5-5", max_tokens=5, messages=turns, extra_body={"temperature": 0.5}
                )
            with pytest.raises(openai.BadRequestError, match=r"does not support 0[.]5") as refused:
                await other.chat.completions.create(model="gpt-5-mini", messages=turns, temperature=0.5)
            assert (refused.value.param, refused.value.code) == ("temperature", "unsupported_value")
            with pytest.raises(openai.NotFoundError):
                await other.embeddings.create(model="text-embedding-3-small", input="Hi")

    run(work())


def test_when_a_path_is_not_a_question_then_it_is_not_found() -> None:
    async def work() -> None:
        async with claude() as client, http() as plain:
            with pytest.raises(anthropic.NotFoundError):
                await client.models.list()
            lost = await plain.get("/nowhere")
        assert (lost.status_code, lost.headers["content-type"]) == (404, "application/json")
        assert lost.json()["error"]["message"]

    run(work())
