"""Profiles for the keys that a user has: those that come with victor_nb, and the file that `profiles new` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from victor_nb.providers.catalog import STARTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from victor_nb.config.profiles import Profile

_RANKS: Final[Mapping[str, int]] = {"fast": 0, "default": 1, "premium": 2}
_PURPOSES: Final = {
    "default": "a %%victor that names no profile asks this one",
    "fast": "cheap and quick",
    "local": "on this machine: free",
    "premium": "the best, and the most expensive",
}
_HEAD: Final = """\
# Profiles of victor_nb: `%%victor fast` asks the one called fast. What you save here counts from the next cell on.
# `%victor profiles` shows what each costs, `%victor doctor` whether it can be asked; neither spends anything.
# Keys stand in the environment, or in a file .env beside this one, and never here.
"""
_TAIL: Final = """
# What else a profile takes, such as:
#   max_tokens: 800                # the longest answer
#   temperature: 0.2
#   timeout: 60                    # seconds for the whole call
#   concurrency: 4                 # calls at once
#   fallback: [local]              # who answers where this one cannot
#   base_url: https://llm.example.org/v1
#   api_key_env: HOUSE_API_KEY     # the variable that holds the key
#   prices: {input: 0.20, output: 0.80}    # USD per million tokens
#
# budget: 2.00                     # USD that one notebook may spend; what might not fit is not sent
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What answers on this machine.

    Attributes:
        ollama: The models that ollama has, the smallest first; None where it does not answer.
        embedded: Whether the model of `%victor local` is here, with its engine.
    """

    ollama: tuple[str, ...] | None = None
    embedded: bool = False


def suited(profiles: Mapping[str, Profile], lacking: Collection[str], providers: Sequence[str]) -> dict[str, Profile]:
    """Return profiles in which those that lack a key (by name) are of the first provider that has one."""
    found = dict(profiles)
    for name in set(lacking) & _RANKS.keys() if providers else ():
        profile = profiles[name]
        if profile.model in STARTERS.get(profile.provider, ()):  # what was changed in a checkout stays as it is
            model = STARTERS[providers[0]][_RANKS[name]]
            found[name] = profile.model_copy(update={"provider": providers[0], "model": model})
    return found


def starter(shipped: Mapping[str, tuple[str, str]], keyed: Mapping[str, str], machine: Machine) -> str:
    """Return a `profiles.yaml` to start with.

    Args:
        shipped: Provider and model of the profiles that come with victor_nb, by name.
        keyed: The providers whose key is set, and the variable that holds it.
        machine: What answers without one.
    """
    providers = list(keyed)
    chosen = {name: _choose(name, shipped[name], providers, machine) for name in _PURPOSES}
    keys = f"# Keys that were set when this was written: {', '.join(keyed.values())}.\n" if keyed else _NO_KEY
    lines = [_HEAD + keys, "default: default", "", "profiles:"]
    for name, (provider, model, note) in chosen.items():
        lines += [f"  {name}:{' ' * (9 - len(name))}# {_PURPOSES[name]}", f"    provider: {provider}"]
        lines += [f"    model: {model}{f'  # {note}' if note else ''}", ""]
    return "\n".join(lines[:-1]) + "\n" + _TAIL


_NO_KEY: Final = "# No key was set when this was written: set one, or try all of it free: `%victor mode simulate`.\n"
_EMBEDDED: Final = ("embedded", "smollm2-135m", "a 135M model on your CPU: real tokens, little sense")


def _choose(name: str, shipped: tuple[str, str], providers: Sequence[str], machine: Machine) -> tuple[str, str, str]:
    """Return provider, model and a note for a profile."""
    if name != "local" and providers:
        provider = shipped[0] if shipped[0] in providers else providers[0]
        return provider, STARTERS[provider][_RANKS[name]], ""
    if machine.ollama:
        place = {"fast": 0, "premium": -1}.get(name, len(machine.ollama) // 2)
        return "ollama", machine.ollama[place], ""
    if machine.embedded:
        return _EMBEDDED
    if name == "local":
        return *shipped, f"needs `ollama pull {shipped[1]}`; or: provider: embedded, after `%victor local yes`"
    return *shipped, ""
