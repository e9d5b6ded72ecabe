"""What is known of hosts and models, as rows of data, and how the addresses of hosts are read.

`PRESETS` is who else speaks OpenAI's protocol, what of a host differs from OpenAI's own row; `spec` makes a `Spec` of
each. Of models, each table is by provider and by a pattern that their names start with, and the first that fits counts:
how long they answer, when they retire, what they take. All of it is as documentation and SDKs stated it on 2026-11-25.
Where a provider is silent about a model, the words of its API hold; what a host does not take after all is found out
at its first refusal, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Final, Required, TypeAlias, TypedDict
from urllib.parse import urlsplit

from victor_nb.errors import ConnectError, NotFoundError, ProviderError
from victor_nb.media import Attachments

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.values import Structured

# --- addresses ---

_LOCAL_HOST: Final = re.compile(
    r"^https?://(?:[^/@]*@)?(localhost|\[::1\]|0\.0\.0\.0|host\.docker\.internal|(127|192\.168|10)(\.\d+)+)(?=[:/?#]|$)"
)
_REGION: Final = re.compile(r"[a-z]{2,8}(-[a-z0-9]+)+-\d+")
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([^:]*))?")
_ANY_HOST: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
"""What a server is bound to so that all may ask it, and where it is then."""
_LAST_PORT: Final = 65_535
_OF_AN_API: Final = re.compile(r"/(v1|api)$")
"""The end of an address that names an API of Ollama's, and not the server."""


def host_of(base_url: str) -> str:
    """Return host and port of an address, without a user or a password."""
    return urlsplit(base_url).netloc.rpartition("@")[2]


def is_local(base_url: str) -> bool:
    """Return whether an address is of this machine or this network."""
    return _LOCAL_HOST.match(base_url) is not None


def in_networks(host: str, exempt: str) -> bool:
    """Return whether a host is one of the IP addresses or networks (10.0.0.0/8, ::1) in a NO_PROXY."""
    import ipaddress  # noqa: PLC0415 - only behind a proxy

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for word in exempt.replace(",", " ").split():
        try:
            if address in ipaddress.ip_network(word.strip("[]"), strict=False):
                return True
        except ValueError:  # a name
            continue
    return False


def ollama_address(given: str) -> str:
    """Read OLLAMA_HOST as ollama's own client does, and leave out the path of one of its two APIs.

    Scheme, host and port may be missing, and quotes stand around it; the port is that of the scheme, if one is given.
    """
    scheme, named, rest = given.strip(" \t\r\n\"'").rpartition("://")
    host, _, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    found = _HOST.fullmatch(host)
    bare, port = (found[1], found[2]) if found else (host, None)  # else an IPv6 address without brackets
    if not (port and port.isdecimal() and int(port) <= _LAST_PORT):
        port = {"http": "80", "https": "443"}.get(scheme if named else "", "11434")
    bare = _ANY_HOST.get(bare.strip("[]"), bare.strip("[]"))
    bare = f"[{bare}]" if ":" in bare else bare
    path = _OF_AN_API.sub("", f"/{path}".rstrip("/"))
    return f"{scheme if named else 'http'}://{user}{at}{bare}:{port}{path}"


def _azure_address(given: str) -> str:
    """Return the address of a resource's v1 API; AZURE_OPENAI_ENDPOINT names the resource alone, by host or by name."""
    if "://" not in given:
        given = f"https://{given if '.' in given else f'{given}.openai.azure.com'}"
    return given if urlsplit(given).path.strip("/") else f"{given.rstrip('/')}/openai/v1"


def _bedrock_address(given: str) -> str:
    """Return the address of a region, which AWS_REGION names."""
    if "://" in given:
        return given
    region = given if _REGION.fullmatch(given) else "REGION"
    return f"https://bedrock-runtime.{region}.amazonaws.com/openai/v1"


# --- hosts ---


