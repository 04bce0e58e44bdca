"""One client's connection to Kafka, request by request."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from harness.faults.proxy.gate import Closed, Connection, Decision, Gate, Passage
from harness.faults.proxy.kafka_answers import ERRORS, answer
from harness.faults.proxy.kafka_wire import (
    API_VERSIONS,
    BOUNDARY_OF,
    JOIN_GROUP,
    OFFSET_COMMIT,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Request,
    WireError,
    committed,
    committed_in_transaction,
    correlation_of,
    produced,
    read_request,
    session_timeout_ms,
    with_known_versions,
)

MOST_BYTES = 200 * 1024 * 1024
"""The largest frame that is taken; a broker's own limit is 100 MiB."""

NameOf = Callable[[str], str]
"""The subject's topic → the name that fault points have for it."""


@dataclass(slots=True)
class _Awaited:
    """A request whose response is to come: from the broker, or `ready` made by us; `token` for the decider."""

    request: Request
    token: object = None
    ready: bytes | None = None


async def serve(gate: Gate, name_of: NameOf, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one client's connection until either side ends it."""
    connection = await gate.connect(reader, writer)
    if connection is None:
        return
    line = _Line(connection, name_of)
    await connection.run(asyncio.create_task(line.requests()), asyncio.create_task(line.responses()))


class _Line:
    def __init__(self, connection: Connection, name_of: NameOf) -> None:
        self._connection = connection
        self._gate = connection.gate
        self._name_of = name_of
        self._awaited: deque[_Awaited] = deque()

    async def requests(self) -> None:
        """Pass requests on, each once it may take effect."""
        while True:
            frame = await _frame(self._connection.reader)
            request = read_request(frame)
            decision, has_answer = await self._decide(request)
            if decision.passage is Passage.CLOSE:
                self._connection.reset()
                raise Closed
            if decision.passage is Passage.REFUSE and decision.error is not None and has_answer:
                refusal = answer(request, ERRORS[request.api_key, decision.error])
                self._awaited.append(_Awaited(request, ready=refusal))
                if self._awaited[0].ready is not None:
                    await self._answer_what_is_ready()
                continue
            if has_answer:
                self._awaited.append(_Awaited(request, decision.token))
            await self._connection.to_server(_framed(frame))

    async def responses(self) -> None:
        """Pass responses on, each once the process may know."""
        while True:
            frame = await _frame(self._connection.up_reader)
            # A broker answers the requests of a connection in their order.
            if not self._awaited or self._awaited[0].request.correlation_id != correlation_of(frame):
                raise WireError(f"the broker answered {correlation_of(frame)}, which is not the oldest request")
            awaited = self._awaited[0]
            if awaited.request.api_key == API_VERSIONS:
                frame = with_known_versions(frame, awaited.request.version)
            if awaited.token is not None:
                decision = await self._gate.decider.after(awaited.token)
                if decision.passage is Passage.CLOSE:
                    self._connection.reset()
                    raise Closed
                if decision.passage is Passage.REFUSE and decision.error is not None:
                    frame = answer(awaited.request, ERRORS[awaited.request.api_key, decision.error])
            self._awaited.popleft()
            await self._connection.to_client(_framed(frame))
            await self._answer_what_is_ready()

    async def _answer_what_is_ready(self) -> None:
        while self._awaited and (ready := self._awaited[0].ready) is not None:
            self._awaited.popleft()
            await self._connection.to_client(_framed(ready))

    async def _decide(self, request: Request) -> tuple[Decision, bool]:
        """What becomes of a request, and whether a response to it will come."""
        names: list[str] = []
        has_answer = True
        # A version that nobody offered is the broker's to refuse; what it is about is then not known.
        with contextlib.suppress(WireError):
            if request.api_key == PRODUCE:
                partitions = produced(request)
                has_answer = partitions.acks != 0
                names = [self._name_of(topic) for topic, _ in partitions.topics]
            elif request.api_key == OFFSET_COMMIT:
                names = [self._name_of(topic) for topic, _ in committed(request).topics]
            elif request.api_key == TXN_OFFSET_COMMIT:
                names = [self._name_of(topic) for topic, _ in committed_in_transaction(request).topics]
            elif request.api_key == JOIN_GROUP:
                self._gate.decider.joined(self._gate.process, session_timeout_ms(request))
        boundary = BOUNDARY_OF.get(request.api_key)
        if boundary is None:
            return Decision(), has_answer
        return await self._gate.decider.before(self._gate.process, boundary, sorted(names)), has_answer


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    if not 0 <= size <= MOST_BYTES:
        raise WireError(f"a frame of {size} bytes; a frame has at most {MOST_BYTES}")
    return await reader.readexactly(size)


def _framed(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame
