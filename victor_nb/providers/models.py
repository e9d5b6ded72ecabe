"""What is known of single models: how long they answer, when they retire, which words they take.

Each is a table by provider and by a pattern that the names of models start with; the first that fits counts. All of it
is as documentation and SDKs stated it on 2026-11-25. Where a model takes no words, asking for one is an error before
anything is sent; where a provider is silent about a model, the words of its API hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final, TypeAlias

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
