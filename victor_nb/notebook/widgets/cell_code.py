"""The `%%victor` cell that asks what a form asks: a notebook's text then says all that was done in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCode:
    """A form, filled in. What is empty is left out.

    Attributes:
        profiles: Who is asked; nobody for the default.
        strategy: The strategy that answers instead.
    """

    prompt: str
    profiles: tuple[str, ...] = ()
    strategy: str = ""
    system: str = ""
    max_tokens: str = ""
    temperature: str = ""
    budget: str = ""

    @property
    def line(self) -> str:
        """What stands after `%%victor`."""
        given = {
            "system": self.system,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "budget": self.budget,
        }
        return " ".join([*self._who(), *(f"{key}={shlex.quote(value)}" for key, value in given.items() if value)])

    def _who(self) -> list[str]:
        if self.strategy:
            return [f"strategy={shlex.quote(self.strategy)}"]
        if len(self.profiles) > 1:
            return [f"profiles={shlex.quote(','.join(self.profiles))}"]
        return [f"profile={shlex.quote(name)}" for name in self.profiles]

    def __str__(self) -> str:
        """Return the whole cell."""
        return f"{f'%%victor {self.line}'.rstrip()}\n{self.prompt}"
