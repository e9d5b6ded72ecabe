"""`%victor doctor`: whether each profile can be asked: key, address, price, age, model. It spends nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from victor_nb.calls.request import WORDED
from victor_nb.config.secret import masked
from victor_nb.errors import ConfigError, VictorError
from victor_nb.notebook.markdown import Bundle, frame
from victor_nb.providers.spec import all_specs, spec_of
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session
    from victor_nb.providers.base import Ping, Provider


def profile_table(session: Session) -> Bundle:
    """Return all profiles, one row each; prices are USD per million tokens."""
    rows = [
        (
            f"{profile.name} (default)" if profile.name == session.settings.default else profile.name,
            profile.provider,
            profile.model,
            key_state(session, profile),
            *prices(session, profile),
        )
        for profile in session.settings.profiles.values()
    ]
    columns = ["profile", "provider", "model", "key", "USD per M in", "USD per M out"]
    free = "Free to use: mode simulate. " if session.mode == "simulate" else ""
    return frame(columns, rows, below=free + _others(session))


def _others(session: Session) -> str:
    """Return which providers can be asked without a profile, those first whose key is set or not needed."""
    keyed, keyless, rest = list[str](), list[str](), list[str]()
    for spec in all_specs().values():
        kept = keyed if session.settings.key_of(spec.key_variables) else rest
        (kept if spec.needs_key(spec.base_url) else keyless).append(spec.name)
    ready = [*keyed, *keyless]
    words = f"Without a profile: provider:model, such as {ready[0]}:MODEL. Ready: {', '.join(ready)}."
    return f"{words} No key is set for {', '.join(rest)}." if rest else words


def usual_profile(session: Session) -> str:
    """Return the name of the default profile, of the first where the settings name none that there is."""
    settings = session.settings
    return settings.default if settings.default in settings.profiles else next(iter(settings.profiles))


def one_profile(session: Session, name: str) -> Bundle:
    """Return the settings of one profile, its address, key and prices; or all that is known of one provider.

    Raises:
        ProfileNotFoundError: There is none of that name.
    """
    if name not in session.settings.profiles and name in all_specs():
        return _provider(session, name)
    profile = session.settings.profile(name)
    given = {key: value for key, value in profile.model_dump(exclude_defaults=True).items() if key != "name"}
    given |= {"base_url": masked(profile.base_url)} if profile.base_url else {}
    into, out = prices(session, profile)
    extra = {"address": masked(session.settings.base_url(profile)), "key": key_state(session, profile)}
    priced = {"USD per M in": into, "USD per M out": out}
    spec, model = spec_of(profile.provider), profile.model
    words = {name: spec.words_for(name, model) for name in sorted(WORDED)}
    takes = {f"takes {name}": " ".join(taken) for name, taken in words.items() if taken}
    limits = spec.attachments
    takes["beside text"] = str(limits) if limits is not None and limits.takes(model) else "nothing"
    if spec.apis:
        takes["asked by"] = spec.api_of(model, profile.api)
    return frame(["profile", profile.name], list({**given, **extra, **priced, **takes}.items()))


def _provider(session: Session, name: str) -> Bundle:
    """Return what is known of a provider: its address, its key, whose prices it has, what it is sent."""
    spec, settings = spec_of(name), session.settings
    key = "set" if settings.key_of(spec.key_variables) else f"not set: {' or '.join(spec.key_variables)}"
    prices = "free" if spec.free else f"genai-prices: {spec.price_id}" if spec.price_id else "unknown"
    rows = {
        "address": masked(settings.address(spec)),
        "key": key if spec.key_variables else "none needed",
        "prices": f"{prices}, unless an answer states its cost" if spec.states_cost else prices,
        "output limit": spec.output_names[0],
        "JSON by": spec.structured,
        "beside text": spec.attachments or "nothing",
        "at once": "any number" if spec.concurrency is None else spec.concurrency,
        "to ask": f"%%victor {name}:MODEL",
    }
    return frame(["provider", name], list(rows.items()))


def key_state(session: Session, profile: Profile) -> str:
    """Return whether a profile's key is set, and the variable that would hold it."""
    settings = session.settings
    variables = settings.key_variables(profile)
    if settings.api_key(profile) is not None:
        return "set"
    return f"not set: {' or '.join(variables)}" if settings.needs_key(profile) else "none needed"


