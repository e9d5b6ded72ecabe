"""The link between a map and a dask cluster: what the driver submits, collects, hears and answers there."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from victor_nb.errors import ClosedError, ConfigError, VictorError
from victor_nb.workflows.partitions import (
    Answered,
    Fault,
    Lost,
    Packed,
    Setup,
    Terms,
    ask_rows,
    distributed,
    dumped,
    forget,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_REACH: Final = 30.0  # seconds that one message or result may take
_AGAIN: Final = 0.5  # seconds after which an answer that could not be sent is sent again
_STEP: Final = "Give a dask.distributed.Client: executor=Client('tcp://...')."
_STAYS: Final = (
    "Locks, threads, context variables and files that are written stay in their process: make them inside of the "
    "function or class that uses them, or leave executor= out."
)
CLOSED: Final = "the client of the cluster was closed, or its scheduler has ended"


Answer: TypeAlias = tuple[list[int], list[str]]
"""Numbers that a worker has leave for, and the names of the partitions that it has to stop."""


class Link:
    """The client of a cluster, as a map uses it.

    Args:
        client: A `dask.distributed.Client`.
        topic: The name of the map, under which its workers report.

    Raises:
        ConfigError: It is no client.
    """

    def __init__(self, client: object, topic: str) -> None:
        self._client: Any = _checked(client)
        self._topic = topic

    @property
    def is_open(self) -> bool:
        """Whether the client reaches its scheduler."""
        return self._client.status == "running"

    def count(self) -> int:
        """Return the number of workers. It blocks.

        Raises:
            ConfigError: The scheduler does not answer.
        """
        try:
            return len(self._client.sync(self._client.scheduler.ncores, callback_timeout=_REACH))
        except _gone() as error:
            raise ConfigError(f"The scheduler does not answer ({type(error).__name__}). {_STEP}") from None

    def listen(self, hear: Callable[..., object], loop: asyncio.AbstractEventLoop) -> None:
        """Call a function on a loop with each report of a worker: its id, and the messages."""

        def take(event: tuple[float, Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nothing waits there any more
                loop.call_soon_threadsafe(hear, *event[1])

        self._client.subscribe_topic(self._topic, take)

    def submit(
        self,
        setup: Packed,
        name: str,
        rows: Sequence[tuple[int, str, int]],
        terms: Terms,
        ended: Callable[[], object],
    ) -> Any:  # noqa: ANN401 - a future of dask
        """Give a partition to a worker; return its future.

        Args:
            setup: What all partitions of the map have in common.
            name: The partition.
            rows: Asker, prompt and sample of each.
            terms: What they may cost together, and when they begin.
            ended: Is called on this loop once it has ended.

        Raises:
            ClosedError: The client is closed, or the rows cannot be sent.
        """
        loop = asyncio.get_running_loop()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # as above
                loop.call_soon_threadsafe(ended)

        try:
            future = self._client.submit(ask_rows, setup, name, rows, terms, key=name, pure=False)
        except _gone() as error:
            raise ClosedError(f"{CLOSED} ({type(error).__name__})") from None
        except BaseException as error:  # noqa: BLE001 - of dask, or of a pickle: rows wait for what comes of it
            raise ClosedError(f"rows cannot be sent to the workers ({type(error).__name__}: {error})") from None
        future.add_done_callback(tell)
        return future

    def result(self, future: Any, redacted: Callable[[str], str]) -> Answered | Lost | Fault | VictorError | None:  # noqa: ANN401 - as above
        """Return what came of a partition: answers, what is known where its worker was lost, or why it failed.

        It blocks.
        """
        dask = distributed()
        try:
            error = future.exception(_REACH) if future.status == "error" else None
            found = future.result(_REACH) if future.status == "finished" else None
            future.release()
        except _gone():  # the client is closed, or a worker lost
            return None
        if error is None or isinstance(error, dask.KilledWorker):
            return found
        if isinstance(error, VictorError):
            return error
        text = redacted(f"{type(error).__name__}: {error}")
        return ConfigError(f"The workers cannot ask: {text}. Do they have the same victor_nb?")

    def publish(self, guest: str, answer: Answer) -> bool:
        """Send a worker what it may do, and what it has to stop; return whether the scheduler has it. It blocks."""
        try:
            log = self._client.scheduler.log_event
            self._client.sync(log, topic=guest, msg=list(answer), callback_timeout=_REACH)
        except _gone():
            return False
        return True

    def leave(self) -> None:
        """Close what the workers have kept of the map. It blocks."""
        with suppress(*_gone()):  # the cluster has ended
            self._client.unsubscribe_topic(self._topic)
            self._client.run(forget, self._topic, on_error="ignore")


class Grants:
    """What workers wait for, sent to each in its order, as little at a time as goes together.

    An answer that could not be sent is sent again: a worker that has it twice takes it once.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._due: dict[str, Answer] = {}
        self._is_sending = False

    def of(self, guest: str) -> Answer:
        """Return what a worker is sent next, to be added to."""
        return self._due.setdefault(guest, ([], []))

    def send(self) -> None:
        """Send what there is; what comes meanwhile goes together."""
        if self._is_sending or not any(go or stop for go, stop in self._due.values()):
            return
        self._is_sending = True
        due, self._due = self._due, {}
        loop = asyncio.get_running_loop()

        def work() -> None:
            left = {guest: answer for guest, answer in due.items() if not self._link.publish(guest, answer)}
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._sent, left)

        threading.Thread(target=work, name="victor-grant", daemon=True).start()

    def _sent(self, left: dict[str, Answer]) -> None:
        self._is_sending = False
        if left and self._link.is_open:
            for guest, (go, stop) in left.items():
                now = self.of(guest)
                self._due[guest] = (go + now[0], stop + now[1])
            asyncio.get_running_loop().call_later(_AGAIN, self.send)
        else:
            self.send()


