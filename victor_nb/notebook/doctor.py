"""`%victor doctor`: whether each profile can be asked: key, host, model, price, age; and what to do first. Free."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from victor_nb.calls.request import WORDED
from victor_nb.config.secret import masked
from victor_nb.config.trust import untrusted
from victor_nb.errors import ConfigError, NotFoundError, QuotaError, VictorError
from victor_nb.notebook.markdown import Bundle, frame, notice, stack
from victor_nb.providers.catalog import host_of
from victor_nb.providers.spec import all_specs, spec_of
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from victor_nb.accounting.rows import Row
    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session
    from victor_nb.providers.base import Provider
    from victor_nb.providers.listing import Listing

_MOST_STEPS: Final = 5
_LATEST: Final = 200  # attempts that are looked at: a list of models does not tell that a quota is used up


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
    """Return which providers can be asked without a profile: whose key is set, who needs none, and the rest."""
    keyed, keyless, rest = list[str](), list[str](), list[str]()
    for spec in all_specs().values():
        kept = keyed if session.settings.key_of(spec.key_variables) else rest
        (kept if spec.needs_key(spec.base_url) else keyless).append(spec.name)
    first = [*keyed, *keyless][0]
    kinds = ("A key is set for", keyed), ("No key is needed for", keyless), ("No key is set for", rest)
    words = " ".join(f"{kind} {', '.join(names)}." for kind, names in kinds if names)
    return f"Without a profile: provider:model, such as {first}:MODEL. {words}"


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


@dataclass(frozen=True, slots=True)
class _Finding:
    """What is known of a profile.

    Attributes:
        cells: Its row of the table, without the advice.
        blocking: What must be done before it can be asked, the first thing first.
        advice: What could be done beside that.
    """

    profile: Profile
    cells: tuple[str, ...]
    blocking: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def examine(session: Session, names: Sequence[str] = ()) -> Bundle:
    """Return a row for each profile, or for these, `provider:model` among them, and what to do first.

    Each host is asked for its list of models, with the key, which is free. In simulate mode the network is left alone.

    Raises:
        ProfileNotFoundError: There is none of such a name.
        KeyboardInterrupt: Stop was pressed; the look-ups were cancelled.
    """
    return diagnose(session, names)[0]


def diagnose(session: Session, names: Sequence[str] = ()) -> tuple[Bundle, int]:
    """Return what `examine` does, and how many of the profiles can be asked.

    Raises:
        ProfileNotFoundError: There is none of such a name.
        KeyboardInterrupt: Stop was pressed; the look-ups were cancelled.
    """
    settings = session.settings
    profiles = [settings.profile(name) for name in names] or list(settings.profiles.values())
    if session.mode in UNPAID:
        found = [_unasked(session, profile) for profile in profiles]
        below = [f"mode {session.mode}: no network was used."]
        below += _answers(session) if session.mode == "simulate" else []
    else:
        listings = _look_up_all(session, profiles)
        last = {row.profile: row for row in session.ledger.rows(last=_LATEST)}
        found = [
            _judge(session, profile, seen, last.get(profile.name))
            for profile, seen in zip(profiles, listings, strict=True)
        ]
        below = _verdict(session, found)
    rows = [(*each.cells, "; ".join((*each.blocking, *each.advice)) or "ok") for each in found]
    columns = ["profile", "model", "key", "host", "reachable", "model there", "USD per M in / out", "advice"]
    return stack(frame(columns, rows), *map(notice, below)), sum(not each.blocking for each in found)


def _verdict(session: Session, found: Sequence[_Finding]) -> list[str]:
    """Return how many profiles are ready, which to try, and what to do for the others: what helps most, first."""
    ready = [each.profile.name for each in found if not each.blocking]
    usual = session.settings.default
    best = usual if usual in ready else next(iter(ready), None)
    said = f"{len(ready)} of {len(found)} ready"
    lines = [f"{said}; try: %%victor {best}" if best else f"{said}. Free meanwhile: %victor mode simulate"]
    steps: dict[str, list[str]] = {}
    for each in found:
        for step in each.blocking[:1]:
            steps.setdefault(step.partition(" (it answered ")[0], []).append(each.profile.name)
    ordered = sorted(steps.items(), key=lambda item: (usual not in item[1], -len(item[1])))
    lines += [f"{n}. {step} (for {', '.join(those)})" for n, (step, those) in enumerate(ordered[:_MOST_STEPS], 1)]
    return lines


def _answers(session: Session) -> list[str]:
    """Return a line for each entry of the answers files that no call of this kernel has used, or what is wrong."""
    try:
        return session.runtime.answers.unused(session.settings.answer_files)
    except ConfigError as error:
        return [str(error)]


def _cells(session: Session, profile: Profile, key: str, reachable: str, listed: str) -> tuple[str, ...]:
    host = urlsplit(session.settings.base_url(profile)).netloc.rpartition("@")[2]
    price = " / ".join(dict.fromkeys(prices(session, profile)))
    return profile.name, profile.model, key, host, reachable, listed, price


def _unasked(session: Session, profile: Profile) -> _Finding:
    """Return what is known of a profile without its host."""
    cells = _cells(session, profile, key_state(session, profile), f"not asked: {session.mode}", "")
    host = untrusted(session.settings, profile)
    return _Finding(profile, cells, advice=(*([host] if host else []), *_of_model(session, profile)))


def _judge(session: Session, profile: Profile, seen: Listing, last: Row | None) -> _Finding:
    """Return what is known of a profile, and what to do: about its key, its host, its model, its credit, its price."""
    settings, variables = session.settings, session.settings.key_variables(profile)
    key, mending = key_state(session, profile), settings.variables.mending(variables)
    if untrusted(settings, profile):
        return _Finding(profile, _cells(session, profile, key, seen.reachable, ""), (seen.advice,))
    if settings.api_key(profile) is not None:
        key = "set, not checked" if seen.key in {"", "set"} else seen.key
    elif seen.key == "wanted" or key.startswith("not set"):
        key = "not set"  # the advice names the variable
    blocking: list[str] = []
    if key == "not set":
        blocking.append(f"set the key: {mending}")
        blocking += [seen.advice] if seen.reachable != "yes" else []
    elif seen.key == "wrong":
        blocking.append(f"correct the key: {mending} ({seen.advice})")
    elif seen.advice:
        blocking.append(seen.advice)
    there = seen.serves(spec_of(profile.provider), profile.model)
    if there is False:
        blocking.append(_missing(profile, seen))
    if last is not None and last.error_type == QuotaError.__name__ and seen.key == "right":
        at = host_of(settings.base_url(profile))
        blocking.append(f"no credit was left at its last call: check plan and billing at {at}, then ask again")
    advice = [] if there is False else list(_of_model(session, profile))
    blocking += [step for step in advice if " retired on " in step]
    advice = [step for step in advice if step not in blocking]
    listed = {True: "yes", False: "no", None: "not listed" if seen.answered else ""}[there]
    return _Finding(profile, _cells(session, profile, key, seen.reachable, listed), tuple(blocking), tuple(advice))


def _missing(profile: Profile, seen: Listing) -> str:
    """Return what to do where a host lacks a model."""
    near, pull = seen.nearest(profile.model), spec_of(profile.provider).hints.get(NotFoundError, "")
    steps = [pull.partition(": ")[2].format(model=profile.model)] if pull else []
    steps += [f"ask {near}" if pull else f"did you mean {near}?"] if near else []
    return f"no model {profile.model} there: {', or '.join(steps) or 'choose another one'}"


def _of_model(session: Session, profile: Profile) -> Iterator[str]:
    """Yield what to do about the age of a profile's model, and about its price."""
    if end := ending(session, profile):
        yield f"{end}: choose a newer one"
    if fact := session.runtime.lowered(profile):
        yield f"{fact}: correct it if that is not meant"
    if prices(session, profile)[0] == "unpriced":
        yield "price is unknown: give the profile prices, or priced_as another model"