class Row(TypedDict, total=False):
    """The fields of a `Spec` that a preset sets; the others are OpenAI's."""

    base_url: Required[str]
    price_id: Required[str | None]
    base_url_variable: str
    read_address: Callable[[str], str]
    fill_in: str
    key_variables: Required[tuple[str, ...]]
    output_names: tuple[str, ...]
    models_path: str
    lists_all: bool
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
        "models_path": "/models/user",  # those that the key may ask; the other list is for all
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
        "lists_all": False,  # a deployment of one's own is not in it
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
        "models_path": "",
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
        "lists_all": False,  # base models, not deployments
        "resells": True,
    },
    "bedrock": {
        "base_url": "https://bedrock-runtime.REGION.amazonaws.com/openai/v1",
        "base_url_variable": "AWS_REGION",
        "read_address": _bedrock_address,
        "fill_in": "REGION",
        "price_id": "aws",
        "key_variables": ("AWS_BEARER_TOKEN_BEDROCK",),
        "models_path": "",  # only bedrock-mantle, its other endpoint, has one
        "resells": True,
    },
    "vllm": _local(8000, "vllm serve {model}"),
    "lmstudio": _local(1234, "lms server start"),
    "llamacpp": {**_local(8080, "llama-server -m MODEL.gguf"), "lists_all": False},  # one model, by any name
    "localai": _local(8080, "local-ai run {model}"),
}
"""By the word after `provider:` in a profile. Of azure, `model` is the name of a deployment."""


# --- models ---

Words: TypeAlias = Mapping[str, Mapping[str, tuple[str, ...]]]
"""The words for an option, by the option and by the models that take them."""

FLEX_SECONDS: Final = 900.0
"""How long OpenAI says to wait for an answer of the flex tier, also where nothing has come yet."""

OUTPUTS: Final[Mapping[str, Mapping[str, int]]] = {
    "openai": {
        r"gpt-5-pro": 272_000,
        r"gpt-5.*chat|gpt-4o(?!-2024-05)": 16_384,
        r"gpt-[5-9]": 128_000,
        r"gpt-4\.1": 32_768,
        r"o1-mini": 65_536,
        r"o[134]": 100_000,
        r"gpt-4-turbo|gpt-4o|gpt-3\.5": 4_096,
        r"gpt-4": 8_192,
    },
    "google": {r"(models/)?gemini-(2\.5|[3-9])": 65_536, r"(models/)?gemini-(1\.5|2\.0)": 8_192},
}
"""The most tokens that an answer may have."""

_FIREWORKS: Final = "accounts/fireworks/models/"
STARTERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "anthropic": ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"),
    "openai": ("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"),
    "google": ("gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-3.1-pro-preview"),
    "openrouter": ("openai/gpt-6-luna", "anthropic/claude-sonnet-5.5", "anthropic/claude-opus-5.5"),
    "xai": ("grok-4-1-fast-non-reasoning", "grok-4.3", "grok-4.7"),
    "mistral": ("ministral-8b-latest", "mistral-small-latest", "mistral-large-latest"),
    "groq": ("llama-3.1-8b-instant", "openai/gpt-oss-20b", "openai/gpt-oss-120b"),
    "deepseek": ("deepseek-v4-flash", "deepseek-v4-flash", "deepseek-v4-pro"),
    "together": ("Qwen/Qwen3.5-9B", "openai/gpt-oss-120b", "Qwen/Qwen3.7-Max"),
    "fireworks": (f"{_FIREWORKS}gpt-oss-20b", f"{_FIREWORKS}gpt-oss-120b", f"{_FIREWORKS}kimi-k3"),
    "cerebras": ("gpt-oss-120b", "gpt-oss-120b", "qwen-3.8-27b"),
    "moonshot": ("kimi-k2.6", "kimi-k3.1-pro", "kimi-k3"),
    "perplexity": ("sonar", "sonar-reasoning-pro", "sonar-pro"),
}
"""A cheap model, a usual one and an expensive one, by provider, in the order in which providers are chosen from."""

RETIRES: Final[Mapping[str, Mapping[str, date]]] = {
    # The list of prices knows that a model is deprecated, never the day.
    "anthropic": {
        "claude-mythos-preview": date(2026, 6, 30),
        "claude-sonnet-4-5": date(2026, 11, 30),
        "claude-opus-4-5": date(2027, 1, 22),
    },
    "openai": {
        **dict.fromkeys(("gpt-5", "gpt-5-mini", "gpt-5-nano", "o3"), date(2026, 12, 11)),
        **dict.fromkeys(("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"), date(2027, 1, 14)),
    },
}
"""The day on which a model is switched off, as its provider announced it, by the whole name of the model."""

_MB: Final = 1_000_000  # bytes

ATTACHMENTS: Final[Mapping[str, Attachments]] = {
    # As its pages on vision, PDFs and the sizes of requests state on 2026-11-26.
    "anthropic": Attachments(
        image_bytes=10 * _MB, request_bytes=32 * _MB, side=8_000, crowd=(20, 2_000), tokens={"": 4_784}
    ),
    # As its pages on images and on files state on 2026-11-26: the tokens of the models that it counts by tiles, or by
    # at most 1,536 patches times a factor. What the others count grows with the image.
    "openai": Attachments(
        blind=r"gpt-3\.5|gpt-4(-0|-1106|-32k|$)|o1-(mini|preview)|o3-mini",
        pdf_bytes=50 * _MB,
        request_bytes=512 * _MB,
        tokens={
            r"gpt-4o-mini": 48_169,
            r"gpt-4o|gpt-4\.1(?!-)|gpt-4\.1-2|gpt-4-turbo|chatgpt|o1|o3|gpt-5(-2|$)|gpt-5-chat": 1_445,
            r"gpt-4\.1-(mini|nano)|o4-mini|gpt-5-(mini|nano)": 3_779,
        },
    ),
    # As its pages on files and on the resolution of media state on 2026-11-26.
    "google": Attachments(
        formats=("png", "jpeg", "webp"),
        pdf_bytes=50 * _MB,
        request_bytes=100 * _MB,
        tokens={r"(models/)?gemini-[3-9]": 2_240},
    ),
}
"""What is taken in a prompt beside text."""

_USUAL: Final = ("low", "medium", "high")
_TO_MAX: Final = (*_USUAL, "xhigh", "max")
_EVERY: Final = ("none", "minimal", *_TO_MAX)
_NO_EFFORT: Final[tuple[str, ...]] = ()
_SOLD: Final = ("standard", "flex", "priority")
_GEMINI: Final = r"(models/)?gemini-"

