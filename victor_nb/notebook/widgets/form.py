"""The form of the playground: what is asked, whom, and what is sent beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from victor_nb.notebook.widgets.cell_code import CellCode
from victor_nb.notebook.widgets.choices import Choices
from victor_nb.notebook.widgets.kit import Dropdown, HBox, Text, Textarea, Widget, on_change, stack, styled
from victor_nb.providers.temperature import takes_temperature
from victor_nb.workflows.strategies import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.session import Session

_NO_STRATEGY: Final = ("none", "")
_WARM: Final = 0.5  # neither 0 nor 1, which some models take that take no other temperature


class Form:
    """The fields, and the cell that they come to.

    Args:
        home: Whose profiles and strategies there are.
        prompt: What stands in the prompt box at first.
        chosen: Who is asked at first.
        strategy: The strategy that answers at first; empty for none.
    """

    def __init__(self, home: Session, prompt: str, chosen: Sequence[str], strategy: str) -> None:
        self._home = home
        strategies = dict.fromkeys((*home.settings.strategies, *BUILT_IN))
        options = [_NO_STRATEGY, *((name, name) for name in strategies)]
        self.prompt: Any = Textarea(
            prompt, description="Prompt", rows=4, placeholder="Ask anything; {{ name }} inserts a variable"
        )
        self.who = Choices("Profiles", list(home.settings.profiles), chosen)
        self.strategy: Any = Dropdown(description="Strategy", options=options, value=strategy)
        self.system: Any = Text(description="System prompt", placeholder="none")
        self.max_tokens: Any = Text(description="Max tokens", placeholder="the profile's")
        self.temperature: Any = Text(description="Temperature", placeholder="the profile's")
        self.budget: Any = Text(description="Budget, USD", placeholder="no limit")

    @property
    def parts(self) -> tuple[Widget, ...]:
        """The form as it is laid out."""
        first, second = stack(self.strategy, self.max_tokens), stack(self.temperature, self.budget)
        return (
            styled(self.prompt, "victor-wide"),
            styled(self.system, "victor-wide"),
            styled(HBox([self.who, first, second]), "victor-beside"),
        )

    def on_change(self, do: Callable[[], object]) -> None:
        """Do something whenever a field has changed."""
        fields = (self.prompt, self.who, self.strategy, self.system, self.max_tokens, self.temperature, self.budget)
        for field in fields:
            on_change(field, "value", do)

    def cell(self) -> CellCode:
        """Return the `%%victor` cell that asks the same."""
        strategy = str(self.strategy.value)
        return CellCode(
            prompt=self.prompt.value,
            profiles=() if strategy else self.who.value,
            strategy=strategy,
            system=" ".join(self.system.value.splitlines()).strip(),
            max_tokens=self.max_tokens.value.strip(),
            temperature="" if self.temperature.disabled else self.temperature.value.strip(),
            budget=self.budget.value.strip(),
        )

    def settle(self) -> None:
        """Close the fields that mean nothing now, and list the profiles that there are."""
        strategy = bool(self.strategy.value)
        self.who.show(list(self._home.settings.profiles))
        cold = [name for name in self.who.value if not self._takes_temperature(name)]
        without = not strategy and len(cold) == len(self.who.value) > 0
        self.who.disabled, self.temperature.disabled = strategy, without
        self.temperature.placeholder = f"not taken by {', '.join(cold)}"[:40] if cold else "the profile's"

    def _takes_temperature(self, name: str) -> bool:
        profile = self._home.settings.profiles.get(name)
        if profile is None:
            return True
        return takes_temperature(profile.provider, profile.model, _WARM, refused=self._home.unheated)
