"""Which hosts may be sent keys and prompts, and which model files are run: those that the user named or trusts.

Files of a project, which may be a stranger's, cannot choose a host by themselves, but for those of providers and this
machine, nor a file for llama.cpp to read, whose parser a hostile one may break. What stands in the user's own
environment, in a cell, or in the user's config folder is the user's word.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from functools import cache
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from victor_nb.errors import ConfigError, ProviderOpenError
from victor_nb.providers.spec import SPECS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from victor_nb.config.profiles import Profile
    from victor_nb.providers.spec import Spec


class Origins(Protocol):
    """What the settings know of whose word each of them is."""

    @property
    def trust_file(self) -> Path:
        """Where `%victor trust` remembers hosts."""
        ...

    @property
    def trusted_here(self) -> tuple[str, ...]:
        """The hosts and model files that VICTOR_TRUST names."""
        ...

    @property
    def folders(self) -> Sequence[Path]:
        """Where a relative path in a profile may start."""
        ...

    def base_url(self, profile: Profile) -> str:
        """Return where a profile is asked."""
        ...

    def proxy(self, base_url: str) -> str | None:
        """Return the proxy for an address."""
        ...

    def names_address(self, profile: Profile) -> str | None:
        """Return the project's file that names where a profile is asked."""
        ...

    def names_model(self, profile: Profile) -> str | None:
        """Return the project's file that names a profile's model."""
        ...

    def names_key(self, profile: Profile) -> str | None:
        """Return the project's file that gives a profile its `api_key_env`."""
        ...

    def names_proxy(self, proxy: str) -> str | None:
        """Return the project's file that names a proxy."""
        ...


_PORTS: Final = {"http": 80, "https": 443}
_PLACE: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9_])?)(:\d{1,5})?")
"""A host, and a port that is not the usual one."""
_OTHERS_WRITE: Final = 0o022  # the bits of a file that others than its owner may write
_PART: Final = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
"""In the name of a model in several files: llama.cpp reads the others as soon as it is given one."""


def place_of(address: str) -> str:
    """Return the host of an address, and its port if it is not the usual one; "" where it has none.

    Letters of other alphabets come in the form that DNS knows (xn--), so that no host looks like another.
    """
    url = urlsplit(address.strip() if "//" in address else f"//{address.strip()}")
    try:
        host, port = (url.hostname or "").rstrip("."), url.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        return ""
    bare = f"[{host}]" if ":" in host else host
    return bare if port is None or port == _PORTS.get(url.scheme or "https") else f"{bare}:{port}"


def _host(address: str) -> str:
    return place_of(address).rpartition(":")[0] if re.search(r":\d+$", place_of(address)) else place_of(address)


def is_loopback(address: str) -> bool:
    """Return whether an address is of this machine, so that nothing leaves it."""
    host = _host(address)
    if host == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified


def at_home(spec: Spec, address: str) -> bool:
    """Return whether an address is of a provider itself: its host, with TLS, at the usual port."""
    home, part = spec.base_url, spec.fill_in
    if not address.lower().startswith("https:") or not home.startswith("https:"):
        return False
    pattern = re.escape(place_of(home).lower())
    pattern = pattern.replace(part.lower(), r"[a-z0-9-]+") if part else rf"(?:[a-z0-9-]+\.)*{pattern}"
    return re.fullmatch(pattern, place_of(address)) is not None


def is_known(address: str) -> bool:
    """Return whether an address is of this machine or of any provider."""
    return is_loopback(address) or any(at_home(spec, address) for spec in list(SPECS.values()))


def vet(settings: Origins, profile: Profile) -> None:
    """Raise if a profile would use a host or a model file that only a file of the project has named.

    Raises:
        ProviderOpenError: One line that names it, the file that does, and the command that trusts it.
    """
    if fact := untrusted(settings, profile):
        raise ProviderOpenError(f"Failed to create provider for profile {profile.name!r}: {fact}.")


def untrusted(settings: Origins, profile: Profile) -> str:
    """Return which host or model file of a profile is not trusted, and why, and the next step; "" where all are.

    Raises:
        ConfigError: The list of trusted hosts cannot be read.
    """
    spec, address = spec_of(profile.provider), settings.base_url(profile)
    if spec.starts_itself:
        return _untrusted_model(settings, profile)
    file, why = settings.names_address(profile), ""
    if file is not None and is_known(address):
        file = None
    if file is None and (file := _lends(settings, profile, address)) is not None:
        why = f"is to get {profile.api_key_env} by"
    if file is not None and not is_trusted(settings, address):
        place = place_of(address) or "of base_url"
        key = "" if profile.api_key_env or not spec.key_variables or profile.base_url is None else _and_key(spec)
        return f"host {place} {why or 'is named by'} {file} and not trusted: %victor trust {place}{key}"
    proxy = settings.proxy(address)
    if proxy and (file := settings.names_proxy(proxy)) and not (is_loopback(proxy) or is_trusted(settings, proxy)):
        return f"the proxy {place_of(proxy)} is named by {file} and not trusted: %victor trust {place_of(proxy)}"
    return ""


