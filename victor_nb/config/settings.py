"""Finds and reads the settings: `profiles.yaml`, and what the environment says beside it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from victor_nb.config import progress
from victor_nb.config.environment import (
    Variables,
    check_recording,
    forced_mode,
    notebook_named,
    read_path,
    set_here,
    stamp_of,
    value_of,
)
from victor_nb.config.secret import Address, Redactor, Secret
from victor_nb.errors import ConfigError, ProfileNotFoundError
from victor_nb.providers.catalog import STARTERS, in_networks
from victor_nb.providers.spec import all_specs, spec_of, split_words
from victor_nb.values import UNPAID, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from victor_nb.config.profiles import Budgets, Profile, ProfilesFile
    from victor_nb.config.strategies import Stage
    from victor_nb.providers.spec import Spec

FILE_NAME: Final = "profiles.yaml"
_OF_CLIENTS: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "VICTOR_SIM_SPEED", "VICTOR_REPLAY_SPEED", "VICTOR_TAPE"),
)
"""The variables that a client of any provider is made of, beside those of its key and its address."""


class Settings:
    """Profiles, limits and modes: from `profiles.yaml`, and from the environment.

    Args:
        config_file: A file to read. Without one, `profiles.yaml` is looked for in the working folder and upwards, then
            in the user's config folder; when there is none, the profiles that come with victor_nb serve.

    Attributes:
        source: The file.
        suits: Whether its profiles, which come with victor_nb, are of a provider whose key is set; see `starter`. So
            are those of a clone's own file, until it is edited, however victor_nb is installed.

    Raises:
        ConfigError: The file cannot be used; one line has the place and the reason.
    """

    def __init__(self, config_file: Path | str | None = None) -> None:
        self._searched = config_file is None
        self.source = _find(config_file)
        self._stamp = stamp_of(self.source)
        self._tape: Path | None = None
        from victor_nb.config.profiles import read_profiles  # noqa: PLC0415 - pydantic is slow to import

        self._file: ProfilesFile = read_profiles(self.source)
        self.suits = self._searched and (self.built_in or _is_as_it_came(self.source))

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
    def variables(self) -> Variables:
        """Those of the environment, and of the .env file beside the settings, or in the working folder without any."""
        return Variables(Path(".env") if self.built_in else self.source.with_name(".env"))

    def made_of(self, profile: Profile) -> tuple[str, ...]:
        """Return the names of the variables that a client of a profile is made of, for `Variables.state`."""
        return (*self.key_variables(profile), spec_of(profile.provider).base_url_variable, *_OF_CLIENTS)

    @property
    def built_in(self) -> bool:
        """Whether no `profiles.yaml` of the user's was found."""
        return self.source == shipped_file()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where a relative path in a profile may start: beside the user's `profiles.yaml`, and here."""
        here = Path.cwd()
        return (here,) if self.built_in else tuple(dict.fromkeys((self.source.parent, here)))

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
        written = self.variables.written.get(variable)
        return ".env" if written is not None and written.reveal().strip() == value else None

    def names_address(self, profile: Profile) -> str | None:
        """Return the project's file that names where a profile is asked; None where the user or the provider does."""
        if profile.base_url is not None:
            named = {spec.base_url for spec in self._file.profiles.values()}
            return None if self._own or profile.base_url not in named else self.source.name
        variable = spec_of(profile.provider).base_url_variable
        return self._written(variable, self.variables.get(variable) or "")

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

        given = value_of("VICTOR_TRUST")
        words = [] if not given or self._written("VICTOR_TRUST", given) else given.split(",")
        return tuple(each.strip() if each.strip().endswith(".gguf") else place_of(each) for each in words)

    def api_key(self, profile: Profile) -> Secret | None:
        """Return the profile's key, or None when no variable holds one."""
        return self.key_of(self.key_variables(profile))

    def key_of(self, variables: Sequence[str]) -> Secret | None:
        """Return the key that the first of these variables holds that is set; None where none is."""
        values = (self.variables.get(name) for name in variables)
        return next((Secret(value) for value in values if value), None)

    def needs_key(self, profile: Profile) -> bool:
        """Return whether the profile cannot work without a key: a server on this network may ask for none."""
        return profile.api_key_env is not None or spec_of(profile.provider).needs_key(self.base_url(profile))

    def base_url(self, profile: Profile) -> str:
        """Return where the profile's requests go: its own `base_url`, else the provider's variable, else its home."""
        return self.address(spec_of(profile.provider), profile.base_url)

    def address(self, spec: Spec, given: str | None = None) -> str:
        """Return where a provider is asked: at the address that is given, at its variable's, or at its home."""
        found = given or self.variables.get(spec.base_url_variable) or spec.base_url
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
        """Return whether a text contains a key of the environment or the .env file, `lately` as in `Variables`."""
        for secret in self._secrets(lately=lately):  # noqa: SIM110 - asked for every answer
            if secret in text:
                return True
        return False

    def leak_check(self) -> Callable[[str], bool]:
        """Return the same as a function for many texts, of the keys of now."""
        secrets = self._secrets()
        return lambda text: any(secret in text for secret in secrets)

    def _secrets(self, *, lately: bool = False) -> tuple[str, ...]:
        return self.variables.secrets(self._key_names, lately=lately)

    @property
    def sim_speed(self) -> float:
        """How many times the simulator's waits are taken: 1 is lifelike, 0 waits for nothing.

        Raises:
            ConfigError: `VICTOR_SIM_SPEED` is not a number of 0 or more.
        """
        return _number(value_of("VICTOR_SIM_SPEED") or "1")

    def speed(self, mode: Mode) -> float:
        """Return how many times the waits of a mode are taken: the simulator's, or those of what is replayed.

        Raises:
            ConfigError: `VICTOR_SIM_SPEED` or `VICTOR_REPLAY_SPEED` is not a number of 0 or more.
        """
        if mode != "replay":
            return self.sim_speed
        return _number(value_of("VICTOR_REPLAY_SPEED") or "0", "VICTOR_REPLAY_SPEED")

    def tape(self, mode: Mode) -> Path:
        """Return the tape to record or replay: `VICTOR_TAPE`, else `tapes/NAME.jsonl` beside the notebook or script.

        Raises:
            ConfigError: It is not known which that is; or it is to be recorded, and `CI=true` forbids it.
        """
        if mode == "record":
            check_recording()
        if named := value_of("VICTOR_TAPE"):
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
        named = value_of("VICTOR_ANSWERS")
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
        return value_of("VICTOR_CACHE") != "off"

    def _data_file(self, word: str, written: str | None, name: str = "ledger.sqlite") -> Path | None:
        """Return the file that a variable names, else the settings, else the user's data folder; None for `memory`."""
        variable = f"VICTOR_{word.upper()}"
        named = value_of(variable)
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
            if given := value_of(name):
                return name, read_path(given, Path.cwd(), name)
        return None

    @cached_property
    def notebook(self) -> str | None:
        """The path of this kernel's notebook, where Jupyter or VS Code sets it in the environment."""
        return notebook_named()

    def __getstate__(self) -> dict[str, object]:
        """Leave the keys of the .env file out of a pickle, and what is read from the environment of this machine."""
        kept = {"_searched", "source", "suits", "_stamp", "_file"}
        return {"_tape": None, **{name: value for name, value in vars(self).items() if name in kept}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and (self.source, self._file) == (other.source, other._file)

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Settings({self.source.name!r}, profiles={list(self.profiles)})"


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


def _is_as_it_came(file: Path) -> bool:
    """Return whether a file says what the built-in profiles do: that of a clone, which was not edited."""
    try:
        return file.read_bytes().split() == shipped_file().read_bytes().split()
    except OSError:
        return False


def shipped_profiles() -> dict[str, tuple[str, str]]:
    """Return provider and model of the profiles that come with victor_nb, by name."""
    from victor_nb.config.profiles import read_profiles  # noqa: PLC0415 - pydantic is slow to import

    return {name: (spec.provider, spec.model) for name, spec in read_profiles(shipped_file()).profiles.items()}