_OPENAI: Final[Words] = {
    "effort": {
        r"gpt-5.*chat|gpt-[34]|chatgpt|o1-mini|ft:gpt-[34]": _NO_EFFORT,
        r"o[1-9]|gpt-oss": _USUAL,
        r"gpt-5-pro": ("high",),
        r"gpt-5-codex|gpt-5\.1-codex(?!-max)": _USUAL,
        r"gpt-5(?!\.)": ("minimal", *_USUAL),
        r"gpt-5\.[1-5][\w.-]*-codex": (*_USUAL, "xhigh"),
        r"gpt-5\.[2-5][\w.-]*-pro": ("medium", "high", "xhigh"),
        r"gpt-5\.1": ("none", *_USUAL),
        r"gpt-5\.[2-5]": ("none", *_USUAL, "xhigh"),
        r"gpt-6\.": _TO_MAX,
        r"gpt-(5\.|6)": ("none", *_TO_MAX),
        r"": _EVERY,
    },
    # As the list of prices has them, too.
    "tier": {
        r"gpt-5\.[45]-(nano|pro)|gpt-5-nano": ("standard", "flex"),
        r"gpt-5(-mini|\.[1245]|\.6-(luna|sol|terra))?(-mini)?(-20[\d-]+)?$|gpt-6(\.\d)?-(astra|luna|sol|terra)"
        r"|o3(-20[\d-]+)?$|o4-mini(?!-deep)": _SOLD,
        r"gpt-4(\.1|o)(-mini|-nano)?(-20[\d-]+)?$|gpt-5\.3-codex": ("standard", "priority"),
        r"(gpt|chatgpt|o\d|ft:)": ("standard",),
        r"": _SOLD,
    },
    # Since gpt-5.6 what is written to the cache is charged, and may be left out; before, it is automatic and free.
    "prompt_cache": {r"gpt-(5\.[6-9]|[6-9])": ("auto", "off"), r"": ("auto",)},
}
_ANTHROPIC: Final[Words] = {
    "effort": {
        r"claude-(opus-4-5)": _USUAL,
        r"claude-(opus|sonnet)-4-6|claude-mythos-preview": (*_USUAL, "max"),
        r"claude-(opus-4-[78]|(opus|sonnet|haiku|fable|mythos)-[5-9])": _TO_MAX,
        r"claude-[\d]|claude-(opus|sonnet|haiku)-4|claude-v|claude-instant": _NO_EFFORT,
        r"": _TO_MAX,
    },
    # Fast mode on older models needs the header of a beta.
    "tier": {r"claude-(opus-5-5|fable-5-2|mythos-5-2)": ("standard", "fast"), r"": ("standard",)},
    "prompt_cache": {r"": ("auto", "5m", "1h", "off")},
}
_GOOGLE: Final[Words] = {
    "effort": {
        rf"{_GEMINI}2\.5-pro": _USUAL,
        rf"{_GEMINI}2\.5-flash": ("none", *_USUAL),
        rf"{_GEMINI}3-pro": ("low", "high"),
        rf"{_GEMINI}3(\.[15])?-flash": ("minimal", *_USUAL),
        rf"{_GEMINI}([3-9])": _USUAL,
    },
    "tier": {rf"{_GEMINI}(2\.5|[3-9])(?!.*(image|live|tts|embedding))": _SOLD, r"": ("standard",)},
    "prompt_cache": {r"": ("auto",)},
}
_COMPATIBLE: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "openrouter": {r"": _EVERY},
    "xai": {r"grok-(3-mini|4\.[3-9]|[5-9])": _USUAL},
    "groq": {r"openai/gpt-oss": _USUAL, r"qwen": ("none",)},
    "deepseek": {r"": ("low", "high", "max")},
    "mistral": {r"mistral-(small|medium)": ("none", "high")},
    "together": {r"": _USUAL},
    "fireworks": {r".*gpt-oss": _USUAL, r"": ("none", *_USUAL)},
    "cerebras": {r"qwen": ("none", *_USUAL), r"": _USUAL},
    "moonshot": {r"kimi-k3": ("low", "high", "max")},
    "perplexity": {r"": ("minimal", *_USUAL)},
    "azure": {r"": _EVERY},
    "bedrock": {r"openai\.gpt-oss": _USUAL},
    "vllm": {r"": ("none", *_USUAL)},
}
"""The efforts at the hosts that speak OpenAI's protocol."""

WORDS: Final[Mapping[str, Words]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "google": _GOOGLE,
    "ollama": {"effort": {r"gpt-oss": _USUAL, r"": ("none", *_USUAL)}},
    **{name: {"effort": efforts} for name, efforts in _COMPATIBLE.items()},
    "groq": {"effort": _COMPATIBLE["groq"], "tier": {r"": ("standard", "flex")}},
    "azure": {"effort": _COMPATIBLE["azure"], "tier": {r"": _SOLD}, "prompt_cache": {r"": ("auto", "off")}},
}
"""What `effort=`, `tier=` and `prompt_cache=` may be, by provider."""

BUDGETS: Final = {"none": 0, "low": 1_024, "medium": 8_192, "high": 24_576}
"""Tokens of thought that Google takes an effort for, where a model has budgets and no levels."""
