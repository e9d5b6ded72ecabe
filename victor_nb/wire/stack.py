"""Puts the transports together for a mode, outermost first."""

from __future__ import annotations

import pkgutil
from functools import cached_property
from typing import TYPE_CHECKING

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    import httpx2

    from victor_nb.values import Mode
    from victor_nb.wire.tls import Tls


class Wire:
    """What all clients of a session share below their protocols."""

    @cached_property
    def tls(self) -> Tls:
        """The session's TLS contexts."""
        from victor_nb.wire.tls import Tls  # noqa: PLC0415 - as in `open`

        return Tls()

    def warm_up(self) -> None:
        """Do early what the first request would have to wait for."""
        pkgutil.resolve_name("victor_nb.wire.sockets")
        self.tls.context("https:")

    def open(self, mode: Mode, *, base_url: str, proxy: str | None, sim_speed: float) -> httpx2.AsyncBaseTransport:
        """Return a transport of its own for one client.

        Raises:
            ConfigError: The mode has no transport.
        """
        if mode == "simulate":
            from victor_nb.wire.simulator import Simulator  # noqa: PLC0415 - only this mode needs it

            return Simulator(speed=sim_speed)
        if mode == "live":
            from victor_nb.wire.real import Real  # noqa: PLC0415 - httpx2 is not needed to import us

            return Real(tls=self.tls, base_url=base_url, proxy=proxy)
        raise ConfigError(f"Mode {mode!r} is not available yet. Use live or simulate (%victor mode simulate).")
