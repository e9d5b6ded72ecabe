"""What is counted on a kernel's websocket is what was sent."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime

import pytest

from browser.traffic import decode, most_within

AT = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
HEADER = {"msg_type": "comm_msg", "date": AT.isoformat()}


def frame(*parts: bytes) -> bytes:
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


@pytest.mark.parametrize("buffers", [(), (b"\x00\xff",)])
def test_when_a_frame_is_binary_then_it_is_read(buffers: tuple[bytes, ...]) -> None:
    header, content = json.dumps(HEADER).encode(), b'{"comm_id": "1"}'
    message = decode(frame(b"iopub", header, b"{}", b"{}", content, *buffers))
    assert (message.channel, message.kind, message.at) == ("iopub", "comm_msg", AT.timestamp())
    assert message.content == {"comm_id": "1"}


def test_when_a_frame_is_text_then_it_is_read() -> None:
    message = decode(json.dumps({"channel": "shell", "header": HEADER, "content": {}}))
    assert (message.channel, message.kind, message.at) == ("shell", "comm_msg", AT.timestamp())


def test_when_times_are_counted_then_the_fullest_stretch_counts() -> None:
    assert most_within([3.0, 0.0, 0.5, 0.9, 1.0, 1.4], 1) == 4
    assert most_within([], 1) == 0
