"""Profiles as tables: who can be asked, at what price, and whose key is set. Never a key itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from victor_nb.accounting.pricing import retirement
from victor_nb.notebook.tables import frame

if TYPE_CHECKING:
    from victor_nb.config.profiles import Profile
    from victor_nb.notebook.display import Bundle
    from victor_nb.session import Session


def profile_table(home: Session) -> Bundle:
    """Return all profiles, one row each; prices are USD per million tokens."""
    rows = [
        (
            f"{profile.name} (default)" if profile.name == home.settings.default else profile.name,
            profile.provider,
            profile.model,
            key_state(home, profile),
            *prices(home, profile),
        )
        for profile in home.settings.profiles.values()
    ]
    columns = ["profile", "provider", "model", "key", "USD per M in", "USD per M out"]
    return frame(columns, rows, below="Free to use: mode simulate." if home.mode == "simulate" else "")


def usual_profile(home: Session) -> str:
    """Return the name of the default profile, of the first where the settings name none that there is."""
    settings = home.settings
    return settings.default if settings.default in settings.profiles else next(iter(settings.profiles))


def one_profile(home: Session, name: str) -> Bundle:
    """Return what one profile says.

    Raises:
        ProfileNotFoundError: There is none of that name.
    """
    profile = home.settings.profile(name)
    said = {key: value for key, value in profile.model_dump(exclude_defaults=True).items() if key != "name"}
    into, out = prices(home, profile)
    extra = {"address": home.settings.base_url(profile), "key": key_state(home, profile)}
    priced = {"USD per M in": into, "USD per M out": out}
    return frame(["profile", profile.name], list({**said, **extra, **priced}.items()))


def key_state(home: Session, profile: Profile) -> str:
    """Say whether a profile's key is set, and which variable it is looked for in."""
    settings = home.settings
    variables = settings.key_variables(profile)
    if settings.api_key(profile) is not None:
        return "set"
    return f"not set: {' or '.join(variables)}" if settings.needs_key(profile) else "none needed"


def keys_missing(home: Session) -> list[str]:
    """Return the variables that hold no key though a profile needs one."""
    settings = home.settings
    missing = [
        settings.key_variables(profile)[0]
        for profile in settings.profiles.values()
        if settings.needs_key(profile) and settings.api_key(profile) is None
    ]
    return list(dict.fromkeys(missing))


def prices(home: Session, profile: Profile) -> tuple[str, str]:
    """Return what a million tokens in and out cost, in USD."""
    rates = home.prices.rates(
        provider=profile.provider,
        model=profile.model,
        base_url=home.settings.base_url(profile),
        override=profile.prices,
    )
    return ("unpriced", "unpriced") if rates is None else (f"{rates.input:f}", f"{rates.output:f}")


def ending(home: Session, profile: Profile) -> str:
    """Say that a profile's model comes to its end, with the day where it is known; else nothing."""
    if profile.provider == "anthropic" and (day := retirement(profile.model)):
        verb = "retired" if day < datetime.now(UTC).date() else "retires"
        return f"model {verb} on {day}"
    outdated = home.prices.deprecated(profile.provider, profile.model, base_url=home.settings.base_url(profile))
    return "model is deprecated" if outdated else ""