def _untrusted_model(settings: Origins, profile: Profile) -> str:
    """Return the same of the model file of a profile; what is wrong with the file itself is said elsewhere."""
    if (named_by := settings.names_model(profile)) is None:
        return ""
    from victor_nb.providers.weights import SHIPPED, locate  # noqa: PLC0415 - few profiles name a file

    if profile.model == SHIPPED.name:
        return ""
    with suppress(ConfigError):
        found = locate(profile.model, settings.folders)
        if not all(_is_trusted_model(settings, each) for each in parts_of(found)):
            return f"model {profile.model} is named by {named_by} and not trusted: %victor trust {profile.model}"
    return ""


def _and_key(spec: Spec) -> str:
    return f". It gets a key only by api_key_env in the profile, such as api_key_env: {spec.key_variables[0]}"


def _lends(settings: Origins, profile: Profile, address: str) -> str | None:
    """Return the project's file that gives a provider's key to another host; None where none does."""
    owners = [spec for spec in list(SPECS.values()) if profile.api_key_env in spec.key_variables]
    if not owners or is_loopback(address) or any(at_home(spec, address) for spec in owners):
        return None
    return settings.names_key(profile)


def is_trusted(settings: Origins, address: str) -> bool:
    """Return whether the user trusts a host, by `%victor trust` or by VICTOR_TRUST."""
    return bool(place := place_of(address)) and place in {*trusted(settings.trust_file), *settings.trusted_here}


def read_place(given: str) -> str:
    """Return a host that a user names, by itself or in an address.

    Raises:
        ConfigError: It is none.
    """
    place = place_of(given)
    if _PLACE.fullmatch(place) is None:
        raise ConfigError(f"{given[:60]!r} is no host. Write it as gateway.example or gateway.example:8443.")
    return place


def trusted(file: Path) -> tuple[str, ...]:
    """Return the hosts that a user trusts, in the order in which they came.

    Raises:
        ConfigError: The list cannot be read, or others may write it.
    """
    return tuple(dict.fromkeys(_lines(file)))


def _lines(file: Path) -> list[str]:
    try:
        if os.name == "posix" and file.stat().st_mode & _OTHERS_WRITE:
            raise ConfigError(f"{file} can be written by others, and is not believed. Run: chmod 600 {file}")
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}. Mend its permissions, or remove it.") from None


def trust(file: Path, places: Iterable[object]) -> None:
    """Write the hosts or models that a user trusts, a line each, into a file that only the user can read.

    Raises:
        ConfigError: It cannot be written.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in dict.fromkeys(map(str, places)))
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {error}. Set VICTOR_TRUST in the environment instead.") from None


# --- model files ---


class Model(NamedTuple):
    """A model file that a user trusts: what is in it, wherever it lies.

    Attributes:
        digest: The SHA-256 of what it holds.
        size: Bytes, so that a file of another size need not be read.
        stamp: What changes when the file does, so that the same file need not be read again.
        path: Where it was.
    """

    digest: str
    size: int
    stamp: str
    path: Path

    def __str__(self) -> str:
        """Return it as a line of the list."""
        return " ".join(map(str, self))

    @classmethod
    def of(cls, path: Path) -> Model:
        """Read a file.

        Raises:
            ConfigError: It cannot be read.
        """
        try:
            size, stamp = _stamp(path)
            return cls(_digest(path, stamp), size, stamp, path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror or error}). Mend its permissions.") from None


def _stamp(path: Path) -> tuple[int, str]:
    status = path.stat()
    # Its last change cannot be set to what it was, unlike the time of its content: an archive brings that along.
    return status.st_size, f"{status.st_ino}-{status.st_mtime_ns}-{status.st_ctime_ns}"


@cache
def _digest(path: Path, stamp: str) -> str:  # noqa: ARG001 - the stamp is what else the cache goes by
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def parts_of(model: Path) -> list[Path]:
    """Return all files of a model, of which one was named: most are one file."""
    if not (found := _PART.search(model.name)):
        return [model]
    begin = model.name[: found.start()]
    return sorted(each for each in model.parent.iterdir() if _PART.sub("", each.name) == f"{begin}.gguf")


def models_file(settings: Origins) -> Path:
    """Return where `%victor trust` remembers models."""
    return settings.trust_file.with_name("trusted_models")


def trusted_models(file: Path) -> list[Model]:
    """Return the model files that a user trusts, in the order in which they came.

    Raises:
        ConfigError: The list cannot be read, or others may write it.
    """
    words = [line.split(" ", 3) for line in _lines(file)]
    return [Model(each[0], int(each[1]), each[2], Path(each[3])) for each in words if len(each) == len(Model._fields)]


def _is_trusted_model(settings: Origins, path: Path) -> bool:
    """Return whether the user trusts what is in a file, by `%victor trust` or by VICTOR_TRUST."""
    if path in {Path(each).expanduser().resolve() for each in settings.trusted_here if each.endswith(".gguf")}:
        return True
    try:
        size, stamp = _stamp(path)
        alike = [each for each in trusted_models(models_file(settings)) if each.size == size]
        same = any(each.stamp == stamp for each in alike)
        return same or (bool(alike) and _digest(path, stamp) in {each.digest for each in alike})
    except OSError:
        return False
