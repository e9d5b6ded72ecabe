"""`%victor doctor`: whether each profile can be asked: key, address, price, age, model. It spends nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from victor_nb.notebook.markdown import frame
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session
    from victor_nb.notebook.display import Bundle


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
    if day := spec_of(profile.provider).retirement(profile.model):
        verb = "retired" if day < datetime.now(UTC).date() else "retires"
        return f"model {verb} on {day}"
    outdated = home.prices.deprecated(profile.provider, profile.model, base_url=home.settings.base_url(profile))
    return "model is deprecated" if outdated else ""


_PATIENCE: Final = 4.0  # seconds for one address


@dataclass(frozen=True, slots=True)
class _Finding:
    """What an address said."""

    reachable: str
    advice: str = ""


def examine(home: Session) -> Bundle:
    """Return a row for each profile. In simulate mode the network is left alone.

    Raises:
        KeyboardInterrupt: Stop was pressed; the look-ups were cancelled.
    """
    profiles = list(home.settings.profiles.values())
    if home.mode in {"simulate", "replay"}:
        findings = [_Finding(f"not asked: {home.mode}")] * len(profiles)
    else:
        findings = home.loop.start(lambda: _visit_all(home, profiles)).result()
    rows = [_row(home, profile, finding) for profile, finding in zip(profiles, findings, strict=True)]
    below = f"mode {home.mode}: no network was used." if home.mode in {"simulate", "replay"} else ""
    return frame(["profile", "model", "key", "reachable", "USD per M in / out", "advice"], rows, below=below)


def _row(home: Session, profile: Profile, finding: _Finding) -> tuple[str, ...]:
    key = key_state(home, profile)
    rates = prices(home, profile)
    advice = [finding.advice] if finding.advice else []
    if end := ending(home, profile):
        advice.append(f"{end}: choose a newer one")
    if rates[0] == "unpriced":
        advice.append("price is unknown: give the profile prices")
    if key.startswith("not set") and home.mode in {"live", "record"}:
        advice.append(f"set {home.settings.key_variables(profile)[0]}")
    return (
        profile.name,
        profile.model,
        key,
        finding.reachable,
        " / ".join(dict.fromkeys(rates)),
        "; ".join(advice) or "ok",
    )


async def _visit_all(home: Session, profiles: Sequence[Profile]) -> list[_Finding]:
    return list(await asyncio.gather(*(_visit(home, profile) for profile in profiles)))


async def _visit(home: Session, profile: Profile) -> _Finding:
    """Ask an address for its list of models: that costs nothing."""
    import httpx2  # noqa: PLC0415 - slow to import

    spec = spec_of(profile.provider)
    base_url = home.settings.base_url(profile)
    transport = home.wire.open("live", base_url=base_url, proxy=home.settings.proxy(base_url), sim_speed=0.0)
    try:
        async with asyncio.timeout(_PATIENCE), httpx2.AsyncClient(transport=transport, trust_env=False) as client:
            answer = await client.get(base_url + spec.models_path)
    except TimeoutError:
        return _Finding(f"no answer in {_PATIENCE:g} s", f"check {base_url}")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return _Finding(f"no: {type(error).__name__}", spec.unreachable.format(base_url=base_url))
    return _pulled(profile, answer) if profile.provider == "ollama" else _Finding("yes")


def _pulled(profile: Profile, answer: httpx2.Response) -> _Finding:
    """Tell whether ollama has the model; `qwen3` stands for `qwen3:latest`."""
    try:
        listing: Any = answer.json()
        names = {str(model["name"]) for model in listing["models"]}
    except (ValueError, KeyError, TypeError):
        return _Finding("yes, but it is not ollama", "check base_url")
    wanted = {profile.model, f"{profile.model}:latest"}
    return _Finding("yes") if wanted & names else _Finding("yes", f"ollama pull {profile.model}")
