"""The HTTP server: waitress, in this one process, stopped in order.

Waitress reads requests whole on one event loop before a thread works on them, so clients that are slow to send hold
no thread. What it refuses by itself is answered as a problem, too.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from system.api.problems import CONTENT_TYPE, Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)
# One line for each request that has to wait for a thread would be most of the log under load.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

_LOOP_SECONDS = 0.2
_MAX_HEADER_BYTES = 64 * 1024
_MAX_CONNECTIONS = 1000
# Bodies up to this much above the limit are read and answered 413 in order; beyond it the connection is cut off, with
# the answer 413 that not every client will see.
_SLACK_BYTES = 8 * 1024 * 1024


class _ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers a request that waitress cannot parse or does not take."""

    def execute(self) -> None:
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        body = Problem(error.code, str(error.body)).body()
        self.response_headers.append(("Content-Type", CONTENT_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _ProblemTask


class HttpServer:
    """Serves an application from the thread that calls `run`; `stop` may be called from a signal handler."""

    def __init__(self, app: WSGIApplication, *, host: str, port: int, threads: int, max_body_bytes: int) -> None:
        self._server: Any = create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            ident=None,
            max_request_body_size=max_body_bytes + _SLACK_BYTES,
            max_request_header_size=_MAX_HEADER_BYTES,
            connection_limit=_MAX_CONNECTIONS,
            clear_untrusted_proxy_headers=True,
            asyncore_use_poll=True,
        )
        self._server.channel_class = _Channel
        self._stopping = False

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.effective_port)

    def stop(self) -> None:
        """Take no more connections, and let `run` return once what is being worked on has been answered."""
        # Nothing else: a signal may come while this very thread holds waitress's locks.
        self._stopping = True

    def run(self, drain_seconds: float) -> None:
        """Serve until `stop`, then for at most `drain_seconds` until every request that had arrived is answered."""
        server = self._server
        while not self._stopping:
            server.asyncore.loop(timeout=_LOOP_SECONDS, map=server._map, use_poll=True, count=1)
        deadline = time.monotonic() + drain_seconds
        server.accepting = False
        server.del_channel()
        server.socket.close()
        while self._busy() and time.monotonic() < deadline:
            server.asyncore.loop(timeout=0.05, map=server._map, use_poll=True, count=1)
        if self._busy():
            log.warning("stopping with requests unanswered after %.1f s", drain_seconds)
        server.task_dispatcher.shutdown(timeout=max(0.1, deadline - time.monotonic()))
        server.asyncore.close_all(server._map, ignore_all=True)

    def _busy(self) -> bool:
        return any(
            channel.requests or channel.request is not None or channel.total_outbufs_len
            for channel in list(self._server.active_channels.values())
        )
