"""A cast of models on one server: profiles by name, each of which says what a test has it say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from servers import ANTHROPIC, OLLAMA, OPENAI, Answer, Tokens, dialect_of
from victor_nb import Settings, StrategyRun
from victor_nb.errors import VictorError, VictorInterrupted
from victor_nb.kernel import session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from servers import Dialect, Request, Server
    from servers.exchange import Act

SEED = {
    "local": (OLLAMA, "qwen2.5-coder:7b"),
    "fast": (OPENAI, "gpt-4o-mini"),
    "default": (OPENAI, "gpt-4o"),
    "premium": (ANTHROPIC, "claude-sonnet-4-5"),
}
"""The profiles of the seed's funnel."""


@dataclass(frozen=True)
class Asked:
    """What one call asked: the model, the prompt, and which call of that model it is, from 0."""

    model: str
    prompt: str
    turn: int
    request: Request


class Ensemble:
    """Profiles on a server, and a script that answers them: by model, or one function for all."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self._turns: dict[str, int] = {}

    def cast(
        self, profiles: Mapping[str, tuple[Dialect, str]] | None = None, *, strategies: object = None, **more: Any
    ) -> None:
        """Write `profiles.yaml`: each profile a model at this server. `more` goes into every profile."""
        specs = {
            name: {
                "provider": dialect.name,
                "model": model,
                "base_url": dialect.base_url(self.server.url),
                "retries": 0,
            }
            for name, (dialect, model) in (profiles or SEED).items()
        }
        told: dict[str, Any] = {"profiles": {name: {**spec, **more} for name, spec in specs.items()}}
        told |= {} if strategies is None else {"strategies": strategies}
        (self.folder / "profiles.yaml").write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
        session().runtime.use(Settings())

    def play(self, say: Callable[[Asked], str | Answer | Act]) -> None:
        """Answer every call by a function."""

        def answer(request: Request) -> Act:
            asked = dialect_of(request).asked(request)
            turn = self._turns[asked.model] = self._turns.get(asked.model, -1) + 1
            said = say(Asked(asked.model, asked.messages[-1][1], turn, request))
            return Answer(pieces=(said,)) if isinstance(said, str) else said

        self.server.answer = answer

    @property
    def prompts(self) -> list[str]:
        """What was asked, in the order of its coming."""
        return [dialect_of(request).asked(request).messages[-1][1] for request in self.server.requests]

    @property
    def models(self) -> list[str]:
        """Who was asked, in that order."""
        return [dialect_of(request).asked(request).model for request in self.server.requests]


def said(text: str, tokens_in: int = 100, tokens_out: int = 20, **more: Any) -> Answer:
    """Return an answer in two pieces with its tokens."""
    middle = len(text) // 2
    return Answer(pieces=(text[:middle], text[middle:]), tokens=Tokens(input=tokens_in, output=tokens_out), **more)


def _ranking(prompt: str) -> str:
    """Return a ranking that names only ideas which there are."""
    chosen = [place for place, letter in ((4, "d"), (1, "a"), (7, "g")) if f"number {letter}" in prompt] or [1]
    return f"{', '.join(map(str, chosen))}\n\n{chosen[0]} is the boldest."


def by_stage(asked: Asked) -> str:
    """Play the funnel: ten ideas or fewer, a ranking, an implementation, a review."""
    return {
        "qwen2.5-coder:7b": f"1. Idea number {'abcdefghijklmnop'[asked.turn]}",
        "gpt-4o-mini": _ranking(asked.prompt),
        "gpt-4o": "```python\nprint(1)\n```",
        "claude-sonnet-4-5": "The 1 is wrong: print 2.",
    }[asked.model]


def run_of(error: BaseException) -> StrategyRun:
    """Return what had come of the run that an error ended; it is what the session has last, if anything was sent."""
    run = error.partial if isinstance(error, (VictorError, VictorInterrupted)) else session().last
    assert isinstance(run, StrategyRun)
    assert session().last is run or not run.calls
    return run
