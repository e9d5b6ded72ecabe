"""A user's desk for one test: a server to ask, a `profiles.yaml` that names it, keys, and the rows that are left.

The fixtures that lay it are in `workbench_fixtures`.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Literal

import pytest
import yaml

from victor_nb import Agent, Settings
from victor_nb.errors import PartialAnswerError, ProviderError, VictorError
from victor_nb.kernel import session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from servers import Dialect, Server
    from servers.exchange import Act
    from victor_nb.calls.agent import Chat
    from victor_nb.calls.orchestrator import AgentOrchestrator
    from victor_nb.values import PromptLike, Reply

    Asks = Agent | AgentOrchestrator | Chat

Way = Literal["plain", "stream"]
CANARY = "canary-7d1f0c5e93b24a68"  # no prefix by which it could be told for a key; the settings know it


class Bench:
    """One server, one provider, one folder."""

    def __init__(self, folder: Path, server: Server, dialect: Dialect, way: Way) -> None:
        self.folder = folder
        self.server = server
        self.dialect = dialect
        self.way: Way = way
        self._agents: list[Agent] = []

    def play(self, *acts: Act) -> None:
        """Set the server's script."""
        self.server.play(*acts)

    def profile(self, **more: object) -> dict[str, object]:
        """Return a profile of this bench's provider at this bench's server; None leaves a key out."""
        base_url = self.dialect.base_url(self.server.url)
        spec = {"provider": self.dialect.name, "model": self.dialect.model, "base_url": base_url, **more}
        return {key: value for key, value in spec.items() if value is not None}

    def write(self, **profiles: Mapping[str, object]) -> None:
        """Write profiles.yaml into the working folder."""
        write_profiles(self.folder, **profiles)

    async def agent(self, **more: object) -> Agent:
        """Return an agent of a profile called `desk`; it fails at the first failure unless `retries` is given."""
        self.write(desk=self.profile(**{"retries": 0, **more}))
        agent = await Agent.create(profile="desk")
        self._agents.append(agent)
        return agent

    def clear(self) -> None:
        """Close what was opened."""
        for agent in self._agents:
            agent.close_sync()

    async def ask(self, agent: Agent, prompt: PromptLike = "How many?", **options: Any) -> Reply:
        """Ask in this bench's way."""
        return await ask(agent, prompt, self.way, **options)

    async def fail(self, agent: Agent, prompt: PromptLike = "How many?", **options: Any) -> VictorError:
        """Ask in vain, and return the error."""
        return await fail(self.ask(agent, prompt, **options))

    async def failure(self, *acts: Act, **profile: object) -> VictorError:
        """Return the error that a script ends in."""
        self.play(*acts)
        return await self.fail(await self.agent(**profile))

    def check(self, error: VictorError, kind: type[ProviderError], status: int | None = None) -> ProviderError:
        """Hold that an error is of its kind and knows whose it is, and that the last row says the same."""
        assert isinstance(error, ProviderError)
        assert type(error) is kind, f"{kind.__name__} expected: {error!r}"
        assert (error.profile, error.provider, error.model) == ("desk", self.dialect.name, self.dialect.model)
        assert error.http_status == status
        row = rows()[-1]
        assert row["status"] == ("partial" if kind is PartialAnswerError else "error")
        assert (row["error_type"], row["attempt"]) == (kind.__name__, 1)
        assert status is None or row["http_status"] == status
        assert row["error"]
        assert row["latency"] is not None
        return error

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the last request."""
        return self.server.requests[-1].json


async def ask(agent: Asks, prompt: PromptLike, way: Way, **options: Any) -> Reply:
    """Ask an agent, an orchestrator or a chat, plainly or by a stream that is read to its end."""
    if way == "plain":
        return await agent.run(prompt, **options)
    stream = agent.stream(prompt, **options)
    pieces = [piece async for piece in stream]
    assert all(pieces), "a piece without text"
    reply = stream.reply
    assert "".join(pieces) == reply.content
    return reply


async def fail(asking: Awaitable[object]) -> VictorError:
    """Await what must fail, and return the error after a look at what it says."""
    with pytest.raises(VictorError) as caught:
        await asking
    assert_clean(caught.value)
    return caught.value


def assert_clean(error: BaseException) -> None:
    """Hold that no key is in any text that an error could be shown as."""
    shown = [str(error), repr(error), *traceback.format_exception(error, limit=0), repr(vars(error))]
    assert not any(CANARY in text for text in shown), shown
    assert "\n" not in str(error)


def rows() -> list[dict[str, Any]]:
    """Return the kernel's ledger rows, in order, and hold that no key is in them."""
    frame = session().ledger.to_frame()
    # By columns: pandas' own `to_dict("records")` takes a second for a few thousand rows.
    columns = {str(name): [said(value) for value in column.tolist()] for name, column in frame.items()}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert CANARY not in repr(records)
    return records


def said(value: object) -> object:
    """Read pandas' ways of saying nothing as None."""
    return None if str(value) in {"<NA>", "NaT", "nan"} else value


def write_profiles(folder: Path, **profiles: Mapping[str, object]) -> None:
    """Write a profiles.yaml and let the kernel's session read it."""
    (folder / "profiles.yaml").write_text(
        yaml.safe_dump({"profiles": {name: dict(spec) for name, spec in profiles.items()}}, sort_keys=False),
        encoding="utf-8",
    )
    session().runtime.use(Settings())