def keys_missing(session: Session) -> list[str]:
    """Return the variables that hold no key though a profile needs one."""
    settings = session.settings
    missing = [
        settings.key_variables(profile)[0]
        for profile in settings.profiles.values()
        if settings.needs_key(profile) and settings.api_key(profile) is None
    ]
    return list(dict.fromkeys(missing))


def prices(session: Session, profile: Profile) -> tuple[str, str]:
    """Return what a million tokens in and out cost, in USD."""
    rates = session.runtime.tariff(profile, session.settings.base_url(profile)).rates()
    if rates is None:
        return "unpriced", "unpriced"
    return (f"{rates.input:f}", f"{rates.output:f}") if rates.input or rates.output else ("free", "free")


def ending(session: Session, profile: Profile) -> str:
    """Return that a profile's model is or will be retired, with the day where it is known; else an empty text."""
    if day := spec_of(profile.provider).retirement(profile.model):
        verb = "retired" if day < datetime.now(UTC).date() else "retires"
        return f"model {verb} on {day}"
    outdated = session.runtime.prices.deprecated(
        profile.provider, profile.model, base_url=session.settings.base_url(profile)
    )
    return "model is deprecated" if outdated else ""


def examine(session: Session, names: Sequence[str] = ()) -> Bundle:
    """Return a row for each profile, or for these, `provider:model` among them. It spends nothing.

    In simulate mode the network is left alone.

    Raises:
        ProfileNotFoundError: There is none of such a name.
        KeyboardInterrupt: Stop was pressed; the look-ups were cancelled.
    """
    settings = session.settings
    profiles = [settings.profile(name) for name in names] or list(settings.profiles.values())
    rows = [_row(session, profile, ping) for profile, ping in zip(profiles, _ping_all(session, profiles), strict=True)]
    below = f"mode {session.mode}: no network was used." if session.mode in UNPAID else ""
    if session.mode == "simulate":
        below = "\n\n".join((below, *_answers(session)))
    return frame(["profile", "model", "key", "host", "reachable", "USD per M in / out", "advice"], rows, below=below)


def _answers(session: Session) -> list[str]:
    """Return a line for each entry of the answers files that no call of this kernel has used, or what is wrong."""
    try:
        return session.runtime.answers.unused(session.settings.answer_files)
    except ConfigError as error:
        return [str(error)]


def _row(session: Session, profile: Profile, ping: Ping) -> tuple[str, ...]:
    key = key_state(session, profile)
    rates = prices(session, profile)
    advice = [ping.advice] if ping.advice else []
    if end := ending(session, profile):
        advice.append(f"{end}: choose a newer one")
    if rates[0] == "unpriced":
        advice.append("price is unknown: give the profile prices, or priced_as another model")
    if key.startswith("not set") and session.mode not in UNPAID:
        advice.append(f"set {session.settings.key_variables(profile)[0]}")
    return (
        profile.name,
        profile.model,
        key,
        urlsplit(session.settings.base_url(profile)).netloc.rpartition("@")[2],
        ping.reachable,
        " / ".join(dict.fromkeys(rates)),
        "; ".join(advice) or "ok",
    )


def _ping_all(session: Session, profiles: Sequence[Profile]) -> list[Ping]:
    """Ask the address of every profile for its models, all at once."""
    from victor_nb.providers.base import Ping  # noqa: PLC0415 - httpx2 is slow to import

    if session.mode in UNPAID:
        return [Ping(f"not asked: {session.mode}")] * len(profiles)
    clients = [_client(session, profile) for profile in profiles]  # here: the import of an SDK would stop the loop

    async def ask() -> list[Ping]:
        return await asyncio.gather(*(_ping(client) for client in clients))

    return session.runtime.loop.start(ask).result()


def _client(session: Session, profile: Profile) -> Provider | Ping:
    """Return a client without a key (a refusal shows that a server is there), or why there is none."""
    from victor_nb.providers.base import Ping, open_provider  # noqa: PLC0415 - httpx2 is slow to import

    try:
        return open_provider(profile, session.settings, session.runtime.wire, mode="live", key=None)
    except VictorError as error:
        why = str(error).removeprefix(f"Failed to create provider for profile {profile.name!r}: ")
        return Ping(f"no: {type(error).__name__}", why.rstrip("."))


async def _ping(client: Provider | Ping) -> Ping:
    from victor_nb.providers.base import Ping  # noqa: PLC0415 - httpx2 is slow to import

    if isinstance(client, Ping):
        return client
    try:
        return await client.ping()
    finally:
        await client.aclose()
