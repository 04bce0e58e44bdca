"""Free ports on the loopback, held against everybody else for as long as the stack lives.

A port that was merely looked up is free to be taken before its server listens, and again whenever the server is down.
On Linux a socket that is bound with SO_REUSEADDR, and does not listen, keeps the kernel from handing the port to
anybody who asks for any free one (and from using it as the source port of an outgoing connection, which would let a
client that waits for a dead server connect to itself), while the server, which also sets SO_REUSEADDR, can still
listen on it. Elsewhere the port is let go just before its server starts.
"""

from __future__ import annotations

import errno
import socket
import sys

from harness.stack.errors import PortTaken

LOOPBACK = "127.0.0.1"
_HOLDS_BESIDE_A_LISTENER = sys.platform == "linux"


class HeldPort:
    """One TCP port of 127.0.0.1, reserved until :meth:`close`."""

    def __init__(self, purpose: str, asked_port: int | None = None) -> None:
        """Take ``asked_port``, or any free one.

        ``purpose`` names the server in messages. Raises :class:`PortTaken` when the asked port is not free.
        """
        self.purpose = purpose
        self.is_asked_for = asked_port is not None
        if asked_port is not None:
            _refuse_unless_free(asked_port, purpose)
        self._socket: socket.socket | None = _bound_socket(asked_port or 0, purpose)
        self.port: int = self._socket.getsockname()[1]

    def make_way(self) -> None:
        """Let the server listen; on Linux the port stays held all the same."""
        if not _HOLDS_BESIDE_A_LISTENER:
            self.close()

    def close(self) -> None:
        """Let the port go; harmless when it was let go before."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _bound_socket(port: int, purpose: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
    except OSError as error:
        bound.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortTaken(port, purpose) from error
        raise
    return bound


def _refuse_unless_free(port: int, purpose: str) -> None:
    # Only listening tells: with SO_REUSEADDR a bind beside another bound socket succeeds.
    with _bound_socket(port, purpose) as probe:
        try:
            probe.listen(1)
        except OSError as error:
            raise PortTaken(port, purpose) from error
