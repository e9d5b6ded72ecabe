"""What rests while this process is forked, and begins anew in the child: one list of it all, in one order.

A child has all memory of its parent, and of the threads only the one that forked. What another was doing at that moment
stays half done there for ever: a lock that it held, a module that it imported, a file that SQLite had open.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 # pyright: ignore[reportUnusedImport] - see below, where hooks are set
import ctypes
import itertools
import os
import sys
import threading
import time
from contextlib import ExitStack
from enum import Enum
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable


class Step(Enum):
    """What comes to rest before a fork, in this order: nothing has to wait for what rests already.

    Attributes:
        LIMITS: Budgets are shared with the child, and that is written: the ledger's thread still runs.
        LOOPS: Each stands between two steps of its own.
        LOCKS: No other thread makes what is shared, or loads certificates: OpenSSL would stay locked.
        FILES: Each is closed. Their threads wait for nothing of the above, but a lock's owner may wait for them.
        IMPORTS: No other thread imports.
    """

    LIMITS = "limits"
    LOOPS = "loops"
    LOCKS = "locks"
    FILES = "files"
    IMPORTS = "imports"


PATIENCE: Final = {Step.LIMITS: 10.0, Step.LOOPS: 1.0, Step.LOCKS: 10.0, Step.FILES: 30.0, Step.IMPORTS: 10.0}
"""Seconds that a fork waits for all of a step, and then does without: files as long as other kernels may keep one."""

Call = TypeVar("Call", bound="Callable[..., None]")
Calls: TypeAlias = "dict[int, Callable[[], Call | None]]"
"""Functions, and methods of what may be gone meanwhile, in the order in which they came."""
Rest: TypeAlias = "Callable[[ExitStack, float], None]"

_numbers: Final = itertools.count()
_rests: Final[dict[Step, Calls[Rest]]] = {step: {} for step in Step}
_renews: Final[Calls[Callable[[], None]]] = {}
_forking = threading.RLock()  # two threads that fork at a time would let go of what the other one has stopped
_held = ExitStack()  # what lets all that rests go on


def at_fork(step: Step, rest: Rest) -> None:
    """Let something rest before each fork: a method's object as long as it is there.

    Args:
        step: When.
        rest: Is given what lets it go on in the parent, to be added to, and until when it may wait, by
            `time.monotonic()`.
    """
    _keep(_rests[step], rest)


def in_child(renew: Callable[[], None]) -> None:
    """Let something begin anew in each child that is forked: a method's object as long as it is there."""
    _keep(_renews, renew)


def _keep(calls: Calls[Call], call: Call) -> None:
    for number, kept in list(calls.items()):
        if kept() is None:
            calls.pop(number, None)
    if isinstance(call, MethodType):
        # No callback, which WeakMethod has: what that needs may have been cleared as garbage, and Python says so.
        function, owner = call.__func__, ref(call.__self__)
        calls[next(_numbers)] = cast("Callable[[], Call | None]", lambda: _bound(function, owner()))
    else:
        calls[next(_numbers)] = lambda: call


def _bound(function: Callable[..., object], owner: object) -> MethodType | None:
    return None if owner is None else MethodType(function, owner)


def left(deadline: float) -> float:
    """Return the seconds until a moment by `time.monotonic()`."""
    return max(0.0, deadline - time.monotonic())


def take(lock: threading.Lock | threading.RLock, held: ExitStack, deadline: float) -> bool:
    """Take a lock until the fork is done; return whether it could be had in time."""
    is_taken = lock.acquire(timeout=left(deadline))
    if is_taken:
        held.callback(lock.release)
    return is_taken


def keep_for_ever(value: object) -> None:
    """Let an object outlive the process. For what a forked child has of its parent: the destructor would act on that.

    A manager would wait for a thread that is not there, a loop and its sockets take themselves off the list that the
    kernel keeps for both processes, a database would think that its last user has gone.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


# --- imports ---


def _others_import(*, forget: bool = False) -> bool:
    """Return whether another thread imports something: a child forked meanwhile would wait for that for ever.

    Args:
        forget: In a child, let it be imported anew. A fork does not wait without end, and an import may just begin.
    """
    locks: dict[str, Callable[[], Any]] = getattr(sys.modules["_frozen_importlib"], "_module_locks", {})
    found = {name: lock() for name, lock in list(locks.items())}
    held = [name for name, lock in found.items() if lock and lock.owner not in {None, threading.get_ident()}]
    for name in (name for name, lock in found.items() if forget and lock and lock.owner != threading.get_ident()):
        locks.pop(name, None)
    for name in held if forget else ():
        if getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False):
            for part in [part for part in sys.modules if f"{part}.".startswith(f"{name}.")]:
                del sys.modules[part]
    return bool(held)


def _await_imports(_held: ExitStack, deadline: float) -> None:
    while _others_import() and time.monotonic() < deadline:
        time.sleep(0.001)


at_fork(Step.IMPORTS, _await_imports)


# --- the hooks ---


def _begin() -> None:
    _forking.acquire()


def _rest(step: Step) -> None:
    deadline = time.monotonic() + PATIENCE[step]
    for found in list(_rests[step].values()):
        if (rest := found()) is not None:
            rest(_held, deadline)


def _go_on() -> None:
    try:
        _held.close()
    finally:
        _forking.release()


def _renew() -> None:
    """Let all begin anew in a forked child, which has none of the parent's threads."""
    global _forking, _held  # what rests goes on in the parent alone: here it is made anew
    _forking, _held = threading.RLock(), ExitStack()
    _others_import(forget=True)
    for renew in [found() for found in list(_renews.values())]:  # all are there until all are renewed
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):
    # Each step is a hook of its own, so that one that fails leaves out no other; what is registered last comes first.
    # `concurrent.futures.thread` is imported above, lest another thread imports it between them: what it registers for
    # the time after a fork would let go of a lock that it has not taken before.
    for each in (*(partial(_rest, step) for step in reversed(Step)), _begin):
        os.register_at_fork(before=each)
    os.register_at_fork(after_in_parent=_go_on, after_in_child=_renew)
