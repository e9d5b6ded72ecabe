"""Finds and reads the settings. The only file that looks at the environment."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from victor_nb.config import progress
from victor_nb.config.secret import SHORTEST_SECRET, Address, Redactor, Secret, read_dotenv
from victor_nb.errors import ConfigError, ProfileNotFoundError, suggest
from victor_nb.providers.catalog import STARTERS, in_networks
from victor_nb.providers.spec import SPECS, all_specs, spec_of, split_words
from victor_nb.values import UNPAID, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from victor_nb.config.profiles import Budgets, Profile, ProfilesFile
    from victor_nb.config.strategies import Stage
    from victor_nb.providers.spec import Spec

FILE_NAME: Final = "profiles.yaml"
_FROM_PARENT: Final = "VICTOR_FROM_PARENT"
"""What a process that starts others set by hand. `VICTOR_MODE` would not do: no cell could change its mode."""
_RECORDS_IN_CI: Final = "VICTOR_RECORD_IN_CI"
_IMPORTED: Final = time.time_ns()
_SECRET_NAME: Final = re.compile(r"(API_?KEY|_KEY|_TOKEN|_SECRET|_PASSWORD)$")
_NOT_FILLED_IN: Final = re.compile(r"^(~[^/\\]*|\$\w+|\$\{\w+\})")
"""A home, or a variable, that a path begins with after both were filled in."""
_MODES: Final = get_args(Mode)
_NO_FILE: Final[tuple[tuple[int, int], Mapping[str, Secret]]] = ((0, 0), {})
"""What is read where there is no .env file."""
_LONG_ENOUGH: Final = 12  # characters; a shorter value of an unknown variable may be a plain word
_LATELY: Final = 0.05  # seconds; rows of bulk work look at the .env file together
_NEVER: Final = (-1.0, (0, 0))
_NOTHING: Final[tuple[object, object, tuple[Spec, ...], tuple[str, ...]]] = (None, None, (), ())
"""The keys before any was looked for; see `Settings._secrets`."""
_seen: Final[list[Mapping[Any, Any]]] = [{}]
"""The environment, as it was when it was last looked at."""
_OF_CLIENTS: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "VICTOR_SIM_SPEED", "VICTOR_REPLAY_SPEED", "VICTOR_TAPE"),
)
"""The variables that a client of any provider is made of, beside those of its key and its address."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a user set in a cell, as the processes have it too that the kernel starts or sends work to.

    Attributes:
        budget: What the notebook may spend in all, in USD as text; `off` lifts the limit of profiles.yaml.
        notebook: The key of the notebook's limit, under which all of these processes spend.
        at: When, in seconds since 1970: of two such values the later counts.
        process: Where; see `this_process`.
    """

    mode: Mode | None = None
    budget: str | None = None
    notebook: str = ""
    at: float = 0.0
    process: str = ""


class Settings:
    """Profiles, limits and modes: from `profiles.yaml`, and from the environment.

    Args:
        config_file: A file to read. Without one, `profiles.yaml` is looked for in the working folder and upwards, then
            in the user's config folder; when there is none, the profiles that come with victor_nb serve.

    Attributes:
        source: The file.
        suits: Whether its profiles, which come with victor_nb, are of a provider whose key is set; see `starter`.

    Raises:
        ConfigError: The file cannot be used; one line has the place and the reason.
    """

    def __init__(self, config_file: Path | str | None = None) -> None:
        self._searched = config_file is None
        self.source = _find(config_file)
        self.suits = self._searched and self.built_in
        self._stamp = stamp_of(self.source)
        self._read: tuple[tuple[int, int], Mapping[str, Secret]] = _NO_FILE
        self._looked: tuple[float, tuple[int, int]] = _NEVER
        self._known = _NOTHING
        self._tape: Path | None = None
        from victor_nb.config.profiles import read_profiles  # noqa: PLC0415 - pydantic is slow to import

        self._file: ProfilesFile = read_profiles(self.source)

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """Every profile by name, in the order of the file."""
        from victor_nb.config.profiles import Profile  # noqa: PLC0415 - pydantic is slow to import

        found = {name: Profile(name=name, **dict(spec)) for name, spec in self._file.profiles.items()}
        if not self.suits:
            return found
        from victor_nb.config.starter import suited  # noqa: PLC0415 - only for profiles that come with us

        lacking = [name for name, each in found.items() if self.needs_key(each) and self.api_key(each) is None]
        return suited(found, lacking, self._chosen_from)

    @cached_property
    def _chosen_from(self) -> tuple[str, ...]:
        """The providers that the profiles which come with victor_nb were chosen from."""
        return self._choice()

    def _choice(self) -> tuple[str, ...]:
        """Return the providers to choose from: none in a mode without keys, whose profiles are the same for all."""
        return () if (forced_mode() or set_here() or "live") in UNPAID else self.with_key()

    def with_key(self) -> tuple[str, ...]:
        """Return the providers whose key is set, of those with models to start with."""
        return tuple(name for name in STARTERS if self.key_of(spec_of(name).key_variables))

    @property
    def default(self) -> str:
        """The name of the profile that is asked when none is named."""
        return self._file.default or "default"

    @cached_property
    def budget(self) -> Budgets:
        """The limits of a cell, a notebook and a day, in USD."""
        return self._file.budget

    @property
    def strategies(self) -> Mapping[str, Sequence[Stage]]:
        """The strategies that the file describes, by name, each a list of stages."""
        return self._file.strategies

    @cached_property
    def log_text(self) -> bool:
        """Whether prompts and answers are written to the ledger."""
        return self._file.log_text

    @property
    def stale(self) -> bool:
        """Whether the file has changed since it was read, another is nearer, or other keys are set for what is ours."""
        moved = stamp_of(self.source) != self._stamp or (self._searched and _find(None) != self.source)
        return moved or (self.suits and self._choice() != self._chosen_from)

    def again(self) -> Settings:
        """Read the settings anew, from where they would be found now."""
        return Settings(None if self._searched else self.source)

    def profile(self, name: str | None = None) -> Profile:
        """Return a profile by name, or by `provider:model` where none has that name; None is the default one.

        Raises:
            ProfileNotFoundError: No profile goes by that name.
            ConfigError: It is no name at all.
        """
        wanted = self.default if name is None else name
        if not isinstance(wanted, str):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks have no types
            raise ConfigError(
                f"A profile goes by its name, such as {self.default!r}, not by a value of type {type(wanted).__name__}."
            )
        found = self.profiles.get(wanted) or self.find(wanted)
        if found is None:
            own = "a profiles.yaml: %victor profiles new writes one" if self.built_in else str(self.source)
            raise ProfileNotFoundError(wanted, self.profiles, where=own, providers=all_specs())
        return found

    def find(self, name: str) -> Profile | None:
        """Return the profile of a name, else one that is just the `provider:model` it says; None if it is neither."""
        found = self.profiles.get(name) or self._made.get(name)
        if found is None and (words := split_words(name)) is not None:
            from victor_nb.config.profiles import Profile  # noqa: PLC0415 - pydantic is slow to import

            made = Profile(name=name, provider=words[0], model=words[1])
            found = self._made.setdefault(name, made)
        return found

    @cached_property
    def _made(self) -> dict[str, Profile]:
        """The profiles that were asked for as `provider:model`."""
        return {}

    # --- the environment ---

    @cached_property
    def _dotenv_path(self) -> Path:
        """The .env file beside the settings, or in the working folder, wherever that is, if there are none."""
        return Path(".env") if self.built_in else self.source.with_name(".env")

    @property
    def _dotenv(self) -> Mapping[str, Secret]:
        """The variables of the .env file, read again where it has changed: keys and addresses. It is never written.

        Raises:
            ConfigError: It is no text.
        """
        stamp = stamp_of(self._dotenv_path)
        if stamp != self._read[0]:
            self._read = (stamp, read_dotenv(self._dotenv_path) if stamp[1] else {})
        return self._read[1]

    def made_of(self, profile: Profile) -> tuple[str, ...]:
        """Return the names of the variables that a client of a profile is made of, for `state`."""
        return (*self.key_variables(profile), spec_of(profile.provider).base_url_variable, *_OF_CLIENTS)

    def state(self, variables: tuple[str, ...], *, lately: bool = False) -> int:
        """Return a number that differs once one of these variables or the .env file has changed; no file is read.

        With `lately`, the file is looked at only if it was not for a moment, as for each row of bulk work.
        """
        if not lately:
            return hash((stamp_of(self._dotenv_path), *map(os.environ.get, variables)))  # it is kept, and holds no key
        stamp, now = self._dotenv_stamp(), environment_now()
        known = self._states.get(variables)
        if known is None or known[0] is not now or known[1] != stamp:
            self._states[variables] = known = now, stamp, self.state(variables)
        return known[2]

    @cached_property
    def _states(self) -> dict[tuple[str, ...], tuple[Mapping[Any, Any], tuple[int, int], int]]:
        return {}

    def _dotenv_stamp(self) -> tuple[int, int]:
        """Return what changes with the .env file, as it was some milliseconds ago at most."""
        if time.monotonic() - self._looked[0] > _LATELY:
            self._looked = time.monotonic(), stamp_of(self._dotenv_path)
        return self._looked[1]

    @property
    def built_in(self) -> bool:
        """Whether no `profiles.yaml` of the user's was found."""
        return self.source == shipped_file()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where a relative path in a profile may start: beside the user's `profiles.yaml`, and here."""
        here = Path.cwd()
        return (here,) if self.built_in else tuple(dict.fromkeys((self.source.parent, here)))

    def _variable(self, name: str) -> str | None:
        """Return a variable of the environment, else of the .env file; an empty one counts as absent."""
        if given := os.environ.get(name, "").strip():
            return given
        written = self._dotenv.get(name) if name else None
        return written.reveal() if written else None

    def key_variables(self, profile: Profile) -> tuple[str, ...]:
        """Return the variables that may hold the profile's key, the first that is set winning.

        A provider's own go to it, to this machine, and to an address that the user's code gives. To another `base_url`
        that a file names they go only if `api_key_env` says so.
        """
        if profile.api_key_env:
            return (profile.api_key_env,)
        spec = spec_of(profile.provider)
        if profile.base_url is None or not spec.key_variables:
            return spec.key_variables
        from victor_nb.config.trust import at_home, is_loopback  # noqa: PLC0415 - few profiles name an address

        address = self.base_url(profile)
        is_written = profile.base_url in {each.base_url for each in self._file.profiles.values()}
        return () if is_written and not (is_loopback(address) or at_home(spec, address)) else spec.key_variables

    # --- what files of the project name, and whom the user trusts; see `trust` ---

    @property
    def _own(self) -> bool:
        """Whether the settings are in the user's config folder, so that its files are no project's."""
        return not self.built_in and self.source.resolve().parent == _config_folder().resolve()

    def _written(self, variable: str, value: str) -> str | None:
        """Return the project's .env file if it holds this value of a variable, wherever else that may stand."""
        if self._own or not variable:
            return None
        written = self._dotenv.get(variable)
        return ".env" if written is not None and written.reveal().strip() == value else None

    def names_address(self, profile: Profile) -> str | None:
        """Return the project's file that names where a profile is asked; None where the user or the provider does."""
        if profile.base_url is not None:
            named = {spec.base_url for spec in self._file.profiles.values()}
            return None if self._own or profile.base_url not in named else self.source.name
        variable = spec_of(profile.provider).base_url_variable
        return self._written(variable, self._variable(variable) or "")

    def names_key(self, profile: Profile) -> str | None:
        """Return the project's file that gives a profile its `api_key_env`; None where none does."""
        named = {(spec.base_url, spec.api_key_env) for spec in self._file.profiles.values()}
        return None if self._own or (profile.base_url, profile.api_key_env) not in named else self.source.name

    def names_proxy(self, proxy: str) -> str | None:
        """Return the project's .env file if a proxy stands in it, with which a kernel may have been started."""
        names = (name for name in _OF_CLIENTS if "proxy" in name.lower())
        return next((file for name in names if (file := self._written(name, proxy.strip()))), None)

    def names_model(self, profile: Profile) -> str | None:
        """Return the project's file that names a profile's model; None where a cell or the user's own folder does."""
        if self._own or self.built_in:
            return None
        words, file = (profile.provider, profile.model), self._file
        if (spec := file.profiles.get(profile.name)) is not None:
            return self.source.name if (spec.provider, spec.model) == words else None
        named = {self.default, *(stage.profile for stages in file.strategies.values() for stage in stages)}
        named.update(other for each in file.profiles.values() for other in each.fallback)
        return self.source.name if words in map(split_words, named) else None

    @property
    def trust_file(self) -> Path:
        """Where `%victor trust` remembers the hosts that the user trusts; models are in `trusted_models` beside it."""
        return _config_folder() / "trusted_hosts"

    @property
    def trusted_here(self) -> tuple[str, ...]:
        """The hosts and model files that VICTOR_TRUST names; what the project's .env file brought is none."""
        from victor_nb.config.trust import place_of  # noqa: PLC0415 - few profiles name an address

        given = os.environ.get("VICTOR_TRUST", "").strip()
        words = [] if not given or self._written("VICTOR_TRUST", given) else given.split(",")
        return tuple(each.strip() if each.strip().endswith(".gguf") else place_of(each) for each in words)

    def api_key(self, profile: Profile) -> Secret | None:
        """Return the profile's key, or None when no variable holds one."""
        return self.key_of(self.key_variables(profile))

    def key_of(self, variables: Sequence[str]) -> Secret | None:
        """Return the key that the first of these variables holds that is set; None where none is."""
        values = (self._variable(name) for name in variables)
        return next((Secret(value) for value in values if value), None)

    def mending(self, variables: Sequence[str]) -> str:
        """Return how a key is set right: where the one stands that is used, else in `.env`, as cells are kept."""
        for name in variables:
            if given := os.environ.get(name, "").strip():
                with suppress(ConfigError):
                    written = self._dotenv.get(name)
                    if written is not None and written.reveal() != given:
                        return f"%env {name}=... (it beats {self._dotenv_path.absolute()})"
                return f"%env {name}=..."
            if name in self._dotenv:
                return f"{name} in {self._dotenv_path.absolute()}"
        if not variables:
            return "api_key_env in the profile"
        where = ".env" if (path := self._dotenv_path.absolute()).parent == Path.cwd() else path
        return f"{variables[0]}=... in {where} (or %env {variables[0]}=...)"

    def needs_key(self, profile: Profile) -> bool:
        """Return whether the profile cannot work without a key: a server on this network may ask for none."""
        return profile.api_key_env is not None or spec_of(profile.provider).needs_key(self.base_url(profile))

    def base_url(self, profile: Profile) -> str:
        """Return where the profile's requests go: its own `base_url`, else the provider's variable, else its home."""
        return self.address(spec_of(profile.provider), profile.base_url)

    def address(self, spec: Spec, given: str | None = None) -> str:
        """Return where a provider is asked: at the address that is given, at its variable's, or at its home."""
        found = given or self._variable(spec.base_url_variable) or spec.base_url
        return Address(spec.read_address(found.strip()).rstrip("/"))

    def proxy(self, base_url: str) -> str | None:
        """Return the proxy that the environment names for an address (HTTPS_PROXY, NO_PROXY and so on), if any."""
        from urllib.parse import urlsplit  # noqa: PLC0415 - with the next
        from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - only when a client is made

        address = urlsplit(base_url)
        proxies, host = getproxies(), address.netloc.rpartition("@")[2]
        found = proxies.get(address.scheme) or proxies.get("all")
        if not found or proxy_bypass(host) or in_networks(address.hostname or "", proxies.get("no", "")):
            return None
        return found

    @cached_property
    def _key_names(self) -> frozenset[str]:
        """The variables that hold the keys of the profiles."""
        return frozenset(variable for profile in self.profiles.values() for variable in self.key_variables(profile))

    def redactor(self) -> Redactor:
        """Return a redactor that knows every key of the environment and the .env file."""
        return Redactor(self._secrets())

    def leaks(self, text: str, *, lately: bool = False) -> bool:
        """Return whether a text contains a key of the environment or the .env file; for `lately`, see `state`."""
        for secret in self._secrets(lately=lately):  # noqa: SIM110 - asked for every answer
            if secret in text:
                return True
        return False

    def leak_check(self) -> Callable[[str], bool]:
        """Return the same as a function for many texts, of the keys of now."""
        secrets = self._secrets()
        return lambda text: any(secret in text for secret in secrets)

    def _secrets(self, *, lately: bool = False) -> tuple[str, ...]:
        """Return all keys, which are gathered anew once the environment or the .env file has changed."""
        now, specs = environment_now(), tuple(SPECS.values())
        stamp = self._dotenv_stamp() if lately else stamp_of(self._dotenv_path)
        if stamp != self._read[0]:
            with suppress(ConfigError):  # what cannot be read holds no key of a client
                _ = self._dotenv
        if self._known[0] is not now or self._known[1] is not self._read or self._known[2] != specs:
            self._known = now, self._read, specs, tuple(self._gathered(specs, self._read[1]))
        return self._known[3]

    def _gathered(self, specs: Sequence[Spec], written: Mapping[str, Secret]) -> list[str]:
        named = set(self._key_names)
        for spec in specs:
            named.update(spec.key_variables)
        found: list[str] = []
        # Both: a variable that is empty in the environment does not hide the one in the file.
        for name, value in (*os.environ.items(), *((name, value.reveal()) for name, value in written.items())):
            value = value.strip()  # noqa: PLW2901 - as it is used
            named_so = name in named and len(value) >= SHORTEST_SECRET
            if named_so or (len(value) >= _LONG_ENOUGH and _SECRET_NAME.search(name)):
                found.append(value)
        return found

    @property
    def sim_speed(self) -> float:
        """How many times the simulator's waits are taken: 1 is lifelike, 0 waits for nothing.

        Raises:
            ConfigError: `VICTOR_SIM_SPEED` is not a number of 0 or more.
        """
        return _number(os.environ.get("VICTOR_SIM_SPEED", "").strip() or "1")

    def speed(self, mode: Mode) -> float:
        """Return how many times the waits of a mode are taken: the simulator's, or those of what is replayed.

        Raises:
            ConfigError: `VICTOR_SIM_SPEED` or `VICTOR_REPLAY_SPEED` is not a number of 0 or more.
        """
        if mode != "replay":
            return self.sim_speed
        return _number(os.environ.get("VICTOR_REPLAY_SPEED", "").strip() or "0", "VICTOR_REPLAY_SPEED")

    def tape(self, mode: Mode) -> Path:
        """Return the tape to record or replay: `VICTOR_TAPE`, else `tapes/NAME.jsonl` beside the notebook or script.

        Raises:
            ConfigError: It is not known which that is; or it is to be recorded, and `CI=true` forbids it.
        """
        if mode == "record":
            check_recording()
        if named := os.environ.get("VICTOR_TAPE", "").strip():
            return read_path(named, Path.cwd(), "VICTOR_TAPE").absolute()
        if self._tape is None:
            from victor_nb.config.notebook import find_notebook  # noqa: PLC0415 - only where there are tapes

            found = find_notebook(self.notebook)
            if found is None:
                raise ConfigError("It is not known which notebook this is. Set VICTOR_TAPE=tapes/NAME.jsonl.")
            self._tape = found.parent / "tapes" / f"{found.stem}.jsonl"
        return self._tape

    @property
    def answer_files(self) -> tuple[Path, ...]:
        """The files with answers of one's own for simulate mode: `VICTOR_ANSWERS`, then `simulate:`."""
        named = os.environ.get("VICTOR_ANSWERS", "").strip()
        given = [read_path(named, Path.cwd(), "VICTOR_ANSWERS")] if named else []
        written = self._file.simulate
        return (*given, *([read_path(written, self.source.parent, "simulate")] if written else []))

    @property
    def watched(self) -> bool:
        """Whether a user can watch a cell while it runs: not with CI=true or VICTOR_PROGRESS=off."""
        return progress() != "off"

    @property
    def ledger_path(self) -> Path | None:
        """The ledger's file; None keeps it in memory. `VICTOR_LEDGER`, else `ledger:`, else the user's data folder."""
        return self._data_file("ledger", self._file.ledger)

    @property
    def cache_path(self) -> Path | None:
        """The file of answers; None keeps them in memory. `VICTOR_CACHE`, else the user's data folder."""
        return self._data_file("cache", None, "answers.sqlite")

    @property
    def keeps_answers(self) -> bool:
        """Whether answers may be kept at all: not with `VICTOR_CACHE=off`."""
        return os.environ.get("VICTOR_CACHE", "").strip() != "off"

    def _data_file(self, word: str, written: str | None, name: str = "ledger.sqlite") -> Path | None:
        """Return the file that a variable names, else the settings, else the user's data folder; None for `memory`."""
        variable = f"VICTOR_{word.upper()}"
        named = os.environ.get(variable, "").strip()
        given = named or written
        if given == "memory":
            return None
        if given:
            folder = Path.cwd() if self.built_in else self.source.parent
            return read_path(given, folder, variable if named else word)
        from platformdirs import user_data_path  # noqa: PLC0415 - only when such a file is opened

        return user_data_path("victor_nb", appauthor=False) / name

    @property
    def certificates(self) -> tuple[str, Path] | None:
        """The variable that names the certificates to trust instead of the system's, and their file or folder."""
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            if given := os.environ.get(name, "").strip():
                return name, read_path(given, Path.cwd(), name)
        return None

    @cached_property
    def notebook(self) -> str | None:
        """The path of this kernel's notebook, where Jupyter or VS Code sets it in the environment."""
        return os.environ.get("JPY_SESSION_NAME") or None

    def __getstate__(self) -> dict[str, object]:
        """Leave the keys of the .env file out of a pickle, and what is read from the environment of this machine."""
        kept = {"_searched", "source", "suits", "_stamp", "_file"}
        fresh = {"_read": _NO_FILE, "_tape": None, "_looked": _NEVER, "_known": _NOTHING}
        return {**fresh, **{name: value for name, value in vars(self).items() if name in kept}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and (self.source, self._file) == (other.source, other._file)

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Settings({self.source.name!r}, profiles={list(self.profiles)})"


def environment_now() -> Mapping[Any, Any]:
    """Return the environment as it is, the very same object as long as nothing has changed in it.

    Its own dictionary is compared, in a microsecond for all of it: `os.environ` decodes whatever is looked up.
    """
    now: Mapping[Any, Any] = getattr(os.environ, "_data", None) or dict(os.environ)
    if now != _seen[0]:
        _seen[0] = dict(now)
    return _seen[0]


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a child process, with these variables set otherwise."""
    return {**os.environ, **more}


def overrule(**variables: str) -> None:
    """Set variables for the rest of this process, as a command may that is a process of its own."""
    os.environ.update(variables)


def holds_key(variable: str) -> bool:
    """Return whether a variable holds a key or another secret, by its name."""
    return _SECRET_NAME.search(variable) is not None or any(
        variable in spec.key_variables for spec in list(SPECS.values())
    )


def environment_without_keys() -> dict[str, str]:
    """Return the environment for a child process that reads what may be a stranger's, and needs no key."""
    return {name: value for name, value in os.environ.items() if not holds_key(name)}


def this_process() -> str:
    """Return an id of this process, which no forked child and no process of another machine has."""
    return f"{os.getpid()}-{_IMPORTED}"


def inherited() -> ByHand:
    """Return what a parent process set by hand: nothing where there is none, or where this process set it itself."""
    text = os.environ.get(_FROM_PARENT)
    found = ByHand(**json.loads(text)) if text else ByHand()
    return ByHand() if found.process == this_process() else found


def set_here() -> Mode | None:
    """Return the mode that was set by hand in this kernel, or in the process that started it."""
    text = os.environ.get(_FROM_PARENT)
    return json.loads(text).get("mode") if text else None


def bequeath(given: ByHand) -> None:
    """Set what the processes that this one starts from now on find as `inherited`."""
    if given.process:
        os.environ[_FROM_PARENT] = json.dumps(asdict(given))
    else:
        os.environ.pop(_FROM_PARENT, None)


def forced_mode() -> Mode | None:
    """Return the mode that `VICTOR_MODE` fixes at this moment, so that no line of a notebook can change it; else None.

    Raises:
        ConfigError: `VICTOR_MODE` names no mode.
    """
    word = os.environ.get("VICTOR_MODE", "").strip()
    if word in _MODES:
        return cast("Mode", word)
    return check_mode(word) if word else None


def check_recording() -> None:
    """Raise where nothing may be recorded.

    Raises:
        ConfigError: `CI=true` forbids it.
    """
    if os.environ.get("CI", "").lower() == "true" and not os.environ.get(_RECORDS_IN_CI):
        raise ConfigError(f"Nothing is recorded where CI=true: it costs money. {_RECORDS_IN_CI}=1 allows it.")


def check_mode(word: str) -> Mode:
    """Return a word as a mode, checked.

    Raises:
        ConfigError: It names none.
    """
    if word not in _MODES:
        raise ConfigError(f"Mode {word!r} is unknown (VICTOR_MODE or %victor mode). {suggest(word, _MODES)}")
    return cast("Mode", word)


def read_path(given: str, folder: Path, setting: str) -> Path:
    """Return the path that a setting names: `~` and variables filled in, and below a folder where it is relative.

    Raises:
        ConfigError: It names a home or a variable that there is not.
    """
    path = os.path.expanduser(os.path.expandvars(given))  # noqa: PTH111 - pathlib's raises where there is no such home
    if (left := _NOT_FILLED_IN.search(path)) is not None and left[0] in given:
        raise ConfigError(f"{setting}: there is no {left[0]} here, which {given} begins with. Write the path in full.")
    return folder / path


def sim_start() -> datetime | None:
    """Return the moment at which what is simulated begins; None: when it does.

    Raises:
        ConfigError: `VICTOR_SIM_START` is no date.
    """
    text = os.environ.get("VICTOR_SIM_START", "").strip()
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ConfigError(f"VICTOR_SIM_START={text!r} is no date. Write it as 2026-01-05T09:00.") from None


def _number(text: str, name: str = "VICTOR_SIM_SPEED") -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise ConfigError(f"{name}={text!r} is not a number of 0 or more. 1 is lifelike, 0 waits for nothing.")
    return speed


def _find(config_file: Path | str | None) -> Path:
    """Return the settings' file: the one given, the nearest above, the user's, or ours."""
    if config_file is not None:
        path = read_path(str(config_file), Path.cwd(), "config_file")
        if not path.is_file():
            raise ConfigError(f"{path} is not a file. Give the path of a profiles.yaml.")
        return path.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (file := folder / FILE_NAME).is_file():
            return file
    users = _config_folder() / FILE_NAME
    return users if users.is_file() else shipped_file()


def _config_folder() -> Path:
    """Return the user's config folder."""
    from platformdirs import user_config_path  # noqa: PLC0415 - only when no file is near, or a host is not known

    return user_config_path("victor_nb", appauthor=False)


def shipped_file() -> Path:
    """Return the path of the built-in profiles: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).with_name(FILE_NAME)
    return inside if inside.is_file() else Path(__file__).parents[2] / FILE_NAME


def shipped_profiles() -> dict[str, tuple[str, str]]:
    """Return provider and model of the profiles that come with victor_nb, by name."""
    from victor_nb.config.profiles import read_profiles  # noqa: PLC0415 - pydantic is slow to import

    return {name: (spec.provider, spec.model) for name, spec in read_profiles(shipped_file()).profiles.items()}


def stamp_of(path: Path) -> tuple[int, int]:
    """Return what changes with a file: its time and its size."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
