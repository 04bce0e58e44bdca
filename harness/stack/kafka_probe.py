"""Whether a broker is in service, asked by one Metadata request on a connection of its own.

A client library would do too, but it starts threads, retries and logs, where "no" is an ordinary answer here.
"""

from __future__ import annotations

import socket
import struct

from harness.stack.ports import LOOPBACK

_METADATA_API_KEY = 3
_METADATA_VERSION = 1
_CORRELATION_ID = 1
_CLIENT_ID = b"plumbline-stack"
# A broker that is fenced, or only starting, is not in its own list of brokers.
_REQUEST_BODY = (
    struct.pack(">hhih", _METADATA_API_KEY, _METADATA_VERSION, _CORRELATION_ID, len(_CLIENT_ID))
    + _CLIENT_ID
    + struct.pack(">i", 0)  # no topics
)
_REQUEST = struct.pack(">i", len(_REQUEST_BODY)) + _REQUEST_BODY
_RESPONSE_HEAD = struct.Struct(">iii")  # size, correlation id, number of brokers


def lists_a_broker(port: int, timeout_seconds: float) -> bool:
    """Whether the broker on this port of the loopback answers in time, with a broker in service."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_seconds) as connection:
            connection.settimeout(timeout_seconds)
            connection.sendall(_REQUEST)
            head = b""
            while len(head) < _RESPONSE_HEAD.size:
                chunk = connection.recv(_RESPONSE_HEAD.size - len(head))
                if not chunk:
                    return False
                head += chunk
    except OSError:
        return False
    _, correlation_id, brokers = _RESPONSE_HEAD.unpack(head)
    return bool(correlation_id == _CORRELATION_ID and brokers > 0)
