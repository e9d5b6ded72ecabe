"""What a page and a kernel say to each other: every message on the websocket, with its sender's own time."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from playwright.sync_api import Page, WebSocket

SHOWING: Final = ("comm_msg", "comm_open", "display_data", "execute_result", "stream", "update_display_data")
"""Messages that change what is seen."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        channel: `iopub` is what all front ends hear.
        kind: Its type: `stream`, `display_data`, `update_display_data`, `comm_msg`, `status`, ...
        at: When it was sent, in seconds since 1970 by the sender's clock.
        size: Bytes on the wire.
    """

    channel: str
    kind: str
    at: float
    size: int
    content: Any


class Traffic:
    """The messages of the kernels that a page connects to from now on.

    Attributes:
        heard: What came from the kernel, in order.
        said: What the page sent.
    """

    def __init__(self, page: Page) -> None:
        self.heard: list[Message] = []
        self.said: list[Message] = []
        self._page = page
        page.on("websocket", self._listen)

    def stop(self) -> None:
        """Listen to no further kernel."""
        self._page.remove_listener("websocket", self._listen)

    def clear(self) -> None:
        """Forget what was said so far."""
        self.heard.clear()
        self.said.clear()

    def shown(self, *kinds: str) -> list[Message]:
        """Return the messages of these types, all that change what is seen if none is named."""
        return [each for each in self.heard if each.channel == "iopub" and each.kind in (kinds or SHOWING)]

    def busiest_second(self, *kinds: str) -> int:
        """Return how many messages of these types the kernel sent in its fullest second."""
        return most_within([each.at for each in self.shown(*kinds)], 1)

    def requests(self) -> int:
        """Return how many cells the page has sent to the kernel."""
        return sum(each.kind == "execute_request" for each in self.said)

    def _listen(self, socket: WebSocket) -> None:
        if "/channels" in socket.url:
            socket.on("framereceived", lambda frame: self.heard.append(decode(frame)))
            socket.on("framesent", lambda frame: self.said.append(decode(frame)))


def most_within(times: Iterable[float], seconds: float) -> int:
    """Return how many of the times lie in the fullest stretch of so many seconds."""
    ordered = sorted(times)
    return max((sum(start <= at < start + seconds for at in ordered) for start in ordered), default=0)


def decode(frame: bytes | str) -> Message:
    """Read a frame: the protocol v1.kernel.websocket.jupyter.org where it is bytes, JSON where it is text."""
    if isinstance(frame, str):
        message = json.loads(frame)
        return _message(message["channel"], message["header"], message["content"], len(frame))
    # A number of offsets, the offsets, and what lies between them: channel, header, parent, metadata, content, buffers.
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    channel, header, _, _, content = (frame[start:end] for start, end in pairwise(offsets[:6]))
    return _message(channel.decode(), json.loads(header), json.loads(content), len(frame))


def _message(channel: str, header: dict[str, str], content: object, size: int) -> Message:
    return Message(channel, header["msg_type"], datetime.fromisoformat(header["date"]).timestamp(), size, content)