def pack(setup: Setup, redacted: Callable[[str], str]) -> Packed:
    """Return a setup as it is sent to the workers.

    Raises:
        ConfigError: A part of it cannot be pickled; one line says which.
    """
    content = dumped(setup)
    if not isinstance(content, Fault):
        return Packed(setup.map, content)
    faults = ((part, fault) for part, value in _parts(setup) if isinstance(fault := dumped(value), Fault))
    part, fault = next(faults, ("What the map sends", content))
    raise ConfigError(f"{part} cannot be sent to the workers of a cluster: {redacted(fault.why)}. {_STAYS}")


def _parts(setup: Setup) -> Iterator[tuple[str, object]]:
    """Return what the user gave of a setup, each with its name in an error."""
    yield "What simulate_with() was given", setup.answers
    for _, options in setup.askers:
        yield from ((f"{name}=", value) for name, value in options.items())


def _gone() -> tuple[type[BaseException], ...]:
    """Return what is raised where a client is closed, or its scheduler or a worker has ended."""
    dask = distributed()
    # AttributeError: of a client that is closed, whose scheduler is None.
    return dask.client.ClosedClientError, dask.CancelledError, OSError, TimeoutError, RuntimeError, AttributeError


def _checked(client: object) -> object:
    """Return a client whose calls may be waited for.

    Raises:
        ConfigError: It is something else.
    """
    try:
        kind = distributed().Client
    except ImportError:
        raise ConfigError(f"executor= needs the package distributed: pip install distributed. {_STEP}") from None
    if not isinstance(client, kind):
        raise ConfigError(f"executor= is a {type(client).__name__}. {_STEP}")
    if cast("Any", client).asynchronous:
        raise ConfigError(f"executor= is an asynchronous client, whose calls cannot be waited for. {_STEP}")
    if cast("Any", client).status != "running":
        raise ConfigError(f"executor= is a client that is {cast('Any', client).status}. {_STEP}")
    return client
