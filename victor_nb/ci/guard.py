"""What a replayed notebook has in its kernel: a block of the network, and an account of what was asked.

It stands on an audit hook, which Python cannot take away again. Forked processes have it too, and a Python that one of
them starts, unless it ignores PYTHONPATH or has no victor_nb. What a library in C opens by itself it does not see, nor
what other programs do, such as curl or git.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from collections import defaultdict
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.config.notebook import current_cell
from victor_nb.errors import ClosedError, NetworkBlockedError
from victor_nb.money import Total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from victor_nb.accounting.rows import Row

_LISTENING: Final = "0A"  # a state in /proc/net/tcp
_LOCAL: Final = {"", "localhost", "ip6-localhost", "localhost.localdomain"}
_CONNECTS: Final = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOKS_UP: Final = {"socket.getaddrinfo", "socket.gethostbyname"}
_LOOKS_BACK: Final = {"socket.gethostbyaddr", "socket.getnameinfo"}
_GARBAGE: Final = 50_000
"""New objects before the collector looks, in a kernel: it is short, and a tenth of its time would go into looking."""
_refused: dict[tuple[int | None, str], None] = {}
_before: set[tuple[int, str]] = set()
_kernel: set[int] = set()
_notes: list[Path] = []

_CHILDREN: Final = """import sys

_mine = sys.modules.pop("sitecustomize")
sys.path[:] = [each for each in sys.path if each != {folder!r}]
try:
    import sitecustomize  # the one that this Python would have without us
except ImportError:
    pass
sys.modules.setdefault("sitecustomize", _mine)
try:
    from victor_nb.ci.guard import shut
except ImportError:  # another Python
    pass
else:
    shut({before!r}, {folder!r})
"""


def enclose(folder: Path) -> None:
    """Write a folder that, first in PYTHONPATH, shuts the network of a kernel and of every Python that it starts."""
    text = _CHILDREN.format(folder=str(folder), before=sorted(_servers()))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")


def shut(before: Iterable[tuple[int, str]] | None = None, folder: str = "") -> None:
    """Refuse every connection but those on this machine to servers that begin later, until the end of the process.

    Args:
        before: The servers there were when the notebook began; default: those of now, and this is its kernel.
        folder: Where processes that it starts note what was refused.
    """
    if before is None:
        _kernel.add(os.getpid())
        gc.set_threshold(_GARBAGE)
    if not _before:
        _before.update(_servers() if before is None else before)
        _before.add((0, ""))
        _notes.extend([Path(folder, "refused")] if folder else [])
        sys.addaudithook(_hear)


def _hear(event: str, given: tuple[Any, ...]) -> None:
    if event in _CONNECTS:
        _judge(given[0], given[1], sends=event != "socket.connect")
    elif event in _LOOKS_UP:
        host = _text(given[0])
        if not _is_here(host) and host not in _LOCAL and not _is_address(host):
            raise _refuse(host, given[1] if event == "socket.getaddrinfo" else None)
    elif event in _LOOKS_BACK:
        host = _text(cast("tuple[Any, ...]", given[0])[0] if event == "socket.getnameinfo" else given[0])
        if not _is_here(host):
            raise _refuse(host, None)


def _judge(made: socket.socket, address: object, *, sends: bool) -> None:
    if made.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple):
        return
    host, port = _text(cast("tuple[Any, ...]", address)[0]), cast("tuple[Any, ...]", address)[1]
    if not _is_here(host):
        # A datagram socket that is connected sends nothing: so libraries ask the system for this machine's address.
        raise _refuse(host, port, noted=sends or made.type != socket.SOCK_DGRAM)
    if any(number == port for number, _ in _before) and {each for each in _servers() if each[0] == port} & _before:
        raise _refuse(host, port)


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def _is_here(host: str) -> bool:
    if host.lower() in _LOCAL or host == socket.gethostname():
        return True
    with suppress(ValueError):
        address = ip_address(host.partition("%")[0])
        return address.is_loopback or address.is_unspecified
    return False


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host.partition("%")[0]))
    return False


def _refuse(host: str, port: object, *, noted: bool = True) -> NetworkBlockedError:
    where = f"{host}:{port}" if port else host
    if noted and os.getpid() in _kernel:
        _refused[current_cell(), where] = None
    elif noted and _notes:
        with suppress(OSError), _notes[0].open("a", encoding="utf-8") as file:
            file.write(f"{where}\n")
    return NetworkBlockedError(
        f"{where} was not connected to: a replay has no network. What is needed from there must be in a file beside the"
        " notebook."
    )


def _servers() -> set[tuple[int, str]]:
    """Return the ports on which something listens on this machine, and the id of each; nothing where Linux is not."""
    found: set[tuple[int, str]] = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING:
                    found.add((int(fields[1].rpartition(":")[2], 16), fields[9]))
    return found


# --- the account ---


def account() -> str:
    """Return as JSON what this kernel has asked, what its tapes lacked, and what connections were refused."""
    module = sys.modules.get("victor_nb.runtime")
    runtime = module.opened() if module is not None else None
    refused = [*_refused, *((None, where) for where in _noted())]
    found: dict[str, object] = {"refused": [[cell, where] for cell, where in refused], "misses": [], "tapes": []}
    if runtime is None:
        return json.dumps(found | {"rows": []})
    playbacks = [] if runtime.tapes is None else [*runtime.tapes.playbacks.values()]
    found["misses"] = [
        [miss.cell, " ".join([miss.fact(playback.file.name), *miss.notes()])]
        for playback in playbacks
        for miss in playback.misses
    ]
    found["tapes"] = [
        {
            "name": playback.file.name,
            "recorded": playback.file.header.get("recorded"),
            "prices": playback.file.header.get("prices"),
            "exchanges": len(playback.exchanges),
            "unused": len(playback.unused),
        }
        for playback in playbacks
    ]
    try:
        sums = _sums(runtime.ledger.rows())
    except ClosedError:  # a cell has closed the session: what was asked is known by the tapes, what it costs is not
        used = sum(len(playback.exchanges) - len(playback.unused) for playback in playbacks)
        sums = [_sum("-", "-", used, Total(unpriced=used)) | {"attempts": used}] if used else []
    return json.dumps(found | {"rows": sums})


def _noted() -> list[str]:
    """Return where processes that this kernel has started wanted to connect to."""
    with suppress(OSError, IndexError):
        return [*dict.fromkeys(_notes[0].read_text(encoding="utf-8").splitlines())]
    return []


def _sums(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return calls, attempts, tokens and list prices by provider and model."""
    groups: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.status not in {"refused", "running"}:
            groups[row.provider, row.model_served or row.model].append(row)
    return [
        _sum(provider, model, len({row.call_id for row in each}), Total.of(each))
        | {
            "attempts": len(each),
            "input_tokens": sum(row.input_tokens or 0 for row in each),
            "output_tokens": sum(row.output_tokens or 0 for row in each),
        }
        for (provider, model), each in sorted(groups.items())
    ]


def _sum(provider: str, model: str, calls: int, total: Total) -> dict[str, object]:
    return {
        "provider": provider,
        "model": model,
        "calls": calls,
        "attempts": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost": str(total.cost),
        "unpriced": total.unpriced,
        "billed": str(total.billed),
        "unbilled": total.unbilled,
        "free": total.free,
    }
