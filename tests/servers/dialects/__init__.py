"""The protocols as their public documentation has them, written without a look at the code that is tested.

Quirks (`Answer.quirks`), each seen on real servers:
    zeros_first      anthropic: message_start counts nothing, message_delta has all (LiteLLM)
    usage_in_choice  openai: the usage chunk has `choices: [{"delta": {}}]` (LiteLLM)
    usage_on_finish  openai: usage stands on the chunk with the finish reason
    text_first       openai: the role chunk has the first text already (LiteLLM)
    usage_last       google: usage on the last chunk only
    no_usage         no usage at all
    no_done          openai: no `[DONE]` at the end
    done             responses: a `[DONE]` at the end, which OpenAI does not send
    pings            anthropic: `ping` events between the others; openai: comment lines
    crlf, tight      lines end in CRLF; no blank after `data:`
    thinks           the model's thoughts come before its text, and are no part of it
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from servers.dialects.anthropic import Anthropic
from servers.dialects.base import THOUGHT, Asked, Dialect, Event
from servers.dialects.google import Google
from servers.dialects.ollama import Ollama
from servers.dialects.openai import OpenAI
from servers.dialects.responses import Responses

if TYPE_CHECKING:
    from servers.exchange import Request

__all__ = [
    "ANTHROPIC",
    "DIALECTS",
    "GOOGLE",
    "OLLAMA",
    "OPENAI",
    "PROTOCOLS",
    "RESPONSES",
    "THOUGHT",
    "Asked",
    "Dialect",
    "Event",
    "dialect_of",
]

ANTHROPIC, OPENAI, GOOGLE, OLLAMA, RESPONSES = Anthropic(), OpenAI(), Google(), Ollama(), Responses()
DIALECTS: tuple[Dialect, ...] = (ANTHROPIC, OPENAI, GOOGLE, OLLAMA)
"""One of each provider."""
PROTOCOLS: tuple[Dialect, ...] = (*DIALECTS, RESPONSES)
"""With those that a provider has for some of its models only."""


def dialect_of(request: Request) -> Dialect:
    """Return the protocol that a request speaks."""
    path = re.sub(r"^https?://[^/]*", "", request.path)  # a proxy is asked for a whole address
    for dialect in PROTOCOLS:
        if request.method == "POST" and dialect.speaks(path):
            return dialect
    raise AssertionError(f"no protocol has {request.method} {request.path}")
