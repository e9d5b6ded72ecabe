"""Servers that speak the providers' protocols, well or badly, and remember what they were asked.

Nothing here imports victor_nb: a server that shared its code would share its mistakes.
"""

from __future__ import annotations

from servers.answers import Answer, Tokens, model_list
from servers.dialects import ANTHROPIC, DIALECTS, GOOGLE, OLLAMA, OPENAI, PROTOCOLS, RESPONSES, Dialect, dialect_of
from servers.exchange import Exchange, Request
from servers.server import Server, closed_port

__all__ = [
    "ANTHROPIC",
    "DIALECTS",
    "GOOGLE",
    "OLLAMA",
    "OPENAI",
    "PROTOCOLS",
    "RESPONSES",
    "Answer",
    "Dialect",
    "Exchange",
    "Request",
    "Server",
    "Tokens",
    "closed_port",
    "dialect_of",
    "model_list",
]
