"""The providers: a table of strings, imported when someone asks."""

from __future__ import annotations

import pkgutil
import threading
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from victor_nb.providers.base import Endpoint, Provider

PROVIDERS: Final = {
    "anthropic": "victor_nb.providers.anthropic:Anthropic",
    "google": "victor_nb.providers.google:Google",
    "ollama": "victor_nb.providers.ollama:Ollama",
    "openai": "victor_nb.providers.openai:OpenAI",
}
_importing: Final = threading.Lock()


def open_provider(name: str, endpoint: Endpoint) -> Provider:
    """Return a client of one provider; importing its SDK is the slow part."""
    return load_provider(name)(endpoint)


def load_provider(name: str) -> type[Provider]:
    """Import one provider's client. One thread at a time: two that import one SDK may each see half of it."""
    with _importing:
        return cast("type[Provider]", pkgutil.resolve_name(PROVIDERS[name]))