def _look_up_all(session: Session, profiles: Sequence[Profile]) -> list[Listing]:
    """Ask the hosts of all profiles for their models, all at once, and each once with a key."""
    from victor_nb.providers.listing import Listing, look_up  # noqa: PLC0415 - httpx2 is slow to import

    settings = session.settings
    asked: dict[tuple[object, ...], Provider | Listing] = {}
    places = [
        (
            each.provider,
            settings.base_url(each),
            settings.api_key(each),
            spec_of(each.provider).starts_itself and each.model,
        )
        for each in profiles
    ]
    for place, profile in zip(places, profiles, strict=True):
        if place not in asked:  # here: the import of an SDK would stop the loop
            asked[place] = _client(session, profile)

    async def ask(client: Provider | Listing) -> Listing:
        if isinstance(client, Listing):
            return client
        try:
            return await look_up(client)
        finally:
            await client.aclose()

    async def ask_all() -> list[Listing]:
        return await asyncio.gather(*map(ask, asked.values()))

    found = dict(zip(asked, session.runtime.loop.start(ask_all, upkeep=True).result(), strict=True))
    return [found[place] for place in places]


def _client(session: Session, profile: Profile) -> Provider | Listing:
    """Return a client for a profile, or why there is none."""
    from victor_nb.providers.base import open_provider  # noqa: PLC0415 - httpx2 is slow to import
    from victor_nb.providers.listing import Listing  # noqa: PLC0415 - as above

    settings = session.settings
    try:
        return open_provider(profile, settings, session.runtime.wire, mode="live", key=settings.api_key(profile))
    except VictorError as error:
        why = str(error).removeprefix(f"Failed to create provider for profile {profile.name!r}: ")
        return Listing(reachable="not asked", answered=False, advice=why.rstrip("."))
