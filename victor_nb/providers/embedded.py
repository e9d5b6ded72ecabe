"""A model in a file, on this machine's CPU: llama.cpp's server in a child process, asked in OpenAI's protocol."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from victor_nb.errors import ConfigError, ConnectError, ProviderOpenError
from victor_nb.fork import in_child
from victor_nb.providers.llama_server import StartError, dismiss, hire, renew, watch
from victor_nb.providers.openai import OpenAI
from victor_nb.providers.weights import INSTALL, engine_there, locate
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from victor_nb.providers.llama_server import Server
    from victor_nb.providers.translate import Endpoint
    from victor_nb.values import ChatRequest, Delta

in_child(renew)


class Embedded(OpenAI):
    """A model file. Its server starts at the first call, or is that of another client of the same file."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._number = watch(self)
        self._server: Server | None = None
        self._file = _file(endpoint) if endpoint.mode not in UNPAID else None
        super().__init__(endpoint)

    @property
    def key(self) -> str:
        """The key of the server that was started; `none` before."""
        return self._server.key if self._server is not None else "none"

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        await self._reach()
        return await super().ask(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""
        await self._reach()
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def _reach(self) -> None:
        """Have a server of the file, and send to it from now on.

        Raises:
            ConnectError: It does not start.
            ProviderOpenError: It is not trusted as it is now.
        """
        if self._file is None:  # the simulator answers
            return
        self.endpoint.vet()
        try:
            server = hire(self._file, self._number)
            if server is self._server:
                return
            url = await server.url()
        except (StartError, OSError) as fault:
            place = self.endpoint
            raise ConnectError(
                f"{place.profile}: {self._file} does not start: {fault}. Check the file, or name another model.",
                profile=place.profile,
                provider=place.spec.name,
                model=place.model,
                retryable=False,
            ) from None
        self._server = server
        vars(self).pop("headers", None)  # they hold the key
        self._connect(f"{url}/v1", server.key)

    async def aclose(self) -> None:
        """Close the connections, and end the server if no other client uses it."""
        await super().aclose()
        dismiss(self._number)


def _file(endpoint: Endpoint) -> Path:
    """Return the model's file, once it is known that it can be served.

    Raises:
        ProviderOpenError: It cannot.
    """
    failed = f"Failed to create provider for profile {endpoint.profile!r}"
    if endpoint.base_url != endpoint.spec.base_url:
        raise ProviderOpenError(f"{failed}: embedded starts its own server. Leave base_url out, or ask llamacpp.")
    if not engine_there():
        raise ProviderOpenError(f"{failed}: xllamacpp is not installed. Run: {INSTALL}")
    try:
        return locate(endpoint.model, endpoint.folders)
    except ConfigError as error:
        raise ProviderOpenError(f"{failed}: {error}") from None
