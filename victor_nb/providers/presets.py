"""The presets: who else speaks OpenAI's protocol, one row of data each, as their documentation and SDKs state it.

A row holds what differs from OpenAI's own row; `spec.PRESETS` makes a `Spec` of each. What of it a host does not take
after all is found out at its first refusal, as everywhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Required, TypedDict
from urllib.parse import urlsplit

from victor_nb.errors import ConnectError, NotFoundError, ProviderError
from victor_nb.media import Attachments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from victor_nb.values import Structured

_REGION: Final = re.compile(r"[a-z]{2,8}(-[a-z0-9]+)+-\d+")


class Row(TypedDict, total=False):
    """The fields of a `Spec` that a preset sets; the others are OpenAI's."""

    base_url: Required[str]
    price_id: Required[str | None]
    base_url_variable: str
    read_address: Callable[[str], str]
    fill_in: str
    key_variables: Required[tuple[str, ...]]
    output_names: tuple[str, ...]
    structured: Structured
    states_cost: str
    resells: bool
    standard_tier: str
    at_capacity: int
    free: bool
    concurrency: int
    hints: Mapping[type[ProviderError], str]
    unreachable: str
    attachments: Attachments | None


def _azure_address(given: str) -> str:
    """Return the address of a resource's v1 API; AZURE_OPENAI_ENDPOINT names the resource alone."""
    return given if urlsplit(given).path.strip("/") else f"{given.rstrip('/')}/openai/v1"


def _bedrock_address(given: str) -> str:
    """Return the address of a region, which AWS_REGION names."""
    if "://" in given:
        return given
    region = given if _REGION.fullmatch(given) else "REGION"
    return f"https://bedrock-runtime.{region}.amazonaws.com/openai/v1"


_MAX_TOKENS: Final = ("max_tokens",)
_MAX_TOKENS_FIRST: Final = ("max_tokens", "max_completion_tokens")


def _local(port: int, start: str) -> Row:
    """Return the row of a server of one's own, which `start` starts: free, and without a key."""
    return {
        "base_url": f"http://127.0.0.1:{port}/v1",
        "price_id": None,
        "free": True,
        "key_variables": (),
        "output_names": _MAX_TOKENS_FIRST,
        "concurrency": 4,  # it queues the rest itself, while our clock runs
        "hints": {ConnectError: f"Is it running? {start}", NotFoundError: f"Serve the model: {start}"},
        "unreachable": f"start it: {start}",
    }


PRESETS: Final[Mapping[str, Row]] = {
    "openrouter": {
        "base_url": "https://openrouter.ai/api/v1",
        "price_id": "openrouter",
        "key_variables": ("OPENROUTER_API_KEY",),
        "states_cost": "openrouter.ai",
        "attachments": Attachments(),  # PDFs too, in OpenAI's form
        "resells": True,
    },
    "xai": {
        "base_url": "https://api.x.ai/v1",
        "price_id": "x-ai",
        "key_variables": ("XAI_API_KEY",),
        "states_cost": "x.ai",
    },
    "groq": {
        "base_url": "https://api.groq.com/openai/v1",
        "price_id": "groq",
        "key_variables": ("GROQ_API_KEY",),
        "standard_tier": "on_demand",
        "at_capacity": 498,  # of the tier that was asked for; nothing was served
        "resells": True,
    },
    "deepseek": {
        "base_url": "https://api.deepseek.com",
        "price_id": "deepseek",
        "key_variables": ("DEEPSEEK_API_KEY",),
        "output_names": _MAX_TOKENS,  # another name is ignored in silence
        "structured": "json",
    },
    "mistral": {
        "base_url": "https://api.mistral.ai/v1",
        "price_id": "mistral",
        "key_variables": ("MISTRAL_API_KEY",),
        "output_names": _MAX_TOKENS,  # another name is refused with 422
    },
    "together": {
        "base_url": "https://api.together.ai/v1",
        "price_id": "together",
        "key_variables": ("TOGETHER_API_KEY",),
        "output_names": _MAX_TOKENS,
        "resells": True,
    },
    "fireworks": {
        "base_url": "https://api.fireworks.ai/inference/v1",
        "price_id": "fireworks",
        "key_variables": ("FIREWORKS_API_KEY",),
        "output_names": _MAX_TOKENS_FIRST,
        "resells": True,
    },
    "cerebras": {
        "base_url": "https://api.cerebras.ai/v1",
        "price_id": "cerebras",
        "key_variables": ("CEREBRAS_API_KEY",),
        "resells": True,
    },
    "moonshot": {
        "base_url": "https://api.moonshot.ai/v1",
        "price_id": "moonshotai",
        "key_variables": ("MOONSHOT_API_KEY",),
    },
    "perplexity": {
        "base_url": "https://api.perplexity.ai",
        "price_id": "perplexity",
        "key_variables": ("PERPLEXITY_API_KEY",),
        "output_names": _MAX_TOKENS,
        "states_cost": "perplexity.ai",
    },
    "azure": {
        "attachments": Attachments(),
        "base_url": "https://RESOURCE.openai.azure.com/openai/v1",
        "base_url_variable": "AZURE_OPENAI_ENDPOINT",
        "read_address": _azure_address,
        "fill_in": "RESOURCE",
        "price_id": "azure",
        "key_variables": ("AZURE_OPENAI_API_KEY",),
        "resells": True,
    },
    "bedrock": {
        "base_url": "https://bedrock-runtime.REGION.amazonaws.com/openai/v1",
        "base_url_variable": "AWS_REGION",
        "read_address": _bedrock_address,
        "fill_in": "REGION",
        "price_id": "aws",
        "key_variables": ("AWS_BEARER_TOKEN_BEDROCK",),
        "resells": True,
    },
    "vllm": _local(8000, "vllm serve {model}"),
    "lmstudio": _local(1234, "lms server start"),
    "llamacpp": _local(8080, "llama-server -m MODEL.gguf"),
    "localai": _local(8080, "local-ai run {model}"),
}
"""By the word after `provider:` in a profile. Of azure, `model` is the name of a deployment."""
