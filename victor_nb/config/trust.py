"""Which hosts may be sent keys and prompts: those of the providers, this machine, those the user named or trusts.

Files of a project, which may be a stranger's, cannot choose a host by themselves. What stands in the user's own
environment, in a cell, or in the user's config folder is the user's word.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from victor_nb.errors import ConfigError, ProviderOpenError
from victor_nb.providers.spec import SPECS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

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
        """The hosts that VICTOR_TRUST names."""
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
    """Raise if a profile would send a key or a prompt to a host that only a file of the project has named.

    Raises:
        ProviderOpenError: One line that names the host, the file, and the command that trusts it.
    """
    if fact := untrusted(settings, profile):
        raise ProviderOpenError(f"Failed to create provider for profile {profile.name!r}: {fact}.")


def untrusted(settings: Origins, profile: Profile) -> str:
    """Return which host of a profile is not trusted, and why, and the next step; "" where all are.

    Raises:
        ConfigError: The list of trusted hosts cannot be read.
    """
    spec, address = spec_of(profile.provider), settings.base_url(profile)
    if spec.starts_itself:
        return ""
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
    try:
        if os.name == "posix" and file.stat().st_mode & _OTHERS_WRITE:
            raise ConfigError(f"{file} can be written by others, and is not believed. Run: chmod 600 {file}")
        return tuple(dict.fromkeys(file.read_text(encoding="utf-8").split()))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}. Mend its permissions, or remove it.") from None


def trust(file: Path, places: Iterable[str]) -> None:
    """Write the hosts that a user trusts, into a file that only the user can read.

    Raises:
        ConfigError: It cannot be written.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.writelines(f"{place}\n" for place in dict.fromkeys(places))
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {error}. Set VICTOR_TRUST in the environment instead.") from None
